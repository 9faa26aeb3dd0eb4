/**
 * Incremental SHA-256 as a service.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Sha256 } from "./Sha256.js"

/**
 * A digest under way.
 *
 * @since 0.1.0
 * @category models
 */
export interface Digest {
  /**
   * Feed the next chunk. The caller owns the buffer and may reuse it as soon as this completes, not before; chunks are
   * fed one after the other, in order.
   */
  readonly update: (chunk: Uint8Array) => Effect.Effect<void>
  /** The digest of everything fed so far. Ends this `Digest`: to be called once. */
  readonly finish: Effect.Effect<Sha256>
}

/**
 * Computes SHA-256 digests. `Hasher` is the only hash the library uses: swap it and every verification uses yours.
 *
 * @since 0.1.0
 * @category tags
 */
export class Hasher extends Context.Tag("smolvm-images/Hasher")<
  Hasher,
  {
    /**
     * Start a digest, of `size` bytes if that is known: where to compute it may depend on it, its result does not. What it
     * holds is released with its Scope.
     */
    readonly start: (size?: number) => Effect.Effect<Digest, never, Scope.Scope>
  }
>() {}

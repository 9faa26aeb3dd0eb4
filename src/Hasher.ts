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
 * What is known of a digest before its first byte. Where to compute it may depend on that, its result does not.
 *
 * @since 0.1.0
 * @category options
 */
export interface Start {
  /** How many bytes there will be. */
  readonly size?: number | undefined
  /** The caller has work of its own between the chunks, as when it receives them from a network. Default: `false`. */
  readonly busy?: boolean | undefined
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
    /** Start a digest. What it holds is released with its Scope. */
    readonly start: (known?: Start) => Effect.Effect<Digest, never, Scope.Scope>
  }
>() {}

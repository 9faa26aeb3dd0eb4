/**
 * SHA-256 by `node:crypto`.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Hasher } from "../Hasher.js"
import * as Sha256 from "../Sha256.js"

/**
 * The `Hasher` of Node.js: OpenSSL's SHA-256 on the calling thread.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Hasher> = Layer.succeed(
  Hasher,
  Hasher.of({
    start: Effect.sync(() => {
      const hash = createHash("sha256")
      return {
        update: (chunk) => Effect.sync(() => void hash.update(chunk)),
        finish: Effect.sync(() => Sha256.make(hash.digest("hex")))
      }
    })
  })
)

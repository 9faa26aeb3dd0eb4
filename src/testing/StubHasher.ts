/**
 * A `Hasher` whose digests a test chooses: no cryptography, and so no `node:crypto`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Hasher } from "../Hasher.js"
import * as Sha256 from "../Sha256.js"

/**
 * How digests are chosen: the same for every file, or made from all the bytes of a file. A digest is 64 hexadecimal digits.
 *
 * @since 0.1.0
 * @category models
 */
export type Choice = string | ((bytes: Uint8Array) => string)

/**
 * A made-up digest that depends on every byte, the same on every run: the digest that {@link layer} computes when nothing is
 * chosen, to pin in a test's registry. It is not the SHA-256.
 *
 * @since 0.1.0
 * @category constructors
 */
export const digestOf = (content: string | Uint8Array): Sha256.Sha256 => {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content
  let hash = 0x811c9dc5 // FNV-1a, stretched to 256 bits
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  let hex = ""
  for (let word = 0; word < 8; word++) {
    hash = Math.imul(hash ^ (bytes.length + word), 0x01000193)
    hex += (hash >>> 0).toString(16).padStart(8, "0")
  }
  return Sha256.make(hex)
}

/**
 * A `Hasher` that gives the chosen digests; by default those of {@link digestOf}. It keeps the bytes of a file in memory
 * until its digest is finished. A choice that is no digest is a defect.
 *
 * @example
 * ```ts
 * import { StubHasher } from "smolvm-images/testing"
 *
 * const kernel = { url: "https://example.test/vmlinux", sha256: StubHasher.digestOf("a kernel") }
 *
 * const ByContent = StubHasher.layer()
 * const AlwaysWrong = StubHasher.layer("00".repeat(32))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (choice: Choice = digestOf): Layer.Layer<Hasher> =>
  Layer.succeed(
    Hasher,
    Hasher.of({
      start: () =>
        Effect.sync(() => {
          const chunks: Array<Uint8Array> = []
          return {
            update: (chunk) => Effect.sync(() => void chunks.push(chunk.slice())), // the caller reuses its buffer
            finish: Effect.sync(() => decodeDigest(typeof choice === "string" ? choice : choice(concat(chunks))))
          }
        })
    })
  )

/** As a registry would take it, in upper case too. */
const decodeDigest = Schema.decodeSync(Sha256.Sha256)

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

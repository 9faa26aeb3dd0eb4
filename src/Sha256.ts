/**
 * SHA-256 digests as text: 64 lower-case hexadecimal digits.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A SHA-256 digest. Decoding trims blanks and lower-cases, so a digest pasted from `sha256sum` or a vendor's page is
 * accepted; a blank one is an error, never "no digest".
 *
 * @since 0.1.0
 * @category schemas
 */
export const Sha256 = Schema.transform(
  Schema.String,
  Schema.String.pipe(
    Schema.pattern(/^[0-9a-f]{64}$/, {
      identifier: "Sha256",
      message: () => "must be a SHA-256 digest: 64 hexadecimal digits"
    }),
    Schema.brand("Sha256")
  ),
  { strict: true, decode: (text) => text.trim().toLowerCase(), encode: (digest) => digest }
)

/**
 * 64 lower-case hexadecimal digits.
 *
 * @since 0.1.0
 * @category models
 */
export type Sha256 = typeof Sha256.Type

/**
 * Brand a string that is already known to be a lower-case hexadecimal digest, such as the output of a hash function.
 * Throws on anything else: use {@link Sha256} to decode input.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (hex: string) => Sha256 = Schema.validateSync(Sha256)

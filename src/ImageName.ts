/**
 * Image names: one path component, safe on every file system.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The longest image name, in characters. It leaves room for the suffixes that bookkeeping files add below the 255 bytes
 * that file systems commonly allow for one path component.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLength = 128

/**
 * An image name: letters, digits, `.`, `_` and `-`, not starting with a dot, at most {@link maxLength} characters.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ImageName = Schema.String.pipe(
  Schema.pattern(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, {
    identifier: "ImageName",
    message: (issue) =>
      typeof issue.actual === "string" && issue.actual.trim() === ""
        ? "an image name must not be empty"
        : `an image name is letters, digits, ".", "_" and "-", not starting with a dot, at most ${maxLength} characters`
  }),
  Schema.brand("ImageName")
)

/**
 * A validated image name.
 *
 * @since 0.1.0
 * @category models
 */
export type ImageName = typeof ImageName.Type

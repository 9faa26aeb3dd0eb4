/**
 * What the cache holds of an image, found out by reading all of it.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Role } from "./ImageSource.js"

/**
 * One file of an image in the cache: `good` when its digest is the expected one, `bad` when it is not, `missing` when it
 * is not there. An unpinned file is compared with the digest it had when it was first trusted.
 *
 * @since 0.1.0
 * @category models
 */
export class FileStatus extends Schema.Class<FileStatus>("smolvm-images/FileStatus")({
  asset: Role,
  /** The absolute path, whether there is a file or not. */
  path: Schema.String,
  state: Schema.Literal("good", "bad", "missing"),
  /** The expected SHA-256, if one is known. */
  expected: Schema.optionalWith(Schema.String, { exact: true }),
  /** The SHA-256 that was found, or what else is wrong; absent when the file is good or missing. */
  actual: Schema.optionalWith(Schema.String, { exact: true })
}) {}

/**
 * The files of one image in the cache.
 *
 * @since 0.1.0
 * @category models
 */
export class ImageStatus extends Schema.Class<ImageStatus>("smolvm-images/ImageStatus")({
  name: Schema.String,
  files: Schema.Array(FileStatus)
}) {
  /** All files are there and good. */
  get isGood(): boolean {
    return this.files.every(({ state }) => state === "good")
  }
}

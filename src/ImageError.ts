/**
 * The two failures a caller can meet: {@link ImageError} when an image cannot be provided, {@link ValueError} when the
 * caller's input is wrong.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Role } from "./ImageSource.js"

/**
 * Why an image could not be provided.
 *
 * - `UnknownImage`: the registry has no image of that name; `available` lists those it has.
 * - `DownloadFailed`: no source delivered the asset; `attempts`, `detail` and `failures` tell what happened where.
 * - `UnexpectedContent`: what arrived is not the image (a login page, an error document, a Git LFS pointer, a wrong size).
 * - `ChecksumMismatch`: a whole download has another digest than `expected`.
 * - `StorageFailed`: the cache directory cannot be read or written; see `path` and `cause`.
 * - `NoSpace`: the disk cannot hold the asset: `bytesNeeded`, `bytesAvailable`.
 * - `Offline`: the asset is not cached, or damaged (then with `actual`), and `offline` forbids fetching it.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = typeof Reason.Type

/**
 * The schema of the reasons, each once.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Reason = Schema.Literal(
  "UnknownImage",
  "DownloadFailed",
  "UnexpectedContent",
  "ChecksumMismatch",
  "StorageFailed",
  "NoSpace",
  "Offline"
)

/**
 * What one source of an asset answered.
 *
 * @since 0.1.0
 * @category models
 */
export const SourceFailure = Schema.Struct({
  /** Without user info, query and fragment. */
  url: Schema.String,
  reason: Reason,
  detail: Schema.String
})

/**
 * An image cannot be provided. `reason` says why; the other fields hold what a person or a program needs to act on it.
 * No field holds a secret: URLs are without user info and query, and `cause` is a sanitised copy (name, code, message).
 *
 * @since 0.1.0
 * @category errors
 */
export class ImageError extends Schema.TaggedError<ImageError>("smolvm-images/ImageError")("ImageError", {
  reason: Reason,
  image: Schema.optionalWith(Schema.String, { exact: true }),
  asset: Schema.optionalWith(Role, { exact: true }),
  /** The source, without user info, query and fragment. */
  url: Schema.optionalWith(Schema.String, { exact: true }),
  /** The file or directory that could not be read or written. */
  path: Schema.optionalWith(Schema.String, { exact: true }),
  /** The digest or the size in bytes that was asked for. */
  expected: Schema.optionalWith(Schema.String, { exact: true }),
  /** The digest or the size in bytes that was found. */
  actual: Schema.optionalWith(Schema.String, { exact: true }),
  /** The number of bytes that were received of the asset. */
  bytesReceived: Schema.optionalWith(Schema.Number, { exact: true }),
  /** How many more bytes the asset takes on the disk. */
  bytesNeeded: Schema.optionalWith(Schema.Number, { exact: true }),
  /** How many bytes are free for it, after what other downloads of this process still take. */
  bytesAvailable: Schema.optionalWith(Schema.Number, { exact: true }),
  /** How many requests were made for the asset. */
  attempts: Schema.optionalWith(Schema.Number, { exact: true }),
  /** The HTTP status of the last answer. */
  status: Schema.optionalWith(Schema.Number, { exact: true }),
  /** What happened, in words. */
  detail: Schema.optionalWith(Schema.String, { exact: true }),
  /** The names that the registry has. */
  available: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  /** What each source answered last, when there were several. */
  failures: Schema.optionalWith(Schema.Array(SourceFailure), { exact: true }),
  cause: Schema.optionalWith(Schema.Defect, { exact: true })
}) {
  override get message(): string {
    const what = subject(this)
    const from = this.url === undefined ? "" : ` from ${this.url}`
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    switch (this.reason) {
      case "UnknownImage": {
        const names = this.available ?? []
        return `Image ${quote(this.image)} is not in the registry. ${
          names.length === 0 ? "The registry is empty." : `Available: ${names.join(", ")}.`
        }`
      }
      case "DownloadFailed":
        return `Could not download ${what}${from}${attempts(this.attempts)}${detail}${others(this)}`
      case "UnexpectedContent":
        return `What came for ${what}${from} is not the image${detail}${others(this)}`
      case "ChecksumMismatch":
        return (
          `The SHA-256 of ${what}${from} is not the expected one: expected ${this.expected ?? "unknown"}, ` +
          `actual ${this.actual ?? "unknown"}, ${this.bytesReceived ?? "all"} bytes received; they were thrown away${detail}${others(this)}`
        )
      case "StorageFailed":
        return `Storage failed${this.image === undefined ? "" : ` for ${what}`}${this.path === undefined ? "" : ` at ${this.path}`}${detail}`
      case "NoSpace":
        return `No space for ${what}${this.path === undefined ? "" : ` at ${this.path}`}: ${
          this.bytesNeeded === undefined ? "it does not fit" : `${this.bytesNeeded} more bytes are needed`
        }${this.bytesAvailable === undefined ? "" : `, ${this.bytesAvailable} are available`}; nothing was changed`
      case "Offline":
        return `${what} is ${
          this.actual === undefined ? "not in the cache" : "damaged in the cache"
        }, and offline mode forbids fetching it${from}`.replace(/^./, (first) => first.toUpperCase())
    }
  }
}

const quote = (text: string | undefined) => JSON.stringify(text ?? "")

const subject = (error: { readonly asset?: Role; readonly image?: string }) =>
  `${error.asset === undefined ? "" : `the ${error.asset} of `}${error.image === undefined ? "an image" : `image ${quote(error.image)}`}`

const attempts = (count: number | undefined) =>
  count === undefined ? "" : ` (${count} ${count === 1 ? "attempt" : "attempts"})`

const others = (error: { readonly failures?: ReadonlyArray<typeof SourceFailure.Type> }) =>
  (error.failures ?? []).map((failure) => `\n  - ${failure.url}: ${failure.detail}`).join("")

/**
 * The caller's input is wrong: an empty image name, a bad registry entry, an impossible option. `field` names the
 * culprit; `problems` lists everything that is wrong, each with its path in the input.
 *
 * @since 0.1.0
 * @category errors
 */
export class ValueError extends Schema.TaggedError<ValueError>("smolvm-images/ValueError")("ValueError", {
  /** The argument or option that is wrong: `name`, `registry`, `cacheDir`, ... */
  field: Schema.String,
  problems: Schema.NonEmptyArray(
    Schema.Struct({
      /** Where in `field`, such as `images.hello.kernel.sha256`; empty when it is `field` itself. */
      path: Schema.String,
      message: Schema.String
    })
  )
}) {
  override get message(): string {
    const lines = this.problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
    return lines.length === 1
      ? `Invalid ${this.field}: ${lines[0]}`
      : `Invalid ${this.field}, ${lines.length} problems:${lines.map((line) => `\n  - ${line}`).join("")}`
  }
}

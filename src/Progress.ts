/**
 * What an `ImageManager` does while it does it: typed events for progress bars, logs and NDJSON.
 *
 * For one call of `ensureImage` the events of its image form a sequence: `Checking`; then `Hit` and `Done`, or, with
 * `Waiting` in between when another process is at it, the events of its assets, `Committing` and `Done`; `Failed` may end
 * it at any point. For one asset: `Downloading` repeatedly, with `Resuming`, `Restarted` and `Retrying` where they happen,
 * and `Verifying` when its digest is compared. `received` only grows; `position` falls only with a `Restarted`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Reason } from "./ImageError.js"
import { Role } from "./ImageSource.js"

const image = { image: Schema.String }
const asset = { ...image, asset: Role }
const bytes = Schema.NonNegativeInt
/** Without user info, query and fragment. */
const url = Schema.String

/**
 * @since 0.1.0
 * @category schemas
 */
export const Event = Schema.Union(
  /** The cache is being looked at and verified. */
  Schema.TaggedStruct("Checking", image),
  /** The image is cached and intact. */
  Schema.TaggedStruct("Hit", image),
  /** Another process fetches the image; who it is and since when, if it can be told. */
  Schema.TaggedStruct("Waiting", {
    ...image,
    pid: Schema.optionalWith(Schema.Number, { exact: true }),
    hostname: Schema.optionalWith(Schema.String, { exact: true }),
    since: Schema.optionalWith(Schema.String, { exact: true })
  }),
  /** Bytes arrive: at the start of each body, at most ten times a second while it lasts, and at its end. */
  Schema.TaggedStruct("Downloading", {
    ...asset,
    url,
    /** Bytes taken from sources so far, those thrown away included. */
    received: bytes,
    /** Bytes of the file that are there. */
    position: bytes,
    /** The length of the file, if it is known. */
    total: Schema.optionalWith(bytes, { exact: true }),
    /** Over the current body. */
    bytesPerSecond: Schema.NonNegative
  }),
  /** A request goes on from `position` instead of from zero. */
  Schema.TaggedStruct("Resuming", { ...asset, url, position: bytes }),
  /** What was there is thrown away; the next position is zero. */
  Schema.TaggedStruct("Restarted", asset),
  /** An attempt failed; the next one follows after `delayMillis`. */
  Schema.TaggedStruct("Retrying", { ...asset, url, detail: Schema.String, delayMillis: bytes }),
  /** The digest of the whole file is compared. */
  Schema.TaggedStruct("Verifying", asset),
  /** The verified files are moved to their places. */
  Schema.TaggedStruct("Committing", image),
  /** The image is there. */
  Schema.TaggedStruct("Done", image),
  /** It cannot be provided: the error of the call. */
  Schema.TaggedStruct("Failed", { ...image, reason: Reason, message: Schema.String })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Event = typeof Event.Type

// What the commands print: one documented JSON shape each, and the text for people.
import * as Schema from "effect/Schema"
import { Role } from "../../ImageSource.js"
import { ImageStatus } from "../../ImageStatus.js"
import { LocalImage } from "../../LocalImage.js"
import { Event } from "../../Progress.js"

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** Why something was not done. */
export const Failure = Schema.Struct({
  image: optional(Schema.String),
  /**
   * `UnknownImage`, `DownloadFailed`, ... as in `ImageError`; `ValueError`, `ConfigError`, `UsageError`, `No`, `Unwritable`,
   * `Interrupted` or `Bug`.
   */
  reason: Schema.String,
  /** What happened, in one line. */
  message: Schema.String,
  /** What to do about it, in one line. */
  hint: Schema.String,
  /** The exit code that goes with it. */
  exitCode: Schema.Int
})

/** Any command that has no result. */
export const Failed = Schema.Struct({ error: Failure })

/** `list` */
export const List = Schema.Struct({
  images: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      architecture: optional(Schema.String),
      description: optional(Schema.String),
      /** All files are there; none of them was read. */
      cached: Schema.Boolean,
      /** In bytes: on disk when cached, otherwise as the registry says, if it does. */
      size: optional(Schema.NonNegativeInt)
    })
  )
})

/** `ensure` */
export const Ensure = Schema.Struct({
  images: Schema.Array(LocalImage),
  failures: Schema.Array(Failure)
})

/** `status` */
export const Status = Schema.Struct({
  name: Schema.String,
  architecture: optional(Schema.String),
  description: optional(Schema.String),
  cached: Schema.Boolean,
  files: Schema.Array(
    Schema.Struct({
      asset: Role,
      path: Schema.String,
      present: Schema.Boolean,
      /** In bytes, as for `list`. */
      size: optional(Schema.NonNegativeInt),
      sha256: optional(Schema.String),
      /** Without user info, query and fragment. */
      urls: Schema.Array(Schema.String)
    })
  )
})

/** `verify` */
export const Verify = Schema.Struct({
  images: Schema.Array(ImageStatus),
  failures: Schema.Array(Failure)
})

/** `path` */
export const Path = Schema.Struct({ name: Schema.String, asset: Role, path: Schema.String })

/** `remove` */
export const Remove = Schema.Struct({ removed: Schema.String })

/** `registry check` */
export const RegistryCheck = Schema.Struct({
  file: Schema.String,
  valid: Schema.Boolean,
  images: Schema.Array(Schema.String),
  /** Files that are trusted on first use. */
  unpinned: Schema.Array(Schema.Struct({ image: Schema.String, asset: Role })),
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
})

/** A line on standard error under `--progress json`. */
export const Line = Schema.Union(
  Event,
  Schema.TaggedStruct("Log", {
    level: Schema.String,
    message: Schema.String,
    annotations: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  }),
  Schema.TaggedStruct("Error", { error: Failure })
)

/** A value as one line of JSON. */
export const json = <A, I>(schema: Schema.Schema<A, I>, value: A): string =>
  `${Schema.encodeSync(Schema.parseJson(schema))(value)}\n`

const encodeLine = Schema.encodeSync(Schema.parseJson(Line))

export const line = (value: typeof Line.Type): string => encodeLine(value)

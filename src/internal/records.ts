import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Sha256 } from "../Sha256.js"

/** What is remembered of a file in the cache: the digest it had when it was first trusted. */
export const FileRecord = Schema.Struct({ version: Schema.Literal(1), sha256: Sha256, size: Schema.Number })
export type FileRecord = typeof FileRecord.Type

const RecordJson = Schema.parseJson(FileRecord)

/** Records of files, one small JSON file each. Losing them loses no image. */
export interface Records {
  /** A record that is missing, unreadable or damaged is no record. */
  readonly read: (image: string, filename: string) => Effect.Effect<Option.Option<FileRecord>>
  /** Best effort: a cache that cannot be written keeps no records. */
  readonly write: (image: string, filename: string, record: FileRecord) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = (image: string, filename: string) => path.join(directory, image, `${filename}.json`)

  const records: Records = {
    read: (image, filename) =>
      fs.readFileString(file(image, filename)).pipe(
        Effect.flatMap(Schema.decode(RecordJson)),
        Effect.tapErrorTag("ParseError", () =>
          Effect.logWarning(`the record ${file(image, filename)} is damaged and ignored`)
        ),
        Effect.option
      ),
    write: Effect.fnUntraced(
      function* (image, filename, record) {
        const target = file(image, filename)
        const text = yield* Effect.orDie(Schema.encode(RecordJson)(record)) // a record of ours always encodes
        yield* fs.makeDirectory(path.dirname(target), { recursive: true })
        yield* fs.writeFileString(`${target}.new`, text)
        yield* fs.rename(`${target}.new`, target)
      },
      Effect.uninterruptible,
      Effect.catchAll((error) => Effect.logDebug("the cache keeps no record of this file", error.message))
    )
  }
  return records
})

import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Sha256 } from "../Sha256.js"
import { type Directories, randomName } from "./directories.js"

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
  readonly forget: (image: string, filename: string) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (directories: Directories) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = (image: string, filename: string) => path.join(directories.records, image, `${filename}.json`)

  const records: Records = {
    read: (image, filename) =>
      fs.readFileString(file(image, filename)).pipe(
        Effect.flatMap(Schema.decode(RecordJson)),
        Effect.tapErrorTag("ParseError", () =>
          Effect.logWarning(`the record ${file(image, filename)} is damaged and ignored`)
        ),
        Effect.option
      ),
    forget: (image, filename) => Effect.ignore(fs.remove(file(image, filename), { force: true })),
    write: (image, filename, record) =>
      Effect.gen(function* () {
        const target = file(image, filename)
        const text = yield* Effect.orDie(Schema.encode(RecordJson)(record)) // a record of ours always encodes
        yield* directories.ensure({ image }, path.dirname(target))
        const fresh = `${target}.${yield* randomName}`
        yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(fresh, { force: true })))
        yield* fs.writeFileString(fresh, text, { flag: "wx" })
        yield* fs.rename(fresh, target)
      }).pipe(
        Effect.scoped,
        Effect.uninterruptible,
        Effect.catchAll((error) => Effect.logDebug(`the cache keeps no record of ${filename}: ${error.message}`))
      )
  }
  return records
})

/** Records that are read but never kept. */
export const makeReadOnly = (directories: Directories) =>
  Effect.map(
    make(directories),
    (records): Records => ({ ...records, write: () => Effect.void, forget: () => Effect.void })
  )

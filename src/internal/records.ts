import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ImageError } from "../ImageError.js"
import { Sha256 } from "../Sha256.js"
import type { Directories } from "./directories.js"
import { orStorageFailed } from "./failure.js"
import { readSmallFile } from "./smallFile.js"

/**
 * What is remembered of a file in the cache: the digest it had when it was last read as a whole, and the stamp it had
 * then, if it is sure that any change since would have changed the stamp.
 */
export const FileRecord = Schema.Struct({
  version: Schema.Literal(1),
  sha256: Sha256,
  stamp: Schema.optionalWith(
    Schema.Struct({
      size: Schema.String,
      mtime: Schema.String,
      ctime: Schema.String,
      ino: Schema.String,
      dev: Schema.String
    }),
    { exact: true }
  )
})
export type FileRecord = typeof FileRecord.Type

const RecordJson = Schema.parseJson(FileRecord)
const decodeRecord = Schema.decode(RecordJson)

/** Records of files, one small JSON file each. Losing them loses no image. */
export interface Records {
  /** A record that is missing, unreadable or damaged is no record. */
  readonly read: (image: string, filename: string) => Effect.Effect<Option.Option<FileRecord>>
  /** Best effort: a cache that cannot be written keeps no records. */
  readonly write: (image: string, filename: string, record: FileRecord) => Effect.Effect<void>
  /** The time by the clock of the cache's file system, in milliseconds. `None` where a file cannot be created. */
  readonly now: (image: string) => Effect.Effect<Option.Option<number>>
  /** Fails when the record stays. */
  readonly forget: (image: string, filename: string) => Effect.Effect<void, ImageError>
}

export const make = Effect.fnUntraced(function* (directories: Directories) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = (image: string, filename: string) => path.join(directories.records, image, `${filename}.json`)

  /** A temporary file, gone with the Scope. */
  const create = Effect.fnUntraced(function* (image: string, text: string) {
    const fresh = yield* directories.scratch({ image })
    yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(fresh, { force: true })))
    yield* fs.writeFileString(fresh, text, { flag: "wx" })
    return fresh
  })

  const records: Records = {
    read: (image, filename) =>
      readSmallFile(file(image, filename)).pipe(
        Effect.provideService(FileSystem.FileSystem, fs),
        Effect.flatMap(Effect.transposeMapOption(decodeRecord)),
        Effect.catchTag("ParseError", () =>
          Effect.as(Effect.logWarning(`the record ${file(image, filename)} is damaged and ignored`), Option.none())
        )
      ),
    forget: (image, filename) => {
      const target = file(image, filename)
      return Effect.whenEffect(
        orStorageFailed({ image }, target)(fs.remove(target, { force: true })),
        directories.exists({ image }, path.dirname(target))
      ).pipe(Effect.asVoid)
    },
    write: (image, filename, record) =>
      Effect.gen(function* () {
        const text = yield* Effect.orDie(Schema.encode(RecordJson)(record)) // a record of ours always encodes
        const target = file(image, filename)
        yield* directories.ensure({ image }, path.dirname(target))
        yield* fs.rename(yield* create(image, text), target)
      }).pipe(
        Effect.scoped,
        Effect.uninterruptible,
        Effect.catchAll((error) => Effect.logDebug(`the cache keeps no record of ${filename}: ${error.message}`))
      ),
    now: (image) =>
      create(image, "").pipe(
        Effect.flatMap(fs.stat),
        Effect.map(({ mtime }) => Option.map(mtime, (date) => date.getTime())),
        Effect.scoped,
        Effect.uninterruptible,
        Effect.orElseSucceed(Option.none)
      )
  }
  return records
})

/** Records that are read but never kept. */
export const makeReadOnly = (directories: Directories) =>
  Effect.map(
    make(directories),
    (records): Records => ({
      ...records,
      now: () => Effect.succeedNone,
      write: () => Effect.void,
      forget: () => Effect.void
    })
  )

import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ImageError } from "../ImageError.js"
import type { Sha256 } from "../Sha256.js"
import type { CacheFile, Directories } from "./directories.js"
import { isAbsent, isForbidden, orStorageFailed, type Subject } from "./failure.js"
import type { Records } from "./records.js"

/** A verified file in the staging directory, its digest and the place it is for. */
export interface Placement {
  readonly from: string
  readonly file: CacheFile
  readonly sha256: Sha256
}

/** Move verified files to their places, all of them or none, and remember the digests of those that are not pinned. */
export type Commit = (image: string, placements: ReadonlyArray<Placement>) => Effect.Effect<void, ImageError>

export const make = Effect.fnUntraced(function* (directories: Directories, records: Records) {
  const fs = yield* FileSystem.FileSystem

  /** Keep what is at a place under a second name. Returns how to put it back, once something else is there. */
  const keep = (place: string, before: string): Effect.Effect<Effect.Effect<void, PlatformError>, PlatformError> =>
    fs.link(place, before).pipe(
      Effect.catchIf(
        (error) => !isAbsent(error),
        () => fs.copyFile(place, before) // a file system without hard links, or a file of another user
      ),
      Effect.as(fs.rename(before, place)),
      Effect.catchIf(isAbsent, () => Effect.succeed(fs.remove(place, { force: true }))),
      // What we may not even read is not worth putting back.
      Effect.catchIf(isForbidden, () => Effect.succeed(Effect.void))
    )

  /** Who removed an unpinned file does not want what takes its place to be compared with it. */
  const forgetPredecessor = ({ file: { filename, image }, sha256 }: Placement) =>
    Effect.whenEffect(
      records.forget(image, filename),
      Effect.map(
        records.read(image, filename),
        Option.exists((record) => record.sha256 !== sha256)
      )
    )

  const trust = ({ file: { filename, image }, sha256 }: Placement) =>
    records.write(image, filename, { version: 1, sha256 })

  /**
   * First a second name for everything that is replaced, then the renames, with nothing in between: the moment in which
   * the files of an updated image do not belong together is that between two renames.
   */
  const commit: Commit = Effect.fnUntraced(function* (image, placements) {
    const directory = directories.image(image)
    const unpinned = placements.filter(({ file }) => file.asset.sha256 === undefined)
    yield* directories.ensure({ image }, directory)
    const steps = yield* Effect.forEach(placements, ({ file, from }) => {
      const subject: Subject = { image, asset: file.role }
      const before = `${from}.before`
      // One by one uninterruptible: a copy under way cannot be stopped, only awaited.
      const kept = orStorageFailed(subject, before)(Effect.uninterruptible(keep(file.path, before)))
      return Effect.map(kept, (restore) => ({
        place: orStorageFailed(subject, file.path)(fs.rename(from, file.path)),
        restore: Effect.catchAll(restore, (error) => Effect.logError(`cannot restore ${file.path}: ${error.message}`))
      }))
    })
    yield* Effect.gen(function* () {
      yield* Effect.forEach(unpinned, forgetPredecessor, { discard: true })
      for (const [index, step] of steps.entries()) {
        yield* Effect.tapError(step.place, () =>
          Effect.forEach(steps.slice(0, index), ({ restore }) => restore, { discard: true })
        )
      }
      yield* directories.sync(directory)
      yield* directories.sync(directories.root)
      yield* Effect.forEach(unpinned, trust, { discard: true })
    }).pipe(Effect.uninterruptible)
  })

  return commit
})

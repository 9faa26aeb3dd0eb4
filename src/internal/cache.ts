import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Hasher } from "../Hasher.js"
import { ImageError } from "../ImageError.js"
import type { ImageFile, ImageSource } from "../ImageSource.js"
import { LocalImage } from "../LocalImage.js"
import type { Sha256 } from "../Sha256.js"
import * as Directories from "./directories.js"
import { orStorageFailed, type Subject, storageFailed } from "./failure.js"
import { hashFile } from "./hashFile.js"
import * as Records from "./records.js"

/** One file of an image and where it belongs in the cache. */
export interface CacheFile extends ImageFile {
  readonly image: string
  readonly path: string
}

/** What the cache holds for a file. `expected` is the digest that it has to have, if any is known. */
export type FileState =
  | { readonly _tag: "Good"; readonly file: CacheFile; readonly expected: Sha256 }
  | { readonly _tag: "Missing"; readonly file: CacheFile; readonly expected: Sha256 | undefined }
  | { readonly _tag: "Bad"; readonly file: CacheFile; readonly expected: Sha256; readonly actual: string }

/** A verified file in the staging directory and the place it is for. */
export interface Placement {
  readonly from: string
  readonly file: CacheFile
}

/** A cache directory: lookup and commit. */
export interface Cache {
  readonly directories: Directories.Directories
  readonly localImage: (image: string, source: ImageSource) => LocalImage
  /** Whether all files are there, without looking into them. What cannot be looked at is not there, with a warning. */
  readonly has: (image: string, source: ImageSource) => Effect.Effect<boolean>
  /** Verify all files at once, each against its digest. */
  readonly verify: (image: string, source: ImageSource) => Effect.Effect<ReadonlyArray<FileState>, ImageError>
  /** Move verified files to their places: all of them, or none. */
  readonly commit: (image: string, placements: ReadonlyArray<Placement>) => Effect.Effect<void, ImageError>
  /** Remove the image's files and what is remembered of them. */
  readonly remove: (image: string, source: ImageSource) => Effect.Effect<void, ImageError>
  /** Remember the digest of an unpinned file that was just placed. */
  readonly trust: (file: CacheFile, sha256: Sha256, size: number) => Effect.Effect<void>
}

export const make = (cacheDir: string) => makeWith(cacheDir, Records.make)

/** A cache directory that is not ours to write. */
export const makeReadOnly = (cacheDir: string) => makeWith(cacheDir, Records.makeReadOnly)

const makeWith = Effect.fnUntraced(function* (cacheDir: string, makeRecords: typeof Records.make) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const hasher = yield* Hasher
  const directories = yield* Directories.make(cacheDir)
  const records = yield* makeRecords(directories)

  const fileOf = (image: string, file: ImageFile): CacheFile => ({
    ...file,
    image,
    path: path.join(directories.image(image), file.filename)
  })

  const localImage = (image: string, source: ImageSource) => {
    const paths = Object.fromEntries(source.files.map((file) => [`${file.role}Path`, fileOf(image, file).path]))
    return new LocalImage({ name: image, kernelPath: "", rootfsPath: "", ...paths })
  }

  const stat = (file: string) => absentAsNone(fs.stat(file))

  const has = (image: string, source: ImageSource) =>
    Effect.forEach(source.files, (file) => stat(fileOf(image, file).path), { concurrency: "unbounded" }).pipe(
      Effect.map((infos) => infos.every((info) => Option.isSome(info) && info.value.type === "File")),
      Effect.catchAll((error) =>
        Effect.as(Effect.logWarning(`cannot look at image "${image}" in the cache: ${error.message}`), false)
      )
    )

  const verifyFile = Effect.fnUntraced(function* (file: CacheFile): Effect.fn.Return<FileState, ImageError> {
    const { asset, image, role } = file
    const subject: Subject = { image, asset: role }
    const storage = orStorageFailed(subject, file.path)
    const info = yield* storage(stat(file.path))
    // Whoever removed an unpinned file has also forgotten the digest that was trusted.
    if (Option.isNone(info)) return { _tag: "Missing", file, expected: asset.sha256 }
    if (info.value.type !== "File") {
      return yield* new ImageError({
        reason: "StorageFailed",
        ...subject,
        path: file.path,
        detail: `a ${info.value.type} is where a file should be; move it away`
      })
    }
    const recorded = asset.sha256 === undefined ? yield* records.read(image, file.filename) : Option.none()
    const expected = asset.sha256 ?? Option.getOrUndefined(recorded)?.sha256
    const length = Number(info.value.size)
    if (expected !== undefined && asset.size !== undefined && length !== asset.size) {
      return { _tag: "Bad", file, expected, actual: `${length} bytes instead of ${asset.size}` }
    }
    const { sha256, size } = yield* storage(
      hashFile(file.path).pipe(Effect.provideService(FileSystem.FileSystem, fs), Effect.provideService(Hasher, hasher))
    )
    if (expected !== undefined) {
      return sha256 === expected ? { _tag: "Good", file, expected } : { _tag: "Bad", file, expected, actual: sha256 }
    }
    yield* Effect.logWarning(
      `${role} of image "${image}" has no pinned SHA-256 and no record: it is trusted as it is (${sha256})`
    )
    yield* records.write(image, file.filename, { version: 1, sha256, size })
    return { _tag: "Good", file, expected: sha256 }
  })

  /**
   * First a second name for everything that is replaced, then the renames, with nothing in between: the moment in which
   * the files of an updated image do not belong together is that between two renames.
   */
  const commit = Effect.fnUntraced(function* (image: string, placements: ReadonlyArray<Placement>) {
    const directory = directories.image(image)
    yield* directories.ensure({ image }, directory)
    const steps = yield* Effect.forEach(placements, ({ file, from }) => {
      const before = `${from}.before`
      return Effect.map(Effect.isSuccess(fs.link(file.path, before)), (kept) => ({
        place: Effect.mapError(fs.rename(from, file.path), (error) =>
          storageFailed({ image, asset: file.role }, file.path, error)
        ),
        restore: (kept ? fs.rename(before, file.path) : fs.remove(file.path)).pipe(
          Effect.catchAll((error) => Effect.logError(`cannot restore ${file.path}: ${error.message}`))
        )
      }))
    })
    for (const [index, step] of steps.entries()) {
      yield* Effect.tapError(step.place, () =>
        Effect.forEach(steps.slice(0, index), ({ restore }) => restore, { discard: true })
      )
    }
    yield* directories.sync(directory)
    yield* directories.sync(directories.root)
  }, Effect.uninterruptible)

  /** Only what the registry names: whatever else somebody keeps in the image's folder stays, and the folder with it. */
  const remove = Effect.fnUntraced(function* (image: string, source: ImageSource) {
    for (const file of source.files) {
      const { path: target, role } = fileOf(image, file)
      yield* fs.remove(target, { force: true }).pipe(orStorageFailed({ image, asset: role }, target))
      yield* records.forget(image, file.filename)
    }
    const directory = directories.image(image)
    const left = yield* Effect.orElseSucceed(fs.readDirectory(directory), () => ["?"])
    if (left.length === 0) yield* fs.remove(directory, { recursive: true }).pipe(orStorageFailed({ image }, directory))
  }, Effect.uninterruptible)

  const cache: Cache = {
    directories,
    localImage,
    has,
    verify: (image, source) =>
      Effect.forEach(source.files, (file) => verifyFile(fileOf(image, file)), { concurrency: "unbounded" }),
    commit,
    remove,
    trust: (file, sha256, size) => records.write(file.image, file.filename, { version: 1, sha256, size })
  }
  return cache
})

const absentAsNone = <A, R>(
  effect: Effect.Effect<A, PlatformError, R>
): Effect.Effect<Option.Option<A>, PlatformError, R> =>
  Effect.catchIf(
    Effect.asSome(effect),
    (error) => error._tag === "SystemError" && error.reason === "NotFound",
    () => Effect.succeedNone
  )

import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Hasher } from "../Hasher.js"
import { Host, type Stamp } from "../Host.js"
import { ImageError } from "../ImageError.js"
import type { Verification } from "../ImageManager.js"
import type { Asset, ImageFile, ImageSource } from "../ImageSource.js"
import { LocalImage } from "../LocalImage.js"
import type { Sha256 } from "../Sha256.js"
import * as Directories from "./directories.js"
import { orStorageFailed, type Subject } from "./failure.js"
import { hashFile } from "./hashFile.js"
import * as Records from "./records.js"

/** One file of an image and where it belongs in the cache. */
export interface CacheFile extends ImageFile {
  readonly image: string
  readonly path: string
}

/** What the cache holds for a file. `expected` is the digest that it has to have, if any is known; `actual` says what it is. */
export type FileState =
  | { readonly _tag: "Good"; readonly file: CacheFile; readonly expected: Sha256 }
  | { readonly _tag: "Missing"; readonly file: CacheFile; readonly expected: Sha256 | undefined }
  | { readonly _tag: "Bad"; readonly file: CacheFile; readonly expected: Sha256 | undefined; readonly actual: string }

/** A file's place, and the size of the regular file there, if there is one. */
interface Found {
  readonly file: CacheFile
  readonly size: number | undefined
}

/** A verified file in the staging directory, its digest and the place it is for. */
export interface Placement {
  readonly from: string
  readonly file: CacheFile
  readonly sha256: Sha256
}

/** A cache directory: lookup and commit. */
export interface Cache {
  readonly options: CacheOptions
  readonly directories: Directories.Directories
  readonly localImage: (image: string, source: ImageSource) => LocalImage
  /** Whether all files are there, without looking into them. What cannot be looked at is not there, with a warning. */
  readonly has: (image: string, source: ImageSource) => Effect.Effect<boolean>
  /** Whether all files bear the stamps of their records, so that nobody has to read them. Only "stat" verification asks. */
  readonly areUntouched: (image: string, source: ImageSource) => Effect.Effect<boolean>
  /** Whether all files are there and verified; a missing one settles it before anything is read. */
  readonly isIntact: (image: string, source: ImageSource) => Effect.Effect<boolean, ImageError>
  /** Verify all files at once, each against its digest. */
  readonly verify: (image: string, source: ImageSource) => Effect.Effect<ReadonlyArray<FileState>, ImageError>
  /** Move verified files to their places, all of them or none, and remember the digests of those that are not pinned. */
  readonly commit: (image: string, placements: ReadonlyArray<Placement>) => Effect.Effect<void, ImageError>
  /** Remove the image's files and what is remembered of them. */
  readonly remove: (image: string, source: ImageSource) => Effect.Effect<void, ImageError>
}

export interface CacheOptions {
  /** How a file that is there is verified: always read, or trusted while its stamp is the recorded one. */
  readonly verification: Verification
  /** The directory is not ours to write. */
  readonly readOnly: boolean
}

export const make = Effect.fnUntraced(function* (cacheDir: string, options: CacheOptions) {
  const { readOnly, verification } = options
  const host = yield* Host
  const byStat = verification === "stat"
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const hasher = yield* Hasher
  const directories = yield* Directories.make(cacheDir)
  const records = yield* (readOnly ? Records.makeReadOnly : Records.make)(directories)

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

  /** What is at a file's place, if anything is. */
  const find = Effect.fnUntraced(function* (file: CacheFile): Effect.fn.Return<Found, ImageError> {
    const subject: Subject = { image: file.image, asset: file.role }
    const info = yield* orStorageFailed(subject, file.path)(stat(file.path))
    if (Option.isSome(info) && info.value.type !== "File") {
      return yield* new ImageError({
        reason: "StorageFailed",
        ...subject,
        path: file.path,
        detail: `a ${info.value.type.toLowerCase()} is where a file should be; move it away`
      })
    }
    return { file, size: Option.getOrUndefined(Option.map(info, ({ size }) => Number(size))) }
  })

  const findAll = (image: string, source: ImageSource) =>
    Effect.forEach(source.files, (file) => find(fileOf(image, file)), { concurrency: "unbounded" })

  const verifyFile = Effect.fnUntraced(function* (
    { file, size }: Found,
    busy: boolean
  ): Effect.fn.Return<FileState, ImageError> {
    const { asset, image, role } = file
    // Whoever removed an unpinned file has also forgotten the digest that was trusted.
    if (size === undefined) return { _tag: "Missing", file, expected: asset.sha256 }
    const record =
      asset.sha256 === undefined || byStat
        ? yield* records.read(image, file.filename)
        : Option.none<Records.FileRecord>()
    const expected = asset.sha256 ?? Option.getOrUndefined(record)?.sha256
    if (asset.size !== undefined && size !== asset.size) {
      return { _tag: "Bad", file, expected, actual: `${size} bytes instead of ${asset.size}` }
    }
    if (byStat && expected !== undefined && isUntouched(asset, record, yield* host.stamp(file.path))) {
      return { _tag: "Good", file, expected }
    }
    const { sha256, stamp } = yield* hash(file, busy)
    if (expected !== undefined && sha256 !== expected) return { _tag: "Bad", file, expected, actual: sha256 }
    if (expected === undefined) {
      yield* Effect.logWarning(
        `${role} of image "${image}" has no pinned SHA-256 and no record: it is trusted as it is (${sha256})`
      )
    }
    if (expected === undefined || Option.isSome(stamp)) {
      yield* records.write(image, file.filename, { version: 1, sha256, ...Option.match(stamp, noStamp) })
    }
    return { _tag: "Good", file, expected: sha256 }
  })

  /** All at once. While the largest is hashed there is hardly anything else to do, unless the others together are as large. */
  const verifyAll = (found: ReadonlyArray<Found>) => {
    const total = found.reduce((sum, { size = 0 }) => sum + size, 0)
    return Effect.forEach(found, (one) => verifyFile(one, 2 * (one.size ?? 0) <= total), { concurrency: "unbounded" })
  }

  /** Read the whole file. The stamp comes along when it will show every later change. */
  const hash = Effect.fnUntraced(function* (file: CacheFile, busy: boolean) {
    const begin = byStat ? yield* records.now(file.image) : Option.none<number>()
    const before = Option.isSome(begin) ? yield* host.stamp(file.path) : Option.none<Stamp>()
    const { sha256 } = yield* hashFile(file.path, busy).pipe(
      orStorageFailed({ image: file.image, asset: file.role }, file.path),
      Effect.provideService(FileSystem.FileSystem, fs),
      Effect.provideService(Hasher, hasher)
    )
    const after = Option.isSome(before) ? yield* host.stamp(file.path) : Option.none<Stamp>()
    const stamp = Option.filter(
      after,
      (seen) => Option.exists(before, sameStamp(seen)) && Option.exists(begin, (time) => isSettled(seen, time))
    )
    return { sha256, stamp }
  })

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
  const forgetPredecessor = ({ file: { asset, filename, image }, sha256 }: Placement) =>
    asset.sha256 === undefined
      ? Effect.whenEffect(
          records.forget(image, filename),
          Effect.map(
            records.read(image, filename),
            Option.exists((record) => record.sha256 !== sha256)
          )
        )
      : Effect.void

  const trust = ({ file: { asset, filename, image }, sha256 }: Placement) =>
    asset.sha256 === undefined ? records.write(image, filename, { version: 1, sha256 }) : Effect.void

  /**
   * First a second name for everything that is replaced, then the renames, with nothing in between: the moment in which
   * the files of an updated image do not belong together is that between two renames.
   */
  const commit = Effect.fnUntraced(function* (image: string, placements: ReadonlyArray<Placement>) {
    const directory = directories.image(image)
    yield* directories.ensure({ image }, directory)
    const steps = yield* Effect.forEach(placements, ({ file, from }) => {
      const subject: Subject = { image, asset: file.role }
      const before = `${from}.before`
      return Effect.map(orStorageFailed(subject, before)(keep(file.path, before)), (restore) => ({
        place: orStorageFailed(subject, file.path)(fs.rename(from, file.path)),
        restore: Effect.catchAll(restore, (error) => Effect.logError(`cannot restore ${file.path}: ${error.message}`))
      }))
    })
    yield* Effect.gen(function* () {
      yield* Effect.forEach(placements, forgetPredecessor, { discard: true })
      for (const [index, step] of steps.entries()) {
        yield* Effect.tapError(step.place, () =>
          Effect.forEach(steps.slice(0, index), ({ restore }) => restore, { discard: true })
        )
      }
      yield* directories.sync(directory)
      yield* directories.sync(directories.root)
      yield* Effect.forEach(placements, trust, { discard: true })
    }).pipe(Effect.uninterruptible)
  })

  /** Only what the registry names: whatever else somebody keeps in the image's folder stays, and the folder with it. */
  const remove = Effect.fnUntraced(function* (image: string, source: ImageSource) {
    const directory = directories.image(image)
    if (!(yield* directories.exists({ image }, directory))) return
    for (const file of source.files) {
      const { path: target, role } = fileOf(image, file)
      yield* fs.remove(target, { force: true }).pipe(orStorageFailed({ image, asset: role }, target))
      yield* records.forget(image, file.filename)
    }
    const left = yield* Effect.orElseSucceed(fs.readDirectory(directory), () => ["?"])
    if (left.length === 0) yield* fs.remove(directory, { recursive: true }).pipe(orStorageFailed({ image }, directory))
  }, Effect.uninterruptible)

  const cache: Cache = {
    options,
    directories,
    localImage,
    has,
    areUntouched: (image, source) =>
      byStat
        ? Effect.forEach(
            source.files,
            (file) =>
              Effect.zipWith(
                records.read(image, file.filename),
                host.stamp(fileOf(image, file).path),
                (record, stamp) => isUntouched(file.asset, record, stamp)
              ),
            { concurrency: "unbounded" }
          ).pipe(Effect.map((untouched) => untouched.every((yes) => yes)))
        : Effect.succeed(false),
    isIntact: (image, source) =>
      Effect.gen(function* () {
        const found = yield* findAll(image, source)
        if (found.some(({ size }) => size === undefined)) return false
        const states = yield* verifyAll(found)
        return states.every(({ _tag }) => _tag === "Good")
      }),
    verify: (image, source) => Effect.flatMap(findAll(image, source), verifyAll),
    commit,
    remove
  }
  return cache
})

const noStamp = { onNone: () => ({}), onSome: (stamp: Stamp) => ({ stamp }) }

const sameStamp = (one: Stamp) => (other: Stamp) =>
  one.size === other.size &&
  one.mtime === other.mtime &&
  one.ctime === other.ctime &&
  one.ino === other.ino &&
  one.dev === other.dev

/** The record is of the wanted digest, and of the file as it still is. */
const isUntouched = (asset: Asset, record: Option.Option<Records.FileRecord>, stamp: Option.Option<Stamp>): boolean =>
  Option.exists(
    record,
    (known) =>
      known.sha256 === (asset.sha256 ?? known.sha256) &&
      known.stamp !== undefined &&
      Option.exists(stamp, sameStamp(known.stamp))
  )

/**
 * Two changes within one tick of the file system's clock leave the same times. So a stamp is worth something only if the
 * last change was safely before the reading began (git's "racy clean" problem); two seconds are the coarsest tick in use,
 * that of FAT.
 */
const isSettled = ({ ctime, mtime }: Stamp, readingBegan: number): boolean =>
  Math.max(Number(mtime), Number(ctime)) / 1e6 < readingBegan - 2000

const absentAsNone = <A, R>(
  effect: Effect.Effect<A, PlatformError, R>
): Effect.Effect<Option.Option<A>, PlatformError, R> =>
  Effect.catchIf(Effect.asSome(effect), isAbsent, () => Effect.succeedNone)

const isAbsent = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

const isForbidden = (error: PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "PermissionDenied"

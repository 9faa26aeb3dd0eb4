import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Hasher } from "../Hasher.js"
import { Host, type Stamp } from "../Host.js"
import { ImageError } from "../ImageError.js"
import type { Verification } from "../ImageManager.js"
import type { Asset, ImageSource } from "../ImageSource.js"
import { LocalImage } from "../LocalImage.js"
import type { Sha256 } from "../Sha256.js"
import * as Commit from "./commit.js"
import * as Directories from "./directories.js"
import { isAbsent, orStorageFailed, type Subject } from "./failure.js"
import { hashFile } from "./hashFile.js"
import * as Records from "./records.js"

/** What the cache holds for a file. `expected` is the digest that it has to have, if any is known; `actual` says what it is. */
export type FileState =
  | { readonly _tag: "Good"; readonly file: Directories.CacheFile; readonly expected: Sha256 }
  | { readonly _tag: "Missing"; readonly file: Directories.CacheFile; readonly expected: Sha256 | undefined }
  | {
      readonly _tag: "Bad"
      readonly file: Directories.CacheFile
      readonly expected: Sha256 | undefined
      readonly actual: string
    }

/** A file's place, and the size of the regular file there, if there is one. */
interface Found {
  readonly file: Directories.CacheFile
  readonly size: number | undefined
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
  readonly commit: Commit.Commit
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
  const hasher = yield* Hasher
  const directories = yield* Directories.make(cacheDir)
  const records = yield* (readOnly ? Records.makeReadOnly : Records.make)(directories)

  const localImage = (image: string, source: ImageSource) => {
    const paths = Object.fromEntries(
      source.files.map((file) => [`${file.role}Path`, directories.file(image, file).path])
    )
    return new LocalImage({ name: image, kernelPath: "", rootfsPath: "", ...paths })
  }

  const stat = (file: string) => absentAsNone(fs.stat(file))

  const has = (image: string, source: ImageSource) =>
    Effect.forEach(source.files, (file) => stat(directories.file(image, file).path), { concurrency: "unbounded" }).pipe(
      Effect.map((infos) => infos.every((info) => Option.isSome(info) && info.value.type === "File")),
      Effect.catchAll((error) =>
        Effect.as(Effect.logWarning(`cannot look at image "${image}" in the cache: ${error.message}`), false)
      )
    )

  /** What is at a file's place, if anything is. */
  const find = Effect.fnUntraced(function* (file: Directories.CacheFile): Effect.fn.Return<Found, ImageError> {
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
    Effect.forEach(source.files, (file) => find(directories.file(image, file)), { concurrency: "unbounded" })

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
  const hash = Effect.fnUntraced(function* (file: Directories.CacheFile, busy: boolean) {
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

  /** Only what the registry names: whatever else somebody keeps in the image's folder stays, and the folder with it. */
  const remove = Effect.fnUntraced(function* (image: string, source: ImageSource) {
    const directory = directories.image(image)
    if (!(yield* directories.exists({ image }, directory))) return
    for (const file of source.files) {
      const { path: target, role } = directories.file(image, file)
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
                host.stamp(directories.file(image, file).path),
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
    commit: yield* Commit.make(directories, records),
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

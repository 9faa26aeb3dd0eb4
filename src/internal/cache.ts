import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Hasher } from "../Hasher.js"
import { ImageError } from "../ImageError.js"
import type { ImageFile, ImageSource } from "../ImageSource.js"
import { LocalImage } from "../LocalImage.js"
import type { Sha256 } from "../Sha256.js"
import { orStorageFailed, type Subject, storageFailed } from "./failure.js"
import { hashFile } from "./hashFile.js"
import * as Records from "./records.js"

/** Our own bookkeeping, beside the images; losing it loses no image. */
const bookkeeping = ".smolvm-images"

/** One file of an image and where it belongs in the cache. */
export interface CacheFile extends ImageFile {
  readonly image: string
  readonly path: string
}

/** What the cache holds for a file. `expected` is the digest that it has to have, if any is known. */
export type FileState =
  | { readonly _tag: "Good"; readonly file: CacheFile }
  | { readonly _tag: "Missing"; readonly file: CacheFile; readonly expected: Sha256 | undefined }
  | { readonly _tag: "Bad"; readonly file: CacheFile; readonly expected: Sha256; readonly actual: string }

/** A verified file in the staging directory and the place it is for. */
export interface Placement {
  readonly from: string
  readonly file: CacheFile
}

/** The cache directory: lookup, staging and commit. Everything that knows its layout is here. */
export interface Cache {
  readonly directory: string
  readonly files: (image: string, source: ImageSource) => ReadonlyArray<CacheFile>
  readonly localImage: (image: string, source: ImageSource) => LocalImage
  /** Whether all files are there, without looking into them. What cannot be looked at is not there, with a warning. */
  readonly has: (image: string, source: ImageSource) => Effect.Effect<boolean>
  /** Verify all files at once, each against its digest. */
  readonly verify: (image: string, source: ImageSource) => Effect.Effect<ReadonlyArray<FileState>, ImageError>
  /** A fresh directory on the cache's own file system, gone with the Scope. */
  readonly stagingDirectory: (subject: Subject) => Effect.Effect<string, ImageError, Scope.Scope>
  /** Move verified files to their places: all of them, or none. */
  readonly commit: (image: string, placements: ReadonlyArray<Placement>) => Effect.Effect<void, ImageError>
  /** Remember the digest of an unpinned file that was just placed. */
  readonly trust: (file: CacheFile, sha256: Sha256, size: number) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (cacheDir: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const hasher = yield* Hasher
  const directory = path.resolve(cacheDir)
  const own = path.join(directory, bookkeeping)
  const records = yield* Records.make(path.join(own, "records"))

  const files = (image: string, source: ImageSource): ReadonlyArray<CacheFile> =>
    source.files.map((file) => ({ ...file, image, path: path.join(directory, image, file.filename) }))

  const localImage = (image: string, source: ImageSource) => {
    const at = (file: string) => path.join(directory, image, file)
    const [kernel, rootfs, initrd] = [...source.files.map(({ filename }) => at(filename))]
    return new LocalImage({
      name: image,
      kernelPath: kernel ?? at(""),
      rootfsPath: rootfs ?? at(""),
      ...(initrd === undefined ? {} : { initrdPath: initrd })
    })
  }

  const stat = (file: CacheFile) =>
    fs.stat(file.path).pipe(
      Effect.asSome,
      Effect.catchIf(
        (error) => error._tag === "SystemError" && error.reason === "NotFound",
        () => Effect.succeedNone
      )
    )

  const has = (image: string, source: ImageSource) =>
    Effect.forEach(files(image, source), stat, { concurrency: "unbounded" }).pipe(
      Effect.map((infos) => infos.every((info) => Option.isSome(info) && info.value.type === "File")),
      Effect.catchAll((error) =>
        Effect.as(Effect.logWarning(`cannot look at image "${image}" in the cache: ${error.message}`), false)
      )
    )

  const verifyFile = Effect.fnUntraced(function* (file: CacheFile): Effect.fn.Return<FileState, ImageError> {
    const { asset, image, role } = file
    const subject: Subject = { image, asset: role }
    const storage = orStorageFailed(subject, file.path)
    const record = asset.sha256 === undefined ? yield* records.read(image, file.filename) : Option.none()
    const recorded = Option.getOrUndefined(record)?.sha256
    const info = yield* storage(stat(file))
    // Whoever removed the file has also forgotten what was trusted.
    if (Option.isNone(info)) return { _tag: "Missing", file, expected: asset.sha256 }
    if (info.value.type !== "File") {
      return yield* new ImageError({
        reason: "StorageFailed",
        ...subject,
        path: file.path,
        detail: `a ${info.value.type} is where a file should be; move it away`
      })
    }
    const expected = asset.sha256 ?? recorded
    if (expected !== undefined && asset.size !== undefined && Number(info.value.size) !== asset.size) {
      return { _tag: "Bad", file, expected, actual: `${info.value.size} bytes instead of ${asset.size}` }
    }
    const { sha256, size } = yield* storage(
      hashFile(file.path).pipe(Effect.provideService(FileSystem.FileSystem, fs), Effect.provideService(Hasher, hasher))
    )
    if (expected !== undefined) {
      return sha256 === expected ? { _tag: "Good", file } : { _tag: "Bad", file, expected, actual: sha256 }
    }
    yield* Effect.logWarning(
      `${role} of image "${image}" has no pinned SHA-256 and no record: it is trusted as it is (${sha256})`
    )
    yield* records.write(image, file.filename, { version: 1, sha256, size })
    return { _tag: "Good", file }
  })

  const stagingDirectory = Effect.fnUntraced(function* (subject: Subject) {
    const parent = path.join(own, "staging")
    yield* fs.makeDirectory(parent, { recursive: true }).pipe(orStorageFailed(subject, parent))
    yield* ensureInside(subject, parent)
    const name = path.join(parent, yield* randomName)
    yield* Effect.acquireRelease(fs.makeDirectory(name).pipe(orStorageFailed(subject, name)), () =>
      fs
        .remove(name, { recursive: true, force: true })
        .pipe(
          Effect.catchAll((error) => Effect.logWarning(`cannot remove the staging directory ${name}: ${error.message}`))
        )
    )
    return name
  })

  /** A directory of ours must not be a link to somewhere else: what we write stays in the cache. */
  const ensureInside = Effect.fnUntraced(function* (subject: Subject, inside: string) {
    const storage = orStorageFailed(subject, inside)
    const [real, root] = yield* storage(Effect.all([fs.realPath(inside), fs.realPath(directory)]))
    if (real === path.join(root, path.relative(directory, inside))) return
    return yield* new ImageError({
      reason: "StorageFailed",
      ...subject,
      path: inside,
      detail: `a link leads out of the cache directory, to ${real}; remove it`
    })
  })

  const syncDirectory = (name: string) =>
    Effect.scoped(Effect.flatMap(fs.open(name, { flag: "r" }), (opened) => opened.sync)).pipe(
      // Some systems cannot open or sync a directory: there the rename is as durable as it gets.
      Effect.catchAll((error) => Effect.logDebug(`cannot sync the directory ${name}: ${error.message}`))
    )

  const commit = Effect.fnUntraced(function* (image: string, placements: ReadonlyArray<Placement>) {
    const subject: Subject = { image }
    const imageDirectory = path.join(directory, image)
    yield* fs.makeDirectory(imageDirectory, { recursive: true }).pipe(orStorageFailed(subject, imageDirectory))
    yield* ensureInside(subject, imageDirectory)

    const undo: Array<Effect.Effect<void>> = []
    for (const { file, from } of placements) {
      undo.push(
        yield* place(from, file.path).pipe(
          Effect.mapError((error) => storageFailed({ image, asset: file.role }, file.path, error)),
          Effect.tapError(() => Effect.all(undo.toReversed(), { discard: true }))
        )
      )
    }
    yield* syncDirectory(imageDirectory)
    yield* syncDirectory(directory)
  }, Effect.uninterruptible)

  /** Put one file in its place and return how to take that back; what was there before is kept by a second name. */
  const place = Effect.fnUntraced(function* (from: string, to: string) {
    const before = `${from}.before`
    const kept = yield* Effect.isSuccess(fs.link(to, before))
    yield* fs.rename(from, to)
    return (kept ? fs.rename(before, to) : fs.remove(to)).pipe(
      Effect.catchAll((error) => Effect.logError(`cannot restore ${to}: ${error.message}`))
    )
  })

  const cache: Cache = {
    directory,
    files,
    localImage,
    has,
    verify: (image, source) => Effect.forEach(files(image, source), verifyFile, { concurrency: "unbounded" }),
    stagingDirectory,
    commit,
    trust: (file, sha256, size) => records.write(file.image, file.filename, { version: 1, sha256, size })
  }
  return cache
})

const randomName = Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 0x1_0000), 5), (parts) =>
  parts.map((part) => part.toString(16).padStart(4, "0")).join("")
)

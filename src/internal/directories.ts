import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Random from "effect/Random"
import { Host } from "../Host.js"
import { ImageError } from "../ImageError.js"
import type { ImageFile } from "../ImageSource.js"
import { orStorageFailed, type Subject } from "./failure.js"

/** Our own bookkeeping, beside the images; losing it loses no image. */
const bookkeeping = ".smolvm-images"

/** One file of an image and where it belongs in the cache. */
export interface CacheFile extends ImageFile {
  readonly image: string
  readonly path: string
}

/** The directories of one cache, created when they are first needed and never outside it. */
export interface Directories {
  readonly root: string
  readonly staging: string
  readonly locks: string
  readonly records: string
  readonly image: (name: string) => string
  readonly file: (image: string, file: ImageFile) => CacheFile
  /**
   * Create a directory below the root, and every one on the way to it. Fails when one of them is a link that leads out of
   * the cache, before anything is created behind it.
   */
  readonly ensure: (subject: Subject, directory: string) => Effect.Effect<void, ImageError>
  /** Whether a directory below the root is there; fails as {@link Directories.ensure} does. */
  readonly exists: (subject: Subject, directory: string) => Effect.Effect<boolean, ImageError>
  /** A path in the staging area for something of this process, which tells by its name whose it is. */
  readonly scratch: (subject: Subject) => Effect.Effect<string, ImageError>
  /** Make what was created in a directory or renamed into it durable. */
  readonly sync: (directory: string) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (cacheDir: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { process } = yield* Host
  const root = path.resolve(cacheDir)
  const staging = path.join(root, bookkeeping, "staging")

  /** Every directory on the way from below the root to this one. */
  const stepsTo = (directory: string): ReadonlyArray<string> => {
    const names = path.relative(root, directory).split(path.sep)
    return names.map((_, index) => path.join(root, ...names.slice(0, index + 1)))
  }

  /** A directory, and none that a link has put somewhere else. */
  const check = Effect.fnUntraced(function* (subject: Subject, directory: string) {
    const storage = orStorageFailed(subject, directory)
    const realRoot = yield* storage(fs.realPath(root))
    const real = yield* storage(fs.realPath(directory))
    const refuse = (detail: string) => new ImageError({ reason: "StorageFailed", ...subject, path: directory, detail })
    if (real !== path.join(realRoot, path.relative(root, directory))) {
      return yield* refuse(`a link leads away from it, to ${real}; remove the link`)
    }
    const { type } = yield* storage(fs.stat(directory))
    if (type !== "Directory")
      return yield* refuse(`a ${type.toLowerCase()} is where a directory should be; move it away`)
  })

  const ensure = Effect.fnUntraced(function* (subject: Subject, directory: string) {
    yield* orStorageFailed(subject, root)(fs.makeDirectory(root, { recursive: true }))
    yield* warnOfStrangers
    for (const step of stepsTo(directory)) {
      yield* fs.makeDirectory(step).pipe(unlessExists, orStorageFailed(subject, step))
      yield* check(subject, step)
    }
  })

  const exists = Effect.fnUntraced(function* (subject: Subject, directory: string) {
    for (const step of stepsTo(directory)) {
      if (!(yield* orStorageFailed(subject, step)(fs.exists(step)))) return false
      yield* check(subject, step)
    }
    return true
  })

  /** Whoever may write to a directory may replace what is in it, verified or not. */
  const warnOfStrangers = Effect.gen(function* () {
    if (warned.has(root)) return
    warned.add(root)
    let directory = yield* fs.realPath(root)
    for (;;) {
      if (isOpenToAll(yield* fs.stat(directory))) {
        yield* Effect.logWarning(
          `everybody may replace what is in ${directory}, the images of the cache ${root} included; change its mode`
        )
      }
      if (directory === path.dirname(directory)) return
      directory = path.dirname(directory)
    }
  }).pipe(Effect.ignore)

  const directories: Directories = {
    root,
    staging,
    locks: path.join(root, bookkeeping, "locks"),
    records: path.join(root, bookkeeping, "records"),
    image: (name) => path.join(root, name),
    file: (image, file) => ({ ...file, image, path: path.join(root, image, file.filename) }),
    ensure,
    exists,
    scratch: (subject) =>
      Effect.zipWith(ensure(subject, staging), randomName, (_, name) => path.join(staging, `${process.id}.${name}`)),
    sync: (directory) =>
      Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync)).pipe(
        // Some systems cannot open or sync a directory: there a rename is as durable as it gets.
        Effect.catchAll((error) => Effect.logDebug(`cannot sync the directory ${directory}: ${error.message}`))
      )
  }
  return directories
})

/** The caches whose owners have been warned, process-wide. */
const warned = globalValue("smolvm-images/warned", () => new Set<string>())

/** Writable by everybody, and not sticky as /tmp is, where everybody may replace only what is theirs. */
const isOpenToAll = ({ mode }: FileSystem.File.Info): boolean => (mode & 0o1002) === 0o002

const unlessExists = <A, R>(effect: Effect.Effect<A, PlatformError, R>) =>
  Effect.catchIf(
    Effect.asVoid(effect),
    (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
    () => Effect.void
  )

/** A name that nobody else has: 80 random bits. */
export const randomName: Effect.Effect<string> = Effect.map(
  Effect.replicateEffect(Random.nextIntBetween(0, 0x1_0000), 5),
  (parts) => parts.map((part) => part.toString(16).padStart(4, "0")).join("")
)

import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { ImageError } from "../ImageError.js"
import { orStorageFailed, type Subject } from "./failure.js"

/** Our own bookkeeping, beside the images; losing it loses no image. */
const bookkeeping = ".smolvm-images"

/** The directories of one cache, created when they are first needed and never outside it. */
export interface Directories {
  readonly root: string
  readonly staging: string
  readonly locks: string
  readonly records: string
  readonly image: (name: string) => string
  /**
   * Create a directory below the root, and every one on the way to it. Fails when one of them is a link that leads out of
   * the cache, before anything is created behind it.
   */
  readonly ensure: (subject: Subject, directory: string) => Effect.Effect<void, ImageError>
  /** Make what was created in a directory or renamed into it durable. */
  readonly sync: (directory: string) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (cacheDir: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = path.resolve(cacheDir)

  const ensure = Effect.fnUntraced(function* (subject: Subject, directory: string) {
    yield* orStorageFailed(subject, root)(fs.makeDirectory(root, { recursive: true }))
    const realRoot = yield* orStorageFailed(subject, root)(fs.realPath(root))
    const steps = path.relative(root, directory).split(path.sep)
    for (let depth = 1; depth <= steps.length; depth++) {
      const below = path.join(...steps.slice(0, depth))
      const step = path.join(root, below)
      const storage = orStorageFailed(subject, step)
      yield* fs.makeDirectory(step).pipe(unlessExists, storage)
      const real = yield* storage(fs.realPath(step))
      if (real !== path.join(realRoot, below)) {
        return yield* new ImageError({
          reason: "StorageFailed",
          ...subject,
          path: step,
          detail: `a link leads out of the cache directory, to ${real}; remove it`
        })
      }
      const info = yield* storage(fs.stat(step))
      if (info.type !== "Directory") {
        return yield* new ImageError({
          reason: "StorageFailed",
          ...subject,
          path: step,
          detail: `a ${info.type} is where a directory should be; move it away`
        })
      }
    }
  })

  const directories: Directories = {
    root,
    staging: path.join(root, bookkeeping, "staging"),
    locks: path.join(root, bookkeeping, "locks"),
    records: path.join(root, bookkeeping, "records"),
    image: (name) => path.join(root, name),
    ensure,
    sync: (directory) =>
      Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync)).pipe(
        // Some systems cannot open or sync a directory: there a rename is as durable as it gets.
        Effect.catchAll((error) => Effect.logDebug(`cannot sync the directory ${directory}: ${error.message}`))
      )
  }
  return directories
})

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

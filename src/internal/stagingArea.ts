import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Host } from "../Host.js"
import type { ImageError } from "../ImageError.js"
import type { ImageFile, Role } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"
import type { Directories } from "./directories.js"
import { orStorageFailed, type Subject } from "./failure.js"

/**
 * Where files are made before they are moved to their places: one directory for each fetch, named after the process it
 * belongs to, so that others can tell what is alive and what a killed process left behind.
 */
export interface StagingArea {
  /** A fresh directory on the cache's own file system, gone with the Scope. */
  readonly open: (subject: Subject) => Effect.Effect<StagingDirectory, ImageError, Scope.Scope>
}

export interface StagingDirectory {
  readonly path: string
  /** The path for an asset under construction. */
  readonly file: (role: Role, sha256: Sha256 | undefined) => string
  /**
   * Clear away what dead processes left in the staging area. A part of a file that is wanted is kept: it moves here, to
   * the path that {@link StagingDirectory.file} gives for it.
   */
  readonly inherit: (wanted: ReadonlyArray<ImageFile>) => Effect.Effect<void>
}

/** A sign of life is given this often ... */
const beatInterval = "1 minute"

/** ... and whoever cannot be asked is taken for dead after so long without one, in milliseconds. */
const silenceOfDeath = 60 * 60 * 1000

export const make = Effect.fnUntraced(function* (directories: Directories) {
  const host = yield* Host
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const part = (sha256: Sha256) => `.${sha256}.part`

  const remove = (directory: string) =>
    fs
      .remove(directory, { recursive: true, force: true })
      .pipe(Effect.catchAll((error) => Effect.logWarning(`cannot remove ${directory}: ${error.message}`)))

  const isLink = (file: string) => Effect.isSuccess(fs.readLink(file))

  const modified = (file: string) =>
    Effect.map(fs.stat(file), ({ mtime }) => Option.getOrUndefined(mtime)?.getTime() ?? 0)

  /** Both times come from the clock of the file system, so it does not matter whose clock is right. */
  const isDead = Effect.fnUntraced(function* (mine: string, name: string) {
    const alive = yield* host.isAlive(name.slice(0, name.lastIndexOf(".")))
    if (Option.isSome(alive)) return !alive.value
    const [now, last] = yield* Effect.all([modified(mine), modified(path.join(directories.staging, name))])
    return now - last > silenceOfDeath
  })

  /** A regular file of ours under no other name: through a link or a name of somebody else's we would write elsewhere. */
  const isOurs = Effect.fnUntraced(function* (mine: string, file: string) {
    if (yield* isLink(file)) return false
    const [{ uid }, info] = yield* Effect.all([fs.stat(mine), fs.stat(file)])
    const same = Option.getOrUndefined(info.uid) === Option.getOrUndefined(uid)
    return info.type === "File" && same && Option.getOrElse(info.nlink, () => 1) === 1
  })

  /**
   * Take over what a dead process left. It is moved here before anything is looked at: by a rename, which moves a link
   * and does not follow it, of which only one of several who try succeeds, to where nobody else may change it.
   */
  const takeOver = Effect.fnUntraced(function* (
    directory: StagingDirectory,
    name: string,
    wanted: ReadonlyArray<ImageFile>
  ): Effect.fn.Return<void, PlatformError> {
    const taken = path.join(directory.path, name)
    yield* fs.rename(path.join(directories.staging, name), taken)
    const isDirectory = !(yield* isLink(taken)) && (yield* fs.stat(taken)).type === "Directory"
    const left = isDirectory ? yield* fs.readDirectory(taken) : []
    for (const { asset, role } of wanted) {
      const { sha256 } = asset
      if (sha256 === undefined) continue
      const found = left.find((entry) => entry.endsWith(part(sha256)))
      const to = directory.file(role, sha256)
      if (found === undefined || (yield* fs.exists(to))) continue
      const from = path.join(taken, found)
      if (!(yield* Effect.orElseSucceed(isOurs(directory.path, from), () => false))) continue
      yield* fs.rename(from, to)
      yield* Effect.logInfo(`going on with what a killed process left of the ${role}`)
    }
    yield* remove(taken)
  })

  const open = Effect.fnUntraced(function* (subject: Subject) {
    const mine = yield* directories.scratch(subject)
    yield* Effect.acquireRelease(fs.makeDirectory(mine).pipe(orStorageFailed(subject, mine)), () => remove(mine))
    const beat = path.join(mine, "beat")
    yield* Effect.zipRight(fs.makeDirectory(beat), fs.remove(beat, { recursive: true })).pipe(
      Effect.uninterruptible,
      Effect.ignoreLogged,
      Effect.repeat(Schedule.spaced(beatInterval)),
      Effect.forkScoped
    )

    const directory: StagingDirectory = {
      path: mine,
      file: (role, sha256) => path.join(mine, sha256 === undefined ? `${role}.part` : `${role}${part(sha256)}`),
      inherit: (wanted) =>
        Effect.gen(function* () {
          for (const name of yield* fs.readDirectory(directories.staging)) {
            if (name === path.basename(mine)) continue
            yield* Effect.whenEffect(takeOver(directory, name, wanted), isDead(mine, name)).pipe(leftAlone)
          }
        }).pipe(leftAlone)
    }
    return directory
  })

  const area: StagingArea = { open }
  return area
})

/** Somebody else clears up at the same time, or may clear up and we may not: either way it is not our failure. */
const leftAlone = <A>(effect: Effect.Effect<A, PlatformError>): Effect.Effect<void> =>
  Effect.catchAll(Effect.asVoid(effect), (error) =>
    Effect.logDebug(`left-overs in the staging area stay: ${error.message}`)
  )

import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { HostService } from "../Host.js"
import type { ImageError } from "../ImageError.js"
import type { Sha256 } from "../Sha256.js"
import { type Directories, randomName } from "./directories.js"
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
  readonly file: (filename: string, sha256: Sha256 | undefined) => string
  /**
   * Clear away what dead processes left in the staging area. A part of a file that is wanted is kept: it moves here, to
   * the path that {@link StagingDirectory.file} gives for its digest.
   */
  readonly inherit: (wanted: ReadonlyArray<Sha256>) => Effect.Effect<void>
}

/** A sign of life is given this often ... */
const beatInterval = "1 second"

/** ... and whoever cannot be asked is taken for dead after so long without one, in milliseconds. */
const silenceOfDeath = 60 * 60 * 1000

export const make = Effect.fnUntraced(function* (directories: Directories, host: HostService) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const partName = (sha256: Sha256) => `${sha256}.part`

  const remove = (directory: string) =>
    fs
      .remove(directory, { recursive: true, force: true })
      .pipe(Effect.catchAll((error) => Effect.logWarning(`cannot remove ${directory}: ${error.message}`)))

  const modified = (file: string) =>
    Effect.map(fs.stat(file), ({ mtime }) => Option.getOrUndefined(mtime)?.getTime() ?? 0)

  /** Times of the same file system are compared, so it does not matter whose clock is right. */
  const isDead = Effect.fnUntraced(function* (mine: string, name: string) {
    const alive = yield* host.isAlive(name.slice(0, name.lastIndexOf(".")))
    if (Option.isSome(alive)) return !alive.value
    const [now, last] = yield* Effect.all([modified(mine), modified(path.join(directories.staging, name))])
    return now - last > silenceOfDeath
  })

  /** Take a dead process's part of a file, unless it is a trap: a link would make us write somewhere else. */
  const adopt = Effect.fnUntraced(function* (from: string, to: string) {
    if (yield* fs.exists(to)) return
    yield* fs.rename(from, to)
    const isLink = yield* Effect.isSuccess(fs.readLink(to))
    const info = isLink ? undefined : yield* fs.stat(to)
    if (info?.type !== "File" || Option.getOrElse(info.nlink, () => 1) !== 1) return yield* fs.remove(to)
    yield* Effect.logInfo(`going on with ${info.size} bytes that a killed process left behind`)
  })

  const open = Effect.fnUntraced(function* (subject: Subject) {
    yield* directories.ensure(subject, directories.staging)
    const name = `${host.process.id}.${yield* randomName}`
    const mine = path.join(directories.staging, name)
    yield* Effect.acquireRelease(fs.makeDirectory(mine).pipe(orStorageFailed(subject, mine)), () => remove(mine))
    yield* Effect.flatMap(Clock.currentTimeMillis, (now) => fs.utimes(mine, now / 1000, now / 1000)).pipe(
      Effect.ignoreLogged,
      Effect.repeat(Schedule.spaced(beatInterval)),
      Effect.forkScoped
    )

    const inherit = Effect.fnUntraced(
      function* (wanted: ReadonlyArray<Sha256>) {
        const names = yield* fs.readDirectory(directories.staging)
        for (const other of names) {
          if (other === name || !(yield* isDead(mine, other))) continue
          const dead = path.join(directories.staging, other)
          const left = yield* fs.readDirectory(dead)
          for (const sha256 of wanted.filter((digest) => left.includes(partName(digest)))) {
            yield* adopt(path.join(dead, partName(sha256)), path.join(mine, partName(sha256)))
          }
          yield* remove(dead)
        }
      },
      // Somebody else clears up at the same time, or may clear up and we may not: either way it is not our failure.
      Effect.catchAll((error) => Effect.logDebug(`left-overs in the staging area stay: ${error.message}`))
    )

    const directory: StagingDirectory = {
      path: mine,
      file: (filename, sha256) => path.join(mine, sha256 === undefined ? filename : partName(sha256)),
      inherit
    }
    return directory
  })

  const area: StagingArea = { open }
  return area
})

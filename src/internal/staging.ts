import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Digest, Hasher } from "../Hasher.js"
import type { ImageError } from "../ImageError.js"
import type { Sha256 } from "../Sha256.js"
import { makeBuffer } from "./buffer.js"
import * as Delegate from "./delegate.js"
import { orStorageFailed, type Subject } from "./failure.js"
import { hashFile } from "./hashFile.js"
import { outcome } from "./outcome.js"
import * as Ring from "./ring.js"

const MiB = 1024 * 1024
/** Enough that neither the network nor the disk nor the hash waits for a hiccup of another one. */
const ringSize = 4 * MiB
/** How much is hashed and written at least at a time: a write for each 64 KiB of the network costs several times as much. */
const portion = MiB
/** What has been written is made durable from time to time, beside the transfer, so that little is left for the end. */
const syncStep = 32 * MiB

/** A file under construction in the staging directory, hashed while it is written. */
export interface Staged {
  readonly path: string
  /** How many bytes it has taken so far. */
  readonly position: () => number
  /** Say how long the whole file will be, before its first bytes: where it is best hashed depends on it. */
  readonly expect: (size: number) => void
  /** Take the next bytes; the chunk may be reused afterwards. */
  readonly append: (chunk: Uint8Array) => Effect.Effect<void, ImageError>
  /**
   * Let `place` put a whole file where none is yet, take it over in place of an empty staged file, and read it once for
   * its digest. `false`: `place` could not, and nothing has changed.
   */
  readonly adopt: (place: (to: string) => Effect.Effect<boolean>) => Effect.Effect<boolean, ImageError>
  /** Throw everything away and start over. */
  readonly restart: Effect.Effect<void, ImageError>
  /** The digest of everything taken. Nothing but {@link Staged.restart} or {@link Staged.sync} may follow. */
  readonly digest: Effect.Effect<Sha256, ImageError>
  /** Make the bytes durable. */
  readonly sync: Effect.Effect<void, ImageError>
}

/**
 * Open a file for staging: a new one, or the part that a killed process left there, which is hashed and gone on with. What the
 * network delivers is hashed and written in the background. The file is closed with the Scope, after the last write has ended.
 * `expected` is the size of the whole file, if it is known.
 */
export const make = Effect.fnUntraced(function* (subject: Subject, path: string, expected: number | undefined) {
  const context = yield* Effect.context<FileSystem.FileSystem | Hasher>()
  const fs = yield* FileSystem.FileSystem
  const hasher = yield* Hasher
  const scope = yield* Effect.scope
  const storage = orStorageFailed(subject, path)

  const inherited = yield* storage(fs.exists(path))
  let file = yield* fs.open(path, { flag: inherited ? "r+" : "wx" }).pipe(storage)
  let size = expected
  let digest: Digest | undefined
  let adopted: Sha256 | undefined
  /** How many bytes of the file did not come through the ring; less than nothing when some that did were thrown away. */
  let others = 0
  /** What had come through the ring at the last sync. */
  let synced = 0
  let syncing: Fiber.Fiber<void, ImageError> = Fiber.void

  /** What the present digest holds. */
  let hashing = yield* Scope.fork(scope, ExecutionStrategy.sequential)
  const started = Effect.suspend(() => {
    if (digest !== undefined) return Effect.succeed(digest)
    return Effect.tap(Scope.extend(hasher.start({ size, busy: true }), hashing), (begun) => {
      digest = begun
    })
  })
  const forget = Effect.gen(function* () {
    yield* Scope.close(hashing, Exit.void)
    hashing = yield* Scope.fork(scope, ExecutionStrategy.sequential)
    digest = undefined
  })
  const hash = (bytes: Uint8Array) => Effect.flatMap(started, ({ update }) => update(bytes))

  /** One at a time; a failure shows when the next one begins, or at the end. */
  const syncSoon = Effect.gen(function* () {
    yield* outcome(syncing)
    syncing = yield* storage(file.sync).pipe(Effect.uninterruptible, Effect.forkIn(scope))
  })
  const write = (bytes: Uint8Array) => storage(file.writeAll(bytes))
  const { filled, put, settle } = yield* Ring.make<ImageError>({
    size: ringSize,
    portion,
    consumers: [write, hash],
    follower: () => (digest === undefined ? undefined : Delegate.between(digest, file)?.follow)
  })

  const append = (chunk: Uint8Array) =>
    Effect.zipRight(
      // First the digest: when it can follow the ring, then from the first byte on.
      digest === undefined ? Effect.zipRight(started, put(chunk)) : put(chunk),
      Effect.suspend(() => {
        if (filled() - synced < syncStep) return Effect.void
        synced = filled()
        return syncSoon
      })
    )

  const adopt = Effect.fnUntraced(function* (place: (to: string) => Effect.Effect<boolean>) {
    const clone = `${path}.clone`
    if (!(yield* Effect.uninterruptible(place(clone)))) return false
    const { mode } = yield* storage(fs.stat(path)) // a clone has the mode of its original, not that of the umask
    yield* storage(fs.chmod(clone, mode & 0o777))
    // Opened first: nothing may fail once it is at our path, or what is written from then on is not what is placed.
    const opened = yield* fs.open(clone, { flag: "r+" }).pipe(storage, Scope.extend(scope))
    yield* storage(fs.rename(clone, path))
    file = opened
    const whole = yield* storage(Effect.provide(hashFile(path), context))
    adopted = whole.sha256
    others = whole.size - filled()
    return true
  })

  /** Hash what is in the file already, and go on behind it. */
  const inherit = Effect.gen(function* () {
    const buffer = makeBuffer(MiB)
    for (;;) {
      const count = Number(yield* file.read(buffer).pipe(storage, Effect.uninterruptible))
      if (count === 0) return
      yield* hash(buffer.subarray(0, count))
      others += count
    }
  })

  if (inherited) yield* inherit
  const staged: Staged = {
    path,
    position: () => others + filled(),
    expect: (length) => {
      size = length
    },
    append,
    adopt,
    restart: Effect.gen(function* () {
      yield* settle
      yield* storage(file.truncate(0))
      yield* storage(file.seek(0, "start"))
      yield* forget
      size = expected
      adopted = undefined
      others = -filled()
    }).pipe(Effect.uninterruptible),
    digest: Effect.zipRight(
      settle,
      Effect.suspend(() =>
        adopted === undefined ? Effect.flatMap(started, ({ finish }) => finish) : Effect.succeed(adopted)
      )
    ),
    sync: Effect.suspend(() => outcome(syncing)).pipe(Effect.zipRight(storage(file.sync)), Effect.uninterruptible)
  }
  return staged
})

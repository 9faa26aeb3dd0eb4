import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Digest, Hasher } from "../Hasher.js"
import type { ImageError } from "../ImageError.js"
import type { Sha256 } from "../Sha256.js"
import { makeBuffer } from "./buffer.js"
import { orStorageFailed, type Subject } from "./failure.js"
import { hashFile } from "./hashFile.js"

/**
 * Bytes are collected to buffers of this size before they are hashed and written: a write per network chunk (64 KiB)
 * costs several times as much.
 */
const bufferSize = 1024 * 1024
/** Enough that neither the network nor the disk nor the hash waits for a hiccup of another one. */
const bufferCount = 3
/** What has been written is made durable from time to time, beside the transfer, so that little is left for the end. */
const syncStep = 32 * 1024 * 1024

/** A file under construction in the staging directory, hashed while it is written. */
export interface Staged {
  readonly path: string
  /** How many bytes it has taken so far. */
  readonly position: () => number
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
 * Open a file for staging: a new one, or the part that a killed process left there, which is hashed and gone on with. Two
 * buffers take turns: while one is hashed and written in the background, the other takes what the network delivers. The
 * file is closed with the Scope, after the last write has ended.
 */
export const make = Effect.fnUntraced(function* (subject: Subject, path: string) {
  const context = yield* Effect.context<FileSystem.FileSystem | Hasher>()
  const fs = yield* FileSystem.FileSystem
  const hasher = yield* Hasher
  const scope = yield* Effect.scope
  const storage = orStorageFailed(subject, path)

  const inherited = yield* storage(fs.exists(path))
  let file = yield* fs.open(path, { flag: inherited ? "r+" : "wx" }).pipe(storage)
  let digest: Digest = yield* hasher.start
  let adopted: Sha256 | undefined
  let filling: Uint8Array = makeBuffer(bufferSize)
  let filled = 0
  let flushed = 0
  let unsynced = 0
  let syncing: Fiber.Fiber<void, ImageError> = Fiber.void
  /** The buffers on their way, in order, each with what takes it there. */
  let writes: ReadonlyArray<{ readonly buffer: Uint8Array; readonly done: Fiber.Fiber<void, ImageError> }> = []

  /** One at a time; a failure shows when the next one begins, or at the end. */
  const syncSoon = Effect.gen(function* () {
    yield* Fiber.join(syncing)
    syncing = yield* storage(file.sync).pipe(Effect.uninterruptible, Effect.forkIn(scope))
  })

  const flush = Effect.suspend(() => {
    if (filled === 0) return Effect.void // File.writeAll fails on an empty buffer
    const full = filling.subarray(0, filled)
    const store = Effect.all([storage(file.writeAll(full)), digest.update(full)], { concurrency: 2, discard: true })
    return Effect.gen(function* () {
      const last = writes.at(-1)
      // In the file's scope and uninterruptible: a write under way cannot be stopped, only awaited.
      const done = yield* (last === undefined ? store : Effect.zipRight(Fiber.join(last.done), store)).pipe(
        Effect.uninterruptible,
        Effect.forkIn(scope)
      )
      writes = [...writes, { buffer: filling, done }]
      flushed += filled
      unsynced += filled
      filled = 0
      const [first] = writes
      if (first === undefined || writes.length < bufferCount) {
        filling = makeBuffer(bufferSize)
      } else {
        yield* Fiber.join(first.done)
        writes = writes.slice(1)
        filling = first.buffer
      }
      if (unsynced < syncStep) return
      unsynced = 0
      yield* syncSoon
    }).pipe(Effect.uninterruptible)
  })

  const append = (chunk: Uint8Array): Effect.Effect<void, ImageError> => {
    const taken = Math.min(chunk.length, bufferSize - filled)
    filling.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), filled)
    filled += taken
    if (filled < bufferSize) return Effect.void
    return taken === chunk.length
      ? flush
      : Effect.zipRight(
          flush,
          Effect.suspend(() => append(chunk.subarray(taken)))
        )
  }

  const adopt = Effect.fnUntraced(function* (place: (to: string) => Effect.Effect<boolean>) {
    const clone = `${path}.clone`
    if (!(yield* Effect.uninterruptible(place(clone)))) return false
    const { mode } = yield* storage(fs.stat(path)) // a clone has the mode of its original, not that of the umask
    yield* storage(fs.chmod(clone, mode & 0o777))
    yield* storage(fs.rename(clone, path))
    file = yield* fs.open(path, { flag: "r+" }).pipe(storage, Scope.extend(scope))
    const { sha256, size } = yield* storage(Effect.provide(hashFile(path), context))
    adopted = sha256
    flushed = size
    return true
  })

  /** Hash what is in the file already, and go on behind it. */
  const inherit = Effect.gen(function* () {
    for (;;) {
      const count = Number(yield* file.read(filling).pipe(storage, Effect.uninterruptible))
      if (count === 0) return
      yield* digest.update(filling.subarray(0, count))
      flushed += count
    }
  })

  const settle = Effect.suspend(() => {
    const last = writes.at(-1)
    return last === undefined ? Effect.void : Fiber.join(last.done)
  })

  if (inherited) yield* inherit
  const staged: Staged = {
    path,
    position: () => flushed + filled,
    append: (chunk) => Effect.suspend(() => append(chunk)),
    adopt,
    restart: Effect.gen(function* () {
      yield* settle
      yield* storage(file.truncate(0))
      yield* storage(file.seek(0, "start"))
      digest = yield* Scope.extend(hasher.start, scope)
      adopted = undefined
      filled = 0
      flushed = 0
    }).pipe(Effect.uninterruptible),
    digest: Effect.zipRight(
      Effect.zipRight(flush, settle),
      Effect.suspend(() => (adopted === undefined ? digest.finish : Effect.succeed(adopted)))
    ),
    sync: Effect.suspend(() => Fiber.join(syncing)).pipe(Effect.zipRight(storage(file.sync)), Effect.uninterruptible)
  }
  return staged
})

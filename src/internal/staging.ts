import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Digest, Hasher } from "../Hasher.js"
import type { ImageError } from "../ImageError.js"
import type { Sha256 } from "../Sha256.js"
import { orStorageFailed, type Subject } from "./failure.js"

/**
 * Bytes are collected to buffers of this size before they are hashed and written: a write per network chunk (64 KiB)
 * costs several times as much.
 */
const bufferSize = 1024 * 1024

/** A file under construction in the staging directory, hashed while it is written. */
export interface Staged {
  readonly path: string
  /** How many bytes it has taken so far. */
  readonly position: () => number
  /** Take the next bytes; the chunk may be reused afterwards. */
  readonly append: (chunk: Uint8Array) => Effect.Effect<void, ImageError>
  /** Throw everything away and start over. */
  readonly restart: Effect.Effect<void, ImageError>
  /** The digest of everything taken. Nothing but {@link Staged.restart} or {@link Staged.sync} may follow. */
  readonly digest: Effect.Effect<Sha256, ImageError>
  /** Make the bytes durable. */
  readonly sync: Effect.Effect<void, ImageError>
}

/**
 * Open a new file for staging. Two buffers take turns: while one is hashed and written in the background, the other takes
 * what the network delivers. The file is closed with the Scope, after the last write has ended.
 */
export const make = Effect.fnUntraced(function* (subject: Subject, path: string) {
  const fs = yield* FileSystem.FileSystem
  const hasher = yield* Hasher
  const scope = yield* Effect.scope
  const storage = orStorageFailed(subject, path)

  const file = yield* fs.open(path, { flag: "wx" }).pipe(storage)
  let digest: Digest = yield* hasher.start
  let filling = new Uint8Array(bufferSize)
  let spare = new Uint8Array(bufferSize)
  let filled = 0
  let flushed = 0
  let writing: Fiber.Fiber<void, ImageError> = Fiber.void

  const flush = Effect.suspend(() => {
    if (filled === 0) return Effect.void // File.writeAll fails on an empty buffer
    const full = filling.subarray(0, filled)
    const store = Effect.all([storage(file.writeAll(full)), digest.update(full)], { concurrency: 2, discard: true })
    return Effect.gen(function* () {
      yield* Fiber.join(writing) // from here on the spare buffer is free
      ;[filling, spare] = [spare, filling]
      flushed += filled
      filled = 0
      // In the file's scope and uninterruptible: a write under way cannot be stopped, only awaited.
      writing = yield* store.pipe(Effect.uninterruptible, Effect.forkIn(scope))
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

  const settle = Effect.suspend(() => Fiber.join(writing))

  const staged: Staged = {
    path,
    position: () => flushed + filled,
    append: (chunk) => Effect.suspend(() => append(chunk)),
    restart: Effect.gen(function* () {
      yield* settle
      yield* storage(file.truncate(0))
      yield* storage(file.seek(0, "start"))
      digest = yield* Scope.extend(hasher.start, scope)
      filled = 0
      flushed = 0
    }).pipe(Effect.uninterruptible),
    digest: Effect.zipRight(
      Effect.zipRight(flush, settle),
      Effect.suspend(() => digest.finish)
    ),
    sync: storage(file.sync).pipe(Effect.uninterruptible)
  }
  return staged
})

import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Hasher } from "../Hasher.js"
import type { Sha256 } from "../Sha256.js"
import { makeBuffer } from "./buffer.js"

/**
 * Each read and each message to another thread has its price, so that small ones cost several times as much: 64 KiB at a time
 * take nine times as long as 4 MiB, 1 MiB a quarter longer, and 8 MiB are 4 % better again.
 */
const largestBuffer = 8 * 1024 * 1024
/** One is read while the other one is hashed. */
const bufferCount = 2

/** The digest of a whole file and how many bytes it had. It is read while it is hashed. */
export const hashFile = (
  path: string
): Effect.Effect<{ readonly sha256: Sha256; readonly size: number }, PlatformError, FileSystem.FileSystem | Hasher> =>
  Effect.scoped(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const hasher = yield* Hasher
      const scope = yield* Effect.scope
      const file = yield* fs.open(path, { flag: "r" })
      const expected = Number((yield* file.stat).size)
      const bufferSize = Math.max(1, Math.min(expected, largestBuffer))
      const digest = yield* hasher.start(expected)
      let underWay: ReadonlyArray<{ readonly buffer: Uint8Array; readonly hashed: Fiber.Fiber<void> }> = []
      const free = Effect.gen(function* () {
        const [first, ...others] = underWay
        if (first === undefined || underWay.length < bufferCount) return makeBuffer(bufferSize)
        yield* Fiber.join(first.hashed)
        underWay = others
        return first.buffer
      })

      for (let size = 0; ; ) {
        const buffer = yield* free
        // Uninterruptible: neither a read nor a thread that reads memory can be stopped, only awaited.
        const count = Number(yield* Effect.uninterruptible(file.read(buffer)))
        if (count === 0) {
          yield* Effect.forEach(underWay, ({ hashed }) => Fiber.join(hashed), { discard: true })
          return { sha256: yield* digest.finish, size }
        }
        size += count
        const update = digest.update(buffer.subarray(0, count))
        const hashed = yield* update.pipe(Effect.uninterruptible, Effect.forkIn(scope))
        underWay = [...underWay, { buffer, hashed }]
      }
    })
  )

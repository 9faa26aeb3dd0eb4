import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Hasher } from "../Hasher.js"
import type { Sha256 } from "../Sha256.js"
import { makeBuffer } from "./buffer.js"
import * as Delegate from "./delegate.js"

/**
 * Each read and each message to another thread has its price, so that small ones cost several times as much: 64 KiB at a time
 * take nine times as long as 4 MiB, 1 MiB a quarter longer, and 8 MiB are 4 % better again.
 */
const largestBuffer = 8 * 1024 * 1024

/**
 * The digest of a whole file and how many bytes it had. The next buffer is read while the last one is hashed. The caller may
 * say that it is busy with other files meanwhile.
 */
export const hashFile = (
  path: string,
  busy = false
): Effect.Effect<{ readonly sha256: Sha256; readonly size: number }, PlatformError, FileSystem.FileSystem | Hasher> =>
  Effect.scoped(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const hasher = yield* Hasher
      const scope = yield* Effect.scope
      const file = yield* fs.open(path, { flag: "r" })
      const expected = Number((yield* file.stat).size)
      const bufferSize = Math.max(1, Math.min(expected, largestBuffer))
      const digest = yield* hasher.start({ size: expected, busy })
      const delegate = Delegate.between(digest, file)
      // In the file's scope and uninterruptible: a read under way cannot be stopped, only awaited.
      const read = (buffer: Uint8Array) => file.read(buffer).pipe(Effect.uninterruptible, Effect.forkIn(scope))

      let buffer = makeBuffer(bufferSize)
      let spare = makeBuffer(bufferSize)
      // What it leaves, the end or an error, is met below.
      let size = delegate === undefined ? 0 : yield* delegate.read
      let reading = yield* read(buffer)
      for (;;) {
        const count = Number(yield* Fiber.join(reading))
        if (count === 0) return { sha256: yield* digest.finish, size }
        size += count
        const filled = buffer.subarray(0, count)
        ;[buffer, spare] = [spare, buffer]
        reading = yield* read(buffer)
        yield* digest.update(filled)
      }
    })
  )

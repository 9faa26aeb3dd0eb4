import type { File } from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { dismiss, type Follower } from "../internal/follower.js"
import type { Thread } from "./threads.js"

const writable = new WeakSet<File>()

/** Let threads write to this file by its descriptor. */
export const allowThreads = (file: File): File => {
  writable.add(file)
  return file
}

/** The thread hashes with its digest `id` what it writes to the file, where that is allowed. */
export const make =
  (thread: Thread, id: number) =>
  (file: File): Follower | undefined =>
    writable.has(file) ? (ring) => follow(thread, id, file, ring) : undefined

const follow = (thread: Thread, id: number, file: File, ring: Parameters<Follower>[0]): Effect.Effect<void> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const position: unknown = yield* file.seek(0, "current") // it tells, though its type does not say so
      const left = yield* Deferred.make<unknown>()
      const request = { ...ring, what: "follow", id, fd: file.fd, position: Number(position) } as const
      thread.post(request, (answer) => Deferred.unsafeDone(left, answer))
      const taken = yield* restore(Deferred.await(left)).pipe(
        Effect.onInterrupt(() => {
          dismiss(ring.cells, "atOnce")
          return Deferred.await(left)
        })
      )
      yield* file.seek(Number(taken), "current")
    })
  )

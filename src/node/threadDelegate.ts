import type { File } from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Delegate } from "../internal/delegate.js"
import { dismiss, makeCells } from "../internal/follower.js"
import type { Long, Place } from "./threads.js"

const reachable = new WeakSet<File>()

/** Let threads use this file by its descriptor. */
export const allowThreads = (file: File): File => {
  reachable.add(file)
  return file
}

/** The thread, with its digest `id`, and those files that are allowed. */
export const make =
  ({ id, thread }: Place) =>
  (file: File): Delegate | undefined => {
    if (!reachable.has(file)) return undefined
    /** The thread works from the file's position on; where it has got to is the new one. Interrupted, it leaves off first. */
    const work = (what: Long) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const position: unknown = yield* file.seek(0, "current") // it tells, though its type does not say so
          const left = yield* Deferred.make<unknown>()
          thread.post({ ...what, id, fd: file.fd, position: Number(position) }, (answer) =>
            Deferred.unsafeDone(left, answer)
          )
          const bytes = yield* restore(Deferred.await(left)).pipe(
            Effect.onInterrupt(() => {
              dismiss(what.cells, "atOnce")
              return Deferred.await(left)
            }),
            Effect.map(Number)
          )
          yield* file.seek(bytes, "current")
          return bytes
        })
      )
    return {
      read: Effect.suspend(() => work({ what: "read", cells: makeCells() })),
      follow: (ring) => Effect.asVoid(work({ what: "follow", ...ring }))
    }
  }

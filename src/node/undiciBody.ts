import type { Readable } from "node:stream"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/**
 * A body as a Stream of its pieces, just as they arrived: `NodeStream.fromReadable` copies those together that wait
 * together. A body that broke before it is read fails; it is not empty.
 */
export const fromBody = <E>(body: Readable, onError: (cause: unknown) => E): Stream.Stream<Uint8Array, E> =>
  Stream.fromPull(
    Effect.gen(function* () {
      let piece: Uint8Array | undefined
      let end: Option.Option<E> | undefined
      let wake = () => {}

      const ends = (how: Option.Option<E>) => {
        end ??= how
        wake()
      }
      const onData = (bytes: Uint8Array) => {
        body.pause()
        piece = bytes
        wake()
      }
      const onEnd = () => ends(Option.none())
      const onFailure = (cause: unknown) => ends(Option.some(onError(cause)))
      const onClose = () => onFailure(body.errored ?? new Error("the body was closed before its end"))

      yield* Effect.acquireRelease(
        Effect.sync(() => {
          if (body.readableEnded) return onEnd()
          if (body.destroyed) return onClose()
          body.on("end", onEnd).on("error", onFailure).on("close", onClose).on("data", onData)
        }),
        () =>
          Effect.sync(() => {
            body.off("end", onEnd).off("close", onClose).off("data", onData)
            body.destroy()
          })
      )

      return Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<E>>((resume) => {
        wake = () => {
          if (piece === undefined && end === undefined) return
          wake = () => {}
          const bytes = piece
          piece = undefined
          resume(bytes === undefined ? Effect.fail(end ?? Option.none()) : Effect.succeed(Chunk.of(bytes)))
        }
        wake()
        if (end === undefined) body.resume()
      })
    })
  )

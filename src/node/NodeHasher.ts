/**
 * SHA-256 by `node:crypto`.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { type Digest, Hasher } from "../Hasher.js"
import { makeBuffer } from "../internal/buffer.js"
import { between, offer } from "../internal/delegate.js"
import * as Sha256 from "../Sha256.js"
import * as ThreadDelegate from "./threadDelegate.js"
import { isIdle, isShared, type Place, Threads, layer as threadsLayer } from "./threads.js"

const MiB = 1024 * 1024
/** What is no larger is hashed on the calling thread, unless another one is idle: to start one takes as long as this. */
const inlineLimit = 40 * MiB
/** Of a caller that has nothing else to do, one digest up to this size as well: a tenth of the time that it takes. */
const leisureLimit = 512 * MiB
/** The event loop turns after each so many bytes that are hashed on the calling thread, 1.5 ms. */
const piece = 2 * MiB
/** Of unknown size, it moves to a thread with its first byte beyond this. */
const unknownLimit = 4 * MiB

/**
 * The `Hasher` of Node.js: OpenSSL's SHA-256. On the calling thread it computes what has at most 40 MiB and, one at a time, what
 * has at most 512 MiB for a caller that is not busy, with a turn of the event loop after every 2 MiB; on other threads what is
 * larger, or has over 4 MiB and came without its size. A thread that runs already and has nothing to do comes first. Chunks on a
 * `SharedArrayBuffer` reach these threads without a copy. Below `NodeImageManager.layer` a thread also reads and writes the file
 * that it hashes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Hasher> = Layer.effect(
  Hasher,
  Effect.gen(function* () {
    const threads = yield* Threads

    const onThread = (place: Place, early: ReadonlyArray<Uint8Array> = []): Digest => {
      const { id, thread } = place
      let copy: Uint8Array = new Uint8Array(0)
      const toShared = (chunk: Uint8Array): Uint8Array => {
        if (isShared(chunk)) return chunk
        if (copy.length < chunk.length) copy = makeBuffer(chunk.length)
        copy.set(chunk)
        return copy.subarray(0, chunk.length)
      }
      for (const bytes of early) thread.post({ what: "update", id, bytes })
      const digest: Digest = {
        update: (chunk) =>
          Effect.suspend(() => Effect.asVoid(thread.ask({ what: "update", id, bytes: toShared(chunk) }))),
        finish: Effect.map(thread.ask({ what: "finish", id }), (hex) => Sha256.make(String(hex)))
      }
      return offer(digest, ThreadDelegate.make(place))
    }

    const on = (place: Place | undefined, early?: ReadonlyArray<Uint8Array>): Digest =>
      place === undefined ? inline(early) : onThread(place, early)

    /** Keep the first bytes, until it shows whether there are more. */
    const ofUnknownSize = Effect.gen(function* () {
      const scope = yield* Effect.scope
      let held: Array<Uint8Array> = []
      let size = 0
      let digest: Digest | undefined
      const decide = (place: Place | undefined) => {
        digest = on(place, held)
        held = []
        return digest
      }
      const whole: Digest = {
        update: (chunk) =>
          Effect.suspend(() => {
            if (digest !== undefined) return digest.update(chunk)
            size += chunk.length
            if (size > unknownLimit) {
              return threads.place.pipe(
                Scope.extend(scope),
                Effect.flatMap((place) => decide(place).update(chunk))
              )
            }
            const own = makeBuffer(chunk.length)
            own.set(chunk)
            held.push(own)
            return Effect.void
          }),
        finish: Effect.suspend(() => (digest ?? inline(held)).finish)
      }
      return offer(whole, (file) => (digest === undefined ? undefined : between(digest, file)))
    })

    /** Whether the calling thread computes a large digest. */
    let occupied = false
    const occupy = Effect.acquireRelease(
      Effect.sync(() => {
        occupied = true
      }),
      () =>
        Effect.sync(() => {
          occupied = false
        })
    )

    return Hasher.of({
      start: ({ busy = false, size } = {}) =>
        Effect.suspend(() => {
          if (size === undefined) return ofUnknownSize
          if (size <= inlineLimit) return Effect.map(threads.idlePlace, on)
          const atLeisure = size <= leisureLimit && !busy && !occupied && !threads.running().some(isIdle)
          return atLeisure ? Effect.map(occupy, () => inline()) : Effect.map(threads.place, on)
        })
    })
  })
).pipe(Layer.provide(threadsLayer))

const inline = (early: ReadonlyArray<Uint8Array> = []): Digest => {
  const hash = createHash("sha256")
  for (const bytes of early) hash.update(bytes)
  /** First whatever else is to be done, such as to have the next chunk read. */
  const update = (chunk: Uint8Array): Effect.Effect<void> =>
    Effect.flatMap(Effect.yieldNow(), () => {
      hash.update(chunk.subarray(0, piece))
      return chunk.length <= piece ? Effect.void : Effect.zipRight(turn, update(chunk.subarray(piece)))
    })
  return { update, finish: Effect.sync(() => Sha256.make(hash.digest("hex"))) }
}

/** A turn of the event loop. */
const turn = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

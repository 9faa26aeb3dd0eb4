/**
 * SHA-256 by `node:crypto`.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Digest, Hasher } from "../Hasher.js"
import * as Sha256 from "../Sha256.js"

/** A digest moves to a thread of its own with its first byte beyond this: to start a thread takes as long as 40 MiB. */
const inlineLimit = 4 * 1024 * 1024

/** It only passes bytes to OpenSSL. */
const smallHeap = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 8, codeRangeSizeMb: 4, stackSizeMb: 1 }

/** As text, so that it needs no file that a bundler or a test runner would have to find. */
const threadCode = `
const { createHash } = require("node:crypto")
const { parentPort } = require("node:worker_threads")
const hashes = new Map()
parentPort.on("message", ({ id, bytes, finish }) => {
  const hash = hashes.get(id) ?? createHash("sha256")
  if (finish) hashes.delete(id)
  else hashes.set(id, hash.update(bytes))
  parentPort.postMessage({ id, digest: finish ? hash.digest("hex") : "" })
})`

interface Request {
  readonly id: number
  readonly bytes?: Uint8Array
  readonly finish?: true
}

/** A thread that computes any number of digests, each of which has at most one request under way. */
class Thread {
  private readonly worker = new Worker(threadCode, { eval: true, execArgv: [], env: {}, resourceLimits: smallHeap })
  private readonly waiting = new Map<number, (result: Effect.Effect<string>) => void>()
  private broken: unknown
  digests = 0

  constructor() {
    this.worker.unref()
    this.worker.on("message", ({ digest, id }: { readonly id: number; readonly digest: string }) =>
      this.settle(id, Effect.succeed(digest))
    )
    this.worker.on("error", (error) => this.fail(error))
    this.worker.on("exit", () => this.fail(new Error("the hashing thread ended")))
  }

  /** Uninterruptible: the thread reads the caller's buffer until it answers. */
  readonly ask = (request: Request): Effect.Effect<string> =>
    Effect.async<string>((resume) => {
      // Out of memory, or a fault of OpenSSL: nothing that a caller could handle.
      if (this.broken !== undefined) return resume(Effect.die(this.broken))
      if (this.waiting.size === 0) this.worker.ref()
      this.waiting.set(request.id, resume)
      this.worker.postMessage(request)
    }).pipe(Effect.uninterruptible)

  readonly stop = Effect.promise(() => this.worker.terminate())

  private settle(id: number, result: Effect.Effect<string>) {
    const resume = this.waiting.get(id)
    this.waiting.delete(id)
    if (this.waiting.size === 0) this.worker.unref()
    resume?.(result)
  }

  private fail(error: unknown) {
    this.broken ??= error
    for (const id of this.waiting.keys()) this.settle(id, Effect.die(this.broken))
  }
}

/** Threads started on demand, at most one for each processor. `undefined`: there can be none here. */
const makeThreads = Effect.gen(function* () {
  const threads: Array<Thread> = []
  let possible = true
  yield* Effect.addFinalizer(() => Effect.forEach(threads, (thread) => thread.stop, { discard: true }))
  return (): Thread | undefined => {
    const [least] = [...threads].sort((a, b) => a.digests - b.digests)
    if (!possible || (least !== undefined && (least.digests === 0 || threads.length >= availableParallelism()))) {
      return least
    }
    try {
      const thread = new Thread()
      threads.push(thread)
      return thread
    } catch {
      // --permission without --allow-worker
      possible = false
      return least
    }
  }
})

const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer

const sharedBytes = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length))

/**
 * The `Hasher` of Node.js: OpenSSL's SHA-256, on the calling thread for what has at most 4 MiB, on other threads for what is larger.
 * Chunks on a `SharedArrayBuffer` reach these threads without a copy.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Hasher> = Layer.scoped(
  Hasher,
  Effect.gen(function* () {
    const pickThread = yield* makeThreads
    let ids = 0

    const start = Effect.gen(function* () {
      const id = ++ids
      let held: Array<Uint8Array> = []
      let size = 0
      let thread: Thread | undefined
      let inline: ReturnType<typeof createHash> | undefined
      let copy: Uint8Array = new Uint8Array(0)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (thread !== undefined) thread.digests--
        })
      )

      const toShared = (chunk: Uint8Array): Uint8Array => {
        if (isShared(chunk)) return chunk
        if (copy.length < chunk.length) copy = sharedBytes(chunk.length)
        copy.set(chunk)
        return copy.subarray(0, chunk.length)
      }

      const move = (): Effect.Effect<void> => {
        const early = held
        held = []
        thread = pickThread()
        if (thread === undefined) {
          inline = createHash("sha256")
          for (const bytes of early) inline.update(bytes)
          return Effect.void
        }
        thread.digests++
        const { ask } = thread
        return Effect.forEach(early, (bytes) => ask({ id, bytes }), { discard: true })
      }

      const update = (chunk: Uint8Array): Effect.Effect<void> => {
        if (thread !== undefined) return Effect.asVoid(thread.ask({ id, bytes: toShared(chunk) }))
        if (inline !== undefined) {
          inline.update(chunk)
          return Effect.void
        }
        size += chunk.length
        if (size > inlineLimit)
          return Effect.zipRight(
            move(),
            Effect.suspend(() => update(chunk))
          )
        const own = sharedBytes(chunk.length)
        own.set(chunk)
        held.push(own)
        return Effect.void
      }

      const digest: Digest = {
        update: (chunk) => Effect.suspend(() => update(chunk)),
        finish: Effect.suspend(() => {
          if (thread !== undefined) return thread.ask({ id, finish: true })
          inline ??= createHash("sha256")
          for (const bytes of held) inline.update(bytes)
          return Effect.succeed(inline.digest("hex"))
        }).pipe(Effect.map((hex) => Sha256.make(hex)))
      }
      return digest
    })
    return Hasher.of({ start })
  })
)

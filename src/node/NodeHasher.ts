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
import * as Scope from "effect/Scope"
import { type Digest, Hasher } from "../Hasher.js"
import { makeBuffer } from "../internal/buffer.js"
import * as Sha256 from "../Sha256.js"

const MiB = 1024 * 1024
/** What is no larger is hashed on the calling thread, unless another one is idle: to start one takes as long as this. */
const inlineLimit = 40 * MiB
/** Of unknown size, it moves to a thread with its first byte beyond this. */
const unknownLimit = 4 * MiB

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
  parentPort.postMessage(finish ? hash.digest("hex") : "")
})`

interface Request {
  readonly id: number
  readonly bytes?: Uint8Array
  readonly finish?: true
}

/** A thread that computes any number of digests. It answers requests in their order. */
class Thread {
  private readonly worker = new Worker(threadCode, { eval: true, execArgv: [], env: {}, resourceLimits: smallHeap })
  private readonly waiting: Array<(result: Effect.Effect<string>) => void> = []
  private broken: unknown
  digests = 0

  constructor() {
    this.worker.unref()
    this.worker.on("message", (digest: string) => this.settle(Effect.succeed(digest)))
    this.worker.on("error", (error) => this.fail(error))
    this.worker.on("exit", () => this.fail(new Error("the hashing thread ended")))
  }

  /** Uninterruptible: the thread reads the caller's buffer until it answers. */
  readonly ask = (request: Request): Effect.Effect<string> =>
    Effect.async<string>((resume) => this.post(request, resume)).pipe(Effect.uninterruptible)

  readonly post = (request: Request, resume: (result: Effect.Effect<string>) => void = () => {}): void => {
    if (this.broken !== undefined) {
      resume(Effect.die(this.broken)) // out of memory, or a fault of OpenSSL: nothing that a caller could handle
      return
    }
    if (this.waiting.length === 0) this.worker.ref()
    this.waiting.push(resume)
    this.worker.postMessage(request)
  }

  readonly stop = Effect.promise(() => this.worker.terminate())

  private settle(result: Effect.Effect<string>) {
    const resume = this.waiting.shift()
    if (this.waiting.length === 0) this.worker.unref()
    resume?.(result)
  }

  private fail(error: unknown) {
    this.broken ??= error
    while (this.waiting.length > 0) this.settle(Effect.die(this.broken))
  }
}

interface Threads {
  /** The least busy thread, or a new one. `undefined`: there can be none here. */
  readonly pick: () => Thread | undefined
  readonly idle: () => Thread | undefined
}

/** Threads started on demand, at most one for each processor. */
const makeThreads: Effect.Effect<Threads, never, Scope.Scope> = Effect.gen(function* () {
  const threads: Array<Thread> = []
  let possible = true
  yield* Effect.addFinalizer(() => Effect.forEach(threads, (thread) => thread.stop, { discard: true }))
  const idle = () => threads.find(({ digests }) => digests === 0)
  const leastBusy = () => [...threads].sort((a, b) => a.digests - b.digests)[0]
  const pick = () => {
    if (!possible || threads.length >= availableParallelism()) return leastBusy()
    try {
      const thread = new Thread()
      threads.push(thread)
      return thread
    } catch {
      // --permission without --allow-worker
      possible = false
      return leastBusy()
    }
  }
  return { idle, pick: () => idle() ?? pick() }
})

const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer

/**
 * The `Hasher` of Node.js: OpenSSL's SHA-256, on the calling thread for what has at most 40 MiB, on other threads for what is
 * larger, or has over 4 MiB and came without its size. Chunks on a `SharedArrayBuffer` reach these threads without a copy.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Hasher> = Layer.scoped(
  Hasher,
  Effect.gen(function* () {
    const threads = yield* makeThreads
    let ids = 0

    const onThread = (thread: Thread, early: ReadonlyArray<Uint8Array> = []): Digest => {
      const id = ++ids
      let copy: Uint8Array = new Uint8Array(0)
      const toShared = (chunk: Uint8Array): Uint8Array => {
        if (isShared(chunk)) return chunk
        if (copy.length < chunk.length) copy = makeBuffer(chunk.length)
        copy.set(chunk)
        return copy.subarray(0, chunk.length)
      }
      for (const bytes of early) thread.post({ id, bytes })
      return {
        update: (chunk) => Effect.suspend(() => Effect.asVoid(thread.ask({ id, bytes: toShared(chunk) }))),
        finish: Effect.map(thread.ask({ id, finish: true }), (hex) => Sha256.make(hex))
      }
    }

    const acquire = (pick: () => Thread | undefined) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const thread = pick()
          if (thread !== undefined) thread.digests++
          return thread
        }),
        (thread) =>
          Effect.sync(() => {
            if (thread !== undefined) thread.digests--
          })
      )

    /** Keep the first bytes, until it shows whether there are more. */
    const ofUnknownSize = Effect.gen(function* () {
      const scope = yield* Effect.scope
      let held: ReadonlyArray<Uint8Array> = []
      let size = 0
      let digest: Digest | undefined
      const decide = (thread: Thread | undefined) => {
        digest = thread === undefined ? inline(held) : onThread(thread, held)
        held = []
        return digest
      }
      return {
        update: (chunk: Uint8Array) =>
          Effect.suspend(() => {
            if (digest !== undefined) return digest.update(chunk)
            size += chunk.length
            if (size > unknownLimit) {
              return acquire(threads.pick).pipe(
                Scope.extend(scope),
                Effect.flatMap((thread) => decide(thread).update(chunk))
              )
            }
            const own = makeBuffer(chunk.length)
            own.set(chunk)
            held = [...held, own]
            return Effect.void
          }),
        finish: Effect.suspend(() => (digest ?? inline(held)).finish)
      }
    })

    const start = (size?: number) =>
      size === undefined
        ? ofUnknownSize
        : Effect.map(acquire(size > inlineLimit ? threads.pick : threads.idle), (thread) =>
            thread === undefined ? inline() : onThread(thread)
          )
    return Hasher.of({ start })
  })
)

const inline = (early: ReadonlyArray<Uint8Array> = []): Digest => {
  const hash = createHash("sha256")
  for (const bytes of early) hash.update(bytes)
  return {
    update: (chunk) => Effect.sync(() => void hash.update(chunk)),
    finish: Effect.sync(() => Sha256.make(hash.digest("hex")))
  }
}

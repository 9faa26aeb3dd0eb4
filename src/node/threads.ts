import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** They only pass bytes to OpenSSL and to the kernel. */
const smallHeap = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 8, codeRangeSizeMb: 4, stackSizeMb: 1 }

/**
 * As text, so that it needs no file that a bundler or a test runner would have to find. It writes 16 KiB at a time: Linux takes
 * pages as large as the write, and up to 32 KiB each processor keeps those at hand that were in use last. Larger ones may be
 * memory that a virtual machine first has to get from its host: a GiB took 2.3 s by 16 KiB, 2.6 to 3.4 s by 64 KiB.
 */
const code = `
const { createHash } = require("node:crypto")
const { writeSync } = require("node:fs")
const { parentPort } = require("node:worker_threads")
const largestWrite = 16384
const hashes = new Map()
const answers = {
  update: ({ bytes, id }) => {
    const hash = hashes.get(id) ?? createHash("sha256")
    hashes.set(id, hash.update(bytes))
  },
  finish: ({ id }) => {
    const hash = hashes.get(id) ?? createHash("sha256")
    hashes.delete(id)
    return hash.digest("hex")
  },
  write: ({ bytes, fd, position }) => {
    let written = 0
    try {
      while (written < bytes.length) {
        const count = writeSync(fd, bytes, written, Math.min(largestWrite, bytes.length - written), position + written)
        if (count === 0) break
        written += count
      }
    } catch {}
    return written
  }
}
parentPort.on("message", (request) => parentPort.postMessage(answers[request.what](request)))`

type Request =
  | { readonly what: "update"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly what: "finish"; readonly id: number }
  | { readonly what: "write"; readonly fd: number; readonly bytes: Uint8Array; readonly position: number }

/** A thread that computes any number of digests and writes to open files. It answers requests in their order. */
export class Thread {
  private readonly worker = new Worker(code, { eval: true, execArgv: [], env: {}, resourceLimits: smallHeap })
  private readonly waiting: Array<(answer: Effect.Effect<unknown>) => void> = []
  private broken: unknown
  /** How many digests are under way. */
  digests = 0

  constructor() {
    this.worker.unref()
    this.worker.on("message", (answer: unknown) => this.settle(Effect.succeed(answer)))
    this.worker.on("error", (error) => this.fail(error))
    this.worker.on("exit", () => this.fail(new Error("the thread ended")))
  }

  /** How many requests it has not answered yet. */
  get load(): number {
    return this.waiting.length
  }

  /** Uninterruptible: the thread reads the caller's buffer until it answers. */
  readonly ask = (request: Request): Effect.Effect<unknown> =>
    Effect.async<unknown>((resume) => this.post(request, resume)).pipe(Effect.uninterruptible)

  readonly post = (request: Request, resume: (answer: Effect.Effect<unknown>) => void = () => {}): void => {
    if (this.broken !== undefined) {
      resume(Effect.die(this.broken)) // out of memory, or a fault of OpenSSL: nothing that a caller could handle
      return
    }
    if (this.waiting.length === 0) this.worker.ref()
    this.waiting.push(resume)
    this.worker.postMessage(request)
  }

  readonly stop = Effect.promise(() => this.worker.terminate())

  private settle(answer: Effect.Effect<unknown>) {
    const resume = this.waiting.shift()
    if (this.waiting.length === 0) this.worker.unref()
    resume?.(answer)
  }

  private fail(error: unknown) {
    this.broken ??= error
    while (this.waiting.length > 0) this.settle(Effect.die(this.broken))
  }
}

/** Threads beside the main one. None runs before a digest asks for it, and they all end with the Layer. */
export class Threads extends Context.Tag("smolvm-images/Threads")<
  Threads,
  {
    /** One without a digest, else a new one, at most one for each processor, else the one with the fewest digests. `undefined`: there can be none here. */
    readonly pick: () => Thread | undefined
    /** One that runs without a digest. */
    readonly idle: () => Thread | undefined
    /** The least busy one that runs. */
    readonly running: () => Thread | undefined
  }
>() {}

/** In one Layer, all who need them share them. */
export const layer: Layer.Layer<Threads> = Layer.scoped(
  Threads,
  Effect.gen(function* () {
    const threads: Array<Thread> = []
    let possible = true
    yield* Effect.addFinalizer(() => Effect.forEach(threads, (thread) => thread.stop, { discard: true }))
    const least = (by: "digests" | "load") => [...threads].sort((a, b) => a[by] - b[by])[0]
    const idle = () => threads.find(({ digests }) => digests === 0)
    const start = () => {
      if (!possible || threads.length >= availableParallelism()) return undefined
      try {
        const thread = new Thread()
        threads.push(thread)
        return thread
      } catch {
        // --permission without --allow-worker
        possible = false
        return undefined
      }
    }
    return { idle, pick: () => idle() ?? start() ?? least("digests"), running: () => least("load") }
  })
)

/** Memory that other threads see as well. */
export const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer

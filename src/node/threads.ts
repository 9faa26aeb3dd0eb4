import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Shared } from "../internal/follower.js"
import { code } from "./threadCode.js"

/** They only pass bytes to OpenSSL and to the kernel. */
const smallHeap = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 8, codeRangeSizeMb: 4, stackSizeMb: 1 }

/** What takes as long as there are bytes, without a message for each few of them. */
export type Long = { readonly what: "read"; readonly cells: Int32Array } | ({ readonly what: "follow" } & Shared)

type Request =
  | { readonly what: "update"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly what: "finish"; readonly id: number }
  | { readonly what: "forget"; readonly id: number }
  | (Long & { readonly id: number; readonly fd: number; readonly position: number })

type Answer = (answer: Effect.Effect<unknown>) => void

/** A thread that computes any number of digests, each of them in the order of the requests. */
export class Thread {
  private readonly worker = new Worker(code, { eval: true, execArgv: [], env: {}, resourceLimits: smallHeap })
  private readonly waiting = new Map<number, Answer>()
  private requests = 0
  private broken: unknown
  private stopping = false
  /** Those under way. */
  readonly digests = new Set<number>()

  constructor() {
    this.worker.unref()
    this.worker.on("message", ([request, answer]: [number, unknown]) => this.settle(request, Effect.succeed(answer)))
    this.worker.on("error", (error) => this.fail(error))
    this.worker.on("exit", () => this.fail(new Error("the thread ended")))
  }

  /** Nobody can ask it for anything any more. */
  get isGone(): boolean {
    return this.broken !== undefined || this.stopping
  }

  /** Uninterruptible: the thread reads the caller's buffer until it answers. */
  readonly ask = (request: Request): Effect.Effect<unknown> =>
    Effect.async<unknown>((resume) => this.post(request, resume)).pipe(Effect.uninterruptible)

  readonly post = (request: Request, resume: Answer = () => {}): void => {
    if (this.broken !== undefined) {
      resume(Effect.die(this.broken)) // out of memory, or a fault of OpenSSL: nothing that a caller could handle
      return
    }
    if (this.waiting.size === 0) this.worker.ref()
    this.waiting.set(++this.requests, resume)
    this.worker.postMessage([this.requests, request])
  }

  /** From this very moment on nobody is placed on it any more. */
  readonly end = (): Promise<unknown> => {
    this.stopping = true
    return this.worker.terminate()
  }

  private settle(request: number, answer: Effect.Effect<unknown>) {
    const resume = this.waiting.get(request)
    this.waiting.delete(request)
    // Who waits for its end keeps the process alive.
    if (this.waiting.size === 0 && !this.stopping) this.worker.unref()
    resume?.(answer)
  }

  private fail(error: unknown) {
    this.broken ??= error
    for (const request of this.waiting.keys()) this.settle(request, Effect.die(this.broken))
  }
}

/** A digest's place on a thread. */
export interface Place {
  readonly thread: Thread
  readonly id: number
}

/**
 * Threads beside the main one. None runs before a digest asks for it. They end with the Layer, but a shared download may outlive
 * the Layer that it began with: a thread in use ends with its last digest.
 */
export class Threads extends Context.Tag("smolvm-images/Threads")<
  Threads,
  {
    /**
     * A place on a thread without a digest, else on a new one, at most one for each processor, else on the one with the fewest
     * digests. `undefined`: there can be no threads here.
     */
    readonly place: Effect.Effect<Place | undefined, never, Scope.Scope>
    /** A place on a thread that runs without a digest, if there is one. */
    readonly idlePlace: Effect.Effect<Place | undefined, never, Scope.Scope>
    readonly running: () => ReadonlyArray<Thread>
  }
>() {}

/** In one Layer, all who need them share them. */
export const layer: Layer.Layer<Threads> = Layer.scoped(
  Threads,
  Effect.gen(function* () {
    let threads: ReadonlyArray<Thread> = []
    let ids = 0
    let possible = true
    let closed = false
    const running = () => threads.filter(({ isGone }) => !isGone)
    const idle = () => running().find(isIdle)
    const leastBusy = () => running().sort((a, b) => a.digests.size - b.digests.size)[0]
    const start = () => {
      if (!possible || running().length >= availableParallelism()) return undefined
      try {
        const thread = new Thread()
        threads = [...running(), thread]
        return thread
      } catch {
        // --permission without --allow-worker
        possible = false
        return undefined
      }
    }
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => {
        closed = true
        return Promise.all(
          running()
            .filter(isIdle)
            .map(({ end }) => end())
        )
      })
    )
    const placeOn = (pick: () => Thread | undefined) =>
      Effect.acquireRelease(
        Effect.sync((): Place | undefined => {
          const thread = pick()
          if (thread === undefined) return undefined
          const id = ++ids
          thread.digests.add(id)
          return { thread, id }
        }),
        (place) =>
          Effect.suspend(() => {
            if (place === undefined) return Effect.void
            const { id, thread } = place
            thread.digests.delete(id)
            thread.post({ what: "forget", id })
            return closed && isIdle(thread) ? Effect.promise(thread.end) : Effect.void
          })
      )
    return { place: placeOn(() => idle() ?? start() ?? leastBusy()), idlePlace: placeOn(idle), running }
  })
)

export const isIdle = ({ digests }: Thread): boolean => digests.size === 0

/** Memory that other threads see as well. */
export const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer

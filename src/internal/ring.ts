import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { makeBuffer } from "./buffer.js"
import * as Follower from "./follower.js"
import { outcome } from "./outcome.js"

export interface RingOptions<E> {
  /** In bytes, a multiple of `portion`. */
  readonly size: number
  /** Consumers get whole multiples of this, at the end excepted: a call for every few bytes costs more than the bytes. */
  readonly portion: number
  readonly consumers: ReadonlyArray<Consumer<E>>
  /**
   * Who takes the bytes in place of all consumers, if anybody can by now. What it leaves, the consumers take, and meet what
   * stopped it.
   */
  readonly follower?: () => Follower.Follower | undefined
}

/**
 * Takes the next bytes, of one piece of the ring. It may read them until it has ended, and it is not interrupted: neither
 * a write nor a thread that reads memory can be stopped, only awaited.
 */
export type Consumer<E> = (bytes: Uint8Array) => Effect.Effect<void, E>

/** Memory between one producer and several consumers, each of which gets every byte, in order, at its own pace. */
export interface Ring<E> {
  /** Take the next bytes over, when there is room; they may be reused afterwards. Fails when a consumer has failed. */
  readonly put: (bytes: Uint8Array) => Effect.Effect<void, E>
  /** How many bytes have been taken over. */
  readonly filled: () => number
  /** Wait until the consumers have taken everything. */
  readonly settle: Effect.Effect<void, E>
}

interface Lane<E> {
  readonly consume: Consumer<E>
  /** How many bytes it has taken. */
  taken: number
  /** What takes them, for as long as there are some. */
  running: Fiber.Fiber<void, E> | undefined
}

interface Following {
  readonly counters: Follower.Counters
  readonly fiber: Fiber.Fiber<void>
}

const wordSize = 8

/** A fiber may have ended well before the one that forked it goes on. */
const isDone = (fiber: Fiber.RuntimeFiber<void, unknown>): boolean => {
  const exit = fiber.unsafePoll()
  return exit !== null && Exit.isSuccess(exit)
}

/** The consumers run in the background, in the Scope. What they have not begun to take when it closes they never get. */
export const make = Effect.fnUntraced(function* <E>(
  options: RingOptions<E>
): Effect.fn.Return<Ring<E>, never, Scope.Scope> {
  const { consumers, portion, size } = options
  const { follower = () => undefined } = Follower.possible ? options : {}
  const scope = yield* Effect.scope
  const memory = makeBuffer(size + wordSize)
  const lanes = consumers.map((consume): Lane<E> => ({ consume, taken: 0, running: undefined }))
  const moved = Effect.unsafeMakeLatch()
  let filled = 0
  /** Where in the memory the ring begins. */
  let origin = 0
  let settling = false
  let failure: Cause.Cause<E> | undefined
  let following: Following | undefined
  /** A follower has left before it was told to: until the ring settles there is none. */
  let forsaken = false

  const takenByAll = () => following?.counters.taken(filled) ?? Math.min(...lanes.map(({ taken }) => taken))
  /** A piece of the ring, counted from the first byte ever: up to `length` bytes, no further than to its edge. */
  const piece = (position: number, length: number) => {
    const start = position % size
    return memory.subarray(origin + start, origin + Math.min(size, start + length))
  }
  const next = ({ taken }: Lane<E>) => {
    const waiting = filled - taken
    return piece(taken, settling ? waiting : waiting - (waiting % portion))
  }

  const run = (lane: Lane<E>): Effect.Effect<void, E> =>
    Effect.suspend(() => {
      const bytes = next(lane)
      if (bytes.length === 0) {
        lane.running = undefined
        return Effect.void
      }
      return Effect.zipRight(
        Effect.uninterruptible(lane.consume(bytes)),
        Effect.suspend(() => {
          lane.taken += bytes.length
          moved.unsafeOpen()
          return run(lane)
        })
      )
    })

  const wake = (lane: Lane<E>): Effect.Effect<void> => {
    if (lane.running !== undefined || next(lane).length === 0) return Effect.void
    return Effect.interruptible(run(lane)).pipe(
      Effect.tapErrorCause((cause) =>
        Effect.sync(() => {
          failure ??= cause
          moved.unsafeOpen()
        })
      ),
      Effect.forkIn(scope),
      Effect.map((fiber) => {
        if (!isDone(fiber)) lane.running = fiber
      })
    )
  }
  const wakeAll = Effect.uninterruptible(Effect.suspend(() => Effect.forEach(lanes, wake, { discard: true })))

  /** While nobody follows: let the consumers take everything, less than a portion too. */
  const drain = Effect.suspend(() => {
    settling = true
    return wakeAll
  }).pipe(
    Effect.zipRight(
      Effect.suspend(() =>
        Effect.forEach(lanes, ({ running }) => (running === undefined ? Effect.void : outcome(running)), {
          discard: true
        })
      )
    ),
    Effect.ensuring(Effect.sync(() => (settling = false)))
  )

  const follow = (run: Follower.Follower): Effect.Effect<void> => {
    const from = filled
    const counters = new Follower.Counters(from)
    const left = Effect.suspend(() => {
      for (const lane of lanes) lane.taken = counters.taken(filled)
      following = undefined
      forsaken = true
      counters.close()
      moved.unsafeOpen()
      return wakeAll
    })
    return Effect.interruptible(run({ memory, size, cells: counters.cells, from })).pipe(
      Effect.catchAllCause(() => Effect.void), // the consumers need the same thread, and have the error
      Effect.zipRight(left),
      Effect.forkIn(scope),
      Effect.map((fiber) => {
        if (!isDone(fiber)) following = { counters, fiber }
      }),
      Effect.uninterruptible
    )
  }

  /** Wait until somebody takes more than that, from this very moment on. */
  const room = (taken: number): Effect.Effect<void> => {
    moved.unsafeClose()
    following?.counters.whenMoved(taken, () => moved.unsafeOpen())
    return moved.await
  }

  /**
   * V8 copies to shared memory by words, but five times slower by bytes where the two do not begin alike within a word. What
   * comes from one connection goes on as it began.
   */
  const align = (bytes: Uint8Array) => {
    if (filled === takenByAll()) origin = (bytes.byteOffset + wordSize - (filled % wordSize)) % wordSize
  }

  const put = (bytes: Uint8Array): Effect.Effect<void, E> =>
    Effect.suspend(() => {
      if (failure !== undefined) return Effect.failCause(failure)
      const run = following === undefined && !forsaken ? follower() : undefined
      if (run !== undefined) return drain.pipe(Effect.zipRight(follow(run)), Effect.zipRight(put(bytes)))
      align(bytes)
      const taken = takenByAll()
      const free = piece(filled, size - (filled - taken))
      if (free.length === 0) return Effect.zipRight(room(taken), put(bytes))
      const fits = bytes.length <= free.length
      free.set(fits ? bytes : bytes.subarray(0, free.length))
      filled += Math.min(bytes.length, free.length)
      following?.counters.advance(filled, origin, portion)
      const told = following === undefined ? wakeAll : Effect.void
      return fits ? told : Effect.zipRight(told, put(bytes.subarray(free.length)))
    })

  return {
    put,
    filled: () => filled,
    settle: Effect.suspend(() => {
      if (following === undefined) return Effect.void
      Follower.dismiss(following.counters.cells, "whenEmpty")
      return outcome(following.fiber)
    }).pipe(
      Effect.zipRight(drain),
      Effect.tap(() => {
        forsaken = false
      })
    )
  }
})

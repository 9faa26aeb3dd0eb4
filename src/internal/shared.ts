import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { globalValue } from "effect/GlobalValue"

interface Work {
  readonly done: Deferred.Deferred<unknown, unknown>
  readonly fiber: Fiber.Fiber<unknown, unknown> | undefined
  waiters: number
}

/** Process-wide: two managers over one cache directory are two callers of one download. */
const underWay = globalValue("smolvm-images/shared", () => new Map<string, { -readonly [K in keyof Work]: Work[K] }>())

/**
 * Run `effect`, or wait for the run that is under way for the same key. The work belongs to all its callers: interrupting
 * one of them leaves it alone, interrupting the last one interrupts it and waits until it has cleaned up. Callers of one
 * key must ask for the same thing.
 */
export const shared = <A, E>(key: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const found = underWay.get(key)
      const work = found ?? { done: Deferred.unsafeMake<unknown, unknown>(FiberId.none), fiber: undefined, waiters: 0 }
      work.waiters++
      if (found === undefined) underWay.set(key, work)
      const forget = Effect.sync(() => {
        if (underWay.get(key) === work) underWay.delete(key)
      })
      const start =
        found === undefined
          ? Effect.interruptible(effect).pipe(
              Effect.onExit((exit) => Effect.zipRight(forget, Deferred.done(work.done, exit))),
              Effect.forkDaemon,
              Effect.map((fiber) => {
                work.fiber = fiber
              })
            )
          : Effect.void
      const leave = Effect.suspend(() => {
        work.waiters--
        return work.waiters > 0 || work.fiber === undefined
          ? Effect.void
          : Effect.zipRight(forget, Fiber.interrupt(work.fiber))
      })
      // The key decides what is asked for, and so the types.
      const result = Deferred.await(work.done) as Effect.Effect<A, E>
      return Effect.zipRight(start, Effect.ensuring(restore(result), leave))
    })
  )

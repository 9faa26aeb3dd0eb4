import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { globalValue } from "effect/GlobalValue"
import { exclusive } from "./keyedMutex.js"

interface Work {
  readonly done: Deferred.Deferred<unknown, unknown>
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  waiters: number
}

/** Process-wide: two managers over one cache directory are two callers of one download. */
const underWay = globalValue("smolvm-images/shared", () => new Map<string, Work>())

/** The outcome of shared work, and whether it was under way already. */
export interface Shared<A> {
  readonly joined: boolean
  readonly value: A
}

/**
 * Run `effect`, or wait for the run that is under way for the same key. The work belongs to all its callers: interrupting
 * one of them leaves it alone, interrupting the last one interrupts it and waits until it has cleaned up. Callers of one
 * key must ask for the same type of thing.
 */
export const shared = <A, E>(key: string, effect: Effect.Effect<A, E>): Effect.Effect<Shared<A>, E> =>
  join(key, (close) => Effect.ensuring(effect, close))

/**
 * Like {@link shared}, but nobody joins a run that has begun: who comes later waits for the next one, which begins when
 * this one ends and is for all who came meanwhile.
 */
export const sharedFresh = <A, E>(key: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.map(
    join(key, (close) => exclusive(key)(Effect.zipRight(close, effect))),
    ({ value }) => value
  )

const join = <A, E>(
  key: string,
  /** What to run; `close` lets nobody join any more. */
  run: (close: Effect.Effect<void>) => Effect.Effect<A, E>
): Effect.Effect<Shared<A>, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const found = underWay.get(key)
      const work: Work = found ?? { done: Deferred.unsafeMake(FiberId.none), fiber: undefined, waiters: 0 }
      work.waiters++
      if (found === undefined) underWay.set(key, work)
      const close = Effect.sync(() => {
        if (underWay.get(key) === work) underWay.delete(key)
      })
      const start = Effect.interruptible(run(close)).pipe(
        Effect.onExit((exit) => Effect.zipRight(close, Deferred.done(work.done, exit))),
        Effect.forkDaemon,
        Effect.map((fiber) => {
          work.fiber = fiber
        })
      )
      const leave = Effect.suspend(() => {
        work.waiters--
        return work.waiters > 0 || work.fiber === undefined
          ? Effect.void
          : Effect.zipRight(close, Fiber.interrupt(work.fiber))
      })
      // The key decides what is asked for, and so the types.
      const outcome = Deferred.await(work.done) as Effect.Effect<A, E>
      return Effect.zipRight(found === undefined ? start : Effect.void, Effect.ensuring(restore(outcome), leave)).pipe(
        Effect.map((value) => ({ joined: found !== undefined, value }))
      )
    })
  )

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { globalValue } from "effect/GlobalValue"
import { exclusive } from "./keyedMutex.js"

interface Work<A, E> {
  readonly done: Deferred.Deferred<A, E>
  fiber: Fiber.Fiber<A, E> | undefined
  waiters: number
}

/** Runs an effect for all who want it under one key. */
export type Share<A, E> = (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<Shared<A>, E>

/** The outcome of shared work, and whether it was under way already. */
export interface Shared<A> {
  readonly joined: boolean
  readonly value: A
}

/**
 * Whoever asks joins the run that is under way for the same key. The work belongs to all its callers: interrupting one of
 * them leaves it alone, interrupting the last one interrupts it and waits until it has cleaned up.
 */
export const make = <A, E>(name: string): Share<A, E> =>
  share(name, (_, effect, close) => Effect.ensuring(effect, close))

/**
 * Like {@link make}, but nobody joins a run that has begun: who comes later waits for the next one, which begins when this
 * one ends and is for all who came meanwhile.
 */
export const makeFresh = <A, E>(name: string): Share<A, E> =>
  share(name, (key, effect, close) => exclusive(`${name} ${key}`)(Effect.zipRight(close, effect)))

const share = <A, E>(
  name: string,
  /** What to run; `close` lets nobody join any more. */
  run: (key: string, effect: Effect.Effect<A, E>, close: Effect.Effect<void>) => Effect.Effect<A, E>
): Share<A, E> => {
  // Process-wide: two managers over one cache directory are two callers of one download.
  const underWay = globalValue(`smolvm-images/shared/${name}`, () => new Map<string, Work<A, E>>())

  return (key, effect) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const found = underWay.get(key)
        const work: Work<A, E> = found ?? { done: Deferred.unsafeMake(FiberId.none), fiber: undefined, waiters: 0 }
        work.waiters++
        if (found === undefined) underWay.set(key, work)
        const close = Effect.sync(() => {
          if (underWay.get(key) === work) underWay.delete(key)
        })
        const start = Effect.interruptible(run(key, effect, close)).pipe(
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
        return Effect.zipRight(
          found === undefined ? start : Effect.void,
          Effect.ensuring(restore(Deferred.await(work.done)), leave)
        ).pipe(Effect.map((value) => ({ joined: found !== undefined, value })))
      })
    )
}

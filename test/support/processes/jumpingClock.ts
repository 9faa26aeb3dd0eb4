import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A clock that is off by so many milliseconds, each of these in turn, whenever it is asked. It sleeps in real time. */
export const makeJumpingClock = (clock: Clock.Clock, jumps: ReadonlyArray<number>): Clock.Clock => {
  let asked = 0
  const jump = () => jumps[asked++ % jumps.length] ?? 0
  const nanos = () => clock.unsafeCurrentTimeNanos() + BigInt(jump()) * 1_000_000n
  return {
    ...clock,
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + jump(),
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(() => clock.unsafeCurrentTimeMillis() + jump()),
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) => clock.sleep(duration)
  }
}

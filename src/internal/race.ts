import * as Effect from "effect/Effect"

/**
 * The first of two to end, be it well or badly. The other one is interrupted, as both are when the race is, and in either
 * case waited for.
 *
 * Not with `Effect.raceFirst` or `Effect.timeout`: fibers that are forked within a concurrent `Effect.forEach`, as that over
 * the files of an image, are children of the fiber which runs the forEach, not of the one that races. When another file
 * fails, nobody interrupts them: `timeout` waits until one of them ends by itself, `raceFirst` leaves both behind.
 */
export const firstOf = <A, E, R, A2, E2, R2>(
  one: Effect.Effect<A, E, R>,
  other: Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> => {
  const both: ReadonlyArray<Effect.Effect<A | A2, E | E2, R | R2>> = [one, other]
  return Effect.flatten(Effect.raceAll(both.map(Effect.exit)))
}

import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/**
 * Wait for a fiber that somebody else may have begun. Not `Fiber.join`: that takes over what the fiber's context was, such as
 * the span, the log annotations and even the Scope of whoever began it.
 */
export const outcome = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> => Effect.flatten(Fiber.await(fiber))

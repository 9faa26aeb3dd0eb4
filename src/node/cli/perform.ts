// From an invocation to an exit code.
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Failure from "./failure.js"
import * as Output from "./output.js"
import type { Invocation, UsageError } from "./parse.js"
import type { Reporter } from "./reporter.js"
import { run } from "./run.js"

/** What goes to standard output in the end, and the exit code. */
export interface Answer {
  readonly text: string
  readonly exitCode: number
}

export const misused = (error: UsageError, reporter: Reporter, json: boolean): Effect.Effect<Answer> => {
  const failure = Failure.describe(error)
  return Effect.as(reporter.fail(failure, []), failed(json, failure))
}

/** A failure that people have been told of, for programs. */
export const failed = (json: boolean, failure: Failure.Failure): Answer => ({
  text: json ? Output.json(Output.Failed, { error: failure }) : "",
  exitCode: failure.exitCode
})

/** Run a command and say what it has to say; or why it has nothing to say, to people and, with `--json`, to programs. */
export const perform = (
  { arguments: args, command, flags }: Extract<Invocation, { readonly _tag: "Run" }>,
  reporter: Reporter
): Effect.Effect<Answer> => {
  const fail = (error: Failure.Expected) => reporter.fail(Failure.describe(error), Failure.details(error))
  return run({ command, arguments: args, flags, reporter }).pipe(
    Effect.provide(reporter.logging),
    Effect.flatMap(({ errors, exitCode, json, text }) =>
      Effect.as(Effect.forEach(errors, fail), { text: flags.json ? json : text, exitCode })
    ),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      return Option.match(Failure.expected(cause), {
        onSome: (error) => Effect.as(fail(error), failed(flags.json, Failure.describe(error))),
        onNone: () => {
          const failure = Failure.bug(cause)
          const trace = Cause.pretty(cause, { renderErrorCause: true }).split("\n")
          return Effect.as(reporter.fail(failure, trace), failed(flags.json, failure))
        }
      })
    })
  )
}

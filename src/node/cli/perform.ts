// From an invocation to an exit code.
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Failure from "./failure.js"
import * as Output from "./output.js"
import type { Flags, Invocation, UsageError } from "./parse.js"
import * as Reporter from "./reporter.js"
import { run } from "./run.js"
import { writeOut } from "./streams.js"

const standard: Flags = {
  registry: [],
  verify: "always",
  json: false,
  progress: "lines",
  quiet: false,
  logLevel: "warning",
  verbose: false
}

export const misused = (error: UsageError) =>
  Effect.as(Reporter.make(standard).fail(Failure.describe(error), []), Failure.usage)

/** Run a command and tell what it has to say, or why it has nothing to say. Never fails: the result is the exit code. */
export const perform = ({ arguments: args, command, flags }: Extract<Invocation, { readonly _tag: "Run" }>) => {
  const reporter = Reporter.make(flags)
  const fail = (error: Failure.Expected) => reporter.fail(Failure.describe(error), Failure.details(error))
  return run({ command, arguments: args, flags, reporter }).pipe(
    Effect.provide(reporter.logging),
    Effect.flatMap((result) =>
      Effect.forEach(result.errors, fail).pipe(
        Effect.zipRight(writeOut(flags.json ? result.json : result.text)),
        Effect.as(result.exitCode)
      )
    ),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      return Option.match(Failure.expected(cause), {
        onSome: (error) => told(flags, Failure.describe(error), fail(error)),
        onNone: () => {
          const failure = Failure.bug(cause)
          return told(
            flags,
            failure,
            reporter.fail(failure, Cause.pretty(cause, { renderErrorCause: true }).split("\n"))
          )
        }
      })
    })
  )
}

/** An error is told to people, and, where JSON was asked for, to programs. */
const told = (flags: Flags, failure: Failure.Failure, tell: Effect.Effect<void>): Effect.Effect<number> =>
  tell.pipe(
    Effect.zipRight(flags.json ? writeOut(Output.json(Output.Failed, { error: failure })) : Effect.void),
    Effect.as(failure.exitCode)
  )

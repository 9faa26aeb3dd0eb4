// The process: arguments in, exit code out, signals in between.
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { unwritable } from "./commands.js"
import * as Failure from "./failure.js"
import { type Flags, type Invocation, parse, wantsJson } from "./parse.js"
import { type Answer, failed, misused, perform } from "./perform.js"
import * as Reporter from "./reporter.js"
import { colour, writeOut } from "./streams.js"
import { version } from "./version.js"

const args = process.argv.slice(2)
const { events, json } = wantsJson(args)
const asked = parse(args)

/** For those who give no flags, or none that make sense. */
const standard: Flags = {
  registry: [],
  verify: "always",
  json,
  progress: events ? "json" : "lines",
  quiet: false,
  logLevel: "warning",
  verbose: false
}

const reporter = Reporter.make(Either.isRight(asked) && asked.right._tag === "Run" ? asked.right.flags : standard)

const done = (text: string): Answer => ({ text: `${text}\n`, exitCode: 0 })

/** Run what is asked for. Never fails: what went wrong is an answer, too. */
const answer = (invocation: Invocation): Effect.Effect<Answer> => {
  switch (invocation._tag) {
    case "Help":
      return Effect.map(
        Effect.promise(() => import("./help.js")),
        ({ help }) => done(help(invocation.command, colour.stdout))
      )
    case "Completions":
      return Effect.promise(() => import("./help.js")).pipe(
        Effect.flatMap(({ completions }) => completions(invocation.shell)),
        Effect.map(done)
      )
    case "Version":
      return Effect.succeed(done(version))
    case "Run":
      return perform(invocation, reporter)
  }
}

/** Why it ends before its time. */
let stopped: Answer | undefined

/** Exit when what was written is out. */
const leave = (code: number) => Effect.sync(() => void process.stderr.write("", () => process.exit(code)))

const program = Effect.uninterruptibleMask((restore) =>
  restore(Either.match(asked, { onLeft: (error) => misused(error, reporter, json), onRight: answer })).pipe(
    Effect.catchAllCause(() => Effect.sync(() => stopped ?? { text: "", exitCode: 70 })),
    // What was done before a signal came is done; what failed on its way out did so because of it.
    Effect.map((end) => (end.exitCode === 0 ? end : (stopped ?? end))),
    // Nothing stops this, or it would be told twice.
    Effect.flatMap(({ exitCode, text }) => Effect.as(writeOut(text), exitCode)),
    Effect.catchAll((error) => Effect.as(reporter.fail(Failure.describe(error), []), unwritable)),
    Effect.flatMap(leave)
  )
)

const fiber = Effect.runFork(program)

const onSignal = (name: NodeJS.Signals, code: number) =>
  process.on(name, () => {
    // Asked once, we clean up; asked twice, we go.
    if (stopped !== undefined) process.exit(code)
    stopped = failed(json, Failure.interruption(name, code))
    Effect.runFork(Fiber.interrupt(fiber))
  })
onSignal("SIGINT", 130)
onSignal("SIGTERM", 143)
onSignal("SIGHUP", 129)

// Whoever reads along may have seen enough, or its disk is full: the work goes on, and so does what standard output is for.
process.stderr.on("error", () => {})

// The process: arguments in, exit code out, signals in between.
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Failure from "./failure.js"
import { type Invocation, parse, wantsJson } from "./parse.js"
import { type Answer, failed, misused, perform } from "./perform.js"
import { colour, writeOut } from "./streams.js"
import { version } from "./version.js"

const done = (text: string): Answer => ({ text: `${text}\n`, exitCode: 0 })

/** Run what is asked for. Never fails: what went wrong is an answer, too. */
const answer = (asked: Invocation): Effect.Effect<Answer> => {
  switch (asked._tag) {
    case "Help":
      return Effect.map(
        Effect.promise(() => import("./help.js")),
        ({ help }) => done(help(asked.command, colour.stdout))
      )
    case "Completions":
      return Effect.promise(() => import("./help.js")).pipe(
        Effect.flatMap(({ completions }) => completions(asked.shell)),
        Effect.map(done)
      )
    case "Version":
      return Effect.succeed(done(version))
    case "Run":
      return perform(asked)
  }
}

const args = process.argv.slice(2)
const json = wantsJson(args)

/** Why it ends before its time. */
let stopped: Answer | undefined

/** Exit when what was written is out. */
const leave = (code: number) => Effect.sync(() => void process.stderr.write("", () => process.exit(code)))

const program = Effect.uninterruptibleMask((restore) =>
  restore(Either.match(parse(args), { onLeft: (error) => misused(error, json), onRight: answer })).pipe(
    Effect.catchAllCause(() => Effect.sync(() => stopped ?? { text: "", exitCode: 70 })),
    // What was done before a signal came is done; what failed on its way out did so because of it.
    Effect.map((end) => (end.exitCode === 0 ? end : (stopped ?? end))),
    // Nothing stops this, or it would be told twice.
    Effect.flatMap(({ exitCode, text }) => Effect.zipRight(writeOut(text), leave(exitCode)))
  )
)

const fiber = Effect.runFork(program)

const stop = (why: Answer) => {
  stopped = why
  Effect.runFork(Fiber.interrupt(fiber))
}

const onSignal = (name: NodeJS.Signals, code: number) =>
  process.on(name, () => {
    // Asked once, we clean up; asked twice, we go.
    if (stopped !== undefined) process.exit(code)
    stop(failed(json, Failure.interruption(name, code)))
  })
onSignal("SIGINT", 130)
onSignal("SIGTERM", 143)
onSignal("SIGHUP", 129)

// A reader who has seen enough closes the pipe: nothing is wrong, and nobody is left to tell.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    process.exitCode = error.code === "EPIPE" ? 0 : 1
    Effect.runFork(
      Effect.zipRight(
        Fiber.interrupt(fiber),
        Effect.sync(() => process.exit())
      )
    )
  })
}

// The process: arguments in, exit code out, signals in between.
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { type Invocation, parse } from "./parse.js"
import { misused, perform } from "./perform.js"
import { colour, writeOut } from "./streams.js"
import { version } from "./version.js"

/** Run what is asked for. Never fails: the result is the exit code. */
const answer = (asked: Invocation): Effect.Effect<number> => {
  switch (asked._tag) {
    case "Help":
      return Effect.promise(() => import("./help.js")).pipe(
        Effect.flatMap(({ help }) => writeOut(`${help(asked.command, colour.stdout)}\n`)),
        Effect.as(0)
      )
    case "Completions":
      return Effect.promise(() => import("./help.js")).pipe(
        Effect.flatMap(({ completions }) => completions(asked.shell)),
        Effect.flatMap((script) => writeOut(`${script}\n`)),
        Effect.as(0)
      )
    case "Version":
      return Effect.as(writeOut(`${version}\n`), 0)
    case "Run":
      return perform(asked)
  }
}

const program = Either.match(parse(process.argv.slice(2)), {
  onLeft: misused,
  onRight: answer
})

const fiber = Effect.runFork(program)

/** Exit when what was written is out. */
const leave = (code: number) => {
  process.stderr.write("", () => process.exit(code))
}

let signalled = 0
const onSignal = (code: number) => () => {
  // Asked once, we clean up; asked twice, we go.
  if (signalled !== 0) process.exit(code)
  signalled = code
  Effect.runFork(Fiber.interrupt(fiber))
}
process.on("SIGINT", onSignal(130))
process.on("SIGTERM", onSignal(143))
process.on("SIGHUP", onSignal(129))

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

fiber.addObserver((exit) => {
  // What was done before the signal came is done; what failed on its way out did so because of it.
  if (exit._tag === "Success") leave(exit.value !== 0 && signalled !== 0 ? signalled : exit.value)
  else leave(signalled === 0 ? 70 : signalled)
})

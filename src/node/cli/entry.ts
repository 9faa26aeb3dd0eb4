#!/usr/bin/env node
// Where Node.js starts: the shortest way for the shortest command, and the whole program for all others.
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Spec from "./commands.js"
import { parse } from "./parse.js"
import * as Quick from "./quick.js"
import { colour, writeOut } from "./streams.js"
import { errorLines } from "./text.js"

process.stderr.on("error", () => {}) // who does not listen any more is not told

const asked = Option.getRight(parse(process.argv.slice(2)))

const quick =
  Option.isSome(asked) && asked.value._tag === "Run" && asked.value.command === Spec.list && !asked.value.flags.json
    ? Quick.list(asked.value.flags)
    : Effect.succeedNone

await Option.match(await Effect.runPromise(quick), {
  onNone: () => import("./main.js"),
  onSome: (text) =>
    Effect.runPromise(
      Effect.catchAll(writeOut(text), (error) =>
        Effect.sync(() => {
          for (const line of errorLines(colour.stderr, error)) process.stderr.write(`${line}\n`)
          process.exitCode = Spec.unwritable
        })
      )
    )
})

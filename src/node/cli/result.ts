import type * as Schema from "effect/Schema"
import type * as Failure from "./failure.js"
import * as Output from "./output.js"

/** What a command has to say: all of standard output, what it could not do, and how it exits. */
export interface Result {
  readonly json: string
  readonly text: string
  readonly exitCode: number
  readonly errors: ReadonlyArray<Failure.Expected>
}

export const make = <A, I>(
  schema: Schema.Schema<A, I>,
  value: A,
  lines: ReadonlyArray<string>,
  rest: { readonly exitCode?: number; readonly errors?: ReadonlyArray<Failure.Expected> } = {}
): Result => ({
  json: Output.json(schema, value),
  text: lines.map((line) => `${line}\n`).join(""),
  exitCode: rest.exitCode ?? 0,
  errors: rest.errors ?? []
})

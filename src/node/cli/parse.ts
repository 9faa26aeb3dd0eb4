// From arguments to an invocation. @effect/cli takes options behind the arguments for further arguments and corrects
// spelling by guess; node:util knows the grammar of Unix, and the rest is a matter of saying what is wrong.
import { parseArgs } from "node:util"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Spec from "./commands.js"

/** The command line makes no sense: one line that says why. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly message: string
  /** The command whose help explains it. */
  readonly command?: Spec.CommandSpec | undefined
}> {}

export interface Flags {
  readonly cacheDir?: string
  /** Empty: none was given. */
  readonly registry: ReadonlyArray<string>
  readonly offline?: boolean
  readonly verify: (typeof Spec.verifications)[number]
  readonly json: boolean
  readonly progress: (typeof Spec.progressModes)[number]
  readonly quiet: boolean
  readonly logLevel: (typeof Spec.logLevels)[number]
  readonly verbose: boolean
}

export type Invocation =
  | { readonly _tag: "Help"; readonly command: Spec.CommandSpec | undefined }
  | { readonly _tag: "Version" }
  | { readonly _tag: "Completions"; readonly shell: (typeof Spec.shells)[number] }
  | {
      readonly _tag: "Run"
      readonly command: Spec.CommandSpec
      readonly arguments: ReadonlyArray<string>
      readonly flags: Flags
    }

interface Given {
  readonly positionals: ReadonlyArray<string>
  /** The values of each option that was given, in order. */
  readonly values: ReadonlyMap<string, ReadonlyArray<string>>
}

const usage = (message: string, command?: Spec.CommandSpec): Either.Either<never, UsageError> =>
  Either.left(new UsageError({ message, command }))

/** Tell options from arguments, wherever they stand, and refuse what is neither. */
const split = (args: ReadonlyArray<string>): Either.Either<Given, UsageError> => {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Spec.options.map(({ name, short, value }) => [
        name,
        { type: value === undefined ? "boolean" : "string", ...(short === undefined ? {} : { short }) } as const
      ])
    ),
    allowPositionals: true,
    strict: false,
    tokens: true
  })
  const positionals: Array<string> = []
  const values = new Map<string, Array<string>>()
  let terminated = false
  for (const token of tokens) {
    if (token.kind === "option-terminator") terminated = true
    else if (token.kind === "positional") {
      if (!terminated && token.value.startsWith("-")) return usage(`Unknown option ${quote(token.value)}.`)
      positionals.push(token.value)
    } else {
      const spec = Spec.options.find(({ name }) => name === token.name)
      if (spec === undefined) return usage(`Unknown option ${quote(token.rawName)}.`)
      if (spec.value === undefined) {
        if (token.value !== undefined) return usage(`Option ${token.rawName} takes no value.`)
      } else if (token.value === undefined || token.value.trim() === "") {
        return usage(`Option ${token.rawName} needs a value: ${spec.choices?.join(", ") ?? spec.value}.`)
      } else if (!token.inlineValue && token.value.startsWith("-") && token.value !== "-") {
        return usage(
          `Option ${token.rawName} needs a value; one that starts with "-" is written ${token.rawName}=VALUE.`
        )
      } else if (spec.choices !== undefined && !spec.choices.includes(token.value)) {
        return usage(`Option ${token.rawName} is one of ${spec.choices.join(", ")}, not ${quote(token.value)}.`)
      }
      const before = values.get(spec.name) ?? []
      values.delete(spec.name) // so that the order of the keys is that of the last mention
      values.set(spec.name, [...before, token.value ?? ""])
    }
  }
  return Either.right({ positionals, values })
}

const quote = (text: string) => JSON.stringify(text)

const startsWith = (positionals: ReadonlyArray<string>, words: ReadonlyArray<string>) =>
  words.every((word, index) => positionals[index] === word)

/** The command, and what stands behind its words. */
const commandOf = ([...positionals]: ReadonlyArray<string>): Either.Either<Spec.CommandSpec, UsageError> => {
  const found = Spec.commands.find(({ words }) => startsWith(positionals, words))
  if (found !== undefined) return Either.right(found)
  const [first, second] = positionals
  const all = Spec.commands.map(({ words }) => words.join(" "))
  if (first === undefined) return usage(`Say what to do: ${all.join(", ")}.`)
  const group = Spec.commands.filter(({ words }) => words.length > 1 && words[0] === first)
  if (group.length > 0) {
    const rest = group.map(({ words }) => words.slice(1).join(" ")).join(", ")
    return usage(
      second === undefined ? `Say what to do: ${first} ${rest}.` : `Unknown command ${quote(`${first} ${second}`)}.`
    )
  }
  return usage(`Unknown command ${quote(first)}. There are ${all.join(", ")}.`)
}

/** What help is asked for: of a command, or of the first one that begins like this. */
const topicOf = (words: ReadonlyArray<string>): Either.Either<Spec.CommandSpec, UsageError> => {
  const begun = Spec.commands.find((command) => startsWith(command.words, words))
  return begun === undefined ? commandOf(words) : Either.right(begun)
}

/** The arguments of a command are as many as it takes, and of the kind it takes. */
const checkArguments = (
  command: Spec.CommandSpec,
  given: ReadonlyArray<string>
): Either.Either<ReadonlyArray<string>, UsageError> => {
  const call = `${Spec.programName} ${command.words.join(" ")}`
  const takesMany = command.arguments.some(({ count }) => count !== undefined)
  for (const [index, { choices, count, name }] of command.arguments.entries()) {
    const value = given[index]
    if (value === undefined) {
      if (count === "any") continue
      return usage(`${call} needs ${name}${choices === undefined ? "" : `: ${choices.join(", ")}`}.`, command)
    }
    if (choices !== undefined && !choices.includes(value)) {
      return usage(`${name} is one of ${choices.join(", ")}, not ${quote(value)}.`, command)
    }
  }
  const extra = takesMany ? undefined : given[command.arguments.length]
  return extra === undefined
    ? Either.right(given)
    : usage(`${call} does not take the argument ${quote(extra)}.`, command)
}

/** Whether the result and the events are asked for as JSON, even by a command line that makes no sense. */
export const wantsJson = (args: ReadonlyArray<string>): { readonly json: boolean; readonly events: boolean } => {
  const end = args.indexOf("--")
  const options = args.slice(0, end === -1 ? args.length : end)
  const events = options.some(
    (word, at) => word === "--progress=json" || `${word}=${options[at + 1]}` === "--progress=json"
  )
  return { json: options.includes("--json"), events }
}

/** What a command line (without the program's name) asks for. */
export const parse = (args: ReadonlyArray<string>): Either.Either<Invocation, UsageError> =>
  Either.gen(function* () {
    const { positionals, values } = yield* split(args)
    const last = (name: string) => values.get(name)?.at(-1)
    const choice = <A extends string>(name: string, choices: ReadonlyArray<A>, standard: A): A =>
      choices.find((one) => one === last(name)) ?? standard

    const [first, ...rest] = positionals
    if (first === "help" || values.has("help")) {
      const topic = first === "help" ? rest : positionals
      return { _tag: "Help", command: topic.length === 0 ? undefined : yield* topicOf(topic) } as const
    }
    if (values.has("version")) return { _tag: "Version" } as const
    if (values.has("completions")) {
      return { _tag: "Completions", shell: choice("completions", Spec.shells, "bash") } as const
    }
    const found = yield* commandOf(positionals)
    const cacheDir = last("cache-dir")
    const offline = Array.from(values.keys()).findLast((name) => name === "offline" || name === "no-offline")
    return {
      _tag: "Run",
      command: found,
      arguments: yield* checkArguments(found, positionals.slice(found.words.length)),
      flags: {
        ...(cacheDir === undefined ? {} : { cacheDir }),
        ...(offline === undefined ? {} : { offline: offline === "offline" }),
        registry: values.get("registry") ?? [],
        verify: choice("verify", Spec.verifications, "always"),
        json: values.has("json"),
        progress: choice("progress", Spec.progressModes, "auto"),
        quiet: values.has("quiet"),
        logLevel: choice("log-level", Spec.logLevels, "warning"),
        verbose: values.has("verbose")
      }
    } as const
  })

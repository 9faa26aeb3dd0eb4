// Help and completion by @effect/cli. Loaded only when asked for: a plain run does not pay for it.
import { stripVTControlCharacters } from "node:util"
import * as Args from "@effect/cli/Args"
import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Span from "@effect/cli/HelpDoc/Span"
import * as Options from "@effect/cli/Options"
import * as Usage from "@effect/cli/Usage"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Spec from "./commands.js"
import { programName } from "./commands.js"

const width = 80

const config = CliConfig.make({ showBuiltIns: false, isCaseSensitive: true })

const argumentOf = ({ choices = [], count, description, name }: Spec.ArgumentSpec): Args.Args<unknown> => {
  const named = Arr.isNonEmptyReadonlyArray(choices)
    ? Args.choice(
        Arr.map(choices, (choice) => [choice, choice]),
        { name }
      )
    : name === "FILE"
      ? Args.file({ name })
      : Args.text({ name })
  const argument = Args.withDescription(named, description)
  return count === "some" ? Args.atLeast(argument, 1) : count === "any" ? Args.repeated(argument) : argument
}

const optionOf = ({
  choices,
  description,
  name,
  repeatable,
  short,
  value
}: Spec.OptionSpec): Options.Options<unknown> => {
  const named: Options.Options<unknown> =
    choices !== undefined
      ? Options.choice(name, choices)
      : value === undefined
        ? Options.boolean(name)
        : value === "DIR"
          ? Options.directory(name)
          : Options.file(name)
  const option = Options.withDescription(short === undefined ? named : Options.withAlias(named, short), description)
  return repeatable === true ? Options.repeated(option) : value === undefined ? option : Options.optional(option)
}

type Descriptor = CommandDescriptor.Command<unknown>

const group = (
  name: string,
  summary: string,
  options: Options.Options<unknown>,
  children: ReadonlyArray<Descriptor>
) => {
  const parent = CommandDescriptor.make(name, options).pipe(CommandDescriptor.withDescription(summary))
  return Arr.isNonEmptyReadonlyArray(children)
    ? CommandDescriptor.withSubcommands(
        parent,
        Arr.map(children, (child) => [child, child])
      )
    : parent
}

const leaf = (spec: Spec.CommandSpec, options: Options.Options<unknown>): Descriptor =>
  CommandDescriptor.make(
    spec.words[spec.words.length - 1] ?? "",
    options,
    Args.all(spec.arguments.map(argumentOf))
  ).pipe(CommandDescriptor.withDescription(spec.summary))

/** All commands as @effect/cli sees them; those of two words are grouped under the first. */
const tree = (specs: ReadonlyArray<Spec.OptionSpec>): Descriptor => {
  const options = Options.all(specs.map(optionOf))
  const byWord = Object.entries(Arr.groupBy(Spec.commands, ({ words }) => words[0]))
  return group(
    programName,
    Spec.summary,
    options,
    byWord.map(([word, commands]) => {
      const [only] = commands
      return only !== undefined && only.words.length === 1
        ? leaf(only, options)
        : group(
            word,
            Spec.groupSummary,
            options,
            commands.map((spec) => leaf(spec, options))
          )
    })
  )
}

/** What @effect/cli adds to every command by itself; for bash without their values. */
const builtIn: Record<(typeof Spec.shells)[number], ReadonlyArray<string>> = {
  bash: ["help", "version"],
  fish: ["help", "version", "completions", "log-level"],
  zsh: ["help", "version", "completions", "log-level"]
}

/** A script that completes commands and options in a shell. */
export const completions = (shell: (typeof Spec.shells)[number]): Effect.Effect<string> => {
  const script = {
    bash: CommandDescriptor.getBashCompletions,
    fish: CommandDescriptor.getFishCompletions,
    zsh: CommandDescriptor.getZshCompletions
  }[shell](tree(Spec.options.filter(({ name }) => !builtIn[shell].includes(name))), programName)
  return Effect.map(script, (lines) => {
    // We do without its wizard.
    const noWizard = lines.filter((line) => !/^\s*'--wizard\[/.test(line) && !/ -l wizard /.test(line)).join("\n")
    return shell === "bash" ? repairBash(noWizard.replaceAll(" --wizard", "")) : noWizard
  })
}

/**
 * As @effect/cli 0.77 writes it, the script loses track of a program whose name has a hyphen and of commands of two words,
 * takes several choices for one, completes nothing after a switch, and names its own options beside ours of the same name.
 */
const repairBash = (script: string): string => {
  const word = programName.replaceAll("-", "__")
  return script
    .replaceAll(`cmd="${programName}"`, `cmd="${word}"`)
    .replaceAll(new RegExp(`^( *)${programName}\\)$`, "gm"), `$1${word})`)
    .replaceAll(
      /^( *)([\w,]+),(\w+)\)$/gm,
      (_, indent: string, parents: string, last: string) => `${indent}${parents.replaceAll(",", "__")},${last})`
    )
    .replaceAll(/opts="[^"]*"/g, (opts) => `opts="${Arr.dedupe(opts.slice('opts="'.length, -1).split(" ")).join(" ")}"`)
    .replaceAll(/-W "[\w,]+"/g, (words) => words.replaceAll(",", " "))
    .replaceAll(/^ *-[-\w|]+\)\n *COMPREPLY=\( "\$\{cur\}" \)\n *return 0\n *;;\n/gm, "")
}

/** The text of `--help`, for a command or for the whole program. */
export const help = (command: Spec.CommandSpec | undefined, colour: boolean): string => {
  const text = HelpDoc.toAnsiText(command === undefined ? programHelp() : commandHelp(command))
  const plain = colour ? text : stripVTControlCharacters(text)
  const compact = plain
    .replaceAll(/[ \t]+$/gm, "")
    .replaceAll(/\n{2,}(?= )/g, "\n")
    .replaceAll(/\n{3,}/g, "\n\n")
  return compact.trim().split("\n").flatMap(wrap).join("\n")
}

const commandHelp = (spec: Spec.CommandSpec) =>
  HelpDoc.blocks([
    usage(callOf(spec)),
    section("DESCRIPTION", [spec.summary, ...spec.details].map(HelpDoc.p)),
    section("ARGUMENTS", terms(spec.arguments.map(({ description, name }) => [name, description]))),
    section("OPTIONS", [
      ...terms(optionsOf(spec).map((option) => [optionTerm(option), option.description])),
      HelpDoc.p(`\`${programName} --help\` tells of the others, which are the same for every command.`)
    ])
  ])

const optionsOf = ({ words: [word] }: Spec.CommandSpec) =>
  Spec.options.filter(({ matters }) => matters === undefined || matters.includes(word))

const programHelp = () =>
  HelpDoc.blocks([
    usage("COMMAND [ARGUMENT...]"),
    section("DESCRIPTION", [
      HelpDoc.p(Spec.summary),
      HelpDoc.p(
        `Options stand before or after the arguments. \`${programName} COMMAND --help\` tells more of a command.`
      )
    ]),
    section("COMMANDS", terms(Spec.commands.map((spec) => [callOf(spec), spec.summary]))),
    section("OPTIONS", terms(Spec.options.map((option) => [optionTerm(option), option.description]))),
    section("ENVIRONMENT", terms(Spec.environment)),
    section("EXIT CODES", list(Spec.exitCodes.map(([code, meaning]) => `${code}: ${meaning}`)))
  ])

const usage = (call: string) => {
  const parts = [programName, call].map((name) => Usage.named([name], Option.none()))
  const options = Usage.optional(Usage.named(["OPTIONS"], Option.none()))
  return section(
    "USAGE",
    Usage.enumerate([...parts, options].reduce(Usage.concat, Usage.empty), config).map((span) => HelpDoc.p(span))
  )
}

const callOf = ({ arguments: args, words }: Spec.CommandSpec) =>
  [
    ...words,
    ...args.map(({ count, name }) => (count === "any" ? `[${name}...]` : count === "some" ? `${name}...` : name))
  ].join(" ")

const optionTerm = ({ choices, name, short, value }: Spec.OptionSpec) =>
  `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${choices?.join("|") ?? value}`}`

const section = (title: string, blocks: ReadonlyArray<HelpDoc.HelpDoc>) =>
  blocks.length === 0 ? HelpDoc.empty : HelpDoc.blocks([HelpDoc.h1(title), ...blocks])

const terms = (entries: ReadonlyArray<readonly [term: string, meaning: string]>): ReadonlyArray<HelpDoc.HelpDoc> =>
  Arr.isNonEmptyReadonlyArray(entries)
    ? [HelpDoc.descriptionList(Arr.map(entries, ([term, meaning]) => [Span.text(term), HelpDoc.p(meaning)]))]
    : []

const list = (entries: ReadonlyArray<string>): ReadonlyArray<HelpDoc.HelpDoc> =>
  Arr.isNonEmptyReadonlyArray(entries) ? [HelpDoc.enumeration(Arr.map(entries, (entry) => HelpDoc.p(entry)))] : []

/** Break a line at its blanks, and keep its indentation. */
const wrap = (line: string): ReadonlyArray<string> => {
  const indent = /^ *(?:- )?/.exec(line)?.[0] ?? ""
  const lines: Array<string> = []
  let current = indent
  for (const word of line.slice(indent.length).split(" ")) {
    if (current.trim() !== "" && stripVTControlCharacters(`${current} ${word}`).length > width) {
      lines.push(current)
      current = " ".repeat(indent.length) + word
    } else current += current === indent ? word : ` ${word}`
  }
  return [...lines, current]
}

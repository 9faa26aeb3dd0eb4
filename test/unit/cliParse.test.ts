import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Spec from "../../src/node/cli/commands.js"
import { type Invocation, parse } from "../../src/node/cli/parse.js"

const run = (...args: ReadonlyArray<string>): Extract<Invocation, { readonly _tag: "Run" }> => {
  const result = Either.getOrThrow(parse(args))
  if (result._tag !== "Run") return assert.fail(`not a run but ${result._tag}`)
  return result
}

const problem = (...args: ReadonlyArray<string>): string =>
  Either.match(parse(args), { onLeft: ({ message }) => message, onRight: () => assert.fail("it was accepted") })

describe("the arguments", () => {
  it("options mean the same before and after the words and arguments of every command", () => {
    const options: ReadonlyArray<ReadonlyArray<string>> = Spec.options
      .filter(({ name }) => !["help", "version", "completions"].includes(name))
      .map(({ choices, name, value }) => [`--${name}`, ...(value === undefined ? [] : [choices?.[0] ?? "x"])])
    for (const command of Spec.commands) {
      const args = command.arguments.map(({ choices }) => choices?.[0] ?? "name")
      for (const option of options) {
        const expected = run(...command.words, ...option, ...args)
        assert.deepStrictEqual(run(...option, ...command.words, ...args), expected)
        assert.deepStrictEqual(run(...command.words, ...args, ...option), expected)
        assert.deepStrictEqual(expected.arguments, args)
        assert.strictEqual(expected.command, command)
      }
    }
  })

  it("the order of options and arguments never matters", () => {
    const flags = FastCheck.shuffledSubarray([
      ["--json"],
      ["-q"],
      ["--offline"],
      ["--cache-dir", "/x"],
      ["--verify=stat"]
    ])
    FastCheck.assert(
      FastCheck.property(flags, FastCheck.nat(2), (given, place) => {
        const names = ["one", "two"]
        const args = [...names.slice(0, place), ...given.flat(), ...names.slice(place)]
        assert.deepStrictEqual(run("ensure", ...args), run("ensure", ...given.flat(), ...names))
      })
    )
  })

  it("an unknown option is refused, wherever it stands", () => {
    assert.strictEqual(problem("ensure", "hello", "--ofline"), 'Unknown option "--ofline".')
    assert.strictEqual(problem("-x", "ensure", "hello"), 'Unknown option "-x".')
    assert.strictEqual(problem("ensure", "-"), 'Unknown option "-".')
  })

  it("a name that starts with a hyphen stands behind --", () => {
    assert.deepStrictEqual(run("ensure", "--json", "--", "-x", "--offline").arguments, ["-x", "--offline"])
  })

  it("an option's value is there, and one of the choices", () => {
    assert.include(problem("list", "--cache-dir"), "needs a value")
    assert.include(problem("list", "--cache-dir", "--json"), "--cache-dir=VALUE")
    assert.include(problem("list", "--cache-dir="), "needs a value")
    assert.include(problem("list", "--json=yes"), "takes no value")
    assert.include(problem("list", "--log-level", "loud"), "one of all, trace")
    assert.strictEqual(run("list", "--cache-dir=-x").flags.cacheDir, "-x")
  })

  it("the last mention of an option wins, and files of a registry add up", () => {
    assert.strictEqual(run("list", "--cache-dir", "a", "--cache-dir", "b").flags.cacheDir, "b")
    assert.strictEqual(run("list", "--offline", "--no-offline", "--offline").flags.offline, true)
    assert.strictEqual(run("list", "--offline", "--no-offline").flags.offline, false)
    assert.deepStrictEqual(run("list", "--registry", "a", "--registry=b").flags.registry, ["a", "b"])
  })

  it("arguments are as many as a command takes, and of the kind it takes", () => {
    assert.include(problem("ensure"), "needs NAME")
    assert.include(problem("path", "hello"), "needs FILE: kernel, rootfs, initrd")
    assert.include(problem("path", "hello", "disk"), 'not "disk"')
    assert.include(problem("list", "hello"), 'does not take the argument "hello"')
    assert.include(problem("registry", "check"), "needs FILE")
    assert.deepStrictEqual(run("verify").arguments, [])
  })

  it("an unknown command is refused", () => {
    assert.include(problem(), "Say what to do")
    assert.include(problem("pull", "hello"), 'Unknown command "pull"')
    assert.include(problem("registry"), "registry check")
    assert.include(problem("registry", "list"), 'Unknown command "registry list"')
  })

  it("help, version and completions need no arguments", () => {
    const answer = (...args: ReadonlyArray<string>) => Either.getOrThrow(parse(args))
    assert.deepStrictEqual(answer("--help"), { _tag: "Help", command: undefined })
    assert.deepStrictEqual(answer("path", "-h"), { _tag: "Help", command: Spec.path })
    assert.deepStrictEqual(answer("registry", "--help"), { _tag: "Help", command: Spec.registryCheck })
    assert.deepStrictEqual(answer("help"), answer("--help"))
    assert.deepStrictEqual(answer("help", "path"), answer("path", "--help"))
    assert.include(problem("help", "pull"), "Unknown command")
    assert.deepStrictEqual(answer("--version"), { _tag: "Version" })
    assert.deepStrictEqual(answer("--completions", "zsh"), { _tag: "Completions", shell: "zsh" })
    assert.include(problem("pull", "--help"), "Unknown command")
  })
})

// The help in the README is the help of the program.
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Spec from "../../src/node/cli/commands.js"
import { sandbox } from "../support/cli.js"

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")

/** `<!-- help: COMMAND -->`, a block of text, `<!-- /help -->`; without a command it is the help of the program. */
const blocks = Array.from(
  readme.matchAll(/^<!-- help(?:: ([a-z ]+))? -->\n```text\n([\s\S]*?)\n```\n<!-- \/help -->$/gm),
  ([, command = "", text = ""]) => ({ command, text })
)

describe.skipIf(blocks.length === 0)("the manual in README.md", () => {
  it("has the help of the program and of every command", () => {
    const commands = ["", ...Spec.commands.map(({ words }) => words.join(" "))]
    assert.deepStrictEqual(blocks.map(({ command }) => command).sort(), commands.sort())
  })

  for (const { command, text } of blocks) {
    it.scopedLive(`${Spec.programName} ${command} --help`, () =>
      Effect.gen(function* () {
        const box = yield* sandbox
        const { stdout } = yield* box.run([...command.split(" ").filter((word) => word !== ""), "--help"])
        assert.strictEqual(text, stdout.trimEnd())
      })
    )
  }

  it("tells of every exit code", () => {
    for (const [code] of Spec.exitCodes) assert.match(readme, new RegExp(`^\\| ${code} \\|`, "m"))
  })
})

// `npm test`: every check in order. One that fails does not stop the others, only those that need what it makes.
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root, run, say } from "./run.js"
import * as Tarball from "./tarball.js"
import { type Counts, runVitest } from "./vitest.js"

/** A check passes or fails, does not apply (with the reason), or has counts of its own. */
type Outcome = boolean | { readonly skip: string } | Counts

interface Step {
  readonly name: string
  /** Steps that must have passed before this one. */
  readonly needs?: ReadonlyArray<string>
  readonly run: () => Promise<Outcome>
}

const temp = await mkdtemp(join(tmpdir(), "smolvm-images-check-"))
const consumer = join(temp, "consumer")
const readme = await readFile(join(root, "README.md"), "utf8").catch(() => undefined)
const blocks = Tarball.codeBlocks(readme ?? "")
const runnable = blocks.filter((block) => block.runs !== undefined)
let tarball = ""

const withReadme = (found: ReadonlyArray<Tarball.Block>, what: string, check: () => Promise<boolean>) => async () => {
  if (readme === undefined) return { skip: "there is no README.md yet" }
  return found.length === 0 ? { skip: `README.md has no ${what}` } : check()
}

const steps: ReadonlyArray<Step> = [
  { name: "types", run: () => run("tsc", ["--noEmit", "-p", "tsconfig.json"]) },
  {
    name: "effect diagnostics",
    run: () =>
      run("effect-language-service", ["diagnostics", "--project", "tsconfig.json", "--strict", "--format", "text"])
  },
  { name: "lint and format", run: () => run("npm", ["run", "--silent", "lint"]) },
  { name: "build", run: () => run("npm", ["run", "--silent", "build"]) },
  { name: "tests", needs: ["build"], run: () => runVitest(temp) },
  {
    name: "pack",
    needs: ["build"],
    run: async () => {
      tarball = (await Tarball.pack(temp)) ?? ""
      return tarball !== ""
    }
  },
  { name: "publint", needs: ["pack"], run: () => run("publint", ["run", tarball, "--strict"]) },
  {
    name: "are the types wrong",
    needs: ["pack"],
    run: () => run("attw", [tarball, "--profile", "esm-only", "--format", "ascii", "--no-emoji"])
  },
  {
    name: "install in a fresh project",
    needs: ["pack"],
    run: () => Tarball.installConsumer(tarball, consumer, readme ?? "")
  },
  {
    name: "public types for a strict consumer",
    needs: ["install in a fresh project"],
    run: () => Tarball.checkConsumer(consumer)
  },
  {
    name: "README code compiles",
    needs: ["install in a fresh project"],
    run: withReadme(blocks, "ts code", () => Tarball.compileBlocks(consumer, blocks))
  },
  {
    name: "README code runs",
    needs: ["README code compiles"],
    run: withReadme(runnable, "`// run:` code", () => Tarball.runBlocks(consumer, runnable))
  }
]

const counted = (outcome: Outcome): Counts =>
  typeof outcome === "boolean"
    ? { passed: outcome ? 1 : 0, failed: outcome ? 0 : 1, skipped: 0 }
    : "skip" in outcome
      ? { passed: 0, failed: 0, skipped: 1 }
      : outcome

const summary = ({ failed, passed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`

const attempt = async (step: Step, notPassed: ReadonlySet<string>): Promise<Outcome> => {
  const missing = step.needs?.find((name) => notPassed.has(name))
  if (missing !== undefined) return { skip: `needs "${missing}", which did not pass` }
  try {
    return await step.run()
  } catch (error) {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return false
  }
}

const total = { passed: 0, failed: 0, skipped: 0 }
const notPassed = new Set<string>()
const lines: Array<string> = []
try {
  for (const step of steps) {
    say(`\n== ${step.name}`)
    const start = performance.now()
    const outcome = await attempt(step, notPassed)
    const counts = counted(outcome)
    if (counts.failed > 0 || counts.passed === 0) notPassed.add(step.name)
    total.passed += counts.passed
    total.failed += counts.failed
    total.skipped += counts.skipped
    const verdict = counts.failed > 0 ? "FAILED" : counts.passed === 0 ? "skipped" : "ok"
    const detail = typeof outcome === "object" ? ` (${"skip" in outcome ? outcome.skip : summary(outcome)})` : ""
    const line = `${step.name}: ${verdict}${detail}, ${((performance.now() - start) / 1000).toFixed(1)} s`
    say(`-- ${line}`)
    lines.push(line)
  }
} finally {
  await rm(temp, { recursive: true, force: true })
}
say(`\n== summary\n${lines.map((line) => `   ${line}`).join("\n")}\n`)
say(summary(total))
process.exitCode = total.failed > 0 ? 1 : 0

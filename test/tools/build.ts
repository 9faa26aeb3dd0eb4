// `npm run build`: src -> dist (JavaScript, declarations, source maps), and the command line as one bundled file.
import { chmod, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { build, type Metafile } from "esbuild"
import { root, run } from "./run.js"

const Package = Schema.parseJson(
  Schema.Struct({ name: Schema.String, version: Schema.String, license: Schema.optional(Schema.String) })
)

const readPackage = async (folder: string) =>
  Schema.decodeUnknownSync(Package)(await readFile(join(folder, "package.json"), "utf8"))

const dist = join(root, "dist")

/**
 * The command line with everything it needs, so that it runs without the optional peers: an entry that knows a quick way for
 * `list` and otherwise loads the program, which in turn loads HTTP, help and the drawing of bars when it needs them. In one
 * file, `list` would take twice as long.
 */
const bundle = async (): Promise<ReadonlyArray<Metafile>> => {
  const { version } = await readPackage(root)
  const common = {
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20.19",
    minify: true,
    legalComments: "none", // see licences
    define: { __VERSION__: JSON.stringify(version) },
    metafile: true,
    logLevel: "warning"
  } as const
  const entry = await build({
    ...common,
    entryPoints: ["src/node/cli/entry.ts"],
    outfile: join(dist, "cli.js"),
    plugins: [
      {
        name: "the program is a bundle of its own",
        setup: ({ onResolve }) =>
          onResolve({ filter: /^\.\/main\.js$/ }, () => ({ path: "./cli/main.js", external: true }))
      }
    ]
  })
  const program = await build({
    ...common,
    entryPoints: ["src/node/cli/main.ts"],
    outdir: join(dist, "cli"),
    splitting: true,
    // undici is CommonJS, and so asks for Node's own modules by require.
    banner: {
      js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);'
    }
  })
  await chmod(join(dist, "cli.js"), 0o755)
  return [entry.metafile, program.metafile]
}

/** What the licences of the bundled packages ask for: their texts beside the file. */
const licences = async (metafiles: ReadonlyArray<Metafile>): Promise<void> => {
  const folders = new Set(
    metafiles
      .flatMap(({ inputs }) => Object.keys(inputs))
      .flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? [])
  )
  const texts: Array<string> = []
  for (const folder of [...folders].sort()) {
    const { license = "no licence named", name, version } = await readPackage(join(root, folder))
    const text = await Promise.any(
      ["LICENSE", "license", "LICENSE.md", "LICENCE"].map((file) => readFile(join(root, folder, file), "utf8"))
    ).catch(() => "")
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`)
  }
  await writeFile(join(dist, "cli", "LICENSES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`))
}

await rm(dist, { recursive: true, force: true })
if (await run("tsc", ["-p", "test/config/tsconfig.build.json"])) {
  await licences(await bundle())
} else process.exitCode = 1

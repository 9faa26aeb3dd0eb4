/** The command line as it is shipped: dist/cli.js in a process of its own, with a home and an environment of its own. */
import { Buffer } from "node:buffer"
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Fault, type FaultServer, pattern, type Script, toBytes } from "./FaultServer.js"

export const bin: string = fileURLToPath(new URL("../../dist/cli.js", import.meta.url))

/** What the process said and how it ended. */
export interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Sandbox {
  readonly home: string
  readonly cacheDir: string
  /** Only this reaches the process; PATH and the like are added. */
  readonly env: Readonly<Record<string, string>>
  /** Put a file below the home, and say where it is. */
  readonly write: (name: string, content: string | Uint8Array) => string
  readonly run: (args: ReadonlyArray<string>, options?: RunOptions) => Effect.Effect<Outcome>
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Files that standard output and standard error go to; what goes there is not in the outcome. */
  readonly stdout?: string
  readonly stderr?: string
  /** When standard error holds this, the process gets this signal, once: asked twice, it leaves without cleaning up. */
  readonly signal?: { readonly when: string; readonly name: NodeJS.Signals }
}

const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>, options: RunOptions) =>
  Effect.async<Outcome>((resume) => {
    const [out, err] = [options.stdout, options.stderr].map((file) =>
      file === undefined ? "pipe" : openSync(file, "w")
    )
    const child = spawn(process.execPath, [bin, ...args], {
      env: { ...env, ...options.env },
      cwd: options.cwd ?? env["HOME"],
      stdio: ["ignore", out, err]
    })
    for (const file of [out, err]) if (typeof file === "number") closeSync(file)
    let stdout = ""
    let stderr = ""
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      const { name, when = "" } = options.signal ?? {}
      const isNew = !stderr.includes(when)
      stderr += text
      if (isNew && stderr.includes(when)) child.kill(name)
    })
    child.on("close", (code, signal) => resume(Effect.succeed({ code, signal, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** A home of its own, gone with the Scope. */
export const sandbox: Effect.Effect<Sandbox, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    if (!existsSync(bin)) throw new Error("there is no dist/cli.js: npm run build")
    const home = mkdtempSync(join(tmpdir(), "smolvm-images-cli-"))
    const env = { HOME: home, PATH: process.env["PATH"] ?? "", LANG: "C.UTF-8", TERM: "xterm" }
    const self: Sandbox = {
      home,
      cacheDir: join(home, ".smolvm", "images"),
      env,
      write: (name, content) => {
        const path = join(home, name)
        mkdirSync(join(path, ".."), { recursive: true })
        writeFileSync(path, content)
        return path
      },
      run: (args, options = {}) => start(args, env, options)
    }
    return self
  }),
  ({ home }) => Effect.sync(() => rmSync(home, { recursive: true, force: true }))
)

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

type Faults = ReadonlyArray<Fault | Script>

/** A registry file of images that a fault server serves; each has a small kernel and a rootfs of `size` bytes. */
export const serveImages = (
  server: FaultServer,
  { write }: Sandbox,
  images: Readonly<Record<string, { readonly size: number; readonly faults?: Faults }>>
): string => {
  const kernel = toBytes(pattern(1000))
  const entries = Object.entries(images).map(([name, { faults = [], size }]) => {
    // Each of its own, or one would be taken from the other.
    const rootfs = Buffer.concat([Buffer.from(name), toBytes(pattern(size - name.length))])
    return [
      name,
      {
        description: `Image ${name}`,
        architecture: "x86_64",
        kernel: { url: server.serve(`/${name}/kernel`, kernel), sha256: sha256(kernel) },
        rootfs: { url: server.serve(`/${name}/rootfs`, rootfs, ...faults), sha256: sha256(rootfs), size }
      }
    ] as const
  })
  return write("images.json", JSON.stringify({ images: Object.fromEntries(entries) }))
}

/** Child processes that ensure images, and a look at a cache directory from outside. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Host, ImageManager, Registry } from "../../src/index.js"
import { NodeHasher, NodeHost, NodeHttpClient } from "../../src/node/index.js"
import type * as FaultServer from "./FaultServer.js"
import type { Failure, Line, Task } from "./processes/protocol.js"

export type { Failure, Line, Task } from "./processes/protocol.js"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** A directory of its own under /tmp that any user may enter, gone with the Scope, whatever is in it. */
export const temporaryDirectory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const directory = fs.mkdtempSync(join(tmpdir(), "smolvm-processes-"))
    fs.chmodSync(directory, 0o755)
    return directory
  }),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

/** The child program in one file, which starts in half the time. */
export const bundle = (directory: string): string => {
  const file = join(directory, "child.mjs")
  const made = spawnSync(
    join(root, "node_modules", ".bin", "esbuild"),
    [
      join(root, "test", "support", "processes", "child.ts"),
      ...["--bundle", "--platform=node", "--format=esm", "--target=node20", "--minify-whitespace", "--minify-syntax"],
      // What is CommonJS among the dependencies asks for Node's own modules.
      `--banner:js=import{createRequire as $r}from"node:module";const require=$r(import.meta.url);`,
      ...[`--outfile=${file}`, "--log-level=warning"]
    ],
    { encoding: "utf8" }
  )
  assert.strictEqual(made.status, 0, made.stderr)
  fs.chmodSync(file, 0o644)
  return file
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  readonly pid: number
  /** What it has said so far. */
  readonly lines: ReadonlyArray<Line>
  readonly stderr: () => string
  readonly kill: (signal: NodeJS.Signals) => void
  /** Completes when it has said such a line; dies when the process ends without it. */
  readonly said: (is: (line: Line) => boolean) => Effect.Effect<void>
  readonly exit: Effect.Effect<Exit>
}

export interface SpawnOptions {
  readonly uid?: number
  /** A program, with its arguments, that runs the child. */
  readonly under?: ReadonlyArray<string>
}

/** Start the child program. It is killed, if it still runs, when the Scope closes. */
export const start = (
  program: string,
  task: Task,
  { uid, under = [] }: SpawnOptions = {}
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const [command = "", ...args] = [...under, process.execPath, program, JSON.stringify(task)]
        return watch(
          spawn(command, args, {
            stdio: ["ignore", "pipe", "pipe"],
            ...(uid === undefined ? {} : { uid, gid: uid, env: { ...process.env, HOME: "/nonexistent" } })
          })
        )
      }),
      ({ child, exit }) =>
        Effect.promise(() => {
          child.kill("SIGKILL")
          return exit
        })
    ),
    ({ child, exit, lines, listeners, stderr }): Child => ({
      pid: child.pid ?? 0,
      lines,
      stderr,
      kill: (signal) => void child.kill(signal),
      exit: Effect.promise(() => exit),
      said: (is) =>
        Effect.async((resume) => {
          const check = (ended: boolean) => {
            if (lines.some(is)) resume(Effect.void)
            else if (ended) resume(Effect.dieMessage(`the child ended: ${JSON.stringify(lines)} ${stderr()}`))
          }
          listeners.add(check)
          void exit.then(() => check(true))
          check(false)
          return Effect.sync(() => void listeners.delete(check))
        })
    })
  )

const watch = (child: ChildProcess) => {
  const lines: Array<Line> = []
  const listeners = new Set<(ended: boolean) => void>()
  const errors: Array<string> = []
  child.stderr?.on("data", (text) => errors.push(String(text)))
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on("line", (text) => {
      lines.push(JSON.parse(text))
      for (const listener of listeners) listener(false)
    })
  }
  const exit = new Promise<Exit>((resolve) => {
    child.once("error", (error) => {
      errors.push(error.message)
      resolve({ code: null, signal: null })
    })
    child.once("close", (code, signal) => resolve({ code, signal }))
  })
  return { child, lines, listeners, exit, stderr: () => errors.join("") }
}

/** Run the child program to its end. */
export const run = (program: string, task: Task, options?: SpawnOptions): Effect.Effect<Child & Exit> =>
  Effect.scoped(
    Effect.gen(function* () {
      const child = yield* start(program, task, options)
      return { ...child, ...(yield* child.exit) }
    })
  )

export const isLine =
  (tag: Line["_tag"]) =>
  (line: Line): boolean =>
    line._tag === tag

export const saysLog =
  (pattern: RegExp) =>
  (line: Line): boolean =>
    line._tag === "Log" && pattern.test(line.message)

/** It said that it has the image, and nothing went wrong. */
export const expectImage = ({ lines, stderr }: Child): void => {
  const wrong = lines.some(({ _tag }) => _tag === "Failure" || _tag === "Defect" || _tag === "Interrupted")
  assert.isTrue(lines.some(isLine("Image")) && !wrong, `${JSON.stringify(lines, null, 1)}\n${stderr()}`)
}

/** It failed with an error of its own kind, never by a defect. */
export const expectFailure = ({ lines, stderr }: Child): Failure => {
  const failures = lines.flatMap((line) => (line._tag === "Failure" ? [line.error] : []))
  const [failure] = failures
  assert.isDefined(failure, `${JSON.stringify(lines, null, 1)}\n${stderr()}`)
  assert.isFalse(lines.some(isLine("Defect")))
  return failure ?? assert.fail()
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Bytes that are like no others. */
export const someBytes = (length: number): Uint8Array => randomBytes(length)

export interface Served {
  readonly kernel: Uint8Array
  readonly rootfs: Uint8Array
}

/** Put an image on a server, as `/<name>/kernel` and `/<name>/rootfs`, and return its registry entry. */
export const serve = (
  server: FaultServer.FaultServer,
  name: string,
  { kernel, rootfs }: Served,
  ...faults: ReadonlyArray<FaultServer.Fault | FaultServer.Script>
): Registry.Images => ({
  [name]: {
    kernel: { url: server.serve(`/${name}/kernel`, kernel, ...faults), sha256: sha256(kernel) },
    rootfs: { url: server.serve(`/${name}/rootfs`, rootfs, ...faults), sha256: sha256(rootfs) }
  }
})

/** What is at the two places of an image: undefined where nothing is. */
export const look = (cacheDir: string, name: string): Partial<Record<keyof Served, string>> => {
  const digest = (file: string) => {
    try {
      return sha256(fs.readFileSync(join(cacheDir, name, file)))
    } catch {
      return undefined
    }
  }
  const kernel = digest("vmlinux.bin")
  const rootfs = digest("rootfs.ext4")
  return { ...(kernel === undefined ? {} : { kernel }), ...(rootfs === undefined ? {} : { rootfs }) }
}

export const expectCached = (cacheDir: string, name: string, { kernel, rootfs }: Served): void =>
  assert.deepStrictEqual(look(cacheDir, name), { kernel: sha256(kernel), rootfs: sha256(rootfs) })

const bookkeeping = (cacheDir: string) => join(cacheDir, ".smolvm-images")

export const stagingOf = (cacheDir: string): ReadonlyArray<string> => namesIn(join(bookkeeping(cacheDir), "staging"))

export const locksOf = (cacheDir: string): ReadonlyArray<string> => namesIn(join(bookkeeping(cacheDir), "locks"))

const namesIn = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    return []
  }
}

/** No temporary file and no lock is left. */
export const expectTidy = (cacheDir: string): void => {
  assert.deepStrictEqual({ staging: stagingOf(cacheDir), locks: locksOf(cacheDir) }, { staging: [], locks: [] })
}

/** Everything below a directory, links not followed: what it is, how it may be used and what is in it. */
export const snapshot = (directory: string): Readonly<Record<string, string>> => {
  const seen: Record<string, string> = {}
  const visit = (path: string) => {
    const info = fs.lstatSync(path)
    const kind = info.isSymbolicLink()
      ? `-> ${fs.readlinkSync(path)}`
      : info.isFile()
        ? sha256(fs.readFileSync(path))
        : info.isDirectory()
          ? "directory"
          : "special"
    seen[path] = `${(info.mode & 0o7777).toString(8)} ${info.mtimeMs} ${kind}`
    if (info.isDirectory()) for (const name of fs.readdirSync(path)) visit(join(path, name))
  }
  visit(directory)
  return seen
}

/** Why something cannot be tested here, or undefined when it can. */
export const reasonAgainst = {
  mounting: (): string | undefined => {
    const tried = spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"], { encoding: "utf8" })
    return tried.status === 0 ? undefined : `nothing may be mounted here: ${tried.error?.message ?? tried.stderr}`
  },
  otherUsers: (): string | undefined =>
    process.getuid?.() === 0 ? undefined : "only root may start processes of other users"
}

/** An `ImageManager` as `NodeImageManager.layer` makes it, on another file system or host. */
export const layerOn = (
  fileSystem: Layer.Layer<FileSystem.FileSystem>,
  { cacheDir, registry, ...settings }: Required<Pick<Task, "cacheDir" | "registry">> & ImageManager.Settings,
  host: Layer.Layer<Host.Host> = NodeHost.layer
) =>
  ImageManager.layer({ ...settings, cacheDir }).pipe(
    Layer.provide([
      Registry.layer(registry),
      NodeHasher.layer,
      host,
      fileSystem,
      NodePath.layer,
      NodeHttpClient.layer()
    ]),
    Layer.orDie
  )

/** Mount something for the time of the Scope. */
export const mount = (args: ReadonlyArray<string>, at: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const made = spawnSync("mount", [...args, at], { encoding: "utf8" })
      assert.strictEqual(made.status, 0, made.stderr)
    }),
    () => Effect.sync(() => void spawnSync("umount", ["--lazy", at]))
  )

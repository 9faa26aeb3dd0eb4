import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const reasonAgainstTracing = (): string | undefined => {
  const tried = spawnSync("strace", ["-e", "trace=none", "true"], { encoding: "utf8" })
  return tried.status === 0 ? undefined : `strace does not work here: ${tried.error?.message ?? tried.stderr}`
}

interface Call {
  readonly name: string
  readonly paths: ReadonlyArray<string>
}

/** The calls that completed without an error, in the order in which they did, with the paths of their descriptors. */
const callsOf = (trace: string): ReadonlyArray<Call> => {
  const unfinished = new Map<string, string>()
  return trace.split("\n").flatMap((line) => {
    const [, pid = "", text = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (text.endsWith("<unfinished ...>")) {
      unfinished.set(pid, text.slice(0, -"<unfinished ...>".length))
      return []
    }
    const [, resumed] = /^<\.\.\. \w+ resumed>(.*)$/.exec(text) ?? []
    const whole = resumed === undefined ? text : `${unfinished.get(pid) ?? ""}${resumed}`
    if (!/= 0$/.test(whole)) return []
    const name = whole.slice(0, whole.indexOf("("))
    return [
      { name, paths: [...whole.matchAll(/"([^"]*)"|\d+<([^>]*)>/g)].map(([, quoted, open]) => quoted ?? open ?? "") }
    ]
  })
}

describe("durability", () => {
  it("a file is synced before it is renamed into place, and the directory after", async (context) => {
    const reason = reasonAgainstTracing()
    if (reason !== undefined) return context.skip(reason)
    await Effect.runPromise(
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const directory = yield* Processes.temporaryDirectory
        const cacheDir = join(directory, "cache")
        const files = { kernel: Processes.someBytes(100_000), rootfs: Processes.someBytes(2_000_000) }
        const log = join(directory, "trace")
        const child = yield* Processes.run(
          Processes.bundle(directory),
          { cacheDir, registry: Processes.serve(server, "x", files), images: ["x"] },
          { under: ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", "-o", log] }
        )
        Processes.expectImage(child)
        const calls = callsOf(fs.readFileSync(log, "utf8"))
        const at = (is: (call: Call) => boolean) => calls.findIndex(is)
        const synced = (path: string) => at(({ name, paths }) => /^f(data)?sync$/.test(name) && paths[0] === path)
        const image = join(cacheDir, "x")
        for (const file of ["vmlinux.bin", "rootfs.ext4"]) {
          const renamed = at(({ name, paths }) => name.startsWith("rename") && paths.includes(join(image, file)))
          const staged = calls[renamed]?.paths.find((path) => path.includes("/staging/")) ?? assert.fail("no rename")
          const order = [synced(staged), renamed, synced(image), synced(cacheDir)]
          assert.isAbove(Math.min(...order), -1, JSON.stringify(calls, null, 1))
          assert.deepStrictEqual(
            order,
            [...order].sort((one, other) => one - other)
          )
        }
      }).pipe(Effect.scoped)
    )
  })
})

/**
 * The `Host` of Node.js.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import { type BigIntStats, constants, copyFile, lstat, readFileSync, readlinkSync, statfs } from "node:fs"
import { hostname } from "node:os"
import type { Duplex } from "node:stream"
import * as zlib from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DecompressError, Host, type HostService, type Stamp } from "../Host.js"

const decoders: ReadonlyMap<string, () => Duplex> = new Map([
  ["gzip", () => zlib.createGunzip()],
  ["x-gzip", () => zlib.createGunzip()],
  ["deflate", () => zlib.createInflate()],
  ["br", () => zlib.createBrotliDecompress()]
])

/** What a system file says; undefined where there is no such file, as outside Linux. */
const read = (look: () => string): string | undefined => {
  try {
    return look().trim()
  } catch {
    return undefined
  }
}

/**
 * One machine and one numbering of processes: within it, and only there, a process number means something. Another
 * container has another PID namespace, another boot another boot id.
 */
const realm = (): string =>
  createHash("sha256")
    .update(
      JSON.stringify([
        hostname(),
        read(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")),
        read(() => readlinkSync("/proc/self/ns/pid"))
      ])
    )
    .digest("hex")
    .slice(0, 12)

/**
 * When a process began, in clock ticks since boot: it tells a process from a later one of the same number. A zombie has
 * ended already. Undefined where that cannot be seen: outside Linux, or for the processes of others under `hidepid`.
 */
const startOf = (pid: number): string | undefined => {
  // proc_pid_stat(5) without its first two fields: the second, the program's name, may hold blanks and parentheses.
  const fields = read(() => readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, ""))?.split(" ") ?? []
  return fields[0] === "Z" ? "ended" : fields[19]
}

const runs = (pid: number): boolean => {
  try {
    return process.kill(pid, 0) // signal 0 only asks
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

const stampOf = ({ ctimeNs, dev, ino, mtimeNs, size }: BigIntStats): Stamp => ({
  size: String(size),
  mtime: String(mtimeNs),
  ctime: String(ctimeNs),
  ino: String(ino),
  dev: String(dev)
})

const make = (): HostService => {
  const here = realm()
  return {
    disk: Option.some("node"),
    process: {
      id: `${here}-${process.pid}-${startOf(process.pid) ?? "0"}`,
      pid: process.pid,
      hostname: hostname()
    },
    isAlive: (id) =>
      Effect.sync(() => {
        const [there, pid, start] = id.split("-")
        if (there !== here) return Option.none()
        if (!runs(Number(pid))) return Option.some(false)
        return Option.map(Option.fromNullable(startOf(Number(pid))), (begun) => begun === start)
      }),
    stamp: (path) =>
      Effect.async((resume) => {
        lstat(path, { bigint: true }, (error, stats) =>
          resume(Effect.succeed(error === null && stats.isFile() ? Option.some(stampOf(stats)) : Option.none()))
        )
      }),
    freeSpace: (path) =>
      Effect.async((resume) => {
        statfs(path, (error, stats) =>
          resume(Effect.succeed(error === null ? Option.some(stats.bavail * stats.bsize) : Option.none()))
        )
      }),
    clone: (from, to) =>
      Effect.async((resume) => {
        copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL, (error) =>
          resume(Effect.succeed(error === null))
        )
      }),
    decompress: (encoding) =>
      Option.fromNullable(decoders.get(encoding)).pipe(
        Option.map(
          (decoder) => (encoded) =>
            NodeStream.pipeThroughDuplex(
              encoded,
              decoder,
              (error) => new DecompressError({ message: error instanceof Error ? error.message : String(error) })
            )
        )
      )
  }
}

/**
 * Everything that {@link Host} asks for. Add it wherever `ImageManager.layer` is composed by hand on Node.js.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Host> = Layer.sync(Host, make)

// What the measured processes are asked and what they answer: JSON in the first argument, JSON on the last line of stdout.
import { readFileSync } from "node:fs"

export interface File {
  readonly url: string
  readonly sha256: string
}

export interface Job {
  /**
   * `idle`: load and do nothing. `ensure`: once. `later`: once, after another image. `repeat`: again and again in one process.
   * `concurrent`: one, then many at a time.
   */
  readonly mode: "idle" | "ensure" | "later" | "repeat" | "concurrent"
  readonly directory: string
  readonly kernel: File
  readonly rootfs: File
  /** For `later`: the other image, which does not count. */
  readonly before?: { readonly kernel: File; readonly rootfs: File }
  /** Options for the layer beside `cacheDir` and `registry`. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Watch the event loop. */
  readonly monitor?: boolean
  readonly times?: number
}

export interface Answer {
  /** The time of the work alone, without start-up, in milliseconds. For `repeat` the median of one call. */
  readonly wall: number
  /** From the start of the process to the end of its imports, in milliseconds. */
  readonly loaded: number
  /** Processor time of all threads while it worked, in milliseconds: it tells more than `wall` on a busy machine. */
  readonly cpu?: number
  /** The most memory the process ever held, in bytes. */
  readonly peakRss: number
  /** Event-loop delay in milliseconds. */
  readonly loop?: { readonly p99: number; readonly max: number }
  /** For `concurrent`: the median of all calls together. */
  readonly together?: number
}

export const job = (): Job => JSON.parse(process.argv[2] ?? "") as Job

export const answer = (result: Answer): void => {
  process.stdout.write(`\n${JSON.stringify(result)}\n`)
}

/** VmHWM, not getrusage: a child's ru_maxrss begins with what its parent held when it forked. */
export const peakRss = (): number => {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))
    if (found !== null) return Number(found[1]) * 1024
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024
}

/** Wall and processor time of some work. */
export const timed = async (work: () => Promise<unknown>): Promise<{ readonly wall: number; readonly cpu: number }> => {
  const before = process.cpuUsage()
  const start = performance.now()
  await work()
  const wall = performance.now() - start
  const { system, user } = process.cpuUsage(before)
  return { wall, cpu: (system + user) / 1000 }
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2
}

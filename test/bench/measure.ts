// Running one thing once, and several things in turn.
import { spawn } from "node:child_process"
import { type Answer, type Job, median } from "./processes/protocol.js"

export interface Sample extends Answer {
  /** From spawn to exit, in milliseconds. */
  readonly whole: number
}

const launch = (program: string, args: ReadonlyArray<string>): Promise<{ whole: number; stdout: string }> =>
  new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
    let ended = start
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (data) => (stdout += data))
    child.stderr.on("data", (data) => (stderr += data))
    child.on("error", reject)
    child.on("exit", () => (ended = performance.now()))
    child.on("close", (code) =>
      code === 0
        ? resolve({ whole: ended - start, stdout })
        : reject(new Error(`${program} ${args.join(" ")}: exit ${code}\n${stdout}${stderr}`))
    )
  })

/** A shell command; it has no start-up worth taking off. */
export const shell = async (command: string): Promise<Sample> => {
  const { whole } = await launch("sh", ["-ec", command])
  return { whole, wall: whole, loaded: 0, peakRss: 0 }
}

export const node = async (args: ReadonlyArray<string>): Promise<Sample> => {
  const { whole } = await launch(process.execPath, args)
  return { whole, wall: whole, loaded: 0, peakRss: 0 }
}

/** A Node.js process that measures itself. */
export const measured = async (path: string, job: Job): Promise<Sample> => {
  const { stdout, whole } = await launch(process.execPath, [path, JSON.stringify(job)])
  const last = stdout.trimEnd().split("\n").at(-1) ?? ""
  return { ...(JSON.parse(last) as Answer), whole }
}

/** One side of a comparison: made ready outside of the time that counts, then run. */
export interface Side {
  readonly name: string
  readonly prepare?: () => Promise<unknown>
  readonly run: () => Promise<Sample>
}

/** All sides in turn, `rounds` times, each round beginning with another one. */
export const alternate = async (
  sides: ReadonlyArray<Side>,
  rounds: number
): Promise<ReadonlyMap<string, ReadonlyArray<Sample>>> => {
  const samples = new Map<string, Array<Sample>>(sides.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const side = sides[(round + turn) % sides.length]
      if (side === undefined) continue
      await side.prepare?.()
      samples.get(side.name)?.push(await side.run())
    }
  }
  return samples
}

export const medianOf = (samples: ReadonlyArray<Sample>, pick: (sample: Sample) => number): number =>
  median(samples.map(pick))

/** How far the middle half of the samples spreads, relative to their median: the noise. */
export const spreadOf = (samples: ReadonlyArray<Sample>, pick: (sample: Sample) => number): number => {
  const sorted = samples.map(pick).sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.round((sorted.length - 1) * part)] ?? Number.NaN
  return (at(0.75) - at(0.25)) / median(sorted)
}

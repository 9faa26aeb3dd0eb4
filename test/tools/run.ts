import { spawn } from "node:child_process"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"

/** The top of the checkout. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url))

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** The process is killed after this time, which counts as a failure. */
  readonly timeoutMillis?: number
}

export const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

/**
 * Runs a program, found in our own node_modules first, on our standard output and error, and without standard input.
 * True when it exits with 0.
 */
export const run = (program: string, args: ReadonlyArray<string>, options: RunOptions = {}): Promise<boolean> =>
  new Promise((resolve) => {
    const plain: Record<string, string> = process.stdout.isTTY ? {} : { NO_COLOR: "1" }
    const path = [join(root, "node_modules", ".bin"), process.env["PATH"] ?? ""].join(delimiter)
    const child = spawn(program, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...plain, ...options.env, PATH: path },
      stdio: ["ignore", "inherit", "inherit"],
      timeout: options.timeoutMillis,
      killSignal: "SIGKILL"
    })
    child.on("error", (error) => {
      say(`${program}: ${error.message}`)
      resolve(false)
    })
    child.on("close", (code, signal) => {
      if (signal !== null) say(`${program}: ended by ${signal}`)
      resolve(code === 0)
    })
  })

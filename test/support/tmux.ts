/** A real pseudo-terminal, by tmux: what a person would see. */
import { execFile, execFileSync } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

export const isThere: boolean = (() => {
  try {
    execFileSync("tmux", ["-V"])
    return true
  } catch {
    return false
  }
})()

export interface Pane {
  /** The lines on the screen, without trailing blanks and lines. */
  readonly screen: Effect.Effect<ReadonlyArray<string>>
  /** The same with the escape sequences of colours. */
  readonly coloured: Effect.Effect<string>
  readonly resize: (columns: number, rows: number) => Effect.Effect<void>
  readonly keys: (...keys: ReadonlyArray<string>) => Effect.Effect<void>
  /** The screen as soon as the condition holds; dies after ten seconds with what was there instead. */
  readonly until: (condition: (lines: ReadonlyArray<string>) => boolean) => Effect.Effect<ReadonlyArray<string>>
}

let count = 0

const lines = (text: string): ReadonlyArray<string> =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => line.trimEnd())

/** Run a shell command in a terminal of this size, which ends with the Scope; the shell outlives Ctrl-C. */
export const pane = (
  command: string,
  env: Readonly<Record<string, string>>,
  size: { readonly columns: number; readonly rows: number }
): Effect.Effect<Pane, never, Scope.Scope> =>
  Effect.gen(function* () {
    const socket = `smolvm-images-${process.pid}-${++count}`
    const tmux = (...args: ReadonlyArray<string>) =>
      Effect.async<string>((resume) => {
        execFile(
          "tmux",
          ["-u", "-L", socket, "-f", "/dev/null", ...args],
          { env: { PATH: process.env["PATH"], LANG: "C.UTF-8", HOME: env["HOME"], TERM: "xterm" } },
          (error, stdout) => resume(error === null ? Effect.succeed(stdout) : Effect.die(error))
        )
      })
    // TERM is what tmux says.
    const assignments = Object.entries({ ...env, TERM: "tmux" }).map(([name, value]) => `${name}='${value}'`)
    yield* Effect.acquireRelease(
      tmux(
        "new-session",
        "-d",
        "-x",
        String(size.columns),
        "-y",
        String(size.rows),
        `env -i ${assignments.join(" ")} sh -c 'trap : INT; ${command.replaceAll("'", "'\\''")}; echo "exit=$?"; sleep 60'`
      ),
      () => Effect.ignore(Effect.sandbox(tmux("kill-server")))
    )
    const screen = Effect.map(tmux("capture-pane", "-p"), lines)
    return {
      screen,
      coloured: tmux("capture-pane", "-p", "-e"),
      resize: (columns, rows) => Effect.asVoid(tmux("resize-window", "-x", String(columns), "-y", String(rows))),
      keys: (...keys) => Effect.asVoid(tmux("send-keys", ...keys)),
      until: (condition) =>
        screen.pipe(
          Effect.filterOrFail(condition, (last) => last),
          Effect.retry(Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(200))),
          Effect.catchAll((last) => Effect.dieMessage(`it did not come; instead:\n${last.join("\n")}`))
        )
    }
  })

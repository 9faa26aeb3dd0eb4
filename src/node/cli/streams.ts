// Standard output for results, standard error for everything else, and what can be done with them.
import * as Effect from "effect/Effect"

/** Set to something that means yes. */
const isSet = (value: string | undefined): boolean =>
  value !== undefined && value !== "" && value !== "0" && value !== "false"

const { env, stderr, stdout } = process

const smart = env["TERM"] !== "dumb"

/** Whether bars can be drawn, and whether somebody looks at them. */
export const canDraw: boolean = stderr.isTTY === true && smart
export const isWatched: boolean = canDraw && !isSet(env["CI"])

/** https://no-color.org: any value that is not empty. */
const colourful = smart && (env["NO_COLOR"] ?? "") === ""
export const colour = { stdout: colourful && stdout.isTTY === true, stderr: colourful && stderr.isTTY === true }

export const unicode =
  /utf-?8/i.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "") || process.platform === "win32"

/** The width of standard output, where it has one. */
export const stdoutColumns = (): number | undefined => (stdout.isTTY ? stdout.columns : undefined)

/** Write to standard output and wait until it is out of our hands. */
export const writeOut = (text: string): Effect.Effect<void> =>
  text === ""
    ? Effect.void
    : Effect.async<void>((resume) => {
        // A reader who has left, as in `| head`, is told by an "error" event: see main.
        stdout.write(text, () => resume(Effect.void))
      })

// Standard output for results, standard error for everything else, and what can be done with them.
import * as Data from "effect/Data"
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

/** Standard output cannot be written: its disk is full, say. */
export class Unwritable extends Data.TaggedError("Unwritable")<{ readonly message: string; readonly hint: string }> {}

/** Write to standard output and wait until it is out of our hands. */
export const writeOut = (text: string): Effect.Effect<void, Unwritable> =>
  text === ""
    ? Effect.void
    : Effect.async((resume) => {
        // The same is said to the callback.
        stdout.once("error", () => {})
        stdout.write(text, (error: NodeJS.ErrnoException | null | undefined) => {
          // A reader who has seen enough, as in `| head`, closes the pipe: nothing is wrong, and nobody is left to tell.
          if (error === undefined || error === null || error.code === "EPIPE") return resume(Effect.void)
          resume(
            new Unwritable({
              message: `Cannot write to standard output: ${error.message}.`,
              hint: "Free some space where it goes, or send it elsewhere."
            })
          )
        })
      })

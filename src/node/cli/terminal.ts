// Bars on standard error, below what stays.
import { stripVTControlCharacters } from "node:util"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Progress from "./progress.js"
import { colour, unicode } from "./streams.js"

const { stderr } = process

/** Where lines go: above the bars, when there are any. */
export interface Screen {
  readonly print: (line: string) => void
}

export const plainScreen: Screen = { print: (line) => void stderr.write(`${line}\n`) }

const frame = 100

/**
 * Draw `state` again and again until the Scope closes, which takes the bars away and shows the cursor again. A terminal that
 * has become narrower has wrapped what was drawn: more lines must go than were written.
 */
export const bars = (state: () => Progress.State): Effect.Effect<Screen, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Loaded here, because loading it takes as long as a run without bars.
    const { createLogUpdate } = yield* Effect.promise(() => import("log-update"))
    const log = createLogUpdate(stderr)
    let drawn: ReadonlyArray<string> = []
    let now = yield* Clock.currentTimeMillis
    // Asked of the terminal itself: what Node.js remembers is old until it has handled the signal of a resize.
    const size = () => {
      const [columns, rows] = stderr.getWindowSize()
      return { columns: columns || 80, rows: rows || 24 }
    }

    const clear = () => {
      const { columns } = size()
      const wrapped = drawn.reduce((sum, line) => sum + Math.max(0, Math.ceil(widthOf(line) / columns) - 1), 0)
      if (wrapped > 0) stderr.write(`${"\u001b[2K\u001b[1A".repeat(wrapped)}\u001b[2K\u001b[G`)
      if (drawn.length > 0) log.clear()
      drawn = []
    }
    const draw = () => {
      const { columns, rows } = size()
      const lines = Progress.draw(state(), { columns, rows, colour: colour.stderr, unicode }, now)
      if (lines.length === 0 || drawn.some((line) => widthOf(line) >= columns)) clear()
      if (lines.length > 0) log(lines.join("\n"))
      drawn = lines
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => void stderr.on("resize", clear)),
      () =>
        Effect.sync(() => {
          stderr.off("resize", clear)
          clear()
          log.done()
        })
    )
    const tick = Effect.map(Clock.currentTimeMillis, (time) => {
      now = time
      draw()
    })
    yield* Effect.forkScoped(Effect.repeat(Effect.delay(tick, frame), Schedule.forever))
    return {
      print: (line) => {
        clear()
        stderr.write(`${line}\n`)
        draw()
      }
    }
  })

const widthOf = (line: string) => stripVTControlCharacters(line).length

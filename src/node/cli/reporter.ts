// What goes to standard error while a command runs: progress and log messages.
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Event } from "../../Progress.js"
import type * as Failure from "./failure.js"
import * as Output from "./output.js"
import type { Flags } from "./parse.js"
import * as Progress from "./progress.js"
import * as Streams from "./streams.js"
import * as Terminal from "./terminal.js"
import { errorLines, paint, plain } from "./text.js"

type Mode = "bars" | "lines" | "json" | "none"

const modeOf = ({ progress, quiet }: Flags): Mode => {
  if (quiet) return "none"
  if (progress === "auto") return Streams.isWatched ? "bars" : "lines"
  return progress === "bars" && !Streams.canDraw ? "lines" : progress
}

export interface Reporter {
  /** Log messages, as the flags want them. */
  readonly logging: Layer.Layer<never>
  /** Show the progress of whatever is done within the Scope. */
  readonly show: (events: Stream.Stream<Event>) => Effect.Effect<void, never, Scope.Scope>
  /** Everything about these images has been shown; each has come to its end. */
  readonly settled: (images: ReadonlyArray<string>) => Effect.Effect<void>
  readonly fail: (failure: Failure.Failure, details: ReadonlyArray<string>) => Effect.Effect<void>
}

const levels: { readonly [K in Flags["logLevel"]]: LogLevel.LogLevel } = {
  all: LogLevel.All,
  trace: LogLevel.Trace,
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error,
  fatal: LogLevel.Fatal,
  none: LogLevel.None
}

const levelOf = ({ logLevel, quiet }: Flags): LogLevel.LogLevel =>
  quiet && LogLevel.lessThan(levels[logLevel], LogLevel.Error) ? LogLevel.Error : levels[logLevel]

export const make = (flags: Flags): Reporter => {
  const mode = modeOf(flags)
  /** For a program, quiet or not. */
  const json = flags.progress === "json"
  let screen = Terminal.plainScreen
  let state = Progress.initial
  let listening = false
  const ended = new Set<string>()
  const lastLines = new Map<string, number>()

  const red = (text: string) => paint(Streams.colour.stderr, "red", text)
  const yellow = (text: string) => paint(Streams.colour.stderr, "yellow", text)

  const logger = Logger.make(({ annotations, cause, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    const text = [
      ...parts.map((part) => Inspectable.toStringUnknown(part)),
      ...(Cause.isEmpty(cause) ? [] : [Cause.pretty(cause)])
    ].join(" ")
    const tags = Object.fromEntries(HashMap.toEntries(annotations))
    if (json) {
      const level = logLevel._tag
      screen.print(Output.line({ _tag: "Log", level, message: text, annotations: tags }))
      return
    }
    // Of a retry there is an event as well, which bars and lines show in their own way.
    if ((mode === "bars" || mode === "lines") && "attempt" in tags && LogLevel.lessThan(logLevel, LogLevel.Error))
      return
    const about = [tags["image"], tags["asset"]].filter((tag) => typeof tag === "string").join(" ")
    const name = logLevel._tag.toLowerCase()
    const shown = LogLevel.greaterThanEqual(logLevel, LogLevel.Error) ? red(name) : yellow(name)
    screen.print(`${shown}: ${about === "" ? "" : `${about}: `}${plain(text)}`)
  })

  const tell = (event: Event) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const before = state
      state = Progress.update(state, event, now)
      const key = "asset" in event ? `${event.image}/${event.asset}` : event.image
      const line =
        mode === "json"
          ? Output.line(event)
          : mode === "bars"
            ? Progress.milestone(before, event, now)
            : Progress.lineFor(before, event, now, lastLines.get(key))
      if (event._tag === "Downloading" && line !== undefined) lastLines.set(key, now)
      if (line !== undefined) screen.print(line)
      if (event._tag === "Done" || event._tag === "Failed") ended.add(event.image)
    })

  const show = Effect.fnUntraced(function* (events: Stream.Stream<Event>) {
    if (mode === "none") return
    if (mode === "bars") {
      screen = yield* Terminal.bars(() => state)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          screen = Terminal.plainScreen
        })
      )
    }
    // Started at once, and not some time later: the listener is there before the first event.
    const runtime = yield* Effect.runtime()
    const listener = Runtime.runFork(runtime)(Stream.runForEach(events, tell))
    listening = true
    yield* Effect.addFinalizer(() => Fiber.interrupt(listener))
  })

  return {
    logging: Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(levelOf(flags))),
    show,
    // The listener is a fiber of its own and may be some events behind. A lost event must not keep us for ever.
    settled: (images) =>
      Effect.sleep("1 millis").pipe(
        Effect.repeat({ while: () => listening && !images.every((image) => ended.has(image)) }),
        Effect.timeoutOption("2 seconds"),
        Effect.asVoid
      ),
    fail: (failure, details) =>
      Effect.sync(() => {
        if (json) return screen.print(Output.line({ _tag: "Error", error: failure }))
        for (const line of errorLines(Streams.colour.stderr, failure)) screen.print(line)
        if (flags.verbose) for (const line of details) screen.print(line)
      })
  }
}

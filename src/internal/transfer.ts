import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Order from "effect/Order"
import * as Schedule from "effect/Schedule"
import * as Struct from "effect/Struct"
import type { AssetUrl } from "../AssetUrl.js"
import { ImageError } from "../ImageError.js"
import type { Asset } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"
import { type AttemptOptions, attempt } from "./attempt.js"
import { AttemptFailure, revise, type Subject } from "./failure.js"
import { makeTransfer, startOver, type Transfer } from "./held.js"
import type { Report } from "./report.js"
import type { Staged } from "./staging.js"

/** How long and how often a transfer is tried. */
export interface TransferOptions extends AttemptOptions {
  /** The pauses between attempts that get no further, and how many there are. */
  readonly retry: Schedule.Schedule<unknown>
  /** How often a transfer may begin again from zero. */
  readonly maxRestarts: number
  /** The longest Retry-After that is honoured. */
  readonly maxRetryAfter: Duration.DurationInput
  /** The most bytes an asset without a pinned size may have. */
  readonly maxSize: number
  readonly report: Report
}

/**
 * Twice as long after each failure: 0.5, 1, 2, 4 and 8 seconds, each 20 % more or less by chance so that many clients do
 * not come back at once; after these five, or ten minutes, it gives up.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("500 millis").pipe(
  Schedule.jittered,
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.intersect(Schedule.recurs(5)),
  Schedule.upTo("10 minutes")
)

/** A source of the asset, and what it said last. */
interface Source {
  readonly url: AssetUrl
  failure: AttemptFailure | undefined
  /** Not before this time, by its own word. */
  notBefore: number
  /** Nothing more is expected of it. */
  spent: boolean
}

/**
 * Fetch an asset into its staged file, whatever it takes: attempts that go on where the last one broke, source after
 * source, with pauses that grow while nothing moves. Returns the digest, which is the expected one if there is one.
 */
export const transferAsset = Effect.fnUntraced(function* (
  options: TransferOptions,
  subject: Subject,
  asset: Asset,
  urls: ReadonlyArray<AssetUrl>,
  expected: Sha256 | undefined,
  staged: Staged
): Effect.fn.Return<Sha256, ImageError, FileSystem.FileSystem | Path.Path> {
  const sources: ReadonlyArray<Source> = urls.map((url) => ({ url, failure: undefined, notBefore: 0, spent: false }))
  const { maxSize, report } = options
  const transfer = makeTransfer(staged, report, { pinned: expected !== undefined, size: asset.size, maxSize })
  /** Say that the next attempt follows, and when: after a pause, or later by the next source's own word. */
  const announce = Effect.fnUntraced(function* (
    failed: AttemptFailure,
    next: Source | undefined,
    pause: Duration.Duration
  ) {
    const rest = (next?.notBefore ?? 0) - (yield* Clock.currentTimeMillis)
    const delay = Duration.max(pause, Duration.millis(Math.max(0, rest)))
    const url = sources[current]?.url.display ?? ""
    const millis = Math.round(Duration.toMillis(delay))
    const when = millis === 0 ? "at once" : `in ${Duration.format(millis)}`
    yield* report.retries(url, failed.detail, delay)
    yield* Effect.logWarning(`${url}: ${failed.detail}; trying again ${when}`).pipe(
      Effect.annotateLogs({ attempt: transfer.requests, bytes: staged.position() })
    )
  })
  /** What is announced when the schedule has decided on a pause. */
  let announcement = (_: Duration.Duration): Effect.Effect<void> => Effect.void
  const pauses = yield* Schedule.driver(
    Schedule.modifyDelayEffect(options.retry, (_, pause) => Effect.as(announcement(pause), pause))
  )
  /** The high-water mark that the present stretch without progress began at. */
  let settledAt = transfer.highWater
  /** A file put together from pieces was wrong: from now on in one piece. */
  let whole = false
  let current = 0

  for (;;) {
    const source = sources[current]
    // The list of URLs is not empty, and `current` is always an index into it.
    if (source === undefined) return yield* Effect.dieMessage("a transfer without a source")
    const result = yield* attempt(options, transfer, source.url, whole).pipe(
      Effect.flatMap(() => verify(transfer, expected)),
      Effect.map(Either.right),
      Effect.catchTag("AttemptFailure", (failure) => Effect.succeed(Either.left(failure)))
    )
    yield* Effect.annotateCurrentSpan("attempts", transfer.requests)
    if (Either.isRight(result)) return result.right

    const failure = yield* honourRetryAfter(options, source, result.left)
    const giveUp = (why?: string) =>
      summarize(subject, asset, sources, { source, failure }, transfer.requests, [
        whole ? "a file put together from several responses had the wrong SHA-256 and was thrown away" : undefined,
        why
      ])
    if (failure.reason === "ChecksumMismatch") {
      const pieces = transfer.held.responses
      // At once: who is killed in a pause leaves nothing wrong behind to go on with.
      yield* startOver(transfer)
      if (pieces > 1 && !whole) {
        whole = true
        yield* Effect.logWarning(`${source.url.display}: ${failure.detail}; fetching it again in one piece`)
        continue
      }
    }
    if (transfer.restarts > options.maxRestarts) {
      return yield* giveUp(
        `it began again from zero ${transfer.restarts} times, more than the ${options.maxRestarts} allowed`
      )
    }
    const progress = transfer.highWater - settledAt >= progressStep(transfer)
    if (progress) {
      settledAt = transfer.highWater
      yield* pauses.reset
    }
    // Without a digest the bytes of one source are worth nothing to another.
    const stays = progress && !transfer.pinned && transfer.held.validator !== undefined && !source.spent
    const next = stays ? current : nextSource(sources, current)
    if (next === undefined) return yield* giveUp()

    announcement = (pause) => announce(failure, sources[next], pause)
    const roundComplete = next <= current
    if (!roundComplete || progress) yield* announcement(Duration.zero)
    else {
      const exhausted = yield* Effect.isFailure(pauses.next(failure))
      if (exhausted) return yield* giveUp()
    }
    yield* sleepUntil(sources[next]?.notBefore ?? 0, options.maxRetryAfter)
    current = next
  }
})

/** Note what a source said last, and until when it wants to be left alone: for longer than allowed is for ever. */
const honourRetryAfter = Effect.fnUntraced(function* (
  { maxRetryAfter }: TransferOptions,
  source: Source,
  said: AttemptFailure
) {
  const wait = Duration.millis(Math.ceil(said.retryAfter ?? 0))
  const tooLong = said.transient && Duration.greaterThan(wait, maxRetryAfter)
  const failure = tooLong
    ? revise(said, {
        transient: false,
        detail: `${said.detail}; it asks to wait ${Duration.format(wait)}, more than the ${Duration.format(maxRetryAfter)} allowed`
      })
    : said
  source.failure = failure
  source.spent = !failure.transient
  source.notBefore = said.retryAfter === undefined ? 0 : (yield* Clock.currentTimeMillis) + Duration.toMillis(wait)
  return failure
})

/** A clock that was set back must not make it any longer than it may be. */
const sleepUntil = (time: number, atMost: Duration.DurationInput): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    time > now ? Effect.sleep(Duration.min(Duration.millis(time - now), atMost)) : Effect.void
  )

/** A new high-water mark this much higher shows that a transfer gets somewhere: 1 % of the file, or 1 MiB. */
const progressStep = ({ held, size }: Transfer): number => {
  const total = held.total ?? size
  return Math.max(1, Math.min(1024 * 1024, total === undefined ? 1024 * 1024 : Math.ceil(total / 100)))
}

/** The next source in turn that may still deliver, the current one included. */
const nextSource = (sources: ReadonlyArray<Source>, current: number): number | undefined => {
  for (let step = 1; step <= sources.length; step++) {
    const index = (current + step) % sources.length
    if (sources[index]?.spent === false) return index
  }
  return undefined
}

const verify = Effect.fnUntraced(function* (
  { held, report, staged }: Transfer,
  expected: Sha256 | undefined
): Effect.fn.Return<Sha256, AttemptFailure | ImageError> {
  yield* report.verifies
  const actual = yield* staged.digest
  if (expected === undefined || actual === expected) return actual
  return yield* new AttemptFailure({
    reason: "ChecksumMismatch",
    // Without a sign of its end, the body may have been cut.
    transient: !held.delimited,
    detail: `it has the SHA-256 ${actual}`,
    expected,
    actual,
    bytesReceived: staged.position()
  })
})

/** What tells a person most comes first, when the sources failed for different reasons. */
const severity = ({ reason }: AttemptFailure): number =>
  reason === "ChecksumMismatch" ? 0 : reason === "UnexpectedContent" ? 1 : 2

interface Failed {
  readonly source: Source
  readonly failure: AttemptFailure
}

const bySeverity = Order.mapInput(Order.number, ({ failure }: Failed) => severity(failure))

const trusted =
  "the registry pins none, the expected one is that of the file that was trusted first; remove the image to trust another"

/** The error that a transfer ends with: the worst failure, and what each source said. */
const summarize = (
  subject: Subject,
  { sha256 }: Asset,
  sources: ReadonlyArray<Source>,
  last: Failed,
  attempts: number,
  remarks: ReadonlyArray<string | undefined>
): ImageError => {
  const failed = sources.flatMap((source) =>
    source.failure === undefined ? [] : [{ source, failure: source.failure }]
  )
  const { failure, source } = failed.reduce(Order.min(bySeverity), last)
  const said = failure.reason === "ChecksumMismatch" ? (sha256 === undefined ? trusted : undefined) : failure.detail
  const detail = [said, ...remarks].filter((text) => text !== undefined).join("; ")
  return new ImageError({
    reason: failure.reason,
    ...subject,
    url: source.url.display,
    attempts,
    ...Struct.pick(failure, "status", "expected", "actual", "bytesReceived", "cause"),
    ...(detail === "" ? {} : { detail }),
    ...(sources.length === 1
      ? {}
      : {
          failures: failed.map(({ failure: { detail, reason }, source: { url } }) => ({
            url: url.display,
            reason,
            detail
          }))
        })
  })
}

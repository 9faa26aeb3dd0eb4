import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Order from "effect/Order"
import * as Schedule from "effect/Schedule"
import type { AssetUrl } from "../AssetUrl.js"
import { ImageError, type Reason } from "../ImageError.js"
import type { Asset } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"
import { type AttemptOptions, attempt, makeTransfer, startOver, type Transfer } from "./attempt.js"
import { AttemptFailure, type Subject } from "./failure.js"
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
): Effect.fn.Return<Sha256, ImageError> {
  const sources: ReadonlyArray<Source> = urls.map((url) => ({ url, failure: undefined, notBefore: 0, spent: false }))
  const transfer = makeTransfer(staged, { pinned: expected !== undefined, size: asset.size, maxSize: options.maxSize })
  const pauses = yield* Schedule.driver(options.retry)
  let attempts = 0
  let settledAt = 0
  /** A file put together from pieces was wrong: from now on in one piece. */
  let whole = false
  let current = 0

  const giveUp = (why?: string) => summarize(subject, sources, attempts, why)

  for (;;) {
    const source = sources[current]
    // The list of URLs is not empty, and `current` is always an index into it.
    if (source === undefined) return yield* Effect.dieMessage("a transfer without a source")
    attempts++
    yield* Effect.annotateCurrentSpan("attempts", attempts)
    const result = yield* Effect.scoped(attempt(options, transfer, source.url, whole)).pipe(
      Effect.zipRight(verify(transfer, expected)),
      Effect.map(Either.right),
      Effect.catchTag("AttemptFailure", (failure) => Effect.succeed(Either.left(failure)))
    )
    if (Either.isRight(result)) return result.right
    const failure = result.left

    source.failure = failure
    const mixed = failure.reason === "ChecksumMismatch" && transfer.held.responses > 1
    if (failure.reason === "ChecksumMismatch") yield* startOver(transfer)
    if (mixed && !whole) {
      whole = true
      yield* Effect.logDebug("a file put together from pieces has the wrong digest; fetching it in one piece")
      continue
    }
    source.spent = !failure.transient
    if (transfer.restarts > options.maxRestarts) {
      return yield* giveUp(`it began again from zero ${transfer.restarts} times`)
    }
    if (failure.retryAfter !== undefined) {
      const wait = Duration.millis(failure.retryAfter)
      if (Duration.greaterThan(wait, options.maxRetryAfter)) {
        source.spent = true
        source.failure = new AttemptFailure({
          ...failure,
          detail: `${failure.detail}; it asks to wait ${Duration.format(wait)}, more than the ${Duration.format(options.maxRetryAfter)} allowed`
        })
      }
      source.notBefore = (yield* Clock.currentTimeMillis) + failure.retryAfter
    }
    const next = nextSource(sources, current)
    if (next === undefined) return yield* giveUp()

    const progress = transfer.highWater - settledAt >= progressStep(transfer)
    if (progress) {
      settledAt = transfer.highWater
      yield* pauses.reset
    }
    const waitUntil = sources[next]?.notBefore ?? 0
    const roundComplete = next <= current
    yield* Effect.logWarning(`${source.url.display}: ${source.failure.detail}; trying again`).pipe(
      Effect.annotateLogs({ attempt: attempts, bytes: staged.position() })
    )
    if (roundComplete && !progress) {
      const exhausted = yield* Effect.isFailure(pauses.next(failure))
      if (exhausted) return yield* giveUp()
    }
    const rest = waitUntil - (yield* Clock.currentTimeMillis)
    if (rest > 0) yield* Effect.sleep(Duration.millis(rest))
    current = next
  }
})

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

const verify = (
  { staged }: Transfer,
  expected: Sha256 | undefined
): Effect.Effect<Sha256, AttemptFailure | ImageError> =>
  Effect.flatMap(staged.digest, (actual) =>
    expected === undefined || actual === expected
      ? Effect.succeed(actual)
      : Effect.fail(
          new AttemptFailure({
            reason: "ChecksumMismatch",
            transient: false,
            detail: `it has the SHA-256 ${actual}`,
            expected,
            actual,
            bytesReceived: staged.position()
          })
        )
  )

/** The reason that tells a person most, when the sources failed for different ones. */
const bySeverity = Order.mapInput(
  Order.number,
  (failure: AttemptFailure) => ({ ChecksumMismatch: 0, UnexpectedContent: 1 })[failure.reason as string] ?? 2
)

/** The error that a transfer ends with: the worst failure, and what each source said. */
const summarize = (
  subject: Subject,
  sources: ReadonlyArray<Source>,
  attempts: number,
  why: string | undefined
): ImageError => {
  const failed = sources.flatMap(({ url, failure }) => (failure === undefined ? [] : [{ url: url.display, failure }]))
  const worst = [...failed].sort((a, b) => bySeverity(a.failure, b.failure))[0]
  const failure = worst?.failure
  const reason: Reason = failure?.reason ?? "DownloadFailed"
  const detail = [reason === "ChecksumMismatch" ? undefined : failure?.detail, why].filter((text) => text !== undefined)
  return new ImageError({
    reason,
    ...subject,
    attempts,
    ...optional({
      url: worst?.url,
      detail: detail.length === 0 ? undefined : detail.join("; "),
      status: failure?.status,
      expected: failure?.expected,
      actual: failure?.actual,
      bytesReceived: failure?.bytesReceived,
      cause: failure?.cause,
      failures:
        sources.length > 1
          ? failed.map(({ url, failure }) => ({ url, reason: failure.reason, detail: failure.detail }))
          : undefined
    })
  })
}

type Defined<A> = { readonly [K in keyof A]?: Exclude<A[K], undefined> }

/** The same record without the keys that are undefined, as exact optional fields want it. */
const optional = <A extends object>(fields: A): Defined<A> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<A>

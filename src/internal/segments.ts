import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { giveBack } from "./buffer.js"
import { AttemptFailure } from "./failure.js"
import { firstOf } from "./race.js"

/** A part of a file: from `start` up to and without `end`. */
export interface Segment {
  readonly start: number
  readonly end: number
}

/** How a file may be fetched in segments. */
export interface SegmentOptions {
  /** The most connections at a time. */
  readonly connections: number
  /** The bytes of a segment, from a request of its own. */
  readonly read: (segment: Segment) => Stream.Stream<Uint8Array, AttemptFailure>
  /** Keeps the number of requests for segments to one host within bounds, over all files that are divided. */
  readonly bounded: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** What one connection brings, in bytes per second. */
  readonly rate: number
}

/** How long a connection is watched, in seconds: it begins slowly, and so does a busy machine. */
const trial = 0.7
/** It is the limit when nearly all of this goes by waiting for it ... */
const waitingShare = 0.8
/** ... and a fast one is not worth dividing: then the machine is the limit, in bytes per second. */
const fastEnough = 100e6
/** Only with so many bytes to come several connections pay. */
const worthwhile = 32 * 1024 * 1024
/** Several connections have to bring so much more than one to be kept. */
const gainWanted = 1.3

/** How a body has come in so far. */
export interface Pace {
  readonly bytes: number
  readonly seconds: number
  /** Of these, how many went by waiting for the network. */
  readonly waiting: number
}

/** Whether more connections to the same source might bring the rest faster. */
export const mayHelp = ({ bytes, seconds, waiting }: Pace, remaining: number): boolean =>
  seconds >= trial &&
  bytes >= 1024 * 1024 &&
  remaining >= worthwhile &&
  waiting / seconds >= waitingShare &&
  bytes / seconds < fastEnough

/**
 * Fetch a part of a file over several connections and hand the bytes over in order, so that they can be hashed and written
 * as they come. Only a few segments are in memory at a time. A first round tells whether it pays; if not, the rest is left
 * to one connection.
 */
export const fetchInSegments = Effect.fnUntraced(function* <E>(
  options: SegmentOptions,
  { end, start }: Segment,
  take: (bytes: Uint8Array) => Effect.Effect<void, E>
): Effect.fn.Return<void, AttemptFailure | E> {
  // Half a second's worth: long enough to make little of a round trip, short enough for memory.
  const size = Math.round(Math.min(8 * 1024 * 1024, Math.max(1024 * 1024, options.rate / 2)))
  const trialEnd = Math.min(end, start + 3 * options.connections * size)
  const began = yield* Clock.currentTimeMillis
  yield* pump(options, options.connections, size, { start, end: trialEnd }, take)
  const seconds = Math.max(1, (yield* Clock.currentTimeMillis) - began) / 1000
  const gain = (trialEnd - start) / seconds / options.rate
  yield* Effect.logDebug(`${options.connections} connections bring ${gain.toFixed(1)} times as much as one`)
  if (trialEnd === end || gain < gainWanted) return
  const connections = Math.min(options.connections, Math.ceil(gain) + 1)
  yield* pump(options, connections, size, { start: trialEnd, end }, take)
})

const pump = <E>(
  options: SegmentOptions,
  connections: number,
  size: number,
  { end, start }: Segment,
  take: (bytes: Uint8Array) => Effect.Effect<void, E>
): Effect.Effect<void, AttemptFailure | E> =>
  Stream.unfold(start, (from) =>
    from < end ? Option.some([{ start: from, end: Math.min(end, from + size) }, from + size]) : Option.none()
  ).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((segment) => fetchSegment(options, size, segment), { concurrency: connections }),
    Stream.runForEach(take)
  )

/** One segment, in memory. When its connection starves, a second one is sent after the same bytes; the first to end wins. */
const fetchSegment = (options: SegmentOptions, size: number, segment: Segment) => {
  const once = options.bounded(fill(options, segment))
  const patience = Duration.seconds(1 + (4 * size) / options.rate)
  return firstOf(once, Effect.delay(once, patience))
}

/** How often a segment goes on after a break. */
const resumes = 3

const fill = Effect.fnUntraced(function* (options: SegmentOptions, segment: Segment) {
  const bytes = new Uint8Array(segment.end - segment.start)
  let filled = 0
  const rest = Effect.suspend(() =>
    Stream.runForEachChunk(options.read({ start: segment.start + filled, end: segment.end }), (chunk) => {
      for (const part of Chunk.toReadonlyArray(chunk)) {
        if (filled + part.length > bytes.length) return Effect.fail(outOfBounds)
        bytes.set(part, filled)
        filled += part.length
        giveBack(part)
      }
      return Effect.void
    })
  ).pipe(Effect.zipRight(Effect.suspend(() => (filled === bytes.length ? Effect.void : Effect.fail(cutShort)))))
  yield* Effect.retry(rest, { times: resumes, while: ({ transient }) => transient })
  return bytes
})

const cutShort = new AttemptFailure({ reason: "DownloadFailed", transient: true, detail: "a segment ended early" })

const outOfBounds = new AttemptFailure({
  reason: "DownloadFailed",
  transient: true,
  detail: "the server sent more than the range that was asked for"
})

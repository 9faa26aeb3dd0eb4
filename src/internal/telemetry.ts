import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

const counter = (name: string, description: string) =>
  Metric.counter(`smolvm_images_${name}`, { description, incremental: true })

/** Calls of `ensureImage` that were answered from a cache. */
export const hits = counter("hits", "Images that were cached and intact")
/** Calls that were not. */
export const misses = counter("misses", "Images of which something was missing or corrupt")
export const repairs = counter("repairs", "Cached files that failed verification and were fetched again")
export const bytesReceived = counter("bytes_received", "Bytes taken from sources")
export const retries = counter("retries", "Attempts after the first for the same asset")

/** From milliseconds, as of a hit on a small image, to the minutes of a large download. */
const boundaries = MetricBoundaries.exponential({ start: 0.001, factor: 4, count: 11 })

const duration = (name: string, description: string) =>
  Metric.histogram(`smolvm_images_${name}_seconds`, boundaries, description)

export const ensureDuration = duration("ensure", "Time of one call of ensureImage")
export const attemptDuration = duration("attempt", "Time of one request with its body")

/** Take the time of an effect, however it ends, in seconds. */
export const timed =
  (histogram: Metric.Metric.Histogram<number>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) =>
      Effect.suspend(() => {
        const began = clock.unsafeCurrentTimeNanos()
        return Effect.ensuring(
          effect,
          Effect.suspend(() => Metric.update(histogram, Number(clock.unsafeCurrentTimeNanos() - began) / 1e9))
        )
      })
    )

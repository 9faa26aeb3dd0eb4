import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Role } from "../ImageSource.js"
import type { Event } from "../Progress.js"
import type { Transfer } from "./held.js"
import type { Progress } from "./progress.js"
import * as Telemetry from "./telemetry.js"

/** What a transfer tells of itself: events for those who listen, and metrics. */
export interface Report {
  /** A body begins; the bytes that follow come from `url`. It tells, too, when what was told of before is gone. */
  readonly begins: (transfer: Transfer, url: string) => Effect.Effect<void>
  /** Bytes were taken. Costs nothing while nobody listens, and is told ten times a second at most. */
  readonly moves: (transfer: Transfer) => Effect.Effect<void>
  /** Nothing more comes of a body, if it had begun at all. */
  readonly ends: (transfer: Transfer) => Effect.Effect<void>
  readonly retries: (url: string, detail: string, delay: Duration.Duration) => Effect.Effect<void>
  readonly verifies: Effect.Effect<void>
}

/** Milliseconds between two events of the same body. */
const interval = 100

export const make = (progress: Progress, about: { readonly image: string; readonly asset: Role }): Report => {
  let current: Transfer | undefined
  /** What transfers before the current one took: a nearby copy is one, and a download, when that is bad, another. */
  let earlier = 0
  /** Where the body before this one ended. */
  let reached = 0
  let url = ""
  let begun = false
  let receivedBefore = 0
  let began = 0
  let told = 0

  const downloading = ({ held, received, size, staged }: Transfer, now: number): Event => {
    const total = held.total ?? size
    return {
      _tag: "Downloading",
      ...about,
      url,
      received: earlier + received,
      position: staged.position(),
      ...(total === undefined ? {} : { total }),
      bytesPerSecond: now > began ? ((received - receivedBefore) * 1000) / (now - began) : 0
    }
  }

  const tellNow = (transfer: Transfer, now: number) => {
    told = now
    return progress.tell(() => downloading(transfer, now))
  }

  return {
    begins: (transfer, from) =>
      Effect.clockWith((clock) => {
        if (current !== transfer) earlier += current?.received ?? 0
        current = transfer
        url = from
        begun = true
        began = clock.unsafeCurrentTimeMillis()
        receivedBefore = transfer.received
        const position = transfer.staged.position()
        const restarted = position < reached ? progress.tell(() => ({ _tag: "Restarted", ...about })) : Effect.void
        const resumed =
          position > 0 ? progress.tell(() => ({ _tag: "Resuming", ...about, url, position })) : Effect.void
        return restarted.pipe(Effect.zipRight(resumed), Effect.zipRight(tellNow(transfer, began)))
      }),
    moves: (transfer) =>
      progress.isHeard()
        ? Effect.clockWith((clock) => {
            const now = clock.unsafeCurrentTimeMillis()
            return now - told < interval ? Effect.void : tellNow(transfer, now)
          })
        : Effect.void,
    ends: (transfer) =>
      Effect.clockWith((clock) => {
        // It broke before its first byte: what there is to tell and count is that of the body before it, and done.
        if (!begun) return Effect.void
        begun = false
        reached = transfer.staged.position()
        return Effect.zipRight(
          tellNow(transfer, clock.unsafeCurrentTimeMillis()),
          Metric.incrementBy(Telemetry.bytesReceived, transfer.received - receivedBefore)
        )
      }),
    retries: (from, detail, delay) =>
      Effect.zipRight(
        Metric.increment(Telemetry.retries),
        progress.tell(() => ({
          _tag: "Retrying",
          ...about,
          url: from,
          detail,
          delayMillis: Math.ceil(Duration.toMillis(delay))
        }))
      ),
    verifies: progress.tell(() => ({ _tag: "Verifying", ...about }))
  }
}

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { AttemptFailure } from "./failure.js"

/** A body that brings less than `stallBytes` in `stallWindow` has stalled. */
export interface StallOptions {
  readonly stallWindow: Duration.DurationInput
  readonly stallBytes: number
}

/** What a body has brought so far. */
export interface Meter {
  received: number
  /** The network is to deliver; otherwise the disk is being waited for. */
  waiting: boolean
}

export const makeMeter = (): Meter => ({ received: 0, waiting: true })

const ticks = 10

/**
 * Fails when the network brings too little for a whole window of wall-clock time, so that one byte per second is a stall.
 * Time in which the consumer is busy does not count.
 */
export const stallWatch = (
  { stallBytes, stallWindow }: StallOptions,
  meter: Meter
): Effect.Effect<never, AttemptFailure> => {
  const tick = Duration.unsafeDivide(Duration.decode(stallWindow), ticks)
  const watch = (waited: number, since: number): Effect.Effect<never, AttemptFailure> =>
    Effect.flatMap(Effect.sleep(tick), () => {
      if (!meter.waiting || meter.received - since >= stallBytes) return watch(0, meter.received)
      return waited + 1 < ticks
        ? watch(waited + 1, since)
        : Effect.fail(
            new AttemptFailure({
              reason: "DownloadFailed",
              transient: true,
              detail: `the transfer stalled: ${meter.received - since} bytes in ${Duration.format(stallWindow)}`
            })
          )
    })
  return watch(0, meter.received)
}

import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Event } from "../Progress.js"

/** Where events are told, and who listens. */
export interface Progress {
  /** Tell an event, if anybody listens; otherwise it is not even made. */
  readonly tell: (event: () => Event) => Effect.Effect<void>
  /** Whether anybody listens. */
  readonly isHeard: () => boolean
  /** The events from now on. A listener that falls behind by more than `capacity` loses the oldest. */
  readonly events: Stream.Stream<Event>
}

const capacity = 1024

/** Process-wide, by cache: a download that two managers share is heard by the listeners of both. */
const hubs = globalValue("smolvm-images/progress", () => new Map<string, Progress>())

export const of = (key: string): Progress => {
  const known = hubs.get(key)
  if (known !== undefined) return known
  const hub = Effect.runSync(PubSub.sliding<Event>(capacity))
  let listeners = 0
  const progress: Progress = {
    tell: (event) =>
      Effect.suspend(() => (listeners === 0 ? Effect.void : Effect.asVoid(PubSub.publish(hub, event())))),
    isHeard: () => listeners > 0,
    events: Stream.unwrapScoped(
      Effect.gen(function* () {
        const queue = yield* PubSub.subscribe(hub)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            listeners++
          }),
          () =>
            Effect.sync(() => {
              listeners--
            })
        )
        return Stream.fromQueue(queue)
      })
    )
  }
  hubs.set(key, progress)
  return progress
}

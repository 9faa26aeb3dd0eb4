import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"

interface Entry {
  readonly semaphore: Effect.Semaphore
  users: number
}

/** Process-wide, as the things that the keys name. */
const entries = globalValue("smolvm-images/keyedMutex", () => new Map<string, Entry>())

/** One at a time for each key. */
export const exclusive = (key: string) => limited(key, 1)

/** So many at a time for each key; everybody who uses a key names the same number. */
export const limited =
  (key: string, permits: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const entry = entries.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(permits), users: 0 }
        entry.users++
        entries.set(key, entry)
        return entry
      }),
      ({ semaphore }) => semaphore.withPermits(1)(effect),
      (entry) =>
        Effect.sync(() => {
          entry.users--
          if (entry.users === 0) entries.delete(key)
        })
    )

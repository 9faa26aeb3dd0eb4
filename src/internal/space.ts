import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { HostService } from "../Host.js"
import { ImageError } from "../ImageError.js"
import type { Subject } from "./failure.js"
import type { Staged } from "./staging.js"

/** How many bytes a download will still write; less and less while it writes. */
type Remaining = () => number

/** Process-wide, by cache directory: downloads that run at the same time must fit together. */
const claims = globalValue("smolvm-images/space", () => new Map<string, Set<Remaining>>())

/** The space that one download takes in the cache directory. */
export interface Space {
  /**
   * Claim what the download will still write, until the Scope closes. Fails with reason `NoSpace` when that is more than
   * is free after what other downloads have claimed and not yet written; never when nobody knows.
   */
  readonly claim: (remaining: Remaining) => Effect.Effect<void, ImageError, Scope.Scope>
  /** Complete a failure of reason `NoSpace`, as of a disk that fills up in the middle, by the bytes it is about. */
  readonly explain: (error: ImageError) => Effect.Effect<never, ImageError, FileSystem.FileSystem>
}

export const make = (
  host: HostService,
  subject: Subject,
  directory: string,
  staged: Pick<Staged, "path" | "position">,
  size: number | undefined
): Space => {
  let missing: Remaining = () => Math.max(0, (size ?? 0) - staged.position())

  const shortage = (needed: number, available: Option.Option<number>, cause?: unknown) =>
    new ImageError({
      reason: "NoSpace",
      ...subject,
      path: directory,
      bytesNeeded: needed,
      ...(Option.isNone(available) ? {} : { bytesAvailable: available.value }),
      ...(cause === undefined ? {} : { cause })
    })

  return {
    claim: Effect.fnUntraced(function* (remaining) {
      missing = remaining
      const free = yield* host.freeSpace(directory)
      if (Option.isNone(free)) return
      const others = claims.get(directory) ?? new Set()
      const taken = [...others].reduce((sum, other) => sum + other(), 0)
      const available = Math.max(0, free.value - taken)
      if (remaining() > available) return yield* shortage(remaining(), Option.some(available))
      claims.set(directory, others.add(remaining))
      yield* Effect.addFinalizer(() => Effect.sync(() => void others.delete(remaining)))
    }),
    // In the middle what counts is the whole file, as far as its length is known, and what is free without it.
    explain: (error) =>
      error.bytesNeeded !== undefined
        ? Effect.fail(error)
        : Effect.gen(function* () {
            const fs = yield* FileSystem.FileSystem
            const free = yield* host.freeSpace(directory)
            const stored = yield* Effect.orElseSucceed(fs.stat(staged.path), () => ({ size: 0n }))
            const available = Option.map(free, (bytes) => bytes + Number(stored.size))
            return yield* shortage(staged.position() + missing(), available, error.cause)
          })
  }
}

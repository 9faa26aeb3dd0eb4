import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Host } from "../Host.js"
import { type Directories, randomName } from "./directories.js"
import type { Progress } from "./progress.js"
import { readSmallFile } from "./smallFile.js"

/**
 * A lock between processes that spares work and guards nothing: who holds it fetches an image, the others wait and then
 * find it cached. Everything stays right without it, so whenever it is in doubt the answer is to go on.
 *
 * It is a file that its holder touches every second. A lock that has not changed for a while, as seen by whoever waits, is
 * dead, wherever its holder ran; a holder on the same machine can be asked. Clocks are never compared.
 */
export interface Lock {
  /** Hold the lock of that name until the Scope closes; or go without it. */
  readonly acquire: (name: string, patience: Duration.DurationInput) => Effect.Effect<void, never, Scope.Scope>
}

/** How locks are made. Tests replace it by {@link none} to show that nothing but speed depends on it. */
export class Locking extends Context.Reference<Locking>()("smolvm-images/internal/Locking", {
  defaultValue: () => ({ make: makeFileLock })
}) {}

export const none: Lock = { acquire: () => Effect.void }

const Holder = Schema.parseJson(
  Schema.Struct({
    /** Tells this lock from every other one. */
    token: Schema.String,
    /** The process that holds it, see `Host`. */
    id: Schema.String,
    pid: Schema.Number,
    hostname: Schema.String,
    /** When it was taken, for people. */
    since: Schema.String
  })
)

const beatInterval = "1 second"
const pollInterval = Duration.millis(250)
/** If more time went by between two looks, it was the waiter who was stopped, or the clock that jumped. */
const longestPoll = Duration.seconds(1)
/** Without a sign of life for so long a holder is dead, or as good as. */
const silenceOfDeath = Duration.seconds(7)
/** A holder that is known to run may only be slow, or stopped. */
const silenceOfTheLiving = Duration.seconds(15)

/** What a waiter sees of a lock; any difference is a sign of life. */
interface Sight {
  readonly text: string
  readonly modified: number
}

const makeFileLock = Effect.fnUntraced(function* (directories: Directories, progress: Progress) {
  const host = yield* Host
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const create = (file: string, text: string) =>
    Effect.scoped(
      Effect.flatMap(fs.open(file, { flag: "wx" }), (opened) =>
        // On a full disk there is room for a name, not for what belongs in it.
        Effect.tapError(opened.writeAll(new TextEncoder().encode(text)), () => Effect.ignore(fs.remove(file)))
      )
    )

  const look = (file: string): Effect.Effect<Sight> =>
    Effect.zipWith(
      Effect.provideService(readSmallFile(file), FileSystem.FileSystem, fs),
      Effect.option(fs.stat(file)),
      (text, info) => ({
        text: Option.getOrElse(text, () => ""),
        modified: Option.getOrUndefined(Option.flatMap(info, ({ mtime }) => mtime))?.getTime() ?? 0
      })
    )

  const holderOf = (sight: Sight) => Effect.option(Schema.decode(Holder)(sight.text))

  /**
   * Take a lock away from the dead. Of several who try only one succeeds, and never on another lock than was seen. Fails
   * where the lock cannot be taken away.
   */
  const evict = (image: string, file: string, seen: Sight) =>
    Effect.gen(function* () {
      if ((yield* look(file)).text !== seen.text) return
      const aside = yield* directories.scratch({ image })
      yield* fs.rename(file, aside)
      const taken = yield* look(aside)
      // Between look and rename it may have become somebody's again: give it back, unless there is a newer one already.
      if (taken.text !== seen.text) yield* Effect.ignore(fs.link(aside, file))
      yield* fs.remove(aside, { recursive: true })
    }).pipe(
      Effect.uninterruptible,
      Effect.catchIf(
        (error) => error._tag === "SystemError" && error.reason === "NotFound",
        () => Effect.logDebug(`another process was quicker with ${file}`)
      )
    )

  const hold = Effect.fnUntraced(function* (file: string, text: string) {
    const isMine = Effect.map(look(file), (sight) => sight.text === text)
    const beat = Effect.flatMap(Clock.currentTimeMillis, (now) => fs.utimes(file, now / 1000, now / 1000))
    yield* Effect.addFinalizer(() => Effect.ignoreLogged(Effect.whenEffect(fs.remove(file), isMine)))
    yield* Effect.whenEffect(beat, isMine).pipe(
      Effect.ignoreLogged,
      Effect.repeat(Schedule.spaced(beatInterval)),
      Effect.interruptible, // a fiber forked where interruption is off would stay so
      Effect.forkScoped
    )
  })

  const announce = (image: string, holder: Option.Option<typeof Holder.Type>) =>
    Option.match(holder, {
      onNone: () =>
        Effect.zipRight(
          progress.tell(() => ({ _tag: "Waiting", image })),
          Effect.logInfo(`waiting for another process that fetches image "${image}"`)
        ),
      onSome: ({ hostname, pid, since }) =>
        Effect.zipRight(
          progress.tell(() => ({ _tag: "Waiting", image, pid, hostname, since })),
          Effect.logInfo(`waiting for process ${pid} on ${hostname}, which fetches image "${image}" since ${since}`)
        )
    })

  const acquire = Effect.fnUntraced(
    function* (name: string, patience: Duration.DurationInput) {
      yield* directories.ensure({ image: name }, directories.locks)
      const file = path.join(directories.locks, `${name}.lock`)
      const token = yield* randomName
      const since = new Date(yield* Clock.currentTimeMillis).toISOString()
      const text = yield* Effect.orDie(Schema.encode(Holder)({ token, ...host.process, since })) // strings and a number
      let waited = Duration.zero
      let unchanged = Duration.zero
      let seen: Sight | undefined
      let last = yield* Clock.currentTimeNanos
      for (;;) {
        const taken = yield* create(file, text).pipe(
          Effect.zipRight(hold(file, text)),
          Effect.as(true),
          Effect.catchIf(
            (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
            () => Effect.succeed(false)
          ),
          Effect.uninterruptible
        )
        if (taken) return

        const sight = yield* look(file)
        const holder = yield* holderOf(sight)
        const alive = Option.isNone(holder) ? Option.none() : yield* host.isAlive(holder.value.id)
        if (seen === undefined || seen.text !== sight.text) yield* announce(name, holder)
        if (seen?.text !== sight.text || seen.modified !== sight.modified) unchanged = Duration.zero
        seen = sight
        const bound = Option.contains(alive, true) ? silenceOfTheLiving : silenceOfDeath
        if (Option.contains(alive, false) || Duration.greaterThan(unchanged, bound)) {
          yield* Effect.logInfo(`the process that was fetching image "${name}" gives no sign of life; taking over`)
          yield* evict(name, file, sight)
          seen = undefined
        } else if (Duration.greaterThanOrEqualTo(waited, patience)) {
          return yield* Effect.logWarning(`waited ${Duration.format(patience)} for image "${name}"; going on alone`)
        } else {
          yield* Effect.sleep(pollInterval)
        }
        const now = yield* Clock.currentTimeNanos
        const passed = Duration.clamp(Duration.nanos(now - last), { minimum: pollInterval, maximum: longestPoll })
        last = now
        waited = Duration.sum(waited, passed)
        unchanged = Duration.sum(unchanged, passed)
      }
    },
    // Whatever stands in the way of a lock (no permission, no space, a strange file system) will show up, with a better
    // explanation, when the image itself is written.
    Effect.catchAll((error) => Effect.logDebug(`going on without a lock: ${error.message}`))
  )

  const lock: Lock = { acquire }
  return lock
})

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
import type { HostService } from "../Host.js"
import { type Directories, randomName } from "./directories.js"
import type { Progress } from "./progress.js"

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
/** Without a sign of life for so long a holder is dead, or as good as. */
const silenceOfDeath = Duration.seconds(7)
/** A holder that is known to run may only be slow, or stopped. */
const silenceOfTheLiving = Duration.seconds(15)

/** What a waiter sees of a lock; any difference is a sign of life. */
interface Sight {
  readonly text: string
  readonly modified: number
}

const makeFileLock = Effect.fnUntraced(function* (directories: Directories, host: HostService, progress: Progress) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const create = (file: string, text: string) =>
    Effect.scoped(
      Effect.flatMap(fs.open(file, { flag: "wx" }), (opened) => opened.writeAll(new TextEncoder().encode(text)))
    )

  /** A lock is a small regular file; anything else in its place is looked at from outside only. */
  const look = (file: string): Effect.Effect<Sight> =>
    Effect.gen(function* () {
      const isLink = yield* Effect.isSuccess(fs.readLink(file))
      const info = yield* fs.stat(file)
      const readable = !isLink && info.type === "File" && info.size < 4096n
      return {
        text: readable ? yield* fs.readFileString(file) : "",
        modified: Option.getOrUndefined(info.mtime)?.getTime() ?? 0
      }
    }).pipe(Effect.orElseSucceed(() => ({ text: "", modified: 0 })))

  const holderOf = (sight: Sight) => Effect.option(Schema.decode(Holder)(sight.text))

  /** Take a lock away from the dead. Of several who try only one succeeds, and never on another lock than was seen. */
  const evict = (file: string, seen: Sight, token: string) =>
    Effect.gen(function* () {
      if ((yield* look(file)).text !== seen.text) return
      const aside = `${file}.${token}`
      yield* fs.rename(file, aside)
      const taken = yield* look(aside)
      // Between look and rename it may have become somebody's again: give it back, unless there is a newer one already.
      if (taken.text !== seen.text) yield* Effect.ignore(fs.link(aside, file))
      yield* fs.remove(aside)
    }).pipe(
      Effect.uninterruptible,
      Effect.catchAll((error) => Effect.logDebug(`another process was quicker with ${file}: ${error.message}`))
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
        unchanged =
          seen?.text === sight.text && seen.modified === sight.modified
            ? Duration.sum(unchanged, pollInterval)
            : Duration.zero
        seen = sight
        const bound = Option.contains(alive, true) ? silenceOfTheLiving : silenceOfDeath
        if (Option.contains(alive, false) || Duration.greaterThan(unchanged, bound)) {
          yield* Effect.logInfo(`the process that was fetching image "${name}" is gone; taking over`)
          yield* evict(file, sight, token)
          seen = undefined
          continue
        }
        if (Duration.greaterThanOrEqualTo(waited, patience)) {
          return yield* Effect.logWarning(`waited ${Duration.format(waited)} for image "${name}"; going on alone`)
        }
        yield* Effect.sleep(pollInterval)
        waited = Duration.sum(waited, pollInterval)
      }
    },
    // Whatever stands in the way of a lock (no permission, no space, a strange file system) will show up, with a better
    // explanation, when the image itself is written.
    Effect.catchAll((error) => Effect.logDebug(`going on without a lock: ${error.message}`))
  )

  const lock: Lock = { acquire }
  return lock
})

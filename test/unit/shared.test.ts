import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { exclusive } from "../../src/internal/keyedMutex.js"
import * as Shared from "../../src/internal/shared.js"

let names = 0

/** Work that counts its runs, waits for a sign, and tells when it was interrupted and had cleaned up. */
const makeWork = Effect.gen(function* () {
  const gate = yield* Deferred.make<void>()
  const log: Array<string> = []
  const say = (word: string) => Effect.sync(() => void log.push(word))
  const run = Effect.gen(function* () {
    yield* say("start")
    yield* Deferred.await(gate)
    yield* say("end")
    return log.filter((word) => word === "start").length
  }).pipe(Effect.onInterrupt(() => Effect.zipRight(Effect.yieldNow(), say("cleaned up"))))
  const share = Shared.make<number, string>(`test ${++names}`)
  return { gate, log, run, share }
})

const settle = Effect.repeatN(Effect.yieldNow(), 20)

describe("shared work", () => {
  it.effect("is done once for all who ask while it is under way, and again for who asks later", () =>
    Effect.gen(function* () {
      const { gate, log, run, share } = yield* makeWork
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.fork(share("key", run)))
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      const results = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        results.map(({ value }) => value),
        [1, 1, 1]
      )
      assert.deepStrictEqual(
        results.map(({ joined }) => joined),
        [false, true, true]
      )
      assert.deepStrictEqual(log, ["start", "end"])
      assert.deepStrictEqual(yield* share("key", run), { joined: false, value: 2 })
    })
  )

  it.effect("of different keys goes on side by side", () =>
    Effect.gen(function* () {
      const { gate, log, run, share } = yield* makeWork
      const fibers = yield* Effect.forEach(["a", "b"], (key) => Effect.fork(share(key, run)))
      yield* settle
      assert.deepStrictEqual(log, ["start", "start"])
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
    })
  )

  it.effect("is not disturbed when the first of several callers is interrupted", () =>
    Effect.gen(function* () {
      const { gate, log, run, share } = yield* makeWork
      const first = yield* Effect.fork(share("key", run))
      yield* settle
      const second = yield* Effect.fork(share("key", run))
      yield* settle
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
      assert.deepStrictEqual(log, ["start"])
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(second)).value, 1)
    })
  )

  it.effect("is interrupted with its last caller, who waits until it has cleaned up", () =>
    Effect.gen(function* () {
      const { log, run, share } = yield* makeWork
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.fork(share("key", run)))
      yield* settle
      for (const fiber of fibers) {
        assert.notInclude(log, "cleaned up")
        yield* Fiber.interrupt(fiber)
      }
      assert.deepStrictEqual(log, ["start", "cleaned up"])
    })
  )

  it.effect("that is being interrupted is joined by nobody: who asks then gets a run of their own", () =>
    Effect.gen(function* () {
      const { gate, log, run, share } = yield* makeWork
      const first = yield* Effect.fork(share("key", run))
      yield* settle
      yield* Fiber.interruptFork(first)
      const second = yield* Effect.fork(share("key", run))
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      const exit = yield* Fiber.await(second)
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.include(log, "end")
    })
  )

  it.effect("that still cleans up is joined by nobody, and its end is not that of the run after it", () =>
    Effect.gen(function* () {
      const { gate, run, share } = yield* makeWork
      const cleaned = yield* Deferred.make<void>()
      const slow = Effect.onInterrupt(Effect.never, () => Deferred.await(cleaned))
      const first = yield* Effect.fork(share("key", slow))
      yield* settle
      yield* Fiber.interruptFork(first)
      yield* settle
      const second = yield* Effect.fork(share("key", run))
      yield* settle
      yield* Deferred.succeed(cleaned, undefined)
      yield* settle
      const third = yield* Effect.fork(share("key", run))
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(second), { joined: false, value: 1 })
      assert.deepStrictEqual(yield* Fiber.join(third), { joined: true, value: 1 })
    })
  )

  it.effect("gives its failure, or its defect, to all", () =>
    Effect.gen(function* () {
      const { gate, share } = yield* makeWork
      for (const end of [Effect.fail("broken"), Effect.die("bug")]) {
        const run: Effect.Effect<number, string> = Effect.zipRight(Deferred.await(gate), end)
        const fibers = yield* Effect.forEach([1, 2], () => Effect.fork(share("key", run)))
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        const exits = yield* Effect.forEach(fibers, Fiber.await)
        for (const exit of exits) {
          assert.isTrue(
            Exit.isFailure(exit) && /broken|bug/.test(Cause.pretty(exit.cause)) && !Cause.isInterrupted(exit.cause)
          )
        }
      }
      assert.deepStrictEqual(yield* share("key", Effect.succeed(7)), { joined: false, value: 7 })
    })
  )

  it.effect("can be asked for where interruption is off, and is interruptible all the same for others", () =>
    Effect.gen(function* () {
      const { gate, run, share } = yield* makeWork
      const first = yield* Effect.fork(Effect.uninterruptible(share("key", run)))
      yield* settle
      const second = yield* Effect.fork(share("key", run))
      yield* settle
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(second)))
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(first)).value, 1)
    })
  )

  it.effect("lives on when the fiber that started it has ended", () =>
    Effect.gen(function* () {
      const { gate, run, share } = yield* makeWork
      const parent = yield* Effect.fork(Effect.zipRight(Effect.fork(share("key", run)), Effect.never))
      yield* settle
      const other = yield* Effect.fork(share("key", run))
      yield* settle
      yield* Fiber.interrupt(parent)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(other)).value, 1)
    })
  )
})

describe("shared work that has to be fresh", () => {
  it.effect("is joined only before it begins: who asks later waits for the next run, with all who do", () =>
    Effect.gen(function* () {
      const share = Shared.makeFresh<number, never>(`test ${++names}`)
      const gates = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>(), Deferred.make<void>()])
      let runs = 0
      const run = Effect.suspend(() => {
        const mine = runs++
        return Effect.as(Deferred.await(gates[mine] ?? gates[0]), mine)
      })
      const first = yield* Effect.fork(share("key", run))
      yield* settle
      const later = yield* Effect.forEach([1, 2, 3], () => Effect.fork(share("key", run)))
      yield* settle
      assert.strictEqual(runs, 1)
      yield* Deferred.succeed(gates[0], undefined)
      assert.strictEqual((yield* Fiber.join(first)).value, 0)
      yield* settle
      assert.strictEqual(runs, 2)
      yield* Deferred.succeed(gates[1], undefined)
      const results = yield* Effect.forEach(later, Fiber.join)
      assert.deepStrictEqual(
        results.map(({ value }) => value),
        [1, 1, 1]
      )
    })
  )
})

it.effect("one at a time for each key, whoever comes while others come and go", () =>
  Effect.gen(function* () {
    let inside = 0
    const most: Array<number> = []
    const visit = exclusive(`test ${++names}`)(
      Effect.acquireUseRelease(
        Effect.sync(() => most.push(++inside)),
        () => settle,
        () => Effect.sync(() => inside--)
      )
    )
    const fibers = yield* Effect.forEach([1, 2, 3, 4], () => Effect.zipLeft(Effect.fork(visit), Effect.yieldNow()))
    // The first has left by now, and others have not.
    yield* settle
    yield* Effect.repeatN(Effect.yieldNow(), 5)
    const late = yield* Effect.fork(visit)
    yield* Effect.forEach([...fibers, late], Fiber.join)
    assert.deepStrictEqual(most, [1, 1, 1, 1, 1])
  })
)

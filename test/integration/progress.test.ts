import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { ImageManager, Progress } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { imageOn, impatient, quietly, temporaryDirectory } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer
const size = 300_000
const content = FaultServer.toBytes(FaultServer.pattern(size))
const kernel = new TextEncoder().encode("a kernel, as small as it gets")

/** Everything told while image `x` is ensured, and how that ended. */
const eventsOf = (faults: ReadonlyArray<FaultServer.Fault | FaultServer.Script>) =>
  Effect.gen(function* () {
    const server = yield* FaultServer.make
    const cacheDir = yield* temporaryDirectory
    const registry = imageOn(server, kernel, content, ...faults)
    const program = Effect.gen(function* () {
      const manager = yield* ImageManager.ImageManager
      const collecting = yield* manager.events.pipe(
        Stream.takeUntil(({ _tag }) => _tag === "Done" || _tag === "Failed"),
        Stream.runCollect,
        Effect.fork
      )
      yield* Effect.sleep("20 millis") // the subscription begins with the stream, in a fiber of its own
      const result = yield* Effect.either(manager.ensureImage("x"))
      return { result, events: Chunk.toReadonlyArray(yield* Fiber.join(collecting)) }
    })
    return yield* quietly(Effect.provide(program, NodeImageManager.layer({ ...impatient, cacheDir, registry })))
  })

/** What makes the events of one call a true story. */
const check = (events: ReadonlyArray<Progress.Event>, succeeded: boolean) => {
  const tags = events.map(({ _tag }) => _tag)
  assert.strictEqual(tags[0], "Checking")
  assert.strictEqual(tags.at(-1), succeeded ? "Done" : "Failed")
  assert.strictEqual(tags.filter((tag) => tag === "Committing").length, succeeded ? 1 : 0)
  for (const event of events) Schema.encodeSync(Progress.Event)(event)
  for (const asset of ["kernel", "rootfs"] as const) {
    let received = 0
    let position = 0
    let moved = 0
    for (const event of events) {
      if (!("asset" in event) || event.asset !== asset) continue
      if (event._tag === "Restarted") position = 0
      if (event._tag === "Resuming") assert.strictEqual(event.position, position, `${asset} resumes where it was`)
      if (event._tag !== "Downloading") continue
      assert.isAtLeast(event.received, received, "received only grows")
      assert.isAtLeast(event.position, position, "position falls only with a restart")
      moved += event.position - position
      received = event.received
      position = event.position
    }
    assert.strictEqual(moved, received, `${asset}: what was placed is what was received`)
    if (succeeded) assert.strictEqual(position, asset === "kernel" ? kernel.length : size)
  }
}

describe("progress", () => {
  it.scopedLive("a plain download", () =>
    Effect.gen(function* () {
      const { events, result } = yield* eventsOf([])
      assert.isTrue(Either.isRight(result))
      check(events, true)
      const ofRootfs = events.filter((event) => "asset" in event && event.asset === "rootfs").map(({ _tag }) => _tag)
      assert.deepStrictEqual([...new Set(ofRootfs)], ["Downloading", "Verifying"])
    })
  )

  it.scopedLive("a break, a retry, a restart", () =>
    Effect.gen(function* () {
      const { events, result } = yield* eventsOf([
        FaultServer.script(
          Fault.Status({ status: 503 }),
          Fault.Cut({ after: 100_000, how: "fin" }),
          Fault.Cut({ after: 50_000, how: "reset" }),
          Fault.IgnoreRange({})
        )
      ])
      assert.isTrue(Either.isRight(result))
      check(events, true)
      for (const tag of ["Retrying", "Resuming", "Restarted"]) {
        assert.isTrue(
          events.some(({ _tag }) => _tag === tag),
          tag
        )
      }
    })
  )

  it.scopedLive("a failure", () =>
    Effect.gen(function* () {
      const { events, result } = yield* eventsOf([Fault.Status({ status: 404 })])
      assert.isTrue(Either.isLeft(result))
      check(events, false)
    })
  )

  it.scopedLive(
    "whatever happens, the events tell a true story",
    () =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(FaultServer.arbitraryScript({ size, maxSteps: 5 }), (script) =>
            eventsOf([script]).pipe(
              Effect.map(({ events, result }) => check(events, Either.isRight(result))),
              Effect.scoped,
              Effect.runPromise
            )
          ),
          { numRuns: 40 }
        )
      ),
    60_000
  )
})

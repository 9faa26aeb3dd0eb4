/** When a transfer asks again, to the millisecond: the clock is the test's, disk and network are in memory. */
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { type ImageError, ImageManager, Registry } from "../../src/index.js"
import { NodeHasher } from "../../src/node/index.js"
import { MemoryFileSystem, StubHttpClient } from "../../src/testing/index.js"
import { expectFailure, expectImage, sha256 } from "../support/ensure.js"

const size = 100_000
const rootfs = new Uint8Array(size).map((_, i) => i * 7)
const kernel = new TextEncoder().encode("a kernel")
const urls = { kernel: "https://images.test/kernel", rootfs: "https://images.test/rootfs" }

/** An answer for each request; the last one goes on for ever. */
type Answers = readonly [StubHttpClient.Answer, ...ReadonlyArray<StubHttpClient.Answer>]

interface World {
  readonly options?: Partial<ImageManager.Options>
  readonly pinned?: boolean
  readonly fileSystem?: typeof MemoryFileSystem.layer
  /** What chance says: 0.5 is the middle of the jitter. */
  readonly chance?: number
  /** How long to watch. */
  readonly during: Duration.DurationInput
}

/** Ensure an image, and note at which millisecond each request for its rootfs came. */
const ensure = Effect.fnUntraced(function* (answers: Answers, world: World) {
  const times: Array<number> = []
  const answer: StubHttpClient.Answer = (request) =>
    Effect.gen(function* () {
      const next = answers[Math.min(times.length, answers.length - 1)] ?? answers[0]
      times.push(yield* Clock.currentTimeMillis)
      return typeof next === "function" ? yield* next(request) : next
    })
  const manager = ImageManager.layer({ cacheDir: "/cache", ...world.options }).pipe(
    Layer.provide([
      Registry.layer({
        x: {
          kernel: { url: urls.kernel, sha256: sha256(kernel) },
          rootfs: { url: urls.rootfs, ...(world.pinned === false ? {} : { sha256: sha256(rootfs) }) }
        }
      }),
      NodeHasher.layer,
      world.fileSystem ?? MemoryFileSystem.layer,
      Path.layer,
      StubHttpClient.layer({ [urls.kernel]: StubHttpClient.file(kernel), [urls.rootfs]: answer })
    ])
  )
  const fiber = yield* ImageManager.ensureImage("x").pipe(
    Effect.provide(manager),
    Effect.catchTag("ValueError", Effect.die),
    Effect.either,
    Effect.withRandom(Random.fixed([world.chance ?? 0.5])),
    Effect.provide(Logger.remove(Logger.defaultLogger)),
    Effect.fork
  )
  yield* TestClock.adjust(world.during)
  const done = yield* Fiber.poll(fiber)
  assert.isTrue(done._tag === "Some", `still at it; requests at ${times.join(", ")}`)
  return { result: yield* Fiber.join(fiber), times }
})

const whole = StubHttpClient.file(rootfs)
const refused = { refused: "ECONNREFUSED" }
const busy = (retryAfter?: string): StubHttpClient.Reply => ({
  status: 503,
  ...(retryAfter === undefined ? {} : { headers: { "retry-after": retryAfter } })
})
const cutAfter = (bytes: number) => StubHttpClient.file(rootfs, { cutAfter: bytes })

const failure = (result: Parameters<typeof expectFailure>[0], reason: ImageError.Reason) => {
  const error = expectFailure(result)
  assert.strictEqual(error.reason, reason, error.message)
  return error
}

describe("retry", () => {
  it.effect("pauses of 0.5, 1, 2, 4 and 8 seconds, then it gives up", () =>
    Effect.gen(function* () {
      const { result, times } = yield* ensure([refused], { during: "15500 millis" })
      assert.deepStrictEqual(times, [0, 500, 1500, 3500, 7500, 15500])
      assert.strictEqual(failure(result, "DownloadFailed").attempts, 6)
    })
  )

  for (const [chance, times] of [
    [0, [0, 400, 1200, 2800, 6000, 12400]],
    [1, [0, 600, 1800, 4200, 9000, 18600]]
  ] as const) {
    it.effect(`the pauses are ${chance === 0 ? "shorter" : "longer"} by 20 % at most`, () =>
      Effect.gen(function* () {
        const seen = yield* ensure([refused], { chance, during: "19 seconds" })
        assert.deepStrictEqual(seen.times, [...times])
      })
    )
  }

  it.effect("there is no further pause when ten minutes are over", () =>
    Effect.gen(function* () {
      const driver = yield* Schedule.driver(ImageManager.retrySchedule)
      const next = Effect.gen(function* () {
        const fiber = yield* Effect.fork(driver.next(undefined))
        yield* TestClock.adjust("36 seconds")
        return yield* Effect.exit(Fiber.join(fiber))
      })
      assert.strictEqual((yield* next)._tag, "Success")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* next)._tag, "Success")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* next)._tag, "Failure")
    })
  )

  it.effect("another schedule takes its place", () =>
    Effect.gen(function* () {
      const { times } = yield* ensure([refused], {
        options: { retry: Schedule.spaced("3 seconds").pipe(Schedule.intersect(Schedule.recurs(2))) },
        during: "10 seconds"
      })
      assert.deepStrictEqual(times, [0, 3000, 6000])
    })
  )

  it.effect("Retry-After in seconds", () =>
    Effect.gen(function* () {
      const { result, times } = yield* ensure([busy("7"), busy("3"), whole], { during: "10 seconds" })
      assert.deepStrictEqual(times, [0, 7000, 10_000])
      expectImage(result)
    })
  )

  it.effect("Retry-After as a date", () =>
    Effect.gen(function* () {
      const { times } = yield* ensure([busy(new Date(9000).toUTCString()), whole], { during: "9 seconds" })
      assert.deepStrictEqual(times, [0, 9000])
    })
  )

  it.effect("Retry-After that is over already, or makes no sense: the usual pause", () =>
    Effect.gen(function* () {
      const past = yield* ensure([busy(new Date(-9000).toUTCString()), busy("soon"), whole], { during: "2 seconds" })
      assert.deepStrictEqual(past.times, [0, 500, 1500])
    })
  )

  it.effect("Retry-After of exactly the bound is honoured, a longer one is a failure that says so", () =>
    Effect.gen(function* () {
      const options = { maxRetryAfter: "9 seconds" } as const
      const within = yield* ensure([busy("9"), whole], { options, during: "9 seconds" })
      assert.deepStrictEqual(within.times, [0, 9000])
      const beyond = yield* ensure([busy("10"), whole], { options, during: 0 })
      assert.strictEqual(beyond.times.length, 1)
      const error = failure(beyond.result, "DownloadFailed")
      assert.strictEqual(error.status, 503)
      assert.match(error.message, /it asks to wait 10s, more than the 9s allowed/)
    })
  )

  it.effect("the budget is for a stretch without progress, not for a transfer", () =>
    Effect.gen(function* () {
      const idle = [refused, refused, refused, refused, refused] as const
      const { result, times } = yield* ensure([...idle, cutAfter(2000), ...idle, cutAfter(2000), ...idle, whole], {
        during: "50 seconds"
      })
      expectImage(result)
      // Progress is followed by the next request at once, and a new stretch begins with the shortest pause.
      const stretch = (from: number) => [0, 500, 1500, 3500, 7500, 15_500].map((pause) => from + pause)
      assert.deepStrictEqual(times, [...stretch(0), ...stretch(15_500), ...stretch(31_000)])
    })
  )

  it.effect("less than 1 % is no progress, but adds up to some", () =>
    Effect.gen(function* () {
      const small = cutAfter(400)
      const { result, times } = yield* ensure([small, small, small, small, small, small, whole], {
        during: "1 second",
        options: cheap
      })
      expectImage(result)
      // 400, 800 and 1200 bytes: every third attempt passes another 1 %.
      assert.deepStrictEqual(times, [0, 1, 2, 2, 3, 4, 4])
    })
  )

  it.effect("a connection that breaks after the last byte has done its work", () =>
    Effect.gen(function* () {
      const { result, times } = yield* ensure([cutAfter(size)], { during: 0 })
      expectImage(result)
      assert.deepStrictEqual(times, [0])
    })
  )

  it.effect("a transfer that begins again for ever is given up", () =>
    Effect.gen(function* () {
      const rangeless = StubHttpClient.file(rootfs, { ranges: false, cutAfter: 60_000 })
      const { result, times } = yield* ensure([rangeless], {
        during: "1 minute",
        options: { retry: Schedule.spaced("1 millis"), maxRestarts: 3 }
      })
      const error = failure(result, "DownloadFailed")
      assert.strictEqual(times.length, 5)
      assert.match(
        error.message,
        /after 60000 of 100000 bytes; it began again from zero 4 times, more than the 3 allowed/
      )
    })
  )
})

/** Every failure without progress costs one millisecond. */
const cheap = { retry: Schedule.spaced("1 millis").pipe(Schedule.intersect(Schedule.recurs(5))) }

/** A body whose bytes come piece by piece, with a pause before each. */
const dripping = (bytes: Uint8Array, piece: number, pause: Duration.DurationInput): StubHttpClient.Reply => ({
  headers: { "content-length": String(bytes.length), etag: `"drip"` },
  body: Stream.range(0, Math.ceil(bytes.length / piece) - 1).pipe(
    Stream.mapEffect((i) => Effect.as(Effect.sleep(pause), bytes.slice(i * piece, (i + 1) * piece)))
  )
})

describe("time", () => {
  it.effect("a response whose head does not come within 30 seconds", () =>
    Effect.gen(function* () {
      const { result, times } = yield* ensure([{ delay: "31 seconds" }, whole], { during: "31 seconds" })
      assert.deepStrictEqual(times, [0, 30_500])
      expectImage(result)
    })
  )

  it.effect("the bound on the head is one for each response, and leaves the body alone", () =>
    Effect.gen(function* () {
      const slow = { ...dripping(rootfs, 20_000, "900 millis"), delay: "900 millis" } as const
      const { result, times } = yield* ensure([slow], {
        options: { responseTimeout: "1 second", stallWindow: "1 second", stallBytes: 20_000 },
        during: "6 seconds"
      })
      expectImage(result)
      assert.deepStrictEqual(times, [0])
    })
  )

  it.effect("a body that stops", () =>
    Effect.gen(function* () {
      const stops = {
        headers: { "content-length": String(size), etag: `"x"` },
        body: Stream.concat(Stream.make(rootfs.slice(0, 1500)), Stream.never)
      }
      const { result, times } = yield* ensure([stops, whole], { during: "30 seconds" })
      expectImage(result)
      assert.deepStrictEqual(times, [0, 30_000])
    })
  )

  it.effect("one byte per second is a stall", () =>
    Effect.gen(function* () {
      const { times } = yield* ensure([dripping(rootfs, 1, "1 second"), whole], { during: "31 seconds" })
      assert.deepStrictEqual(times, [0, 30_500])
    })
  )

  it.effect("a stall says how little came", () =>
    Effect.gen(function* () {
      const { result } = yield* ensure([dripping(rootfs, 1, "1 second")], {
        options: { retry: Schedule.recurs(0), stallWindow: "3 seconds" },
        during: "3 seconds"
      })
      assert.match(
        failure(result, "DownloadFailed").message,
        /the transfer stalled: [23] bytes in 3s, after [23] of 100000 bytes/
      )
    })
  )

  it.effect("a disk slower than the network is not a stall", () =>
    Effect.gen(function* () {
      const large = new Uint8Array(4 * 1024 * 1024 + 5)
      const slowDisk = MemoryFileSystem.layerFaulty(MemoryFileSystem.layer, ({ method, path }) =>
        method.startsWith("File.write") && path.includes("staging") ? Effect.sleep("5 seconds") : Effect.void
      )
      const { result, times } = yield* ensure([StubHttpClient.file(large)], {
        pinned: false,
        fileSystem: slowDisk,
        options: { stallWindow: "1 second" },
        during: "100 seconds"
      })
      expectImage(result)
      assert.deepStrictEqual(times, [0])
    })
  )
})

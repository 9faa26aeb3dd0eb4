/** A file that is fetched over several connections. The clock is the test's, disk and network are in memory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Host, ImageManager, Registry } from "../../src/index.js"
import * as Telemetry from "../../src/internal/telemetry.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"
import { expectFailure, expectImage } from "../support/ensure.js"

const MiB = 1024 * 1024
const size = 44 * MiB
const contents = {
  kernel: new Uint8Array(10).fill(1),
  a: new Uint8Array(size).fill(2),
  b: new Uint8Array(size).fill(3)
}
const etag = '"large"'
/** A first byte tells contents apart, and takes no time. */
const digestOf = (bytes: Uint8Array) => String(bytes[0]).padStart(64, "0")
const asset = (name: keyof typeof contents) => ({
  url: `https://images.test/${name}`,
  sha256: digestOf(contents[name])
})

/** What one connection brings: 8 MiB a second. */
const slow = (content: Uint8Array): StubHttpClient.Reply => ({
  headers: { etag, "accept-ranges": "bytes", "content-length": String(size) },
  body: Stream.range(0, size / (MiB / 4) - 1).pipe(
    Stream.mapEffect((i) =>
      Effect.delay(Effect.succeed(content.subarray((i * MiB) / 4, ((i + 1) * MiB) / 4)), "31 millis")
    )
  )
})

interface World {
  /** When the segments come. */
  readonly delay?: StubHttpClient.Reply["delay"]
  readonly fault?: MemoryFileSystem.Fault
  readonly freeSpace?: number
}

/** A manager of the images `a` and `b`, each with a rootfs that is divided, and the ranges that were asked for. */
const make = Effect.fnUntraced(function* ({ delay = 0, fault = () => Effect.void, freeSpace }: World) {
  const ranges: Array<string> = []
  const large =
    (content: Uint8Array): StubHttpClient.Answer =>
    (request) => {
      const range = request.headers["range"]
      if (range === undefined) return Effect.succeed(slow(content))
      ranges.push(range)
      return StubHttpClient.file(content, { etag, delay })(request)
    }
  const disk = MemoryFileSystem.faulty(yield* MemoryFileSystem.make, fault)
  const host = { ...Host.neutral, freeSpace: () => Effect.succeed(Option.fromNullable(freeSpace)) }
  const manager = yield* ImageManager.make({
    cacheDir: "/cache",
    retry: Schedule.recurs(0),
    stallWindow: "1 second"
  }).pipe(
    Effect.provide([
      Registry.layer({
        a: { kernel: asset("kernel"), rootfs: asset("a") },
        b: { kernel: asset("kernel"), rootfs: asset("b") }
      }),
      StubHasher.layer(digestOf),
      Layer.succeed(FileSystem.FileSystem, disk),
      Path.layer,
      StubHttpClient.layer({
        "https://images.test/kernel": StubHttpClient.file(contents.kernel),
        "https://images.test/a": large(contents.a),
        "https://images.test/b": large(contents.b)
      })
    ]),
    Effect.provideService(Host.Host, host)
  )
  const ensure = (name: string) =>
    manager
      .ensureImage(name)
      .pipe(
        Effect.catchTag("ValueError", Effect.die),
        Effect.either,
        Effect.provide(Logger.remove(Logger.defaultLogger)),
        Effect.fork
      )
  return { ensure, ranges }
})

describe("a file that is divided", () => {
  it.scoped("left its space to others", () =>
    Effect.gen(function* () {
      const { ensure, ranges } = yield* make({ freeSpace: 60 * MiB, delay: "1 hour" })
      const a = yield* ensure("a")
      yield* TestClock.adjust("1 second")
      assert.isAbove(ranges.length, 1)
      const b = yield* ensure("b")
      yield* TestClock.adjust(0)
      const done = yield* Fiber.poll(b)
      assert.isTrue(done._tag === "Some", "b does not fit beside a")
      assert.strictEqual(expectFailure(yield* Fiber.join(b)).reason, "NoSpace")
      yield* Fiber.interrupt(a)
    })
  )

  it.scoped("had stalled when the disk was slow", () =>
    Effect.gen(function* () {
      let stuck = false
      const { ensure, ranges } = yield* make({
        fault: ({ method, path }) => {
          if (stuck || ranges.length === 0 || method !== "File.writeAll" || !path.includes("rootfs")) return Effect.void
          stuck = true
          return Effect.sleep("10 seconds")
        }
      })
      const a = yield* ensure("a")
      yield* TestClock.adjust("20 seconds")
      expectImage(yield* Fiber.join(a))
      assert.isTrue(stuck)
      assert.deepStrictEqual(
        ranges.filter((range) => !/-\d+$/.test(range)),
        [],
        "no request for all of the rest"
      )
    })
  )

  it.scoped("had its bytes not counted when the disk failed", () =>
    Effect.gen(function* () {
      let written = 0
      const { ensure, ranges } = yield* make({
        fault: ({ method, path }) => {
          if (ranges.length === 0 || method !== "File.writeAll" || !path.includes("rootfs")) return Effect.void
          return ++written > 5 ? Effect.fail("EIO") : Effect.void
        }
      })
      const counted = Effect.map(Metric.value(Telemetry.bytesReceived), ({ count }) => Number(count))
      const before = yield* counted
      const a = yield* ensure("a")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(expectFailure(yield* Fiber.join(a)).reason, "StorageFailed")
      const undivided = contents.kernel.length + Number(/\d+/.exec(ranges[0] ?? "")?.[0])
      assert.isAtLeast((yield* counted) - before, undivided + 5 * MiB)
    })
  )
})

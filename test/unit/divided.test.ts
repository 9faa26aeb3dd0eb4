/** A file that is fetched over several connections. The clock is the test's, disk and network are in memory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Host, ImageManager, Registry } from "../../src/index.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"
import { expectImage } from "../support/ensure.js"

const MiB = 1024 * 1024
const size = 44 * MiB
const content = new Uint8Array(size)
const etag = '"large"'
const sha256 = "ab".repeat(32)
const image = (name: string) => ({
  kernel: { url: "https://images.test/kernel", sha256 },
  rootfs: { url: `https://images.test/${name}`, sha256, size }
})

/** What one connection brings: 8 MiB a second. */
const slow: StubHttpClient.Reply = {
  headers: { etag, "accept-ranges": "bytes", "content-length": String(size) },
  body: Stream.range(0, size / (MiB / 4) - 1).pipe(
    Stream.mapEffect((i) =>
      Effect.delay(Effect.succeed(content.subarray((i * MiB) / 4, ((i + 1) * MiB) / 4)), "31 millis")
    )
  )
}

interface World {
  /** When the segments come. */
  readonly delay?: StubHttpClient.Reply["delay"]
  readonly fault?: MemoryFileSystem.Fault
  readonly freeSpace?: number
}

/** A manager of the images `a` and `b`, each with a rootfs that is divided, and the ranges that were asked for. */
const make = Effect.fnUntraced(function* ({ delay = 0, fault = () => Effect.void, freeSpace }: World) {
  const ranges: Array<string> = []
  const segment = StubHttpClient.file(content, { etag, delay })
  const large: StubHttpClient.Answer = (request) => {
    const range = request.headers["range"]
    if (range === undefined) return Effect.succeed(slow)
    ranges.push(range)
    return segment(request)
  }
  const disk = MemoryFileSystem.faulty(yield* MemoryFileSystem.make, fault)
  const host = { ...Host.neutral, freeSpace: () => Effect.succeed(Option.fromNullable(freeSpace)) }
  const manager = yield* ImageManager.make({
    cacheDir: "/cache",
    retry: Schedule.recurs(0),
    stallWindow: "1 second"
  }).pipe(
    Effect.provide([
      Registry.layer({ a: image("a"), b: image("b") }),
      StubHasher.layer(sha256),
      Layer.succeed(FileSystem.FileSystem, disk),
      Path.layer,
      StubHttpClient.layer({
        "https://images.test/kernel": StubHttpClient.file("kernel"),
        "https://images.test/a": large,
        "https://images.test/b": large
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
})

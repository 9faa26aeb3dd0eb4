/** What becomes of the other files of an image when one of them fails. The clock is the test's, disk and network are in memory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { ImageManager, Registry } from "../../src/index.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"
import { expectFailure } from "../support/ensure.js"

const urls = { kernel: "https://images.test/kernel", rootfs: "https://images.test/rootfs" }

/** The rootfs is not there, as turns out in the middle of what this makes of the kernel, which ends only when it is interrupted. */
const failsBeside = Effect.fnUntraced(function* (kernel: (endless: Effect.Effect<never>) => StubHttpClient.Answer) {
  const seen: Array<string> = []
  // A while after it was asked to.
  const stop = Effect.zipRight(
    Effect.yieldNow(),
    Effect.sync(() => void seen.push("the kernel's connection ends"))
  )
  const endless = Effect.never.pipe(Effect.onInterrupt(() => stop))
  const disk = MemoryFileSystem.faulty(yield* MemoryFileSystem.make, ({ method, path }) =>
    Effect.sync(() => {
      if (method === "remove" && /staging\/[^/]+$/.test(path)) seen.push("its staging directory goes")
    })
  )
  const manager = ImageManager.layer({ cacheDir: "/cache", retry: Schedule.recurs(0) }).pipe(
    Layer.provide([
      Registry.layer({
        x: {
          kernel: { url: urls.kernel, sha256: StubHasher.digestOf("kernel") },
          rootfs: { url: urls.rootfs, sha256: StubHasher.digestOf("rootfs") }
        }
      }),
      StubHasher.layer(),
      Layer.succeed(FileSystem.FileSystem, disk),
      Path.layer,
      StubHttpClient.layer({ [urls.kernel]: kernel(endless), [urls.rootfs]: { status: 404, delay: "1 second" } })
    ])
  )
  const fiber = yield* ImageManager.ensureImage("x").pipe(
    Effect.provide(manager),
    Effect.catchTag("ValueError", Effect.die),
    Effect.either,
    Effect.provide(Logger.remove(Logger.defaultLogger)),
    Effect.fork
  )
  yield* TestClock.adjust("1 second")
  const done = yield* Fiber.poll(fiber)
  assert.isTrue(done._tag === "Some", "it ends when the rootfs has failed")
  assert.strictEqual(expectFailure(yield* Fiber.join(fiber)).asset, "rootfs")
  assert.deepStrictEqual(seen, ["the kernel's connection ends", "its staging directory goes"])
})

describe("a failed file", () => {
  it.effect("waited until the others had their answer, or no patience any more", () =>
    failsBeside((endless) => () => endless)
  )

  it.effect("waited until the error page of another one had come, or was too late", () =>
    failsBeside((endless) => ({ status: 503, delay: "500 millis", body: Stream.fromEffect(endless) }))
  )

  it.effect("left the bodies of the others coming in while their files were closed and removed", () =>
    failsBeside((endless) => ({
      body: Stream.concat(Stream.make(new Uint8Array(100_000)), Stream.fromEffect(endless))
    }))
  )
})

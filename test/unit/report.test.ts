/** What a transfer tells of its bytes, in events and in the metric. The clock is the test's, disk and network are in memory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { type ImageError, ImageManager, type LocalImage, type Progress, Registry } from "../../src/index.js"
import * as Telemetry from "../../src/internal/telemetry.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"
import { expectFailure, expectImage } from "../support/ensure.js"

const kernel = new TextEncoder().encode("kernel")
const rootfs = new Uint8Array(3000).fill(1)

interface World {
  readonly images: Registry.Images
  readonly routes: StubHttpClient.Routes
  readonly disk: FileSystem.FileSystem
}

type Told = Extract<Progress.Event, { readonly _tag: "Downloading" | "Restarted" }>

/** Ensure an image; with what was told of its rootfs, and the bytes that the metric grew by. */
const ensure = Effect.fnUntraced(function* ({ disk, images, routes }: World, name: string) {
  const manager = yield* ImageManager.make({
    cacheDir: "/cache",
    retry: Schedule.recurs(1).pipe(Schedule.addDelay(() => 0))
  }).pipe(
    Effect.provide([
      Registry.layer(images),
      StubHasher.layer(),
      Layer.succeed(FileSystem.FileSystem, disk),
      Path.layer,
      StubHttpClient.layer(routes)
    ])
  )
  const told: Array<Told> = []
  const listening = yield* manager.events.pipe(
    Stream.takeUntil(({ _tag }) => _tag === "Done" || _tag === "Failed"),
    Stream.runForEach((event) =>
      Effect.sync(() => {
        if ((event._tag === "Downloading" || event._tag === "Restarted") && event.asset === "rootfs") told.push(event)
      })
    ),
    Effect.fork
  )
  yield* Effect.yieldNow()
  const counted = Effect.map(Metric.value(Telemetry.bytesReceived), ({ count }) => Number(count))
  const before = yield* counted
  const result: Either.Either<LocalImage.LocalImage, ImageError.ImageError> = yield* manager
    .ensureImage(name)
    .pipe(Effect.catchTag("ValueError", Effect.die), Effect.either, Effect.provide(Logger.remove(Logger.defaultLogger)))
  yield* Fiber.join(listening)
  return {
    result,
    told: told.flatMap((event) =>
      event._tag === "Downloading" ? [{ position: event.position, received: event.received }] : []
    ),
    tags: told.map(({ _tag }) => _tag),
    counted: (yield* counted) - before
  }
})

/** Ensure an image whose rootfs is served like this. */
const fetch = Effect.fnUntraced(function* (answers: StubHttpClient.Route) {
  const images = {
    x: {
      kernel: { url: "https://images.test/kernel", sha256: StubHasher.digestOf(kernel) },
      rootfs: { url: "https://images.test/rootfs", sha256: StubHasher.digestOf(rootfs), size: rootfs.length }
    }
  }
  const routes = { "https://images.test/kernel": StubHttpClient.file(kernel), "https://images.test/rootfs": answers }
  return yield* ensure({ images, routes, disk: yield* MemoryFileSystem.make }, "x")
})

describe("received bytes", () => {
  it.effect("of a copy that failed in the middle were neither told nor counted", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      const content = new Uint8Array(1_500_000).fill(1)
      yield* inner.writeFile("/rootfs", content)
      let reads = 0
      const disk = MemoryFileSystem.faulty(inner, ({ method, path }) =>
        method === "File.read" && path === "/rootfs" && ++reads === 2 ? Effect.fail("EIO") : Effect.void
      )
      const images = {
        x: {
          kernel: { url: "https://images.test/kernel", sha256: StubHasher.digestOf(kernel) },
          rootfs: { url: "file:///rootfs", sha256: StubHasher.digestOf(content) }
        }
      }
      const routes = { "https://images.test/kernel": StubHttpClient.file(kernel) }
      const { counted, result, told } = yield* ensure({ images, routes, disk }, "x")
      expectFailure(result)
      assert.deepStrictEqual(told.at(-1), { received: 1024 * 1024, position: 1024 * 1024 })
      assert.isAtLeast(counted, 1024 * 1024) // the kernel may have been stopped before
    })
  )

  it.effect("of a body that failed for good were neither told nor counted", () =>
    Effect.gen(function* () {
      const body = Stream.make(rootfs.subarray(0, 2000), rootfs).pipe(Stream.rechunk(1))
      const { counted, result, told } = yield* fetch({ body })
      assert.strictEqual(expectFailure(result).reason, "UnexpectedContent")
      assert.deepStrictEqual(told.at(-1), { received: 2000, position: 2000 })
      assert.strictEqual(counted, kernel.length + 2000)
    })
  )

  it.effect("were counted again when the next body broke before its first byte", () =>
    Effect.gen(function* () {
      const cut = (after: number) => StubHttpClient.file(rootfs, { cutAfter: after })
      const { counted, result, told } = yield* fetch([cut(1000), cut(0), StubHttpClient.file(rootfs)])
      expectImage(result)
      assert.deepStrictEqual(
        told.map(({ received }) => received),
        [0, 1000, 1000, 3000]
      )
      assert.strictEqual(counted, kernel.length + rootfs.length)
    })
  )

  it.effect("fell when a nearby copy was bad", () =>
    Effect.gen(function* () {
      const disk = yield* MemoryFileSystem.make
      const asset = (bytes: Uint8Array, name: string) => ({
        url: `https://images.test/${name}`,
        sha256: StubHasher.digestOf(bytes)
      })
      const kernels = { a: new TextEncoder().encode("kernel of a"), b: new TextEncoder().encode("kernel of b") }
      const images = {
        a: { kernel: asset(kernels.a, "a"), rootfs: asset(rootfs, "rootfs") },
        b: { kernel: asset(kernels.b, "b"), rootfs: asset(rootfs, "rootfs") }
      }
      const routes = {
        "https://images.test/a": StubHttpClient.file(kernels.a),
        "https://images.test/b": StubHttpClient.file(kernels.b),
        "https://images.test/rootfs": StubHttpClient.file(rootfs)
      }
      expectImage((yield* ensure({ images, routes, disk }, "a")).result)
      yield* disk.writeFile("/cache/a/rootfs.ext4", new Uint8Array(5000).fill(2))
      const { counted, result, tags, told } = yield* ensure({ images, routes, disk }, "b")
      expectImage(result)
      assert.deepStrictEqual(tags, ["Downloading", "Downloading", "Restarted", "Downloading", "Downloading"])
      assert.deepStrictEqual(told, [
        { received: 0, position: 0 },
        { received: 5000, position: 5000 },
        { received: 5000, position: 0 },
        { received: 8000, position: 3000 }
      ])
      assert.strictEqual(counted, kernels.b.length + 8000)
    })
  )
})

/** Who shares the work of others, and who must not. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import { ImageManager } from "../../src/index.js"
import { MemoryFileSystem, StubHttpClient } from "../../src/testing/index.js"
import { assertMessage, ensure, kernelPath, layerOf, onePinned, pinned, rootfsPath, serve } from "./memoryWorld.js"

describe("a download", () => {
  it.live("with other credentials is another one: their refusal is not ours", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const asked = yield* Deferred.make<void>()
      const routes: StubHttpClient.Routes = ({ headers, url }) => {
        if (url === "http://host/kernel") return StubHttpClient.file("kernel")
        if (headers["authorization"] === "Bearer good") return StubHttpClient.file("rootfs")
        return () =>
          Effect.zipRight(Deferred.succeed(asked, undefined), Effect.delay(Effect.succeed({ status: 401 }), 20))
      }
      const ensureWith = (token: string) => {
        const { sha256, url } = pinned("rootfs", "rootfs")
        const rootfs = { url: { url, headers: { authorization: `Bearer ${token}` } }, sha256 }
        return ensure({ fs, registry: { image: { kernel: pinned("kernel", "kernel"), rootfs } }, routes })
      }
      const stale = yield* Effect.fork(ensureWith("stale"))
      yield* Deferred.await(asked)
      assert.isTrue(Either.isRight(yield* ensureWith("good")))
      assertMessage(yield* Fiber.join(stale), /401/)
    })
  )

  it.live("has seen what it left alone before this call: who joins it looks again", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const asked = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const routes: StubHttpClient.Routes = ({ url }) => {
        if (url === "http://host/kernel") return StubHttpClient.file("kernel")
        return () =>
          Deferred.succeed(asked, undefined).pipe(Effect.zipRight(Deferred.await(goOn)), Effect.as({ body: "rootfs" }))
      }
      const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } }
      yield* fs.makeDirectory("/cache/image", { recursive: true })
      yield* fs.writeFileString(kernelPath, "kernel")
      const first = yield* Effect.fork(ensure({ fs, registry, routes }))
      yield* Deferred.await(asked)
      yield* fs.writeFileString(kernelPath, "KERNEL")
      const second = yield* Effect.fork(ensure({ fs, registry, routes }))
      yield* Effect.sleep(20)
      yield* Deferred.succeed(goOn, undefined)
      assert.isTrue(Either.isRight(yield* Fiber.join(second)))
      assert.strictEqual(yield* fs.readFileString(kernelPath), "kernel")
      yield* Fiber.join(first)
    })
  )

  it.effect("that must not use the network is another one: its failure is not ours", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const world = {
        fs,
        ...onePinned
      }
      // So that it takes a while.
      yield* fs.makeDirectory("/cache/.smolvm-images/locks", { recursive: true })
      yield* fs.writeFileString("/cache/.smolvm-images/locks/image.lock", "of another process")
      const offline = yield* Effect.fork(ensure({ ...world, options: { offline: true } }))
      yield* TestClock.adjust("1 second")
      const online = yield* Effect.fork(ensure(world))
      yield* TestClock.adjust("1 minute")
      assertMessage(yield* Fiber.join(offline), /offline mode forbids fetching it/)
      assert.isTrue(Either.isRight(yield* Fiber.join(online)))
    })
  )

  it.live("goes on with the clients of those who want it, not of who waits with other credentials", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const begun = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const asked: Array<string> = []
      const build = (who: string, token: string) => {
        const routes: StubHttpClient.Routes = ({ headers, url }) => {
          if (url === "http://host/kernel") return StubHttpClient.file("kernel")
          asked.push(`${who} ${headers["authorization"]}`)
          if (who !== "first") return StubHttpClient.file("rootfs")
          return () =>
            Deferred.succeed(begun, undefined).pipe(Effect.zipRight(Deferred.await(goOn)), Effect.as({ status: 503 }))
        }
        const { sha256, url } = pinned("rootfs", "rootfs")
        const rootfs = { url: { url, headers: { authorization: token } }, sha256 }
        const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs } }
        return Effect.map(
          Layer.build(layerOf({ fs, registry, routes, options: { retry: Schedule.recurs(3) } })),
          (context) => Context.get(context, ImageManager.ImageManager).ensureImage("image")
        )
      }
      const first = yield* Effect.fork(yield* build("first", "A"))
      yield* Deferred.await(begun)
      const other = yield* Effect.fork(yield* build("other", "B"))
      yield* Effect.sleep(20)
      const second = yield* Effect.fork(yield* build("second", "A"))
      yield* Effect.sleep(20)
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(second)
      yield* Fiber.join(other)
      assert.deepStrictEqual(asked, ["first A", "second A"])
    }).pipe(Effect.scoped)
  )

  it.live("that nobody wants any more ends, even when somebody waits for another one of that image", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const asked = yield* Deferred.make<void>()
      const routes: StubHttpClient.Routes = ({ url }) => {
        if (url === "http://host/kernel") return StubHttpClient.file("kernel")
        if (url === "http://host/new") return StubHttpClient.file("new")
        return () => Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never)
      }
      const ensureVersion = (version: string) =>
        ensure({
          fs,
          registry: { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned(version, version) } },
          routes
        })
      const old = yield* Effect.fork(ensureVersion("old"))
      yield* Deferred.await(asked)
      const next = yield* Effect.fork(ensureVersion("new"))
      yield* Effect.sleep(20)
      yield* Fiber.interrupt(old)
      assert.isTrue(Either.isRight(yield* Fiber.join(next)))
      assert.strictEqual(yield* fs.readFileString(rootfsPath), "new")
    })
  )
})

it.live("that an image is intact is no answer for who wants another version of it", () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    const open = Effect.unsafeMakeLatch(true)
    const version = (rootfs: string) => ({
      fs,
      registry: { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", rootfs) } },
      routes: serve({ kernel: "kernel", rootfs }),
      hashing: open.await
    })
    yield* ensure(version("old"))
    yield* open.close
    // The first reading has begun, the second one would be for all who come now.
    const old = yield* Effect.forEach([1, 2], () =>
      Effect.zipLeft(Effect.fork(ensure(version("old"))), Effect.sleep(20))
    )
    const next = yield* Effect.fork(ensure(version("new")))
    yield* Effect.sleep(20)
    yield* open.open
    assert.isTrue(Either.isRight(yield* Fiber.join(next)))
    assert.strictEqual(yield* fs.readFileString(rootfsPath), "new")
    yield* Effect.forEach(old, Fiber.join)
  })
)

it.live('verification "always" is not answered by the "stat" of another manager', () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    const open = Effect.unsafeMakeLatch(true)
    const world = {
      fs,
      ...onePinned,
      // Blind to every change.
      host: { stamp: () => Effect.succeedSome({ size: "6", mtime: "1", ctime: "1", ino: "1", dev: "1" }) },
      hashing: open.await
    }
    const build = (verification: "always" | "stat") =>
      Effect.map(Layer.build(layerOf({ ...world, options: { verification } })), (context) =>
        Context.get(context, ImageManager.ImageManager)
      )
    const stat = yield* build("stat")
    const always = yield* build("always")
    yield* stat.ensureImage("image")
    yield* stat.ensureImage("image")
    // So that one of both files has to be read.
    yield* fs.remove("/cache/.smolvm-images/records/image/rootfs.ext4.json")
    yield* open.close
    yield* Effect.fork(stat.ensureImage("image"))
    yield* Effect.sleep(20)
    yield* Effect.fork(stat.ensureImage("image"))
    yield* Effect.sleep(20)
    yield* fs.writeFileString(kernelPath, "KERNEL")
    const strict = yield* Effect.fork(always.ensureImage("image"))
    yield* Effect.sleep(20)
    yield* open.open
    yield* Fiber.join(strict)
    assert.strictEqual(yield* fs.readFileString(kernelPath), "kernel")
  }).pipe(Effect.scoped)
)

/** What is placed in the cache and what is trusted there, when something goes wrong just then. */
import type * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { ImageManager, ImageSource } from "../../src/index.js"
import { MemoryFileSystem, StubHttpClient } from "../../src/testing/index.js"
import {
  assertMessage,
  digestOf,
  ensure,
  kernelPath,
  layerOf,
  onePinned,
  pinned,
  rootfsPath,
  serve,
  unpinned
} from "./memoryWorld.js"

describe("a copy of a file that another image has", () => {
  const registry = {
    image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "good rootfs") },
    other: { kernel: pinned("kernel2", "kernel2"), rootfs: pinned("rootfs", "good rootfs") }
  }
  const routes = serve({ kernel: "kernel", kernel2: "kernel2", rootfs: "good rootfs" })

  it.effect("that was altered is never placed, not even when it cannot be opened again", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      let clones = 0
      let failures = 0
      const fs = MemoryFileSystem.faulty(inner, ({ method, path }) => {
        if (method !== "open" || clones === 0 || failures > 0 || !path.includes("rootfs")) return Effect.void
        failures++
        return Effect.fail("EMFILE")
      })
      const clone = (from: string, to: string) =>
        Effect.isSuccess(
          Effect.tap(inner.copyFile(from, to), () => {
            clones++
          })
        )
      yield* Effect.gen(function* () {
        yield* ImageManager.ensureImage("image")
        yield* inner.writeFileString(rootfsPath, "evil rootfs")
        yield* Effect.either(ImageManager.ensureImage("other"))
      }).pipe(Effect.provide(layerOf({ fs, registry, routes, host: { clone } })))
      assert.deepStrictEqual([clones, failures], [1, 1])
      const placed = yield* Effect.orElseSucceed(inner.readFileString("/cache/other/rootfs.ext4"), () => "nothing")
      assert.strictEqual(placed, "good rootfs")
    })
  )

  it.effect("that was altered and cloned is thrown away, and what is fetched instead is taken", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      let clones = 0
      const clone = (from: string, to: string) =>
        Effect.isSuccess(
          Effect.tap(fs.copyFile(from, to), () => {
            clones++
          })
        )
      const world = { fs, registry, routes, host: { clone } }
      yield* ensure(world)
      yield* fs.writeFileString(rootfsPath, "evil rootfs")
      assert.isTrue(Either.isRight(yield* ensure(world, "other")))
      assert.strictEqual(clones, 1)
      assert.strictEqual(yield* fs.readFileString("/cache/other/rootfs.ext4"), "good rootfs")
    })
  )
})

describe("an unpinned file", () => {
  const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: unpinned("rootfs") } }
  const version = (rootfs: string) => serve({ kernel: "kernel", rootfs })

  it.effect("of another size than the pinned one is not trusted for being there", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const sized = { image: { kernel: pinned("kernel", "kernel"), rootfs: { ...unpinned("rootfs"), size: 9 } } }
      yield* fs.makeDirectory("/cache/image", { recursive: true })
      yield* fs.writeFileString(kernelPath, "kernel")
      yield* fs.writeFileString(rootfsPath, "cut")
      const world = { fs, registry: sized, routes: version("whole one") }
      for (const _ of [1, 2]) {
        assert.isTrue(Either.isRight(yield* ensure(world)))
        assert.strictEqual(yield* fs.readFileString(rootfsPath), "whole one")
      }
    })
  )

  /** One version is recorded, and somebody removes the file. */
  const removed = Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    yield* ensure({ fs, registry, routes: version("one") })
    yield* fs.remove(rootfsPath)
    return fs
  })

  it.effect("that was removed is not held against the next one: interrupted right after it was placed", () =>
    Effect.gen(function* () {
      const inner = yield* removed
      const placed = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const fs = MemoryFileSystem.faulty(inner, ({ method, path }) =>
        method === "open" && path === "/cache"
          ? Effect.zipRight(Deferred.succeed(placed, undefined), Deferred.await(goOn))
          : Effect.void
      )
      const ensuring = yield* Effect.fork(ensure({ fs, registry, routes: version("two") }))
      yield* Deferred.await(placed)
      const interrupting = yield* Effect.fork(Fiber.interrupt(ensuring))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(interrupting)
      assert.strictEqual(yield* inner.readFileString(rootfsPath), "two")
      assert.isTrue(Either.isRight(yield* ensure({ fs: inner, registry, routes: version("two") })))
    })
  )

  it.effect("that was removed is not held against the next one: no record can be written", () =>
    Effect.gen(function* () {
      const inner = yield* removed
      const fs = MemoryFileSystem.faulty(inner, ({ method }) =>
        method === "writeFile" ? Effect.fail("ENOSPC") : Effect.void
      )
      assert.isTrue(Either.isRight(yield* ensure({ fs, registry, routes: version("two") })))
      assert.isTrue(Either.isRight(yield* ensure({ fs: inner, registry, routes: version("two") })))
    })
  )

  it.effect("has a record that is never seen half written, not even after a crash", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      const touched: Array<string> = []
      const fs = MemoryFileSystem.faulty(inner, ({ method, path, to = path }) => {
        if (to.endsWith("/records/image/rootfs.ext4.json")) touched.push(method)
        return Effect.void
      })
      assert.isTrue(Either.isRight(yield* ensure({ fs, registry, routes: version("one") })))
      assert.include(touched, "rename")
      assert.notInclude(touched, "writeFile")
    })
  )

  it.effect("that was damaged and is another one at its source fails with the way out", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      yield* ensure({ fs, registry, routes: version("one") })
      yield* fs.writeFileString(rootfsPath, "damaged")
      const world = { fs, registry, routes: version("two") }
      assertMessage(yield* ensure(world), /the registry pins none.*remove the image to trust another/)
      yield* Effect.provide(ImageManager.removeImage("image"), layerOf(world))
      assert.isTrue(Either.isRight(yield* ensure(world)))
    })
  )

  it.effect("is not placed when the record of the removed one stays: it would be refused from then on", () =>
    Effect.gen(function* () {
      const inner = yield* removed
      const fs = MemoryFileSystem.faulty(inner, ({ method, path }) =>
        method === "remove" && path.includes("/records/") ? Effect.fail("EACCES") : Effect.void
      )
      assertMessage(yield* ensure({ fs, registry, routes: version("two") }), /records\/image\/rootfs.ext4.json/)
      assert.isFalse(yield* inner.exists(rootfsPath))
    })
  )
})

describe("an update", () => {
  const versions = (n: number) => ({
    registry: { image: { kernel: pinned(`k${n}`, `kernel ${n}`), rootfs: pinned(`r${n}`, `rootfs ${n}`) } },
    routes: serve({ [`k${n}`]: `kernel ${n}`, [`r${n}`]: `rootfs ${n}` })
  })
  const standing = (fs: FileSystem.FileSystem) =>
    Effect.all([fs.readFileString(kernelPath), fs.readFileString(rootfsPath)])

  it.effect("without hard links and without space for copies fails before it has replaced anything", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      yield* ensure({ fs: inner, ...versions(1) })
      const fs = MemoryFileSystem.faulty(inner, ({ method, to }) => {
        if (method === "link") return Effect.fail("EPERM")
        if (method === "copyFile") return Effect.fail("ENOSPC")
        return method === "rename" && to === rootfsPath ? Effect.fail("EIO") : Effect.void
      })
      assertMessage(yield* ensure({ fs, ...versions(2) }), /No space for the kernel/)
      assert.deepStrictEqual(yield* standing(inner), ["kernel 1", "rootfs 1"])
    })
  )

  it.effect("that fails puts back what it can: a file that cannot be put back keeps no other from it", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      const initrdPath = "/cache/image/initrd.img"
      const three = (n: number) => ({
        registry: { image: { ...versions(n).registry.image, initrd: pinned(`i${n}`, `initrd ${n}`) } },
        routes: serve({ [`k${n}`]: `kernel ${n}`, [`r${n}`]: `rootfs ${n}`, [`i${n}`]: `initrd ${n}` })
      })
      yield* ensure({ fs: inner, ...three(1) })
      const fs = MemoryFileSystem.faulty(inner, ({ method, path, to }) =>
        method === "rename" && (to === initrdPath || (to === kernelPath && path.endsWith(".before")))
          ? Effect.fail("EIO")
          : Effect.void
      )
      assertMessage(yield* ensure({ fs, ...three(2) }), /^Storage failed for the initrd of image "image"/)
      assert.deepStrictEqual(yield* standing(inner), ["kernel 2", "rootfs 1"])
      assert.isTrue(Either.isRight(yield* ensure({ fs: inner, ...three(2) })))
    })
  )

  it.effect("of what may be replaced but not read goes on without a way back", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      yield* ensure({ fs: inner, ...versions(1) })
      const fs = MemoryFileSystem.faulty(inner, ({ method }) => {
        if (method === "link") return Effect.fail("EPERM")
        return method === "copyFile" ? Effect.fail("EACCES") : Effect.void
      })
      assert.isTrue(Either.isRight(yield* ensure({ fs, ...versions(2) })))
      assert.deepStrictEqual(yield* standing(inner), ["kernel 2", "rootfs 2"])
    })
  )

  it.live("that is interrupted copies no further file that it was about to replace", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      yield* ensure({ fs: inner, ...versions(1) })
      const copying = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      let copies = 0
      const fs = MemoryFileSystem.faulty(inner, ({ method }) => {
        if (method === "link") return Effect.fail("EPERM")
        if (method !== "copyFile") return Effect.void
        copies++
        return Effect.zipRight(Deferred.succeed(copying, undefined), Deferred.await(done))
      })
      const updating = yield* Effect.fork(ensure({ fs, ...versions(2) }))
      yield* Deferred.await(copying)
      const interrupting = yield* Effect.fork(Fiber.interrupt(updating))
      yield* Effect.sleep(20)
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(interrupting)
      assert.strictEqual(copies, 1)
      assert.deepStrictEqual(yield* standing(inner), ["kernel 1", "rootfs 1"])
      assert.deepStrictEqual(yield* inner.readDirectory("/cache/.smolvm-images/staging"), [])
    })
  )
})

it.effect("a file is not placed when what the disk said meanwhile was a failure to keep its bytes", () =>
  Effect.gen(function* () {
    const inner = yield* MemoryFileSystem.make
    const large = "x".repeat(40 * 1024 * 1024)
    let syncs = 0
    // As Linux does: the failure is told once, and the next sync is fine.
    const fs = MemoryFileSystem.faulty(inner, ({ method, path }) =>
      method === "File.sync" && path.includes("/rootfs.") && syncs++ === 0 ? Effect.fail("EIO") : Effect.void
    )
    const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", large) } }
    const routes = serve({ kernel: "kernel", rootfs: large })
    assertMessage(yield* ensure({ fs, registry, routes }), /EIO/)
    assert.isFalse(yield* inner.exists(rootfsPath))
    assert.isTrue(Either.isRight(yield* ensure({ fs, registry, routes })))
  })
)

it.effect("removeImage leaves alone what else is in the image's folder", () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } }
    const world = { fs, registry, routes: serve({ kernel: "kernel", rootfs: "rootfs" }) }
    const remove = Effect.provide(ImageManager.removeImage("image"), layerOf(world))
    yield* ensure(world)
    yield* fs.writeFileString("/cache/image/notes.txt", "somebody's")
    yield* remove
    assert.deepStrictEqual(yield* fs.readDirectory("/cache/image"), ["notes.txt"])
    yield* fs.remove("/cache/image/notes.txt")
    yield* remove
    assert.isFalse(yield* fs.exists("/cache/image"))
  })
)

it.effect("removeImage follows no link out of the cache", () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    const world = {
      fs,
      ...onePinned
    }
    yield* fs.makeDirectory("/outside/image", { recursive: true })
    yield* fs.writeFileString("/outside/image/rootfs.ext4.json", "somebody's")
    yield* fs.makeDirectory("/cache/.smolvm-images", { recursive: true })
    yield* fs.symlink("/outside", "/cache/.smolvm-images/records")
    yield* ensure(world)
    const removal = yield* Effect.either(Effect.provide(ImageManager.removeImage("image"), layerOf(world)))
    assertMessage(removal, /a link leads away from it, to \/outside; remove the link/)
    assert.deepStrictEqual(yield* fs.readDirectory("/outside/image"), ["rootfs.ext4.json"])
  })
)

describe("offline", () => {
  const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } }
  const options = { offline: true }

  it.effect("an image that is not there is said to be so, in a cache that cannot be written as well", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryFileSystem.make
      yield* inner.makeDirectory("/cache")
      const fs = MemoryFileSystem.faulty(inner, ({ method }) =>
        ["makeDirectory", "open", "writeFile"].includes(method) ? Effect.fail("EROFS") : Effect.void
      )
      const result = yield* ensure({ fs, registry, routes: {}, options })
      assertMessage(result, /^The kernel of image "image" is not in the cache, and offline mode forbids fetching it/)
    })
  )

  it.effect("what another image has is copied from there", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const world = { fs, registry: { ...registry, twin: registry.image } }
      yield* ensure({ ...world, routes: serve({ kernel: "kernel", rootfs: "rootfs" }) })
      assert.isTrue(Either.isRight(yield* ensure({ ...world, routes: {}, options }, "twin")))
      assert.strictEqual(yield* fs.readFileString("/cache/twin/rootfs.ext4"), "rootfs")
    })
  )

  it.effect("a damaged file is said to be so, not to be missing or fetched again", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      yield* ensure({ fs, registry, routes: serve({ kernel: "kernel", rootfs: "rootfs" }) })
      yield* fs.writeFileString(rootfsPath, "damaged")
      const warnings: Array<unknown> = []
      const logger = Logger.make(({ message }) => void warnings.push(message))
      const result = yield* ensure({ fs, registry, routes: {}, options }).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      assertMessage(
        result,
        /^The rootfs of image "image" is damaged in the cache, and offline mode forbids fetching it/
      )
      assert.deepStrictEqual(warnings, [])
    })
  )
})

describe("a path without a file: URL", () => {
  it.effect("is no defect, only nothing to copy from", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const image = { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") }
      const world = {
        fs,
        registry: { image, twin: image },
        routes: serve({ kernel: "kernel", rootfs: "rootfs" }),
        options: { cacheDir: "/we\\ird" }
      }
      for (const name of ["image", "twin"]) {
        yield* Effect.provide(ImageManager.ensureImage(name), layerOf(world))
        assert.strictEqual(yield* fs.readFileString(`/we\\ird/${name}/rootfs.ext4`), "rootfs")
      }
    })
  )
})

it.effect("a registry of somebody's own can name no file outside of the cache", () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    yield* fs.makeDirectory("/outside")
    const { kernel, rootfs } = Schema.decodeSync(ImageSource.ImageSource)({
      kernel: pinned("kernel", "kernel"),
      rootfs: pinned("rootfs", "rootfs")
    })
    const astray = new ImageSource.Asset({ ...rootfs, filename: "../../outside/rootfs" }, true)
    const source = new ImageSource.ImageSource({ kernel, rootfs: astray }, true)
    const world = {
      fs,
      registry: { list: Effect.succeed(["image"]), get: () => Effect.succeed(Option.some(source)) },
      routes: serve({ kernel: "kernel", rootfs: "rootfs" })
    }
    for (const operation of [
      ensure(world),
      Effect.either(Effect.provide(ImageManager.isCached("image"), layerOf(world)))
    ]) {
      assertMessage(yield* operation, /Invalid registry: image\.rootfs\.filename: /)
    }
    assert.deepStrictEqual(yield* fs.readDirectory("/outside"), [])

    const mutable = new ImageSource.ImageSource({ kernel, rootfs })
    const changing = { ...world, registry: { ...world.registry, get: () => Effect.succeed(Option.some(mutable)) } }
    yield* ensure(changing)
    Object.assign(mutable.rootfs, { filename: "../../outside/rootfs" })
    yield* ensure(changing)
    assert.deepStrictEqual(yield* fs.readDirectory("/outside"), [])
  })
)

it.live("wrong bytes of the only source are not announced as a new beginning: none follows", () =>
  Effect.gen(function* () {
    const fs = yield* MemoryFileSystem.make
    const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } }
    const tags: Array<string> = []
    yield* Effect.gen(function* () {
      const { ensureImage, events } = yield* ImageManager.ImageManager
      yield* Effect.fork(Stream.runForEach(events, ({ _tag }) => Effect.sync(() => tags.push(_tag))))
      yield* Effect.sleep(10)
      yield* Effect.either(ensureImage("image"))
      yield* Effect.sleep(10)
    }).pipe(Effect.provide(layerOf({ fs, registry, routes: serve({ kernel: "kernel", rootfs: "something else" }) })))
    assert.strictEqual(tags.at(-1), "Failed")
    assert.notInclude(tags, "Restarted")
  })
)

describe("bytes that were found wrong", () => {
  const good = "good kernel bytes"
  const registry = {
    image: {
      kernel: { url: ["http://host/busy", "http://host/wrong"] as const, sha256: digestOf(good) },
      rootfs: pinned("rootfs", "rootfs")
    }
  }
  const files = { rootfs: "rootfs", wrong: "evil kernel bytes" }
  const busy = { status: 503, headers: { "retry-after": "60" } }
  const stagedKernel = Effect.fnUntraced(function* (fs: FileSystem.FileSystem) {
    const staging = "/cache/.smolvm-images/staging"
    const [name] = (yield* fs.readDirectory(staging, { recursive: true })).filter((path) => path.includes("kernel"))
    return `${staging}/${name}`
  })

  it.effect("are gone before the pause in which the process may be killed", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const options = { retry: ImageManager.retrySchedule }
      const world = { fs, registry, routes: { ...serve(files), "http://host/busy": busy }, options }
      const ensuring = yield* Effect.fork(ensure(world))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* fs.readFileString(yield* stagedKernel(fs)), "")
      yield* Fiber.interrupt(ensuring)
    })
  )

  it.effect("that somebody left are fetched anew, though the server says that there are no more", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const left = `/cache/.smolvm-images/staging/unknown.0/kernel.${digestOf(good)}.part`
      yield* fs.makeDirectory(left.replace(/\/[^/]*$/, ""), { recursive: true })
      yield* fs.writeFileString(left, "evil kernel bytes")
      const asked: Array<string | undefined> = []
      const world = {
        fs,
        registry: { image: { kernel: pinned("kernel", good), rootfs: pinned("rootfs", "rootfs") } },
        routes: {
          ...serve(files),
          "http://host/kernel": (request: StubHttpClient.Request) => {
            asked.push(request.headers["range"])
            return StubHttpClient.file(good)(request)
          }
        },
        host: { isAlive: () => Effect.succeedSome(false) }
      }
      assert.isTrue(Either.isRight(yield* ensure(world)))
      assert.deepStrictEqual(asked, ["bytes=17-", undefined])
    })
  )
})

describe("verifyImage", () => {
  it.effect("writes nothing, not even the digest of an unpinned file", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      yield* fs.makeDirectory("/cache/image", { recursive: true })
      yield* fs.writeFileString(kernelPath, "kernel")
      yield* fs.writeFileString(rootfsPath, "whatever it is")
      const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: unpinned("rootfs") } }
      const verifying = Effect.provide(ImageManager.verifyImage("image"), layerOf({ fs, registry, routes: {} }))
      assert.isTrue((yield* verifying).isGood)
      assert.deepStrictEqual(yield* fs.readDirectory("/cache"), ["image"])
    })
  )

  it.effect("tells of the first cache that has the image, be it a lower one", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const registry = { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } }
      const world = { fs, registry, routes: {}, options: { lowerCacheDirs: ["/lower"] } }
      const verifying = Effect.provide(ImageManager.verifyImage("image"), layerOf(world))
      yield* fs.makeDirectory("/lower/image", { recursive: true })
      yield* fs.writeFileString("/lower/image/vmlinux.bin", "kernel")
      assert.deepStrictEqual(
        (yield* verifying).files.map(({ path, state }) => [path, state]),
        [
          [kernelPath, "missing"],
          [rootfsPath, "missing"]
        ]
      )
      yield* fs.writeFileString("/lower/image/rootfs.ext4", "damaged")
      assert.deepStrictEqual(
        (yield* verifying).files.map(({ path, state }) => [path, state]),
        [
          ["/lower/image/vmlinux.bin", "good"],
          ["/lower/image/rootfs.ext4", "bad"]
        ]
      )
    })
  )

  it.live("reads every file, whatever the stamps say", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      let hashed = 0
      const world = {
        fs,
        ...onePinned,
        options: { verification: "stat" } as const,
        host: { stamp: () => Effect.succeedSome({ size: "6", mtime: "1", ctime: "1", ino: "1", dev: "1" }) },
        hashing: Effect.sync(() => {
          hashed++
        })
      }
      yield* Effect.gen(function* () {
        yield* ImageManager.ensureImage("image")
        yield* ImageManager.ensureImage("image")
        hashed = 0
        yield* ImageManager.ensureImage("image")
        assert.strictEqual(hashed, 0)
        yield* ImageManager.verifyImage("image")
        assert.strictEqual(hashed, 2)
      }).pipe(Effect.provide(layerOf(world)))
    })
  )
})

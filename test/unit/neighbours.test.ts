/** Several processes on one cache, as far as they see only its files: each has the disk through a service of its own. */
import type * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { ImageManager } from "../../src/index.js"
import { MemoryFileSystem, StubHttpClient } from "../../src/testing/index.js"
import { digestOf, ensure, layerOf, pinned, serve } from "./memoryWorld.js"

const processOn = (disk: FileSystem.FileSystem, id: string, fault: MemoryFileSystem.Fault = () => Effect.void) => ({
  fs: MemoryFileSystem.faulty(disk, fault),
  host: { process: { id, pid: 1, hostname: id } }
})

const registry = {
  image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") },
  other: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs2", "rootfs2") }
}
const staging = "/cache/.smolvm-images/staging"
const lock = "/cache/.smolvm-images/locks/image.lock"

/** The rootfs comes when it may. */
const held = Effect.gen(function* () {
  const asked = yield* Deferred.make<void>()
  const goOn = yield* Deferred.make<void>()
  const routes: StubHttpClient.Routes = ({ url }) =>
    url.endsWith("/rootfs")
      ? () =>
          Deferred.succeed(asked, undefined).pipe(Effect.zipRight(Deferred.await(goOn)), Effect.as({ body: "rootfs" }))
      : { body: url.endsWith("/kernel") ? "kernel" : "rootfs2" }
  return { asked: Deferred.await(asked), goOn: Deferred.succeed(goOn, undefined), routes }
})

const withoutLock: MemoryFileSystem.Fault = ({ path }) => (path === lock ? Effect.fail("EACCES") : Effect.void)

const options = { responseTimeout: "1 day", lockPatience: "1 day" } as const

it.effect("a download of more than an hour is not cleared away by who cannot ask whether its process lives", () =>
  Effect.gen(function* () {
    const disk = yield* MemoryFileSystem.make
    const { asked, goOn, routes } = yield* held
    const slow = yield* Effect.fork(ensure({ ...processOn(disk, "slow", withoutLock), registry, routes, options }))
    yield* asked
    const mine = yield* disk.readDirectory(staging)
    yield* TestClock.adjust("90 minutes")
    assert.isTrue(Either.isRight(yield* ensure({ ...processOn(disk, "other"), registry, routes, options }, "other")))
    assert.deepStrictEqual(yield* disk.readDirectory(staging), mine)
    yield* goOn
    assert.isTrue(Either.isRight(yield* Fiber.join(slow)))
  })
)

describe("what a process left that nobody can ask after", () => {
  const name = "elsewhere.0123"
  const part = `${staging}/${name}/rootfs.${digestOf("rootfs")}.part`
  /** It has the beginning of the rootfs, and whoever comes next fetches that. */
  const leave = Effect.gen(function* () {
    const disk = yield* MemoryFileSystem.make
    yield* disk.makeDirectory(`${staging}/${name}`, { recursive: true })
    yield* disk.writeFileString(part, "roo")
    const ranges: Array<string | undefined> = []
    const routes: StubHttpClient.Routes = ({ headers, url }) => {
      if (url.endsWith("/rootfs")) ranges.push(headers["range"])
      return StubHttpClient.file(url.slice("http://host/".length))
    }
    return { disk, ranges, routes }
  })

  it.effect("is left alone for an hour, then gone on with", () =>
    Effect.gen(function* () {
      const { disk, ranges, routes } = yield* leave
      yield* TestClock.adjust("59 minutes")
      yield* ensure({ ...processOn(disk, "early"), registry, routes }, "other")
      assert.deepStrictEqual(yield* disk.readDirectory(staging), [name])
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(Either.isRight(yield* ensure({ ...processOn(disk, "late"), registry, routes })))
      assert.deepStrictEqual(yield* disk.readDirectory(staging), [])
      assert.deepStrictEqual(ranges, ["bytes=3-"])
    })
  )

  it.effect("is not gone on with when it is another user's, who may still write to it", () =>
    Effect.gen(function* () {
      const { disk, ranges, routes } = yield* leave
      yield* TestClock.adjust("2 hours")
      const { fs, host } = processOn(disk, "late")
      const theirs: FileSystem.FileSystem = {
        ...fs,
        stat: (path) =>
          Effect.map(fs.stat(path), (info) =>
            path.includes(`/${name}/`) ? { ...info, uid: Option.some(4711) } : { ...info, uid: Option.some(1000) }
          )
      }
      assert.isTrue(Either.isRight(yield* ensure({ fs: theirs, host, registry, routes })))
      assert.deepStrictEqual(ranges, [undefined])
      assert.deepStrictEqual(yield* disk.readDirectory(staging), [])
    })
  )
})

it.effect("removeImage waits for who fetches the image, and then removes it", () =>
  Effect.gen(function* () {
    const disk = yield* MemoryFileSystem.make
    const { asked, goOn, routes } = yield* held
    const fetching = yield* Effect.fork(ensure({ ...processOn(disk, "fetches"), registry, routes, options }))
    yield* asked
    const world = { ...processOn(disk, "removes"), registry, routes, options }
    const removing = yield* Effect.fork(Effect.provide(ImageManager.removeImage("image"), layerOf(world)))
    yield* TestClock.adjust("2 seconds")
    yield* goOn
    assert.isTrue(Either.isRight(yield* Fiber.join(fetching)))
    yield* TestClock.adjust("2 seconds")
    yield* Fiber.join(removing)
    assert.isFalse(yield* disk.exists("/cache/image"))
  })
)

describe("a lock", () => {
  /** A lock that nobody touches, and who waits for it. */
  const waitFor = Effect.fnUntraced(function* (alive: Option.Option<boolean>, fault?: MemoryFileSystem.Fault) {
    const disk = yield* MemoryFileSystem.make
    yield* disk.makeDirectory("/cache/.smolvm-images/locks", { recursive: true })
    const holder = { token: "t", id: "another", pid: 7, hostname: "h", since: "1970-01-01T00:00:00.000Z" }
    yield* disk.writeFileString(lock, JSON.stringify(holder))
    const { fs, host } = processOn(disk, "waits", fault)
    const routes = serve({ kernel: "kernel", rootfs: "rootfs" })
    const isAlive = (id: string) => Effect.succeed(id === "another" ? alive : Option.none())
    const fiber = yield* Effect.fork(ensure({ fs, host: { ...host, isAlive }, registry, routes }))
    const isWaiting = Effect.map(Fiber.poll(fiber), Option.isNone)
    return { disk, isWaiting }
  })

  for (const [who, alive, seconds] of [
    ["nobody can ask after", Option.none(), 7],
    ["is known to run, but may be stopped", Option.some(true), 15]
  ] as const) {
    it.effect(`of who ${who} is waited for as long as there are signs of life, and ${seconds} seconds more`, () =>
      Effect.gen(function* () {
        const { disk, isWaiting } = yield* waitFor(alive)
        for (let beat = 1; beat <= 10; beat++) {
          yield* TestClock.adjust("5 seconds")
          yield* disk.utimes(lock, beat, beat)
        }
        yield* TestClock.adjust(`${seconds} seconds`)
        assert.isTrue(yield* isWaiting)
        yield* TestClock.adjust("1 second")
        assert.isFalse(yield* isWaiting)
      })
    )
  }

  it.effect("that did not change while it was the waiter who was stopped is not dead for that", () =>
    Effect.gen(function* () {
      let looks = 0
      const { isWaiting } = yield* waitFor(Option.none(), ({ method, path }) =>
        method === "stat" && path === lock && looks++ === 1 ? Effect.sleep("1 hour") : Effect.void
      )
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("3 seconds")
      assert.isAbove(looks, 2)
      assert.isTrue(yield* isWaiting)
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(yield* isWaiting)
    })
  )

  it.effect("of who is known to be dead is not waited for", () =>
    Effect.gen(function* () {
      const { isWaiting } = yield* waitFor(Option.some(false))
      yield* TestClock.adjust("1 second")
      assert.isFalse(yield* isWaiting)
    })
  )

  it.effect("that was taken over is neither kept alive nor removed by who had it", () =>
    Effect.gen(function* () {
      const disk = yield* MemoryFileSystem.make
      const { asked, goOn, routes } = yield* held
      const fetching = yield* Effect.fork(ensure({ ...processOn(disk, "slow"), registry, routes, options }))
      yield* asked
      yield* disk.remove(lock)
      yield* disk.writeFileString(lock, "of another process")
      yield* disk.utimes(lock, 1, 1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* disk.stat(lock)).mtime, Option.some(new Date(1000)))
      yield* goOn
      assert.isTrue(Either.isRight(yield* Fiber.join(fetching)))
      assert.strictEqual(yield* disk.readFileString(lock), "of another process")
    })
  )

  it.effect("that was taken anew just when it was taken from the dead is given back", () =>
    Effect.gen(function* () {
      const disk = yield* MemoryFileSystem.make
      yield* disk.makeDirectory("/cache/.smolvm-images/locks", { recursive: true })
      yield* disk.writeFileString(lock, "of a dead process")
      const { fs, host } = processOn(disk, "waits", ({ method, path }) =>
        method === "rename" && path === lock
          ? Effect.orDie(disk.writeFileString(lock, "of a quicker one"))
          : Effect.void
      )
      const routes = serve({ kernel: "kernel", rootfs: "rootfs" })
      const waiting = yield* Effect.fork(
        ensure({ fs, host, registry, routes, options: { lockPatience: "10 seconds" } })
      )
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(Either.isRight(yield* Fiber.join(waiting)))
      assert.strictEqual(yield* disk.readFileString(lock), "of a quicker one")
    })
  )
})

import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { ImageError, type ImageManager } from "../../src/index.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"
import {
  assertClean,
  type Behaviour,
  bytes,
  imageManagerSuite,
  kernel,
  rootfs,
  serveHello,
  servicesOf,
  start,
  tree,
  type World,
  write
} from "./imageManagerSuite.js"

const origin = "http://images.test"

const answer = (content: Uint8Array, { latency = 0, stallAfter, status = 200 }: Behaviour) => {
  if (status !== 200) return { status, delay: latency }
  const headers = { "content-length": String(content.length) }
  const head = Stream.make(content.subarray(0, stallAfter))
  return { delay: latency, headers, body: stallAfter === undefined ? content : Stream.concat(head, Stream.never) }
}

/** A body in pieces, with `hook` before each. */
const pieces = (content: Uint8Array, hook: (what: string) => Effect.Effect<void>) => {
  const size = Math.ceil(content.length / 3)
  const parts = [0, 1, 2].map((at) => content.subarray(at * size, (at + 1) * size))
  return Stream.mapEffect(Stream.fromIterable(parts), (part) => Effect.as(hook("network piece"), part))
}

/** Nothing outside this process, nothing of Node, and a clock that stands still. `hook` runs before each step of the network. */
const makeMemoryWorldWith = Effect.fnUntraced(function* (hook: (what: string) => Effect.Effect<void>) {
  const served = new Map<string, { readonly content: Uint8Array; readonly behaviour: Behaviour }>()
  const asked: Array<string> = []
  const fs = yield* MemoryFileSystem.make
  const network = StubHttpClient.layer(({ url }) => {
    const { pathname } = new URL(url)
    asked.push(pathname)
    const file = served.get(pathname)
    if (file === undefined) return undefined
    const reply = answer(file.content, file.behaviour)
    return () =>
      Effect.as(hook(`network ${pathname}`), {
        ...reply,
        ...(reply.body instanceof Uint8Array ? { body: pieces(reply.body, hook) } : {})
      })
  })
  const services = yield* servicesOf(
    Layer.mergeAll(Layer.succeed(FileSystem.FileSystem, fs), Path.layer, network, StubHasher.layer())
  )
  const world: World = {
    services,
    cacheDir: "/home/me/.smolvm/images",
    digest: StubHasher.digestOf,
    serve: (path, content, behaviour = {}) => {
      served.set(path, { content, behaviour })
      return origin + path
    },
    requests: () => asked,
    requested: (count) => Effect.repeat(Effect.yieldNow(), { until: () => asked.length >= count }),
    pass: (millis) => TestClock.adjust(millis)
  }
  return world
})

const makeMemoryWorld = makeMemoryWorldWith(() => Effect.void)

imageManagerSuite("memory", it.scoped, makeMemoryWorld)

/** Where the cache of {@link updateHello} can be seen to stand. */
const versions = { old: [bytes("old kernel"), bytes("old rootfs")], new: [kernel, rootfs] } as const

const write2 = (world: World, [kernelBytes, rootfsBytes]: readonly [Uint8Array, Uint8Array]) =>
  Effect.zipRight(write(world, "hello/vmlinux.bin", kernelBytes), write(world, "hello/rootfs.ext4", rootfsBytes))

/** What is in the cache under `hello`: nothing, both old, both new; anything else fails the test. */
const standing = (world: World) =>
  Effect.map(tree(world), (entries) => {
    const found = ["hello/vmlinux.bin", "hello/rootfs.ext4"].map((file) => entries[file]?.split(" ")[0])
    if (found.every((digest) => digest === undefined)) return "nothing"
    for (const [version, contents] of Object.entries(versions)) {
      if (contents.every((content, at) => found[at] === world.digest(content))) return version
    }
    return assert.fail(`half an image: ${found.join(", ")}`)
  })

/** Runs `ensureImage` on a fresh world, with `hook` before each file operation, request and piece of a body, counted from 1. */
const runWithHook = (
  before: "nothing" | "old",
  hook: (
    step: number,
    what: string,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) => Effect.Effect<void, MemoryFileSystem.ErrorCode>
) =>
  Effect.gen(function* () {
    let step = 0
    let active = true
    const started = yield* Deferred.make<Fiber.RuntimeFiber<unknown, unknown>>()
    const at = (what: string) =>
      Effect.suspend(() =>
        active ? Effect.flatMap(Deferred.await(started), (fiber) => hook(++step, what, fiber)) : Effect.void
      )
    const world = yield* makeMemoryWorldWith((what) => Effect.orDie(at(what)))
    if (before === "old") yield* write2(world, versions.old)
    const images = serveHello(world)
    const manager = yield* start(world, images, { fault: ({ method, path }) => at(`${method} ${path}`) })
    const fiber = yield* Effect.fork(Logger.withMinimumLogLevel(manager.ensureImage("hello"), LogLevel.None))
    yield* Deferred.succeed(started, fiber)
    const exit = yield* Fiber.await(fiber)
    active = false
    return { world, exit, steps: step, manager }
  })

const countSteps = (before: "nothing" | "old") =>
  Effect.map(
    runWithHook(before, () => Effect.void),
    ({ exit, steps }) => {
      assert.isTrue(Exit.isSuccess(exit))
      assert.isAbove(steps, 20)
      return steps
    }
  )

/** Afterwards all is as if nothing had happened: nothing left behind, and the next call succeeds. */
const assertRecovers = (world: World, manager: ImageManager.ImageManager["Type"]) =>
  Effect.gen(function* () {
    yield* assertClean(world)
    yield* Logger.withMinimumLogLevel(manager.ensureImage("hello"), LogLevel.None)
    assert.strictEqual(yield* standing(world), "new")
    yield* assertClean(world)
  })

/** A sweep makes more than a hundred runs. */
const patience = 120_000

/** By then an interruption has come through to the work that is shared, where it may be interrupted. */
const arrival = Effect.repeatN(Effect.yieldNow(), 30)

describe("interruption", () => {
  for (const before of ["nothing", "old"] as const) {
    it.scoped(
      `at any step (${before} cached): nothing is left behind, no half image, and the next call succeeds`,
      () =>
        Effect.gen(function* () {
          const steps = yield* countSteps(before)
          const ends: Array<string> = []
          for (let k = 1; k <= steps; k++) {
            const { exit, manager, world } = yield* runWithHook(before, (step, _, fiber) =>
              step === k ? Effect.zipRight(Fiber.interruptFork(fiber), arrival) : Effect.void
            )
            assert.isTrue(Exit.isSuccess(exit) || Exit.isInterrupted(exit), `step ${k}: ${String(exit)}`)
            ends.push(yield* standing(world))
            yield* assertRecovers(world, manager)
          }
          // It was worth it: some interruptions came before the commit and some after.
          assert.includeMembers(ends, [before, "new"])
        }),
      patience
    )
  }
})

describe("a failing disk", () => {
  for (const [before, code] of [
    ["nothing", "ENOSPC"],
    ["old", "EIO"]
  ] as const) {
    it.scoped(
      `${code} at any one operation (${before} cached): success or a typed failure, no half image, and the next call succeeds`,
      () =>
        Effect.gen(function* () {
          const steps = yield* countSteps(before)
          let failures = 0
          for (let k = 1; k <= steps; k++) {
            let failed = ""
            const { exit, manager, world } = yield* runWithHook(before, (step, what) => {
              if (step !== k || what.startsWith("network")) return Effect.void
              failed = what
              return Effect.fail(code)
            })
            if (Exit.isFailure(exit)) {
              failures++
              const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
              if (!(error instanceof ImageError.ImageError))
                return assert.fail(`${failed}: ${Cause.pretty(exit.cause)}`)
              assert.strictEqual(
                error.reason,
                code === "ENOSPC" ? "NoSpace" : "StorageFailed",
                `${failed}: ${error.message}`
              )
              assert.include(error.path, world.cacheDir)
            }
            yield* standing(world)
            // What could not be removed stays until somebody clears up; a lock, until it is seen to be dead.
            if (!/^remove|\/locks\//.test(failed)) yield* assertRecovers(world, manager)
          }
          assert.isAbove(failures, 5)
        }),
      patience
    )
  }
})

it.scoped("every file that is opened is closed when ensureImage returns, not when the manager goes", () =>
  Effect.gen(function* () {
    const world = yield* makeMemoryWorld
    const open = new Set<string>()
    const inner = Context.get(world.services, FileSystem.FileSystem)
    const counting: FileSystem.FileSystem = {
      ...inner,
      open: (path, options) =>
        Effect.zipLeft(
          inner.open(path, options),
          Effect.acquireRelease(
            Effect.sync(() => open.add(path)),
            () => Effect.sync(() => open.delete(path))
          )
        )
    }
    const manager = yield* start(
      { ...world, services: Context.add(world.services, FileSystem.FileSystem, counting) },
      serveHello(world)
    )
    yield* manager.ensureImage("hello")
    assert.deepStrictEqual([...open], [])
  })
)

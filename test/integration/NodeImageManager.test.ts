import { createHash } from "node:crypto"
import * as os from "node:os"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Host, ImageManager, type Registry } from "../../src/index.js"
import { NodeHasher, NodeHost, NodeHttpClient, NodeImageManager } from "../../src/node/index.js"
import * as FaultServer from "../support/FaultServer.js"
import {
  assertClean,
  type Behaviour,
  imageManagerSuite,
  kernel,
  rootfs,
  serveHello,
  servicesOf,
  start,
  tree,
  type World
} from "../unit/imageManagerSuite.js"

const { Fault } = FaultServer

const faultsOf = ({ latency, stallAfter, status }: Behaviour): ReadonlyArray<FaultServer.Fault> => [
  ...(latency === undefined ? [] : [Fault.Latency({ ms: latency })]),
  ...(stallAfter === undefined ? [] : [Fault.Stall({ after: stallAfter })]),
  ...(status === undefined || status === 200 ? [] : [Fault.Status({ status })])
]

/** Real files in a fresh directory, real sockets on loopback, the real clock. */
const makeNodeWorld = Effect.gen(function* () {
  const server = yield* FaultServer.make
  const context = yield* servicesOf(
    Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeHttpClient.layer(), NodeHasher.layer)
  )
  const host = yield* Effect.provide(Host.Host, NodeHost.layer)
  const services = Context.add(context, Host.Host, host)
  const fs = Context.get(services, FileSystem.FileSystem)
  const parent = yield* Effect.orDie(
    Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" }), fs.realPath)
  )
  const world: World = {
    services,
    cacheDir: `${parent}/cache`,
    digest: (content) => createHash("sha256").update(content).digest("hex"),
    serve: (path, content, behaviour = {}) => server.serve(path, content, ...faultsOf(behaviour)),
    requests: () => server.requests.map(({ path }) => path),
    requested: (count) => server.until(() => server.requests.length >= count),
    pass: (millis) => Effect.sleep(millis)
  }
  return world
})

imageManagerSuite("Node", it.scopedLive, makeNodeWorld)

describe("NodeImageManager.layer", () => {
  const provided = (world: World, registry: Registry.Images) =>
    Effect.provide(NodeImageManager.layer({ cacheDir: world.cacheDir, registry }))

  it.scopedLive("is all that plain code needs", () =>
    Effect.gen(function* () {
      const world = yield* makeNodeWorld
      const images = serveHello(world)
      const image = yield* Effect.promise(() =>
        Effect.runPromise(ImageManager.ensureImage("hello").pipe(provided(world, images)))
      )
      assert.strictEqual(image.rootfsPath, `${world.cacheDir}/hello/rootfs.ext4`)
      assert.isTrue(yield* ImageManager.isCached("hello").pipe(provided(world, images)))
      assert.deepStrictEqual(yield* ImageManager.listAvailable.pipe(provided(world, images)), ["hello"])
      yield* assertClean(world)
    })
  )

  it.scopedLive("two layers in one process share a download", () =>
    Effect.gen(function* () {
      const world = yield* makeNodeWorld
      const images = serveHello(world, { kernel: { latency: 100 }, rootfs: { latency: 100 } })
      const ensure = Effect.suspend(() => ImageManager.ensureImage("hello").pipe(provided(world, images)))
      yield* Effect.all([ensure, ensure, ensure], { concurrency: "unbounded" })
      assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
    })
  )

  it.effect("knows the built-in images unless told otherwise", () =>
    Effect.gen(function* () {
      const layer = NodeImageManager.layer({ cacheDir: "/nonexistent" })
      assert.deepStrictEqual(yield* Effect.provide(ImageManager.listAvailable, layer), ["hello", "quickstart-x86_64"])
      assert.isFalse(yield* Effect.provide(ImageManager.isCached("hello"), layer))
    })
  )

  it("caches below the home directory unless told otherwise", () => {
    assert.strictEqual(NodeImageManager.defaultCacheDir(), `${os.homedir()}/.smolvm/images`)
  })

  it.effect("options at their bounds, and those that are undefined, are good", () =>
    Effect.gen(function* () {
      for (const given of [
        { lockPatience: 0, maxRetryAfter: "0 seconds", maxRestarts: 0, stallBytes: 0, maxSize: 0 },
        { responseTimeout: 1, connectTimeout: "1 milli", stallWindow: Number.POSITIVE_INFINITY },
        { lockPatience: undefined, connectTimeout: undefined, extraCaCertificates: [], other: undefined }
      ] as const) {
        const layer = NodeImageManager.layer({ cacheDir: "/c", ...given })
        assert.lengthOf(yield* Effect.provide(ImageManager.listAvailable, layer), 2)
      }
    })
  )

  it.effect("bad options are a ValueError, never a defect", () =>
    Effect.gen(function* () {
      const options: ReadonlyArray<readonly [unknown, string]> = [
        [{ cacheDir: "" }, "cacheDir"],
        [{ cacheDir: "a\0b" }, "cacheDir"],
        [{ cacheDir: 5 }, "cacheDir"],
        [{ cacheDir: null }, "cacheDir"],
        [{ cacheDir: "/c", registry: null }, "registry"],
        [{ cacheDir: "/c", registry: [] }, "registry"],
        [{ cacheDir: "/c", registry: 5 }, "registry"],
        [{ cacheDir: "/c", registry: { "../x": {} } }, "registry"],
        [{ cacheDir: "/c", maxSize: "1" }, "maxSize"],
        [{ cacheDir: "/c", maxSize: Number.NaN }, "maxSize"],
        [{ cacheDir: "/c", maxRestarts: -1 }, "maxRestarts"],
        [{ cacheDir: "/c", stallWindow: "soon" }, "stallWindow"],
        [{ cacheDir: "/c", stallWindow: 0 }, "stallWindow"],
        [{ cacheDir: "/c", stallWindow: Number.NaN }, "stallWindow"],
        [{ cacheDir: "/c", responseTimeout: 0 }, "responseTimeout"],
        [{ cacheDir: "/c", responseTimeout: "0 seconds" }, "responseTimeout"],
        [{ cacheDir: "/c", lockPatience: -1 }, "lockPatience"],
        [{ cacheDir: "/c", lockPatience: "-1 minute" }, "lockPatience"],
        [{ cacheDir: "/c", maxRetryAfter: [-1, 0] }, "maxRetryAfter"],
        [{ cacheDir: "/c", connectTimeout: 0 }, "connectTimeout"],
        [{ cacheDir: "/c", connectTimeout: -5n }, "connectTimeout"],
        [{ cacheDir: "/c", offLine: true }, "offLine"],
        [{ cachedir: "/c" }, "cachedir"],
        [{ cacheDir: "/c", retry: 5 }, "retry"],
        [{ cacheDir: "/c", offline: "yes" }, "offline"],
        [{ cacheDir: "/c", lowerCacheDirs: "/d" }, "lowerCacheDirs"],
        [{ cacheDir: "", offline: 1 }, "options"]
      ]
      const found: Array<readonly [unknown, unknown]> = []
      for (const [given] of options) {
        const layer = Layer.suspend(() => NodeImageManager.layer(given as NodeImageManager.Options))
        const exit = yield* Effect.exit(Effect.provide(ImageManager.listAvailable, layer))
        const failed = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error.field : String(exit)
        found.push([given, failed])
      }
      assert.deepStrictEqual(found, [...options])
    })
  )
})

describe("Node: interruption", () => {
  for (let round = 0; round < 12; round++) {
    it.scopedLive(`after about ${round * 4} ms leaves nothing behind, and the next call succeeds`, () =>
      Effect.gen(function* () {
        const world = yield* makeNodeWorld
        const manager = yield* start(world, serveHello(world))
        const fiber = yield* Effect.fork(manager.ensureImage("hello"))
        yield* Effect.sleep(round * 4 + Math.random() * 4)
        yield* Fiber.interrupt(fiber)
        yield* assertClean(world)
        const files = Object.keys(yield* tree(world)).filter((entry) => entry.startsWith("hello/"))
        assert.include([0, 2], files.length, `half an image: ${files.join(", ")}`)
        const image = yield* manager.ensureImage("hello")
        const fs = Context.get(world.services, FileSystem.FileSystem)
        assert.isTrue(Buffer.from(yield* fs.readFile(image.kernelPath)).equals(kernel))
        assert.isTrue(Buffer.from(yield* fs.readFile(image.rootfsPath)).equals(rootfs))
        yield* assertClean(world)
      })
    )
  }
})

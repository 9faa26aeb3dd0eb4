import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { Host, ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { MemoryFileSystem } from "../../src/testing/index.js"
import { quietly } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import { makeJumpingClock } from "../support/processes/jumpingClock.js"
import * as Processes from "../support/processes.js"

const { Fault } = FaultServer

const scope = Effect.runSync(Scope.make())
let program = ""
beforeAll(async () => {
  program = Processes.bundle(await Effect.runPromise(Scope.extend(Processes.temporaryDirectory, scope)))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const files = { kernel: Processes.someBytes(50_000), rootfs: Processes.someBytes(1_500_000) }
const rootfsSha256 = Processes.sha256(files.rootfs)

const setUp = (...faults: ReadonlyArray<FaultServer.Fault>) =>
  Effect.gen(function* () {
    const server = yield* FaultServer.make
    const directory = yield* Processes.temporaryDirectory
    const cacheDir = join(directory, "cache")
    const outside = join(directory, "outside")
    fs.mkdirSync(join(outside, "folder"), { recursive: true })
    fs.writeFileSync(join(outside, "file"), "precious")
    fs.writeFileSync(join(outside, "folder", `rootfs.${rootfsSha256}.part`), "precious, too")
    fs.writeFileSync(join(outside, "folder", "vmlinux.bin"), "and this")
    const registry = Processes.serve(server, "x", files, ...faults)
    const manage = <A, E>(operation: Effect.Effect<A, E, ImageManager.ImageManager>) =>
      operation.pipe(Effect.provide(NodeImageManager.layer({ cacheDir, registry })), quietly)
    return { server, directory, cacheDir, outside, registry, manage }
  })

const at = (...names: ReadonlyArray<string>) => join(".smolvm-images", ...names)
/** A directory of a process of another machine, which was last heard of long ago. */
const dead = at("staging", "elsewhere-1-2.0123456789abcdef0123")
const part = `rootfs.${rootfsSha256}.part`
const kernelPart = `kernel.${Processes.sha256(files.kernel)}.part`
const longAgo = new Date(Date.now() - 3 * 60 * 60 * 1000)

type Plant = (path: string, outside: string) => void

const linkTo =
  (target: string): Plant =>
  (path, outside) =>
    fs.symlinkSync(join(outside, target), path)
const hardLink: Plant = (path, outside) => fs.linkSync(join(outside, "file"), path)
const pipe: Plant = (path) => void spawnSync("mkfifo", [path])
const directory: Plant = (path) => {
  fs.mkdirSync(path)
  fs.writeFileSync(join(path, "something"), "")
}
const device: Plant = (path) => fs.symlinkSync("/dev/zero", path)

/** What is planted where, and what a call makes of it: the image, or an error that names the place. */
const plants: ReadonlyArray<readonly [what: string, place: string, Plant, "Image" | "StorageFailed"]> = [
  ["a link to a folder", "x", linkTo("folder"), "StorageFailed"],
  ["a dangling link", "x", linkTo("nothing"), "StorageFailed"],
  ["a pipe", "x", pipe, "StorageFailed"],
  ["a link to a file", join("x", "vmlinux.bin"), linkTo("file"), "Image"],
  ["a dangling link", join("x", "vmlinux.bin"), linkTo("nothing"), "Image"],
  ["a hard link", join("x", "vmlinux.bin"), hardLink, "Image"],
  ["a pipe", join("x", "vmlinux.bin"), pipe, "StorageFailed"],
  ["a device", join("x", "vmlinux.bin"), device, "StorageFailed"],
  ["a directory", join("x", "vmlinux.bin"), directory, "StorageFailed"],
  ["a link to a folder", at(), linkTo("folder"), "StorageFailed"],
  ["a dangling link", at(), linkTo("nothing"), "StorageFailed"],
  ["a link to a folder", at("staging"), linkTo("folder"), "StorageFailed"],
  ["a link to a folder", at("locks"), linkTo("folder"), "Image"],
  ["a link to a folder", at("records"), linkTo("folder"), "Image"],
  ["a link to a file", at("locks", "x.lock"), linkTo("file"), "Image"],
  ["a dangling link", at("locks", "x.lock"), linkTo("nothing"), "Image"],
  ["a hard link", at("locks", "x.lock"), hardLink, "Image"],
  ["a pipe", at("locks", "x.lock"), pipe, "Image"],
  ["a directory", at("locks", "x.lock"), directory, "Image"],
  ["a link to a folder", dead, linkTo("folder"), "Image"],
  ["a pipe", dead, pipe, "Image"],
  ["a link to a file", join(dead, part), linkTo("file"), "Image"],
  ["a hard link", join(dead, part), hardLink, "Image"],
  ["a pipe", join(dead, part), pipe, "Image"],
  ["a directory", join(dead, part), directory, "Image"]
]

describe.concurrent("what is planted in a cache", () => {
  for (const [what, place, plant, expected] of plants) {
    it.scopedLive(`${what} at ${place.replace(rootfsSha256, "SHA256")} leads nowhere`, () =>
      Effect.gen(function* () {
        const { cacheDir, manage, outside } = yield* setUp()
        const path = join(cacheDir, place)
        fs.mkdirSync(dirname(path), { recursive: true })
        plant(path, outside)
        if (place.startsWith(dead)) {
          fs.utimesSync(join(cacheDir, dead), longAgo, longAgo)
        }
        const before = Processes.snapshot(outside)

        const result = yield* Effect.either(manage(ImageManager.ensureImage("x"))).pipe(Effect.timeout("25 seconds"))
        assert.deepStrictEqual(Processes.snapshot(outside), before)
        if (expected === "Image") {
          assert.isTrue(Either.isRight(result), Either.isLeft(result) ? result.left.message : "")
          Processes.expectCached(cacheDir, "x", files)
          assert.isFalse(fs.lstatSync(join(cacheDir, "x", "vmlinux.bin")).isSymbolicLink())
          // What was planted among the left-overs is gone, whatever it was.
          if (place !== at("locks")) Processes.expectTidy(cacheDir)
        } else {
          const error = Either.isLeft(result) ? result.left : assert.fail("it went well")
          assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, expected)
          assert.include(error.message, path)
        }
        yield* Effect.ignore(manage(ImageManager.isCached("x")))
        yield* Effect.ignore(manage(ImageManager.verifyImage("x")))
        yield* Effect.ignore(manage(ImageManager.removeImage("x")))
        assert.deepStrictEqual(Processes.snapshot(outside), before)
      }).pipe(Effect.timeout("28 seconds"))
    )
  }

  it.scopedLive("a pipe in place of a record is not opened", () =>
    Effect.gen(function* () {
      const { cacheDir, server } = yield* setUp()
      const unpinned = { x: { kernel: { url: server.url("/x/kernel") }, rootfs: { url: server.url("/x/rootfs") } } }
      const ensure = ImageManager.ensureImage("x").pipe(
        Effect.provide(NodeImageManager.layer({ cacheDir, registry: unpinned })),
        quietly
      )
      yield* ensure
      const record = join(cacheDir, at("records", "x", "vmlinux.bin.json"))
      fs.rmSync(record)
      pipe(record, "")
      yield* Effect.timeout(ensure, "5 seconds")
    })
  )
})

describe("what dead processes left", () => {
  /** A staging directory with most of the rootfs in it. */
  const leave = (cacheDir: string, owner: string, lastSeen: Date) => {
    const staging = join(cacheDir, at("staging", `${owner}.0123456789abcdef0123`))
    fs.mkdirSync(staging, { recursive: true })
    fs.writeFileSync(join(staging, part), files.rootfs.subarray(0, 1_000_000))
    fs.utimesSync(staging, lastSeen, lastSeen)
    return staging
  }

  it.scopedLive("is gone on with, where another machine has been silent for long", () =>
    Effect.gen(function* () {
      const { cacheDir, manage, server } = yield* setUp()
      leave(cacheDir, "elsewhere-1-2", longAgo)
      yield* manage(ImageManager.ensureImage("x"))
      const [request] = server.requestsOf("/x/rootfs")
      assert.strictEqual(request?.headers["range"], "bytes=1000000-")
      assert.strictEqual(server.bytesSent("/x/rootfs"), 500_000)
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("is no trap: a wrong prefix is thrown away", () =>
    Effect.gen(function* () {
      const { cacheDir, manage } = yield* setUp()
      const staging = leave(cacheDir, "elsewhere-1-2", longAgo)
      fs.writeFileSync(join(staging, part), Processes.someBytes(1_000_000))
      fs.utimesSync(staging, longAgo, longAgo)
      yield* manage(ImageManager.ensureImage("x"))
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("is told from what is another's: a living process's files stay, here and elsewhere", () =>
    Effect.gen(function* () {
      const { cacheDir, registry, server } = yield* setUp(Fault.Stall({ after: 1_400_000, times: 1 }))
      yield* Processes.start(program, { cacheDir, registry, images: ["x"] })
      yield* server.until(() => server.bytesSent("/x/rootfs") === 1_400_000)
      const [mine = ""] = Processes.stagingOf(cacheDir)
      // Its writes have come to rest, too.
      const written = (name: string) => fs.statSync(join(cacheDir, at("staging", mine, name))).size
      yield* Effect.sleep("20 millis").pipe(
        Effect.repeat({
          until: () => written(part) === 1024 * 1024 && written(kernelPart) === files.kernel.length
        })
      )
      // Silent for long, but it can be asked after: it lives.
      fs.utimesSync(join(cacheDir, at("staging", mine)), longAgo, longAgo)
      const elsewhere = leave(cacheDir, "elsewhere-1-2", new Date())
      const before = Processes.snapshot(join(cacheDir, at("staging")))
      yield* ImageManager.ensureImage("y").pipe(
        Effect.provide(
          NodeImageManager.layer({
            cacheDir,
            registry: Processes.serve(server, "y", { ...files, kernel: files.rootfs })
          })
        ),
        quietly
      )
      const after = Processes.snapshot(join(cacheDir, at("staging")))
      const relevant = (seen: Readonly<Record<string, string>>) =>
        Object.entries(seen).filter(([path]) => path.includes(mine) || path.startsWith(elsewhere))
      assert.deepStrictEqual(relevant(after), relevant(before))
      assert.isAbove(relevant(before).length, 4)
    })
  )

  it.scopedLive("a clock that is wrong by years does not make a living process of another machine dead", () =>
    Effect.gen(function* () {
      const { cacheDir, server } = yield* setUp()
      const staging = leave(cacheDir, "elsewhere-1-2", new Date())
      const year = 365 * 24 * 60 * 60 * 1000
      yield* ImageManager.ensureImage("y").pipe(
        Effect.provide(NodeImageManager.layer({ cacheDir, registry: Processes.serve(server, "y", files) })),
        Effect.withClock(makeJumpingClock(Clock.make(), [year])),
        quietly
      )
      assert.isTrue(fs.existsSync(join(staging, part)))
    })
  )
})

describe("who else may write", () => {
  it.scopedLive("a cache that everybody may write to is warned of, once", () =>
    Effect.gen(function* () {
      const { cacheDir, directory, registry } = yield* setUp()
      fs.mkdirSync(cacheDir)
      fs.chmodSync(cacheDir, 0o777)
      fs.chmodSync(directory, 0o777)
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel.label === "WARN") warnings.push(String(message))
      })
      const ensure = ImageManager.ensureImage("x").pipe(
        Effect.provide(NodeImageManager.layer({ cacheDir, registry })),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      yield* ensure
      fs.rmSync(join(cacheDir, "x", "vmlinux.bin"))
      yield* ensure
      assert.strictEqual(warnings.filter((text) => text.includes("everybody may replace")).length, 2)
      assert.isTrue([cacheDir, directory].every((path) => warnings.some((text) => text.includes(`in ${path},`))))
    })
  )

  for (const [umask, file, folder] of [
    [0o022, 0o644, 0o755],
    [0o077, 0o600, 0o700],
    [0o002, 0o664, 0o775]
  ] as const) {
    it.scopedLive(`the umask ${umask.toString(8)} decides who may use what is created`, () =>
      Effect.gen(function* () {
        const { cacheDir, registry } = yield* setUp()
        const { x } = registry
        // The second image is a copy of the first.
        const images = { x: x ?? assert.fail(), y: x ?? assert.fail() }
        Processes.expectImage(yield* Processes.run(program, { cacheDir, registry: images, images: ["x", "y"], umask }))
        const modes = new Set<string>()
        for (const [path, seen] of Object.entries(Processes.snapshot(cacheDir))) {
          const isFolder = fs.statSync(path).isDirectory()
          assert.strictEqual(seen.split(" ")[0], (isFolder ? folder : file).toString(8), path)
          modes.add(isFolder ? "folder" : "file")
        }
        assert.strictEqual(modes.size, 2)
      })
    )
  }
})

describe("an unfriendly system", () => {
  const failing = (code: MemoryFileSystem.ErrorCode, is: (operation: MemoryFileSystem.Operation) => boolean) =>
    MemoryFileSystem.layerFaulty(NodeFileSystem.layer, (operation) => (is(operation) ? Effect.fail(code) : Effect.void))

  /** Each operation of a cold run, failing with each code: an image or an error of ours, nothing left, no hang. */
  it.scopedLive("whatever operation fails, the outcome is typed and the cache is right", () =>
    Effect.gen(function* () {
      const { directory, registry } = yield* setUp()
      const runWith = (name: string, fault: MemoryFileSystem.Fault) => {
        const cacheDir = join(directory, name)
        return ImageManager.ensureImage("x").pipe(
          Effect.provide(
            Processes.layerOn(MemoryFileSystem.layerFaulty(NodeFileSystem.layer, fault), { cacheDir, registry })
          ),
          quietly,
          Effect.either,
          Effect.timeout("20 seconds"),
          Effect.map((result) => ({ cacheDir, result }))
        )
      }
      let operations = 0
      yield* runWith("counted", () => Effect.sync(() => void operations++))
      assert.isAbove(operations, 30)
      let failures = 0
      // A code for each operation, another one on each run: in time all of them come up.
      const codes = ["EIO", "ESTALE", "EACCES", "ENOENT"] as const
      const shift = Math.floor(Math.random() * codes.length)
      const cases = Array.from({ length: operations }, (_, index) => ({
        code: codes[(index + shift) % codes.length] ?? "EIO",
        index
      }))
      yield* Effect.forEach(
        cases,
        Effect.fnUntraced(function* ({ code, index }) {
          let count = 0
          const { cacheDir, result } = yield* runWith(`${code}-${index}`, () =>
            Effect.suspend(() => (count++ === index ? Effect.fail(code) : Effect.void))
          )
          if (Either.isRight(result)) return Processes.expectCached(cacheDir, "x", files)
          failures++
          const error = result.left
          assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, "StorageFailed", String(error))
          assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
          assert.deepStrictEqual(Processes.stagingOf(cacheDir), [])
        }),
        { concurrency: 4, discard: true }
      )
      assert.isAbove(failures, 20)
    })
  )

  it.scopedLive("ESTALE for a file in the cache is told as what it is", () =>
    Effect.gen(function* () {
      const { cacheDir, manage, registry } = yield* setUp()
      yield* manage(ImageManager.ensureImage("x"))
      const error = yield* ImageManager.ensureImage("x").pipe(
        Effect.provide(
          Processes.layerOn(
            failing("ESTALE", ({ method, path }) => method === "File.read" && path.endsWith("rootfs.ext4")),
            { cacheDir, registry }
          )
        ),
        quietly,
        Effect.flip
      )
      assert.match(error.message, /Storage failed for the rootfs .*the network file system lost the file \(ESTALE\)/)
    })
  )

  it.scopedLive("too few file descriptors are an error, or enough", () =>
    Effect.gen(function* () {
      const { directory, registry } = yield* setUp()
      let failures = 0
      // Node.js itself takes some twenty; how many it is does not matter, only that some are too few for us.
      for (const limit of [20, 22, 24, 27, 30]) {
        const cacheDir = join(directory, String(limit))
        const child = yield* Processes.run(
          program,
          { cacheDir, registry, images: ["x"] },
          { under: ["prlimit", `--nofile=${limit}:${limit}`] }
        )
        if (!child.lines.some(Processes.isLine("Ready"))) continue
        assert.isFalse(child.lines.some(Processes.isLine("Defect")), JSON.stringify(child.lines))
        if (child.lines.some(Processes.isLine("Image"))) Processes.expectCached(cacheDir, "x", files)
        else {
          failures++
          assert.include(["StorageFailed", "DownloadFailed"], Processes.expectFailure(child).reason)
        }
        assert.deepStrictEqual(Processes.stagingOf(cacheDir), [])
      }
      assert.isAbove(failures, 0)
    })
  )

  it("a cache of another user gives hits to read and an error to write", async (context) => {
    const reason = Processes.reasonAgainst.otherUsers()
    if (reason !== undefined) return context.skip(reason)
    await Effect.runPromise(
      Effect.gen(function* () {
        const { cacheDir, manage, registry, server } = yield* setUp()
        yield* manage(ImageManager.ensureImage("x"))
        const task: Processes.Task = { cacheDir, registry, images: ["x"] }
        const uid = 12345
        Processes.expectImage(yield* Processes.run(program, task, { uid }))

        fs.rmSync(join(cacheDir, "x", "vmlinux.bin"))
        const before = Processes.snapshot(cacheDir)
        const requests = server.requests.length
        const miss = Processes.expectFailure(yield* Processes.run(program, task, { uid }))
        assert.strictEqual(miss.reason, "StorageFailed")
        assert.match(miss.message, /permission denied/)
        assert.strictEqual(server.requests.length, requests)
        assert.deepStrictEqual(Processes.snapshot(cacheDir), before)

        // Not even to be looked at.
        fs.chmodSync(cacheDir, 0o700)
        const unseen = Processes.expectFailure(yield* Processes.run(program, task, { uid }))
        assert.strictEqual(unseen.reason, "StorageFailed")
      }).pipe(Effect.scoped)
    )
  })

  it.scopedLive("a cache directory that vanishes in the middle is an error, and the next call makes it anew", () =>
    Effect.gen(function* () {
      const { cacheDir, manage, server } = yield* setUp(Fault.Trickle({ bytes: 64 * 1024, ms: 20, times: 1 }))
      const vanish = Effect.zipRight(
        server.until(() => server.bytesSent("/x/rootfs") > 400_000),
        Effect.sync(() => fs.rmSync(cacheDir, { recursive: true }))
      )
      const [result] = yield* Effect.all([Effect.either(manage(ImageManager.ensureImage("x"))), vanish], {
        concurrency: 2
      }).pipe(Effect.timeout("20 seconds"))
      const error = Either.isLeft(result) ? result.left : assert.fail("it went well")
      assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, "StorageFailed")
      yield* manage(ImageManager.ensureImage("x"))
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("a clock that jumps, both ways and by years, makes nobody wait for it", () =>
    Effect.gen(function* () {
      const { cacheDir, registry } = yield* setUp(Fault.Cut({ after: 30_000, how: "reset", times: 1 }))
      const day = 24 * 60 * 60 * 1000
      const task: Processes.Task = { cacheDir, registry, images: ["x"], jumps: [0, day, -day, 400 * day, -1] }
      const children = yield* Effect.all([Processes.run(program, task), Processes.run(program, task)], {
        concurrency: 2
      }).pipe(Effect.timeout("25 seconds"))
      for (const child of children) {
        // Ten minutes without progress are enough, and by this clock they may be over at once.
        if (child.lines.some(Processes.isLine("Image"))) Processes.expectImage(child)
        else assert.strictEqual(Processes.expectFailure(child).reason, "DownloadFailed")
      }
      Processes.expectImage(yield* Processes.run(program, task))
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("without a host everything still works", () =>
    Effect.gen(function* () {
      const { cacheDir, registry } = yield* setUp()
      yield* ImageManager.ensureImage("x").pipe(
        Effect.provide(
          Processes.layerOn(NodeFileSystem.layer, { cacheDir, registry }, Layer.succeed(Host.Host, Host.neutral))
        ),
        quietly
      )
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )
})

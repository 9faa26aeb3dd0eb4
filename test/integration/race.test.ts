import * as fs from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { quietly } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const { Fault } = FaultServer
const { saysLog } = Processes

const scope = Effect.runSync(Scope.make())
let program = ""
beforeAll(async () => {
  program = Processes.bundle(await Effect.runPromise(Scope.extend(Processes.temporaryDirectory, scope)))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const megabyte = 1024 * 1024

/** A server with one image, `x`, and an empty cache. */
const setUp = (size: number, ...faults: ReadonlyArray<FaultServer.Fault | FaultServer.Script>) =>
  Effect.gen(function* () {
    const server = yield* FaultServer.make
    const files = { kernel: Processes.someBytes(size / 4), rootfs: Processes.someBytes(size) }
    const registry = Processes.serve(server, "x", files, ...faults)
    const cacheDir = join(yield* Processes.temporaryDirectory, "cache")
    const gets = () => server.requests.map(({ path }) => path).sort()
    const task = { cacheDir, registry, images: ["x"] } satisfies Processes.Task
    return { server, files, registry, cacheDir, gets, task }
  })

/** Its first transfer takes its time: a second for each 256 KiB. */
const slow = Fault.Trickle({ bytes: 64 * 1024, ms: 250, times: 1 })
/** Its first transfer comes to a stop after most of the rootfs. */
const stuck = Fault.Stall({ after: 5 * megabyte, times: 1 })
const quick = Fault.Trickle({ bytes: 64 * 1024, ms: 20 })

/** `npm run test:crash` sets it: then there is more time. */
const isCampaign = process.env["CRASH_KILLS"] !== undefined
const many = isCampaign ? 20 : 8

const once = ["/x/kernel", "/x/rootfs"]

/** A manager of its own, as another part of the program would have. */
const ensureBy = (options: NodeImageManager.Options, name = "x") =>
  ImageManager.ensureImage(name).pipe(Effect.provide(NodeImageManager.layer(options)), quietly)

describe("in one process", () => {
  it.scopedLive("twenty callers, of two managers, share one download", () =>
    Effect.gen(function* () {
      const { cacheDir, files, gets, registry } = yield* setUp(megabyte, quick)
      const callers = Effect.all(
        Array.from({ length: 10 }, () => ImageManager.ensureImage("x")),
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(NodeImageManager.layer({ cacheDir, registry })), quietly)
      const images = (yield* Effect.all([callers, callers], { concurrency: 2 })).flat()
      assert.strictEqual(images.length, 20)
      assert.deepStrictEqual(gets(), once)
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  for (const [what, faults, requests] of [
    ["leaves the others alone", [], 2],
    [
      "leaves the others a client for what is still to be asked for",
      [Fault.Cut({ after: 900_000, how: "reset", times: 1 })],
      3
    ]
  ] as const) {
    it.scopedLive(`the first caller's interruption ${what}`, () =>
      Effect.gen(function* () {
        const { cacheDir, files, registry, server } = yield* setUp(
          megabyte,
          Fault.Trickle({ bytes: 64 * 1024, ms: 100 }),
          ...faults
        )
        const first = yield* Effect.fork(ensureBy({ cacheDir, registry }))
        yield* server.until(() => server.bytesSent() > 100_000)
        const others = yield* Effect.fork(
          Effect.all(
            [1, 2, 3].map(() => ensureBy({ cacheDir, registry })),
            { concurrency: 3 }
          )
        )
        yield* Effect.sleep("600 millis") // they have joined by then, and the transfer is in its middle
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
        yield* Fiber.join(others)
        assert.strictEqual(server.requests.length, requests)
        Processes.expectCached(cacheDir, "x", files)
        Processes.expectTidy(cacheDir)
      })
    )
  }

  it.scopedLive("the last caller's interruption stops the transfer and cleans up, and the next one starts anew", () =>
    Effect.gen(function* () {
      const { cacheDir, files, registry, server } = yield* setUp(2 * megabyte, slow)
      const callers = yield* Effect.fork(
        Effect.all(
          [1, 2, 3].map(() => ensureBy({ cacheDir, registry })),
          { concurrency: 3 }
        )
      )
      yield* server.until(() => server.bytesSent() > 100_000)
      yield* Fiber.interrupt(callers)
      Processes.expectTidy(cacheDir)
      yield* server.until(() => server.requests.every(({ finished }) => finished))
      assert.isBelow(server.bytesSent(), 2 * megabyte)
      assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
      yield* ensureBy({ cacheDir, registry })
      Processes.expectCached(cacheDir, "x", files)
    })
  )

  it.scopedLive("two images with the same files share their downloads, and each has its own copies", () =>
    Effect.gen(function* () {
      const { cacheDir, files, gets, registry } = yield* setUp(megabyte, quick)
      const { x } = registry
      const images = { x: x ?? assert.fail(), y: x ?? assert.fail() }
      yield* Effect.all([ensureBy({ cacheDir, registry: images }), ensureBy({ cacheDir, registry: images }, "y")], {
        concurrency: 2
      })
      assert.deepStrictEqual(gets(), once)
      const inodes = ["x", "y"].flatMap((name) => {
        Processes.expectCached(cacheDir, name, files)
        return ["vmlinux.bin", "rootfs.ext4"].map((file) => {
          const { ino, nlink } = fs.statSync(join(cacheDir, name, file))
          assert.strictEqual(nlink, 1)
          return ino
        })
      })
      assert.strictEqual(new Set(inodes).size, 4)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("two files of one image with the same content are two files", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const bytes = Processes.someBytes(300_000)
      const cacheDir = yield* Processes.temporaryDirectory
      const registry = Processes.serve(server, "x", { kernel: bytes, rootfs: bytes })
      yield* ensureBy({ cacheDir, registry })
      Processes.expectCached(cacheDir, "x", { kernel: bytes, rootfs: bytes })
      assert.strictEqual(server.requests.length, 1)
    })
  )

  it.scopedLive("a copy nearby that was damaged is not copied, and not blamed for what then goes wrong", () =>
    Effect.gen(function* () {
      const { cacheDir, files, registry, server } = yield* setUp(400_000)
      const images = { x: registry["x"] ?? assert.fail(), y: registry["x"] ?? assert.fail() }
      yield* ensureBy({ cacheDir, registry: images })
      fs.appendFileSync(join(cacheDir, "x", "rootfs.ext4"), "written by a guest")
      yield* ensureBy({ cacheDir, registry: images }, "y")
      Processes.expectCached(cacheDir, "y", files)
      assert.deepStrictEqual(server.requests.map(({ path }) => path).filter((path) => path === "/x/rootfs").length, 2)
      fs.appendFileSync(join(cacheDir, "y", "rootfs.ext4"), "written by a guest")
      Processes.serve(server, "x", files, Fault.Status({ status: 404 }))
      const error = yield* Effect.flip(ensureBy({ cacheDir, registry: images }))
      assert.strictEqual(error._tag === "ImageError" ? error.reason : "", "DownloadFailed")
    })
  )
})

const startRace = (count: number, task: Processes.Task) =>
  Effect.replicateEffect(Processes.start(program, { ...task, startAt: Date.now() + 400 + count * 200 }), count)

/** All at once: they wait for each other to have started. */
const raceOf = (count: number, task: Processes.Task) =>
  Effect.gen(function* () {
    const children = yield* startRace(count, task)
    yield* Effect.forEach(children, ({ exit }) => exit, { concurrency: "unbounded" })
    return children
  })

const isWaiting = saysLog(/^waiting for process \d+ on \S+, which fetches image "x" since \d{4}-/)

describe.concurrent("across processes", () => {
  it.scopedLive(`${many} processes that start at once make one request for each file, and all have the image`, () =>
    Effect.gen(function* () {
      const { cacheDir, files, gets, task } = yield* setUp(megabyte, slow)
      const children = yield* raceOf(many, task)
      children.forEach(Processes.expectImage)
      assert.deepStrictEqual(gets(), once)
      // All but one waited, unless the machine was too busy to start them in time, and said for whom.
      const waited = children.filter(({ lines }) => lines.some(isWaiting))
      assert.isAtLeast(waited.length, many / 2)
      const pids = new Set(children.map(({ pid }) => pid))
      for (const { lines } of waited) {
        const told = lines.flatMap((line) =>
          line._tag === "Event" && line.event._tag === "Waiting" ? [line.event] : []
        )
        const complete = told.some(
          ({ hostname, pid, since }) => pids.has(pid ?? 0) && hostname !== undefined && since !== undefined
        )
        assert.isTrue(complete)
      }
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  const races = [
    { withoutLock: false, states: isCampaign ? ["new", "damaged", "outdated"] : ["damaged"] },
    { withoutLock: true, states: isCampaign ? ["new", "damaged", "outdated"] : ["new", "outdated"] }
  ]
  for (const { states, withoutLock } of races) {
    const lock = withoutLock ? "with a lock that does nothing" : "with the lock"

    it.scopedLive(
      `${lock}, all who race for an image have it (${states.join(", ")})`,
      () =>
        Effect.gen(function* () {
          for (const state of states) {
            const { cacheDir, files, gets, task } = yield* setUp(megabyte, quick)
            if (state !== "new") {
              fs.mkdirSync(join(cacheDir, "x"), { recursive: true })
              fs.writeFileSync(join(cacheDir, "x", "vmlinux.bin"), state === "damaged" ? files.kernel : "outdated")
              fs.writeFileSync(join(cacheDir, "x", "rootfs.ext4"), files.rootfs.subarray(1))
            }
            const children = yield* raceOf(isCampaign ? 8 : 3, { ...task, withoutLock })
            children.forEach(Processes.expectImage)
            const needed = state === "damaged" ? 1 : 2
            if (withoutLock) assert.isAtLeast(gets().length, needed)
            else assert.strictEqual(gets().length, needed)
            Processes.expectCached(cacheDir, "x", files)
            Processes.expectTidy(cacheDir)
          }
        }),
      180_000
    )

    it.scopedLive(
      `${lock}, one that is killed and one that is frozen for a while do the others no harm`,
      () =>
        Effect.gen(function* () {
          const { cacheDir, files, server, task } = yield* setUp(2 * megabyte, slow)
          const [dies, freezes, ...others] = yield* startRace(4, { ...task, withoutLock })
          yield* server.until(() => server.bytesSent() > 5 * 64 * 1024)
          dies?.kill("SIGKILL")
          freezes?.kill("SIGSTOP")
          yield* Effect.forEach(others, ({ exit }) => exit, { concurrency: "unbounded" })
          others.forEach(Processes.expectImage)
          Processes.expectCached(cacheDir, "x", files)
          freezes?.kill("SIGCONT")
          if (freezes !== undefined) {
            yield* freezes.exit
            Processes.expectImage(freezes)
          }
          Processes.expectCached(cacheDir, "x", files)
          // Whoever fetches next clears up after the dead.
          fs.rmSync(join(cacheDir, "x", "vmlinux.bin"))
          Processes.expectImage(yield* Processes.run(program, { ...task, withoutLock }))
          Processes.expectCached(cacheDir, "x", files)
          assert.deepStrictEqual(Processes.stagingOf(cacheDir), [])
        }),
      90_000
    )
  }

  const killed = (elsewhere: boolean) =>
    Effect.gen(function* () {
      const { cacheDir, files, server, task } = yield* setUp(8 * megabyte, stuck)
      const holder = yield* Processes.start(program, { ...task, elsewhere })
      yield* server.until(() => server.bytesSent("/x/rootfs") === 5 * megabyte)
      const waiters = yield* Effect.replicateEffect(Processes.start(program, { ...task, elsewhere }), 3)
      yield* Effect.forEach(waiters, ({ said }) => said(isWaiting))
      const before = server.requests.length
      const killedAt = Date.now()
      holder.kill("SIGKILL")
      yield* server.until(() => server.requests.length > before)
      const waited = Date.now() - killedAt
      yield* Effect.forEach(waiters, ({ exit }) => exit)
      waiters.forEach(Processes.expectImage)
      Processes.expectCached(cacheDir, "x", files)
      return { waited, server, cacheDir }
    })

  it.scopedLive("when the holder is killed the wait is over at once, and its partial files are gone on with", () =>
    Effect.gen(function* () {
      const { cacheDir, server, waited } = yield* killed(false)
      assert.isBelow(waited, 3000)
      const [, second] = server.requestsOf("/x/rootfs")
      assert.match(second?.headers["range"] ?? "", /^bytes=[1-9]\d*-$/)
      assert.strictEqual(server.requests.length, 4)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive(
    "when the holder is killed where nobody can ask after it, its silence ends the wait within ten seconds",
    () =>
      Effect.gen(function* () {
        const { waited } = yield* killed(true)
        assert.isAbove(waited, 4000) // it did have to be waited for
        assert.isBelow(waited, 10_000)
      })
  )

  it.scopedLive(
    "when the holder is frozen a waiter goes on; thawed, the holder ends well too",
    () =>
      Effect.gen(function* () {
        const { cacheDir, files, server, task } = yield* setUp(2 * megabyte, slow)
        const holder = yield* Processes.start(program, task)
        yield* server.until(() => server.bytesSent("/x/rootfs") > 2 * 64 * 1024)
        holder.kill("SIGSTOP")
        const frozen = Processes.stagingOf(cacheDir)
        const waiter = yield* Processes.start(program, task)
        yield* waiter.exit
        Processes.expectImage(waiter)
        assert.isTrue(waiter.lines.some(saysLog(/gives no sign of life; taking over/)))
        Processes.expectCached(cacheDir, "x", files)
        assert.deepStrictEqual(Processes.stagingOf(cacheDir), frozen, "the frozen process's files are left alone")
        holder.kill("SIGCONT")
        yield* holder.exit
        Processes.expectImage(holder)
        Processes.expectCached(cacheDir, "x", files)
        Processes.expectTidy(cacheDir)
      }),
    60_000
  )

  it.scopedLive("who has no patience left goes on alone", () =>
    Effect.gen(function* () {
      const { cacheDir, files, gets, server, task } = yield* setUp(2 * megabyte, slow)
      const holder = yield* Processes.start(program, task)
      yield* server.until(() => server.bytesSent("/x/rootfs") > 0)
      const hurried = yield* Processes.run(program, { ...task, settings: { lockPatience: "1 second" } })
      Processes.expectImage(hurried)
      assert.isTrue(hurried.lines.some(saysLog(/^waited 1s for image "x"; going on alone/)))
      Processes.expectCached(cacheDir, "x", files)
      assert.isFalse(holder.lines.some(Processes.isLine("Image")), "the holder is still at it")
      yield* holder.exit
      Processes.expectImage(holder)
      assert.strictEqual(gets().length, 4)
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("a lock of a dead process that may not be taken away is no reason to wait", () =>
    Effect.gen(function* () {
      const reason = Processes.reasonAgainst.otherUsers()
      if (reason !== undefined) return yield* Effect.logWarning(reason)
      const { cacheDir, files, task } = yield* setUp(100_000)
      const locks = join(cacheDir, ".smolvm-images", "locks")
      fs.mkdirSync(locks, { recursive: true })
      for (const directory of [cacheDir, join(cacheDir, ".smolvm-images"), locks]) fs.chmodSync(directory, 0o1777)
      fs.writeFileSync(join(locks, "x.lock"), "of another user, in a sticky directory")
      const child = yield* Processes.run(program, task, { uid: 12345 })
      Processes.expectImage(child)
      Processes.expectCached(cacheDir, "x", files)
    })
  )
})

import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Hasher, type ImageError } from "../../src/index.js"
import * as Delegate from "../../src/internal/delegate.js"
import * as Staging from "../../src/internal/staging.js"
import * as Files from "../../src/node/files.js"
import { NodeHasher } from "../../src/node/index.js"
import * as Threads from "../../src/node/threads.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const mebibyte = 1024 * 1024
/** So much is hashed on a thread, when it is told. */
const large = 64 * mebibyte

const layer = Layer.mergeAll(NodeHasher.layer, Files.layer, Threads.layer)

/** A file that will be large, so it is said. */
const stage = (path: string) =>
  Effect.tap(Staging.make({ image: "x", asset: "rootfs" }, path, undefined), (staged) =>
    Effect.sync(() => staged.expect(large))
  )

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** A digest on a thread, and a file. */
const opened = Effect.fnUntraced(function* (path: string, flag: "r" | "wx") {
  const fs = yield* FileSystem.FileSystem
  const { start } = yield* Hasher.Hasher
  const digest = yield* start({ size: large, busy: true })
  const file = yield* fs.open(path, { flag })
  return { digest, file, delegate: Delegate.between(digest, file) ?? assert.fail("it could do nothing by itself") }
})

describe("a thread that takes what arrives by itself", () => {
  it.effect.prop(
    "hashes and writes every byte, however they arrive, and after a new beginning too",
    [
      FastCheck.array(
        FastCheck.record({ length: FastCheck.nat({ max: 3 * mebibyte }), offset: FastCheck.nat({ max: 9 }) }),
        { maxLength: 10 }
      ),
      FastCheck.nat({ max: 10 })
    ],
    ([chunks, restartAt]) =>
      Effect.gen(function* () {
        const path = join(yield* Processes.temporaryDirectory, "file")
        const staged = yield* stage(path)
        let expected: Array<Uint8Array> = []
        for (const [index, { length, offset }] of chunks.entries()) {
          if (index === restartAt) {
            yield* staged.restart
            staged.expect(large)
            expected = []
          }
          const memory = Processes.someBytes(length + offset)
          expected.push(Uint8Array.from(memory.subarray(offset))) // slice() of a Buffer is no copy
          yield* staged.append(memory.subarray(offset))
          memory.fill(0xff) // it is ours again
        }
        const whole = Buffer.concat(expected)
        assert.strictEqual(staged.position(), whole.length)
        assert.strictEqual<string>(yield* staged.digest, sha256(whole))
        yield* staged.sync
        assert.isTrue(whole.equals(readFileSync(path)))
      }).pipe(Effect.scoped, Effect.provide(layer)),
    { fastCheck: { numRuns: 20 } }
  )

  it.scoped("there is one for a digest on a thread and a file of the disk, and none for what is swapped", () =>
    Effect.gen(function* () {
      const { digest, file } = yield* opened(join(yield* Processes.temporaryDirectory, "file"), "wx")
      assert.isUndefined(Delegate.between({ ...digest }, file))
      assert.isUndefined(Delegate.between(digest, { ...file }))
    }).pipe(Effect.provide(layer))
  )

  it.effect("one that is interrupted lets go of the file, and the thread is there for others", () =>
    Effect.gen(function* () {
      const path = join(yield* Processes.temporaryDirectory, "file")
      const bytes = Processes.someBytes(5 * mebibyte)
      for (let round = 0; round < 5; round++) {
        yield* Effect.scoped(Effect.flatMap(stage(path), ({ append }) => append(bytes.subarray(round))))
        assert.deepStrictEqual(openFiles(path), [])
        yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.remove(path))
      }
      const { running } = yield* Threads.Threads
      assert.deepStrictEqual(
        running().map(({ digests }) => digests.size),
        [0]
      )
      const staged = yield* stage(path)
      yield* staged.append(bytes)
      assert.strictEqual<string>(yield* staged.digest, sha256(bytes))
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it("a full disk is an error, of a file that is as it was written so far", async (context) => {
    const reason = Processes.reasonAgainst.mounting()
    if (reason !== undefined) return context.skip(reason)
    await Effect.runPromise(fullDisk.pipe(Effect.scoped, Effect.provide(layer)))
  })
})

describe("a process that is killed while a thread writes", () => {
  it.scopedLive("leaves a beginning of the file, with which the next one goes on", () =>
    Effect.gen(function* () {
      const directory = yield* Processes.temporaryDirectory
      const program = Processes.bundle(directory)
      const server = yield* FaultServer.make
      const cacheDir = join(directory, "cache")
      const files = { kernel: Processes.someBytes(1000), rootfs: Processes.someBytes(large) }
      const task = { cacheDir, images: ["x"], registry: Processes.serve(server, "x", files) }
      for (const part of [0.1, 0.3, 0.5, 0.8]) {
        const sent = server.bytesSent("/x/rootfs")
        const child = yield* Processes.start(program, task)
        yield* server.until(() => server.bytesSent("/x/rootfs") - sent > part * large * 0.3)
        child.kill("SIGKILL")
        yield* child.exit
      }
      Processes.expectImage(yield* Processes.run(program, task))
      const ranges = server.requestsOf("/x/rootfs").flatMap(({ headers }) => headers["range"] ?? [])
      const starts = ranges.map((range) => Number(/^bytes=(\d+)-/.exec(range)?.[1]))
      assert.isAbove(starts.length, 0)
      assert.deepStrictEqual(
        starts,
        [...starts].sort((a, b) => a - b)
      )
      Processes.expectCached(cacheDir, "x", files)
      Processes.expectTidy(cacheDir)
    })
  )
})

it.scoped("a digest that begins while the last thread of a closed Layer ends gets another one", () =>
  Effect.gen(function* () {
    const closing = yield* Scope.make()
    const { start } = Context.get(yield* Layer.buildWithScope(NodeHasher.layer, closing), Hasher.Hasher)
    const first = yield* Scope.make()
    yield* Scope.extend(start({ size: large, busy: true }), first)
    yield* Scope.close(closing, Exit.void)
    const ending = yield* Effect.fork(Scope.close(first, Exit.void))
    yield* Effect.yieldNow()
    const digest = yield* start({ size: large, busy: true })
    yield* Fiber.join(ending)
    yield* digest.update(new TextEncoder().encode("bytes"))
    assert.strictEqual<string>(yield* digest.finish, sha256(new TextEncoder().encode("bytes")))
  })
)

it.scopedLive("a digest that begins while a Layer ends its threads one after the other gets one of its own", () =>
  Effect.gen(function* () {
    const closing = yield* Scope.make()
    const { start } = Context.get(yield* Layer.buildWithScope(NodeHasher.layer, closing), Hasher.Hasher)
    const one = Effect.scoped(
      Effect.delay(
        Effect.flatMap(start({ size: large, busy: true }), ({ finish }) => finish),
        0
      )
    )
    yield* Effect.scoped(Effect.all([start({ size: large, busy: true }), start({ size: large, busy: true })]))
    const ending = yield* Effect.fork(Scope.close(closing, Exit.void))
    yield* Effect.yieldNow()
    yield* one
    yield* Fiber.join(ending)
  })
)

describe("a process whose last thread ends", () => {
  it("lives until it has", () => {
    const program = `
      import * as Effect from "effect/Effect"
      import { Hasher } from ${JSON.stringify(join(root, "src/index.ts"))}
      import { NodeHasher } from ${JSON.stringify(join(root, "src/node/index.ts"))}
      const digest = Effect.flatMap(Hasher.Hasher, ({ start }) => start({ size: ${large}, busy: true }))
      const once = Effect.flatMap(digest, ({ finish }) => finish).pipe(Effect.scoped, Effect.provide(NodeHasher.layer))
      for (let round = 0; round < 10; round++) await Effect.runPromise(once)`
    const args = ["--import", "tsx", "--input-type=module", "--eval", program]
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" })
    assert.deepStrictEqual([status, stderr], [0, ""]) // 13: the event loop had nothing left to wait for
  })
})

describe("a thread that reads by itself", () => {
  it.scoped("hashes a file from its position to its end, and leaves the position there", () =>
    Effect.gen(function* () {
      const path = join(yield* Processes.temporaryDirectory, "file")
      const bytes = Processes.someBytes(3 * mebibyte + 5)
      writeFileSync(path, bytes)
      const { delegate, digest, file } = yield* opened(path, "r")
      const head = yield* file.readAlloc(FileSystem.Size(1000))
      assert.isTrue(Option.isSome(head))
      assert.strictEqual(yield* delegate.read, bytes.length - 1000)
      assert.strictEqual(yield* file.read(new Uint8Array(1)), FileSystem.Size(0))
      assert.strictEqual<string>(yield* digest.finish, sha256(bytes.subarray(1000)))
    }).pipe(Effect.provide(layer))
  )

  it.scoped("what it cannot read is left to the caller, who gets the error", () =>
    Effect.gen(function* () {
      const { delegate, file } = yield* opened(yield* Processes.temporaryDirectory, "r")
      assert.strictEqual(yield* delegate.read, 0)
      assert.include(String(yield* Effect.flip(file.read(new Uint8Array(1)))), "EISDIR")
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is interrupted in the middle of a file, and the thread is there for others", () =>
    Effect.gen(function* () {
      const path = join(yield* Processes.temporaryDirectory, "file")
      writeFileSync(path, "")
      truncateSync(path, 1024 ** 4) // takes ten minutes
      const { delegate, digest } = yield* opened(path, "r")
      const reading = yield* Effect.fork(delegate.read)
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(reading)
      yield* digest.finish
    }).pipe(Effect.provide(layer))
  )
})

/** Descriptors of this process by which the file is open. */
const openFiles = (path: string): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === path
    } catch {
      return false // it was closed meanwhile
    }
  })

const fullDisk: Effect.Effect<void, ImageError.ImageError, FileSystem.FileSystem | Hasher.Hasher | Scope.Scope> =
  Effect.gen(function* () {
    const disk = yield* Processes.temporaryDirectory
    const capacity = 8 * mebibyte
    yield* Processes.mount(["-t", "tmpfs", "-o", `size=${capacity}`, "none"], disk)
    const path = join(disk, "file")
    const staged = yield* stage(path)
    const bytes = Processes.someBytes(20 * mebibyte)
    const written = Effect.zipRight(staged.append(bytes), staged.digest)
    const error = yield* Effect.flip(Effect.zipRight(written, Effect.dieMessage("it fitted")))
    assert.strictEqual(error.reason, "NoSpace")
    const content = readFileSync(path)
    assert.strictEqual(content.length, capacity)
    assert.isTrue(content.equals(bytes.subarray(0, capacity)))
  })

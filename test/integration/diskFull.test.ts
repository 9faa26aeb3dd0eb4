import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { type ImageError, ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { quietly } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const { Fault } = FaultServer
const megabyte = 1024 * 1024
const capacity = 8 * megabyte

const small = { kernel: Processes.someBytes(50_000), rootfs: Processes.someBytes(300_000) }

/** A disk of 8 MiB with the image `small` on it. */
const setUp = Effect.gen(function* () {
  const disk = yield* Processes.temporaryDirectory
  yield* Processes.mount(["-t", "tmpfs", "-o", `size=${capacity}`, "none"], disk)
  const server = yield* FaultServer.make
  const cacheDir = join(disk, "cache")
  const ensure = (name: string, registry: NodeImageManager.Options["registry"]) =>
    ImageManager.ensureImage(name).pipe(
      Effect.provide(NodeImageManager.layer({ cacheDir, registry })),
      quietly,
      Effect.either
    )
  const registry = Processes.serve(server, "small", small)
  const cached = yield* ensure("small", registry)
  assert.isTrue(Either.isRight(cached))
  /** Nothing is left behind, and the old image still works. */
  const unharmed = Effect.gen(function* () {
    Processes.expectTidy(cacheDir)
    const requests = server.requests.length
    assert.isTrue(Either.isRight(yield* ensure("small", registry)))
    assert.strictEqual(server.requests.length, requests)
    Processes.expectCached(cacheDir, "small", small)
  })
  return { cacheDir, disk, ensure, server, unharmed }
})

const expectNoSpace = (result: Either.Either<unknown, ImageError.ImageError | ImageError.ValueError>) => {
  const error = Either.isLeft(result) ? result.left : assert.fail("it fitted")
  if (error._tag !== "ImageError") return assert.fail(String(error))
  assert.strictEqual(error.reason, "NoSpace")
  const { bytesAvailable, bytesNeeded } = error
  if (bytesNeeded === undefined || bytesAvailable === undefined) return assert.fail(`no numbers: ${String(error)}`)
  assert.isAbove(bytesNeeded, bytesAvailable)
  return { bytesAvailable, bytesNeeded }
}

/** Not `it.scopedLive`: a skip from inside an Effect loses its reason. */
const onSmallDisk = (name: string, test: Effect.Effect<void, never, Scope.Scope>) =>
  it(name, async (context) => {
    const reason = Processes.reasonAgainst.mounting()
    if (reason !== undefined) return context.skip(reason)
    await Effect.runPromise(Effect.scoped(test))
  })

const tooBig = () => ({ kernel: Processes.someBytes(1000), rootfs: Processes.someBytes(20 * megabyte) })

describe("a full disk", () => {
  onSmallDisk(
    "is noticed before the body of a file whose length is announced",
    Effect.gen(function* () {
      const { cacheDir, ensure, server, unharmed } = yield* setUp
      const files = tooBig()
      const result = yield* ensure("x", Processes.serve(server, "x", files))
      const { bytesAvailable, bytesNeeded } = expectNoSpace(result)
      assert.strictEqual(bytesNeeded, files.rootfs.length)
      assert.isBelow(bytesAvailable, capacity)
      assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
      assert.strictEqual(server.requestsOf("/x/rootfs").length, 1)
      yield* unharmed
    })
  )

  onSmallDisk(
    "in the middle of a file of unknown length is told with the bytes it is about",
    Effect.gen(function* () {
      const { cacheDir, ensure, server, unharmed } = yield* setUp
      const result = yield* ensure("x", Processes.serve(server, "x", tooBig(), Fault.Chunked({})))
      const { bytesAvailable } = expectNoSpace(result)
      assert.isAbove(bytesAvailable, capacity / 2) // what the partial file took is free again
      assert.isBelow(bytesAvailable, capacity)
      assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
      yield* unharmed
    })
  )

  onSmallDisk(
    "counts the downloads that are under way together",
    Effect.gen(function* () {
      const { ensure, server, unharmed } = yield* setUp
      const half = () => ({ kernel: Processes.someBytes(1000), rootfs: Processes.someBytes(5 * megabyte) })
      const slow = Fault.Trickle({ bytes: 256 * 1024, ms: 20 })
      const registry = { ...Processes.serve(server, "x", half(), slow), ...Processes.serve(server, "y", half(), slow) }
      const results = yield* Effect.all([ensure("x", registry), ensure("y", registry)], { concurrency: 2 })
      const failed = results.filter(Either.isLeft)
      assert.strictEqual(failed.length, 1)
      failed.map(expectNoSpace)
      // Not by running into it: the other's bytes were claimed, if not yet written.
      assert.isBelow(Math.min(server.bytesSent("/x/rootfs"), server.bytesSent("/y/rootfs")), 4 * megabyte)
      yield* unharmed
    })
  )

  onSmallDisk(
    "without room for anything at all is an error like any other",
    Effect.gen(function* () {
      const { cacheDir, disk, ensure, server, unharmed } = yield* setUp
      const filler = join(disk, "filler")
      const fd = fs.openSync(filler, "w")
      assert.throws(() => {
        for (;;) fs.writeSync(fd, Buffer.alloc(4096))
      }, /ENOSPC/)
      fs.closeSync(fd)
      const result = yield* ensure("x", Processes.serve(server, "x", small))
      expectNoSpace(result)
      Processes.expectTidy(cacheDir)
      fs.rmSync(filler)
      yield* unharmed
      assert.isTrue(Either.isRight(yield* ensure("x", Processes.serve(server, "x", small))))
    })
  )
})

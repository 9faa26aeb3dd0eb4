import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as Files from "../../src/node/files.js"
import * as Threads from "../../src/node/threads.js"
import { fileSystemContract } from "../unit/fileSystemContract.js"

const onDisk = (name: string, layer: Layer.Layer<FileSystem.FileSystem>) =>
  fileSystemContract(name, {
    layer,
    scratch: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" }))
    }),
    permissions: process.getuid?.() !== 0
  })

// the reference: what the suite asks of the in-memory disk is what a real one does
onDisk("Node", NodeFileSystem.layer)

/** As while a large file is hashed. */
const threadRuns = Layer.effectDiscard(Effect.map(Threads.Threads, ({ pick }) => pick()))
const withThread = Layer.merge(Files.layer, threadRuns).pipe(Layer.provideMerge(Threads.layer))

onDisk("Node, large writes on a thread", withThread)

describe("large writes", () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(1024 * 1024)).fill(1)

  it.scoped("are made on a thread that runs", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { running } = yield* Threads.Threads
      const file = yield* fs.open(yield* fs.makeTempFileScoped(), { flag: "w" })
      const writing = yield* Effect.fork(file.writeAll(bytes))
      yield* Effect.yieldNow()
      assert.strictEqual(running()?.load, 1)
      yield* Fiber.join(writing)
      assert.strictEqual(running()?.load, 0)
      assert.strictEqual((yield* file.stat).size, 1024n * 1024n)
    }).pipe(Effect.provide(withThread))
  )

  it.scoped.skipIf(process.platform !== "linux")("fail on a thread as they do without one", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.open("/dev/full", { flag: "r+" })
      const error = yield* Effect.flip(file.writeAll(bytes))
      assert.include(String(error.cause), "ENOSPC")
    }).pipe(Effect.provide(withThread))
  )

  it.scoped("start no thread", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { running } = yield* Threads.Threads
      const file = yield* fs.open(yield* fs.makeTempFileScoped(), { flag: "w" })
      yield* file.writeAll(bytes)
      assert.isUndefined(running())
    }).pipe(Effect.provide(Layer.provideMerge(Files.layer, Threads.layer)))
  )
})

import * as fs from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { MemoryFileSystem } from "../../src/testing/index.js"
import { quietly } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const length = { kernel: 200_000, rootfs: 2_000_000 }
const someImage = () => ({ kernel: Processes.someBytes(length.kernel), rootfs: Processes.someBytes(length.rootfs) })

/** A cache that holds `before`, and a registry that says `after` for the same name. */
const setUp = Effect.gen(function* () {
  const server = yield* FaultServer.make
  const cacheDir = join(yield* Processes.temporaryDirectory, "cache")
  const before = someImage()
  const after = someImage()
  fs.mkdirSync(join(cacheDir, "x"), { recursive: true })
  fs.writeFileSync(join(cacheDir, "x", "vmlinux.bin"), before.kernel)
  fs.writeFileSync(join(cacheDir, "x", "rootfs.ext4"), before.rootfs)
  return { server, cacheDir, before, after, registry: Processes.serve(server, "x", after) }
})

describe("an image whose digests changed", () => {
  it.scopedLive("is replaced without a moment in which readers find it missing, partial or mixed", () =>
    Effect.gen(function* () {
      const { after, before, cacheDir, registry, server } = yield* setUp
      const program = Processes.bundle(yield* Processes.temporaryDirectory)
      // Back and forth, by one process after the other; the readers below look at it all the time.
      const back = { x: Processes.serve(server, "before", before)["before"] ?? assert.fail() }
      let looks = 0
      let updating = true
      const look = Effect.gen(function* () {
        while (updating) {
          const found = Processes.look(cacheDir, "x")
          for (const role of ["kernel", "rootfs"] as const) {
            assert.oneOf(found[role], [Processes.sha256(before[role]), Processes.sha256(after[role])])
          }
          looks++
          yield* Effect.sleep("5 millis")
        }
      })
      const update = Effect.gen(function* () {
        for (const [images, expected] of [
          [registry, after],
          [back, before]
        ] as const) {
          // Each of them ensures it in a loop, and reads what it was given.
          const task = { cacheDir, registry: images, images: ["x"], rounds: 8, startAt: Date.now() + 700 }
          const readers = yield* Effect.replicateEffect(Processes.start(program, task), 2)
          yield* Effect.forEach(readers, ({ exit }) => exit)
          for (const reader of readers) {
            Processes.expectImage(reader)
            const seen = reader.lines.flatMap((line) => (line._tag === "Image" ? [line] : []))
            assert.strictEqual(seen.length, 8)
            for (const { kernel, rootfs } of seen) {
              assert.strictEqual(kernel, Processes.sha256(expected.kernel))
              assert.strictEqual(rootfs, Processes.sha256(expected.rootfs))
            }
          }
        }
        updating = false
      })
      yield* Effect.all([look, update], { concurrency: 2 })
      assert.isAbove(looks, 20)
      Processes.expectTidy(cacheDir)
    })
  )

  it.scopedLive("keeps its old bytes for a reader who has it open", () =>
    Effect.gen(function* () {
      const { after, before, cacheDir, registry } = yield* setUp
      const open = fs.openSync(join(cacheDir, "x", "rootfs.ext4"), "r")
      yield* quietly(ImageManager.ensureImage("x").pipe(Effect.provide(NodeImageManager.layer({ cacheDir, registry }))))
      Processes.expectCached(cacheDir, "x", after)
      assert.strictEqual(Processes.sha256(fs.readFileSync(open)), Processes.sha256(before.rootfs))
      fs.closeSync(open)
    })
  )

  const failing = (codes: Partial<Record<MemoryFileSystem.Operation["method"], MemoryFileSystem.ErrorCode>>) =>
    MemoryFileSystem.layerFaulty(NodeFileSystem.layer, ({ method, path, to }) => {
      const code = codes[method]
      const last = method !== "rename" || (to?.endsWith("/rootfs.ext4") === true && !path.endsWith(".before"))
      return code !== undefined && last ? Effect.fail(code) : Effect.void
    })

  const rolledBack = (codes: Parameters<typeof failing>[0]) =>
    Effect.gen(function* () {
      const { before, cacheDir, registry } = yield* setUp
      const error = yield* ImageManager.ensureImage("x").pipe(
        Effect.provide(Processes.layerOn(failing(codes), { cacheDir, registry })),
        quietly,
        Effect.flip
      )
      assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, "StorageFailed")
      Processes.expectCached(cacheDir, "x", before)
      Processes.expectTidy(cacheDir)
    })

  it.scopedLive("is put back when its second file cannot be moved into place", () => rolledBack({ rename: "EIO" }))

  it.scopedLive("is put back on a file system without hard links, too", () =>
    rolledBack({ rename: "EIO", link: "EPERM" })
  )

  it.scopedLive("of which nothing was there is gone again when its second file cannot be moved into place", () =>
    Effect.gen(function* () {
      const { cacheDir, registry } = yield* setUp
      fs.rmSync(join(cacheDir, "x"), { recursive: true })
      yield* ImageManager.ensureImage("x").pipe(
        Effect.provide(Processes.layerOn(failing({ rename: "EIO" }), { cacheDir, registry })),
        quietly,
        Effect.flip
      )
      assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
    })
  )
})

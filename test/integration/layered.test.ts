import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ImageError, ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { quietly } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const files = { kernel: Processes.someBytes(50_000), rootfs: Processes.someBytes(300_000) }

const fill = (cacheDir: string, { kernel, rootfs }: Partial<Processes.Served>) => {
  fs.mkdirSync(join(cacheDir, "x"), { recursive: true })
  if (kernel !== undefined) fs.writeFileSync(join(cacheDir, "x", "vmlinux.bin"), kernel)
  if (rootfs !== undefined) fs.writeFileSync(join(cacheDir, "x", "rootfs.ext4"), rootfs)
}

const setUp = Effect.gen(function* () {
  const server = yield* FaultServer.make
  const directory = yield* Processes.temporaryDirectory
  const registry = Processes.serve(server, "x", files)
  const own = join(directory, "own")
  const ensure = (options: NodeImageManager.Options) =>
    ImageManager.ensureImage("x").pipe(
      Effect.provide(NodeImageManager.layer({ cacheDir: own, registry, ...options })),
      quietly
    )
  return { server, directory, own, registry, ensure }
})

describe("a read-only cache", () => {
  const onReadOnlyDisk = (name: string, cached: Partial<Processes.Served>, test: Test) =>
    it(name, async (context) => {
      const reason = Processes.reasonAgainst.mounting()
      if (reason !== undefined) return context.skip(reason)
      await Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const disk = yield* Processes.temporaryDirectory
            yield* Processes.mount(["-t", "tmpfs", "none"], disk)
            fill(disk, cached)
            yield* Processes.mount(["-o", "remount,ro"], disk)
            assert.throws(() => fs.writeFileSync(join(disk, "probe"), ""), /EROFS/)
            yield* test(disk, yield* setUp)
          })
        )
      )
    })

  type Test = (
    disk: string,
    world: Effect.Effect.Success<typeof setUp>
  ) => Effect.Effect<void, ImageError.ImageError | ImageError.ValueError, Scope.Scope>

  onReadOnlyDisk("gives hits", files, (cacheDir, { ensure, server }) =>
    Effect.gen(function* () {
      const before = Processes.snapshot(cacheDir)
      const image = yield* ensure({ cacheDir })
      assert.strictEqual(image.rootfsPath, join(cacheDir, "x", "rootfs.ext4"))
      yield* ensure({ cacheDir, verification: "stat" })
      assert.strictEqual(server.requests.length, 0)
      assert.deepStrictEqual(Processes.snapshot(cacheDir), before)
    })
  )

  onReadOnlyDisk("fails on a miss, before anything is downloaded", { kernel: files.kernel }, (cacheDir, world) =>
    Effect.gen(function* () {
      const error = yield* world.ensure({ cacheDir }).pipe(Effect.flip, Effect.orDie)
      assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, "StorageFailed")
      assert.match(error.message, /read-only/)
      assert.strictEqual(world.server.requests.length, 0)
    })
  )
})

describe("lower caches", () => {
  it.scopedLive("are searched first to last for an image that is intact, and never written", () =>
    Effect.gen(function* () {
      const { directory, ensure, own, registry, server } = yield* setUp
      const [corrupt, half, good, unused] = ["corrupt", "half", "good", "unused"].map((name) => join(directory, name))
      if (corrupt === undefined || half === undefined || good === undefined || unused === undefined)
        return assert.fail()
      fill(corrupt, { ...files, rootfs: files.rootfs.map((byte, index) => (index === 1000 ? byte ^ 1 : byte)) })
      fill(half, { kernel: files.kernel })
      fill(good, files)
      fill(unused, files)
      fill(own, { rootfs: files.rootfs }) // a half here and a half there are not an image
      const lowerCacheDirs = [join(directory, "missing"), corrupt, half, good, unused]
      const before = Processes.snapshot(directory)
      for (const verification of ["always", "stat"] as const) {
        const image = yield* ensure({ lowerCacheDirs, verification })
        assert.strictEqual(image.kernelPath, join(good, "x", "vmlinux.bin"))
        assert.strictEqual(image.rootfsPath, join(good, "x", "rootfs.ext4"))
      }
      assert.strictEqual(server.requests.length, 0)
      const isCached = (dirs: ReadonlyArray<string>) =>
        Effect.provide(
          ImageManager.isCached("x"),
          NodeImageManager.layer({ cacheDir: own, registry, lowerCacheDirs: dirs })
        )
      assert.isTrue(yield* isCached(lowerCacheDirs))
      assert.isFalse(yield* isCached([half]))
      assert.deepStrictEqual(Processes.snapshot(directory), before)
    })
  )

  it.scopedLive("come after the cache's own, and what none of them has is fetched to the cache's own", () =>
    Effect.gen(function* () {
      const { directory, ensure, own, server } = yield* setUp
      const half = join(directory, "half")
      fill(half, { kernel: files.kernel })
      const before = Processes.snapshot(half)
      const image = yield* ensure({ lowerCacheDirs: [half] })
      assert.strictEqual(image.kernelPath, join(own, "x", "vmlinux.bin"))
      assert.strictEqual(server.requests.length, 2)
      Processes.expectCached(own, "x", files)
      assert.deepStrictEqual(Processes.snapshot(half), before)

      const full = join(directory, "full")
      fill(full, files)
      assert.deepStrictEqual(yield* ensure({ lowerCacheDirs: [full] }), image)
    })
  )

  it.scopedLive("that cannot be read are passed over", () =>
    Effect.gen(function* () {
      const { directory, ensure, own } = yield* setUp
      const strange = join(directory, "strange")
      fs.mkdirSync(join(strange, "x", "vmlinux.bin"), { recursive: true })
      fs.mkdirSync(join(strange, "x", "rootfs.ext4"))
      const file = join(directory, "file")
      fs.writeFileSync(file, "not a directory")
      const image = yield* ensure({ lowerCacheDirs: [strange, file] })
      assert.strictEqual(image.kernelPath, join(own, "x", "vmlinux.bin"))
    })
  )
})

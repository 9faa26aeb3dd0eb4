import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { Hasher, ImageManager, Registry } from "../../src/index.js"
import { NodeHasher, NodeHost } from "../../src/node/index.js"
import { StubHttpClient } from "../../src/testing/index.js"
import { quietly } from "../support/ensure.js"

const sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
const initrd = "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7" // of "world"

/** A cache with one image whose files are an hour old, and a count of the hashes made. */
const setUp = (verification: ImageManager.Verification, host: Layer.Layer<never> = NodeHost.layer) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "smolvm-stat-"))),
      (created) => Effect.sync(() => fs.rmSync(created, { recursive: true }))
    )
    const at = (name: string) => path.join(directory, "x", name)
    fs.mkdirSync(at("."))
    fs.writeFileSync(at("vmlinux.bin"), "hello")
    fs.writeFileSync(at("rootfs.ext4"), "world")
    const hashes = yield* Ref.make(0)
    const counting = Layer.effect(
      Hasher.Hasher,
      Effect.map(Hasher.Hasher, ({ start }) =>
        Hasher.Hasher.of({
          start: (size) =>
            Effect.zipRight(
              Ref.update(hashes, (count) => count + 1),
              start(size)
            )
        })
      )
    ).pipe(Layer.provide(NodeHasher.layer))
    const layer = ImageManager.layer({ cacheDir: directory, verification }).pipe(
      Layer.provide([
        Registry.layer({
          x: {
            kernel: { url: "http://127.0.0.1/k", sha256 },
            rootfs: { url: "http://127.0.0.1/r", sha256: initrd }
          }
        }),
        counting,
        host,
        NodeFileSystem.layer,
        NodePath.layer,
        StubHttpClient.layer({ "http://127.0.0.1/k": { body: "hello" }, "http://127.0.0.1/r": { body: "world" } })
      ])
    )
    /** How many files one call hashes. */
    const hashed = Effect.gen(function* () {
      yield* Ref.set(hashes, 0)
      yield* quietly(Effect.provide(ImageManager.ensureImage("x"), layer))
      return yield* Ref.get(hashes)
    })
    return { at, directory, hashed, record: path.join(directory, ".smolvm-images", "records", "x", "vmlinux.bin.json") }
  })

/** Long enough for a change to be safely in the past, by the clock of the file system. */
const settle = Effect.sleep("2100 millis")

describe("verification by stat", { concurrent: true }, () => {
  it.scopedLive("hashes a settled file once, and then no more", () =>
    Effect.gen(function* () {
      const { hashed } = yield* setUp("stat")
      yield* settle
      assert.strictEqual(yield* hashed, 2)
      assert.strictEqual(yield* hashed, 0)
      assert.strictEqual(yield* hashed, 0)
    })
  )

  it.scopedLive("does not trust a file that changed just before it was hashed", () =>
    Effect.gen(function* () {
      const { hashed } = yield* setUp("stat")
      assert.strictEqual(yield* hashed, 2)
      assert.strictEqual(yield* hashed, 2)
    })
  )

  it.scopedLive("hashes every time, and keeps no record, by default", () =>
    Effect.gen(function* () {
      const { directory, hashed } = yield* setUp("always")
      yield* settle
      assert.strictEqual(yield* hashed, 2)
      assert.strictEqual(yield* hashed, 2)
      assert.isFalse(fs.existsSync(path.join(directory, ".smolvm-images")))
    })
  )

  it.scopedLive("notices every kind of change", () =>
    Effect.gen(function* () {
      const { at, hashed, record } = yield* setUp("stat")
      const file = at("vmlinux.bin")
      yield* settle
      assert.strictEqual(yield* hashed, 2)
      const times = fs.statSync(file)

      // A same-size edit with restored times: only the change time tells.
      fs.writeFileSync(file, "jello")
      fs.utimesSync(file, times.atime, times.mtime)
      assert.isAbove(yield* hashed, 1) // hashed, found bad, fetched again
      assert.strictEqual(fs.readFileSync(file, "utf8"), "hello")
      yield* settle
      yield* hashed
      assert.strictEqual(yield* hashed, 0)

      // Another file of the same content and times in its place: the inode tells.
      const { mtime } = fs.statSync(file)
      fs.copyFileSync(file, `${file}.copy`)
      fs.utimesSync(`${file}.copy`, mtime, mtime)
      fs.renameSync(`${file}.copy`, file)
      yield* settle
      assert.strictEqual(yield* hashed, 1)
      assert.strictEqual(yield* hashed, 0)

      // A damaged record, a missing record, a record of each field changed.
      const good = fs.readFileSync(record, "utf8")
      for (const bad of ["", "{", "[]", "null", good.replace(/"version":1/, '"version":2'), undefined]) {
        if (bad === undefined) fs.rmSync(record)
        else fs.writeFileSync(record, bad)
        assert.strictEqual(yield* hashed, 1, String(bad))
        assert.strictEqual(yield* hashed, 0, String(bad))
      }
      for (const field of ["size", "mtime", "ctime", "ino", "dev"]) {
        fs.writeFileSync(record, good.replace(new RegExp(`"${field}":"`), `"${field}":"1`))
        assert.strictEqual(yield* hashed, 1, field)
        assert.strictEqual(yield* hashed, 0, field)
      }
      fs.writeFileSync(record, good.replace(sha256, initrd))
      assert.strictEqual(yield* hashed, 1, "a record of another digest")
    })
  )

  it.scopedLive("acts as always on a host that cannot tell stamps", () =>
    Effect.gen(function* () {
      const { hashed } = yield* setUp("stat", Layer.empty)
      yield* settle
      assert.strictEqual(yield* hashed, 2)
      assert.strictEqual(yield* hashed, 2)
    })
  )
})

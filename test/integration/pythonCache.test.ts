// A cache that the Python implementation filled: its layout, and the 0600 modes that its temporary files leave behind.
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { ImageManager, type Registry } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import * as FaultServer from "../support/FaultServer.js"

const fixture = fileURLToPath(new URL("../fixtures/python-cache", import.meta.url))

const digests = {
  "vmlinux.bin": "c68580477dd8f682a82aa07835b12adbcf9ccaab2741bdaaf3f428952338cf2e",
  "rootfs.ext4": "490c67832dd7c48176f1aeaafc0c7a2f605758f06db5d265850c9764bb7af7e1",
  "initrd.img": "e2ce0f7910c47d94973b7dfa863c9aac87b684552bc73bc3559abece9df2044b"
} as const

const files = ["vmlinux.bin", "rootfs.ext4", "initrd.img"] as const

/** The fixture as the tool leaves it, in a fresh directory; git keeps no modes. */
const makeCache = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const cacheDir = yield* Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" }), fs.realPath)
  yield* fs.makeDirectory(`${cacheDir}/hello`)
  for (const file of files) {
    yield* fs.copyFile(`${fixture}/hello/${file}`, `${cacheDir}/hello/${file}`)
    yield* fs.chmod(`${cacheDir}/hello/${file}`, 0o600)
    yield* fs.utimes(`${cacheDir}/hello/${file}`, 1_600_000_000, 1_600_000_000)
  }
  return cacheDir
})

/** All there is below a directory: content, mode and time of each file. */
const look = Effect.fnUntraced(function* (directory: string) {
  const fs = yield* FileSystem.FileSystem
  const entries = yield* fs.readDirectory(directory, { recursive: true })
  return yield* Effect.forEach(entries.sort(), (entry) =>
    Effect.gen(function* () {
      const { mode, mtime, type } = yield* fs.stat(`${directory}/${entry}`)
      const content = type === "File" ? Buffer.from(yield* fs.readFile(`${directory}/${entry}`)).toString("base64") : ""
      return [entry, type, (mode & 0o777).toString(8), Option.getOrUndefined(mtime)?.getTime(), content].join(" ")
    })
  )
})

const kinds = {
  pinned: (server: FaultServer.FaultServer): Registry.Images => ({
    hello: {
      kernel: { url: server.url("/kernel"), sha256: digests["vmlinux.bin"] },
      rootfs: { url: server.url("/rootfs"), sha256: digests["rootfs.ext4"], size: 5000 },
      initrd: { url: server.url("/initrd"), sha256: digests["initrd.img"].toUpperCase() }
    }
  }),
  unpinned: (server: FaultServer.FaultServer): Registry.Images => ({
    hello: {
      kernel: { url: server.url("/kernel") },
      rootfs: { url: server.url("/rootfs") },
      initrd: { url: server.url("/initrd") }
    }
  })
}

describe("a cache that the Python tool filled", () => {
  for (const [kind, registryOf] of Object.entries(kinds)) {
    it.scopedLive(`is a hit (${kind}): byte for byte, without a request, and nothing of it is touched`, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const cacheDir = yield* makeCache
        const before = yield* look(cacheDir)
        assert.strictEqual(before.filter((entry) => entry.includes("File 600 1600000000000")).length, files.length)

        const warnings: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel.label === "WARN") warnings.push([message].flat().join(" "))
        })
        const manager = NodeImageManager.layer({ cacheDir, registry: registryOf(server) })
        const image = yield* Effect.gen(function* () {
          assert.isTrue(yield* ImageManager.isCached("hello"))
          const first = yield* ImageManager.ensureImage("hello")
          assert.deepStrictEqual(yield* ImageManager.ensureImage("hello"), first)
          return first
        }).pipe(Effect.provide(manager), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))

        assert.deepStrictEqual(Object.values({ ...image }), [
          "hello",
          ...files.map((file) => `${cacheDir}/hello/${file}`)
        ])
        assert.deepStrictEqual(server.requests, [])
        const after = yield* look(cacheDir)
        const ours = (entry: string) => entry.startsWith(".smolvm-images")
        assert.deepStrictEqual(
          after.filter((entry) => !ours(entry)),
          before
        )
        if (kind === "pinned") {
          assert.deepStrictEqual([after.filter(ours), warnings], [[], []])
        } else {
          // Trusted as they are, each with one warning, the first time; and remembered.
          assert.strictEqual(warnings.length, files.length, warnings.join("\n"))
          assert.strictEqual(after.filter((entry) => ours(entry) && entry.includes(" File ")).length, files.length)
        }
      }).pipe(Effect.provide(NodeFileSystem.layer))
    )
  }

  it.scopedLive("is the layout that this tool leaves as well", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const server = yield* FaultServer.make
      for (const [path, file] of [
        ["/kernel", "vmlinux.bin"],
        ["/rootfs", "rootfs.ext4"],
        ["/initrd", "initrd.img"]
      ] as const) {
        server.serve(path, yield* fs.readFile(`${fixture}/hello/${file}`))
      }
      const cacheDir = `${yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" })}/images`
      const manager = NodeImageManager.layer({ cacheDir, registry: kinds.pinned(server) })
      yield* Effect.provide(ImageManager.ensureImage("hello"), manager)
      const visible = (yield* fs.readDirectory(cacheDir)).filter((entry) => !entry.startsWith("."))
      assert.deepStrictEqual(visible, ["hello"])
      assert.deepStrictEqual((yield* fs.readDirectory(`${cacheDir}/hello`)).sort(), [...files].sort())
      for (const file of files) {
        const [ours, theirs] = yield* Effect.all([
          fs.readFile(`${cacheDir}/hello/${file}`),
          fs.readFile(`${fixture}/hello/${file}`)
        ])
        assert.isTrue(Buffer.from(ours).equals(theirs), file)
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})

import { createHash, randomUUID } from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import * as BootImage from "../support/bootImage.js"
import * as FaultServer from "../support/FaultServer.js"

const bootLimit = "120 seconds"
/** Includes the download of Debian's kernel package, once per machine. */
const testLimit = 420_000

const bootAndReadBack = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const line = `smolvm-images booted ${randomUUID()}`
  const files = yield* BootImage.make(line)

  const server = yield* FaultServer.make
  const serve = (file: string) =>
    Effect.map(fs.readFile(file), (bytes) => ({
      url: server.serve(`/${path.basename(file)}`, bytes),
      sha256: createHash("sha256").update(bytes).digest("hex")
    }))
  const registry = {
    debian: {
      kernel: yield* serve(files.kernel),
      rootfs: yield* serve(files.rootfs),
      initrd: yield* serve(files.initrd)
    }
  }
  const cacheDir = yield* fs.makeTempDirectoryScoped()
  const ensure = ImageManager.ensureImage("debian").pipe(Effect.provide(NodeImageManager.layer({ cacheDir, registry })))

  const image = yield* ensure
  assert.deepStrictEqual(
    [image.kernelPath, image.rootfsPath, image.initrdPath],
    ["vmlinux.bin", "rootfs.ext4", "initrd.img"].map((name) => path.join(cacheDir, "debian", name))
  )
  assert.include(yield* BootImage.boot(image, bootLimit), line)

  // The guest had the very files of the cache, and left them as they were.
  const requests = server.requests.length
  assert.deepStrictEqual(yield* ensure, image)
  assert.strictEqual(server.requests.length, requests)
})

describe("booting what was ensured", () => {
  // Not `it.scopedLive`: a skip from inside an Effect loses its reason.
  it(
    "a Linux kernel, initrd and root file system, ensured over HTTP, boot to the init of that root file system",
    async (context) => {
      const unavailable = await Effect.runPromise(
        bootAndReadBack.pipe(
          Effect.as(undefined),
          Effect.catchTag("Unavailable", ({ reason }) => Effect.succeed(reason)),
          Effect.scoped,
          Effect.provide(NodeContext.layer)
        ),
        { signal: context.signal }
      )
      if (unavailable !== undefined) context.skip(unavailable)
    },
    testLimit
  )
})

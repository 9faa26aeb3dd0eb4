/** One image on a fault server, ensured through the real layers, and what is left on the disk afterwards. */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import { type ImageError, ImageManager, type LocalImage } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import type * as FaultServer from "./FaultServer.js"

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Options under which giving up takes no time; what a busy machine could take for a fault is left generous. */
export const impatient = {
  retry: Schedule.spaced("5 millis").pipe(Schedule.intersect(Schedule.recurs(3))),
  maxRestarts: 2,
  maxRetryAfter: "1500 millis",
  responseTimeout: "10 seconds",
  stallWindow: "10 seconds",
  stallBytes: 1000
} satisfies NodeImageManager.Options

/** A fresh directory, gone with the Scope. */
export const temporaryDirectory = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped()).pipe(
  Effect.orDie,
  Effect.provide(NodeFileSystem.layer)
)

export const quietly = Effect.provide(Logger.remove(Logger.defaultLogger))

const fileSystem = Effect.provide(FileSystem.FileSystem, NodeFileSystem.layer)

/** The names in the staging area: none, unless a download is under way. */
export const stagingOf = (cacheDir: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.flatMap(fileSystem, (fs) =>
    Effect.orElseSucceed(fs.readDirectory(join(cacheDir, ".smolvm-images", "staging")), () => [])
  )

export const readFile = (path: string): Effect.Effect<Uint8Array> =>
  Effect.flatMap(fileSystem, (fs) => Effect.orDie(fs.readFile(path)))

export const writeFile = (path: string, bytes: Uint8Array): Effect.Effect<void> =>
  Effect.flatMap(fileSystem, (fs) =>
    Effect.zipRight(fs.makeDirectory(join(path, ".."), { recursive: true }), fs.writeFile(path, bytes))
  ).pipe(Effect.orDie)

/** A registry with image `x` on a fault server: a kernel that is always served well, and a rootfs that meets the faults. */
export const imageOn = (
  server: FaultServer.FaultServer,
  kernel: Uint8Array,
  rootfs: Uint8Array,
  ...faults: ReadonlyArray<FaultServer.Fault | FaultServer.Script>
) => ({
  x: {
    kernel: { url: server.serve("/kernel", kernel), sha256: sha256(kernel) },
    rootfs: { url: server.serve("/rootfs", rootfs, ...faults), sha256: sha256(rootfs) }
  }
})

const localKernel = Buffer.from("a kernel")

/** A registry with image `x`: a kernel on the disk, for the rootfs is what matters. */
export const imageWith = Effect.fnUntraced(function* <Rootfs>(rootfs: Rootfs) {
  const path = join(yield* temporaryDirectory, "kernel")
  yield* writeFile(path, localKernel)
  return { x: { kernel: { url: pathToFileURL(path).href, sha256: sha256(localKernel) }, rootfs } }
})

/** Ensure image `x` with these options, and see that no temporary file is left, however it ends. */
export const ensure = (
  options: NodeImageManager.Options & { readonly cacheDir: string }
): Effect.Effect<Either.Either<LocalImage.LocalImage, ImageError.ImageError>> =>
  Effect.gen(function* () {
    const result = yield* ImageManager.ensureImage("x").pipe(
      Effect.provide(NodeImageManager.layer({ ...impatient, ...options })),
      Effect.catchTag("ValueError", Effect.die),
      Effect.either,
      quietly
    )
    assert.deepStrictEqual(yield* stagingOf(options.cacheDir), [])
    return result
  })

/** An image of which only the rootfs is of interest. */
export const imageOf = (kernelUrl: string, kernel: Uint8Array, rootfs: object) => ({
  x: { kernel: { url: kernelUrl, sha256: sha256(kernel) }, rootfs }
})

export const expectFailure = (result: Either.Either<unknown, ImageError.ImageError>): ImageError.ImageError =>
  Either.match(result, {
    onLeft: (error) => error,
    onRight: () => assert.fail("a failure was expected")
  })

export const expectImage = (
  result: Either.Either<LocalImage.LocalImage, ImageError.ImageError>
): LocalImage.LocalImage =>
  Either.match(result, {
    onLeft: (error) => assert.fail(`an image was expected, not: ${error.message}`),
    onRight: (image) => image
  })

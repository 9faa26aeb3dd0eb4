/** An `ImageManager` on memory alone, for tests that look at one thing each. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Hasher, Host, ImageManager, Registry } from "../../src/index.js"
import { StubHasher, StubHttpClient } from "../../src/testing/index.js"

export const digestOf = StubHasher.digestOf

export interface World {
  readonly fs: FileSystem.FileSystem
  readonly registry: Registry.Images | Registry.Registry["Type"]
  readonly routes: StubHttpClient.Routes
  readonly options?: Partial<ImageManager.Options>
  readonly host?: Partial<Host.Host["Type"]>
  /** Before a file is hashed. */
  readonly hashing?: Effect.Effect<void>
}

const isRegistry = (registry: World["registry"]): registry is Registry.Registry["Type"] =>
  typeof registry["get"] === "function"

const layerHasher = (before: Effect.Effect<void>) =>
  Layer.effect(
    Hasher.Hasher,
    Effect.map(Hasher.Hasher, ({ start }) => ({ start: (options) => Effect.zipRight(before, start(options)) }))
  ).pipe(Layer.provide(StubHasher.layer()))

export const layerOf = ({ fs, hashing = Effect.void, host, options, registry, routes }: World) =>
  ImageManager.layer({ cacheDir: "/cache", retry: Schedule.recurs(0), ...options }).pipe(
    Layer.provide([
      isRegistry(registry) ? Layer.succeed(Registry.Registry, registry) : Registry.layer(registry),
      Layer.succeed(FileSystem.FileSystem, fs),
      Path.layer,
      layerHasher(hashing),
      StubHttpClient.layer(routes),
      Layer.succeed(Host.Host, { ...Host.neutral, ...host })
    ])
  )

/** By a manager of its own. */
export const ensure = (world: World, name = "image") =>
  Effect.either(Effect.provide(ImageManager.ensureImage(name), layerOf(world)))

/** Served from http://host/<name>. */
export const serve = (contents: Readonly<Record<string, string>>): StubHttpClient.Routes =>
  Object.fromEntries(Object.entries(contents).map(([name, text]) => [`http://host/${name}`, StubHttpClient.file(text)]))

export const pinned = (name: string, text: string) => ({ url: `http://host/${name}`, sha256: digestOf(text) })
export const unpinned = (name: string) => ({ url: `http://host/${name}` })

export const assertMessage = (result: Either.Either<unknown, Error>, pattern: RegExp) =>
  Either.isLeft(result) ? assert.match(result.left.message, pattern) : assert.fail("it should have failed")

export const kernelPath = "/cache/image/vmlinux.bin"
export const rootfsPath = "/cache/image/rootfs.ext4"

/** One pinned image and its server. */
export const onePinned = {
  registry: { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "rootfs") } },
  routes: serve({ kernel: "kernel", rootfs: "rootfs" })
}

import { join } from "node:path"
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ImageManager, Registry } from "../../src/index.js"
import { resolve } from "../../src/internal/options.js"
import { NodeHasher, NodeImageManager } from "../../src/node/index.js"
import { temporaryDirectory, writeFile } from "../support/ensure.js"

const withEnv = (variables: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const read = (variables: Readonly<Record<string, string>>) => withEnv(variables)(NodeImageManager.config)

const using = <A, E, E2>(
  effect: Effect.Effect<A, E, ImageManager.ImageManager>,
  layer: Layer.Layer<ImageManager.ImageManager, E2>
) => Effect.provide(effect, layer)

describe("NodeImageManager.config", () => {
  it.effect("reads the three variables", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read({}), {})
      assert.deepStrictEqual(
        yield* read({ SMOLVM_IMAGE_DIR: "/var/images", SMOLVM_REGISTRY: "/a.json:/b.json", SMOLVM_OFFLINE: "Yes" }),
        { cacheDir: "/var/images", registryFiles: ["/a.json", "/b.json"], offline: true }
      )
      assert.deepStrictEqual(yield* read({ SMOLVM_OFFLINE: "0" }), { offline: false })
    })
  )

  it.effect("a blank variable counts as unset", () =>
    Effect.map(read({ SMOLVM_IMAGE_DIR: " ", SMOLVM_REGISTRY: "", SMOLVM_OFFLINE: "\t" }), (settings) =>
      assert.deepStrictEqual(settings, {})
    )
  )

  it.effect("a word that means neither yes nor no is a ConfigError that names the variable", () =>
    Effect.map(Effect.flip(read({ SMOLVM_OFFLINE: "perhaps" })), (error) => {
      assert.strictEqual(ConfigError.isConfigError(error), true)
      assert.match(String(error), /SMOLVM_OFFLINE/)
    })
  )
})

describe("NodeImageManager.layerConfig", () => {
  it.scoped("works where and on what the environment says", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryDirectory
      const asset = { url: "https://example.com/x" }
      const registry = join(folder, "images.json")
      yield* writeFile(registry, Buffer.from(JSON.stringify({ images: { mine: { kernel: asset, rootfs: asset } } })))
      const variables = { SMOLVM_IMAGE_DIR: folder, SMOLVM_REGISTRY: registry, SMOLVM_OFFLINE: "1" }
      const names = yield* withEnv(variables)(using(ImageManager.listAvailable, NodeImageManager.layerConfig()))
      assert.deepStrictEqual(names, ["hello", "mine", "quickstart-x86_64"])
      const error = yield* withEnv(variables)(
        Effect.flip(using(ImageManager.ensureImage("hello"), NodeImageManager.layerConfig()))
      )
      assert.strictEqual(error._tag === "ImageError" ? error.reason : error._tag, "Offline")
    })
  )

  it.effect("takes settings of other names, and fails with a ConfigError where one is missing", () =>
    Effect.gen(function* () {
      const layer = NodeImageManager.layerConfig({ cacheDir: Config.string("IMAGES") })
      const error = yield* Effect.flip(withEnv({})(using(ImageManager.listAvailable, layer)))
      assert.strictEqual(ConfigError.isConfigError(error), true)
      assert.lengthOf(yield* withEnv({ IMAGES: "/x" })(using(ImageManager.listAvailable, layer)), 2)
    })
  )

  it.effect("a registry file that is not there is an ImageError", () =>
    Effect.map(
      Effect.flip(
        withEnv({ SMOLVM_REGISTRY: "/nowhere/images.json" })(using(Effect.void, NodeImageManager.layerConfig()))
      ),
      (error) => assert.strictEqual(error._tag === "ImageError" ? error.path : error._tag, "/nowhere/images.json")
    )
  )
})

describe("ImageManager.layerConfig", () => {
  it.scoped("takes each option from a Config, or all of them from one", () =>
    Effect.gen(function* () {
      const services = Layer.mergeAll(
        Registry.layerBuiltIn,
        NodeHasher.layer,
        NodeFileSystem.layer,
        NodePath.layer,
        Layer.succeed(
          HttpClient.HttpClient,
          HttpClient.make(() => Effect.die("no request is expected"))
        )
      )
      const layer = ImageManager.layerConfig({
        cacheDir: Config.string("DIR"),
        offline: Config.withDefault(Config.boolean("OFFLINE"), false)
      })
      const miss = Effect.flip(using(ImageManager.ensureImage("hello"), Layer.provide(layer, services)))
      const error = yield* withEnv({ DIR: yield* temporaryDirectory, OFFLINE: "true" })(miss)
      assert.strictEqual("reason" in error ? error.reason : error._tag, "Offline")
      const blank = yield* withEnv({ DIR: " " })(miss)
      assert.strictEqual("field" in blank ? blank.field : blank._tag, "cacheDir")
      assert.strictEqual(ConfigError.isConfigError(yield* withEnv({})(miss)), true)
    })
  )
})

it.effect("what is left out of the options is what their documentation says", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* resolve({ cacheDir: "/cache" }), {
      cacheDir: "/cache",
      lowerCacheDirs: [],
      lockPatience: "30 minutes",
      offline: false,
      verification: "always",
      retry: ImageManager.retrySchedule,
      connections: 4,
      maxRestarts: 5,
      maxRetryAfter: "2 minutes",
      responseTimeout: "30 seconds",
      stallWindow: "30 seconds",
      stallBytes: 16_384,
      maxSize: 68_719_476_736
    })
  })
)

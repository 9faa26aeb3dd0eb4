/**
 * The `ImageManager` of Node.js, in one layer.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ImageError, ValueError } from "../ImageError.js"
import * as ImageManager from "../ImageManager.js"
import * as Registry from "../Registry.js"
import * as Environment from "./environment.js"
import * as Files from "./files.js"
import * as NodeHasher from "./NodeHasher.js"
import * as NodeHost from "./NodeHost.js"
import * as NodeHttpClient from "./NodeHttpClient.js"
import { layerRegistry } from "./registryFiles.js"

/**
 * The reference's constructor arguments, and everything else an `ImageManager` can be told.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends ImageManager.Settings, NodeHttpClient.Options {
  /** The cache directory. Default: {@link defaultCacheDir}. */
  readonly cacheDir?: string | undefined
  /** The images to know instead of the built-in ones. */
  readonly registry?: Registry.Images | undefined
}

/**
 * `~/.smolvm/images`, the cache directory that the reference implementation uses too.
 *
 * @since 0.1.0
 * @category options
 */
export const defaultCacheDir: () => string = Environment.defaultCacheDir

/**
 * An `ImageManager` on the real disk and network. Fails with a `ValueError` when the registry or an option is bad.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = ({ registry, ...options }: Options = {}): Layer.Layer<ImageManager.ImageManager, ValueError> =>
  Layer.provide(
    layerWithoutRegistry(options),
    registry === undefined ? Registry.layerBuiltIn : Registry.layer(registry)
  )

/**
 * The same on a registry of your own making, such as a JSON file over the built-in images.
 *
 * @example
 * ```ts
 * import { NodeFileSystem } from "@effect/platform-node"
 * import * as Layer from "effect/Layer"
 * import { Registry } from "smolvm-images"
 * import { NodeImageManager } from "smolvm-images/node"
 *
 * const Images = NodeImageManager.layerWithoutRegistry().pipe(
 *   Layer.provide(Registry.layerFile("/etc/images.json").pipe(Registry.overlay(Registry.layerBuiltIn))),
 *   Layer.provide(NodeFileSystem.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithoutRegistry = (
  options: Omit<Options, "registry"> = {}
): Layer.Layer<ImageManager.ImageManager, ValueError, Registry.Registry> =>
  Layer.suspend(() => {
    const { cacheDir = defaultCacheDir(), connectTimeout, extraCaCertificates, ...settings } = options
    return Layer.provide(ImageManager.layer({ ...settings, cacheDir }), [
      NodeHasher.layer,
      NodeHost.layer,
      Files.layer,
      NodePath.layer,
      NodeHttpClient.layer({ connectTimeout, extraCaCertificates })
    ])
  })

/**
 * Options as an application's configuration has them: the images come from files.
 *
 * @since 0.1.0
 * @category config
 */
export interface ConfigOptions extends Omit<Options, "registry"> {
  /** JSON files of images (see `Registry.layerFile`), laid over the built-in ones; the last one wins. */
  readonly registryFiles?: ReadonlyArray<string> | undefined
}

/**
 * The variables that the command line reads as well: `SMOLVM_IMAGE_DIR` (the cache directory), `SMOLVM_REGISTRY` (registry
 * files, joined as in `PATH`) and `SMOLVM_OFFLINE` (`1`, `true`, `yes`, `on` or their opposites). A blank one counts as
 * unset.
 *
 * @since 0.1.0
 * @category config
 */
export const config: Config.Config<Pick<ConfigOptions, "cacheDir" | "registryFiles" | "offline">> = Environment.config

/**
 * {@link layer} from Effect's `Config`, by default from {@link config}. Fails with a `ConfigError` when a setting cannot be
 * read, with an `ImageError` when a registry file cannot be.
 *
 * @example
 * ```ts
 * import * as Config from "effect/Config"
 * import { NodeImageManager } from "smolvm-images/node"
 *
 * const FromEnvironment = NodeImageManager.layerConfig()
 *
 * const WithMore = NodeImageManager.layerConfig(
 *   Config.map(NodeImageManager.config, (settings) => ({ ...settings, verification: "stat" as const }))
 * )
 *
 * const OwnNames = NodeImageManager.layerConfig({ cacheDir: Config.string("IMAGES"), offline: Config.boolean("AIRGAPPED") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<ConfigOptions> = config
): Layer.Layer<ImageManager.ImageManager, ConfigError | ImageError | ValueError> =>
  Layer.unwrapEffect(
    Effect.map(Config.unwrap(options), ({ registryFiles = [], ...settings }) =>
      layerWithoutRegistry(settings).pipe(
        Layer.provide(layerRegistry(registryFiles)),
        Layer.provide(NodeFileSystem.layer)
      )
    )
  )

/**
 * The `ImageManager` of Node.js, in one layer.
 *
 * @since 0.1.0
 */
import { homedir } from "node:os"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Layer from "effect/Layer"
import type { ValueError } from "../ImageError.js"
import * as ImageManager from "../ImageManager.js"
import * as Registry from "../Registry.js"
import * as NodeHasher from "./NodeHasher.js"
import * as NodeHost from "./NodeHost.js"
import * as NodeHttpClient from "./NodeHttpClient.js"

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
export const defaultCacheDir = (): string => join(homedir(), ".smolvm", "images")

/**
 * An `ImageManager` on the real disk and network. Fails with a `ValueError` when the registry or an option is bad.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ImageManager.ImageManager, ValueError> =>
  Layer.suspend(() => {
    const { cacheDir = defaultCacheDir(), registry, ...settings } = options
    return ImageManager.layer({ ...settings, cacheDir }).pipe(
      Layer.provide([
        registry === undefined ? Registry.layerBuiltIn : Registry.layer(registry),
        NodeHasher.layer,
        NodeHost.layer,
        NodeFileSystem.layer,
        NodePath.layer,
        NodeHttpClient.layer(options)
      ])
    )
  })

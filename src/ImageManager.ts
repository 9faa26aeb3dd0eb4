/**
 * Named VM images on disk: looked up, downloaded, verified, cached.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Hasher } from "./Hasher.js"
import type { ImageError, ValueError } from "./ImageError.js"
import type { ImageStatus } from "./ImageStatus.js"
import * as Manager from "./internal/manager.js"
import { defaultRetry } from "./internal/transfer.js"
import type { LocalImage } from "./LocalImage.js"
import type { Event } from "./Progress.js"
import type { Registry } from "./Registry.js"

/**
 * Provides images by name: {@link listAvailable}, {@link isCached}, {@link ensureImage}.
 *
 * @since 0.1.0
 * @category tags
 */
export class ImageManager extends Context.Tag("smolvm-images/ImageManager")<
  ImageManager,
  {
    /** See {@link listAvailable}. */
    readonly listAvailable: Effect.Effect<ReadonlyArray<string>>
    /** See {@link isCached}. */
    readonly isCached: (name: string) => Effect.Effect<boolean, ValueError>
    /** See {@link ensureImage}. */
    readonly ensureImage: (name: string) => Effect.Effect<LocalImage, ImageError | ValueError>
    /** See {@link verifyImage}. */
    readonly verifyImage: (name: string) => Effect.Effect<ImageStatus, ImageError | ValueError>
    /** See {@link removeImage}. */
    readonly removeImage: (name: string) => Effect.Effect<void, ImageError | ValueError>
    /** See {@link events}. */
    readonly events: Stream.Stream<Event>
  }
>() {}

/**
 * How an `ImageManager` works. Only `cacheDir` is required; the others have defaults that fit images of megabytes to
 * gigabytes over the open internet.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Settings {
  /** The cache directory; it is created when the first image is fetched. A relative path is resolved once. */
  readonly cacheDir: string
}

/**
 * How a cached file is verified: `"always"` reads and hashes it on every call; `"stat"` trusts a record of its last full
 * verification while size, times, inode and device are those of the record, and hashes otherwise.
 *
 * @since 0.1.0
 * @category options
 */
export type Verification = "always" | "stat"

/**
 * Every option but the cache directory, so that a layer may have a default for that.
 *
 * @since 0.1.0
 * @category options
 */
export interface Settings extends TransferSettings {
  /** Default: `"always"`. `"stat"` needs a `Host` that can tell file stamps, such as `NodeHost.layer`. */
  readonly verification?: Verification | undefined
  /**
   * Further cache directories, such as a system-wide one. They are searched in this order, after `cacheDir`, for an image
   * that passes verification before anything is downloaded, and are never written. One image never mixes directories.
   */
  readonly lowerCacheDirs?: ReadonlyArray<string> | undefined
  /**
   * How long to wait for another process that is fetching the same image before going on alone. A process that died is
   * not waited for. Default: 30 minutes.
   */
  readonly lockPatience?: Duration.DurationInput | undefined
}

/**
 * How files are brought: how long, how often and over how many connections.
 *
 * @since 0.1.0
 * @category options
 */
export interface TransferSettings {
  /**
   * The pauses between attempts that get no further. It starts anew whenever a transfer has got further, so it bounds a
   * stretch without progress, never a transfer that moves. Default: {@link retrySchedule}.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * The most connections for one asset. A large file is divided only when its server sends ranges and one connection turns
   * out to be the limit; 1 never divides. Of files that are divided, at most six parts come from one host at a time,
   * however many files there are; of others each has its one connection. Default: 4.
   */
  readonly connections?: number | undefined
  /** How often one asset may begin again from zero, when its server cannot resume. Default: 5. */
  readonly maxRestarts?: number | undefined
  /** The longest `Retry-After` that is honoured; a longer one is a failure that says so. Default: 2 minutes. */
  readonly maxRetryAfter?: Duration.DurationInput | undefined
  /** The time from a request to the head of its response. Default: 30 seconds. */
  readonly responseTimeout?: Duration.DurationInput | undefined
  /** A transfer that brings less than `stallBytes` in this time has stalled and is tried again. Default: 30 seconds. */
  readonly stallWindow?: Duration.DurationInput | undefined
  /** See `stallWindow`. Default: 16384 bytes. */
  readonly stallBytes?: number | undefined
  /** The most bytes an asset without a pinned `size` may have. Default: 64 GiB. */
  readonly maxSize?: number | undefined
  /** Make no request at all: a hit works, a miss fails with reason `Offline`; `file:` URLs are still read. Default: false. */
  readonly offline?: boolean | undefined
}

/**
 * The default of the `retry` option: pauses of 0.5, 1, 2, 4 and 8 seconds, each 20 % more or less by chance, at most ten
 * minutes in all.
 *
 * @since 0.1.0
 * @category options
 */
export const retrySchedule: Schedule.Schedule<unknown> = defaultRetry

/**
 * The logic behind {@link layer}. Fails with a `ValueError` when an option is impossible.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<
  ImageManager["Type"],
  ValueError,
  Registry | Hasher | FileSystem.FileSystem | Path.Path | HttpClient.HttpClient
> = Manager.make

/**
 * An `ImageManager` on the given services.
 *
 * Also add `NodeHost.layer` on Node.js, or use `NodeImageManager.layer`, which does all of this.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<
  ImageManager,
  ValueError,
  Registry | Hasher | FileSystem.FileSystem | Path.Path | HttpClient.HttpClient
> => Layer.effect(ImageManager, make(options))

/**
 * {@link layer} with options from Effect's `Config`. Fails with a `ConfigError` when one cannot be read.
 *
 * @example
 * ```ts
 * import * as Config from "effect/Config"
 * import { ImageManager } from "smolvm-images"
 *
 * const Images = ImageManager.layerConfig({
 *   cacheDir: Config.string("IMAGE_DIR"),
 *   offline: Config.withDefault(Config.boolean("OFFLINE"), false)
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<
  ImageManager,
  ConfigError | ValueError,
  Registry | Hasher | FileSystem.FileSystem | Path.Path | HttpClient.HttpClient
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))

/**
 * The names of all images in the registry, sorted.
 *
 * @since 0.1.0
 * @category operations
 */
export const listAvailable: Effect.Effect<ReadonlyArray<string>, never, ImageManager> = Effect.flatMap(
  ImageManager,
  (manager) => manager.listAvailable
)

/**
 * Whether all files of an image are in the cache. It looks at names only: it never hashes and never writes, so an image
 * that is cached may still turn out to be corrupt. `false` for an unknown image, and, with a logged warning, for one that
 * cannot be looked at. Fails with a `ValueError` when `name` cannot be an image name.
 *
 * @since 0.1.0
 * @category operations
 */
export const isCached = (name: string): Effect.Effect<boolean, ValueError, ImageManager> =>
  Effect.flatMap(ImageManager, (manager) => manager.isCached(name))

/**
 * Make sure that an image is on disk and intact, and say where. What is cached is verified against its SHA-256; what is
 * missing or fails verification is downloaded, verified and put into place, all files of the image or none.
 *
 * Fails with a `ValueError` when `name` cannot be an image name, with an `ImageError` when the registry does not have it,
 * no source delivers it, what arrives is not it, or the cache cannot hold it.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { ImageManager } from "smolvm-images"
 * import { NodeImageManager } from "smolvm-images/node"
 *
 * const image = await Effect.runPromise(
 *   ImageManager.ensureImage("hello").pipe(Effect.provide(NodeImageManager.layer()))
 * )
 * image.kernelPath // ~/.smolvm/images/hello/vmlinux.bin
 * ```
 *
 * @since 0.1.0
 * @category operations
 */
export const ensureImage = (name: string): Effect.Effect<LocalImage, ImageError | ValueError, ImageManager> =>
  Effect.flatMap(ImageManager, (manager) => manager.ensureImage(name))

/**
 * Read all files of an image in the cache and tell good from bad from missing. Downloads nothing and changes nothing.
 * Fails with a `ValueError` when `name` cannot be an image name, with an `ImageError` when the registry does not have it or
 * the cache cannot be read.
 *
 * @since 0.1.0
 * @category operations
 */
export const verifyImage = (name: string): Effect.Effect<ImageStatus, ImageError | ValueError, ImageManager> =>
  Effect.flatMap(ImageManager, (manager) => manager.verifyImage(name))

/**
 * Remove an image's files from the cache directory, waiting for whoever is fetching it. An image that is not cached is
 * removed already. Fails as {@link verifyImage} does.
 *
 * @since 0.1.0
 * @category operations
 */
export const removeImage = (name: string): Effect.Effect<void, ImageError | ValueError, ImageManager> =>
  Effect.flatMap(ImageManager, (manager) => manager.removeImage(name))

/**
 * What managers of this cache directory do in this process, from now on: see the `Progress` module. It costs nothing while
 * nobody listens; a listener that falls far behind loses the oldest events.
 *
 * @since 0.1.0
 * @category operations
 */
export const events: Stream.Stream<Event, never, ImageManager> = Stream.unwrap(
  Effect.map(ImageManager, (manager) => manager.events)
)

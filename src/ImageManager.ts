/**
 * Named VM images on disk: looked up, downloaded, verified, cached.
 *
 * @since 0.1.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as Arr from "effect/Array"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as ParseResult from "effect/ParseResult"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Hasher } from "./Hasher.js"
import { Host, neutral } from "./Host.js"
import { ImageError, ValueError } from "./ImageError.js"
import { ImageName } from "./ImageName.js"
import type { ImageSource } from "./ImageSource.js"
import { FileStatus, ImageStatus } from "./ImageStatus.js"
import * as Cache from "./internal/cache.js"
import * as Fetch from "./internal/fetch.js"
import { diskOf, fingerprint } from "./internal/identity.js"
import { resolve } from "./internal/options.js"
import { parseProblems } from "./internal/parseProblems.js"
import * as Progress from "./internal/progress.js"
import * as Shared from "./internal/shared.js"
import * as Telemetry from "./internal/telemetry.js"
import { defaultRetry } from "./internal/transfer.js"
import type { LocalImage } from "./LocalImage.js"
import type { Event } from "./Progress.js"
import { Registry } from "./Registry.js"

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
   * out to be the limit; 1 never divides. All downloads together make six to one host at most. Default: 4.
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

const decodeName = ParseResult.decodeUnknownEither(ImageName)

const validName = (name: string): Effect.Effect<ImageName, ValueError> => {
  const decoded = decodeName(name)
  if (decoded._tag === "Right") return Effect.succeed(decoded.right)
  const [problem = { path: "", message: "is not an image name" }] = parseProblems(decoded.left)
  return Effect.fail(new ValueError({ field: "name", problems: [problem] }))
}

/**
 * The logic behind {@link layer}. Fails with a `ValueError` when an option is impossible.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<
  ImageManager["Type"],
  ValueError,
  Registry | Hasher | FileSystem.FileSystem | Path.Path | HttpClient.HttpClient
> {
  const { cacheDir, lowerCacheDirs, verification, ...settings } = yield* resolve(options)
  const registry = yield* Registry
  const fs = yield* FileSystem.FileSystem
  const host = yield* Host
  const disk = Option.getOrElse(host.disk, () => diskOf(fs))
  const cache = yield* Cache.make(cacheDir, { verification, readOnly: false })
  const lowerCaches = yield* Effect.forEach(lowerCacheDirs, (directory) =>
    Cache.make(directory, { verification, readOnly: true })
  )
  if (verification === "stat" && host === neutral) {
    yield* Effect.logWarning('verification "stat" acts as "always": no layer provides a Host that can tell file stamps')
  }
  const hub = JSON.stringify([disk, cache.directories.root])
  const progress = Progress.of(hub)
  const client = yield* HttpClient.HttpClient
  const fetcher = yield* Fetch.make(cache, { ...settings, client, host, disk, progress })

  const listAvailable = Effect.map(registry.list, (names) => Arr.sort(Arr.dedupe(names), Order.string))

  const lookup = (name: ImageName): Effect.Effect<ImageSource, ImageError> =>
    Effect.flatMap(
      registry.get(name),
      Option.match({
        onSome: Effect.succeed,
        onNone: () =>
          Effect.flatMap(
            listAvailable,
            (available) => new ImageError({ reason: "UnknownImage", image: name, available })
          )
      })
    )

  const isCached = Effect.fn("ImageManager.isCached")(function* (name: string) {
    const image = yield* validName(name)
    return yield* Effect.flatMap(
      registry.get(image),
      Option.match({
        onNone: () => Effect.succeed(false),
        onSome: (source) => Effect.exists([cache, ...lowerCaches], ({ has }) => has(image, source))
      })
    )
  })

  /**
   * All files are there and intact. It takes no lock and needs no write access. Who asks while others are being answered
   * waits for the next answer, which is for all who wait: no answer is older than its question.
   */
  const isHit = (
    { directories, isIntact }: Cache.Cache,
    image: ImageName,
    source: ImageSource
  ): Effect.Effect<boolean, ImageError> =>
    Effect.map(
      verifications(
        JSON.stringify([disk, directories.root, image, fingerprint(source, settings.offline)]),
        isIntact(image, source)
      ),
      ({ value }) => value
    )

  /** The first cache that has the image intact. */
  const hit = (image: ImageName, source: ImageSource) =>
    Effect.flatMap(isHit(cache, image, source), (own) =>
      own
        ? Effect.succeedSome(cache)
        : Effect.findFirst(lowerCaches, (lower) =>
            isHit(lower, image, source).pipe(
              Effect.catchAll((error) => Effect.as(Effect.logWarning(`passed over: ${error.message}`), false))
            )
          )
    )

  /** Fetch what is missing, once for all who want it. Different sources for one name take turns. */
  const fetchOnce = (name: ImageName, source: ImageSource) => {
    const wanted = fingerprint(source, settings.offline)
    const run = Effect.map(Effect.either(fetcher.fetch(name, source)), (outcome) => ({ wanted, outcome }))
    const shared = fetcher.support(name)(downloads(JSON.stringify([hub, name]), run))
    return Effect.map(shared, ({ joined, value }) => ({
      joined,
      /** Absent when it was for something else. */
      outcome: value.wanted === wanted ? Option.some(value.outcome) : Option.none()
    }))
  }

  /**
   * Where the image is intact, fetched if need be. Who has joined somebody else's download looks once more: a file that it
   * left alone may have been verified before this call.
   */
  const provide = (image: ImageName, source: ImageSource): Effect.Effect<Cache.Cache, ImageError> =>
    Effect.gen(function* () {
      const found = yield* Effect.withSpan(hit(image, source), "ImageManager.lookup", { attributes: { image } })
      if (Option.isSome(found)) {
        yield* progress.tell(() => ({ _tag: "Hit", image }))
        yield* Metric.increment(Telemetry.hits)
        return found.value
      }
      yield* Metric.increment(Telemetry.misses)
      const { joined, outcome } = yield* fetchOnce(image, source)
      if (Option.isSome(outcome)) yield* outcome.value
      return joined ? yield* provide(image, source) : cache
    })

  const ensureImage = Effect.fn("ImageManager.ensureImage")(
    function* (name: string) {
      const image = yield* validName(name)
      yield* Effect.annotateCurrentSpan({ image })
      const source = yield* lookup(image)
      yield* progress.tell(() => ({ _tag: "Checking", image }))
      const { localImage } = yield* provide(image, source)
      yield* progress.tell(() => ({ _tag: "Done", image }))
      return localImage(image, source)
    },
    (effect, name) =>
      effect.pipe(
        Telemetry.timed(Telemetry.ensureDuration),
        // As the OpenTelemetry conventions name it: a low-cardinality description of the failure.
        Effect.tapError((error) =>
          Effect.annotateCurrentSpan("error.type", error._tag === "ImageError" ? error.reason : error._tag)
        ),
        Effect.tapErrorTag("ImageError", ({ message, reason }) =>
          progress.tell(() => ({ _tag: "Failed", image: name, reason, message }))
        ),
        Effect.annotateLogs("image", name)
      )
  )

  const verifyImage = Effect.fn("ImageManager.verifyImage")(function* (name: string) {
    const image = yield* validName(name)
    const source = yield* lookup(image)
    const holder = yield* Effect.findFirst([cache, ...lowerCaches], ({ has }) => has(image, source))
    const states = yield* Option.getOrElse(holder, () => cache).verify(image, source)
    return new ImageStatus({ name: image, files: states.map(statusOf) })
  })

  const removeImage = Effect.fn("ImageManager.removeImage")(function* (name: string) {
    const image = yield* validName(name)
    yield* fetcher.remove(image, yield* lookup(image))
  })

  return ImageManager.of({
    listAvailable,
    isCached,
    ensureImage,
    verifyImage,
    removeImage,
    events: progress.events
  })
})

/** Hits under verification, by cache and image. */
const verifications = Shared.makeFresh<boolean, ImageError>("verifications")

/** Downloads under way, by cache and image, each with what it is for. */
const downloads = Shared.make<{ readonly wanted: string; readonly outcome: Either.Either<void, ImageError> }, never>(
  "downloads"
)

const statusOf = (state: Cache.FileState): FileStatus =>
  new FileStatus({
    asset: state.file.role,
    path: state.file.path,
    state: state._tag === "Good" ? "good" : state._tag === "Bad" ? "bad" : "missing",
    ...(state.expected === undefined ? {} : { expected: state.expected }),
    ...(state._tag === "Bad" ? { actual: state.actual } : {})
  })

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

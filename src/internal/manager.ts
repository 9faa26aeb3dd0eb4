import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type { Hasher } from "../Hasher.js"
import { Host, neutral } from "../Host.js"
import type { ImageError, ValueError } from "../ImageError.js"
import type { ImageManager, Options } from "../ImageManager.js"
import type { ImageName } from "../ImageName.js"
import type { ImageSource } from "../ImageSource.js"
import { FileStatus, ImageStatus } from "../ImageStatus.js"
import { Registry } from "../Registry.js"
import * as Cache from "./cache.js"
import * as Fetch from "./fetch.js"
import { cacheKey, diskOf, fingerprint, imageKey } from "./identity.js"
import { exclusive } from "./keyedMutex.js"
import { borrowed, lend } from "./lend.js"
import { find, listNames, lookup, validName } from "./lookup.js"
import { resolve } from "./options.js"
import * as Progress from "./progress.js"
import * as Shared from "./shared.js"
import * as Telemetry from "./telemetry.js"

/** Every operation on one cache: from a name to files on disk. */
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
  /** The same, read in full and left as they are. */
  const inspected = yield* Effect.forEach(Arr.make(cacheDir, ...lowerCacheDirs), (directory) =>
    Cache.make(directory, { verification: "always", readOnly: true })
  )
  if (verification === "stat" && host === neutral) {
    yield* Effect.logWarning('verification "stat" acts as "always": no layer provides a Host that can tell file stamps')
  }
  const progress = Progress.of(cacheKey(disk, cache.directories.root))
  const client = yield* HttpClient.HttpClient
  const fetcher = yield* Fetch.make(cache, { ...settings, host, disk, progress })

  const isCached = Effect.fn("ImageManager.isCached")(function* (name: string) {
    const image = yield* validName(name)
    return yield* Effect.flatMap(
      find(registry, image),
      Option.match({
        onNone: () => Effect.succeed(false),
        onSome: (source) => Effect.exists([cache, ...lowerCaches], ({ has }) => has(image, source))
      })
    )
  })

  /**
   * All files are there and intact. It takes no lock and needs no write access. Who asks while files are being read for
   * others waits for the next reading, which is for all who wait: no answer is older than its question.
   */
  const isHit = Effect.fnUntraced(function* (
    { areUntouched, directories, isIntact, options }: Cache.Cache,
    image: ImageName,
    source: ImageSource
  ): Effect.fn.Return<boolean, ImageError> {
    if (yield* areUntouched(image, source)) return true
    const { readOnly, verification } = options
    const wanted = fingerprint(source, settings)
    const key = JSON.stringify([imageKey(disk, directories.root, image), wanted, verification, readOnly])
    return (yield* verifications(key, isIntact(image, source))).value
  })

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

  /** Fetch what is missing, once for all who want the same. Different sources for one name take turns. */
  const fetchOnce = (name: ImageName, source: ImageSource) => {
    const image = imageKey(disk, cache.directories.root, name)
    const key = JSON.stringify([image, fingerprint(source, settings)])
    const inTurn = exclusive(`fetch ${image}`)(fetcher.fetch(name, source, borrowed(key, client)))
    return lend(key, client)(downloads(key, inTurn))
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
        yield* Effect.annotateCurrentSpan("smolvm_images.outcome", "hit")
        return found.value
      }
      yield* Metric.increment(Telemetry.misses)
      yield* Effect.annotateCurrentSpan("smolvm_images.outcome", "fetched")
      const { joined } = yield* fetchOnce(image, source)
      return joined ? yield* provide(image, source) : cache
    })

  const ensureImage = Effect.fn("ImageManager.ensureImage")(
    function* (name: string) {
      const image = yield* validName(name)
      yield* Effect.annotateCurrentSpan({ image })
      const source = yield* lookup(registry, image)
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
    const source = yield* lookup(registry, image)
    const holder = yield* Effect.findFirst(inspected, ({ has }) => has(image, source))
    const states = yield* Option.getOrElse(holder, () => inspected[0]).verify(image, source)
    return new ImageStatus({ name: image, files: states.map(statusOf) })
  })

  const removeImage = Effect.fn("ImageManager.removeImage")(function* (name: string) {
    const image = yield* validName(name)
    yield* fetcher.remove(image, yield* lookup(registry, image))
  })

  const manager: ImageManager["Type"] = {
    listAvailable: listNames(registry),
    isCached,
    ensureImage,
    verifyImage,
    removeImage,
    events: progress.events
  }
  return manager
})

/** Hits under verification, by cache, image, what is wanted of it and how it is looked at. */
const verifications = Shared.makeFresh<boolean, ImageError>("verifications")

/** Downloads under way, by cache, image and what is wanted of it. */
const downloads = Shared.make<void, ImageError>("downloads")

const statusOf = (state: Cache.FileState): FileStatus =>
  new FileStatus({
    asset: state.file.role,
    path: state.file.path,
    state: state._tag === "Good" ? "good" : state._tag === "Bad" ? "bad" : "missing",
    ...(state.expected === undefined ? {} : { expected: state.expected }),
    ...(state._tag === "Bad" ? { actual: state.actual } : {})
  })

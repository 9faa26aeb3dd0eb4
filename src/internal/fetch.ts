import type * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type { Hasher } from "../Hasher.js"
import { ImageError } from "../ImageError.js"
import type { ImageSource } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"
import type { Cache, CacheFile, FileState } from "./cache.js"
import * as Staging from "./staging.js"
import { type TransferOptions, transferAsset } from "./transfer.js"

export interface FetchOptions extends TransferOptions {
  readonly offline: boolean
}

/** Bring an image into the cache: verify what is there, fetch what is missing or bad, commit all of it or nothing. */
export const make = Effect.fnUntraced(function* (cache: Cache, options: FetchOptions) {
  const path = yield* Path.Path
  const context = yield* Effect.context<FileSystem.FileSystem | Hasher>()

  const fetchFile = Effect.fn("ImageManager.fetchAsset")(
    function* (directory: string, file: CacheFile, expected: Sha256 | undefined) {
      const { asset, image, role } = file
      const subject = { image, asset: role }
      const urls = options.offline ? asset.url.filter(({ protocol }) => protocol === "file:") : asset.url
      if (urls.length === 0) {
        return yield* new ImageError({ reason: "Offline", ...subject, url: asset.url[0].display })
      }
      if (asset.sha256 === undefined) {
        yield* Effect.logWarning(`${role} of image "${image}" has no pinned SHA-256: it is trusted on first use`)
      }
      yield* Effect.annotateCurrentSpan({ image, asset: role })
      const staged = yield* Staging.make(subject, path.join(directory, file.filename))
      const sha256 = yield* transferAsset(options, subject, asset, urls, expected, staged)
      yield* staged.sync
      return { file, sha256, from: staged.path, size: staged.position() }
    },
    (effect, _, file) => Effect.annotateLogs(Effect.provide(effect, context), "asset", file.role)
  )

  return (image: string, source: ImageSource): Effect.Effect<void, ImageError> =>
    Effect.scoped(
      Effect.gen(function* () {
        const states = yield* cache.verify(image, source)
        const wanted = states.filter((state) => state._tag !== "Good")
        if (wanted.length === 0) return
        yield* Effect.forEach(wanted, warn, { discard: true })
        const directory = yield* cache.stagingDirectory({ image })
        const fetched = yield* Effect.forEach(wanted, ({ file, expected }) => fetchFile(directory, file, expected), {
          concurrency: "unbounded"
        })
        yield* cache.commit(image, fetched)
        yield* Effect.forEach(
          fetched.filter(({ file }) => file.asset.sha256 === undefined),
          ({ file, sha256, size }) => cache.trust(file, sha256, size),
          { discard: true }
        )
      })
    )
})

const warn = (state: FileState) =>
  state._tag === "Bad"
    ? Effect.logWarning(
        `the cached ${state.file.path} fails verification and is fetched again: expected ${state.expected}, actual ${state.actual}`
      )
    : Effect.void

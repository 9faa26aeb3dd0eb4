import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { AssetUrl } from "../AssetUrl.js"
import { Hasher } from "../Hasher.js"
import { ImageError } from "../ImageError.js"
import type { ImageSource } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"
import type { Cache, FileState } from "./cache.js"
import type { CacheFile } from "./directories.js"
import type { Subject } from "./failure.js"
import { contentKey } from "./identity.js"
import { exclusive } from "./keyedMutex.js"
import { Locking } from "./lock.js"
import type { Progress } from "./progress.js"
import * as Report from "./report.js"
import * as Space from "./space.js"
import * as Staging from "./staging.js"
import * as StagingArea from "./stagingArea.js"
import * as Telemetry from "./telemetry.js"
import { type TransferOptions, transferAsset } from "./transfer.js"

export interface FetchOptions extends Omit<TransferOptions, "claimSpace" | "client" | "report"> {
  /** Names the disk that the cache is on. */
  readonly disk: string
  readonly offline: boolean
  /** How long to wait for another process that fetches the same image. */
  readonly lockPatience: Duration.DurationInput
  readonly progress: Progress
}

/**
 * Where files of a known digest are on a disk, so that two images with the same file share one download. Process-wide;
 * a hint only: what is taken from there is verified like everything else.
 */
const whereabouts = globalValue("smolvm-images/whereabouts", () => new Map<string, string>())

export interface Fetch {
  /** Bring an image into the cache: verify what is there, fetch what is missing or bad, commit all of it or nothing. */
  readonly fetch: (image: string, source: ImageSource, client: HttpClient.HttpClient) => Effect.Effect<void, ImageError>
  /** Remove an image, while nobody fetches it. */
  readonly remove: (image: string, source: ImageSource) => Effect.Effect<void, ImageError>
}

export const make = Effect.fnUntraced(function* (cache: Cache, options: FetchOptions) {
  const path = yield* Path.Path
  const locking = yield* Locking
  // Not the whole context: its Scope, where there is one, would keep every file open as long as the manager lives.
  const context = Context.pick(
    FileSystem.FileSystem,
    Path.Path,
    Hasher
  )(yield* Effect.context<FileSystem.FileSystem | Path.Path | Hasher>())
  const { directories } = cache
  const { progress } = options
  const lock = yield* locking.make(directories, progress)
  const area = yield* StagingArea.make(directories)
  const keyOf = (sha256: Sha256) => contentKey(options.disk, directories.root, sha256)

  const sourcesOf = (state: FileState) => {
    const { asset, image, role } = state.file
    const urls = options.offline ? asset.url.filter(isLocal) : asset.url
    return urls.length > 0
      ? Effect.succeed(urls)
      : new ImageError({
          reason: "Offline",
          image,
          asset: role,
          url: asset.url[0].display,
          ...(state.expected === undefined ? {} : { expected: state.expected }),
          ...(state._tag === "Bad" ? { actual: state.actual } : {})
        })
  }

  /** A file of the same content that is on this disk already, so it is said. */
  const copiesOf = ({ asset: { sha256 }, path: own }: CacheFile) => {
    const nearby = sha256 === undefined ? undefined : whereabouts.get(keyOf(sha256))
    return nearby === undefined || nearby === own
      ? Effect.succeed([])
      : path.toFileUrl(nearby).pipe(
          Effect.flatMap(({ href }) => Effect.try(() => [new AssetUrl({ href: Redacted.make(href), headers: {} })])),
          Effect.orElseSucceed(() => []) // a path without a URL cannot be copied from; there are the other sources
        )
  }

  /** Fails where there is nothing to fetch a file from, before anything is staged. */
  const assertReachable = (state: FileState) =>
    Effect.flatMap(copiesOf(state.file), (copies) =>
      copies.length > 0 ? Effect.void : Effect.asVoid(sourcesOf(state))
    )

  const fetchFile = Effect.fn("ImageManager.fetchAsset")(
    function* (directory: StagingArea.StagingDirectory, state: FileState, client: HttpClient.HttpClient) {
      const { expected, file } = state
      const { asset, image, role } = file
      const subject: Subject = { image, asset: role }
      yield* Effect.annotateCurrentSpan({ image, asset: role })
      if (expected === undefined) {
        yield* Effect.logWarning(`${role} of image "${image}" has no pinned SHA-256: it is trusted on first use`)
      }
      const staged = yield* Staging.make(subject, directory.file(role, asset.sha256), asset.size)
      const space = Space.make(options.host, subject, directories.root, staged, asset.size)
      const report = Report.make(progress, { image, asset: role })
      const transfer = (urls: ReadonlyArray<AssetUrl>) =>
        transferAsset({ ...options, client, report, claimSpace: space.claim }, subject, asset, urls, expected, staged)
      const download = Effect.flatMap(sourcesOf(state), transfer)
      const copies = yield* copiesOf(file)
      const sha256 = yield* (
        copies.length === 0
          ? download
          : Effect.catchAll(transfer(copies), () => Effect.zipRight(staged.restart, download))
      ).pipe(
        Effect.tap(() => staged.sync),
        Effect.catchIf((error) => error.reason === "NoSpace", space.explain)
      )
      yield* copyableUntilPlaced(sha256, staged.path)
      return { file, sha256, from: staged.path }
    },
    (effect, _, { file }) => Effect.annotateLogs(Effect.provide(effect, context), "asset", file.role)
  )

  /** Of several who want the same content the first fetches it, the others copy. */
  const fetchShared = (directory: StagingArea.StagingDirectory, state: FileState, client: HttpClient.HttpClient) => {
    const fetching = fetchFile(directory, state, client)
    const { sha256 } = state.file.asset
    return sha256 === undefined ? fetching : exclusive(keyOf(sha256))(fetching)
  }

  const copyableUntilPlaced = (sha256: Sha256, staged: string): Effect.Effect<void, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => void whereabouts.set(keyOf(sha256), staged)),
      () =>
        Effect.sync(() => {
          if (whereabouts.get(keyOf(sha256)) === staged) whereabouts.delete(keyOf(sha256))
        })
    )

  const fetch = Effect.fnUntraced(function* (image: string, source: ImageSource, client: HttpClient.HttpClient) {
    yield* lock.acquire(image, options.lockPatience)
    const states = yield* Effect.withSpan(cache.verify(image, source), "ImageManager.verify", { attributes: { image } })
    const wanted = states.filter((state) => state._tag !== "Good")
    if (wanted.length === 0) return
    yield* Effect.forEach(wanted, assertReachable, { discard: true })
    yield* Effect.forEach(wanted, warn, { discard: true })
    const directory = yield* area.open({ image })
    yield* directory.inherit(wanted.map(({ file }) => file))
    const fetched = yield* Effect.forEach(wanted, (state) => fetchShared(directory, state, client), {
      concurrency: "unbounded"
    })
    yield* progress.tell(() => ({ _tag: "Committing", image }))
    yield* Effect.withSpan(cache.commit(image, fetched), "ImageManager.commit", { attributes: { image } })
    for (const { file, sha256 } of fetched) whereabouts.set(keyOf(sha256), file.path)
  }, Effect.scoped)

  const remove = Effect.fnUntraced(function* (image: string, source: ImageSource) {
    yield* lock.acquire(image, options.lockPatience)
    yield* cache.remove(image, source)
  }, Effect.scoped)

  const result: Fetch = { fetch, remove }
  return result
})

const isLocal = ({ protocol }: AssetUrl) => protocol === "file:"

const warn = (state: FileState) =>
  state._tag === "Bad"
    ? Effect.zipRight(
        Metric.increment(Telemetry.repairs),
        Effect.logWarning(
          `the cached ${state.file.path} fails verification and is fetched again: ${
            state.expected === undefined ? "" : `expected ${state.expected}, `
          }actual ${state.actual}`
        )
      )
    : Effect.void

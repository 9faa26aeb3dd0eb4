// The commands that work on the cache. Loaded when one is called.
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type { ImageError, ValueError } from "../../ImageError.js"
import * as ImageManager from "../../ImageManager.js"
import type { ImageStatus } from "../../ImageStatus.js"
import type { LocalImage } from "../../LocalImage.js"
import type { Registry } from "../../Registry.js"
import * as Files from "../files.js"
import * as NodeHasher from "../NodeHasher.js"
import * as NodeHost from "../NodeHost.js"
import * as NodeHttpClient from "../NodeHttpClient.js"
import * as Spec from "./commands.js"
import * as Failure from "./failure.js"
import * as Output from "./output.js"
import type { Flags } from "./parse.js"
import type { Reporter } from "./reporter.js"
import * as Result from "./result.js"
import type { Settings } from "./settings.js"
import { table } from "./text.js"

type Command = Effect.Effect<Result.Result, ImageError | ValueError, ImageManager.ImageManager>

/** For what makes no request. It asks nobody how to, so that a proxy which cannot be used is none of its business. */
const noClient = Layer.sync(HttpClient.HttpClient, () =>
  HttpClient.make(() => Effect.dieMessage("a request where none may be made"))
)

/** The manager, on the services of the light commands. */
export const layer = (
  command: Spec.CommandSpec,
  flags: Flags,
  { cacheDir, offline }: Settings
): Layer.Layer<ImageManager.ImageManager, ValueError, Registry> =>
  Layer.provide(ImageManager.layer({ cacheDir, offline, verification: flags.verify }), [
    Files.layer,
    NodeHasher.layer,
    NodeHost.layer,
    NodePath.layer,
    offline || command !== Spec.ensure ? noClient : NodeHttpClient.layer()
  ])

export const ensure = (names: ReadonlyArray<string>, reporter: Reporter): Command =>
  Effect.gen(function* () {
    const { events } = yield* ImageManager.ImageManager
    yield* reporter.show(events)
    const results = yield* Effect.forEach(names, (name) => Effect.either(ImageManager.ensureImage(name)), {
      concurrency: "unbounded"
    })
    // A name that cannot be one has no events.
    yield* reporter.settled(
      Arr.zip(names, results).flatMap(([image, result]) =>
        Either.isLeft(result) && result.left._tag === "ValueError" ? [] : [image]
      )
    )
    const images = Arr.getRights(results)
    const errors = Arr.getLefts(results)
    const failures = failuresOf(names, results)
    return Result.make(Output.Ensure, { images, failures }, images.flatMap(pathsOf), {
      exitCode: failures[0]?.exitCode ?? 0,
      errors
    })
  }).pipe(Effect.scoped)

/** Each failure with the name it was asked by. */
const failuresOf = (
  names: ReadonlyArray<string>,
  results: ReadonlyArray<Either.Either<unknown, ImageError | ValueError>>
): ReadonlyArray<Failure.Failure> =>
  Arr.zip(names, results).flatMap(([image, result]) =>
    Either.isLeft(result) ? [{ image, ...Failure.describe(result.left) }] : []
  )

const pathsOf = ({ initrdPath, kernelPath, rootfsPath }: LocalImage): ReadonlyArray<string> => [
  kernelPath,
  rootfsPath,
  ...(initrdPath === undefined ? [] : [initrdPath])
]

export const verify = (names: ReadonlyArray<string>): Command =>
  Effect.gen(function* () {
    const all = names.length > 0 ? names : yield* ImageManager.listAvailable
    const results = yield* Effect.forEach(all, (name) => Effect.either(ImageManager.verifyImage(name)), {
      concurrency: 2
    })
    const images = Arr.getRights(results)
    const errors = Arr.getLefts(results)
    const failures = failuresOf(all, results)
    const rows = images.flatMap((image) =>
      image.files.map(({ actual, asset, expected, path, state }) => [
        state,
        image.name,
        asset,
        path,
        state === "bad" ? `expected ${expected ?? "another"}, found ${actual ?? "another"}` : ""
      ])
    )
    const has = (image: ImageStatus, state: string) => image.files.some((file) => file.state === state)
    const absent = (image: ImageStatus) =>
      has(image, "missing") && (names.length > 0 || image.files.some((file) => file.state !== "missing"))
    const answer = images.some((image) => has(image, "bad")) ? Failure.mismatch : images.some(absent) ? Failure.no : 0
    return Result.make(Output.Verify, { images, failures }, rows.length === 0 ? [] : table(rows), {
      exitCode: failures[0]?.exitCode ?? answer,
      errors
    })
  })

export const remove = (name: string, reporter: Reporter): Command =>
  Effect.gen(function* () {
    const { events } = yield* ImageManager.ImageManager
    // Whom it waits for.
    yield* reporter.show(events)
    yield* ImageManager.removeImage(name)
    return Result.make(Output.Remove, { removed: name }, [])
  }).pipe(Effect.scoped)

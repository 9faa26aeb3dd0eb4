/**
 * The names an `ImageManager` knows, and where their files come from.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { ImageError, ValueError } from "./ImageError.js"
import { ImageName } from "./ImageName.js"
import { ImageSource } from "./ImageSource.js"
import { builtInImages } from "./internal/builtInImages.js"
import { checkSource, strict } from "./internal/checkSource.js"
import { notA, type Problem, parseProblems } from "./internal/parseProblems.js"
import { codeOf, sanitizeCause } from "./internal/redact.js"

/**
 * A registry of images. Implement it to look images up anywhere: a database, a service, a config file. What it returns is
 * checked like everything from outside: an image with a bad digest, or a file name that could leave the cache directory, is
 * a `ValueError` for whoever asks for it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Registry extends Context.Tag("smolvm-images/Registry")<
  Registry,
  {
    /** The names of all images, in any order. */
    readonly list: Effect.Effect<ReadonlyArray<string>>
    /** The image of that name, if there is one. */
    readonly get: (name: string) => Effect.Effect<Option.Option<ImageSource>>
  }
>() {}

/**
 * A plain record of images, as written in code or in a JSON file: `{ name: { kernel: { url, sha256 }, rootfs: {...} } }`.
 *
 * @since 0.1.0
 * @category models
 */
export type Images = Readonly<Record<string, typeof ImageSource.Encoded | ImageSource>>

const decodeName = ParseResult.decodeUnknownEither(ImageName, strict)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(value) && !Predicate.isIterable(value)

/** Everything that is wrong with a record of images, or the images. */
const decodeImages = (
  images: unknown,
  path: ReadonlyArray<PropertyKey>
): { readonly sources: ReadonlyMap<string, ImageSource>; readonly problems: ReadonlyArray<Problem> } => {
  const sources = new Map<string, ImageSource>()
  const problems: Array<Problem> = []
  if (!isRecord(images)) {
    return { sources, problems: [notA("a record of images { name: source }", images, path)] }
  }
  // Entries, not a Schema.Record: that would lose an image called __proto__.
  for (const [name, image] of Object.entries(images)) {
    const here = [...path, name]
    const validName = decodeName(name)
    if (validName._tag === "Left") problems.push(...parseProblems(validName.left, here))
    const source = checkSource(image, here)
    if (source._tag === "Left") problems.push(...source.left)
    else sources.set(name, source.right)
  }
  return { sources, problems }
}

const invalid = (field: string, problems: ReadonlyArray<Problem>): Effect.Effect<void, ValueError> =>
  Arr.isNonEmptyReadonlyArray(problems) ? Effect.fail(new ValueError({ field, problems })) : Effect.void

const fromSources = (sources: ReadonlyMap<string, ImageSource>): Registry["Type"] => ({
  list: Effect.sync(() => [...sources.keys()]),
  get: (name) => Effect.sync(() => Option.fromNullable(sources.get(name)))
})

/**
 * A registry of the given images. Fails with a `ValueError` that lists every problem (bad digest, unknown key, a name or
 * file name that could leave the cache directory, ...) with its path.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (images: Images): Effect.Effect<Registry["Type"], ValueError> =>
  Effect.gen(function* () {
    const { sources, problems } = decodeImages(images, [])
    yield* invalid("registry", problems)
    return fromSources(sources)
  })

/**
 * A registry of the given images: plain sources as in a JSON file, or `ImageSource` instances. See {@link make} for the
 * failures.
 *
 * @example
 * ```ts
 * import { Registry } from "smolvm-images"
 *
 * const MyImages = Registry.layer({
 *   alpine: {
 *     kernel: { url: "https://example.com/vmlinux", sha256: "ab".repeat(32) },
 *     rootfs: { url: ["https://example.com/alpine.ext4", "https://mirror.example.com/alpine.ext4"], sha256: "cd".repeat(32) }
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (images: Images): Layer.Layer<Registry, ValueError> => Layer.effect(Registry, make(images))

/**
 * The built-in registry: `hello` and `quickstart-x86_64`, from Firecracker's official sources, pinned by digest.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerBuiltIn: Layer.Layer<Registry> = Layer.sync(Registry, () =>
  fromSources(
    new Map(Object.entries(builtInImages).map(([name, image]) => [name, Schema.decodeSync(ImageSource)(image)]))
  )
)

/**
 * A registry read from a JSON file `{ "images": { name: source } }` when the layer is built. Fails with a `ValueError`
 * that lists every problem of its contents, or with an `ImageError` (`StorageFailed`) when the file cannot be read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFile = (path: string): Layer.Layer<Registry, ImageError | ValueError, FileSystem.FileSystem> =>
  Layer.effect(
    Registry,
    Effect.gen(function* () {
      yield* invalid("path", isPath(path) ? [] : [{ path: "", message: "must name a file" }])
      const fs = yield* FileSystem.FileSystem
      const field = `registry file ${path}`
      const content = yield* fs.readFileString(path).pipe(Effect.mapError((error) => unreadable(path, error)))
      const text = content.replace(/^\uFEFF/, "")
      const json = yield* Effect.try({
        try: (): unknown => JSON.parse(text),
        catch: (cause) => new ValueError({ field, problems: [{ path: "", message: notJson(text, cause) }] })
      })
      const file = ParseResult.decodeUnknownEither(RegistryFile, strict)(json)
      const shape = file._tag === "Left" ? parseProblems(file.left) : []
      yield* invalid(field, shape)
      const { sources, problems } = decodeImages(file._tag === "Right" ? file.right.images : {}, ["images"])
      yield* invalid(field, problems)
      return fromSources(sources)
    })
  )

const RegistryFile = Schema.Struct({
  images: Schema.Unknown
})

const isPath = (path: unknown) => typeof path === "string" && path.trim() !== "" && !path.includes("\0")

const unreadable = (path: string, error: PlatformError) =>
  new ImageError({
    reason: "StorageFailed",
    path,
    detail: `the registry file cannot be read (${codeOf(error) ?? error._tag})`,
    cause: sanitizeCause(error)
  })

/** V8 quotes the text around the error, which may be a token: keep the place, drop the quotation. */
const notJson = (text: string, cause: unknown): string => {
  const position = cause instanceof Error ? / at position (\d+)/.exec(cause.message)?.[1] : undefined
  if (position === undefined) return "is not JSON"
  const before = text.slice(0, Number(position)).split("\n")
  return `is not JSON (line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1})`
}

/**
 * Both registries as one; where both have an image, `upper` wins.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge = (upper: Registry["Type"], lower: Registry["Type"]): Registry["Type"] => ({
  list: Effect.zipWith(lower.list, upper.list, (below, above) =>
    Arr.sort(Arr.dedupe([...below, ...above]), Order.string)
  ),
  get: (name) =>
    Effect.flatMap(
      upper.get(name),
      Option.match({ onNone: () => lower.get(name), onSome: (source) => Effect.succeedSome(source) })
    )
})

/**
 * A registry layer laid over another: where both have an image, the first wins.
 *
 * @example
 * ```ts
 * import { Registry } from "smolvm-images"
 *
 * const Images = Registry.layerFile("/etc/images.json").pipe(Registry.overlay(Registry.layerBuiltIn))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const overlay: {
  <E2, R2>(
    base: Layer.Layer<Registry, E2, R2>
  ): <E, R>(self: Layer.Layer<Registry, E, R>) => Layer.Layer<Registry, E | E2, R | R2>
  <E, R, E2, R2>(
    self: Layer.Layer<Registry, E, R>,
    base: Layer.Layer<Registry, E2, R2>
  ): Layer.Layer<Registry, E | E2, R | R2>
} = dual(
  2,
  <E, R, E2, R2>(
    self: Layer.Layer<Registry, E, R>,
    base: Layer.Layer<Registry, E2, R2>
  ): Layer.Layer<Registry, E | E2, R | R2> =>
    Layer.zipWith(self, base, (upper, lower) =>
      Context.make(Registry, merge(Context.get(upper, Registry), Context.get(lower, Registry)))
    )
)

import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as ParseResult from "effect/ParseResult"
import { ImageError, ValueError } from "../ImageError.js"
import { ImageName } from "../ImageName.js"
import { ImageSource } from "../ImageSource.js"
import type { Registry } from "../Registry.js"
import { type Problem, parseProblems } from "./parseProblems.js"

const strict = { errors: "all", onExcessProperty: "error" } as const

const decodeName = ParseResult.decodeUnknownEither(ImageName)
const decodeSource = ParseResult.decodeUnknownEither(ImageSource, strict)
const encodeSource = ParseResult.encodeUnknownEither(ImageSource, strict)

/** The name, without its value in the failure: a URL with a token may have been taken for one. */
export const validName = (name: string): Effect.Effect<ImageName, ValueError> =>
  Effect.mapError(decodeName(name), (issue) => {
    const [problem = { path: "", message: "is not an image name" }] = parseProblems(issue)
    return new ValueError({ field: "name", problems: [problem] })
  })

/** Instances that have been found good. */
const good = new WeakSet<ImageSource>()

/** A source, or what is wrong with it. An instance is checked as well: a constructor can be told not to. */
export const checkSource = (
  image: unknown,
  path: ReadonlyArray<PropertyKey>
): Either.Either<ImageSource, ReadonlyArray<Problem>> => {
  if (image instanceof ImageSource && good.has(image)) return Either.right(image)
  const decoded =
    image instanceof ImageSource
      ? Either.flatMap(encodeSource(image), (encoded) => Either.map(decodeSource(encoded), () => image))
      : decodeSource(image)
  if (Either.isRight(decoded)) good.add(decoded.right)
  return Either.mapLeft(decoded, (issue) => parseProblems(issue, path))
}

/** What a registry has under a name. It may be anybody's, so what it says is checked. */
export const find = (registry: Registry["Type"], name: string): Effect.Effect<Option.Option<ImageSource>, ValueError> =>
  Effect.flatMap(
    registry.get(name),
    Effect.transposeMapOption((source) =>
      Effect.mapError(
        checkSource(source, [name]),
        ([problem = { path: name, message: "is not an image" }, ...more]) => {
          return new ValueError({ field: "registry", problems: [problem, ...more] })
        }
      )
    )
  )

/** {@link find}, where there has to be something. */
export const lookup = (registry: Registry["Type"], name: string): Effect.Effect<ImageSource, ImageError | ValueError> =>
  Effect.flatMap(
    find(registry, name),
    Option.match({
      onSome: Effect.succeed,
      onNone: () =>
        Effect.flatMap(
          listNames(registry),
          (available) => new ImageError({ reason: "UnknownImage", image: name, available })
        )
    })
  )

/** All names of a registry, each once, sorted. */
export const listNames = ({ list }: Registry["Type"]): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(list, (names) => Arr.sort(Arr.dedupe(names), Order.string))

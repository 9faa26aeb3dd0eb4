import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import { ImageSource } from "../ImageSource.js"
import { type Problem, parseProblems } from "./parseProblems.js"

const strict = { errors: "all", onExcessProperty: "error" } as const

const decodeSource = ParseResult.decodeUnknownEither(ImageSource, strict)
const encodeSource = ParseResult.encodeUnknownEither(ImageSource, strict)

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

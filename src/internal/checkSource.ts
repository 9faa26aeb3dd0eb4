import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import { ImageSource } from "../ImageSource.js"
import { type Problem, parseProblems } from "./parseProblems.js"

/** Everything that is wrong at once, a misspelt key included. */
export const strict = { errors: "all", onExcessProperty: "error" } as const

const decodeSource = ParseResult.decodeUnknownEither(ImageSource, strict)
const encodeSource = ParseResult.encodeUnknownEither(ImageSource, strict)

/** What was found good of whose instances: copies, so that it stays good whatever becomes of the instance. */
const good = new WeakMap<ImageSource, ImageSource>()

/** A source, or what is wrong with it. An instance is checked as well: a constructor can be told not to. */
export const checkSource = (
  image: unknown,
  path: ReadonlyArray<PropertyKey>
): Either.Either<ImageSource, ReadonlyArray<Problem>> => {
  const known = image instanceof ImageSource ? good.get(image) : undefined
  if (known !== undefined) return Either.right(known)
  const decoded = image instanceof ImageSource ? Either.flatMap(encodeSource(image), decodeSource) : decodeSource(image)
  if (Either.isRight(decoded) && image instanceof ImageSource) good.set(image, decoded.right)
  return Either.mapLeft(decoded, (issue) => parseProblems(issue, path))
}

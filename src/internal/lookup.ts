import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as ParseResult from "effect/ParseResult"
import { ImageError, ValueError } from "../ImageError.js"
import { ImageName } from "../ImageName.js"
import type { ImageSource } from "../ImageSource.js"
import type { Registry } from "../Registry.js"
import { checkSource } from "./checkSource.js"
import { parseProblems } from "./parseProblems.js"

const decodeName = ParseResult.decodeUnknownEither(ImageName)

/** The name, without its value in the failure: a URL with a token may have been taken for one. */
export const validName = (name: string): Effect.Effect<ImageName, ValueError> =>
  Effect.mapError(decodeName(name), (issue) => {
    const [problem = { path: "", message: "is not an image name" }] = parseProblems(issue)
    return new ValueError({ field: "name", problems: [problem] })
  })

/** What a registry has under a name. It may be anybody's, so what it says is checked. */
export const find = (registry: Registry["Type"], name: string): Effect.Effect<Option.Option<ImageSource>, ValueError> =>
  Effect.flatMap(
    registry.get(name),
    Effect.transposeMapOption((source) =>
      Effect.mapError(
        checkSource(source, [name]),
        ([problem = { path: name, message: "is not an image" }, ...more]) =>
          new ValueError({ field: "registry", problems: [problem, ...more] })
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

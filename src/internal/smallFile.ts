import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** Ours are a few hundred bytes long. */
const limit = 4096n

/**
 * The text of one of our small files. What is missing, unreadable, too long or not a file at all is `None`: opening a pipe
 * may never return, reading a device may never end.
 */
export const readSmallFile = (path: string): Effect.Effect<Option.Option<string>, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { size, type } = yield* fs.stat(path)
    return type === "File" && size <= limit ? Option.some(yield* fs.readFileString(path)) : Option.none()
  }).pipe(Effect.orElseSucceed(Option.none))

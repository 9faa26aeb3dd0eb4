/** A process of its own that ensures image `x` with the options in its first argument, and prints how that ended. */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"

const options: NodeImageManager.Options = JSON.parse(process.argv[2] ?? "{}")

const outcome = ImageManager.ensureImage("x").pipe(
  Effect.provide(NodeImageManager.layer(options)),
  Effect.match({ onFailure: ({ message }) => message, onSuccess: () => "success" }),
  Effect.provide(Logger.remove(Logger.defaultLogger))
)

process.stdout.write(await Effect.runPromise(outcome))

// From an invocation to what it has to say.

import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Arr from "effect/Array"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ImageError, ValueError } from "../../ImageError.js"
import { layerRegistry } from "../registryFiles.js"
import * as Spec from "./commands.js"
import type * as Failure from "./failure.js"
import * as Look from "./look.js"
import type { Flags } from "./parse.js"
import type { Reporter } from "./reporter.js"
import type { Result } from "./result.js"
import * as Settings from "./settings.js"

/** The registry and the disk. The manager comes later, where it is needed. */
const layer = ({ registryFiles }: Settings.Settings) =>
  Layer.provideMerge(layerRegistry(registryFiles), NodeFileSystem.layer)

/** A run of one command. */
export interface Run {
  readonly command: Spec.CommandSpec
  readonly arguments: ReadonlyArray<string>
  readonly flags: Flags
  readonly reporter: Reporter
}

export const run = (given: Run): Effect.Effect<Result, ImageError | ValueError | ConfigError | Failure.No> => {
  const { arguments: args, command, flags, reporter } = given
  const [first = "", second] = args
  if (command === Spec.registryCheck) return Look.registryCheck(first)
  return Effect.flatMap(Settings.fromFlags(flags), (settings) => {
    const { cacheDir } = settings
    const names = Arr.dedupe(args)
    const work = (use: (commands: typeof import("./work.js")) => ReturnType<typeof import("./work.js").remove>) =>
      Effect.flatMap(
        Effect.promise(() => import("./work.js")),
        (commands) => Effect.provide(use(commands), commands.layer(command, flags, settings))
      )
    const result = () => {
      switch (command) {
        case Spec.ensure:
          return work(({ ensure }) => ensure(names, reporter))
        case Spec.verify:
          return work(({ verify }) => verify(names))
        case Spec.remove:
          return work(({ remove }) => remove(first, reporter))
        case Spec.status:
          return Look.status(cacheDir, first)
        case Spec.path:
          return Look.path(cacheDir, first, Spec.roles.find((role) => role === second) ?? "kernel")
        default:
          return Look.list(cacheDir)
      }
    }
    return Effect.provide(result(), layer(settings))
  })
}

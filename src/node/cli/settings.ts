// Where a run works, and on which images: what every command needs.
import { resolve } from "node:path"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Environment from "../environment.js"
import type { Flags } from "./parse.js"

/** What the flags say, and where they say nothing, the environment. */
export interface Settings {
  readonly cacheDir: string
  readonly registryFiles: ReadonlyArray<string>
  readonly offline: boolean
}

export const fromFlags = (flags: Flags): Effect.Effect<Settings, ConfigError> =>
  Effect.map(
    Environment.configBeside(flags),
    ({ cacheDir = Environment.defaultCacheDir(), offline = false, registryFiles = [] }) => ({
      cacheDir: resolve(flags.cacheDir ?? cacheDir),
      registryFiles: flags.registry.length > 0 ? flags.registry : registryFiles,
      offline
    })
  )

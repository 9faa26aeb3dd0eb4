import { homedir, userInfo } from "node:os"
import { delimiter, join } from "node:path"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/**
 * `~/.smolvm/images`, the cache directory that the reference implementation uses too. A blank `HOME` counts as unset. For a user
 * without a home it is below `/nonexistent`, which nobody can make: a failure that names it, not a cache in the working
 * directory.
 */
export const defaultCacheDir = (): string => join(homeDirectory(), ".smolvm", "images")

const homeDirectory = (): string => {
  try {
    const home = homedir()
    return home.trim() === "" ? userInfo().homedir : home
  } catch {
    return "/nonexistent" // as Debian names it
  }
}

/** What the environment says; a variable that is not set, or blank, says nothing. */
export interface Environment {
  readonly cacheDir?: string
  readonly registryFiles?: ReadonlyArray<string>
  readonly offline?: boolean
}

const text = (name: string): Config.Config<Option.Option<string>> =>
  Config.map(
    Config.option(Config.string(name)),
    Option.filter((value) => value.trim() !== "")
  )

const yes = new Set(["1", "true", "yes", "on", "y"])
const no = new Set(["0", "false", "no", "off", "n"])

const flag = (name: string): Config.Config<Option.Option<boolean>> =>
  Config.mapOrFail(
    text(name),
    Option.match({
      onNone: () => Either.right(Option.none()),
      onSome: (value) => {
        const word = value.trim().toLowerCase()
        return yes.has(word) || no.has(word)
          ? Either.right(Option.some(yes.has(word)))
          : Either.left(
              ConfigError.InvalidData([name], `is neither 1 (true, yes, on) nor 0 (false, no, off): "${value}"`)
            )
      }
    })
  )

/** The environment, in which what is given already is not looked up: it may say there what it likes. */
export const configBeside = (given: Pick<Environment, "offline">): Config.Config<Environment> =>
  Config.map(
    Config.all({
      cacheDir: text("SMOLVM_IMAGE_DIR"),
      registry: text("SMOLVM_REGISTRY"),
      offline: given.offline === undefined ? flag("SMOLVM_OFFLINE") : Config.succeed(Option.some(given.offline))
    }),
    ({ cacheDir, offline, registry }) => ({
      ...Option.match(cacheDir, { onNone: () => ({}), onSome: (value) => ({ cacheDir: value }) }),
      ...Option.match(registry, {
        onNone: () => ({}),
        onSome: (value) => ({ registryFiles: value.split(delimiter).filter((file) => file.trim() !== "") })
      }),
      ...Option.match(offline, { onNone: () => ({}), onSome: (value) => ({ offline: value }) })
    })
  )

/** The variables `SMOLVM_IMAGE_DIR`, `SMOLVM_REGISTRY` (files, joined as in `PATH`) and `SMOLVM_OFFLINE`. */
export const config: Config.Config<Environment> = configBeside({})

// What of an image is on the disk, by the layout of the cache; no file is read. `list` has to be quick: nothing here loads much.
import { stat } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { Role } from "../../ImageSource.js"
import { stdoutColumns } from "./streams.js"
import { bytes, plain, table } from "./text.js"

/** What a registry says of an image, as far as it is looked at here. */
export interface Entry {
  readonly name: string
  readonly architecture: string | undefined
  readonly description: string | undefined
  readonly files: ReadonlyArray<{
    readonly role: Role
    readonly filename: string
    /** In bytes, if it is pinned. */
    readonly size: number | undefined
  }>
}

export interface HeldFile {
  readonly role: Role
  readonly path: string
  readonly size: number | undefined
  /** Its size on disk; undefined where there is no such file. */
  readonly held: number | undefined
}

export const files = (cacheDir: string, entry: Entry): Effect.Effect<ReadonlyArray<HeldFile>> =>
  Effect.promise(() =>
    Promise.all(
      entry.files.map(async ({ filename, role, size }) => {
        const path = join(cacheDir, entry.name, filename)
        const held = await stat(path).then(
          (stats) => (stats.isFile() ? stats.size : undefined),
          () => undefined
        )
        return { role, path, size, held }
      })
    )
  )

/** As `ImageManager.isCached` has it. */
export const isCached = (held: ReadonlyArray<HeldFile>): boolean => held.every((file) => file.held !== undefined)

const totalSize = (held: ReadonlyArray<HeldFile>): number | undefined => {
  const sizes = held.flatMap((file) => file.held ?? file.size ?? [])
  return sizes.length === held.length ? sizes.reduce((sum, size) => sum + size, 0) : undefined
}

export interface Listed {
  readonly name: string
  readonly architecture?: string
  readonly description?: string
  readonly cached: boolean
  readonly size?: number
}

export const list = (cacheDir: string, entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<Listed>> =>
  Effect.forEach(
    entries,
    (entry) =>
      Effect.map(files(cacheDir, entry), (held) => {
        const { architecture, description, name } = entry
        const size = totalSize(held)
        return {
          name,
          ...(architecture === undefined ? {} : { architecture }),
          ...(description === undefined ? {} : { description }),
          cached: isCached(held),
          ...(size === undefined ? {} : { size })
        }
      }),
    { concurrency: 16 }
  )

const titles = ["NAME", "ARCH", "CACHED", "SIZE", "DESCRIPTION"] as const

/** Never in the middle of a character. */
const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 3)).replace(/[\ud800-\udbff]$/, "")}...`

/**
 * The listing for people. Where a window is too narrow for it, descriptions are cut, then they go, then the architecture
 * does, then names are cut.
 */
export const lines = (
  images: ReadonlyArray<Listed>,
  columns: number = stdoutColumns() ?? Number.POSITIVE_INFINITY
): ReadonlyArray<string> => {
  const rows = images.map(({ architecture, cached, description, name, size }) => ({
    NAME: name,
    ARCH: plain(architecture ?? "-"),
    CACHED: cached ? "cached" : "-",
    SIZE: size === undefined ? "-" : bytes(size),
    DESCRIPTION: plain(description ?? "")
  }))
  const tableOf = (shown: ReadonlyArray<(typeof titles)[number]>, longestName = Number.POSITIVE_INFINITY) =>
    table([
      shown,
      ...rows.map((row) => shown.map((title) => (title === "NAME" ? cut(row[title], longestName) : row[title])))
    ])
  const widthOf = (text: ReadonlyArray<string>) => Math.max(...text.map(({ length }) => length))

  const brief = tableOf(["NAME", "ARCH", "CACHED", "SIZE"])
  const roomForNames = columns - widthOf(tableOf(["CACHED", "SIZE"])) - 2
  const fitting =
    widthOf(brief) + 2 + "DESCRIPTION".length <= columns
      ? tableOf(titles)
      : widthOf(brief) <= columns
        ? brief
        : tableOf(["NAME", "CACHED", "SIZE"], roomForNames)
  return fitting.map((line) => cut(line, columns))
}

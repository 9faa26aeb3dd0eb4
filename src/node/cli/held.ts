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

/** The listing for people; on a terminal a line is no longer than the window. */
export const lines = (images: ReadonlyArray<Listed>): ReadonlyArray<string> => {
  const rows = images.map(({ architecture, cached, description, name, size }) => [
    name,
    plain(architecture ?? "-"),
    cached ? "cached" : "-",
    size === undefined ? "-" : bytes(size),
    plain(description ?? "")
  ])
  const columns = stdoutColumns() ?? Number.POSITIVE_INFINITY
  return table([["NAME", "ARCH", "CACHED", "SIZE", "DESCRIPTION"], ...rows]).map((line) =>
    line.length <= columns ? line : `${line.slice(0, Math.max(0, columns - 3))}...`
  )
}

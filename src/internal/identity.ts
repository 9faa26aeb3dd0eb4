import type { FileSystem } from "@effect/platform/FileSystem"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import type { ImageSource } from "../ImageSource.js"
import type { Sha256 } from "../Sha256.js"

/** Names a cache, process-wide. */
export const cacheKey = (disk: string, root: string): string => JSON.stringify([disk, root])

/** Names an image in a cache, process-wide. */
export const imageKey = (disk: string, root: string, image: string): string => JSON.stringify([disk, root, image])

/** Names what a file in a cache holds, process-wide. */
export const contentKey = (disk: string, root: string, sha256: Sha256): string =>
  JSON.stringify([disk, root, "sha256", sha256])

/**
 * Callers of one fingerprint want the same bytes in the same files, by the same requests and within the same limits, and may
 * share the work. How patient it is, is up to whoever came first.
 */
export const fingerprint = (
  source: ImageSource,
  { maxSize, offline }: { readonly maxSize: number; readonly offline: boolean }
): string =>
  JSON.stringify([
    offline,
    maxSize,
    source.files.map(({ asset, filename }) => [
      filename,
      asset.sha256,
      asset.size,
      asset.url.map(({ headers, href }) => [
        Redacted.value(href),
        Record.toEntries(Record.map(headers, Redacted.value))
      ])
    ])
  ])

const identities = new WeakMap<FileSystem, string>()
let count = 0

/** A name for a disk that does not name itself: as good as the identity of the service that shows it. */
export const diskOf = (fs: FileSystem): string => {
  const known = identities.get(fs)
  if (known !== undefined) return known
  const fresh = `file system ${++count}`
  identities.set(fs, fresh)
  return fresh
}

// The limit of the platform: undici, node:crypto and node:fs without Effect, and without any of our guarantees but fsync.
import { createHash } from "node:crypto"
import { lstat, mkdir, open, readFile } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import * as Undici from "@effect/platform-node/Undici"
import { answer, type File, job, median, peakRss, timed } from "./protocol.js"

const loaded = performance.now()
const { before, directory, kernel, mode, rootfs, times = 1 } = job()

const download = async ({ sha256, url }: File, path: string): Promise<void> => {
  const file = await open(path, "wx")
  const hash = createHash("sha256")
  const { body } = await Undici.request(url)
  await pipeline(
    body,
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk)
        yield chunk
      }
    },
    // flush: fsync before close
    file.createWriteStream({ flush: true, highWaterMark: 1024 * 1024 })
  )
  if (hash.digest("hex") !== sha256) throw new Error(`${path}: wrong digest`)
}

const ensure = async (files: { readonly kernel: File; readonly rootfs: File }, directory: string): Promise<void> => {
  await mkdir(directory, { recursive: true })
  await Promise.all([
    download(files.kernel, join(directory, "vmlinux.bin")),
    download(files.rootfs, join(directory, "rootfs.ext4"))
  ])
}

switch (mode) {
  case "idle":
    answer({ wall: 0, loaded, peakRss: peakRss() })
    break
  case "ensure":
  case "later": {
    if (before !== undefined) await ensure(before, join(directory, "before"))
    const cost = await timed(() => ensure({ kernel, rootfs }, directory))
    answer({ ...cost, loaded, peakRss: peakRss() })
    await Undici.getGlobalDispatcher().close()
    break
  }
  default: {
    // What an instant hit cannot do without: look at each file, read a record of it.
    const samples: Array<number> = []
    for (let round = 0; round < times; round++) {
      const start = performance.now()
      await Promise.all(
        ["vmlinux.bin", "rootfs.ext4"].map(async (name) => {
          await lstat(join(directory, "image", name))
          await readFile(join(directory, "record"))
        })
      )
      samples.push(performance.now() - start)
    }
    answer({ wall: median(samples.slice(Math.floor(times / 3))), loaded, peakRss: peakRss() })
  }
}

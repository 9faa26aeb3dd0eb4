// An npm downloader that users would reach for. It knows no digests, so node:crypto does the checking.
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, open } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { downloadFile } from "ipull"
import { answer, type File, job, peakRss, timed } from "./protocol.js"

const loaded = performance.now()
const { directory, kernel, rootfs } = job()

const download = async ({ sha256, url }: File, name: string): Promise<void> => {
  const path = join(directory, name)
  await (await downloadFile({ url, savePath: path })).download()
  const file = await open(path, "r+")
  await file.sync()
  await file.close()
  const hash = createHash("sha256")
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash)
  if (hash.digest("hex") !== sha256) throw new Error(`${path}: wrong digest`)
}

const cost = await timed(async () => {
  await mkdir(directory, { recursive: true })
  await Promise.all([download(kernel, "vmlinux.bin"), download(rootfs, "rootfs.ext4")])
})
answer({ ...cost, loaded, peakRss: peakRss() })

// The sides of the comparisons: us and the peers, each made to leave its files durable and verified.
import { rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { measured, type Sample, type Side, shell } from "./measure.js"
import type { File, Job } from "./processes/protocol.js"
import type { Generated, Workplace } from "./workplace.js"

export interface Image {
  readonly kernel: Generated
  readonly rootfs: Generated
}

const pinned = ({ sha256, url }: Generated): File => ({ sha256, url })

export const files = ({ kernel, rootfs }: Image) => ({ kernel: pinned(kernel), rootfs: pinned(rootfs) })

export type Sides = ReturnType<typeof make>

export const make = (place: Workplace) => {
  const cache = join(place.directory, "cache")
  const elsewhere = join(place.directory, "elsewhere")
  const [kernelPath, rootfsPath] = [join(elsewhere, "vmlinux.bin"), join(elsewhere, "rootfs.ext4")]

  /** Nothing there, and nothing of the last run still on its way to the disk. */
  const empty = async () => {
    await rm(cache, { recursive: true, force: true })
    await rm(elsewhere, { recursive: true, force: true })
    await shell(`sync -f ${place.directory}`)
  }

  const process = (name: string, directory: string, image: Image, extra: Partial<Job>): Promise<Sample> =>
    measured(place.process(name), { mode: "ensure", directory, ...files(image), ...extra })
  const ours = (image: Image, extra: Partial<Job> = {}) => process("ours", cache, image, extra)
  const bare = (image: Image, extra: Partial<Job> = {}) => process("bare", elsewhere, image, extra)

  return {
    cache,
    empty,
    /** Us and the bare pipeline, with whatever is there already. */
    ours,
    bare,
    coldOurs: (image: Image, extra: Partial<Job> = {}): Side => ({
      name: "ours",
      prepare: empty,
      run: () => ours(image, extra)
    }),
    coldBare: (image: Image, extra: Partial<Job> = {}): Side => ({
      name: "bare pipeline",
      prepare: empty,
      run: () => bare(image, extra)
    }),
    curl: ({ kernel, rootfs }: Image): Side => ({
      name: "curl, sync, openssl",
      prepare: empty,
      run: () =>
        shell(
          `mkdir -p ${elsewhere}; curl -sSf -o ${kernelPath} ${kernel.url} -o ${rootfsPath} ${rootfs.url}; ` +
            `sync ${kernelPath} ${rootfsPath}; openssl dgst -sha256 ${kernelPath} ${rootfsPath} | ` +
            `grep -c -e ${kernel.sha256} -e ${rootfs.sha256} | grep -qx 2`
        )
    }),
    aria2: ({ kernel, rootfs }: Image): Side => {
      const entry = ({ sha256, url }: Generated, name: string) =>
        `${url}\n  out=${name}\n  checksum=sha-256=${sha256}\n`
      const list = join(place.directory, "aria2.txt")
      return {
        name: "aria2c -x4, sync",
        prepare: async () => {
          await empty()
          await writeFile(list, entry(kernel, "vmlinux.bin") + entry(rootfs, "rootfs.ext4"))
        },
        run: () => shell(`aria2c -q -x4 -s4 -j2 -d ${elsewhere} -i ${list}; sync ${kernelPath} ${rootfsPath}`)
      }
    },
    ipull: (image: Image): Side => ({
      name: "ipull, fsync, node:crypto",
      prepare: empty,
      run: () => process("ipull", elsewhere, image, {})
    }),
    openssl: ({ kernel, rootfs }: Image): Side => ({
      name: "openssl dgst",
      run: () => shell(`openssl dgst -sha256 ${kernel.path} ${rootfs.path}`)
    })
  }
}

// What is measured: each case gives rows of the table.
import { rm, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { alternate, measured, medianOf, node, type Sample, type Side, shell, spreadOf } from "./measure.js"
import { type Answer, type File, type Job, median } from "./processes/protocol.js"
import { judge, type Panel, type Row } from "./report.js"
import { type Generated, has, MiB, type Workplace } from "./workplace.js"

export interface Settings {
  readonly library: string
  readonly rootfs: number
  readonly kernel: number
  readonly pairs: number
  readonly quick: boolean
  readonly wanted: (name: string) => boolean
}

interface Image {
  readonly kernel: Generated
  readonly rootfs: Generated
}

export interface Outcome {
  readonly rows: ReadonlyArray<Row>
  readonly panels: ReadonlyArray<Panel>
}

const pinned = ({ sha256, url }: Generated): File => ({ sha256, url })

const wall = (sample: Sample) => sample.wall
const whole = (sample: Sample) => sample.whole
const memory = (sample: Sample) => sample.peakRss

export const runAll = async (place: Workplace, settings: Settings, progress: (text: string) => void) => {
  const { kernel, library, pairs, quick, rootfs, wanted } = settings
  const rows: Array<Row> = []
  const panels: Array<Panel> = []
  const cache = join(place.directory, "cache")
  const elsewhere = join(place.directory, "elsewhere")

  const files = ({ kernel, rootfs }: Image) => ({ kernel: pinned(kernel), rootfs: pinned(rootfs) })
  const ours = (image: Image, extra: Partial<Job> = {}): Promise<Sample> =>
    measured(place.process("ours"), { mode: "ensure", directory: cache, ...files(image), ...extra })
  const bare = (image: Image, extra: Partial<Job> = {}): Promise<Sample> =>
    measured(place.process("bare"), { mode: "ensure", directory: elsewhere, ...files(image), ...extra })

  /** Nothing there, and nothing of the last run still on its way to the disk. */
  const empty = async () => {
    await rm(cache, { recursive: true, force: true })
    await rm(elsewhere, { recursive: true, force: true })
    await shell(`sync -f ${place.directory}`)
  }

  const compare = (
    what: string,
    peer: string,
    mine: ReadonlyArray<Sample>,
    theirs: ReadonlyArray<Sample>,
    bar?: number
  ): Row => {
    const spread = [spreadOf(mine, wall), spreadOf(theirs, wall)] as const
    return judge({
      what,
      peer,
      unit: "ms",
      ours: medianOf(mine, wall),
      theirs: medianOf(theirs, wall),
      wholeRatio: medianOf(mine, whole) / medianOf(theirs, whole),
      spread,
      // Then the machine had other things to do, and the ratio tells little.
      ...(Math.max(...spread) > 0.25 ? { note: "noisy" } : {}),
      ...(bar === undefined ? {} : { bar: { is: "at most", ratio: bar } })
    })
  }

  const curl = ({ kernel, rootfs }: Image, from: "url" | "slowUrl" = "url"): Side => {
    const [k, r] = [`${elsewhere}/vmlinux.bin`, `${elsewhere}/rootfs.ext4`]
    return {
      name: "curl, sync, openssl",
      prepare: empty,
      run: () =>
        shell(
          `mkdir -p ${elsewhere}; curl -sSf -o ${k} ${kernel[from]} -o ${r} ${rootfs[from]}; sync ${k} ${r}; ` +
            `openssl dgst -sha256 ${k} ${r} | grep -c -e ${kernel.sha256} -e ${rootfs.sha256} | grep -qx 2`
        )
    }
  }
  const aria2 = ({ kernel, rootfs }: Image): Side => {
    const entry = ({ sha256, url }: Generated, name: string) => `${url}\n  out=${name}\n  checksum=sha-256=${sha256}\n`
    const list = join(place.directory, "aria2.txt")
    return {
      name: "aria2c -x4, sync",
      prepare: async () => {
        await empty()
        await writeFile(list, entry(kernel, "vmlinux.bin") + entry(rootfs, "rootfs.ext4"))
      },
      run: () =>
        shell(
          `aria2c -q -x4 -s4 -j2 -d ${elsewhere} -i ${list}; sync ${elsewhere}/vmlinux.bin ${elsewhere}/rootfs.ext4`
        )
    }
  }
  const openssl = (image: Image): Side => ({
    name: "openssl dgst",
    run: () => shell(`openssl dgst -sha256 ${image.kernel.path} ${image.rootfs.path}`)
  })
  const us = (image: Image, extra: Partial<Job> = {}): Side => ({
    name: "ours",
    prepare: empty,
    run: () => ours(image, extra)
  })
  const barePipeline = (image: Image): Side => ({ name: "bare pipeline", prepare: empty, run: () => bare(image) })

  const of = (samples: ReadonlyMap<string, ReadonlyArray<Sample>>, name: string) => samples.get(name) ?? []
  const add = (...added: ReadonlyArray<Row>) => rows.push(...added)
  const begin = (name: string): boolean => {
    if (wanted(name)) progress(name)
    return wanted(name)
  }

  const image: Image = {
    kernel: await place.generate("kernel", kernel),
    rootfs: await place.generate("rootfs", rootfs)
  }
  const size = `${rootfs} + ${kernel} MiB`

  let cold: ReadonlyMap<string, ReadonlyArray<Sample>> = new Map()
  if (begin("cold")) {
    const what = `cold, ${size}`
    const sides: Array<Side> = [us(image), curl(image), barePipeline(image)]
    const npm: Side = {
      name: "ipull, fsync, node:crypto",
      prepare: empty,
      run: () => measured(place.process("ipull"), { mode: "ensure", directory: elsewhere, ...files(image) })
    }
    if (!quick) sides.push(npm)
    if (!quick && has("aria2c")) sides.push(aria2(image))
    cold = await alternate(sides, pairs)
    const bars = new Map([
      ["curl, sync, openssl", 1],
      ["bare pipeline", 1.1]
    ])
    for (const { name } of sides.slice(1)) {
      add(compare(what, name, of(cold, "ours"), of(cold, name), bars.get(name)))
    }
    if (!has("aria2c")) add({ what, peer: "aria2c -x4, sync", unit: "ms", verdict: "absent" })
    panels.push({
      title: `Cold: download, verify, make durable (${size})`,
      bars: sides.map(({ name }) => ({
        label: name === "ours" ? "smolvm-images" : name,
        value: medianOf(of(cold, name), wall),
        ours: name === "ours"
      }))
    })
  }

  if (begin("hit")) {
    await empty()
    await ours(image)
    const hit = await alternate([{ name: "ours", run: () => ours(image) }, openssl(image)], pairs)
    add(compare(`verified hit, ${size}`, "openssl dgst", of(hit, "ours"), of(hit, "openssl dgst"), 1))
    const twin = await place.generate("twin", rootfs)
    const equal: Image = { kernel: twin, rootfs: image.rootfs }
    await empty()
    await ours(equal)
    const twins = await alternate([{ name: "ours", run: () => ours(equal) }, openssl(equal)], pairs)
    add(
      compare(
        `verified hit, ${rootfs} + ${rootfs} MiB`,
        "openssl dgst",
        of(twins, "ours"),
        of(twins, "openssl dgst"),
        0.7
      )
    )
    await rm(twin.path)
    for (const [title, samples] of [
      [size, hit],
      [`${rootfs} + ${rootfs} MiB`, twins]
    ] as const) {
      panels.push({
        title: `Verified hit: SHA-256 of everything (${title})`,
        bars: ["ours", "openssl dgst"].map((name) => ({
          label: name === "ours" ? "smolvm-images" : name,
          value: medianOf(of(samples, name), wall),
          ours: name === "ours"
        }))
      })
    }
  }

  const small: Image = {
    kernel: await place.generate("small-kernel", 1),
    rootfs: await place.generate("small-rootfs", 1)
  }

  if (begin("stat")) {
    for (const mebibytes of quick ? [1] : [1, 4096]) {
      const what = `instant hit (stat), ${mebibytes} MiB`
      const stated: Image = { ...small, rootfs: await place.generate("stated", mebibytes) }
      await empty()
      const options = { verification: "stat" }
      await ours(stated, { options })
      // A record is only made of a file that has settled.
      for (const name of ["vmlinux.bin", "rootfs.ext4"]) await utimes(join(cache, "image", name), 1e9, 1e9)
      await shell("sleep 3")
      await ours(stated, { options })
      await writeFile(join(cache, "record"), "x".repeat(256))
      const times = quick ? 300 : 1000
      const samples = await alternate(
        [
          { name: "ours", run: () => ours(stated, { mode: "repeat", options, times }) },
          { name: "bare", run: () => bare(stated, { mode: "repeat", directory: cache, times }) }
        ],
        Math.min(pairs, 5)
      )
      const { wholeRatio: _, ...row } = compare(
        what,
        "the same calls of node:fs",
        of(samples, "ours"),
        of(samples, "bare"),
        4
      )
      add(row)
      await rm(stated.rootfs.path)
    }
  }

  if (begin("memory")) {
    const idle = await alternate(
      [
        { name: "ours", run: () => ours(image, { mode: "idle" }) },
        { name: "bare pipeline", run: () => bare(image, { mode: "idle" }) }
      ],
      3
    )
    const runs = cold.size > 0 ? cold : await alternate([us(image), barePipeline(image)], pairs)
    const idleMemory = (name: string) => medianOf(of(idle, name), memory)
    const overIdle = (name: string) => medianOf(of(runs, name), memory) - idleMemory(name)
    add(
      judge({
        what: `peak RSS over idle, cold, ${size}`,
        peer: "bare pipeline",
        unit: "MiB",
        ours: overIdle("ours"),
        theirs: overIdle("bare pipeline"),
        bar: { is: "at most", ratio: 1.5 },
        note: `idle: ${["ours", "bare pipeline"].map((name) => `${(idleMemory(name) / MiB).toFixed(0)} MiB`).join(" and ")}`
      })
    )
  }

  if (begin("segments")) {
    // One connection takes 27 s for 512 MiB.
    const large = quick ? await place.generate("slow-rootfs", 192) : image.rootfs
    const slow: Image = {
      kernel: { ...small.kernel, url: small.kernel.slowUrl },
      rootfs: { ...large, url: large.slowUrl }
    }
    const over = (image: Image, connections: number): Side => us(image, { options: { connections } })
    const before = await place.rangeRequests()
    const limited = await alternate([over(slow, 4), { ...over(slow, 1), name: "one" }], quick ? 1 : 3)
    if ((await place.rangeRequests()) === before) throw new Error("nothing was fetched in segments")
    const [mine, theirs] = [of(limited, "ours"), of(limited, "one")]
    const { bar: _, ...row } = compare("4 segments, 20 MB/s for each connection", "1 stream", mine, theirs)
    add(
      judge({
        ...row,
        ratio: medianOf(theirs, wall) / medianOf(mine, wall),
        bar: { is: "at least", ratio: 3.5 },
        note: "times as fast"
      })
    )
    const free = await alternate([us(image), { ...over(image, 1), name: "one" }], pairs)
    add(compare("segments, nothing limited", "1 stream", of(free, "ours"), of(free, "one"), 1.05))
  }

  if (begin("concurrent")) {
    await empty()
    await ours(small)
    const runs = await alternate(
      [{ name: "ours", run: () => ours(small, { mode: "concurrent", times: quick ? 20 : 40 }) }],
      quick ? 2 : 5
    )
    add(
      judge({
        what: "20 concurrent hits of a cached image, 1 + 1 MiB",
        peer: "one such hit",
        unit: "ms",
        ours: medianOf(of(runs, "ours"), (sample) => sample.together ?? Number.NaN),
        theirs: medianOf(of(runs, "ours"), wall),
        bar: { is: "at most", ratio: 3 }
      })
    )
  }

  if (begin("event loop")) {
    const rounds = quick ? 1 : 3
    const downloading = await alternate([us(image, { monitor: true })], rounds)
    const hashing = await alternate([{ name: "ours", run: () => ours(image, { monitor: true }) }], rounds)
    for (const [name, samples] of [
      ["downloading", downloading],
      ["hashing", hashing]
    ] as const) {
      const loops = of(samples, "ours").flatMap(({ loop }: Answer) => (loop === undefined ? [] : [loop]))
      const p99 = median(loops.map((loop) => loop.p99))
      add(
        judge({
          what: `event-loop delay while ${name}, p99`,
          peer: "20 ms",
          unit: "ms",
          ours: p99,
          ratio: p99 / 20,
          bar: { is: "at most", ratio: 1 },
          note: `longest ${Math.max(...loops.map((loop) => loop.max)).toFixed(0)} ms`
        })
      )
    }
  }

  if (begin("start-up")) {
    await empty()
    await ours(small)
    const runs = await alternate(
      [
        { name: "ours", run: () => ours(small) },
        { name: "idle", run: () => ours(small, { mode: "idle" }) },
        { name: "node -e 0", run: () => node(["-e", "0"]) }
      ],
      pairs
    )
    const took = (name: string) => medianOf(of(runs, name), whole)
    const hit = medianOf(of(runs, "ours"), wall)
    const ms = (value: number) => `${value.toFixed(0)} ms`
    add(
      judge({
        what: "whole process: import and a hit, 1 + 1 MiB",
        peer: "node -e 0",
        unit: "ms",
        ours: took("ours"),
        theirs: took("node -e 0"),
        note: `node ${ms(took("node -e 0"))}, imports ${ms(took("idle") - took("node -e 0"))}, layer and hit ${ms(hit)}`
      })
    )
  }

  if (begin("command line")) {
    const runs = await alternate(
      [
        { name: "list", run: () => node([join(library, "dist", "cli.js"), "list"]) },
        { name: "node -e 0", run: () => node(["-e", "0"]) }
      ],
      pairs
    )
    add(
      judge({
        what: "whole process: smolvm-images list",
        peer: "node -e 0",
        unit: "ms",
        ours: medianOf(of(runs, "list"), whole),
        theirs: medianOf(of(runs, "node -e 0"), whole),
        bar: { is: "at most", ratio: 3 }
      })
    )
  }

  if (!quick && begin("growth")) {
    const held: Array<{ readonly mebibytes: number; readonly mine: number; readonly theirs: number }> = []
    for (const mebibytes of [64, 256, 1024, 4096]) {
      progress(`growth, ${mebibytes} MiB`)
      const grown: Image = { kernel: small.kernel, rootfs: await place.generate("grown", mebibytes) }
      const rounds = mebibytes > 1024 ? 3 : Math.min(pairs, 5)
      const colds = await alternate([us(grown), curl(grown), barePipeline(grown)], rounds)
      await empty()
      await ours(grown)
      const hits = await alternate([{ name: "ours", run: () => ours(grown) }, openssl(grown)], rounds)
      const what = `growth, ${mebibytes} MiB`
      add(
        compare(`${what}: cold`, "curl, sync, openssl", of(colds, "ours"), of(colds, "curl, sync, openssl"), 1),
        compare(`${what}: cold`, "bare pipeline", of(colds, "ours"), of(colds, "bare pipeline"), 1.1),
        compare(`${what}: hit`, "openssl dgst", of(hits, "ours"), of(hits, "openssl dgst"), 1)
      )
      held.push({
        mebibytes,
        mine: medianOf(of(colds, "ours"), memory),
        theirs: medianOf(of(colds, "bare pipeline"), memory)
      })
      await empty()
      await rm(grown.rootfs.path)
    }
    for (const { mebibytes, mine, theirs } of held) {
      add(
        judge({
          what: `growth, ${mebibytes} MiB: peak RSS`,
          peer: "bare pipeline",
          unit: "MiB",
          ours: mine,
          theirs
        })
      )
    }
    const heldAt = (size: number) => held.find(({ mebibytes }) => mebibytes === size)?.mine ?? Number.NaN
    add(
      judge({
        what: "peak RSS, 4 GiB",
        peer: "ours at 256 MiB",
        unit: "MiB",
        ours: heldAt(4096),
        theirs: heldAt(256),
        bar: { is: "at most", ratio: 1.15 }
      })
    )
  }
  return { rows, panels, samples: Object.fromEntries(cold) }
}

// What is measured: each case gives rows of the table, and some a panel of the chart.
import { rm, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Bench, Outcome, Settings } from "./case.js"
import { compare, memory, of, panel, type Samples, wall, whole, workAlone } from "./comparison.js"
import { growth } from "./growth.js"
import { alternate, medianOf, node, type Side, shell } from "./measure.js"
import { type Answer, median } from "./processes/protocol.js"
import { judge, type Panel, type Row } from "./report.js"
import * as Sides from "./sides.js"
import { has, MiB, type Workplace } from "./workplace.js"

const cold = async ({ coldRuns, size }: Bench): Promise<Outcome> => {
  const samples = await coldRuns()
  const bars = new Map([
    ["curl, sync, openssl", 1],
    ["bare pipeline", 1.1]
  ])
  const what = `cold, ${size}`
  const peers = [...samples.keys()].filter((name) => name !== "ours")
  return {
    rows: [
      ...peers.map((name) => compare(what, samples, name, bars.get(name))),
      ...(has("aria2c") ? [] : [{ what, peer: "aria2c -x4, sync", unit: "ms", verdict: "absent" } as const])
    ],
    panels: [panel(`Cold: download, verify, make durable (${size})`, samples)]
  }
}

const hit = async ({ image, place, settings: { pairs, rootfs }, sides, size }: Bench): Promise<Outcome> => {
  const twins: Sides.Image = { kernel: await place.generate("twin", rootfs), rootfs: image.rootfs }
  const rows: Array<Row> = []
  const panels: Array<Panel> = []
  for (const { bar, cached, title } of [
    { cached: image, title: size, bar: 1 },
    // There are two cores.
    { cached: twins, title: `${rootfs} + ${rootfs} MiB`, bar: 0.7 }
  ]) {
    await sides.empty()
    await sides.ours(cached)
    const samples = await alternate([{ name: "ours", run: () => sides.ours(cached) }, sides.openssl(cached)], pairs)
    rows.push(compare(`verified hit, ${title}`, samples, "openssl dgst", bar))
    panels.push(panel(`Verified hit: SHA-256 of everything (${title})`, samples))
  }
  await rm(twins.kernel.path)
  return { rows, panels }
}

const stat = async ({ place, settings: { pairs, quick }, sides, small }: Bench): Promise<Outcome> => {
  const rows: Array<Row> = []
  for (const mebibytes of quick ? [1] : [1, 4096]) {
    const stated: Sides.Image = { ...small, rootfs: await place.generate("stated", mebibytes) }
    await sides.empty()
    const options = { verification: "stat" }
    await sides.ours(stated, { options })
    // A record is only made of a file that has settled.
    for (const name of ["vmlinux.bin", "rootfs.ext4"]) await utimes(join(sides.cache, "image", name), 1e9, 1e9)
    await shell("sleep 3")
    await sides.ours(stated, { options })
    await writeFile(join(sides.cache, "record"), "x".repeat(256))
    const times = quick ? 300 : 1000
    const peer = "the same calls of node:fs"
    const samples = await alternate(
      [
        { name: "ours", run: () => sides.ours(stated, { mode: "repeat", options, times }) },
        { name: peer, run: () => sides.bare(stated, { mode: "repeat", directory: sides.cache, times }) }
      ],
      Math.min(pairs, 5)
    )
    rows.push(workAlone(compare(`instant hit (stat), ${mebibytes} MiB`, samples, peer, 4)))
    await rm(stated.rootfs.path)
  }
  return { rows }
}

const peakMemory = async ({ coldRuns, image, sides, size }: Bench): Promise<Outcome> => {
  const idle = await alternate(
    [
      { name: "ours", run: () => sides.ours(image, { mode: "idle" }) },
      { name: "bare pipeline", run: () => sides.bare(image, { mode: "idle" }) }
    ],
    3
  )
  const runs = await coldRuns()
  const idleMemory = (name: string) => medianOf(of(idle, name), memory)
  const overIdle = (name: string) => medianOf(of(runs, name), memory) - idleMemory(name)
  const row = judge({
    what: `peak RSS over idle, cold, ${size}`,
    peer: "bare pipeline",
    unit: "MiB",
    ours: overIdle("ours"),
    theirs: overIdle("bare pipeline"),
    bar: { is: "at most", ratio: 1.5 },
    note: `idle: ${["ours", "bare pipeline"].map((name) => `${(idleMemory(name) / MiB).toFixed(0)} MiB`).join(" and ")}`
  })
  return { rows: [row] }
}

const segments = async (bench: Bench): Promise<Outcome> => {
  const { image, place, settings, sides, small } = bench
  // One connection takes 27 s for 512 MiB.
  const large = settings.quick ? await place.generate("slow-rootfs", 192) : image.rootfs
  const slow: Sides.Image = {
    kernel: { ...small.kernel, url: small.kernel.slowUrl },
    rootfs: { ...large, url: large.slowUrl }
  }
  const peer = "1 stream"
  const one = (image: Sides.Image): Side => ({ ...sides.coldOurs(image, { options: { connections: 1 } }), name: peer })
  const before = await place.rangeRequests()
  const four = sides.coldOurs(slow, { options: { connections: 4 } })
  const limited = await alternate([four, one(slow)], settings.quick ? 1 : 3)
  if ((await place.rangeRequests()) === before) throw new Error("nothing was fetched in segments")
  const free = await alternate([sides.coldOurs(image), one(image)], settings.pairs)
  const row = compare("4 segments, 20 MB/s for each connection", limited, peer)
  return {
    rows: [
      judge({
        ...row,
        ratio: medianOf(of(limited, peer), wall) / medianOf(of(limited, "ours"), wall),
        bar: { is: "at least", ratio: 3.5 },
        note: "times as fast"
      }),
      compare("segments, nothing limited", free, peer, 1.05)
    ]
  }
}

const concurrent = async ({ settings: { quick }, sides, small }: Bench): Promise<Outcome> => {
  await sides.empty()
  await sides.ours(small)
  const runs = await alternate(
    [{ name: "ours", run: () => sides.ours(small, { mode: "concurrent", times: quick ? 20 : 40 }) }],
    quick ? 2 : 5
  )
  const row = judge({
    what: "20 concurrent hits of a cached image, 1 + 1 MiB",
    peer: "one such hit",
    unit: "ms",
    ours: medianOf(of(runs, "ours"), (sample) => sample.together ?? Number.NaN),
    theirs: medianOf(of(runs, "ours"), wall),
    bar: { is: "at most", ratio: 3 }
  })
  return { rows: [row] }
}

const eventLoop = async ({ image, settings: { quick }, sides }: Bench): Promise<Outcome> => {
  const rounds = quick ? 1 : 3
  const watched = { monitor: true }
  const downloading = await alternate([sides.coldOurs(image, watched)], rounds)
  const hashing = await alternate([{ name: "ours", run: () => sides.ours(image, watched) }], rounds)
  const row = (name: string, samples: Samples): Row => {
    const loops = of(samples, "ours").flatMap(({ loop }: Answer) => (loop === undefined ? [] : [loop]))
    const p99 = median(loops.map((loop) => loop.p99))
    return judge({
      what: `event-loop delay while ${name}, p99`,
      peer: "20 ms",
      unit: "ms",
      ours: p99,
      ratio: p99 / 20,
      bar: { is: "at most", ratio: 1 },
      note: `longest ${Math.max(...loops.map((loop) => loop.max)).toFixed(0)} ms`
    })
  }
  return { rows: [row("downloading", downloading), row("hashing", hashing)] }
}

const emptyNode: Side = { name: "node -e 0", run: () => node(["-e", "0"]) }

const startUp = async ({ settings: { pairs }, sides, small }: Bench): Promise<Outcome> => {
  await sides.empty()
  await sides.ours(small)
  const runs = await alternate(
    [
      { name: "ours", run: () => sides.ours(small) },
      { name: "idle", run: () => sides.ours(small, { mode: "idle" }) },
      emptyNode
    ],
    pairs
  )
  const took = (name: string) => medianOf(of(runs, name), whole)
  const ms = (value: number) => `${value.toFixed(0)} ms`
  const row = judge({
    what: "whole process: import and a hit, 1 + 1 MiB",
    peer: emptyNode.name,
    unit: "ms",
    ours: took("ours"),
    theirs: took(emptyNode.name),
    note: `node ${ms(took(emptyNode.name))}, imports ${ms(took("idle") - took(emptyNode.name))}, layer and hit ${ms(medianOf(of(runs, "ours"), wall))}`
  })
  return { rows: [row] }
}

const commandLine = async ({ settings: { library, pairs } }: Bench): Promise<Outcome> => {
  const list: Side = { name: "ours", run: () => node([join(library, "dist", "cli.js"), "list"]) }
  const runs = await alternate([list, emptyNode], pairs)
  // All of it is the whole process.
  return { rows: [workAlone(compare("whole process: smolvm-images list", runs, emptyNode.name, 3))] }
}

/** In the order of the table. */
const cases: ReadonlyArray<readonly [name: string, run: (bench: Bench) => Promise<Outcome>]> = [
  ["cold", cold],
  ["hit", hit],
  ["stat", stat],
  ["memory", peakMemory],
  ["segments", segments],
  ["concurrent", concurrent],
  ["event loop", eventLoop],
  ["start-up", startUp],
  ["command line", commandLine],
  ["growth", growth]
]

export const runAll = async (place: Workplace, settings: Settings, progress: (text: string) => void) => {
  const { kernel, pairs, quick, rootfs, wanted } = settings
  const sides = Sides.make(place)
  const image: Sides.Image = {
    kernel: await place.generate("kernel", kernel),
    rootfs: await place.generate("rootfs", rootfs)
  }
  let colds: Promise<Samples> | undefined
  const coldRuns = () => {
    colds ??= alternate(
      [
        sides.coldOurs(image),
        sides.curl(image),
        sides.coldBare(image),
        ...(quick ? [] : [sides.ipull(image)]),
        ...(quick || !has("aria2c") ? [] : [sides.aria2(image)])
      ],
      pairs
    )
    return colds
  }
  const bench: Bench = {
    place,
    settings,
    sides,
    image,
    size: `${rootfs} + ${kernel} MiB`,
    small: { kernel: await place.generate("small-kernel", 1), rootfs: await place.generate("small-rootfs", 1) },
    coldRuns,
    progress
  }
  const outcomes: Array<Outcome> = []
  for (const [name, run] of cases) {
    if (!wanted(name) || (quick && run === growth)) continue
    progress(name)
    outcomes.push(await run(bench))
  }
  return {
    rows: outcomes.flatMap(({ rows }) => rows),
    panels: outcomes.flatMap(({ panels = [] }) => panels),
    samples: colds === undefined ? {} : Object.fromEntries(await colds)
  }
}

// `npm run bench`: how fast the built package is beside its peers. `--quick` is the small version for CI.
import { mkdir, writeFile } from "node:fs/promises"
import { cpus, loadavg, release, totalmem } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { root, say } from "../tools/run.js"
import { runAll } from "./cases.js"
import { chart, isGross, table } from "./report.js"
import { has, prepare } from "./workplace.js"

const { values: flags } = parseArgs({
  options: {
    /** 3 pairs, no growth table, nothing written; fails when a ratio is twice beyond its bar, and again in a second run. */
    quick: { type: "boolean", default: false },
    pairs: { type: "string" },
    /** Sizes in MiB. */
    rootfs: { type: "string" },
    kernel: { type: "string" },
    /** Only the cases whose names match. */
    only: { type: "string", default: "" },
    /** Another checkout, whose `dist` is measured in place of ours. */
    library: { type: "string", default: root },
    /** Where results.json, table.md and chart.svg go. */
    out: { type: "string" }
  }
})

const number = (text: string | undefined, standard: number): number => {
  const value = text === undefined ? standard : Number(text)
  if (!(value >= 1)) throw new Error(`${text} is not a positive number`)
  return value
}

const { library, only, quick } = flags
const settings = {
  library: resolve(library),
  quick,
  rootfs: number(flags.rootfs, 512),
  kernel: number(flags.kernel, 32),
  pairs: number(flags.pairs, quick ? 3 : 7),
  wanted: (name: string) => new RegExp(only).test(name)
}

const started = performance.now()
const loadBefore = loadavg()
const absent = ["curl", "aria2c", "openssl"].filter((program) => !has(program))
if (absent.length > 0) say(`Absent peers: ${absent.join(", ")}`)

const place = await prepare(settings.library)
try {
  const measureAll = () =>
    runAll(place, settings, (text) =>
      process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${text}\n`)
    )
  const { panels, rows, samples } = await measureAll()
  const machine = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memory: totalmem(),
    load: { before: loadBefore, after: loadavg() }
  }
  const text = [
    table(rows),
    "",
    `Ratios of medians over ${settings.pairs} pairs in turn. ours, peer: the work alone where the peer is a Node.js process, whole processes where it is a tool;`,
    "whole process: the ratio with start-up on both sides. spread: the middle half of the samples, ours / the peer's.",
    `${machine.cores} cores (${machine.cpu}), Node.js ${machine.node}, load ${loadBefore[0]?.toFixed(1)} before, ${loadavg()[0]?.toFixed(1)} after.`
  ].join("\n")
  say(text)
  const out = flags.out ?? (quick || only !== "" ? undefined : join(dirname(fileURLToPath(import.meta.url)), "results"))
  if (out !== undefined) {
    await mkdir(out, { recursive: true })
    await writeFile(
      join(out, "results.json"),
      `${JSON.stringify({ machine, settings: { ...settings, library: undefined }, rows, cold: samples }, null, 1)}\n`
    )
    const load = Math.max(loadBefore[0] ?? 0, loadavg()[0] ?? 0)
    const busy = load > 2 * machine.cores ? ` (a busy machine: load ${load.toFixed(0)})` : ""
    const footnote = `Medians of ${settings.pairs}, on ${machine.cores} cores with nginx on loopback, Node.js ${machine.node}${busy}. Less is better.`
    await writeFile(join(out, "chart.svg"), chart(panels, footnote))
    await writeFile(join(out, "table.md"), `# Results of ${machine.date}\n\n${text}\n`)
    say(`Written to ${out}`)
  }
  const gross = rows.filter(isGross)
  for (const { bar, peer, ratio, what } of gross) {
    say(`More than twice beyond the bar: ${what} / ${peer}: ${ratio?.toFixed(2)}, bar ${bar?.ratio}`)
  }
  let lasting = gross
  if (quick && gross.length > 0) {
    say("Once more: a machine that does something else for a while makes such ratios, too.")
    const again = (await measureAll()).rows
    say(table(again))
    lasting = again.filter(
      (row) => isGross(row) && gross.some(({ peer, what }) => peer === row.peer && what === row.what)
    )
    for (const { peer, what } of lasting) say(`Again more than twice beyond the bar: ${what} / ${peer}`)
  }
  process.exitCode = lasting.length > 0 ? 1 : 0
} finally {
  await place.close()
}

// Whether anything grows with the size of the image, beside a peer.
import { rm } from "node:fs/promises"
import type { Bench, Outcome } from "./case.js"
import { compare, memory, of, workAlone } from "./comparison.js"
import { alternate, medianOf } from "./measure.js"
import { judge, type Row } from "./report.js"
import * as Sides from "./sides.js"

/**
 * The first image of a process pays for JavaScript that runs for the first time, whatever its size. What grows with the size
 * shows in a process that has had an image before.
 */
export const growth = async ({ place, progress, settings: { pairs }, sides, small }: Bench): Promise<Outcome> => {
  const before: Sides.Image = { ...small, rootfs: await place.generate("before", 64) }
  const afterwards = { mode: "later", before: Sides.files(before) } as const
  const rows: Array<Row> = []
  const points: Array<{ readonly first: Row; readonly later: Row; readonly held: Row }> = []
  const sizes = [64, 256, 1024, 4096]
  for (const mebibytes of sizes) {
    const size = `growth, ${mebibytes} MiB`
    progress(size)
    const image: Sides.Image = { ...small, rootfs: await place.generate("grown", mebibytes) }
    const rounds = Math.min(pairs, 5)
    const curl = sides.curl(image)
    const colds = await alternate([sides.coldOurs(image), curl, sides.coldBare(image)], rounds)
    const laters = await alternate([sides.coldOurs(image, afterwards), curl, sides.coldBare(image, afterwards)], rounds)
    await sides.empty()
    await sides.ours(image)
    const hits = await alternate([{ name: "ours", run: () => sides.ours(image) }, sides.openssl(image)], rounds)
    const later = (peer: string) => workAlone(compare(`${size}: cold, a later image`, laters, peer))
    const point = {
      first: compare(`${size}: cold, first image of a process`, colds, curl.name),
      later: later(curl.name),
      held: judge({
        what: `${size}: peak RSS`,
        peer: "bare pipeline",
        unit: "MiB",
        ours: medianOf(of(colds, "ours"), memory),
        theirs: medianOf(of(colds, "bare pipeline"), memory)
      })
    }
    points.push(point)
    rows.push(
      point.first,
      compare(point.first.what, colds, "bare pipeline"),
      point.later,
      later("bare pipeline"),
      compare(`${size}: hit`, hits, "openssl dgst"),
      point.held
    )
    await sides.empty()
    await rm(image.rootfs.path)
  }
  /** The most of any size beside the smallest one. */
  const flat = (what: string, values: ReadonlyArray<number | undefined>): Row => {
    const [smallest = Number.NaN, ...larger] = values.map((value) => value ?? Number.NaN)
    return judge({
      what: `growth: ${what}, the most up to ${sizes.at(-1)} MiB`,
      peer: `at ${sizes[0]} MiB`,
      unit: "x",
      ratio: Math.max(...larger) / smallest,
      bar: { is: "at most", ratio: 1.15 }
    })
  }
  const ratios = (pick: "first" | "later") => points.map((point) => point[pick].ratio)
  rows.push(
    flat("cold / curl, first image of a process", ratios("first")),
    flat("cold / curl, a later image", ratios("later")),
    flat(
      "peak RSS",
      points.map(({ held }) => held.ours)
    )
  )
  return { rows }
}

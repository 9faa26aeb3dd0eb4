// Samples of several sides as rows of the table and panels of the chart.
import { medianOf, type Sample, spreadOf } from "./measure.js"
import { judge, type Panel, type Row } from "./report.js"

/** By the name of the side; ours is called "ours". */
export type Samples = ReadonlyMap<string, ReadonlyArray<Sample>>

export const wall = (sample: Sample) => sample.wall
export const whole = (sample: Sample) => sample.whole
export const memory = (sample: Sample) => sample.peakRss

export const of = (samples: Samples, name: string) => samples.get(name) ?? []

/** Our wall time beside that of a peer. */
export const compare = (what: string, samples: Samples, peer: string, bar?: number): Row => {
  const [mine, theirs] = [of(samples, "ours"), of(samples, peer)]
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

/** Without the ratio of the whole processes, where it tells nothing more. */
export const workAlone = ({ wholeRatio: _, ...row }: Row): Row => row

export const panel = (title: string, samples: Samples): Panel => ({
  title,
  bars: [...samples].map(([name, of]) => ({
    label: name === "ours" ? "smolvm-images" : name,
    value: medianOf(of, wall),
    ours: name === "ours"
  }))
})

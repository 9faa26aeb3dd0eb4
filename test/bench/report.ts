// The table, the JSON and the chart.
import { MiB } from "./workplace.js"

export type Verdict = "met" | "missed" | "reported" | "absent"

export interface Row {
  readonly what: string
  readonly peer: string
  readonly unit: "ms" | "MiB" | "x"
  /** Medians, in milliseconds or bytes. */
  readonly ours?: number
  readonly theirs?: number
  /** Of the medians. */
  readonly ratio?: number
  /** Of the medians of whole processes, start-up included. */
  readonly wholeRatio?: number
  /** The middle half of our samples and of the peer's, relative to the median. */
  readonly spread?: readonly [number, number]
  readonly bar?: { readonly is: "at most" | "at least"; readonly ratio: number }
  readonly verdict: Verdict
  readonly note?: string
}

/** The ratio is that of ours to theirs, unless another one is given. */
export const judge = (given: Omit<Row, "verdict">): Row => {
  const { bar, ours, theirs } = given
  const { ratio = ours === undefined || theirs === undefined ? undefined : ours / theirs } = given
  if (ratio === undefined) return { ...given, verdict: "reported" }
  const row = { ...given, ratio }
  if (bar === undefined) return { ...row, verdict: "reported" }
  return { ...row, verdict: (bar.is === "at most" ? ratio <= bar.ratio : ratio >= bar.ratio) ? "met" : "missed" }
}

/** Worse than twice the bar: no noise does that. */
export const isGross = ({ bar, ratio }: Row): boolean =>
  bar !== undefined && ratio !== undefined && !(bar.is === "at most" ? ratio <= 2 * bar.ratio : ratio >= bar.ratio / 2)

const quantity = (value: number | undefined, unit: Row["unit"]): string => {
  if (value === undefined) return ""
  if (unit === "x") return value.toFixed(2)
  if (unit === "MiB") return `${(value / MiB).toFixed(0)} MiB`
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`
}

const fixed = (value: number | undefined): string => value?.toFixed(2) ?? ""

const cells = (row: Row): ReadonlyArray<string> => [
  row.what,
  quantity(row.ours, row.unit),
  `${row.peer}${row.theirs === undefined ? "" : `: ${quantity(row.theirs, row.unit)}`}`,
  fixed(row.ratio),
  fixed(row.wholeRatio),
  row.bar === undefined ? "" : `${row.bar.is === "at most" ? "<=" : ">="} ${row.bar.ratio.toFixed(2)}`,
  row.spread === undefined ? "" : row.spread.map((spread) => `${(spread * 100).toFixed(0)} %`).join(" / "),
  row.note === undefined ? row.verdict : `${row.verdict} (${row.note})`
]

const heading = ["what", "ours", "peer", "ratio", "whole process", "bar", "spread", "verdict"]

export const table = (rows: ReadonlyArray<Row>): string => {
  const lines = [heading, heading.map(() => ""), ...rows.map(cells)]
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line, index) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0, index === 1 ? "-" : " ")))
    .map((line) => `| ${line.join(" | ")} |`)
    .join("\n")
}

export interface Bar {
  readonly label: string
  readonly value: number
  readonly ours: boolean
}

export interface Panel {
  readonly title: string
  readonly bars: ReadonlyArray<Bar>
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** Horizontal bars, each panel on its own scale, readable on a light and on a dark page. */
export const chart = (panels: ReadonlyArray<Panel>, footnote: string): string => {
  const width = 720
  const left = 210
  const right = 70
  const step = 22
  const parts: Array<string> = []
  let y = 8
  for (const { bars, title } of panels) {
    y += 18
    parts.push(`<text x="0" y="${y}" font-weight="bold">${escape(title)}</text>`)
    y += 10
    const longest = Math.max(...bars.map(({ value }) => value))
    for (const { label, ours, value } of bars) {
      const length = Math.round(((width - left - right) * value) / longest)
      parts.push(
        `<text x="${left - 8}" y="${y + 12}" text-anchor="end">${escape(label)}</text>`,
        `<rect x="${left}" y="${y}" width="${length}" height="16" rx="2" fill="${ours ? "#2f81f7" : "#8b949e"}"/>`,
        `<text x="${left + length + 6}" y="${y + 12}">${(value / 1000).toFixed(2)} s</text>`
      )
      y += step
    }
    y += 8
  }
  y += 12
  parts.push(`<text x="0" y="${y}" font-size="11">${escape(footnote)}</text>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 8}" width="${width}" font-family="system-ui, sans-serif" font-size="13" fill="#7d8590" role="img">
${parts.join("\n")}
</svg>
`
}

// What progress looks like, as pure functions: events are folded into a state, a state is drawn as lines.
import { stripVTControlCharacters } from "node:util"
import type { Event } from "../../Progress.js"
import { bytes, bytesOf, duration, paint, plain } from "./text.js"

/** One asset on its way. */
export interface Row {
  readonly image: string
  readonly asset: string
  readonly phase: "downloading" | "retrying" | "complete"
  readonly position: number
  readonly total: number | undefined
  readonly bytesPerSecond: number
  readonly host: string
  /** Why it is tried again. */
  readonly detail: string
  /** When it is tried again, in milliseconds since the epoch. */
  readonly retryAt: number
}

/** An image as a whole, while it is not a matter of its assets. */
export interface Image {
  readonly phase: "checking" | "waiting" | "downloading" | "committing"
  readonly note: string
  readonly startedAt: number
  /** Bytes taken for it so far, by asset. */
  readonly received: ReadonlyMap<string, number>
}

export interface State {
  readonly images: ReadonlyMap<string, Image>
  /** By image and asset, in order of appearance. */
  readonly rows: ReadonlyMap<string, Row>
}

export const initial: State = { images: new Map(), rows: new Map() }

const keyOf = ({ asset, image }: { readonly image: string; readonly asset: string }) => `${image}/${asset}`

export const hostOf = (url: string): string => {
  if (!URL.canParse(url)) return plain(url)
  const { host, protocol } = new URL(url)
  return protocol === "file:" ? "this disk" : host
}

const emptyImage = (now: number): Image => ({ phase: "checking", note: "", startedAt: now, received: new Map() })

/** What is known after an event. */
export const update = (state: State, event: Event, now: number): State => {
  const images = new Map(state.images)
  const rows = new Map(state.rows)
  const image = images.get(event.image) ?? emptyImage(now)
  const setImage = (change: Partial<Image>) => void images.set(event.image, { ...image, ...change })
  const setRow = (of: { readonly image: string; readonly asset: string }, change: Partial<Row>) => {
    const known = rows.get(keyOf(of))
    rows.set(keyOf(of), {
      image: of.image,
      asset: of.asset,
      phase: "downloading",
      position: 0,
      total: undefined,
      bytesPerSecond: 0,
      host: "",
      detail: "",
      retryAt: 0,
      ...known,
      ...change
    })
  }
  switch (event._tag) {
    case "Checking":
      setImage({ phase: "checking", note: "" })
      break
    case "Waiting":
      setImage({ phase: "waiting", note: holderOf(event) })
      break
    case "Downloading":
      setImage({
        phase: "downloading",
        received: new Map(image.received).set(event.asset, event.received)
      })
      setRow(event, {
        phase: event.position === event.total ? "complete" : "downloading",
        position: event.position,
        total: event.total,
        bytesPerSecond: event.bytesPerSecond,
        host: hostOf(event.url)
      })
      break
    case "Resuming":
      setImage({ phase: "downloading" })
      setRow(event, { phase: "downloading", position: event.position, host: hostOf(event.url) })
      break
    case "Restarted":
      setRow(event, { position: 0 })
      break
    case "Retrying":
      setImage({ phase: "downloading" })
      setRow(event, {
        phase: "retrying",
        host: hostOf(event.url),
        detail: plain(event.detail),
        retryAt: now + event.delayMillis
      })
      break
    case "Verifying":
      setRow(event, { phase: "complete" })
      break
    case "Committing":
      setImage({ phase: "committing" })
      break
    case "Hit":
    case "Done":
    case "Failed":
      images.delete(event.image)
      for (const [key, row] of rows) if (row.image === event.image) rows.delete(key)
      break
  }
  return { images, rows }
}

const holderOf = (event: Extract<Event, { readonly _tag: "Waiting" }>): string => {
  const who = event.pid === undefined ? "another process" : `process ${event.pid}`
  return plain(`${who}${event.hostname === undefined ? "" : ` on ${event.hostname}`}`)
}

/** What is worth a line that stays even below bars, given the state before the event. */
export const milestone = (state: State, event: Event, now: number): string | undefined => {
  const image = state.images.get(event.image)
  if (event._tag !== "Done" || image === undefined || image.received.size === 0) return undefined
  const total = Array.from(image.received.values()).reduce((sum, count) => sum + count, 0)
  return `${event.image}: ready, ${bytes(total)} received in ${duration((now - image.startedAt) / 1000)}`
}

/** How often a line tells how far a download is, where there are no bars. */
export const lineEvery = 10_000

/** The lines for an event where there are no bars; `lastLine` is when the last one was for the same asset. */
export const lineFor = (state: State, event: Event, now: number, lastLine: number | undefined): string | undefined => {
  switch (event._tag) {
    case "Downloading": {
      if (lastLine === undefined) {
        const size = event.total === undefined ? "" : ` ${bytes(event.total)}`
        return `${event.image} ${event.asset}: downloading${size} from ${hostOf(event.url)}`
      }
      if (now - lastLine < lineEvery) return undefined
      const { percent, rate, size, left } = figures({ ...event, phase: "downloading" })
      return `${event.image} ${event.asset}: ${[percent, size, rate, left === "" ? "" : `${left} left`]
        .filter((part) => part !== "")
        .join(", ")}`
    }
    case "Waiting":
      return `${event.image}: waiting for ${holderOf(event)}, who is fetching it`
    case "Resuming":
      return `${event.image} ${event.asset}: going on at ${bytes(event.position)} from ${hostOf(event.url)}`
    case "Restarted":
      return `${event.image} ${event.asset}: starting again from zero`
    case "Retrying":
      return `${event.image} ${event.asset}: ${hostOf(event.url)}: ${plain(event.detail)}; ${again(event.delayMillis)}`
    default:
      return milestone(state, event, now)
  }
}

const again = (millis: number) => (millis < 500 ? "trying again" : `trying again in ${Math.ceil(millis / 1000)} s`)

/** How the terminal wants it. */
export interface Style {
  readonly columns: number
  readonly rows: number
  readonly colour: boolean
  readonly unicode: boolean
}

/** Below this width an asset gets two lines instead of one. */
const narrow = 72

type Figures = Pick<Row, "phase" | "position" | "bytesPerSecond"> & { readonly total?: number | undefined }

const figures = ({ bytesPerSecond, phase, position, total }: Figures) => ({
  // Only what is complete is 100 %.
  percent:
    total === undefined || total === 0
      ? ""
      : `${phase === "downloading" ? Math.min(99, Math.floor((position / total) * 100)) : 100}%`,
  size: total === undefined ? bytes(position) : bytesOf(position, total),
  rate: phase === "downloading" ? `${bytes(Math.round(bytesPerSecond))}/s` : "",
  left:
    phase === "downloading" && total !== undefined && bytesPerSecond > 0
      ? duration((total - position) / bytesPerSecond)
      : ""
})

/** Cut in the middle, where names of hosts differ least. */
export const shorten = (text: string, width: number, ellipsis: string): string => {
  if (text.length <= width) return text
  if (width <= ellipsis.length) return text.slice(0, Math.max(0, width))
  const kept = width - ellipsis.length
  const head = Math.ceil(kept / 2)
  return `${text.slice(0, head)}${ellipsis}${text.slice(text.length - (kept - head))}`
}

const cut = (text: string, width: number, ellipsis: string) =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - ellipsis.length))}${ellipsis}`.slice(0, width)

const bar = (style: Style, fraction: number | undefined, width: number): string => {
  const [full, empty] = style.unicode ? ["━", "─"] : ["#", "-"]
  const filled = Math.round(Math.min(1, Math.max(0, fraction ?? 0)) * width)
  return paint(style.colour, "cyan", full.repeat(filled)) + paint(style.colour, "dim", empty.repeat(width - filled))
}

/** The same for all rows, so that they stand in columns. */
interface Widths {
  readonly label: number
  readonly host: number
}

/** The lines of one asset, none as wide as the terminal. */
const drawRow = (row: Row, style: Style, widths: Widths, now: number): ReadonlyArray<string> => {
  const width = style.columns - 1
  const labelWidth = widths.label
  const ellipsis = style.unicode ? "…" : "..."
  const label = cut(`${row.image} ${row.asset}`, labelWidth, ellipsis).padEnd(labelWidth)
  if (row.phase === "retrying") {
    const notice = `${again(row.retryAt - now)} (${row.host}): ${row.detail}`
    const room = width - labelWidth - 2
    if (style.columns >= narrow) return [`${label}  ${paint(style.colour, "yellow", cut(notice, room, ellipsis))}`]
    return [
      cut(label.trimEnd(), width, ellipsis),
      `  ${paint(style.colour, "yellow", cut(notice, width - 2, ellipsis))}`
    ]
  }
  const { left, percent, rate, size } = figures(row)
  const fraction = row.total === undefined || row.total === 0 ? undefined : row.position / row.total
  const tail = [size.padStart(14), rate.padStart(10), left.padStart(5)].join("  ")
  if (style.columns < narrow) {
    const room = Math.max(0, width - labelWidth - 2 - 5)
    const first = `${label}  ${bar(style, fraction, room)} ${percent.padStart(4)}`
    const facts = [size, rate, left].filter((fact) => fact !== "").join(" ")
    const second = cut(`  ${facts}`, width, ellipsis)
    const host = shorten(row.host, Math.max(0, width - second.length - 1), ellipsis)
    return [cutStyled(first, width), host.length < 4 ? second : `${second} ${paint(style.colour, "dim", host)}`]
  }
  const room = width - labelWidth - 2 - 5 - 2 - tail.length - 2
  const hostWidth = Math.max(0, Math.min(widths.host, room - 8, 40))
  const barWidth = Math.max(4, Math.min(40, room - hostWidth))
  const host = shorten(row.host, hostWidth, ellipsis)
  const line = `${label}  ${bar(style, fraction, barWidth)} ${percent.padStart(4)}  ${tail}  ${paint(style.colour, "dim", host)}`
  return [cutStyled(line.trimEnd(), width)]
}

/** A line with colours that would not fit loses them. */
const cutStyled = (text: string, width: number) => {
  const bare = stripVTControlCharacters(text)
  return bare.length <= width ? text : bare.slice(0, width)
}

/** Everything that is going on, as lines that fit the terminal. */
export const draw = (state: State, style: Style, now: number): ReadonlyArray<string> => {
  const ellipsis = style.unicode ? "…" : "..."
  const width = style.columns - 1
  const rows = Array.from(state.rows.values())
  const widths = {
    label: Math.min(
      Math.max(0, ...rows.map(({ asset, image }) => image.length + 1 + asset.length)),
      style.columns < narrow ? Math.floor(width / 2) : 26
    ),
    host: Math.max(0, ...rows.map(({ host }) => host.length))
  }
  // What moves comes first, where there is no room for all.
  const active = rows.filter(({ phase }) => phase !== "complete")
  const complete = rows.filter(({ phase }) => phase === "complete")
  const blocks = [...active, ...complete].map((row) => drawRow(row, style, widths, now))
  for (const [name, image] of state.images) {
    if (image.phase === "downloading") continue
    const note = { checking: "checking", waiting: `waiting for ${image.note}`, committing: "putting into place" }[
      image.phase
    ]
    blocks.push([cut(`${name}  ${note}`, width, ellipsis)])
  }
  const room = Math.max(1, style.rows - 2)
  const lines: Array<string> = []
  for (const [index, block] of blocks.entries()) {
    const last = index === blocks.length - 1
    if (lines.length + block.length + (last ? 0 : 1) > room) {
      lines.push(cut(`${ellipsis} and ${blocks.length - index} more`, width, ellipsis))
      break
    }
    lines.push(...block)
  }
  return lines
}

// Text for people.
import { styleText } from "node:util"

/** Text of a registry, which may come from anywhere, without what a terminal would obey. */
export const plain = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, " ").trim()

const units = ["B", "kB", "MB", "GB", "TB"] as const

/** The largest unit of which there is at least one, after rounding. */
const unitOf = (count: number): number => {
  const unit = units.findIndex((_, index) => count < 999.95 * 1000 ** index)
  return unit === -1 ? units.length - 1 : unit
}

const inUnit = (bytes: number, unit: number): string => (unit === 0 ? String(bytes) : (bytes / 1000 ** unit).toFixed(1))

/** `12.3 MB`; 1 MB is 1,000,000 bytes. */
export const bytes = (count: number): string => {
  const unit = unitOf(count)
  return `${inUnit(count, unit)} ${units[unit]}`
}

/** `12.3/50.0 MB` */
export const bytesOf = (part: number, total: number): string => {
  const unit = unitOf(Math.max(part, total))
  return `${inUnit(part, unit)}/${inUnit(total, unit)} ${units[unit]}`
}

/** `0:07`, `12:34`, `3:04:05` */
export const duration = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number) => String(value).padStart(2, "0")
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor(whole / 60) % 60
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

/** Columns, as wide as their widest cell. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
}

/** Coloured, if colours are wanted: whether they are is not for Node.js to decide, which looks at standard output. */
export const paint = (wanted: boolean, format: "cyan" | "dim" | "red" | "yellow", text: string): string =>
  wanted && text !== "" ? styleText(format, text, { validateStream: false }) : text

/** An error as people see it: what happened, and what to do about it. */
export const errorLines = (
  coloured: boolean,
  { hint, message }: { readonly message: string; readonly hint: string }
): ReadonlyArray<string> => [`${paint(coloured, "red", "error")}: ${plain(message)}`, `       ${plain(hint)}`]

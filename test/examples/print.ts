// How the tour looks: sections of two columns, long lines folded.
import { Console, type Effect, Logger } from "effect"

const width = 100
const margin = "   "
const column = 14

/** `1.5 MiB` */
export const size = (bytes: number): string =>
  bytes >= 1024 * 1024 ? `${+(bytes / 1024 / 1024).toFixed(2)} MiB` : `${+(bytes / 1024).toFixed(1)} KiB`

/** Words in lines of at most `room` characters. A word longer than that stays whole. */
const fold = (text: string, room: number): ReadonlyArray<string> =>
  text.split("\n").flatMap((paragraph) => {
    const lines: Array<string> = []
    for (const word of paragraph.trim().split(" ")) {
      const line = lines.pop()
      if (line === undefined) lines.push(word)
      else if (line.length + 1 + word.length <= room) lines.push(`${line} ${word}`)
      else lines.push(line, word)
    }
    return lines
  })

const block = (text: string, first: string): string =>
  fold(text, width - first.length)
    .map((line, index) => `${index === 0 ? first : " ".repeat(first.length)}${line}`)
    .join("\n")

const row = (label: string, value: string): string => block(value, margin + label.padEnd(column))

/** A paragraph. */
export const text = (words: string): Effect.Effect<void> => Console.log(block(words, ""))

/** The title of a section, and what it is about. */
export const section = (title: string, words: string): Effect.Effect<void> =>
  Console.log(`\n${title}\n${block(words, margin)}\n`)

/** A line of two columns. */
export const entry = (label: string, value: string): Effect.Effect<void> => Console.log(row(label, value))

/** What the library logs, in the same two columns instead of Effect's own format. */
export const logger = Logger.replace(
  Logger.defaultLogger,
  Logger.make<unknown, void>(({ logLevel, message }) => {
    const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    process.stdout.write(`${row(logLevel._tag.toLowerCase(), words)}\n`)
  })
)

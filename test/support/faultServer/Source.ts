/** The bytes of a served file, read by position so that a huge file need not exist in memory. */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"

/** `length` bytes (may be Infinity); `read` gives at most 64 KiB of `[start, end)`, at least one byte. */
export interface Source {
  readonly length: number
  readonly read: (start: number, end: number) => Uint8Array
}

/** The most bytes one `read` gives. */
export const maxRead = 64 * 1024

const zeros = new Uint8Array(maxRead)

/** A source over bytes in memory; they are not copied. */
export const fromBytes = (bytes: Uint8Array): Source => ({
  length: bytes.length,
  read: (start, end) => bytes.subarray(start, Math.min(end, start + maxRead))
})

/** A source over text. */
export const fromText = (text: string): Source => fromBytes(Buffer.from(text))

/** Nothing. */
export const empty: Source = fromBytes(new Uint8Array(0))

/** Zeros without end. */
export const endless: Source = {
  length: Number.POSITIVE_INFINITY,
  read: (start, end) => zeros.subarray(0, Math.min(end - start, maxRead))
}

// A prime length, so that a splice at any usual offset shows.
const block = createHash("sha256").update("fault server").digest()
const patternBlock = Buffer.from(
  Array.from({ length: 65_521 }, (_, i) => ((block[i % 32] ?? 0) + i * 31 + (i >> 5) * 17) & 0xff)
)

/** `length` bytes that depend on their position, made as they are read. */
export const pattern = (length: number): Source => ({
  length,
  read: (start, end) => {
    const at = start % patternBlock.length
    return patternBlock.subarray(at, Math.min(at + end - start, patternBlock.length))
  }
})

/** Every byte inverted. */
export const inverted = (source: Source): Source => ({
  length: source.length,
  read: (start, end) => source.read(start, end).map((byte) => byte ^ 0xff)
})

/** One byte inverted, if the source has it. */
export const flipped = (source: Source, offset: number): Source => ({
  length: source.length,
  read: (start, end) => {
    const bytes = source.read(start, end)
    if (offset < start || offset >= start + bytes.length) return bytes
    return bytes.map((byte, i) => (i === offset - start ? byte ^ 0xff : byte))
  }
})

/** Cut short, or followed by zeros. */
export const resized = (source: Source, length: number): Source => ({
  length,
  read: (start, end) =>
    start < source.length ? source.read(start, Math.min(end, source.length)) : endless.read(start, end)
})

/** All of a finite source in one buffer. */
export const toBytes = (source: Source): Uint8Array => {
  const parts: Array<Uint8Array> = []
  for (let at = 0; at < source.length; ) {
    const part = source.read(at, source.length)
    parts.push(part)
    at += part.length
  }
  return Buffer.concat(parts)
}

/** A strong ETag from the length and samples of the content: equal content on two servers has equal tags. */
export const etagOf = (source: Source): string => {
  const hash = createHash("sha256").update(String(source.length))
  for (const at of [0, Math.floor(source.length / 2), source.length - 4096]) {
    const start = Math.max(at, 0)
    if (start < source.length) hash.update(source.read(start, Math.min(start + 4096, source.length)))
  }
  return `"${hash.digest("hex").slice(0, 16)}"`
}

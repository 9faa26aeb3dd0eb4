import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AttemptFailure, revise } from "./failure.js"
import { firstOf } from "./race.js"
import type { Opened } from "./request.js"
import { firstLine, recognise, unexpected } from "./sniff.js"

/** What is known of the file before the response is looked at. */
export interface Expected extends Bounds {
  /** How many bytes are held already; the request asked for what follows them. */
  readonly offset: number
  /** The validator of the held bytes, when this response is from their source. */
  readonly validator: string | undefined
  /** The whole length, as announced with the held bytes. */
  readonly total: number | undefined
}

/** How long the file may be. */
export interface Bounds {
  /** Its pinned size. */
  readonly size: number | undefined
  /** The most bytes without a pinned size. */
  readonly maxSize: number
}

/**
 * Whether a response to a request for a part of a file is just that part of just that file. Without a validator on both
 * sides the digest has to tell in the end.
 */
export const isPart = (
  response: Opened,
  part: { readonly start: number; readonly end: number; readonly total: number; readonly validator: string | undefined }
): boolean => {
  const range = parseContentRange(response.header("content-range"))
  return (
    response.status === 206 &&
    encodingOf(response) === undefined &&
    range?.start === part.start &&
    range.last === part.end - 1 &&
    range.total === part.total &&
    !changed(response, part.validator)
  )
}

/** Whether the server offers parts of the file. */
export const offersRanges = (response: Opened): boolean =>
  response.status === 206 || /\bbytes\b/i.test(response.header("accept-ranges") ?? "")

/** A body to read. */
export interface Body {
  readonly _tag: "Body"
  /** Where in the file this body begins: at the end of what is held, or at 0. */
  readonly offset: number
  /** The length of the whole file, if the response announces it. */
  readonly total: number | undefined
  readonly encoding: string | undefined
  /** The end of the body can be told from a cut. */
  readonly delimited: boolean
}

/** What a response means for the bytes at hand. */
export type Answer =
  | { readonly _tag: "Complete" }
  /** The server does not go on from what is held; the file has to be taken from its beginning. */
  | { readonly _tag: "Refusal"; readonly detail: string }
  | Body

/** Decide what a response means, before any of its body is read. */
export const interpret = Effect.fnUntraced(function* (
  response: Opened,
  expected: Expected
): Effect.fn.Return<Answer, AttemptFailure, Scope.Scope> {
  const { offset, size } = expected
  const encoding = encodingOf(response)
  if (response.status === 206 && offset > 0) {
    const range = parseContentRange(response.header("content-range"))
    if (encoding !== undefined) return refusal("a range came with a Content-Encoding")
    if (range === undefined || range.start !== offset) return refusal("the server sent another range than asked for")
    if (contradicts(range.total, expected.total) || contradicts(range.total, size))
      return refusal(`the file on the server changed its length to ${range.total}`)
    if (changed(response, expected.validator)) return refusal("the file on the server changed")
    const total = range.total ?? expected.total ?? size
    return { _tag: "Body", offset, total, encoding, delimited: total !== undefined || isFramed(response) }
  }
  if (response.status === 200) {
    const total = encoding === undefined ? parseLength(response.header("content-length")) : undefined
    yield* checkLength(total, expected).pipe(Effect.catchAll((failure) => explain(response, total, failure)))
    return { _tag: "Body", offset: 0, total, encoding, delimited: total !== undefined || isFramed(response) }
  }
  if (response.status === 416 && offset > 0) {
    const total = parseContentRange(response.header("content-range"))?.total
    return total === offset && !contradicts(total, expected.total) && !contradicts(total, size)
      ? { _tag: "Complete" }
      : refusal("the server has no such range (416)")
  }
  return yield* statusFailure(response)
})

const refusal = (detail: string): Answer => ({ _tag: "Refusal", detail })

const contradicts = <A>(one: A | undefined, other: A | undefined) =>
  one !== undefined && other !== undefined && one !== other

/** Fails when an announced length cannot be that of the file. */
export const checkLength = (
  length: number | undefined,
  { maxSize, size }: Bounds
): Effect.Effect<void, AttemptFailure> => {
  if (length === undefined || length === size) return Effect.void
  if (size === undefined) {
    const limit = limitOf({ size, maxSize }, undefined)
    return length > maxSize ? Effect.fail(tooLong(limit, length)) : Effect.void
  }
  return Effect.fail(
    new AttemptFailure({
      reason: "UnexpectedContent",
      transient: false,
      detail: `it has ${length} bytes instead of ${size}`,
      expected: String(size),
      actual: String(length)
    })
  )
}

/** What is so short that a look into it costs nothing. */
const pageLength = 64 * 1024

/** A login page or an error document has another length than the image: then say that it is one. */
const explain = (response: Opened, length: number | undefined, failure: AttemptFailure) =>
  length === undefined || length > pageLength
    ? failure
    : Effect.flatMap(peek(response), (head) => {
        const impostor = recognise(head, response.header("content-type"))
        return impostor === undefined
          ? failure
          : Effect.mapError(unexpected(impostor, response), ({ detail }) =>
              revise(failure, { detail: `${failure.detail}; ${detail}` })
            )
      })

/** The longest a body may get, and why. */
export interface Limit {
  readonly bytes: number
  readonly name: string
}

export const limitOf = ({ maxSize, size }: Bounds, total: number | undefined): Limit =>
  size !== undefined
    ? { bytes: size, name: "its pinned size" }
    : total !== undefined && total <= maxSize
      ? { bytes: total, name: "the announced length" }
      : { bytes: maxSize, name: "the largest size allowed (maxSize)" }

export const tooLong = ({ bytes, name }: Limit, actual: number): AttemptFailure =>
  new AttemptFailure({
    reason: "UnexpectedContent",
    transient: false,
    detail: `it is longer than ${name}, ${bytes} bytes`,
    expected: String(bytes),
    actual: String(actual)
  })

const encodingOf = (response: Opened): string | undefined => {
  const encoding = response.header("content-encoding")?.trim().toLowerCase()
  return encoding === undefined || encoding === "" || encoding === "identity" ? undefined : encoding
}

/** Chunks and encodings have an end of their own; a body without them ends with its connection. */
const isFramed = (response: Opened): boolean =>
  response.header("transfer-encoding") !== undefined || encodingOf(response) !== undefined

/**
 * What If-Range may name: a strong ETag, else a date. A file that was modified in the very second of the answer may be
 * modified again in it: such a date names no file.
 */
export const validatorOf = (response: Opened): string | undefined => {
  const etag = response.header("etag")
  if (etag?.startsWith('"')) return etag
  const modified = response.header("last-modified")
  const age = Date.parse(response.header("date") ?? "") - Date.parse(modified ?? "")
  return age < 1000 ? undefined : modified
}

/** Whether a response names another file than the validator does; it need not name any. */
const changed = (response: Opened, validator: string | undefined): boolean =>
  contradicts(validator, response.header(validator?.startsWith('"') ? "etag" : "last-modified"))

const parseLength = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

const parseContentRange = (
  text: string | undefined
):
  | { readonly start: number | undefined; readonly last: number | undefined; readonly total: number | undefined }
  | undefined => {
  const match = /^bytes\s+(?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/.exec(text ?? "")
  if (match === null) return undefined
  const [start, last, total] = match.slice(1).map(parseLength)
  return { start, last, total }
}

const transientStatus = new Set([408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529, 598, 599])

/** A status without an image, told with the first line of what the server says about it. */
const statusFailure = Effect.fnUntraced(function* (
  response: Opened
): Effect.fn.Return<never, AttemptFailure, Scope.Scope> {
  const retryAfter = parseRetryAfter(response.header("retry-after"), yield* Clock.currentTimeMillis)
  const line = firstLine(response.redact(new TextDecoder().decode(yield* peek(response))))
  return yield* new AttemptFailure({
    reason: "DownloadFailed",
    transient: transientStatus.has(response.status),
    status: response.status,
    detail: `the server answered ${response.status}${line === "" ? "" : ` ${JSON.stringify(line)}`}`,
    ...(retryAfter === undefined ? {} : { retryAfter })
  })
})

/** The first bytes of a body that is of no other use; none when it does not come. */
const peek = (response: Opened): Effect.Effect<Uint8Array> =>
  firstOf(Stream.runHead(response.body), Effect.delay(Effect.succeedNone, "2 seconds")).pipe(
    Effect.orElseSucceed(Option.none),
    Effect.map((head) => Option.getOrElse(head, () => new Uint8Array(0)).subarray(0, 1024))
  )

const parseRetryAfter = (text: string | undefined, now: number): number | undefined => {
  if (text === undefined) return undefined
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

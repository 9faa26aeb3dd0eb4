import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AttemptFailure } from "./failure.js"
import type { Opened } from "./request.js"
import { firstLine } from "./sniff.js"

/** What is known of the file before the response is looked at. */
export interface Expected {
  /** How many bytes are held already; the request asked for what follows them. */
  readonly offset: number
  /** The validator of the held bytes, when this response is from their source. */
  readonly validator: string | undefined
  /** The whole length, as announced with the held bytes. */
  readonly total: number | undefined
  readonly size: number | undefined
  readonly maxSize: number
}

/** What a response means for the bytes at hand. */
export type Answer =
  | { readonly _tag: "Complete" }
  | { readonly _tag: "Restart"; readonly detail: string }
  | {
      readonly _tag: "Body"
      /** Where in the file this body begins: at the end of what is held, or at 0. */
      readonly offset: number
      readonly total: number | undefined
      readonly encoding: string | undefined
    }

/** Decide what a response means, before any of its body is read. */
export const interpret = Effect.fnUntraced(function* (
  response: Opened,
  expected: Expected
): Effect.fn.Return<Answer, AttemptFailure, Scope.Scope> {
  const { offset, size } = expected
  const encoding = encodingOf(response)
  if (response.status === 206 && offset > 0) {
    const range = parseContentRange(response.header("content-range"))
    if (encoding !== undefined) return restart("a range came with a Content-Encoding")
    if (range === undefined || range.start !== offset) return restart("the server sent another range than asked for")
    if (contradicts(range.total, expected.total) || contradicts(range.total, size))
      return restart(`the file on the server changed its length to ${range.total}`)
    if (contradicts(validatorOf(response), expected.validator)) return restart("the file on the server changed")
    return { _tag: "Body", offset, total: range.total ?? expected.total ?? size, encoding }
  }
  if (response.status === 200) {
    const length = encoding === undefined ? parseLength(response.header("content-length")) : undefined
    yield* checkLength(length, expected)
    return { _tag: "Body", offset: 0, total: length, encoding }
  }
  if (response.status === 416 && offset > 0) {
    const total = parseContentRange(response.header("content-range"))?.total
    return total === offset && !contradicts(total, expected.total) && !contradicts(total, size)
      ? { _tag: "Complete" }
      : restart("the server has no such range (416)")
  }
  return yield* statusFailure(response)
})

const restart = (detail: string): Answer => ({ _tag: "Restart", detail })

const contradicts = <A>(one: A | undefined, other: A | undefined) =>
  one !== undefined && other !== undefined && one !== other

const checkLength = (length: number | undefined, { size, maxSize }: Expected): Effect.Effect<void, AttemptFailure> => {
  if (length === undefined) return Effect.void
  if (contradicts(length, size)) {
    return Effect.fail(
      new AttemptFailure({
        reason: "UnexpectedContent",
        transient: false,
        detail: `the server announces ${length} bytes instead of ${size}`,
        expected: String(size),
        actual: String(length)
      })
    )
  }
  return length > maxSize ? Effect.fail(tooLong(maxSize, "the largest size allowed", length)) : Effect.void
}

export const tooLong = (limit: number, what: string, actual: number) =>
  new AttemptFailure({
    reason: "UnexpectedContent",
    transient: false,
    detail: `it is longer than ${what}, ${limit} bytes`,
    expected: String(limit),
    actual: String(actual)
  })

const encodingOf = (response: Opened): string | undefined => {
  const encoding = response.header("content-encoding")?.trim().toLowerCase()
  return encoding === undefined || encoding === "" || encoding === "identity" ? undefined : encoding
}

/** What If-Range may name: a strong ETag, else a date. */
export const validatorOf = (response: Opened): string | undefined => {
  const etag = response.header("etag")
  return etag?.startsWith('"') ? etag : response.header("last-modified")
}

const parseLength = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

const parseContentRange = (
  text: string | undefined
): { readonly start: number | undefined; readonly total: number | undefined } | undefined => {
  const match = /^bytes\s+(?:(\d{1,15})-\d{1,15}|\*)\/(\d{1,15}|\*)$/.exec(text ?? "")
  return match === null ? undefined : { start: parseLength(match[1]), total: parseLength(match[2]) }
}

const transientStatus = new Set([408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529, 598, 599])

/** A status without an image, told with the first line of what the server says about it. */
const statusFailure = Effect.fnUntraced(function* (
  response: Opened
): Effect.fn.Return<never, AttemptFailure, Scope.Scope> {
  const retryAfter = parseRetryAfter(response.header("retry-after"), yield* Clock.currentTimeMillis)
  const text = yield* Stream.runHead(response.body).pipe(
    Effect.timeout("2 seconds"),
    Effect.map(
      Option.match({ onNone: () => "", onSome: (bytes) => new TextDecoder().decode(bytes.subarray(0, 1024)) })
    ),
    Effect.orElseSucceed(() => "") // the status says enough
  )
  const line = response.redact(firstLine(text))
  return yield* new AttemptFailure({
    reason: "DownloadFailed",
    transient: transientStatus.has(response.status),
    status: response.status,
    detail: `the server answered ${response.status}${line === "" ? "" : ` ${JSON.stringify(line)}`}`,
    ...(retryAfter === undefined ? {} : { retryAfter })
  })
})

const parseRetryAfter = (text: string | undefined, now: number): number | undefined => {
  if (text === undefined) return undefined
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

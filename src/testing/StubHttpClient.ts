/**
 * An `HttpClient` that answers from a script: statuses, headers, bodies that come in pieces or break, refused connections, delays, and a
 * static file server that knows ranges. It logs every request. Like the undici and node:http clients it follows no redirect, decodes no
 * Content-Encoding and lets a body be read once.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import { RequestError } from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as HttpMethod from "@effect/platform/HttpMethod"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import { StreamResponse } from "../internal/streamResponse.js"
import { ConnectionError } from "./internal/connectionError.js"

/**
 * A request as it reached the stub: `url` is absolute, with its query, header names are in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly method: HttpMethod.HttpMethod
  readonly url: string
  readonly headers: Headers.Headers
}

/**
 * The bytes of a response. Text is sent as UTF-8; text and bytes go out in pieces of 64 KiB, an array piece by piece, a stream as it
 * comes; nothing is pulled before the client asks. What a stream fails with becomes the cause of a `ResponseError`.
 *
 * @since 0.1.0
 * @category models
 */
export type Body = string | Uint8Array | ReadonlyArray<string | Uint8Array> | Stream.Stream<Uint8Array, unknown>

/**
 * A response.
 *
 * - `status` is 200 and `body` empty when left out
 * - a body of known length announces it in Content-Length, unless `headers` say otherwise
 * - `cutAfter` breaks the body after so many bytes, as a reset socket does: a `ResponseError` whose cause has `code: "ECONNRESET"`. The
 *   Content-Length stays that of the whole body
 * - `delay` passes before the status is there; TestClock drives it
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Body
  readonly cutAfter?: number
  readonly delay?: Duration.DurationInput
}

/**
 * No response: a `RequestError` of reason `Transport` whose cause has this `code` (`ECONNREFUSED`, `ENOTFOUND`, `ETIMEDOUT`, ...).
 *
 * @since 0.1.0
 * @category models
 */
export interface Refusal {
  readonly refused: string
  readonly delay?: Duration.DurationInput
}

/**
 * What one request gets: the same always, or what a function makes of the request. Being an Effect, that may wait for a `Deferred` too.
 *
 * @since 0.1.0
 * @category models
 */
export type Answer = Reply | Refusal | ((request: Request) => Effect.Effect<Reply | Refusal>)

/**
 * What a URL answers: always the same, or a list for the first, second, ... request to that URL, whose last goes on for ever.
 *
 * @since 0.1.0
 * @category models
 */
export type Route = Answer | readonly [Answer, ...ReadonlyArray<Answer>]

/**
 * Routes by exact URL, or a function of the request. What has no route is answered 404.
 *
 * @since 0.1.0
 * @category models
 */
export type Routes = Readonly<Record<string, Route>> | ((request: Request) => Route | undefined)

/**
 * The log: every request, in the order they came.
 *
 * @since 0.1.0
 * @category services
 */
export class Requests extends Context.Tag("smolvm-images/testing/StubHttpClient/Requests")<
  Requests,
  { readonly all: Effect.Effect<ReadonlyArray<Request>> }
>() {}

const pieceSize = 64 * 1024

const encode = (piece: string | Uint8Array): Uint8Array =>
  typeof piece === "string" ? new TextEncoder().encode(piece) : piece

const pieces = (bytes: Uint8Array): Stream.Stream<Uint8Array> =>
  Stream.unfold(0, (start) =>
    start < bytes.length
      ? Option.some([bytes.subarray(start, start + pieceSize), start + pieceSize] as const)
      : Option.none()
  )

const isList = (body: Body): body is ReadonlyArray<string | Uint8Array> => Array.isArray(body)

/** The stream of a body, and its length where it is known. */
const open = (
  body: Body
): { readonly stream: Stream.Stream<Uint8Array, unknown>; readonly size: number | undefined } => {
  if (typeof body === "string" || body instanceof Uint8Array) {
    const bytes = encode(body)
    return { stream: pieces(bytes), size: bytes.length }
  }
  if (isList(body)) {
    const list = body.map(encode)
    return {
      stream: Stream.fromIterable(list).pipe(Stream.rechunk(1)),
      size: list.reduce((size, piece) => size + piece.length, 0)
    }
  }
  return { stream: body, size: undefined }
}

const cut = (body: Stream.Stream<Uint8Array, unknown>, after: number): Stream.Stream<Uint8Array, unknown> => {
  const broken = Stream.fail(new ConnectionError("ECONNRESET", "the stub cut the body"))
  if (after <= 0) {
    return broken
  }
  return body.pipe(
    Stream.mapAccum(after, (left, bytes) => {
      const kept = bytes.subarray(0, left)
      const still = left - kept.length
      return [still, { kept, still }]
    }),
    Stream.takeUntil(({ still }) => still === 0),
    Stream.map(({ kept }) => kept),
    Stream.concat(broken)
  )
}

/** A request once aborted gives no more bytes: its stream was read before, or its scope is closed. */
const unlessAborted = (body: Stream.Stream<Uint8Array, unknown>, signal: AbortSignal) => {
  const check = Effect.suspend(() =>
    signal.aborted ? Effect.fail(new ConnectionError("ABORT_ERR", "the request was aborted")) : Effect.void
  )
  return Stream.unwrap(
    Effect.as(
      check,
      Stream.tap(body, () => check)
    )
  )
}

const headersOf = ({ headers, status = 200 }: Reply, size: number | undefined): Headers.Headers => {
  const given = Headers.fromInput(headers)
  return size === undefined || status < 200 || status === 204 || status === 304 || Headers.has(given, "content-length")
    ? given
    : Headers.set(given, "content-length", String(size))
}

const isSequence = (route: Route): route is readonly [Answer, ...ReadonlyArray<Answer>] => Array.isArray(route)

const finder = (routes: Routes): ((request: Request) => Route | undefined) => {
  if (typeof routes === "function") {
    return routes
  }
  const byUrl = new Map(Object.entries(routes).map(([url, route]) => [new URL(url).href, route]))
  return ({ url }) => byUrl.get(url)
}

const notFound: Reply = { status: 404, body: "not found" }

/**
 * A client that answers by these routes, and its log.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { StubHttpClient } from "smolvm-images/testing"
 *
 * const network = StubHttpClient.layer({
 *   "https://example.test/vmlinux.bin": StubHttpClient.file(new Uint8Array(1024)),
 *   "https://example.test/rootfs.ext4": [
 *     { status: 503, headers: { "retry-after": "1" } },
 *     { body: "half of it is lost", cutAfter: 9 },
 *     { refused: "ECONNREFUSED" },
 *     { body: "the whole of it", delay: "2 seconds" }
 *   ]
 * })
 *
 * const asked = Effect.flatMap(StubHttpClient.Requests, (requests) => requests.all)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (routes: Routes): Layer.Layer<HttpClient.HttpClient | Requests> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const log = yield* Ref.make<ReadonlyArray<Request>>([])
      const find = finder(routes)

      const answer = Effect.fnUntraced(function* (request: Request) {
        const earlier = yield* Ref.getAndUpdate(log, (requests) => [...requests, request])
        const route = find(request) ?? notFound
        if (!isSequence(route)) {
          return route
        }
        const nth = earlier.filter(({ url }) => url === request.url).length
        return route[Math.min(nth, route.length - 1)] ?? route[0]
      })

      const client = HttpClient.make((clientRequest, url, signal) =>
        Effect.gen(function* () {
          const request: Request = { method: clientRequest.method, url: url.href, headers: clientRequest.headers }
          const chosen = yield* answer(request)
          const reply = typeof chosen === "function" ? yield* chosen(request) : chosen
          if (reply.delay !== undefined) {
            yield* Effect.sleep(reply.delay)
          }
          if ("refused" in reply) {
            const cause = new ConnectionError(reply.refused, `connect to ${url.host}`)
            return yield* new RequestError({ request: clientRequest, reason: "Transport", cause })
          }
          const { size, stream } = open(reply.body ?? "")
          const body = reply.cutAfter === undefined ? stream : cut(stream, reply.cutAfter)
          const response: HttpClientResponse.HttpClientResponse = new StreamResponse(
            clientRequest,
            reply.status ?? 200,
            headersOf(reply, size),
            unlessAborted(request.method === "HEAD" ? Stream.empty : body, signal)
          )
          return response
        })
      )

      return Context.make(HttpClient.HttpClient, client).pipe(Context.add(Requests, { all: Ref.get(log) }))
    })
  )

/**
 * How a `file` is served. `etag` is made from the content when left out, and not sent when `false`; with `ranges: false` the server knows no
 * ranges and always sends the whole file. The rest is as in `Reply`; `cutAfter` counts the bytes of each response.
 *
 * @since 0.1.0
 * @category models
 */
export interface FileOptions extends Pick<Reply, "headers" | "cutAfter" | "delay"> {
  readonly etag?: string | false
  readonly lastModified?: string
  readonly ranges?: boolean
}

/** FNV-1a: enough to tell the contents of a test apart. */
const digest = (bytes: Uint8Array): string => {
  let hash = 0x811c9dc5
  for (const byte of bytes) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  }
  return hash.toString(16)
}

/** The one range asked for, as RFC 9110 has it; what is malformed, or several ranges, may be ignored. */
const rangeOf = (header: string | undefined, size: number): readonly [start: number, end: number] | undefined => {
  const [match, first, last, suffix] = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(header?.trim() ?? "") ?? []
  if (match === undefined) {
    return undefined
  }
  if (suffix !== undefined) {
    return [Number(suffix) === 0 ? size : Math.max(0, size - Number(suffix)), size]
  }
  if (last !== undefined && last !== "" && Number(last) < Number(first)) {
    return undefined
  }
  return [Number(first), last === undefined || last === "" ? size : Math.min(size, Number(last) + 1)]
}

/**
 * A static file, served as a correct server does: GET and HEAD, ETag, Accept-Ranges, one Range (206, 416) under If-Range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const file = (
  content: string | Uint8Array,
  options: FileOptions = {}
): ((request: Request) => Effect.Effect<Reply>) => {
  const { etag, lastModified, ranges = true, headers, ...rest } = options
  const bytes = encode(content)
  const tag = etag === false ? undefined : (etag ?? `"${bytes.length.toString(16)}-${digest(bytes)}"`)
  const common = {
    ...(ranges ? { "accept-ranges": "bytes" } : {}),
    ...(tag === undefined ? {} : { etag: tag }),
    ...(lastModified === undefined ? {} : { "last-modified": lastModified }),
    ...headers
  }

  /** Whether what the client has is this very file: a weak tag never says so. */
  const isSame = (condition: string | undefined): boolean =>
    condition === undefined || (tag?.startsWith('"') && condition === tag) || condition === lastModified

  return (request) =>
    Effect.sync(() => {
      if (request.method !== "GET" && request.method !== "HEAD") {
        return { ...rest, status: 405, headers: { ...headers, allow: "GET, HEAD" } }
      }
      const range =
        ranges && request.method === "GET" && isSame(request.headers["if-range"])
          ? rangeOf(request.headers["range"], bytes.length)
          : undefined
      if (range === undefined) {
        return { ...rest, headers: common, body: bytes }
      }
      const [start, end] = range
      if (start >= bytes.length) {
        return { ...rest, status: 416, headers: { ...common, "content-range": `bytes */${bytes.length}` } }
      }
      return {
        ...rest,
        status: 206,
        headers: { ...common, "content-range": `bytes ${start}-${end - 1}/${bytes.length}` },
        body: bytes.subarray(start, end)
      }
    })
}

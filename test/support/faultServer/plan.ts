/** What to answer to a request: a pure function of the request, the file and the active faults. */
import { Buffer } from "node:buffer"
import { STATUS_CODES } from "node:http"
import { brotliCompressSync, constants, deflateSync, gzipSync } from "node:zlib"
import type { Fault, How, RetryAfter } from "./Fault.js"
import * as Source from "./Source.js"

/** A request head as it came; header names are lower-cased, repeated ones joined. */
export interface Request {
  readonly method: string
  readonly target: string
  readonly path: string
  readonly version: string
  readonly headers: Readonly<Record<string, string>>
}

/** What the connection does. `body` is sent from `start` to `end`. */
export type Plan =
  | { readonly _tag: "Silence" }
  | { readonly _tag: "HangUp"; readonly how: How }
  | { readonly _tag: "Raw"; readonly text: string }
  | {
      readonly _tag: "Response"
      readonly status: number
      readonly head: string
      readonly body: Source.Source
      readonly start: number
      readonly end: number
      readonly chunked: boolean
      readonly terminated: boolean
      /** Stop for ever after so many bytes. */
      readonly stallAfter: number
      readonly pace: { readonly bytes: number; readonly ms: number } | undefined
      readonly ending: How | "keepAlive"
      /** It ends before its time: clients drop what they have not read by then, so they get a moment. */
      readonly cut: boolean
    }

interface Answer {
  readonly status: number
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body: Source.Source
  readonly start: number
  readonly end: number
}

const lastModified = "Mon, 01 Jan 2024 00:00:00 GMT"
const lastModifiedOfChange = "Sat, 01 Jun 2024 00:00:00 GMT"

const answer = (status: number, type: string, text: string, headers: Answer["headers"] = []): Answer => {
  const body = Source.fromText(text)
  return { status, headers: [["Content-Type", type], ...headers], body, start: 0, end: body.length }
}

const plain = (status: number, headers: Answer["headers"] = []): Answer =>
  answer(status, "text/plain", `${status} ${STATUS_CODES[status] ?? "Unknown"}\n`, headers)

const redirect = (status: number, to: string): Answer => plain(status, [["Location", to]])

const pick = <T extends Fault["_tag"]>(faults: ReadonlyArray<Fault>, tag: T): Extract<Fault, { _tag: T }> | undefined =>
  faults.find((fault): fault is Extract<Fault, { _tag: T }> => fault._tag === tag)

/** The first and last+1 byte a Range header asks for; "whole" where it is absent or not one understandable range. */
const parseRange = (header: string | undefined, length: number): "whole" | "unsatisfiable" | [number, number] => {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "")
  const [first = "", last = ""] = match?.slice(1) ?? []
  if (first === "" && last === "") return "whole"
  if (first === "") {
    const count = Math.min(Number(last), length)
    return count === 0 ? "unsatisfiable" : [length - count, length]
  }
  if (last !== "" && Number(last) < Number(first)) return "whole"
  if (Number(first) >= length) return "unsatisfiable"
  return [Number(first), last === "" ? length : Math.min(Number(last) + 1, length)]
}

const retryAfterValue = (retryAfter: RetryAfter, now: number): string =>
  "seconds" in retryAfter
    ? String(retryAfter.seconds)
    : new Date(Math.ceil((now + retryAfter.dateIn * 1000) / 1000) * 1000).toUTCString()

const pages = {
  html: ["text/html; charset=utf-8", "<!DOCTYPE html>\n<html><head><title>Sign in to Wi-Fi</title></head></html>\n"],
  json: ["application/json", `{"error":"quota exceeded","code":42}\n`],
  s3: [
    "application/xml",
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>\n`
  ],
  lfs: [
    "application/octet-stream",
    `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 12345\n`
  ]
} as const

/** What a fault answers in place of the file; undefined where it does not. */
const substitute = (fault: Fault, request: Request, length: number, now: number): Answer | Plan | undefined => {
  switch (fault._tag) {
    case "NoAnswer":
      return { _tag: "Silence" }
    case "HangUp":
      return { _tag: "HangUp", how: fault.how }
    case "Garbage":
      return { _tag: "Raw", text: "\u0016\u0003\u0001 220 mail.example ESMTP ready\r\n\r\n" }
    case "Status": {
      const range = parseRange(request.headers["range"], Number.MAX_SAFE_INTEGER)
      if (fault.pastOffset !== undefined && !(Array.isArray(range) && range[0] >= fault.pastOffset)) return undefined
      const headers: Array<readonly [string, string]> = Object.entries(fault.headers ?? {})
      if (fault.retryAfter !== undefined) headers.push(["Retry-After", retryAfterValue(fault.retryAfter, now)])
      return fault.body === undefined
        ? plain(fault.status, headers)
        : answer(fault.status, "text/plain", fault.body, headers)
    }
    case "EchoHeaders": {
      const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\n`)
      return answer(fault.status, "text/plain", `${request.method} ${request.target}\n${lines.join("")}`)
    }
    case "Unsatisfiable":
      return request.headers["range"] === undefined ? undefined : plain(416, [["Content-Range", `bytes */${length}`]])
    case "Page": {
      const [type, text] = pages[fault.kind]
      return answer(200, fault.contentType ?? type, text)
    }
    case "EmptyBody":
      return answer(200, "application/octet-stream", "")
    case "Redirect":
      return redirect(fault.status ?? 302, fault.to)
    case "RedirectLoop":
      return redirect(302, request.target.endsWith("?loop") ? request.path : `${request.path}?loop`)
    case "RedirectChain": {
      const hop = Number(/[?&]hop=(\d+)$/.exec(request.target)?.[1] ?? 0)
      return hop < fault.length ? redirect(302, `${request.path}?hop=${hop + 1}`) : undefined
    }
    case "RedirectNowhere":
      return plain(302)
    default:
      return undefined
  }
}

const encoders = {
  gzip: (bytes: Uint8Array) => gzipSync(bytes, { level: 1 }),
  deflate: (bytes: Uint8Array) => deflateSync(bytes, { level: 1 }),
  br: (bytes: Uint8Array) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })
}

/** The file as the faults change it: bytes and validators. */
const representation = (original: Source.Source, originalETag: string, faults: ReadonlyArray<Fault>) => {
  let source = original
  let etag: string | undefined = originalETag
  let modified: string | undefined = lastModified
  let encoding: string | undefined
  for (const fault of faults) {
    switch (fault._tag) {
      case "ChangedFile":
        source = fault.bytes === undefined ? Source.inverted(source) : Source.fromBytes(fault.bytes)
        etag = Source.etagOf(source)
        modified = lastModifiedOfChange
        break
      case "NewETag":
        etag = fault.etag
        break
      case "FlipByte":
        source = Source.flipped(source, fault.offset)
        break
      case "Resize":
        source = Source.resized(source, Math.max(source.length + fault.by, 0))
        break
      case "Endless":
        source = Source.endless
        break
    }
  }
  const encode = pick(faults, "ContentEncoding")
  if (encode !== undefined && Number.isFinite(source.length)) {
    source = Source.fromBytes(encoders[encode.encoding](Source.toBytes(source)))
    encoding = encode.encoding
  }
  const mode = pick(faults, "Validators")?.mode
  if (mode === "none" || mode === "dateOnly") etag = undefined
  if (mode === "none" || mode === "etagOnly") modified = undefined
  if (mode === "weakETag") etag = `W/${etag}`
  return { source, etag, modified, encoding }
}

const contentRange = (
  how: Extract<Fault, { _tag: "WrongContentRange" }>["how"] | undefined,
  start: number,
  end: number,
  total: number
): ReadonlyArray<readonly [string, string]> => {
  switch (how) {
    case "missing":
      return []
    case "garbage":
      return [["Content-Range", "bytes some-of/it"]]
    case "start":
      return [["Content-Range", `bytes ${start > 0 ? start - 1 : 1}-${end - 1}/${total}`]]
    case "total":
      return [["Content-Range", `bytes ${start}-${end - 1}/${total + 1}`]]
    default:
      return [["Content-Range", `bytes ${start}-${end - 1}/${total}`]]
  }
}

const fileAnswer = (request: Request, file: Source.Source, fileETag: string, faults: ReadonlyArray<Fault>): Answer => {
  const { encoding, etag, modified, source } = representation(file, fileETag, faults)
  const headers: Array<readonly [string, string]> = [["Content-Type", "application/octet-stream"]]
  if (etag !== undefined) headers.push(["ETag", etag])
  if (modified !== undefined) headers.push(["Last-Modified", modified])
  if (encoding !== undefined) headers.push(["Content-Encoding", encoding])
  const whole = (): Answer => ({ status: 200, headers, body: source, start: 0, end: source.length })

  const ranges = pick(faults, "IgnoreRange") === undefined && encoding === undefined && Number.isFinite(source.length)
  if (!ranges) return whole()
  headers.push(["Accept-Ranges", "bytes"])
  const range = request.method === "GET" ? parseRange(request.headers["range"], source.length) : "whole"
  if (range === "whole") return whole()

  const condition = request.headers["if-range"]
  const holds = condition === undefined || (condition === etag && !condition.startsWith("W/")) || condition === modified
  if (!holds && pick(faults, "IgnoreIfRange") === undefined) return whole()
  if (range === "unsatisfiable") return plain(416, [["Content-Range", `bytes */${source.length}`]])

  const wrong = pick(faults, "WrongContentRange")?.how
  const [asked, end] = range
  const start = wrong !== "shifted" ? asked : asked > 0 ? asked - 1 : Math.min(1, end - 1)
  return {
    status: 206,
    headers: [...headers, ...contentRange(wrong, start, end, source.length)],
    body: source,
    start,
    end
  }
}

/** Adds what the wire needs: framing headers, where the body stops and how the connection goes on. */
const respond = (request: Request, given: Answer, faults: ReadonlyArray<Fault>, now: number): Plan => {
  const length = given.end - given.start
  const chunked = pick(faults, "Chunked")
  const lie = pick(faults, "ContentLengthLies")
  const cut = faults.find((fault) => fault._tag === "Cut" && fault.after <= length)
  const huge = pick(faults, "HugeHeader")
  const closeDelimited =
    chunked === undefined && (pick(faults, "NoContentLength") !== undefined || !Number.isFinite(length))
  const closes =
    closeDelimited ||
    lie !== undefined ||
    chunked?.unterminated === true ||
    request.version === "HTTP/1.0" ||
    request.headers["connection"]?.toLowerCase() === "close"

  const headers: Array<readonly [string, string]> = [["Date", new Date(now).toUTCString()], ...given.headers]
  if (chunked !== undefined) headers.push(["Transfer-Encoding", "chunked"])
  else if (!closeDelimited) headers.push(["Content-Length", String(Math.max(length + (lie?.by ?? 0), 0))])
  if (huge !== undefined) headers.push(["X-Huge", "h".repeat(huge.bytes)])
  headers.push(["Connection", closes ? "close" : "keep-alive"])
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")

  const head = `HTTP/1.1 ${given.status} ${STATUS_CODES[given.status] ?? "Unknown"}\r\n${lines}\r\n`
  const common = { _tag: "Response", status: given.status, head, body: given.body, start: given.start } as const
  if (request.method === "HEAD") {
    return {
      ...common,
      end: given.start,
      chunked: false,
      terminated: true,
      stallAfter: Number.POSITIVE_INFINITY,
      pace: undefined,
      ending: closes ? "fin" : "keepAlive",
      cut: false
    }
  }
  const reset = pick(faults, "ResetAfterEnd") !== undefined
  return {
    ...common,
    end: cut?._tag === "Cut" ? given.start + cut.after : given.end,
    chunked: chunked !== undefined,
    terminated: cut === undefined && chunked?.unterminated !== true,
    stallAfter: pick(faults, "Stall")?.after ?? Number.POSITIVE_INFINITY,
    pace: pick(faults, "Trickle"),
    cut: cut !== undefined,
    ending: cut?._tag === "Cut" ? cut.how : reset ? "reset" : closes ? "fin" : "keepAlive"
  }
}

/** What to do about a request; `file` undefined is a 404, which no fault changes. `now` is the time in milliseconds. */
export const plan = (
  request: Request,
  file: { readonly source: Source.Source; readonly etag: string } | undefined,
  faults: ReadonlyArray<Fault>,
  now: number
): Plan => {
  if (file === undefined) return respond(request, plain(404), [], now)
  if (request.method !== "GET" && request.method !== "HEAD") return respond(request, plain(405), [], now)
  for (const fault of faults) {
    const instead = substitute(fault, request, file.source.length, now)
    if (instead !== undefined) return "_tag" in instead ? instead : respond(request, instead, faults, now)
  }
  return respond(request, fileAnswer(request, file.source, file.etag, faults), faults, now)
}

/** The milliseconds to wait before answering. */
export const latency = (faults: ReadonlyArray<Fault>): number => pick(faults, "Latency")?.ms ?? 0

/** The frame of one chunk of a chunked body. */
export const frame = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])

/** The end of a chunked body. */
export const lastChunk: Uint8Array = Buffer.from("0\r\n\r\n")

import { Buffer } from "node:buffer"
import { Agent, get, type IncomingHttpHeaders, type RequestOptions, request } from "node:http"
import { request as httpsRequest } from "node:https"
import { connect } from "node:net"
import { connect as connectTls } from "node:tls"
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as FaultServer from "../support/FaultServer.js"
import * as ForwardProxy from "../support/ForwardProxy.js"

const { Fault } = FaultServer

const size = 100_000
const file = Buffer.from(FaultServer.toBytes(FaultServer.pattern(size)))

/** What a client sees: `error` for a broken exchange, "timeout" where nothing more came before the deadline. */
interface Seen {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly error: string | undefined
}

const deadline = 300

const ask = (url: string, options: RequestOptions = {}, make: typeof request = request): Effect.Effect<Seen> =>
  Effect.async<Seen>((resume) => {
    const parts: Array<Buffer> = []
    let status: number | undefined
    let headers: IncomingHttpHeaders = {}
    const done = (error?: string) => {
      outgoing.destroy()
      resume(Effect.succeed({ status, headers, body: Buffer.concat(parts), error }))
    }
    const outgoing = make(url, { agent: false, maxHeaderSize: 4 * 1024 * 1024, timeout: deadline, ...options })
    outgoing.on("timeout", () => done("timeout"))
    outgoing.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    outgoing.on("response", (response) => {
      status = response.statusCode
      headers = response.headers
      response.on("data", (bytes: Buffer) => {
        parts.push(bytes)
        if (parts.length > 1000) done("enough")
      })
      response.on("end", () => done())
      response.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    })
    outgoing.end()
    return Effect.sync(() => outgoing.destroy())
  })

/** Everything that comes after `sent`, until the socket closes; `error` is the socket's. */
const talk = (
  port: number,
  sent: string
): Effect.Effect<{ readonly text: string; readonly error: string | undefined }> =>
  Effect.async((resume) => {
    const socket = connect(port, "127.0.0.1")
    let text = ""
    let error: string | undefined
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1")
    })
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      error = cause.code
    })
    socket.on("close", () => resume(Effect.succeed({ text, error })))
    socket.write(sent)
    return Effect.sync(() => socket.destroy())
  })

const range = (value: string, more: Record<string, string> = {}): RequestOptions => ({
  headers: { range: value, ...more }
})

/** Status, length, `error` and the headers of interest on one line, so that a table row is a row. */
const line = (seen: Seen, ...names: ReadonlyArray<string>): string =>
  [
    seen.status ?? "-",
    seen.body.length,
    seen.body.equals(file) ? "same" : file.includes(seen.body) ? "part" : "other",
    seen.error ?? "ok",
    ...names.map((name) => seen.headers[name] ?? "none")
  ].join(" ")

interface Row {
  readonly what: string
  readonly faults: ReadonlyArray<FaultServer.Fault | FaultServer.Script>
  /** One request each; `[]` is a plain GET. */
  readonly asks?: ReadonlyArray<RequestOptions>
  readonly shows?: ReadonlyArray<string>
  readonly sees: ReadonlyArray<string>
}

const aborted = "ECONNRESET"
const etag = '"[0-9a-f]{16}"'
const date1 = "Mon, 01 Jan 2024 00:00:00 GMT"
const date2 = "Sat, 01 Jun 2024 00:00:00 GMT"
const tail = range(`bytes=${size - 10}-`)
const type = "content-type"

const rows: ReadonlyArray<Row> = [
  // Healthy
  {
    what: "healthy",
    faults: [],
    shows: ["content-length", "etag", "last-modified", "accept-ranges"],
    sees: [`200 ${size} same ok ${size} ${etag} ${date1} bytes`]
  },
  { what: "HEAD", faults: [], asks: [{ method: "HEAD" }], shows: ["content-length"], sees: [`200 0 part ok ${size}`] },
  { what: "POST", faults: [], asks: [{ method: "POST" }], sees: ["405 23 other ok"] },
  {
    what: "closed range",
    faults: [],
    asks: [range("bytes=10-19")],
    shows: ["content-range", "content-length"],
    sees: [`206 10 part ok bytes 10-19/${size} 10`]
  },
  {
    what: "open range",
    faults: [],
    asks: [tail],
    shows: ["content-range"],
    sees: [`206 10 part ok bytes ${size - 10}-${size - 1}/${size}`]
  },
  {
    what: "suffix range",
    faults: [],
    asks: [range("bytes=-7")],
    shows: ["content-range"],
    sees: [`206 7 part ok bytes ${size - 7}-${size - 1}/${size}`]
  },
  {
    what: "range past the end",
    faults: [],
    asks: [range(`bytes=${size}-`)],
    shows: ["content-range"],
    sees: [`416 26 other ok bytes \\*/${size}`]
  },
  {
    what: "several ranges, nonsense",
    faults: [],
    asks: [range("bytes=0-1,4-5"), range("bytes=5-1"), range("lines=1-2")],
    sees: Array.from({ length: 3 }, () => `200 ${size} same ok`)
  },
  {
    what: "If-Range with the date",
    faults: [],
    asks: [range("bytes=0-4", { "if-range": date1 }), range("bytes=0-4", { "if-range": date2 })],
    sees: ["206 5 part ok", `200 ${size} same ok`]
  },
  {
    what: "If-Range with the tag",
    faults: [Fault.NewETag({ etag: '"n"' })],
    asks: [range("bytes=0-4", { "if-range": '"n"' })],
    sees: ["206 5 part ok"]
  },
  {
    what: "If-Range with another tag",
    faults: [],
    asks: [range("bytes=0-4", { "if-range": '"x"' })],
    sees: [`200 ${size} same ok`]
  },

  // Instead of the file
  { what: "NoAnswer", faults: [Fault.NoAnswer({})], sees: ["- 0 part timeout"] },
  { what: "HangUp fin", faults: [Fault.HangUp({ how: "fin" })], sees: [`- 0 part ${aborted}`] },
  { what: "HangUp reset", faults: [Fault.HangUp({ how: "reset" })], sees: [`- 0 part ${aborted}`] },
  { what: "Garbage", faults: [Fault.Garbage({})], sees: ["- 0 part HPE_INVALID_CONSTANT"] },
  {
    what: "Status, first two",
    faults: [Fault.Status({ status: 503, times: 2, retryAfter: { seconds: 7 } })],
    asks: [{}, {}, {}],
    shows: ["retry-after"],
    sees: ["503 24 other ok 7", "503 24 other ok 7", `200 ${size} same ok none`]
  },
  {
    what: "Status with body and headers",
    faults: [Fault.Status({ status: 429, headers: { "X-Why": "quota" }, body: "no" })],
    shows: ["x-why"],
    sees: ["429 2 other ok quota"]
  },
  {
    what: "Status past an offset",
    faults: [Fault.Status({ status: 500, pastOffset: 50 })],
    asks: [{}, range("bytes=49-50"), range("bytes=50-51")],
    sees: [`200 ${size} same ok`, "206 2 part ok", "500 26 other ok"]
  },
  {
    what: "from",
    faults: [Fault.Status({ status: 410, from: 1, times: 1 })],
    asks: [{}, {}, {}],
    sees: [`200 ${size} same ok`, "410 9 other ok", `200 ${size} same ok`]
  },
  {
    what: "Script",
    faults: [
      FaultServer.script(
        Fault.Status({ status: 408 }),
        [],
        [Fault.IgnoreRange({}), Fault.Cut({ after: 5, how: "fin" })]
      )
    ],
    asks: [tail, tail, tail, tail],
    sees: ["408 20 other ok", "206 10 part ok", `200 5 part ${aborted}`, "206 10 part ok"]
  },
  {
    what: "Unsatisfiable",
    faults: [Fault.Unsatisfiable({})],
    asks: [{}, tail],
    shows: ["content-range"],
    sees: [`200 ${size} same ok none`, `416 26 other ok bytes \\*/${size}`]
  },
  {
    what: "Page html",
    faults: [Fault.Page({ kind: "html" })],
    asks: [tail],
    shows: [type],
    sees: ["200 \\d+ other ok text/html.*"]
  },
  {
    what: "Page json",
    faults: [Fault.Page({ kind: "json" })],
    shows: [type],
    sees: ["200 \\d+ other ok application/json"]
  },
  {
    what: "Page s3",
    faults: [Fault.Page({ kind: "s3", contentType: "binary/x" })],
    shows: [type],
    sees: ["200 \\d+ other ok binary/x"]
  },
  {
    what: "Page lfs",
    faults: [Fault.Page({ kind: "lfs" })],
    shows: [type],
    sees: ["200 \\d+ other ok application/octet-stream"]
  },
  { what: "EmptyBody", faults: [Fault.EmptyBody({})], shows: ["content-length"], sees: ["200 0 part ok 0"] },
  {
    what: "Redirect",
    faults: [Fault.Redirect({ to: "https://e.test/x", status: 307 })],
    shows: ["location"],
    sees: ["307 23 other ok https://e.test/x"]
  },
  {
    what: "RedirectLoop",
    faults: [Fault.RedirectLoop({})],
    asks: [{}, { path: "/f?loop" }],
    shows: ["location"],
    sees: ["302 10 other ok /f\\?loop", "302 10 other ok /f"]
  },
  {
    what: "RedirectChain",
    faults: [Fault.RedirectChain({ length: 2 })],
    asks: [{}, { path: "/f?hop=1" }, { path: "/f?hop=2" }],
    shows: ["location"],
    sees: ["302 10 other ok /f\\?hop=1", "302 10 other ok /f\\?hop=2", `200 ${size} same ok none`]
  },
  { what: "RedirectNowhere", faults: [Fault.RedirectNowhere({})], shows: ["location"], sees: ["302 10 other ok none"] },

  // Another file
  {
    what: "ChangedFile",
    faults: [Fault.ChangedFile({ from: 1 })],
    asks: [{}, {}],
    shows: ["last-modified"],
    sees: [`200 ${size} same ok ${date1}`, `200 ${size} other ok ${date2}`]
  },
  {
    what: "ChangedFile with bytes, under If-Range",
    faults: [Fault.ChangedFile({ bytes: Buffer.from("other") })],
    asks: [range("bytes=0-2", { "if-range": date1 })],
    sees: ["200 5 other ok"]
  },
  {
    what: "IgnoreIfRange",
    faults: [Fault.ChangedFile({}), Fault.IgnoreIfRange({})],
    asks: [range("bytes=0-9", { "if-range": date1 })],
    shows: ["last-modified"],
    sees: [`206 10 other ok ${date2}`]
  },
  { what: "NewETag", faults: [Fault.NewETag({ etag: '"n"' })], shows: ["etag"], sees: [`200 ${size} same ok "n"`] },
  {
    what: "no validators",
    faults: [Fault.Validators({ mode: "none" })],
    shows: ["etag", "last-modified"],
    sees: [`200 ${size} same ok none none`]
  },
  {
    what: "only a date",
    faults: [Fault.Validators({ mode: "dateOnly" })],
    shows: ["etag", "last-modified"],
    sees: [`200 ${size} same ok none ${date1}`]
  },
  {
    what: "only a tag",
    faults: [Fault.Validators({ mode: "etagOnly" })],
    shows: ["etag", "last-modified"],
    sees: [`200 ${size} same ok ${etag} none`]
  },
  {
    what: "weak tag, which no If-Range matches",
    faults: [Fault.NewETag({ etag: '"n"' }), Fault.Validators({ mode: "weakETag" })],
    asks: [range("bytes=0-4", { "if-range": 'W/"n"' })],
    shows: ["etag"],
    sees: [`200 ${size} same ok W/"n"`]
  },
  {
    what: "FlipByte",
    faults: [Fault.FlipByte({ offset: 99 })],
    asks: [range("bytes=0-98"), range("bytes=99-99"), range("bytes=0-99")],
    shows: ["etag"],
    sees: [`206 99 part ok ${etag}`, `206 1 (other|part) ok ${etag}`, `206 100 other ok ${etag}`]
  },
  {
    what: "Resize longer",
    faults: [Fault.Resize({ by: 10 })],
    shows: ["content-length"],
    sees: [`200 ${size + 10} other ok ${size + 10}`]
  },
  {
    what: "Resize shorter",
    faults: [Fault.Resize({ by: -10 })],
    shows: ["content-length"],
    sees: [`200 ${size - 10} part ok ${size - 10}`]
  },
  { what: "Endless", faults: [Fault.Endless({})], shows: ["content-length"], sees: ["200 \\d{7,} other enough none"] },

  // Head
  {
    what: "Latency",
    faults: [Fault.Latency({ ms: deadline * 2, times: 1 }), Fault.Latency({ ms: 1 })],
    asks: [{}, {}],
    sees: ["- 0 part timeout", `200 ${size} same ok`]
  },
  {
    what: "IgnoreRange",
    faults: [Fault.IgnoreRange({})],
    asks: [tail],
    shows: ["accept-ranges"],
    sees: [`200 ${size} same ok none`]
  },
  {
    what: "WrongContentRange start",
    faults: [Fault.WrongContentRange({ how: "start" })],
    asks: [range("bytes=5-9")],
    shows: ["content-range"],
    sees: [`206 5 part ok bytes 4-9/${size}`]
  },
  {
    what: "WrongContentRange total",
    faults: [Fault.WrongContentRange({ how: "total" })],
    asks: [range("bytes=5-9")],
    shows: ["content-range"],
    sees: [`206 5 part ok bytes 5-9/${size + 1}`]
  },
  {
    what: "WrongContentRange missing",
    faults: [Fault.WrongContentRange({ how: "missing" })],
    asks: [range("bytes=5-9")],
    shows: ["content-range"],
    sees: ["206 5 part ok none"]
  },
  {
    what: "WrongContentRange garbage",
    faults: [Fault.WrongContentRange({ how: "garbage" })],
    asks: [range("bytes=5-9")],
    shows: ["content-range"],
    sees: ["206 5 part ok bytes some-of/it"]
  },
  {
    what: "WrongContentRange shifted",
    faults: [Fault.WrongContentRange({ how: "shifted" })],
    asks: [range("bytes=5-9")],
    shows: ["content-range", "content-length"],
    sees: [`206 6 part ok bytes 4-9/${size} 6`]
  },
  {
    what: "ContentLengthLies, too long",
    faults: [Fault.ContentLengthLies({ by: 5 })],
    shows: ["content-length"],
    sees: [`200 ${size} same ${aborted} ${size + 5}`]
  },
  {
    what: "ContentLengthLies, too short",
    faults: [Fault.ContentLengthLies({ by: -5 })],
    shows: ["content-length"],
    sees: [`200 ${size - 5} part (ok|HPE_\\w+) ${size - 5}`]
  },
  {
    what: "NoContentLength",
    faults: [Fault.NoContentLength({})],
    shows: ["content-length", "transfer-encoding", "connection"],
    sees: [`200 ${size} same ok none none close`]
  },
  { what: "HugeHeader", faults: [Fault.HugeHeader({ bytes: 1024 * 1024 })], sees: [`200 ${size} same ok`] },
  {
    what: "HugeHeader for a client with a limit",
    faults: [Fault.HugeHeader({ bytes: 1024 * 1024 })],
    asks: [{ maxHeaderSize: 16 * 1024 }],
    sees: ["- 0 part HPE_HEADER_OVERFLOW"]
  },

  // Body
  {
    what: "Chunked",
    faults: [Fault.Chunked({})],
    asks: [{}, tail],
    shows: ["content-length", "transfer-encoding"],
    sees: [`200 ${size} same ok none chunked`, "206 10 part ok none chunked"]
  },
  {
    what: "Chunked, unterminated",
    faults: [Fault.Chunked({ unterminated: true })],
    sees: [`200 ${size} same ${aborted}`]
  },
  {
    what: "Chunked, cut",
    faults: [Fault.Chunked({}), Fault.Cut({ after: 70_000, how: "fin" })],
    sees: [`200 70000 part ${aborted}`]
  },
  {
    what: "Cut fin, first only",
    faults: [Fault.Cut({ after: 10, how: "fin", times: 1 })],
    asks: [{}, {}],
    sees: [`200 10 part ${aborted}`, `200 ${size} same ok`]
  },
  { what: "Cut reset", faults: [Fault.Cut({ after: 70_000, how: "reset" })], sees: [`200 70000 part ${aborted}`] },
  {
    what: "Cut every response",
    faults: [Fault.Cut({ after: 10, how: "fin" })],
    asks: [tail, range("bytes=0-"), range("bytes=0-8")],
    sees: ["206 10 part ok", `206 10 part ${aborted}`, "206 9 part ok"]
  },
  { what: "Cut at once", faults: [Fault.Cut({ after: 0, how: "fin" })], sees: [`200 0 part ${aborted}`] },
  {
    what: "Cut of a close-delimited body looks complete",
    faults: [Fault.NoContentLength({}), Fault.Cut({ after: 10, how: "fin" })],
    sees: ["200 10 part ok"]
  },
  { what: "Stall", faults: [Fault.Stall({ after: 70_000 })], sees: ["200 70000 part timeout"] },
  {
    what: "Stall before the last chunk",
    faults: [Fault.Chunked({}), Fault.Stall({ after: size })],
    sees: [`200 ${size} same timeout`]
  },
  {
    what: "Trickle",
    faults: [Fault.Trickle({ bytes: 3, ms: 20 })],
    asks: [range("bytes=0-9")],
    sees: ["206 10 part ok"]
  }
]

describe("FaultServer", () => {
  for (const row of rows) {
    it.scopedLive(row.what, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const url = server.serve("/f", file, ...row.faults)
        const seen = yield* Effect.forEach(row.asks ?? [{}], (options) => ask(url, options))
        const lines = seen.map((one) => line(one, ...(row.shows ?? [])))
        assert.strictEqual(lines.length, row.sees.length)
        for (const [i, pattern] of row.sees.entries()) assert.match(lines[i] ?? "", new RegExp(`^${pattern}$`))
      })
    )
  }

  it.scopedLive("ContentEncoding really encodes", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const decoders = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync } as const
      for (const encoding of ["gzip", "deflate", "br"] as const) {
        const seen = yield* ask(server.serve("/f", file, Fault.ContentEncoding({ encoding })), tail)
        assert.strictEqual(seen.status, 200)
        assert.strictEqual(seen.headers["content-encoding"], encoding)
        assert.strictEqual(seen.headers["content-length"], String(seen.body.length))
        assert.isFalse(seen.body.equals(file))
        assert.isTrue(decoders[encoding](seen.body).equals(file))
      }
    })
  )

  it.scopedLive("FlipByte changes that byte alone", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const seen = yield* ask(server.serve("/f", file, Fault.FlipByte({ offset: 70_001 })))
      const differing = [...seen.body.keys()].filter((i) => seen.body[i] !== file[i])
      assert.deepStrictEqual(differing, [70_001])
    })
  )

  it.scopedLive("Retry-After as a date lies so far ahead", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const before = Date.now()
      const seen = yield* ask(server.serve("/f", file, Fault.Status({ status: 429, retryAfter: { dateIn: 60 } })))
      const ahead = Date.parse(seen.headers["retry-after"] ?? "") - before
      assert.isTrue(ahead >= 60_000 && ahead < 63_000, String(ahead))
    })
  )

  it.scopedLive("EchoHeaders repeats what was asked", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      server.serve("/f", file, Fault.EchoHeaders({ status: 403 }))
      const seen = yield* ask(server.url("/f?token=t0p"), { headers: { authorization: "Bearer s3cret" } })
      assert.strictEqual(seen.status, 403)
      assert.include(seen.body.toString(), "GET /f?token=t0p\n")
      assert.include(seen.body.toString(), "authorization: Bearer s3cret\n")
    })
  )

  it.scopedLive("a reset is a reset and a FIN is a FIN, whole bytes or not", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const bytes = Buffer.from("0123456789")
      const endings = [
        [Fault.ResetAfterEnd({}), "0123456789", "ECONNRESET"],
        [Fault.Cut({ after: 10, how: "reset" }), "0123456789", "ECONNRESET"],
        [Fault.Cut({ after: 10, how: "fin" }), "0123456789", undefined],
        [Fault.Cut({ after: 4, how: "reset" }), "0123", "ECONNRESET"],
        [Fault.Cut({ after: 4, how: "fin" }), "0123", undefined],
        [Fault.ContentLengthLies({ by: -5 }), "0123456789", undefined],
        [Fault.ContentLengthLies({ by: 5 }), "0123456789", undefined]
      ] as const
      for (const [fault, body, error] of endings) {
        server.serve("/f", bytes, fault)
        const seen = yield* talk(server.port, "GET /f HTTP/1.1\r\n\r\n")
        assert.strictEqual(seen.text.split("\r\n\r\n")[1], body, fault._tag)
        assert.strictEqual(seen.error, error, fault._tag)
      }
      server.serve("/f", bytes, Fault.HangUp({ how: "reset" }))
      assert.deepStrictEqual(yield* talk(server.port, "GET /f HTTP/1.1\r\n\r\n"), { text: "", error: "ECONNRESET" })
      server.serve("/f", bytes, Fault.HangUp({ how: "fin" }))
      assert.deepStrictEqual(yield* talk(server.port, "GET /f HTTP/1.1\r\n\r\n"), { text: "", error: undefined })
    })
  )

  it.scopedLive("keeps a connection alive, closes it when asked, and answers pipelined requests", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      server.serve("/f", Buffer.from("abc"))
      const agent = new Agent({ keepAlive: true })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      const reuse = () =>
        Effect.async<void>((resume) => {
          get(server.url("/f"), { agent }, (response) => response.resume().on("end", () => resume(Effect.void)))
        })
      yield* reuse()
      yield* Effect.yieldNow()
      yield* reuse()
      assert.deepStrictEqual(
        server.requests.map((one) => one.connection),
        [1, 1]
      )
      const seen = yield* talk(
        server.port,
        "GET /f HTTP/1.1\r\nContent-Length: 2\r\n\r\nxxGET /none HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n"
      )
      assert.deepStrictEqual(seen.text.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 404"])
      assert.deepStrictEqual(server.requests[3]?.headers, { "x-a": "1, 2", connection: "close" })
    })
  )

  it.scopedLive("logs what it was asked and what it sent, and `until` follows it", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const url = server.serve(
        "/f",
        file,
        Fault.Cut({ after: 30_000, how: "fin", times: 1 }),
        Fault.Stall({ after: 40_000, from: 2 })
      )
      yield* ask(`${url}?q=1`)
      yield* ask(url, tail)
      assert.strictEqual(server.bytesSent("/f"), 30_010)
      assert.deepInclude(server.requests[0], {
        method: "GET",
        target: "/f?q=1",
        path: "/f",
        status: 200,
        bodySent: 30_000
      })
      assert.deepInclude(server.requests[1], { status: 206, bodySent: 10, finished: true })
      assert.strictEqual(server.requests[1]?.headers["range"], `bytes=${size - 10}-`)
      assert.strictEqual(server.maxConcurrent, 1)
      yield* Effect.all(
        [ask(url), ask(url), server.until(() => server.bytesSent() >= 30_010 + 80_000 && server.connectionsOpen === 2)],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(server.maxConcurrent, 2)
      yield* server.until(() => server.connectionsOpen === 0 && server.requests.every((one) => one.finished))
      assert.strictEqual(server.connectionsAccepted, 4)
    })
  )

  it.scopedLive("a client that does not read makes it wait, not buffer", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      server.serve("/f", FaultServer.pattern(4 * 1024 ** 3))
      const socket = connect(server.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.pause().write("GET /f HTTP/1.1\r\n\r\n")
      yield* server.until(() => server.bytesSent() > 0)
      yield* Effect.sleep("200 millis")
      const sent = server.bytesSent()
      yield* Effect.sleep("100 millis")
      assert.strictEqual(server.bytesSent(), sent)
      assert.isBelow(sent, 32 * 1024 * 1024)
    })
  )

  it.scopedLive("Trickle takes its time", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const url = server.serve("/f", Buffer.from("0123456789"), Fault.Trickle({ bytes: 2, ms: 30 }))
      const [took] = yield* Effect.timed(ask(url))
      assert.isAtLeast(Duration.toMillis(took), 100)
    })
  )

  it.scoped("waits in real time under a test clock", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const seen = yield* ask(server.serve("/f", file, Fault.Latency({ ms: 20 })))
      assert.strictEqual(seen.status, 200)
      yield* TestClock.adjust("1 second")
    })
  )

  it.live("the Scope takes sockets and timers with it", () =>
    Effect.gen(function* () {
      const server = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* FaultServer.make
          const url = server.serve("/f", file, Fault.Stall({ after: 5 }))
          yield* Effect.forkDaemon(ask(url, { timeout: 20_000 }))
          yield* server.until(() => server.bytesSent() === 5)
          return server
        })
      )
      assert.strictEqual(server.connectionsOpen, 0)
      assert.strictEqual((yield* ask(server.url("/f"))).error, "ECONNREFUSED")
      assert.strictEqual((yield* ask(yield* FaultServer.refusingOrigin)).error, "ECONNREFUSED")
    })
  )

  it.scopedLive("TLS: trusted through its authority only; cuts and resets work", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.makeTls
      const url = server.serve(
        "/f",
        file,
        FaultServer.script([], Fault.Cut({ after: 9, how: "fin" }), Fault.Cut({ after: 70_000, how: "reset" }))
      )
      const get = (options = {}) => ask(url, options, httpsRequest)
      assert.strictEqual((yield* get()).error, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
      const trusting = { ca: server.caPem }
      assert.strictEqual(line(yield* get(trusting)), `200 ${size} same ok`)
      assert.strictEqual(line(yield* get(trusting)), `200 9 part ${aborted}`)
      assert.strictEqual(line(yield* get(trusting)), `200 70000 part ${aborted}`)
      const byName = yield* ask(
        `https://localhost:${server.port}/f`,
        {
          ...trusting,
          lookup: (_host, options, done) =>
            options.all === true ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4)
        },
        httpsRequest
      )
      assert.strictEqual(byName.status, 200)
      yield* server.until(() => server.connectionsOpen === 0)
    })
  )

  it.scopedLive("any script of faults is answered, request by request, then the file", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const scripts = FastCheck.sample(FaultServer.arbitraryScript({ size, maxSteps: 3 }), 40)
      for (const script of scripts) {
        const url = server.serve("/f", file, script)
        for (const step of script.steps) {
          const seen = yield* ask(url, { ...tail, timeout: 5000 })
          assert.notStrictEqual(seen.error, "timeout", JSON.stringify(step))
        }
        assert.strictEqual(line(yield* ask(url)), `200 ${size} same ok`)
      }
    })
  )

  it.effect("arbitrary scripts are data", () =>
    Effect.sync(() => {
      const scripts = FastCheck.sample(FaultServer.arbitraryScript({ size, maxSteps: 4, waits: true }), 200)
      assert.isTrue(scripts.every((one) => one.steps.length <= 4))
      assert.isTrue(new Set(scripts.flatMap((one) => one.steps.flat().map((fault) => fault._tag))).size > 15)
      assert.deepStrictEqual(
        scripts.map((one) => JSON.parse(JSON.stringify(one))),
        scripts.map((one) => ({ ...one, steps: one.steps.map((step) => step.map((fault) => ({ ...fault }))) }))
      )
    })
  )
})

describe("ForwardProxy", () => {
  it.scopedLive("forwards absolute-form requests, with credentials and made-up names", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      server.serve("/f", file, Fault.Cut({ after: 9, how: "fin", from: 1 }))
      const proxy = yield* ForwardProxy.make({
        credentials: "me:pw",
        resolve: () => ({ host: "127.0.0.1", port: server.port })
      })
      const through = (headers: Record<string, string>) =>
        ask(proxy.origin, { path: "http://images.test/f?x=1", headers: { host: "images.test", ...headers } })
      const authorization = { "proxy-authorization": `Basic ${Buffer.from("me:pw").toString("base64")}` }
      assert.strictEqual((yield* through({})).status, 407)
      assert.strictEqual(line(yield* through(authorization)), `200 ${size} same ok`)
      assert.strictEqual(line(yield* through(authorization)), `200 9 part ${aborted}`)
      assert.deepInclude(proxy.requests[1], { method: "GET", target: "http://images.test/f?x=1" })
      assert.deepInclude(server.requests[0], { target: "/f?x=1" })
      assert.notProperty(server.requests[0]?.headers, "proxy-authorization")
    })
  )

  it.scopedLive("tunnels through CONNECT", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.makeTls
      server.serve("/f", file)
      const proxy = yield* ForwardProxy.make()
      const authority = `127.0.0.1:${server.port}`
      const text = yield* Effect.async<string>((resume) => {
        request(proxy.origin, { method: "CONNECT", path: authority, agent: false })
          .on("connect", (_response, socket) => {
            let received = ""
            const secure = connectTls({ socket, host: "127.0.0.1", ca: server.caPem })
            secure.on("data", (bytes) => {
              received += bytes.toString("latin1")
            })
            secure.on("end", () => resume(Effect.succeed(received)))
            secure.on("error", (error) => resume(Effect.die(error)))
            secure.write("GET /f HTTP/1.1\r\nConnection: close\r\n\r\n")
          })
          .end()
      })
      assert.isTrue(text.endsWith(Buffer.from(file).toString("latin1")))
      assert.deepInclude(proxy.requests[0], { method: "CONNECT", target: authority })
    })
  )
})

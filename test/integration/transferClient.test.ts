/** The HTTP client of the Node layers, where undici alone would not do. */
import { createServer, type Server } from "node:http"
import { Readable } from "node:stream"
import { setTimeout } from "node:timers/promises"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { NodeHttpClient } from "../../src/node/index.js"
import * as FaultServer from "../support/FaultServer.js"
import * as RawServer from "../support/RawServer.js"

const { Fault } = FaultServer

/** Answers with what it was sent, or in pieces with pauses for a request without a body. */
const echo = Effect.acquireRelease(
  Effect.promise<Server>(async () => {
    const server = createServer((request, response) => {
      if (request.method === "POST") {
        response.setHeader("x-type", request.headers["content-type"] ?? "none")
        request.pipe(response)
      } else {
        void Readable.from(slowly(["first;", "second;", "third"])).pipe(response)
      }
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return server
  }),
  (server) => Effect.sync(() => void server.close().closeAllConnections())
).pipe(
  Effect.map((server) => {
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`
  })
)

async function* slowly(pieces: ReadonlyArray<string>) {
  for (const piece of pieces) {
    await setTimeout(60)
    yield piece
  }
}

const whole = "first;second;third"
const textOf = (url: string) => Effect.flatMap(HttpClient.get(url), ({ text }) => text)
const inScope = <A, E>(effect: Effect.Effect<A, E, HttpClient.HttpClient | Scope.Scope>) =>
  Effect.provide(effect, NodeHttpClient.layer())

// Before all others: nothing has loaded undici yet.
describe("the first request", () => {
  it.scopedLive("interrupted at any time, does no harm to those after it", () =>
    Effect.gen(function* () {
      const url = yield* echo
      for (const millis of [0, 1, 5, 20]) {
        yield* Effect.gen(function* () {
          const first = yield* Effect.fork(textOf(url))
          yield* Effect.sleep(millis)
          yield* Fiber.interrupt(first)
          assert.strictEqual(yield* textOf(url), whole)
        }).pipe(inScope)
      }
    })
  )

  it.scopedLive("leaves to the others what they annotate their logs with", () =>
    Effect.gen(function* () {
      const url = yield* echo
      const annotated = (asset: string) =>
        Effect.zipRight(textOf(url), Effect.logAnnotations).pipe(
          Effect.map((annotations) => Option.getOrUndefined(HashMap.get(annotations, "asset"))),
          Effect.annotateLogs("asset", asset)
        )
      const names = ["kernel", "rootfs", "initrd"]
      const seen = yield* Effect.forEach(names, annotated, { concurrency: "unbounded" })
      assert.deepStrictEqual(seen, names)
    }).pipe(inScope)
  )
})

/** Take the head, leave the body alone until the server has closed the connection, then count its bytes. */
const lateRead = (url: string) =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const response = yield* client.get(url)
    yield* Effect.sleep("200 millis")
    let bytes = 0
    const read = yield* Effect.either(
      Stream.runForEach(response.stream, (part) =>
        Effect.sync(() => {
          bytes += part.length
        })
      )
    )
    return { bytes, ending: read._tag }
  }).pipe(Effect.provide(NodeHttpClient.layer()))

describe("a body that is read late, of a connection that the server closes (nodejs/undici#5360)", () => {
  const size = 64 * 1024
  const file = FaultServer.toBytes(FaultServer.pattern(size))
  const close = Fault.ContentLengthLies({ by: 0 })

  for (const [name, faults] of [
    ["with a length", [close]],
    ["without one", [Fault.NoContentLength({})]],
    ["in chunks", [Fault.Chunked({}), close]]
  ] as const) {
    it.scopedLive(`${name} arrives whole`, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        assert.deepStrictEqual(yield* lateRead(server.serve("/", file, ...faults)), { bytes: size, ending: "Right" })
      })
    )
  }

  for (const how of ["fin", "reset"] as const) {
    it.scopedLive(`cut with a ${how} is no end of the process`, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const url = server.serve("/", FaultServer.pattern(2 * size), close, Fault.Cut({ after: size, how }))
        // Who subscribes too late hears of no failure; that too little came is for the engine to see.
        assert.isBelow((yield* lateRead(url)).bytes, 2 * size)
      })
    )
  }
})

describe("requests", () => {
  it.scopedLive("one that is given up takes its connection along, and opens no other one", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make(() => {})
      for (let round = 1; round <= 5; round++) {
        const request = yield* Effect.fork(textOf(`http://127.0.0.1:${server.port}/`))
        while (server.connections() < round) yield* Effect.sleep("5 millis")
        yield* Effect.sleep("20 millis")
        yield* Fiber.interrupt(request)
        yield* Effect.sleep("50 millis")
        assert.strictEqual(server.connections(), round)
      }
    }).pipe(inScope)
  )

  it.scopedLive("a body whose reader gave up is a failure for who reads along or comes later", () =>
    Effect.gen(function* () {
      const response = yield* HttpClient.get(yield* echo)
      const reader = yield* Effect.fork(response.text)
      yield* Effect.sleep("20 millis")
      const other = yield* Effect.fork(Effect.either(response.text))
      yield* Effect.sleep("20 millis")
      yield* Fiber.interrupt(reader)
      for (const result of [yield* Fiber.join(other), yield* Effect.either(response.text)]) {
        assert.strictEqual(Either.isLeft(result) && result.left._tag, "ResponseError")
      }
    }).pipe(inScope)
  )

  it.scopedLive("a body can be asked for again, by several at once, and after it has been logged", () =>
    Effect.gen(function* () {
      const response = yield* HttpClient.get(yield* echo)
      JSON.stringify(response)
      const texts = yield* Effect.all([response.text, response.text], { concurrency: 2 })
      assert.deepStrictEqual([...texts, yield* response.text], [whole, whole, whole])
    }).pipe(inScope)
  )

  it.scopedLive("who gives up waiting for the next piece can come back for it", () =>
    Effect.gen(function* () {
      const pull = yield* Stream.toPull((yield* HttpClient.get(yield* echo)).stream)
      let text = ""
      for (;;) {
        const next = yield* Effect.either(Effect.timeoutOption(pull, "25 millis"))
        if (Either.isLeft(next)) break
        if (Option.isSome(next.right)) text += Buffer.concat(Chunk.toReadonlyArray(next.right.value)).toString()
        yield* Effect.sleep("20 millis")
      }
      assert.strictEqual(text, whole)
    }).pipe(inScope)
  )

  it.scopedLive("bodies of every kind are sent", () =>
    Effect.gen(function* () {
      const post = HttpClientRequest.post(yield* echo)
      const sent = (request: HttpClientRequest.HttpClientRequest) =>
        Effect.flatMap(HttpClient.execute(request), ({ headers, text }) =>
          Effect.map(text, (body) => ({ body, type: headers["x-type"] }))
        )
      const bytes = new TextEncoder().encode("abc")
      for (const raw of [
        "abc",
        bytes,
        bytes.buffer,
        new DataView(bytes.buffer),
        new Blob(["abc"]),
        Readable.from(["abc"])
      ]) {
        const { body } = yield* sent(HttpClientRequest.setBody(post, HttpBody.raw(raw)))
        assert.strictEqual(body, "abc")
      }
      const form = new FormData()
      form.set("field", "value")
      const { body, type } = yield* sent(HttpClientRequest.bodyFormData(post, form))
      assert.match(type ?? "", /^multipart\/form-data; boundary=/)
      assert.match(body, /name="field"\r\n\r\nvalue\r\n/)
      const refused = yield* Effect.flip(sent(HttpClientRequest.setBody(post, HttpBody.raw(Symbol("abc")))))
      assert.strictEqual(refused.reason, "Encode")
    }).pipe(inScope)
  )

  it.scopedLive("a body that could not be sent is let go of", () =>
    Effect.gen(function* () {
      const body = new Readable({ read: () => {} })
      const request = HttpClientRequest.setBody(HttpClientRequest.post("http://127.0.0.1:1/"), HttpBody.raw(body))
      assert.strictEqual((yield* Effect.flip(HttpClient.execute(request))).reason, "Transport")
      assert.isTrue(body.destroyed)
      body.emit("error", new Error("and nobody minds"))
    }).pipe(inScope)
  )
})

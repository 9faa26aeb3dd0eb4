import { HttpClient, HttpClientRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Option, Predicate, Ref, Scope, Stream, TestClock } from "effect"
import * as StubHttpClient from "../../src/testing/StubHttpClient.js"

const url = "https://example.test/file"

const get = (headers: Record<string, string> = {}, path = url) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => client.get(path, { headers }))

const served = (route: StubHttpClient.Route) => Effect.provide(StubHttpClient.layer({ [url]: route }))

const codeOf = (cause: unknown): unknown => (Predicate.hasProperty(cause, "code") ? cause.code : undefined)

/** The pieces of a body, and the code it broke with, if it did. */
const read = (body: Stream.Stream<Uint8Array, { readonly cause?: unknown }>) =>
  Effect.gen(function* () {
    const pieces = yield* Ref.make(Chunk.empty<string>())
    const exit = yield* Effect.either(
      Stream.runForEach(body, (bytes) => Ref.update(pieces, Chunk.append(new TextDecoder().decode(bytes))))
    )
    return {
      pieces: Chunk.toReadonlyArray(yield* Ref.get(pieces)),
      code: exit._tag === "Left" ? codeOf(exit.left.cause) : undefined
    }
  })

describe("StubHttpClient", () => {
  it.effect("a reply with status, headers and text", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.strictEqual(response.status, 201)
      assert.strictEqual(response.headers["x-name"], "value")
      assert.strictEqual(response.headers["content-length"], "5")
      assert.strictEqual(yield* response.text, "héll")
    }).pipe(served({ status: 201, headers: { "X-Name": "value" }, body: "héll" }))
  )

  it.effect("an empty reply is a 200 without bytes", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers["content-length"], "0")
      assert.deepStrictEqual(yield* read(response.stream), { pieces: [], code: undefined })
    }).pipe(served({}))
  )

  it.effect("bytes go out in pieces of 64 KiB", () =>
    Effect.gen(function* () {
      const response = yield* get()
      const sizes = yield* Stream.runCollect(Stream.map(response.stream, (bytes) => bytes.length))
      assert.deepStrictEqual(Chunk.toReadonlyArray(sizes), [65_536, 65_536, 3])
    }).pipe(served({ body: new Uint8Array(2 * 65_536 + 3) }))
  )

  it.effect("a list goes out piece by piece, with the length of all", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.strictEqual(response.headers["content-length"], "6")
      assert.deepStrictEqual((yield* read(response.stream)).pieces, ["ab", "cd", "ef"])
    }).pipe(served({ body: ["ab", "cd", new TextEncoder().encode("ef")] }))
  )

  it.effect("a stream has no announced length, its failure is the cause of a ResponseError", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.notProperty(response.headers, "content-length")
      const error = yield* Effect.flip(Stream.runDrain(response.stream))
      assert.strictEqual(error._tag, "ResponseError")
      assert.strictEqual(error.reason, "Decode")
      assert.strictEqual(error.cause, "broken")
    }).pipe(served({ body: Stream.concat(Stream.make(new Uint8Array(1)), Stream.fail("broken")) }))
  )

  it.effect("headers may announce another length, and 204 and 304 announce none", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get()).headers["content-length"], "99")
      assert.notProperty((yield* get()).headers, "content-length")
      assert.notProperty((yield* get()).headers, "content-length")
    }).pipe(served([{ headers: { "Content-Length": "99" }, body: "abc" }, { status: 204 }, { status: 304 }]))
  )

  it.effect("json and arrayBuffer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.flatMap(get(), (response) => response.json), { a: 1 })
      assert.strictEqual((yield* Effect.flatMap(get(), (response) => response.arrayBuffer)).byteLength, 7)
      const error = yield* Effect.flip(Effect.asVoid(Effect.flatMap(get(), (response) => response.json)))
      assert.strictEqual(error._tag === "ResponseError" && error.reason, "Decode")
    }).pipe(served([{ body: '{"a":1}' }, { body: '{"a":1}' }, { body: "{" }]))
  )

  for (const [cutAfter, pieces] of [
    [0, []],
    [1, ["a"]],
    [2, ["ab"]],
    [3, ["ab", "c"]],
    [4, ["ab", "cd"]],
    [9, ["ab", "cd"]]
  ] as const) {
    it.effect(`cut after ${cutAfter} of 4 bytes`, () =>
      Effect.gen(function* () {
        const response = yield* get()
        assert.strictEqual(response.headers["content-length"], "4")
        assert.deepStrictEqual(yield* read(response.stream), { pieces, code: "ECONNRESET" })
      }).pipe(served({ body: ["ab", "cd"], cutAfter }))
    )
  }

  it.effect("a refused connection is a RequestError of reason Transport", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(get())
      assert.strictEqual(error._tag, "RequestError")
      assert.strictEqual(error.reason, "Transport")
      assert.strictEqual(codeOf(error.cause), "ECONNREFUSED")
    }).pipe(served({ refused: "ECONNREFUSED" }))
  )

  it.effect("a list of answers is given one by one, the last for ever", () =>
    Effect.gen(function* () {
      const statuses: Array<number | string> = []
      for (let attempt = 0; attempt < 4; attempt++) {
        statuses.push(yield* Effect.match(get(), { onFailure: (error) => error.reason, onSuccess: (_) => _.status }))
      }
      assert.deepStrictEqual(statuses, [503, "Transport", 200, 200])
    }).pipe(served([{ status: 503 }, { refused: "ECONNRESET" }, { status: 200 }]))
  )

  it.effect("a delay passes on the TestClock before the status is there", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(get())
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
    }).pipe(served({ delay: "2 seconds" }))
  )

  it.effect("what has no route is a 404", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get({}, "https://example.test/other")).status, 404)
      assert.strictEqual((yield* get({}, `${url}?query`)).status, 404)
    }).pipe(served({}))
  )

  it.effect("a URL is found however it is spelt", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get({}, "https://example.test")).status, 200)
      assert.strictEqual((yield* get({}, "https://EXAMPLE.test:443/")).status, 200)
    }).pipe(Effect.provide(StubHttpClient.layer({ "https://example.test": {} })))
  )

  it.effect("routes and answers may be functions of the request", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Effect.flatMap(get({ "X-Name": "me" }), (response) => response.text), "GET me")
      assert.strictEqual((yield* get({}, "https://elsewhere.test/")).status, 404)
    }).pipe(
      Effect.provide(
        StubHttpClient.layer((asked) =>
          asked.url === url
            ? ({ headers, method }) => Effect.succeed({ body: `${method} ${headers["x-name"]}` })
            : undefined
        )
      )
    )
  )

  it.effect("the log holds every request, unanswered ones too", () =>
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const requests = yield* StubHttpClient.Requests
      yield* client.get(url, { headers: { Range: "bytes=1-" }, urlParams: { a: "b c" } })
      yield* client.head("https://elsewhere.test/")
      yield* Effect.flip(client.get(url))
      const log = yield* requests.all
      assert.deepStrictEqual(
        log.map(({ method, url }) => `${method} ${url}`),
        [`GET ${url}?a=b+c`, "HEAD https://elsewhere.test/", `GET ${url}`]
      )
      assert.strictEqual(log[0]?.headers["range"], "bytes=1-")
    }).pipe(served({ refused: "ENOTFOUND" }))
  )

  it.effect("nothing is pulled before it is asked for", () =>
    Effect.gen(function* () {
      const pulled = yield* Ref.make(0)
      const body = Stream.repeatEffect(
        Effect.as(
          Ref.update(pulled, (count) => count + 1),
          new Uint8Array(1)
        )
      )
      yield* Effect.gen(function* () {
        const response = yield* get()
        yield* Effect.yieldNow()
        assert.strictEqual(yield* Ref.get(pulled), 0)
        yield* Stream.runDrain(Stream.take(response.stream, 3))
        assert.strictEqual(yield* Ref.get(pulled), 3)
      }).pipe(served({ body }))
    })
  )

  it.effect("a body is interrupted, and lets go of what it holds", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const released = yield* Ref.make(false)
      const body = Stream.fromEffect(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)).pipe(
        Stream.ensuring(Ref.set(released, true))
      )
      yield* Effect.gen(function* () {
        const response = yield* get()
        const fiber = yield* Effect.fork(Stream.runDrain(response.stream))
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(yield* Ref.get(released))
      }).pipe(served({ body }))
    })
  )

  it.effect("a body is read once", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.strictEqual((yield* read(response.stream)).code, undefined)
      assert.strictEqual((yield* read(response.stream)).code, "ABORT_ERR")
    }).pipe(served({ body: "abc" }))
  )

  it.effect("a body ends with the scope of its request", () =>
    Effect.gen(function* () {
      const client = HttpClient.withScope(yield* HttpClient.HttpClient)
      const scope = yield* Scope.make()
      const response = yield* Scope.extend(client.get(url), scope)
      const body = Stream.tap(response.stream, () => Scope.close(scope, Exit.void))
      assert.deepStrictEqual(yield* read(body), { pieces: ["ab"], code: "ABORT_ERR" })
    }).pipe(served({ body: ["ab", "cd"] }))
  )
})

describe("StubHttpClient.file", () => {
  const content = "0123456789"
  const lastModified = "Wed, 21 Oct 2015 07:28:00 GMT"
  const file = served(StubHttpClient.file(content, { etag: '"v1"', lastModified }))

  it.effect("whole, with what a client needs to resume", () =>
    Effect.gen(function* () {
      const response = yield* get()
      assert.strictEqual(response.status, 200)
      assert.deepInclude(response.headers, {
        "accept-ranges": "bytes",
        "content-length": "10",
        etag: '"v1"',
        "last-modified": lastModified
      })
      assert.strictEqual(yield* response.text, content)
    }).pipe(file)
  )

  const ranges: ReadonlyArray<
    readonly [range: string, status: number, contentRange: string | undefined, body: string]
  > = [
    ["bytes=3-", 206, "bytes 3-9/10", "3456789"],
    ["bytes=3-5", 206, "bytes 3-5/10", "345"],
    ["bytes=0-0", 206, "bytes 0-0/10", "0"],
    ["bytes=8-99", 206, "bytes 8-9/10", "89"],
    ["bytes=-3", 206, "bytes 7-9/10", "789"],
    ["bytes=-99", 206, "bytes 0-9/10", content],
    ["bytes=10-", 416, "bytes */10", ""],
    ["bytes=-0", 416, "bytes */10", ""],
    ["bytes=5-3", 200, undefined, content],
    ["bytes=0-1,4-5", 200, undefined, content],
    ["bytes=-", 200, undefined, content],
    ["lines=1-2", 200, undefined, content]
  ]
  for (const [range, status, contentRange, body] of ranges) {
    it.effect(`Range: ${range} gives ${status}`, () =>
      Effect.gen(function* () {
        const response = yield* get({ range })
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers["content-range"], contentRange)
        assert.strictEqual(response.headers["content-length"], `${body.length}`)
        assert.strictEqual(yield* response.text, body)
      }).pipe(file)
    )
  }

  for (const [condition, status] of [
    ['"v1"', 206],
    ['"v2"', 200],
    ['W/"v1"', 200],
    [lastModified, 206],
    ["Wed, 21 Oct 2015 07:29:00 GMT", 200]
  ] as const) {
    it.effect(`If-Range: ${condition} gives ${status}`, () =>
      Effect.gen(function* () {
        const response = yield* get({ range: "bytes=5-", "if-range": condition })
        assert.strictEqual(response.status, status)
        assert.strictEqual(yield* response.text, status === 206 ? "56789" : content)
      }).pipe(file)
    )
  }

  it.effect("HEAD has the headers and no bytes, POST is refused", () =>
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const head = yield* client.execute(HttpClientRequest.head(url, { headers: { range: "bytes=1-" } }))
      assert.deepStrictEqual([head.status, head.headers["content-length"]], [200, "10"])
      assert.strictEqual(yield* head.text, "")
      assert.strictEqual((yield* client.post(url)).status, 405)
    }).pipe(file)
  )

  it.effect("without ranges the whole file is sent, and Accept-Ranges is not", () =>
    Effect.gen(function* () {
      const response = yield* get({ range: "bytes=3-" })
      assert.strictEqual(response.status, 200)
      assert.notProperty(response.headers, "accept-ranges")
      assert.notProperty(response.headers, "etag")
    }).pipe(served(StubHttpClient.file(content, { ranges: false, etag: false })))
  )

  it.effect("a weak tag of its own allows no If-Range", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get({ range: "bytes=3-", "if-range": 'W/"v1"' })).status, 200)
    }).pipe(served(StubHttpClient.file(content, { etag: 'W/"v1"' })))
  )

  it.effect("the tag tells contents apart", () =>
    Effect.gen(function* () {
      const [one, same, other] = [yield* get(), yield* get(), yield* get()]
      assert.match(one.headers["etag"] ?? "", /^"[^"]+"$/)
      assert.strictEqual(one.headers["etag"], same.headers["etag"])
      assert.notStrictEqual(one.headers["etag"], other.headers["etag"])
    }).pipe(served([StubHttpClient.file("one"), StubHttpClient.file("one"), StubHttpClient.file("two")]))
  )

  it.effect("a cut file is resumed where it broke", () =>
    Effect.gen(function* () {
      const first = yield* read((yield* get()).stream)
      assert.deepStrictEqual(first, { pieces: ["0123"], code: "ECONNRESET" })
      const rest = yield* get({ range: "bytes=4-", "if-range": '"v1"' })
      assert.strictEqual(`${first.pieces.join("")}${yield* rest.text}`, content)
    }).pipe(
      served([
        StubHttpClient.file(content, { etag: '"v1"', cutAfter: 4 }),
        StubHttpClient.file(content, { etag: '"v1"' })
      ])
    )
  )
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { ensure, imageOn, temporaryDirectory } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer
const size = 48 * 1024 * 1024
const content = FaultServer.toBytes(FaultServer.pattern(size))
const kernel = new TextEncoder().encode("kernel")

/** Each connection brings 12.5 MiB a second at most. */
const slow = Fault.Trickle({ bytes: 64 * 1024, ms: 5 })

/** Ensure a large file from a server with these faults. */
const fetch = (faults: ReadonlyArray<FaultServer.Fault>, options: { readonly connections?: number } = {}) =>
  Effect.gen(function* () {
    const server = yield* FaultServer.make
    const cacheDir = yield* temporaryDirectory
    const registry = imageOn(server, kernel, content, ...faults)
    const result = yield* ensure({
      cacheDir,
      registry,
      stallWindow: "10 seconds",
      responseTimeout: "10 seconds",
      ...options
    })
    return { result, server, requests: server.requestsOf("/rootfs") }
  })

describe("segments", { timeout: 60_000 }, () => {
  it.scopedLive("a file is divided when its connections are the limit, and every byte asked for once", () =>
    Effect.gen(function* () {
      const { requests, result, server } = yield* fetch([slow])
      assert.isTrue(Either.isRight(result))
      assert.isAbove(requests.length, 4)
      assert.isAtMost(server.maxConcurrent, 5)
      const parts = requests.slice(1).map(({ headers }) => headers["range"] ?? "none")
      assert.strictEqual(new Set(parts).size, parts.length)
      assert.isTrue(parts.every((range) => /^bytes=\d+-\d+$/.test(range)))
      assert.isBelow(server.bytesSent("/rootfs"), size * 1.1)
    })
  )

  it.scopedLive("a file is not divided when one connection is allowed, or is fast", () =>
    Effect.gen(function* () {
      const one = yield* fetch([slow], { connections: 1 })
      assert.isTrue(Either.isRight(one.result))
      assert.strictEqual(one.requests.length, 1)
      const fast = yield* fetch([])
      assert.isTrue(Either.isRight(fast.result))
      assert.strictEqual(fast.requests.length, 1)
    })
  )

  it.scopedLive("a segment that breaks goes on where it broke", () =>
    Effect.gen(function* () {
      const { result, server } = yield* fetch([slow, Fault.Cut({ after: 3_000_000, how: "fin", from: 2, times: 2 })])
      assert.isTrue(Either.isRight(result))
      assert.isBelow(server.bytesSent("/rootfs"), size * 1.1)
    })
  )

  for (const [name, faults] of [
    ["ignores ranges", [Fault.IgnoreRange({ from: 1, times: 6 })]],
    ["sends other ranges than asked for", [Fault.WrongContentRange({ how: "start", from: 1, times: 4 })]],
    ["refuses more connections", [Fault.Status({ status: 503, from: 1, times: 5 })]],
    ["changes the file under way", [Fault.FlipByte({ offset: 12 * 1024 * 1024, from: 1, times: 4 })]]
  ] as const) {
    it.scopedLive(`a server that ${name}: the file is right all the same`, () =>
      Effect.gen(function* () {
        const { result } = yield* fetch([...faults, slow])
        assert.isTrue(Either.isRight(result), Either.isLeft(result) ? result.left.message : "")
      })
    )
  }

  it.scopedLive("a starved segment is fetched by another connection", () =>
    Effect.gen(function* () {
      const { requests, result } = yield* fetch([Fault.Stall({ after: 1000, from: 3, times: 1 }), slow])
      assert.isTrue(Either.isRight(result), Either.isLeft(result) ? result.left.message : "")
      const ranges = requests.map(({ headers }) => headers["range"])
      assert.isBelow(new Set(ranges).size, ranges.length, "one range was asked for twice")
    })
  )
})

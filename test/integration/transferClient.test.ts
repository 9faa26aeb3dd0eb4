/** The HTTP client of the Node layers, where undici alone would not do. */
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { NodeHttpClient } from "../../src/node/index.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer

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

/** Which downloads fit on the disk together. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import { MemoryFileSystem, StubHttpClient } from "../../src/testing/index.js"
import { assertMessage, ensure, kernelPath, pinned, serve } from "./memoryWorld.js"

/** The kernel is cached already, the rootfs has 10 bytes. */
const setUp = Effect.fnUntraced(function* (free: number) {
  const fs = yield* MemoryFileSystem.make
  yield* fs.makeDirectory("/cache/image", { recursive: true })
  yield* fs.writeFileString(kernelPath, "kernel")
  return {
    fs,
    registry: { image: { kernel: pinned("kernel", "kernel"), rootfs: pinned("rootfs", "0123456789") } },
    host: { freeSpace: () => Effect.succeedSome(free) }
  }
})

describe("the free space", () => {
  it.effect("may be taken to the last byte, and not beyond", () =>
    Effect.gen(function* () {
      const routes = serve({ rootfs: "0123456789" })
      assertMessage(yield* ensure({ ...(yield* setUp(9)), routes }), /^No space for the rootfs/)
      assert.isTrue(Either.isRight(yield* ensure({ ...(yield* setUp(10)), routes })))
    })
  )

  it.effect("is claimed for as long as a request lasts: by none of the attempts before, nor by who gave up", () =>
    Effect.gen(function* () {
      const world = yield* setUp(15)
      const options = { retry: Schedule.recurs(1) }
      const cut = StubHttpClient.file("0123456789", { cutAfter: 0 })
      const failed = yield* ensure({ ...world, options, routes: { "http://host/rootfs": cut } })
      assertMessage(failed, /from http:\/\/host\/rootfs/)
      const routes = { "http://host/rootfs": [cut, StubHttpClient.file("0123456789")] } as const
      assert.isTrue(Either.isRight(yield* ensure({ ...world, options, routes })))
    })
  )
})

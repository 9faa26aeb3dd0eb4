/** Which stamps verification "stat" takes a file's word for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as TestClock from "effect/TestClock"
import { MemoryFileSystem } from "../../src/testing/index.js"
import { ensure, onePinned } from "./memoryWorld.js"

/** A cached image whose files have all the same stamp, at a time when `now` is the one of the disk's clock, in nanoseconds. */
const setUp = Effect.gen(function* () {
  yield* TestClock.adjust("1 hour")
  const fs = yield* MemoryFileSystem.make
  const seen = { now: `${60 * 60 * 1e9}`, stamp: { size: "6", mtime: "1", ctime: "1", ino: "1", dev: "1" }, hashed: 0 }
  let hashing = () => {}
  const world = {
    fs,
    ...onePinned,
    options: { verification: "stat" } as const,
    host: { stamp: () => Effect.sync(() => ({ ...seen.stamp })).pipe(Effect.asSome) },
    hashing: Effect.sync(() => {
      seen.hashed++
      hashing()
    })
  }
  /** How many files one call hashes, with `meanwhile` at each. */
  const hashed = (meanwhile = () => {}) =>
    Effect.gen(function* () {
      seen.hashed = 0
      hashing = meanwhile
      assert.isTrue(Either.isRight(yield* ensure(world)))
      return seen.hashed
    })
  yield* hashed()
  return { fs, hashed, seen }
})

describe("a stamp", () => {
  it.effect("that has long been the same is trusted", () =>
    Effect.gen(function* () {
      const { fs, hashed } = yield* setUp
      assert.strictEqual(yield* hashed(), 2)
      assert.strictEqual(yield* hashed(), 0)
      // Asking for the time of the disk's clock leaves nothing behind.
      assert.deepStrictEqual(yield* fs.readDirectory("/cache/.smolvm-images/staging"), [])
    })
  )

  for (const time of ["mtime", "ctime"] as const) {
    it.effect(`whose ${time} alone is of just now is not: the next change may leave the same`, () =>
      Effect.gen(function* () {
        const { hashed, seen } = yield* setUp
        seen.stamp[time] = seen.now
        assert.strictEqual(yield* hashed(), 2)
        assert.strictEqual(yield* hashed(), 2)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(yield* hashed(), 2)
        assert.strictEqual(yield* hashed(), 0)
      })
    )
  }

  it.effect("that another file has, put in place while the old one was read, is not", () =>
    Effect.gen(function* () {
      const { hashed, seen } = yield* setUp
      const replace = () => {
        seen.stamp.ino += "1"
      }
      assert.strictEqual(yield* hashed(replace), 2)
      assert.strictEqual(yield* hashed(), 2)
      assert.strictEqual(yield* hashed(), 0)
    })
  )
})

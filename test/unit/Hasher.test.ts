import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Hasher } from "../../src/index.js"
import { NodeHasher } from "../../src/node/index.js"
import * as Threads from "../../src/node/threads.js"
import { StubHasher } from "../../src/testing/index.js"

const digestOf = (...chunks: ReadonlyArray<Uint8Array>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const hasher = yield* Hasher.Hasher
      const digest = yield* hasher.start()
      for (const chunk of chunks) {
        const reused = chunk.slice()
        yield* digest.update(reused)
        reused.fill(0xff)
      }
      return yield* digest.finish
    })
  )

const text = (content: string) => new TextEncoder().encode(content)

/** A content and where to cut it. */
const chunked = FastCheck.uint8Array({ maxLength: 300 }).chain((content) =>
  FastCheck.array(FastCheck.nat({ max: content.length }), { maxLength: 6 }).map((cuts) => {
    const ends = [...cuts.sort((a, b) => a - b), content.length]
    return { content, chunks: ends.map((end, i) => content.subarray(ends[i - 1] ?? 0, end)) }
  })
)

/** What every Hasher promises: chunk borders do not matter, the caller's buffer is its own again, digests do not mix. */
const contract = (name: string, layer: typeof NodeHasher.layer, expected: (content: Uint8Array) => string) =>
  describe(name, () => {
    it.effect.prop(
      "the digest is that of the whole content, however it is cut",
      [chunked],
      ([{ chunks, content }]) =>
        Effect.gen(function* () {
          assert.strictEqual<string>(yield* digestOf(...chunks), expected(content))
        }).pipe(Effect.provide(layer)),
      { fastCheck: { numRuns: 30 } }
    )

    it.scoped("keeps two digests under way apart", () =>
      Effect.gen(function* () {
        const hasher = yield* Hasher.Hasher
        const [one, other] = yield* Effect.all([hasher.start(), hasher.start()])
        yield* one.update(text("on"))
        yield* other.update(text("oth"))
        yield* one.update(text("e"))
        yield* other.update(text("er"))
        assert.strictEqual<string>(yield* one.finish, expected(text("one")))
        assert.strictEqual<string>(yield* other.finish, expected(text("other")))
      }).pipe(Effect.provide(layer))
    )
  })

contract("NodeHasher", NodeHasher.layer, (content) => createHash("sha256").update(content).digest("hex"))
contract("StubHasher", StubHasher.layer(), StubHasher.digestOf)

describe("NodeHasher", () => {
  it.effect("knows the digest of nothing and of abc", () =>
    Effect.gen(function* () {
      const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
      const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
      assert.strictEqual<string>(yield* digestOf(), empty)
      assert.strictEqual<string>(yield* digestOf(text("abc")), abc)
    }).pipe(Effect.provide(NodeHasher.layer))
  )

  const mebibyte = 1024 * 1024
  it.effect.each(
    // The size that is told, the size that it is: on the calling thread, on another one, and from one to the other.
    [
      [3, 3, false],
      [41, 5, false],
      [41, 5, true],
      [41, 42, true],
      [513, 9, false],
      [3, 6, true],
      [0, 1, true],
      [undefined, 3, true],
      [undefined, 4, false],
      [undefined, 9, true]
    ] as const
  )("told %s MiB, fed %s MiB, busy %s, in private and in shared memory", ([told, size, busy]) =>
    Effect.scoped(
      Effect.gen(function* () {
        const hasher = yield* Hasher.Hasher
        const expected = createHash("sha256")
        const digest = yield* hasher.start({ size: told === undefined ? undefined : told * mebibyte, busy })
        for (const memory of [new ArrayBuffer(mebibyte), new SharedArrayBuffer(mebibyte)]) {
          const bytes = new Uint8Array(memory)
          for (let i = memory instanceof ArrayBuffer ? 0 : 1; i < size; i += 2) {
            bytes.fill(i)
            expected.update(bytes)
            yield* digest.update(bytes)
            bytes.fill(0xff) // it is the caller's again
          }
        }
        assert.strictEqual<string>(yield* digest.finish, expected.digest("hex"))
      })
    ).pipe(Effect.provide(NodeHasher.layer))
  )

  it.effect("hashes one chunk of any length, and lets the event loop turn meanwhile", () =>
    Effect.gen(function* () {
      const bytes = new Uint8Array(11 * mebibyte + 1).map((_, index) => index % 251)
      let turns = 0
      const count = setInterval(() => turns++)
      assert.strictEqual<string>(yield* digestOf(bytes), createHash("sha256").update(bytes).digest("hex"))
      clearInterval(count)
      assert.isAbove(turns, 0)
    }).pipe(Effect.provide(NodeHasher.layer))
  )

  describe("where it computes", () => {
    const both = Layer.merge(NodeHasher.layer, Threads.layer)
    const large = 512 * mebibyte
    const abc = new TextEncoder().encode("abc")
    /** Start digests one after the other, all under way at once: how many there are on each thread in the end. */
    const threadsFor = (...known: ReadonlyArray<Hasher.Start>) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { start } = yield* Hasher.Hasher
          const { running } = yield* Threads.Threads
          yield* Effect.forEach(known, (one) => start(one))
          return running()[0]?.digests.size ?? 0
        })
      )

    it.effect.each([
      [[{ size: mebibyte }], 0],
      [[{ size: mebibyte, busy: true }], 0],
      [[{ size: large }], 0],
      [[{ size: large, busy: true }], 1],
      [[{ size: large + 1 }], 1],
      [[{ size: mebibyte }, { size: large }], 0],
      [[{ size: large }, { size: large }], 1],
      [[{ size: large, busy: true }, { size: mebibyte }], 1]
    ] as const)("%j: %s on a thread", ([known, expected]) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* threadsFor(...known), expected)
      }).pipe(Effect.provide(both))
    )

    it.effect(
      "on a thread that has nothing to do, if there is one; on the calling thread again after a digest there has ended",
      () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* threadsFor({ size: large }), 0)
          assert.strictEqual(yield* threadsFor({ size: large }), 0)
          assert.strictEqual(yield* threadsFor({ size: large, busy: true }), 1)
          assert.strictEqual(yield* threadsFor({ size: large }), 1)
          assert.strictEqual(yield* threadsFor({ size: mebibyte }), 1)
        }).pipe(Effect.provide(both))
    )

    it.scoped("on a thread that ends with its last digest, though the Layer has ended before", () =>
      Effect.gen(function* () {
        const layerScope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(both, layerScope)
        const { running } = Context.get(context, Threads.Threads)
        const sha256 = yield* Effect.scoped(
          Effect.gen(function* () {
            const digest = yield* Context.get(context, Hasher.Hasher).start({ size: large, busy: true })
            yield* digest.update(abc.subarray(0, 1))
            yield* Scope.close(layerScope, Exit.void)
            yield* digest.update(abc.subarray(1))
            return yield* digest.finish
          })
        )
        assert.strictEqual<string>(sha256, createHash("sha256").update(abc).digest("hex"))
        assert.deepStrictEqual(running(), [])
      })
    )

    it.scoped("on another thread when one has died", () =>
      Effect.gen(function* () {
        const { start } = yield* Hasher.Hasher
        const { running } = yield* Threads.Threads
        const [first, second] = [yield* start({ size: large, busy: true }), yield* start({ size: large, busy: true })]
        yield* first.update(abc)
        yield* Effect.forEach(running(), ({ end }) => Effect.promise(end))
        const lost = yield* Effect.exit(Effect.zipRight(first.update(abc), second.finish))
        assert.isTrue(Exit.isFailure(lost) && Cause.isDie(lost.cause))
        for (const known of [{ size: mebibyte }, { size: large, busy: true }]) {
          const digest = yield* start(known)
          yield* digest.update(abc)
          assert.strictEqual<string>(yield* digest.finish, createHash("sha256").update(abc).digest("hex"))
        }
      }).pipe(Effect.provide(both))
    )

    it.scoped("and leaves nothing there when it is given up", () =>
      Effect.gen(function* () {
        const { place } = yield* Threads.Threads
        const { id, thread } = yield* Effect.scoped(
          Effect.tap(
            Effect.map(place, (held) => held ?? assert.fail("there are no threads")),
            (held) => held.thread.ask({ what: "update", id: held.id, bytes: abc })
          )
        )
        const empty = createHash("sha256").digest("hex")
        assert.strictEqual(yield* thread.ask({ what: "finish", id }), empty)
      }).pipe(Effect.provide(both))
    )
  })
})

describe("StubHasher", () => {
  it.effect("gives one digest to everything", () =>
    Effect.gen(function* () {
      assert.strictEqual<string>(yield* digestOf(text("a")), "11".repeat(32))
      assert.strictEqual<string>(yield* digestOf(text("b"), text("c")), "11".repeat(32))
    }).pipe(Effect.provide(StubHasher.layer("11".repeat(32))))
  )

  it.effect("gives the digest made from all the bytes", () =>
    Effect.gen(function* () {
      assert.strictEqual<string>(yield* digestOf(text("ab"), text("c")), "03".repeat(32))
    }).pipe(Effect.provide(StubHasher.layer((bytes) => bytes.length.toString(16).padStart(2, "0").repeat(32))))
  )

  it.effect("a choice that is no digest is a defect, in the test that made it", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(digestOf(text("a")))
      assert.isTrue(Exit.isFailure(exit) && exit.cause._tag === "Die")
    }).pipe(Effect.provide(StubHasher.layer("not a digest")))
  )

  it("digestOf tells small differences apart and takes text as its UTF-8", () => {
    const all = ["", "a", "b", "ab", "ba", "a ", "\0", "\0\0"].map((content) => StubHasher.digestOf(content))
    assert.strictEqual(new Set(all).size, all.length)
    assert.strictEqual(StubHasher.digestOf("kernel ✓"), StubHasher.digestOf(text("kernel ✓")))
  })
})

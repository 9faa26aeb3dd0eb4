import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import { giveBack, makeSlabs } from "../../src/internal/buffer.js"
import * as Ring from "../../src/internal/ring.js"

const small = { size: 64, portion: 16 }

/** Collects what it is given, with a copy: the memory is used again. */
const collector = (pause: Effect.Effect<void> = Effect.void) => {
  const pieces: Array<Uint8Array> = []
  const consume: Ring.Consumer<never> = (bytes) => {
    pieces.push(bytes.slice())
    return pause
  }
  return { consume, pieces, bytes: () => pieces.flatMap((piece) => [...piece]) }
}

const counting = (length: number, from = 0) => Uint8Array.from({ length }, (_, i) => from + i)

describe("ring", () => {
  it.effect.prop(
    "every consumer gets every byte in order, however they are cut and wherever they lie in memory",
    [
      FastCheck.array(
        FastCheck.record({ bytes: FastCheck.uint8Array({ maxLength: 200 }), offset: FastCheck.nat({ max: 9 }) }),
        { maxLength: 12 }
      ),
      FastCheck.nat({ max: 3 })
    ],
    ([chunks, yields]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const quick = collector()
          const slow = collector(Effect.replicateEffect(Effect.yieldNow(), yields, { discard: true }))
          const ring = yield* Ring.make(small, quick.consume, slow.consume)
          for (const { bytes, offset } of chunks) {
            const memory = new Uint8Array(bytes.length + offset)
            memory.set(bytes, offset)
            yield* ring.put(memory.subarray(offset))
            memory.fill(0xff) // it is the caller's again
          }
          yield* ring.settle
          const expected = chunks.flatMap(({ bytes }) => [...bytes])
          assert.strictEqual(ring.filled(), expected.length)
          assert.deepStrictEqual(quick.bytes(), expected)
          assert.deepStrictEqual(slow.bytes(), expected)
        })
      )
  )

  it.scoped("hands out whole portions, and the rest when it settles", () =>
    Effect.gen(function* () {
      const { consume, pieces } = collector()
      const ring = yield* Ring.make(small, consume)
      for (let i = 0; i < 6; i++) yield* ring.put(counting(7, 7 * i))
      yield* Effect.yieldNow()
      assert.isTrue(pieces.every(({ length }) => length > 0 && length % small.portion === 0))
      yield* ring.settle
      assert.strictEqual(pieces.at(-1)?.length, 42 % small.portion)
      assert.deepStrictEqual(
        pieces.flatMap((piece) => [...piece]),
        [...counting(42)]
      )
    })
  )

  it.scoped("what has waited is handed over in one piece", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { consume, pieces } = collector(Deferred.await(gate))
      const ring = yield* Ring.make(small, consume)
      yield* ring.put(counting(16))
      yield* Effect.yieldNow()
      yield* ring.put(counting(32, 16))
      yield* Deferred.succeed(gate, undefined)
      yield* ring.settle
      assert.deepStrictEqual(
        pieces.map(({ length }) => length),
        [16, 32]
      )
    })
  )

  it.scoped("the producer waits for the slowest consumer", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const stuck = collector(Deferred.await(gate))
      const ring = yield* Ring.make(small, collector().consume, stuck.consume)
      const producer = yield* Effect.fork(ring.put(counting(100)))
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
      assert.strictEqual(ring.filled(), small.size)
      assert.isNull(producer.unsafePoll())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(producer)
      yield* ring.settle
      assert.deepStrictEqual(stuck.bytes(), [...counting(100)])
    })
  )

  it.scoped("a consumer's failure reaches the producer that waits, the next one, and who settles", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void, string>()
      const ring = yield* Ring.make<string>(small, () => Deferred.await(gate), collector().consume)
      const producer = yield* Effect.fork(ring.put(counting(100)))
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
      yield* Deferred.fail(gate, "the disk is full")
      assert.deepStrictEqual(yield* Fiber.await(producer), Exit.fail("the disk is full"))
      assert.strictEqual(yield* Effect.flip(ring.put(counting(1))), "the disk is full")
      assert.strictEqual(yield* Effect.flip(ring.settle), "the disk is full")
    })
  )

  it.effect("an interrupted producer has handed over just what it counts", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const { bytes, consume } = collector(Deferred.await(gate))
        const ring = yield* Ring.make(small, consume)
        const producer = yield* Effect.fork(ring.put(counting(100)))
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
        yield* Fiber.interrupt(producer)
        yield* Deferred.succeed(gate, undefined)
        yield* ring.put(counting(100 - ring.filled(), ring.filled()))
        yield* ring.settle
        assert.deepStrictEqual(bytes(), [...counting(100)])
      })
    )
  )

  it.effect("a consumer is not interrupted, and begins nothing more, when the Scope closes", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const consume = () =>
            Effect.sync(() => log.push("begins")).pipe(
              Effect.zipRight(Effect.yieldNow()),
              Effect.zipRight(Effect.yieldNow()),
              Effect.zipRight(Effect.sync(() => void log.push("ends")))
            )
          const ring = yield* Ring.make({ size: 64, portion: 16 }, consume)
          yield* ring.put(counting(16))
          yield* Effect.yieldNow()
          yield* ring.put(counting(32))
        })
      )
      assert.deepStrictEqual(log, ["begins", "ends"])
    })
  )
})

describe("slabs", () => {
  it("memory is used again once all of it has been given back, and not before", () => {
    const { free, take } = makeSlabs(100, 40)
    const lend = (length: number) => {
      free()
      return take(length)
    }
    const [a, b] = [lend(50), lend(30)]
    const c = lend(80)
    assert.strictEqual(a?.buffer, b?.buffer)
    assert.notStrictEqual(c.buffer, a?.buffer)
    if (a === undefined || b === undefined) return
    giveBack(a)
    const d = lend(80)
    assert.notStrictEqual(d.buffer, a.buffer)
    giveBack(b)
    const e = lend(80)
    assert.strictEqual(e.buffer, a.buffer)
  })

  it("pieces follow each other within a word, over the end of a slab too", () => {
    const { free, take } = makeSlabs(100, 40)
    let position = 0
    for (const length of [7, 60, 33, 90, 5, 70]) {
      const room = free().length
      const piece = take(Math.min(length, room))
      assert.strictEqual(piece.byteOffset % 8, position % 8)
      position += piece.length
    }
  })

  it("memory from elsewhere is left alone", () => {
    giveBack(new Uint8Array(8))
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import { giveBack, makeSlabs } from "../../src/internal/buffer.js"
import * as Follower from "../../src/internal/follower.js"
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
          const ring = yield* Ring.make({ ...small, consumers: [quick.consume, slow.consume] })
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

  it.effect("who settles keeps the log annotations that are his, whoever began what he waits for", () =>
    Effect.gen(function* () {
      const { consume } = collector(Effect.yieldNow())
      const ring = yield* Ring.make({ ...small, consumers: [consume] })
      yield* Effect.fork(Effect.annotateLogs(ring.put(counting(20)), "by", "another"))
      yield* Effect.yieldNow()
      yield* ring.settle
      assert.isTrue(HashMap.isEmpty(yield* Effect.logAnnotations))
    }).pipe(Effect.scoped)
  )

  it.live("loses no byte and waits for nobody in vain, wherever the runtime makes a fiber yield", () =>
    Effect.forEach(
      Array.from({ length: 100 }, (_, index) => index + 20), // with very few it gets nowhere
      (operations) =>
        Effect.forEach([Effect.void, Effect.yieldNow(), Effect.promise(() => Promise.resolve())], (pause) =>
          Effect.scoped(
            Effect.gen(function* () {
              const [one, other] = [collector(pause), collector()]
              const ring = yield* Ring.make({
                ...small,
                consumers: [one.consume, other.consume],
                follower: () => () => Effect.void // one that leaves at once
              })
              for (const length of [64, 16, 64, 5]) yield* ring.put(counting(length))
              yield* ring.settle
              const expected = [64, 16, 64, 5].flatMap((length) => [...counting(length)])
              assert.deepStrictEqual(one.bytes(), expected)
              assert.deepStrictEqual(other.bytes(), expected)
            })
          ).pipe(Effect.withMaxOpsBeforeYield(operations))
        ),
      { discard: true }
    )
  )

  it.scoped("hands out whole portions, and the rest when it settles", () =>
    Effect.gen(function* () {
      const { consume, pieces } = collector()
      const ring = yield* Ring.make({ ...small, consumers: [consume] })
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
      const ring = yield* Ring.make({ ...small, consumers: [consume] })
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
      const ring = yield* Ring.make({ ...small, consumers: [collector().consume, stuck.consume] })
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
      const ring = yield* Ring.make<string>({ ...small, consumers: [() => Deferred.await(gate), collector().consume] })
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
        const ring = yield* Ring.make({ ...small, consumers: [consume] })
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
          const ring = yield* Ring.make({ ...small, consumers: [consume] })
          yield* ring.put(counting(16))
          yield* Effect.yieldNow()
          yield* ring.put(counting(32))
        })
      )
      assert.deepStrictEqual(log, ["begins", "ends"])
    })
  )
})

/** Takes up to `most` bytes at a time and hands on copies, as a thread would, until it has taken `limit`. */
const follower = (most: number, limit = Number.POSITIVE_INFINITY, handOn: (bytes: Uint8Array) => void = () => {}) => {
  const taken: Array<number> = []
  let started = 0
  let interrupted = 0
  const run: Follower.Follower = ({ cells, from, memory, size }) =>
    Effect.gen(function* () {
      started++
      for (let position = from; ; ) {
        const leaving = Atomics.load(cells, Follower.cell.leave)
        const waiting = (Atomics.load(cells, Follower.cell.filled) - position) | 0
        if (taken.length >= limit || (leaving === Follower.leave.whenEmpty && waiting === 0)) return
        const start = position % size
        const length = Math.min(most, waiting, size - start)
        const origin = Atomics.load(cells, Follower.cell.origin)
        const bytes = memory.slice(origin + start, origin + start + length)
        taken.push(...bytes)
        handOn(bytes)
        position += length
        Atomics.store(cells, Follower.cell.taken, position | 0)
        Atomics.notify(cells, Follower.cell.taken)
        // Promises that others wait for are settled by turns of the event loop.
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => interrupted++)))
  return { run: () => run, taken, started: () => started, interrupted: () => interrupted }
}

describe("a ring with a follower", () => {
  it.effect.prop(
    "every byte is taken once and in order: by the consumers until there is a follower, by them again when it leaves",
    [
      FastCheck.array(
        FastCheck.record({
          bytes: FastCheck.uint8Array({ maxLength: 200 }),
          offset: FastCheck.nat({ max: 9 }),
          settles: FastCheck.boolean()
        }),
        { maxLength: 8 }
      ),
      FastCheck.integer({ min: 1, max: 100 }),
      FastCheck.option(FastCheck.nat({ max: 300 }), { nil: undefined }),
      FastCheck.nat({ max: 200 })
    ],
    ([chunks, most, limit, beginsAt]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const all: Array<number> = []
          const [one, other] = [collector(), collector(Effect.yieldNow())]
          const thread = follower(most, limit, (bytes) => all.push(...bytes))
          const ring: Ring.Ring<never> = yield* Ring.make({
            ...small,
            consumers: [
              (bytes) =>
                Effect.zipRight(
                  Effect.sync(() => all.push(...bytes)),
                  one.consume(bytes)
                ),
              other.consume
            ],
            follower: () => (ring.filled() >= beginsAt ? thread.run() : undefined)
          })
          for (const { bytes, offset, settles } of chunks) {
            const memory = new Uint8Array(bytes.length + offset)
            memory.set(bytes, offset)
            yield* ring.put(memory.subarray(offset))
            memory.fill(0xff) // it is the caller's again
            if (settles) yield* ring.settle
          }
          yield* ring.settle
          const expected = chunks.flatMap(({ bytes }) => [...bytes])
          assert.strictEqual(ring.filled(), expected.length)
          assert.deepStrictEqual(all, expected)
          assert.deepStrictEqual(other.bytes(), one.bytes())
          assert.strictEqual(thread.taken.length + one.bytes().length, expected.length)
          if (limit === undefined && beginsAt === 0) assert.deepStrictEqual(one.pieces, [])
        })
      ),
    { fastCheck: { numRuns: 50 } }
  )

  it.scopedLive("is asked for with the first bytes, and again after it has settled", () =>
    Effect.gen(function* () {
      const thread = follower(8)
      const ring = yield* Ring.make<never>({ ...small, consumers: [], follower: thread.run })
      assert.strictEqual(thread.started(), 0)
      for (const round of [1, 2]) {
        yield* ring.put(counting(10))
        yield* ring.put(counting(10))
        yield* ring.settle
        assert.strictEqual(thread.started(), round)
      }
      assert.deepStrictEqual(
        thread.taken,
        [1, 2, 3, 4].flatMap(() => [...counting(10)])
      )
    })
  )

  it.scopedLive("a follower that breaks leaves the rest to the consumers, who fail for themselves", () =>
    Effect.gen(function* () {
      const { bytes, consume } = collector()
      const ring = yield* Ring.make<string>({
        ...small,
        consumers: [consume, () => Effect.fail("the disk is full")],
        follower: () => () => Effect.die("the thread has ended")
      })
      assert.strictEqual(yield* Effect.flip(ring.put(counting(100))), "the disk is full")
      assert.strictEqual(yield* Effect.flip(ring.settle), "the disk is full")
      assert.deepStrictEqual(bytes(), [...counting(64)])
    })
  )

  it.live("it is interrupted when the Scope closes", () =>
    Effect.gen(function* () {
      const thread = follower(0)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const ring = yield* Ring.make<never>({ ...small, consumers: [], follower: thread.run })
          yield* ring.put(counting(10))
          yield* Effect.yieldNow()
        })
      )
      assert.deepStrictEqual([thread.started(), thread.interrupted()], [1, 1])
    })
  )

  it.live("who waits for room hears of it when the follower leaves without taking anything", () =>
    Effect.gen(function* () {
      const counters = new Follower.Counters(0)
      const heard = yield* Deferred.make<void>()
      counters.whenMoved(0, () => Deferred.unsafeDone(heard, Effect.void))
      counters.close()
      yield* Deferred.await(heard)
    })
  )

  it.prop(
    "counts are right far beyond what a cell holds",
    [FastCheck.integer({ min: 0, max: 2 ** 40 }), FastCheck.nat({ max: 2 ** 23 }), FastCheck.nat({ max: 2 ** 23 })],
    ([from, put, left]) => {
      const counters = new Follower.Counters(from)
      counters.advance(from + put, 0, 1)
      const taken = from + Math.max(0, put - left)
      Atomics.store(counters.cells, Follower.cell.taken, taken | 0)
      assert.strictEqual(counters.taken(from + put), taken)
    }
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

import type * as Effect from "effect/Effect"

/**
 * Takes the bytes of a ring by itself, on another thread: no message goes to and fro for each few of them. Ends when it is
 * told to leave and has taken all, when it can go no further, or, interrupted, at once.
 */
export type Follower = (ring: Shared) => Effect.Effect<void>

/** What a follower sees of a ring. */
export interface Shared {
  readonly memory: Uint8Array
  /** How much of the memory is the ring, from its present origin. */
  readonly size: number
  readonly cells: Int32Array
  /** How many bytes had been taken when it began. */
  readonly from: number
}

/**
 * The cells that a ring and its follower share. The counts are the low 32 bits of the real ones, which differ by no more than
 * the ring holds.
 */
export const cell = {
  /** How many bytes have been put in. */
  filled: 0,
  /** How many the follower has taken. */
  taken: 1,
  /** Where in the memory the ring begins; it changes only while the ring is empty. */
  origin: 2,
  /** Whether the follower is to leave. */
  leave: 3,
  /** Changes when there is something to do: the follower waits for that. */
  bell: 4
} as const

/** Values of {@link cell}.leave. */
export const leave = { whenEmpty: 1, atOnce: 2 } as const

/** Whether there can be followers here. */
export const possible = typeof SharedArrayBuffer !== "undefined" && typeof Atomics.waitAsync === "function"

export const makeCells = (): Int32Array => new Int32Array(new SharedArrayBuffer(4 * Object.keys(cell).length))

/** Tell the follower to leave. */
export const dismiss = (cells: Int32Array, when: keyof typeof leave): void => {
  Atomics.store(cells, cell.leave, leave[when])
  ring(cells)
}

const ring = (cells: Int32Array): void => {
  Atomics.add(cells, cell.bell, 1)
  Atomics.notify(cells, cell.bell)
}

/** The producer's view of the cells. */
export class Counters {
  readonly cells = makeCells()
  /** How much had been put in when the bell rang last. */
  private rung: number

  constructor(from: number) {
    this.rung = from
    Atomics.store(this.cells, cell.filled, from | 0)
    Atomics.store(this.cells, cell.taken, from | 0)
  }

  /** So much has been put in by now. A follower that waits hears of it once `portion` has come together. */
  advance(filled: number, origin: number, portion: number): void {
    Atomics.store(this.cells, cell.origin, origin)
    Atomics.store(this.cells, cell.filled, filled | 0)
    if (filled - this.rung < portion) return
    this.rung = filled
    ring(this.cells)
  }

  /** How much of that has been taken. */
  taken(filled: number): number {
    return filled - ((filled - Atomics.load(this.cells, cell.taken)) | 0)
  }

  /** Call back when more than that has been taken, or never will be. */
  whenMoved(taken: number, callback: () => void): void {
    const change = Atomics.waitAsync(this.cells, cell.taken, taken | 0)
    if (change.async) void change.value.then(callback)
    else callback()
  }

  /** The follower has left. */
  close(): void {
    Atomics.notify(this.cells, cell.taken)
  }
}

/**
 * A buffer that other threads may see, where there are such: a `Hasher` on another thread then needs no copy of it.
 */
export const makeBuffer = (size: number): Uint8Array =>
  new Uint8Array(typeof SharedArrayBuffer === "undefined" ? new ArrayBuffer(size) : new SharedArrayBuffer(size))

/**
 * Memory for what arrives in pieces of unknown length: each is taken off the front of a slab, and a slab of which every
 * byte has been given back is filled again. What is never given back is left to the garbage collector, so that only those
 * who know to be the last reader of a piece need to know of this; but hundreds of MiB of garbage cost more than the copying.
 */
export interface Slabs {
  /** The memory for the next piece, at least `smallestPiece` long. */
  readonly free: () => Uint8Array
  /** The first `length` bytes of what {@link Slabs.free} returned last have been filled. */
  readonly take: (length: number) => Uint8Array
}

interface Slab {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** How many bytes have been taken off, and how many of these are in use. */
  used: number
  lent: number
  /** Nothing of it is in use. */
  readonly settle: () => void
}

const slabs = new WeakMap<ArrayBufferLike, Slab>()

export const makeSlabs = (size: number, smallestPiece: number): Slabs => {
  const spare: Array<Slab> = []
  const makeSlab = (): Slab => {
    const slab: Slab = {
      bytes: new Uint8Array(size),
      used: 0,
      lent: 0,
      settle: () => {
        if (slab !== current) spare.push(slab)
      }
    }
    slabs.set(slab.bytes.buffer, slab)
    return slab
  }
  let current = makeSlab()
  return {
    free: () => {
      if (size - current.used < smallestPiece) {
        const full = current
        current = spare.pop() ?? makeSlab()
        current.used = full.used % 8 // so that all pieces lie alike within a word
        if (full.lent === 0) full.settle()
      }
      return current.bytes.subarray(current.used)
    },
    take: (length) => {
      const start = current.used
      current.used += length
      current.lent += length
      return current.bytes.subarray(start, current.used)
    }
  }
}

/** Say that nobody will read a piece again. Any other bytes are left alone. */
export const giveBack = (piece: Uint8Array): void => {
  const slab = slabs.get(piece.buffer)
  if (slab === undefined) return
  slab.lent -= piece.length
  if (slab.lent === 0) slab.settle()
}

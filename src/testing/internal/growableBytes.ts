import { Errno } from "./errno.js"

const smallest = 4096
const largest = 2 ** 32

/**
 * The content of a file: one buffer that doubles when it is full, so that a file written in many small pieces costs no more than a few
 * copies. `size` may exceed the buffer: the rest is a hole and reads as zeros. Bytes of the buffer past `size` are always zero.
 */
export class GrowableBytes {
  private bytes = new Uint8Array(0)
  private length = 0

  get size(): number {
    return this.length
  }

  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.length - position))
    const stored = this.bytes.subarray(position, position + count)
    target.set(stored)
    target.fill(0, stored.length, count)
    return count
  }

  write(source: Uint8Array, position: number): void {
    if (source.length === 0) {
      return
    }
    const end = position + source.length
    this.reserve(end)
    this.bytes.set(source, position)
    this.length = Math.max(this.length, end)
  }

  truncate(size: number): void {
    if (size === 0) {
      this.bytes = new Uint8Array(0)
    } else if (size < this.length) {
      this.bytes.fill(0, size, this.length)
    }
    this.length = size
  }

  private reserve(size: number): void {
    if (size <= this.bytes.length) {
      return
    }
    if (size > largest) {
      throw new Errno("EFBIG")
    }
    const grown = new Uint8Array(Math.min(largest, Math.max(smallest, size, this.bytes.length * 2)))
    grown.set(this.bytes)
    this.bytes = grown
  }
}

/**
 * A buffer that other threads may see, where there are such: a `Hasher` on another thread then needs no copy of it.
 */
export const makeBuffer = (size: number): Uint8Array =>
  new Uint8Array(typeof SharedArrayBuffer === "undefined" ? new ArrayBuffer(size) : new SharedArrayBuffer(size))

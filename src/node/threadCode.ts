import { cell, leave } from "../internal/follower.js"

/**
 * What a thread runs. As text, so that it needs no file that a bundler or a test runner would have to find. It writes 16 KiB at a
 * time: Linux takes pages as large as the write, and up to 32 KiB each processor keeps those at hand that were in use last.
 * Larger ones may be memory that a virtual machine first has to get from its host: a GiB took 2.3 s by 16 KiB, 2.6 to 3.4 s by
 * 64 KiB. What takes long goes by 256 KiB, which are still in the processor's cache when they are hashed after they have been
 * read or written, and after each MiB others have their turn.
 */
export const code = `
const { createHash } = require("node:crypto")
const { readSync, writeSync } = require("node:fs")
const { parentPort } = require("node:worker_threads")
const largestWrite = 16384
const largestStep = 262144
const stepsPerTurn = 4
const cell = ${JSON.stringify(cell)}
const leave = ${JSON.stringify(leave)}
const hashes = new Map()
const hashOf = (id) => {
  if (!hashes.has(id)) hashes.set(id, createHash("sha256"))
  return hashes.get(id)
}
/** Until a step says that it was the last one; it may return a promise to wait for before the next one. */
const inTurns = (step) => new Promise((resolve) => {
  const turn = () => {
    for (let count = 0; count < stepsPerTurn; count++) {
      const goesOn = step()
      if (goesOn === false) return resolve()
      if (goesOn !== true) return goesOn.then(turn)
    }
    setImmediate(turn)
  }
  turn()
})
const isWritten = (fd, bytes, position) => {
  for (let written = 0; written < bytes.length; ) {
    const length = Math.min(largestWrite, bytes.length - written)
    try {
      const count = writeSync(fd, bytes, written, length, position + written)
      if (count === 0) return false
      written += count
    } catch {
      return false
    }
  }
  return true
}
const follow = async ({ cells, fd, from, id, memory, position, size }) => {
  const hash = hashOf(id)
  let taken = 0
  await inTurns(() => {
    const bell = Atomics.load(cells, cell.bell)
    const leaving = Atomics.load(cells, cell.leave)
    const waiting = (Atomics.load(cells, cell.filled) - (from + taken)) | 0
    if (leaving === leave.atOnce || (leaving === leave.whenEmpty && waiting === 0)) return false
    if (waiting === 0) {
      const rung = Atomics.waitAsync(cells, cell.bell, bell)
      return rung.async ? rung.value : true
    }
    const origin = Atomics.load(cells, cell.origin)
    const start = (from + taken) % size
    const bytes = memory.subarray(origin + start, origin + Math.min(size, start + Math.min(waiting, largestStep)))
    if (!isWritten(fd, bytes, position + taken)) return false
    hash.update(bytes)
    taken += bytes.length
    Atomics.store(cells, cell.taken, (from + taken) | 0)
    Atomics.notify(cells, cell.taken)
    return true
  })
  return taken
}
const read = async ({ cells, fd, id, position }) => {
  const hash = hashOf(id)
  const buffer = new Uint8Array(largestStep)
  let taken = 0
  await inTurns(() => {
    if (Atomics.load(cells, cell.leave) === leave.atOnce) return false
    try {
      const count = readSync(fd, buffer, 0, buffer.length, position + taken)
      hash.update(buffer.subarray(0, count))
      taken += count
      return count > 0
    } catch {
      return false
    }
  })
  return taken
}
const answers = {
  update: ({ bytes, id }) => void hashOf(id).update(bytes),
  finish: ({ id }) => {
    const hash = hashOf(id)
    hashes.delete(id)
    return hash.digest("hex")
  },
  forget: ({ id }) => void hashes.delete(id),
  read,
  follow
}
parentPort.on("message", async ([number, request]) => {
  parentPort.postMessage([number, await answers[request.what](request)])
})`

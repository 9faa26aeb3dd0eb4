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
const write = ({ bytes, fd, position }) => {
  let written = 0
  try {
    while (written < bytes.length) {
      const count = writeSync(fd, bytes, written, Math.min(largestWrite, bytes.length - written), position + written)
      if (count === 0) break
      written += count
    }
  } catch {}
  return written
}
const follow = ({ cells, fd, from, id, memory, position, size }) => new Promise((resolve) => {
  const hash = hashOf(id)
  let taken = 0
  const turn = () => {
    for (let step = 0; step < stepsPerTurn; step++) {
      const bell = Atomics.load(cells, cell.bell)
      const leaving = Atomics.load(cells, cell.leave)
      const waiting = (Atomics.load(cells, cell.filled) - (from + taken)) | 0
      if (leaving === leave.atOnce || (leaving === leave.whenEmpty && waiting === 0)) return resolve(taken)
      if (waiting === 0) {
        const rung = Atomics.waitAsync(cells, cell.bell, bell)
        if (rung.async) return rung.value.then(turn)
        continue
      }
      const origin = Atomics.load(cells, cell.origin)
      const start = (from + taken) % size
      const bytes = memory.subarray(origin + start, origin + Math.min(size, start + Math.min(waiting, largestStep)))
      if (write({ bytes, fd, position: position + taken }) < bytes.length) return resolve(taken)
      hash.update(bytes)
      taken += bytes.length
      Atomics.store(cells, cell.taken, (from + taken) | 0)
      Atomics.notify(cells, cell.taken)
    }
    setImmediate(turn)
  }
  turn()
})
const read = ({ cells, fd, id, position }) => new Promise((resolve) => {
  const hash = hashOf(id)
  const buffer = new Uint8Array(largestStep)
  let taken = 0
  const next = () => {
    try {
      return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, position + taken))
    } catch {
      return buffer.subarray(0, 0)
    }
  }
  const turn = () => {
    for (let step = 0; step < stepsPerTurn; step++) {
      const bytes = Atomics.load(cells, cell.leave) === leave.atOnce ? buffer.subarray(0, 0) : next()
      if (bytes.length === 0) return resolve(taken)
      hash.update(bytes)
      taken += bytes.length
    }
    setImmediate(turn)
  }
  turn()
})
const answers = {
  update: ({ bytes, id }) => void hashOf(id).update(bytes),
  finish: ({ id }) => {
    const hash = hashOf(id)
    hashes.delete(id)
    return hash.digest("hex")
  },
  write,
  read,
  follow
}
parentPort.on("message", async ([number, request]) => {
  const answer = answers[request.what](request)
  parentPort.postMessage([number, answer instanceof Promise ? await answer : answer])
})`

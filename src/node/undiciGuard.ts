import type { Socket } from "node:net"
import * as Predicate from "effect/Predicate"
import type { buildConnector, Dispatcher } from "undici"
import makeConnector from "undici/lib/core/connect.js"
import Pool from "undici/lib/dispatcher/pool.js"

/** The parts of undici's HTTP/1 parser that are of interest here. */
interface Parser {
  paused: boolean
  readonly resume: () => void
  readonly ptr: unknown
  readonly llhttp: { readonly llhttp_resume: (parser: unknown) => void }
}

const isParser = (value: unknown): value is Parser =>
  Predicate.hasProperty(value, "paused") &&
  typeof value.paused === "boolean" &&
  Predicate.hasProperty(value, "resume") &&
  typeof value.resume === "function" &&
  Predicate.hasProperty(value, "ptr") &&
  Predicate.hasProperty(value, "llhttp") &&
  Predicate.hasProperty(value.llhttp, "llhttp_resume") &&
  typeof value.llhttp.llhttp_resume === "function"

const parserOf = (socket: Socket): Parser | undefined => {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === "parser")
  const parser: unknown = key === undefined ? undefined : Reflect.get(socket, key)
  return isParser(parser) ? parser : undefined
}

/**
 * Let a parser that waits for its reader take what has arrived, now that nothing more will. undici 7 asserts that it does
 * not wait when a connection ends, and when it does, a server that closes its connections while the disk is busy ends the
 * whole process (https://github.com/nodejs/undici/issues/5360; undici 8 does what is done here).
 */
const release = (socket: Socket): void => {
  const parser = parserOf(socket)
  if (parser?.paused !== true) return
  // It waits again after each piece that its reader is not ready for; what the socket holds are a few pieces.
  for (let pieces = 0; parser.paused && !socket.destroyed && pieces < 1000; pieces++) parser.resume()
  // A body that ends with its connection waits still; then undici itself tells it that this is the end.
  if (!parser.paused) return
  parser.llhttp.llhttp_resume(parser.ptr)
  parser.paused = false
}

/** How many requests are under way. */
export interface Demand {
  requests: number
}

const guarded =
  (connect: buildConnector.connector, demand: Demand): buildConnector.connector =>
  (options, callback) => {
    // undici connects again for a request that was given up.
    if (demand.requests === 0) return callback(new Error("nobody waits for this connection any more"), null)
    return connect(options, (...result) => {
      const [error, socket] = result
      if (error !== null) return callback(asFinal(error), null)
      // Before the listeners of undici, which are added in the callback.
      for (const event of ["end", "error", "close"]) socket.on(event, () => release(socket))
      callback(null, socket)
    })
  }

/**
 * undici connects again, at once and for ever, when it takes an error for that of a connection which it had: such as when a
 * proxy closes the connection in place of an answer to CONNECT.
 */
const asFinal = (error: Error): Error =>
  Predicate.hasProperty(error, "code") && error.code === "UND_ERR_SOCKET"
    ? new Error(error.message, { cause: error })
    : error

/** The `factory` of an agent whose connections may end while their bodies are not read yet. */
export const guardedPool =
  (demand: Demand) =>
  (origin: string | URL, options: object): Dispatcher => {
    const connect = Predicate.hasProperty(options, "connect") ? options.connect : undefined
    const connector = isConnector(connect) ? connect : makeConnector(isOptions(connect) ? connect : {})
    return new Pool(origin, { ...options, connect: guarded(connector, demand) })
  }

const isConnector = (value: unknown): value is buildConnector.connector => typeof value === "function"

const isOptions = (value: unknown): value is buildConnector.BuildOptions => Predicate.isRecord(value)

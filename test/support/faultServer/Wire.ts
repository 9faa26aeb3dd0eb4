/** One connection as Effects: requests in, bytes out with back-pressure, and the ways it can end. */
import { Buffer } from "node:buffer"
import type { Socket } from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { How } from "./Fault.js"
import type { Request } from "./plan.js"

/** The client left, or sent what is no request; the connection is of no more use. */
export class Gone extends Data.TaggedError("Gone") {}

/** A connection: `socket` may be a TLS socket, `raw` is the TCP socket below it (the same one without TLS). */
export interface Wire {
  /** The next request; fails when there will be none. */
  readonly next: Effect.Effect<Request, Gone>
  /** Completes once the kernel has taken all of the bytes. */
  readonly write: (bytes: Uint8Array | string) => Effect.Effect<void, Gone>
  readonly end: (how: How) => Effect.Effect<void>
  /** Completes when the socket is closed, by whomever. */
  readonly closed: Effect.Effect<void>
  readonly destroy: Effect.Effect<void>
}

const maxHead = 256 * 1024

const parseHead = (text: string): Request | undefined => {
  const [line = "", ...fields] = text.split("\r\n")
  const [method, target, version] = line.split(" ")
  if (method === undefined || target === undefined || version === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const field of fields) {
    const colon = field.indexOf(":")
    const name = field.slice(0, colon).toLowerCase()
    const value = field.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return { method, target, path: target.split("?", 1)[0] ?? target, version, headers }
}

/** Wraps a socket. It reads from now on. */
export const make = (socket: Socket, raw: Socket): Wire => {
  let buffer: Buffer = Buffer.alloc(0)
  let skip = 0
  let waiting: (() => void) | undefined
  socket.setNoDelay(true)
  socket.on("error", () => socket.destroy())
  raw.on("error", () => raw.destroy())
  socket.on("data", (bytes: Buffer) => {
    buffer = Buffer.concat([buffer, bytes])
    if (buffer.length > maxHead) socket.destroy()
    waiting?.()
  })

  const take = (): Request | undefined => {
    const skipped = Math.min(skip, buffer.length)
    buffer = buffer.subarray(skipped)
    skip -= skipped
    const at = skip > 0 ? -1 : buffer.indexOf("\r\n\r\n")
    if (at < 0) return undefined
    const request = parseHead(buffer.toString("latin1", 0, at))
    buffer = buffer.subarray(at + 4)
    if (request === undefined) socket.destroy()
    skip = Number(request?.headers["content-length"] ?? 0)
    return request
  }

  return {
    next: Effect.async<Request, Gone>((resume) => {
      const settle = (effect: Effect.Effect<Request, Gone>) => {
        waiting = undefined
        resume(effect)
      }
      waiting = () => {
        const request = take()
        if (request !== undefined) settle(Effect.succeed(request))
        else if (socket.destroyed) settle(Effect.fail(new Gone()))
      }
      waiting()
    }),
    write: (bytes) =>
      Effect.async<void, Gone>((resume) => {
        socket.write(bytes, (error) => resume(error ? Effect.fail(new Gone()) : Effect.void))
      }),
    end: (how) =>
      how === "fin"
        ? Effect.sync(() => void socket.end())
        : // A reset discards what is still under way, so the client gets a moment to take it.
          Effect.andThen(Effect.sleep("30 millis"), () => {
            raw.resetAndDestroy()
            socket.destroy()
          }),
    closed: Effect.async<void>((resume) => {
      if (socket.closed) return resume(Effect.void)
      socket.once("close", () => resume(Effect.void))
    }),
    destroy: Effect.sync(() => {
      socket.destroy()
      raw.destroy()
    })
  }
}

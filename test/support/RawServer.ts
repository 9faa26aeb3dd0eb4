/** A TCP server on the loopback that does with each connection what a test wants. */
import { connect, createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface RawServer {
  readonly port: number
  /** How many there were so far. */
  readonly connections: () => number
}

/** On an ephemeral port of 127.0.0.1; its connections end with the Scope. */
export const make = (serve: (socket: Socket) => void): Effect.Effect<RawServer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const sockets = new Set<Socket>()
        let count = 0
        const server = createServer((socket) => {
          count++
          sockets.add(socket)
          socket.on("error", () => socket.destroy()).once("close", () => sockets.delete(socket))
          serve(socket)
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { server, sockets, connections: () => count }
      }),
      ({ server, sockets }) =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    ),
    ({ connections, server }) => {
      const address = server.address()
      return { connections, port: typeof address === "object" && address !== null ? address.port : 0 }
    }
  )

/** A SOCKS 5 proxy without authentication, for IPv4 addresses and names (RFC 1928). */
export const socks5 = (socket: Socket): void => {
  socket.once("data", () => {
    socket.write(Uint8Array.of(5, 0))
    socket.once("data", (request) => {
      const isName = request[3] === 3
      const end = isName ? 5 + (request[4] ?? 0) : 8
      const host = isName ? request.subarray(5, end).toString() : request.subarray(4, end).join(".")
      const target = connect(request.readUInt16BE(end), host)
      target.on("error", () => socket.destroy()).once("close", () => socket.destroy())
      socket.once("close", () => target.destroy())
      target.once("connect", () => {
        socket.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        socket.pipe(target)
        target.pipe(socket)
      })
    })
  })
}

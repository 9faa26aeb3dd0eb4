/** A small forward proxy on the loopback: absolute-form http requests and CONNECT tunnels, with a log of what it saw. */
import { createServer, request as httpRequest, type IncomingMessage } from "node:http"
import { connect, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** One request as the proxy saw it; the target is a URL, or `host:port` for CONNECT. */
export interface ProxyLog {
  readonly method: string
  readonly target: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
}

/** A running proxy; the log is live. */
export interface ForwardProxy {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string
  readonly port: number
  readonly requests: ReadonlyArray<ProxyLog>
}

/** How a proxy behaves. */
export interface Options {
  /** Ask for these credentials (`user:password`), and answer 407 to requests without them. */
  readonly credentials?: string
  /** Where to really connect to, by `host:port` as asked for: lets a test use host names that do not exist. */
  readonly resolve?: (authority: string) => { readonly host: string; readonly port: number }
}

const hopByHop = new Set(["proxy-authorization", "proxy-connection", "connection", "keep-alive"])

const resolveDirectly = (authority: string) => {
  const { hostname, port } = new URL(`http://${authority}`)
  return { host: hostname, port: port === "" ? 80 : Number(port) }
}

const headersOf = (message: IncomingMessage): Record<string, string> =>
  Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]))

/** A proxy on an ephemeral port of 127.0.0.1; everything it opened ends with the Scope. */
export const make = (options: Options = {}): Effect.Effect<ForwardProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<ProxyLog> = []
    const sockets = new Set<Duplex>()
    const track = <S extends Duplex>(socket: S): S => {
      sockets.add(socket)
      return socket.once("close", () => sockets.delete(socket)).on("error", () => socket.destroy())
    }
    const resolve = options.resolve ?? resolveDirectly
    const expected =
      options.credentials === undefined ? undefined : `Basic ${Buffer.from(options.credentials).toString("base64")}`
    const seen = (message: IncomingMessage): boolean => {
      requests.push({ method: message.method ?? "", target: message.url ?? "", headers: headersOf(message) })
      return expected === undefined || message.headers["proxy-authorization"] === expected
    }

    const server = createServer((incoming, outgoing) => {
      if (!seen(incoming)) {
        outgoing.writeHead(407, { "Proxy-Authenticate": "Basic" }).end("proxy credentials needed\n")
        return
      }
      const url = URL.canParse(incoming.url ?? "") ? new URL(incoming.url ?? "") : undefined
      if (url?.protocol !== "http:") {
        outgoing.writeHead(400).end("absolute http URL needed\n")
        return
      }
      const headers = Object.entries(headersOf(incoming)).filter(([name]) => !hopByHop.has(name))
      const upstream = httpRequest(
        {
          ...resolve(url.host),
          method: incoming.method,
          path: url.pathname + url.search,
          headers: Object.fromEntries(headers),
          agent: false
        },
        (response) => {
          outgoing.writeHead(response.statusCode ?? 502, response.rawHeaders)
          response.pipe(outgoing)
          response.once("close", () => {
            if (!response.complete) outgoing.destroy()
          })
        }
      )
      upstream.once("socket", track)
      upstream.once("error", () => {
        if (outgoing.headersSent) outgoing.destroy()
        else outgoing.writeHead(502).end("no upstream\n")
      })
      outgoing.once("close", () => upstream.destroy())
      incoming.pipe(upstream)
    })
    server.on("connection", (socket: Socket) => track(socket))
    server.on("connect", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (!seen(incoming)) {
        socket.end(
          "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
        )
        return
      }
      const { host, port } = resolve(incoming.url ?? "")
      const upstream = track(connect(port, host))
      upstream.once("connect", () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n")
        upstream.write(head)
        upstream.pipe(socket)
        socket.pipe(upstream)
      })
      upstream.once("close", () => socket.destroy())
      socket.once("close", () => upstream.destroy())
    })

    const port = yield* Effect.acquireRelease(
      Effect.async<number>((resume) => {
        server.once("error", (error) => resume(Effect.die(error)))
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(
            address !== null && typeof address === "object"
              ? Effect.succeed(address.port)
              : Effect.dieMessage("a TCP server has an address with a port")
          )
        })
      }),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    )
    return { origin: `http://127.0.0.1:${port}`, port, requests }
  })

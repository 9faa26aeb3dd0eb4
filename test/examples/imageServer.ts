// A small web server for the tour: it serves files on loopback, knows ranges, misbehaves on demand, and remembers
// what it was asked.
import * as http from "node:http"
import { Effect, type Scope } from "effect"
import { size } from "./print.js"

/** How the next request for a path goes wrong. */
export type Mishap =
  | { readonly status: number }
  /** The connection breaks after so many bytes of the body. */
  | { readonly cutAfter: number }

/** A request, and what it was answered. */
export interface Seen {
  readonly path: string
  /** The Range header, such as `bytes=1048576-`. */
  readonly range: string | undefined
  readonly answer: string
}

export interface ImageServer {
  readonly url: string
  /** Give a path its content. */
  readonly publish: (path: string, content: Uint8Array) => void
  /** The next requests for a path meet these, one each; those after them are answered well. */
  readonly misbehave: (path: string, mishaps: ReadonlyArray<Mishap>) => void
  /** What was asked since the last time this was called. */
  readonly takeSeen: () => ReadonlyArray<Seen>
}

/** A server on a free port of 127.0.0.1, closed with the Scope. */
export const make: Effect.Effect<ImageServer, never, Scope.Scope> = Effect.gen(function* () {
  const files = new Map<string, Uint8Array>()
  const mishaps = new Map<string, ReadonlyArray<Mishap>>()
  let seen: ReadonlyArray<Seen> = []

  const nextMishap = (path: string): Mishap | undefined => {
    const [first, ...rest] = mishaps.get(path) ?? []
    mishaps.set(path, rest)
    return first
  }

  const answer = (request: http.IncomingMessage, response: http.ServerResponse) => {
    const path = request.url ?? "/"
    const range = request.headers.range
    const say = (words: string) => {
      seen = [...seen, { path, range, answer: words }]
    }
    const file = files.get(path)
    if (file === undefined) {
      say("404 Not Found")
      response.writeHead(404).end()
      return
    }
    const mishap = nextMishap(path)
    if (mishap !== undefined && "status" in mishap) {
      say(`${mishap.status} ${http.STATUS_CODES[mishap.status]}`)
      response.writeHead(mishap.status).end("come back later\n")
      return
    }
    const start = startOf(range)
    const body = file.subarray(start)
    const what = start === 0 ? `200, ${size(file.length)}` : `206, ${size(body.length)} from byte ${start}`
    response.writeHead(start === 0 ? 200 : 206, {
      "content-length": body.length,
      etag: `"${path}"`,
      ...(start === 0 ? {} : { "content-range": `bytes ${start}-${file.length - 1}/${file.length}` })
    })
    if (mishap === undefined) {
      say(what)
      response.end(body)
    } else {
      say(`${what}, and the connection breaks after ${size(mishap.cutAfter)}`)
      // A moment for the bytes to arrive: breaking a connection may take along what is still under way.
      response.write(body.subarray(0, mishap.cutAfter), () => setTimeout(() => response.destroy(), 100))
    }
  }

  const server = yield* Effect.acquireRelease(
    Effect.sync(() => http.createServer(answer)),
    (server) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const port = yield* Effect.async<number>((resume) => {
    server.once("error", (error) => resume(Effect.die(error)))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(
        typeof address === "object" && address !== null
          ? Effect.succeed(address.port)
          : Effect.dieMessage("a server that listens on TCP has a port")
      )
    })
  })

  return {
    url: `http://127.0.0.1:${port}`,
    publish: (path, content) => void files.set(path, content),
    misbehave: (path, list) => void mishaps.set(path, list),
    takeSeen: () => {
      const taken = seen
      seen = []
      return taken
    }
  }
})

/** `bytes=100-` is all that the tour needs to understand. */
const startOf = (range: string | undefined): number => Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0)

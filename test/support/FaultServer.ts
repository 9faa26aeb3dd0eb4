/**
 * An HTTP/1.1 file server on raw loopback sockets that is correct until told otherwise: every way in which a download
 * is known to go wrong is a `Fault`, plain data, applied to the requests of one path.
 *
 *     const server = yield* FaultServer.make
 *     const url = server.serve("/rootfs.ext4", bytes, Fault.Cut({ after: 1000, how: "reset", times: 2 }))
 */
import { createServer, type Socket } from "node:net"
import { createSecureContext, TLSSocket } from "node:tls"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Certificates from "./faultServer/certificates.js"
import { activeAt, type Fault, type Script } from "./faultServer/Fault.js"
import { frame, lastChunk, latency, type Plan, plan, type Request } from "./faultServer/plan.js"
import * as Source from "./faultServer/Source.js"
import * as Wire from "./faultServer/Wire.js"

export { arbitraryScript, Fault, type How, type Limits, type Script, script } from "./faultServer/Fault.js"
export { fromBytes, pattern, type Source, toBytes } from "./faultServer/Source.js"

/** One request as the server saw it, in order of arrival. Grows while it is being answered. */
export interface RequestLog {
  /** Milliseconds since the server started. */
  readonly at: number
  /** Number of the connection it came on, from 1. */
  readonly connection: number
  readonly method: string
  /** The request target as sent; `path` is the same without its query. */
  readonly target: string
  readonly path: string
  /** Names in lower case; the values of a repeated header are joined. */
  readonly headers: Readonly<Record<string, string>>
  /** Undefined where no status line was sent. */
  readonly status: number | undefined
  /** Payload bytes the kernel took, framing not counted. */
  readonly bodySent: number
  /** Whether the server is done with it (also when the client left). */
  readonly finished: boolean
}

/** A running server. The numbers and the log are live. */
export interface FaultServer {
  /** `http://127.0.0.1:<port>`, or https. */
  readonly origin: string
  readonly port: number
  /** The URL of a path, which starts with a slash. */
  readonly url: (path: string) => string
  /**
   * Puts a file at a path, in place of what was there, and returns its URL. The count of requests that the faults go
   * by starts anew.
   */
  readonly serve: (
    path: string,
    content: Uint8Array | Source.Source,
    ...faults: ReadonlyArray<Fault | Script>
  ) => string
  readonly requests: ReadonlyArray<RequestLog>
  /** The requests of one path. */
  readonly requestsOf: (path: string) => ReadonlyArray<RequestLog>
  /** Payload bytes of all responses to a path (or to every path). */
  readonly bytesSent: (path?: string) => number
  readonly connectionsOpen: number
  readonly connectionsAccepted: number
  /** The most requests that were being answered at the same time. */
  readonly maxConcurrent: number
  /** Completes as soon as the condition holds; asked again whenever a connection, request or byte count changes. */
  readonly until: (condition: () => boolean) => Effect.Effect<void>
}

/** A server that speaks TLS, with a certificate for localhost and 127.0.0.1 of its own authority. */
export interface TlsFaultServer extends FaultServer {
  /** The authority's certificate. */
  readonly caPem: string
}

type Writable<A> = { -readonly [K in keyof A]: A[K] }

interface Served {
  readonly source: Source.Source
  readonly etag: string
  readonly faults: ReadonlyArray<Fault | Script>
  count: number
}

const makeState = (startedAt: number) => {
  const files = new Map<string, Served>()
  const requests: Array<Writable<RequestLog>> = []
  const listeners = new Set<() => void>()
  const counters = { open: 0, accepted: 0, answering: 0, maxConcurrent: 0 }
  return {
    startedAt,
    files,
    requests,
    counters,
    changed: () => {
      for (const listener of listeners) listener()
    },
    until: (condition: () => boolean): Effect.Effect<void> =>
      Effect.async<void>((resume) => {
        const listener = () => {
          if (!condition()) return
          listeners.delete(listener)
          resume(Effect.void)
        }
        listeners.add(listener)
        listener()
        return Effect.sync(() => void listeners.delete(listener))
      })
  }
}

type State = ReturnType<typeof makeState>

const sendBody = Effect.fnUntraced(function* (
  wire: Wire.Wire,
  response: Extract<Plan, { _tag: "Response" }>,
  sent: (bytes: number) => void
) {
  const stop = Math.min(response.end, response.start + response.stallAfter)
  for (let at = response.start; at < stop; ) {
    const bytes = response.body.read(at, Math.min(stop, at + (response.pace?.bytes ?? Source.maxRead)))
    // A loop that writes nothing would never give the event loop a turn.
    if (bytes.length === 0) return yield* Effect.dieMessage(`no bytes at ${at} of [${response.start}, ${stop})`)
    yield* wire.write(response.chunked ? frame(bytes) : bytes)
    sent(bytes.length)
    at += bytes.length
    if (response.pace !== undefined && at < stop) yield* Effect.sleep(response.pace.ms)
  }
  if (response.stallAfter <= response.end - response.start) return yield* Effect.never
  if (response.chunked && response.terminated) yield* wire.write(lastChunk)
})

/** Answers one request; false where the connection has come to its end. */
const answer = Effect.fnUntraced(function* (
  state: State,
  wire: Wire.Wire,
  request: Request,
  log: Writable<RequestLog>
) {
  const file = state.files.get(request.path)
  const faults = file === undefined ? [] : activeAt(file.faults, file.count++)
  const wait = latency(faults)
  if (wait > 0) yield* Effect.sleep(wait)
  const what = plan(request, file, faults, yield* Clock.currentTimeMillis)
  switch (what._tag) {
    case "Silence":
      return yield* Effect.never
    case "HangUp":
      yield* wire.end(what.how)
      return false
    case "Raw":
      yield* wire.write(what.text)
      yield* wire.end("fin")
      return false
    case "Response": {
      log.status = what.status
      yield* wire.write(what.head)
      yield* sendBody(wire, what, (bytes) => {
        log.bodySent += bytes
        state.changed()
      })
      if (what.ending === "keepAlive") return true
      if (what.cut && what.ending === "fin") yield* Effect.sleep("30 millis")
      yield* wire.end(what.ending)
      return false
    }
  }
})

const serveConnection = (state: State, wire: Wire.Wire, connection: number): Effect.Effect<void> => {
  const one = Effect.gen(function* () {
    const request = yield* wire.next
    const log: Writable<RequestLog> = {
      at: (yield* Clock.currentTimeMillis) - state.startedAt,
      connection,
      method: request.method,
      target: request.target,
      path: request.path,
      headers: request.headers,
      status: undefined,
      bodySent: 0,
      finished: false
    }
    state.requests.push(log)
    state.counters.answering++
    state.counters.maxConcurrent = Math.max(state.counters.maxConcurrent, state.counters.answering)
    state.changed()
    return yield* Effect.ensuring(
      answer(state, wire, request, log),
      Effect.sync(() => {
        log.finished = true
        state.counters.answering--
        state.changed()
      })
    )
  })
  // After a FIN the client gets a while to close; closing first could reset what it has not read yet.
  const all = Effect.repeat(one, { while: (goesOn) => goesOn }).pipe(
    Effect.ignore,
    Effect.andThen(Effect.timeoutOption(Effect.never, "2 seconds"))
  )
  return Effect.raceFirst(all, wire.closed).pipe(Effect.tapDefect(Effect.logError), Effect.ensuring(wire.destroy))
}

const start = Effect.fnUntraced(function* (scheme: "http" | "https", secure: (raw: Socket) => Socket) {
  // The server is part of the world outside: it waits in real time even where the test's clock does not.
  const clock = Clock.make()
  const state = makeState(clock.unsafeCurrentTimeMillis())
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  const sockets = new Set<Socket>()
  const server = createServer((raw) => {
    sockets.add(raw)
    state.counters.open++
    raw.once("close", () => {
      sockets.delete(raw)
      state.counters.open--
      state.changed()
    })
    const wire = Wire.make(secure(raw), raw)
    fork(serveConnection(state, wire, ++state.counters.accepted).pipe(Effect.withClock(clock)))
    state.changed()
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
      Effect.suspend(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
        return state.until(() => state.counters.open === 0)
      })
  )
  const origin = `${scheme}://127.0.0.1:${port}`
  const requestsOf = (path: string) => state.requests.filter((request) => request.path === path)
  const self: FaultServer = {
    origin,
    port,
    url: (path) => origin + path,
    serve: (path, content, ...faults) => {
      const source = content instanceof Uint8Array ? Source.fromBytes(content) : content
      state.files.set(path, { source, etag: Source.etagOf(source), faults, count: 0 })
      return origin + path
    },
    requests: state.requests,
    requestsOf,
    bytesSent: (path) =>
      (path === undefined ? state.requests : requestsOf(path)).reduce((sum, request) => sum + request.bodySent, 0),
    get connectionsOpen() {
      return state.counters.open
    },
    get connectionsAccepted() {
      return state.counters.accepted
    },
    get maxConcurrent() {
      return state.counters.maxConcurrent
    },
    until: state.until
  }
  return self
})

/** A server on an ephemeral port of 127.0.0.1; its sockets and timers end with the Scope. */
export const make: Effect.Effect<FaultServer, never, Scope.Scope> = start("http", (raw) => raw)

/** The same over TLS; needs the openssl command. */
export const makeTls: Effect.Effect<TlsFaultServer, never, Scope.Scope> = Effect.gen(function* () {
  const { ca, cert, key } = yield* Certificates.make
  const secureContext = createSecureContext({ cert, key })
  const server = yield* start("https", (raw) => new TLSSocket(raw, { isServer: true, secureContext }))
  return Object.assign(server, { caPem: ca })
})

/** An origin whose port nobody listens on: connections are refused. */
export const refusingOrigin: Effect.Effect<string> = Effect.scoped(Effect.map(make, (server) => server.origin))

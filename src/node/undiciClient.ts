import type { OnReadOpts, Socket } from "node:net"
import { Readable } from "node:stream"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import { RequestError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { buildConnector, Dispatcher, ProxyAgent } from "undici"
import makeConnector from "undici/lib/core/connect.js"
import EnvHttpProxyAgent from "undici/lib/dispatcher/env-http-proxy-agent.js"
import Pool from "undici/lib/dispatcher/pool.js"
import { makeSlabs } from "../internal/buffer.js"
import { StreamResponse } from "../internal/streamResponse.js"
import { trusting } from "./authorities.js"
import type { Proxies, Proxy } from "./proxies.js"
import { ReceivedBody } from "./receivedBody.js"
import { type Demand, guardedPool } from "./undiciGuard.js"

export interface Settings {
  readonly connectTimeout: Duration.Duration
  /** In PEM, to trust beside the usual ones. */
  readonly extraCaCertificates: ReadonlyArray<string> | undefined
  readonly proxies: Proxies
}

/** An HttpClient on undici's dispatchers. */
export const make = (settings: Settings): Effect.Effect<HttpClient.HttpClient, Cause.UnknownException, Scope.Scope> =>
  Effect.map(makeDispatchers(settings), ({ demand, plain, secure }) =>
    HttpClient.make((request, url, signal) =>
      Effect.flatMap(encode(request), ({ body, contentType }) => {
        const options: Dispatcher.DispatchOptions = {
          origin: url.origin,
          path: url.pathname + url.search,
          method: request.method,
          // A copy: undici's agents for proxies write into it.
          headers: { ...request.headers, ...(contentType === undefined ? {} : { "content-type": contentType }) },
          body,
          // Who asks knows how long to wait.
          headersTimeout: 0,
          bodyTimeout: 0
        }
        return exchange(url.protocol === "https:" ? secure : plain, demand, options, request, signal)
      })
    )
  )

/** Send a request and wait for the head of its response. */
const exchange = (
  dispatcher: Dispatcher,
  demand: Demand,
  options: Dispatcher.DispatchOptions,
  request: HttpClientRequest,
  signal: AbortSignal
): Effect.Effect<StreamResponse, RequestError> =>
  Effect.async((resume) => {
    let body: ReceivedBody | undefined
    const ended = wanting(demand)
    signal.addEventListener("abort", ended, { once: true })
    // Let go of at once: the signal holds its listeners, and would hold what waits, and with it the response that nobody reads.
    let waiting: typeof resume | undefined = resume
    const answer: typeof resume = (result) => {
      waiting?.(result)
      waiting = undefined
    }
    dispatcher.dispatch(options, {
      onRequestStart: (controller) => {
        const abort = () => controller.abort(new Error("nobody waits for this request any more"))
        if (signal.aborted) return abort()
        signal.addEventListener("abort", abort, { once: true })
        body = new ReceivedBody({
          pause: () => controller.pause(),
          resume: () => controller.resume(),
          abort
        })
      },
      onResponseStart: (_, status, headers) => {
        if (status < 200 || body === undefined) return
        const setCookie = [headers["set-cookie"] ?? []].flat()
        answer(Effect.succeed(new StreamResponse(request, status, Headers.fromInput(headers), body.stream, setCookie)))
      },
      onResponseData: (_, piece) => body?.push(piece),
      onResponseEnd: () => {
        ended()
        body?.finish()
      },
      onResponseError: (controller, cause) => {
        ended()
        // Where undici gives a response up, such as a proxy's refusal, its body goes on.
        controller?.abort(cause)
        // What was to be sent is not wanted any more, nor is its failure.
        if (options.body instanceof Readable) options.body.on("error", () => {}).destroy()
        answer(new RequestError({ request, reason: "Transport", cause }))
        body?.finish(Option.some(cause))
      }
    })
  })

/** Count a request among those under way. Returns how to take it out again, which may be done several times. */
const wanting = (demand: Demand): (() => void) => {
  let counted = 1
  demand.requests += counted
  return () => {
    demand.requests -= counted
    counted = 0
  }
}

interface Encoded {
  readonly body: string | Uint8Array | Readable | null
  readonly contentType?: string | undefined
}

const encode = (request: HttpClientRequest): Effect.Effect<Encoded, RequestError> => {
  const { body } = request
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ body: null })
    case "Stream":
      return Effect.map(NodeStream.toReadable(body.stream), (readable) => ({ body: readable }))
    case "FormData":
      return Effect.succeed(encodeForm(body.formData))
    default: {
      const encoded = encodeRaw(body.body)
      return encoded === undefined
        ? Effect.fail(new RequestError({ request, reason: "Encode", description: "a body that cannot be sent" }))
        : Effect.succeed({ body: encoded })
    }
  }
}

/** undici takes no FormData but its own. */
const encodeForm = (form: FormData): Encoded => {
  const { body, headers } = new Response(form)
  return {
    body: body === null ? null : Readable.fromWeb(body),
    contentType: headers.get("content-type") ?? undefined
  }
}

const encodeRaw = (body: unknown): Encoded["body"] | undefined => {
  if (body === null || body === undefined) return null
  if (typeof body === "string" || body instanceof Uint8Array || body instanceof Readable) return body
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
  if (body instanceof Blob) return Readable.fromWeb(body.stream())
  return isAsyncIterable(body) ? Readable.from(body) : undefined
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  Predicate.hasProperty(value, Symbol.asyncIterator)

const makeDispatchers = Effect.fnUntraced(function* (settings: Settings) {
  const { connectTimeout, extraCaCertificates, proxies } = settings
  // Its agents for proxies call what only the whole of it adds to a dispatcher.
  if (proxies.http !== undefined || proxies.https !== undefined) yield* Effect.tryPromise(() => import("undici"))
  const timeout = Duration.toMillis(connectTimeout)
  const connect = { timeout, ...trusting(extraCaCertificates) }
  const secureConnector = makeConnector(connect)
  /** Not for TLS: its records are small whatever is done, and its connector keeps the sessions. */
  const connector: buildConnector.connector = (target, callback) =>
    target.protocol === "https:"
      ? secureConnector(target, callback)
      : makeConnector({ ...connect, onread: onread() })(target, callback)
  const demand: Demand = { requests: 0 }
  const viaProxy = ({ isSocks, token }: Proxy): Partial<ProxyAgent.Options> => ({
    // The connection to the proxy itself is not ready before it has answered the CONNECT. Zero waits for ever.
    clientFactory: (origin, options) =>
      new Pool(origin, { ...options, headersTimeout: Number.isFinite(timeout) ? Math.ceil(timeout) : 0 }),
    ...(token === undefined ? {} : { token }),
    // With it, a SOCKS proxy would be spoken to in TLS.
    ...(isSocks ? {} : { proxyTls: connect })
  })
  const agent = (proxies: Partial<Proxies>) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const proxy = proxies.http ?? proxies.https
        return new EnvHttpProxyAgent({
          httpProxy: proxies.http?.url ?? "",
          httpsProxy: proxies.https?.url ?? "",
          ...(proxy === undefined ? {} : viaProxy(proxy)),
          connect: connector,
          requestTls: connect,
          factory: guardedPool(demand),
          proxyTunnel: false
        })
      }),
      // Not destroyed: what is under way may be for others who share the download. It only takes no more requests.
      (dispatcher) => Effect.sync(() => void dispatcher.close().catch(() => undefined))
    )
  // Two agents, because one would send https to HTTP_PROXY where HTTPS_PROXY is not set.
  return { demand, plain: yield* agent({ http: proxies.http }), secure: yield* agent({ https: proxies.https }) }
})

const slabSize = 1024 * 1024
const smallestRead = 64 * 1024

/**
 * Reads go into slabs, so that one takes all that the socket holds: Node.js itself allocates 64 KiB for each read, and every
 * chunk costs the same on its way, be it small or large.
 */
const onread = (): OnReadOpts => {
  const { free, take } = makeSlabs(slabSize, smallestRead)
  return {
    buffer: free,
    callback(this: Socket, count: number) {
      return this.push(take(count))
    }
  }
}

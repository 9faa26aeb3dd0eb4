import { readFileSync } from "node:fs"
import type { OnReadOpts, Socket } from "node:net"
import { Readable } from "node:stream"
import * as tls from "node:tls"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as PlatformClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { makeSlabs } from "../internal/buffer.js"
import { fromBody } from "./undiciBody.js"
import { guardedPool } from "./undiciGuard.js"

export interface Settings {
  readonly connectTimeout: Duration.Duration
  readonly extraCaCertificates: ReadonlyArray<string> | undefined
  /** The URLs of the proxies, empty where there is none. */
  readonly httpProxy: string
  readonly httpsProxy: string
}

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

/** An HttpClient on undici. */
export const make = (settings: Settings): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.map(makeDispatcher(settings), (dispatcher) =>
    HttpClient.transformResponse(PlatformClient.makeUndici(dispatcher), Effect.map(withPieces))
  )

/** The response with another way to read its body. */
const withPieces = (response: HttpClientResponse): HttpClientResponse => {
  const body =
    Predicate.hasProperty(response, "source") && Predicate.hasProperty(response.source, "body")
      ? response.source.body
      : undefined
  if (!(body instanceof Readable)) return response
  const stream = fromBody(
    body,
    (cause) => new HttpClientError.ResponseError({ request: response.request, response, reason: "Decode", cause })
  )
  return Object.create(response, { stream: { value: stream } })
}

const makeDispatcher = Effect.fnUntraced(function* (settings: Settings) {
  const { connectTimeout, extraCaCertificates, httpProxy, httpsProxy } = settings
  const connect = {
    timeout: Duration.toMillis(connectTimeout),
    ...(extraCaCertificates === undefined ? {} : { secureContext: trusting(extraCaCertificates) })
  }
  const secureConnector = Undici.buildConnector(connect)
  /** Not for TLS: its records are small whatever is done, and its connector keeps the sessions. */
  const connector: Undici.buildConnector.connector = (target, callback) =>
    target.protocol === "https:"
      ? secureConnector(target, callback)
      : Undici.buildConnector({ ...connect, onread: onread() })(target, callback)
  const agent = (proxies: { readonly httpProxy: string; readonly httpsProxy: string }) =>
    Effect.acquireRelease(
      Effect.sync(
        () =>
          new Undici.EnvHttpProxyAgent({
            ...proxies,
            connect: connector,
            proxyTls: connect,
            requestTls: connect,
            factory: guardedPool,
            proxyTunnel: false
          })
      ),
      // Not destroyed: what is under way may be for others who share the download. It only takes no more requests.
      (dispatcher) => Effect.sync(() => void dispatcher.close().catch(() => undefined))
    )
  // Two agents, because one would send https to HTTP_PROXY where HTTPS_PROXY is not set.
  const plain = yield* agent({ httpProxy, httpsProxy: "" })
  const secure = yield* agent({ httpProxy: "", httpsProxy })
  return plain.compose(
    (dispatch) => (request, handler) =>
      String(request.origin).startsWith("https:") ? secure.dispatch(request, handler) : dispatch(request, handler)
  )
})

/** A TLS context that trusts the usual authorities and these. */
const trusting = (certificates: ReadonlyArray<string>): tls.SecureContext =>
  tls.createSecureContext({ ca: [...usualCertificates(), ...certificates] })

/** What Node.js trusts by itself. Given a list, it trusts nothing else: not even NODE_EXTRA_CA_CERTS. */
const usualCertificates = (): ReadonlyArray<string> => {
  const file = process.env["NODE_EXTRA_CA_CERTS"] ?? ""
  if (file === "") return tls.rootCertificates
  try {
    return [...tls.rootCertificates, readFileSync(file, "utf8")]
  } catch {
    return tls.rootCertificates // Node.js has warned about it and goes on, too
  }
}

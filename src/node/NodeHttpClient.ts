/**
 * The HTTP client of the Node.js layers: undici, behind the proxies of the environment.
 *
 * @since 0.1.0
 */
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OnReadOpts, Socket } from "node:net"
import { Readable } from "node:stream"
import * as tls from "node:tls"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as PlatformClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import { ValueError } from "../ImageError.js"
import { makeSlabs } from "../internal/buffer.js"
import { fromBody } from "./undiciBody.js"
import { guardedPool } from "./undiciGuard.js"

/**
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The time to connect, TLS included. Default: 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * PEM certificates of authorities to trust beside the usual ones. For all of a process, set `NODE_EXTRA_CA_CERTS`
   * instead.
   */
  readonly extraCaCertificates?: ReadonlyArray<string> | undefined
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

/**
 * An undici client that honours `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (and their lower-case spellings, which come
 * first), with a bound on the time to connect. Plain http goes to a proxy as such, https through a tunnel. Fails with a
 * `ValueError` when an option or a proxy's URL is bad.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<HttpClient.HttpClient, ValueError> =>
  "bun" in process.versions ? layerBun(options) : Layer.unwrapScoped(Effect.map(makeDispatcher(options), layerOf))

const layerOf = (dispatcher: Undici.Dispatcher): Layer.Layer<HttpClient.HttpClient> =>
  HttpClient.layerMergedContext(
    Effect.sync(() => HttpClient.transformResponse(PlatformClient.makeUndici(dispatcher), Effect.map(withPieces)))
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

/** Bun has a stub in place of undici. Its `fetch` honours the same proxies and bounds the time to connect by itself. */
const layerBun = ({ extraCaCertificates }: Options): Layer.Layer<HttpClient.HttpClient, ValueError> =>
  extraCaCertificates === undefined
    ? FetchHttpClient.layer
    : Layer.fail(wrong("extraCaCertificates", "is not supported on Bun: set NODE_EXTRA_CA_CERTS instead"))

const wrong = (field: string, message: string, path = "") => new ValueError({ field, problems: [{ path, message }] })

const makeDispatcher = Effect.fnUntraced(function* ({ connectTimeout, extraCaCertificates }: Options) {
  const timeout = yield* Effect.mapError(Duration.decodeUnknown(connectTimeout ?? "10 seconds"), () =>
    wrong("connectTimeout", "must be a duration")
  )
  const secureContext = extraCaCertificates === undefined ? undefined : yield* trusting(extraCaCertificates)
  const connect = {
    timeout: Duration.toMillis(timeout),
    ...(secureContext === undefined ? {} : { secureContext })
  }
  const secureConnector = Undici.buildConnector(connect)
  /** Not for TLS: its records are small whatever is done, and its connector keeps the sessions. */
  const connector: Undici.buildConnector.connector = (target, callback) =>
    target.protocol === "https:"
      ? secureConnector(target, callback)
      : Undici.buildConnector({ ...connect, onread: onread() })(target, callback)
  const agent = (field: string, proxies: { readonly httpProxy: string; readonly httpsProxy: string }) =>
    Effect.acquireRelease(
      Effect.try({
        try: () =>
          new Undici.EnvHttpProxyAgent({
            ...proxies,
            connect: connector,
            proxyTls: connect,
            requestTls: connect,
            factory: guardedPool,
            proxyTunnel: false
          }),
        catch: () => wrong(field, "is not the URL of a proxy")
      }),
      // Not destroyed: what is under way may be for others who share the download. It only takes no more requests.
      (dispatcher) => Effect.sync(() => void dispatcher.close().catch(() => undefined))
    )
  // Two agents, because one would send https to HTTP_PROXY where HTTPS_PROXY is not set.
  const plain = yield* agent("HTTP_PROXY", { httpProxy: yield* proxyOf("HTTP_PROXY"), httpsProxy: "" })
  const secure = yield* agent("HTTPS_PROXY", { httpProxy: "", httpsProxy: yield* proxyOf("HTTPS_PROXY") })
  return plain.compose(
    (dispatch) => (request, handler) =>
      String(request.origin).startsWith("https:") ? secure.dispatch(request, handler) : dispatch(request, handler)
  )
})

/** The URL of a proxy, empty when there is none. Like curl's, it may leave out `http://`. */
const proxyOf = (name: string): Effect.Effect<string, ValueError> =>
  Effect.suspend(() => {
    const value = (process.env[name.toLowerCase()] ?? process.env[name] ?? "").trim()
    if (value === "") return Effect.succeed("")
    const url = value.includes("://") ? value : `http://${value}`
    return URL.canParse(url) && /^(https?|socks5?):$/.test(new URL(url).protocol)
      ? Effect.succeed(url)
      : wrong(name, "is not the URL of an http, https or socks5 proxy")
  })

/** A TLS context that trusts the usual authorities and these. */
const trusting = (certificates: ReadonlyArray<string>): Effect.Effect<tls.SecureContext, ValueError> =>
  Effect.gen(function* () {
    yield* Effect.forEach(certificates, (pem, index) =>
      Effect.try({
        try: () => new X509Certificate(pem),
        catch: () => wrong("extraCaCertificates", "is not a PEM certificate", `[${index}]`)
      })
    )
    return yield* Effect.sync(() => tls.createSecureContext({ ca: [...usualCertificates(), ...certificates] }))
  })

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

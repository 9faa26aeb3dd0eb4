/**
 * The HTTP client of the Node.js layers: undici, behind the proxies of the environment.
 *
 * @since 0.1.0
 */
import { X509Certificate } from "node:crypto"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { type HttpClientError, RequestError } from "@effect/platform/HttpClientError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { ValueError } from "../ImageError.js"
import { isTimeout, notATimeout } from "../internal/options.js"
import { outcome } from "../internal/outcome.js"
import * as Proxies from "./proxies.js"
import type { Settings } from "./undiciClient.js"

/**
 * How connections are made. All else is up to the `ImageManager`.
 *
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

/**
 * A client that honours `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (and their lower-case spellings, which come
 * first), with a bound on the time to connect. Plain http goes to a proxy as such, https through a tunnel. Fails with a
 * `ValueError` when an option or a proxy's URL is bad. An `ImageManager` lets the memory of a body's chunks be used again when it
 * has taken them: who listens to its bodies keeps copies.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<HttpClient.HttpClient, ValueError> =>
  "bun" in process.versions
    ? layerBun(options)
    : Layer.scoped(HttpClient.HttpClient, Effect.flatMap(settingsOf(options), makeLazily))

/** A hit needs no client, so it is loaded with the first request. */
const makeLazily = Effect.fnUntraced(function* (settings: Settings) {
  const scope = yield* Effect.scope
  // In a fiber of its own: who is interrupted while he waits for it takes nothing from those who come later.
  const loading = yield* Effect.tryPromise(() => import("./undiciClient.js")).pipe(
    Effect.flatMap(({ make }) => make(settings)),
    Scope.extend(scope),
    Effect.forkIn(scope),
    Effect.cached
  )
  const client = Effect.flatMap(Effect.uninterruptible(loading), outcome)
  return HttpClient.makeWith<never, never, HttpClientError, never>(
    Effect.flatMap((request) =>
      client.pipe(
        // Such as with no file descriptor left.
        Effect.mapError(({ error: cause }) => new RequestError({ request, reason: "Transport", cause })),
        Effect.flatMap(({ execute }) => execute(request))
      )
    ),
    Effect.succeed
  )
})

/** Bun has a stub in place of undici. Its `fetch` honours the same proxies and bounds the time to connect by itself. */
const layerBun = ({ extraCaCertificates }: Options): Layer.Layer<HttpClient.HttpClient, ValueError> =>
  extraCaCertificates === undefined
    ? FetchHttpClient.layer
    : Layer.fail(wrong("extraCaCertificates", "is not supported on Bun: set NODE_EXTRA_CA_CERTS instead"))

const wrong = (field: string, message: string, path = "") => new ValueError({ field, problems: [{ path, message }] })

const settingsOf = Effect.fnUntraced(function* ({ connectTimeout, extraCaCertificates }: Options) {
  if (connectTimeout !== undefined && !isTimeout(connectTimeout)) {
    return yield* wrong("connectTimeout", notATimeout)
  }
  yield* Effect.forEach(extraCaCertificates ?? [], (pem, index) =>
    Effect.try({
      try: () => new X509Certificate(pem),
      catch: () => wrong("extraCaCertificates", "is not a PEM certificate", `[${index}]`)
    })
  )
  const settings: Settings = {
    connectTimeout: Duration.decode(connectTimeout ?? "10 seconds"),
    extraCaCertificates,
    proxies: yield* Proxies.fromEnvironment
  }
  return settings
})

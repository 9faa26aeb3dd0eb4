/**
 * The HTTP client of the Node.js layers: undici, behind the proxies of the environment.
 *
 * @since 0.1.0
 */
import * as tls from "node:tls"
import type { HttpClient } from "@effect/platform/HttpClient"
import * as PlatformClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

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

/**
 * An undici client that honours `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (and their lower-case spellings), with a bound
 * on the time to connect. Plain http goes to a proxy as such, https through a tunnel.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<HttpClient> => {
  const timeout = Duration.toMillis(options.connectTimeout ?? "10 seconds")
  const ca = options.extraCaCertificates
  const connect = { timeout, ...(ca === undefined ? {} : { ca: [...tls.rootCertificates, ...ca] }) }
  const dispatcher = Layer.scoped(
    PlatformClient.Dispatcher,
    Effect.acquireRelease(
      Effect.sync(() => new Undici.EnvHttpProxyAgent({ connect, requestTls: connect, proxyTunnel: false })),
      (agent) => Effect.promise(() => agent.destroy())
    )
  )
  return Layer.provide(PlatformClient.layerUndiciWithoutDispatcher, dispatcher)
}

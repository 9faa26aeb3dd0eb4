import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AssetUrl } from "../AssetUrl.js"
import { AttemptFailure } from "./failure.js"
import { firstOf } from "./race.js"
import { basicCredentials, codeOf, displayUrl, redactText, sanitizeCause, secretsOf } from "./redact.js"

/** An answered request whose body has not been read yet. */
export interface Opened {
  readonly status: number
  readonly header: (name: string) => string | undefined
  readonly body: Stream.Stream<Uint8Array, AttemptFailure>
  /** The client has undone this Content-Encoding already, although the headers still tell of it. */
  readonly decodes: (encoding: string) => boolean
  /** Mask the secrets of this request, its redirects included, in text that came from outside. */
  readonly redact: (text: string) => string
}

/** Where to begin, and the validator under which the server may begin there. */
export interface From {
  readonly offset: number
  /** Where to stop, if not at the end of the file: the first byte that is not wanted. */
  readonly end?: number
  readonly ifRange: string | undefined
}

const maxRedirects = 10

/**
 * GET one source. Redirects are followed here, because the clients differ: at most ten, never from https to http, and
 * credentials go to the origin they were given for only. The request ends with the Scope.
 */
export const open = Effect.fnUntraced(function* (
  client: HttpClient.HttpClient,
  source: AssetUrl,
  from: From,
  responseTimeout: Duration.DurationInput
): Effect.fn.Return<Opened, AttemptFailure, Scope.Scope> {
  const origin = new URL(Redacted.value(source.href))
  const secrets = secretsOf(origin.href, source.headers)
  const redact = (text: string) => redactText(text, secrets)
  const scopedClient = quiet(client)
  const late = Effect.failSync(
    () =>
      new AttemptFailure({
        reason: "DownloadFailed",
        transient: true,
        detail: `no answer within ${Duration.format(responseTimeout)}`
      })
  )

  let url = origin
  for (let redirects = 0; ; redirects++) {
    const scope = yield* Scope.fork(yield* Effect.scope, { _tag: "Sequential" })
    // Headers come last: who gave an authorization beside user info meant it for every request.
    const credentials =
      url.origin === origin.origin
        ? { ...userInfoOf(origin), ...userInfoOf(url), ...valuesOf(source.headers) }
        : userInfoOf(url)
    const request = requestOf(url, credentials, from)
    const answer = scopedClient.execute(request).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
      Scope.extend(scope),
      Effect.mapError((error) => transportFailure(error, "no answer", redact, secrets))
    )
    const response = yield* firstOf(answer, Effect.delay(late, responseTimeout))
    if (!isRedirect(response.status)) return opened(response, redact, secrets)

    yield* Scope.close(scope, Exit.void)
    url = yield* redirectTarget(response, url, redirects)
    secrets.push(...secretsOf(url.href))
  }
})

/** Without @effect/platform's own spans and propagation: they record whole URLs and send headers to third parties. */
const quiet = (client: HttpClient.HttpClient) =>
  client.pipe(
    HttpClient.withTracerDisabledWhen(() => true),
    HttpClient.withTracerPropagation(false),
    HttpClient.withScope
  )

const userInfoOf = ({ password, username }: URL): Readonly<Record<string, string>> =>
  username === "" && password === "" ? {} : { authorization: basicCredentials(username, password) }

const valuesOf = (headers: Readonly<Record<string, Redacted.Redacted>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), Redacted.value(value)]))

const requestOf = (
  url: URL,
  credentials: Readonly<Record<string, string>>,
  from: From
): HttpClientRequest.HttpClientRequest => {
  const target = new URL(url)
  target.username = ""
  target.password = ""
  target.hash = ""
  return HttpClientRequest.get(target.href, {
    headers: {
      accept: "*/*",
      "user-agent": "smolvm-images",
      ...credentials,
      "accept-encoding": "identity",
      ...(from.offset === 0 ? {} : { range: `bytes=${from.offset}-${from.end === undefined ? "" : from.end - 1}` }),
      ...(from.offset === 0 || from.ifRange === undefined ? {} : { "if-range": from.ifRange })
    }
  })
}

const isRedirect = (status: number) =>
  status === 301 || status === 302 || status === 303 || status === 307 || status === 308

const redirectTarget = (
  response: HttpClientResponse,
  from: URL,
  redirects: number
): Effect.Effect<URL, AttemptFailure> => {
  const refused = (detail: string) =>
    Effect.fail(new AttemptFailure({ reason: "DownloadFailed", transient: false, status: response.status, detail }))
  const location = response.headers["location"]
  const here = displayUrl(from.href)
  if (redirects >= maxRedirects) return refused(`more than ${maxRedirects} redirects, the last one by ${here}`)
  if (location === undefined) return refused(`${here} redirects (${response.status}) without saying where to`)
  if (!URL.canParse(location, from.href)) return refused(`${here} redirects to something that is not a URL`)
  const target = new URL(location, from.href)
  if (target.protocol !== "https:" && target.protocol !== "http:")
    return refused(`${here} redirects to a ${target.protocol} URL, which is refused`)
  if (from.protocol === "https:" && target.protocol === "http:")
    return refused(`${here} redirects from https to http (${displayUrl(target.href)}), which is refused`)
  return Effect.succeed(target)
}

const opened = (
  response: HttpClientResponse,
  redact: (text: string) => string,
  secrets: ReadonlyArray<string>
): Opened => ({
  status: response.status,
  header: (name) => response.headers[name],
  decodes: (encoding) => isFetched(response) && decodedByFetch.has(encoding),
  body: Stream.mapError(response.stream, (error) => transportFailure(error, "the connection broke", redact, secrets)),
  redact
})

const decodedByFetch = new Set(["gzip", "x-gzip", "deflate", "br"])

/** Whether `fetch` brought this response: only its responses know their URL. */
const isFetched = (response: HttpClientResponse): boolean =>
  Predicate.hasProperty(response, "source") &&
  Predicate.hasProperty(response.source, "redirected") &&
  Predicate.hasProperty(response.source, "url") &&
  response.source.url !== ""

const transportFailure = (
  error: HttpClientError,
  what: string,
  redact: (text: string) => string,
  secrets: ReadonlyArray<string>
): AttemptFailure => {
  const code = codeOf(error.cause)
  const message = error.cause instanceof Error ? redact(error.cause.message) : ""
  return new AttemptFailure({
    reason: "DownloadFailed",
    // A malformed URL, a broken certificate or an endless header will be the same next time; all else may pass.
    transient: error.reason !== "InvalidUrl" && error.reason !== "Encode" && !isPermanent(code),
    detail: `${what}: ${[code, message].filter((text) => text !== undefined && text !== "").join(", ") || error.reason}`,
    cause: sanitizeCause(error.cause ?? error, secrets)
  })
}

const isPermanent = (code: string | undefined) =>
  code !== undefined &&
  (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ALTNAME/.test(code) ||
    code === "UND_ERR_HEADERS_OVERFLOW" ||
    code === "UND_ERR_INVALID_ARG" ||
    code === "HPE_HEADER_OVERFLOW")

import * as Effect from "effect/Effect"
import { ValueError } from "../ImageError.js"

/** A proxy as undici takes it. */
export interface Proxy {
  readonly url: string
  /** What the Proxy-Authorization header says. */
  readonly token?: string
  readonly isSocks: boolean
}

/** The proxies for plain http and for https. */
export interface Proxies {
  readonly http: Proxy | undefined
  readonly https: Proxy | undefined
}

/** `HTTP_PROXY` and `HTTPS_PROXY`, and their lower-case spellings, which come first. */
export const fromEnvironment: Effect.Effect<Proxies, ValueError> = Effect.suspend(() =>
  Effect.all({ http: proxyOf("HTTP_PROXY"), https: proxyOf("HTTPS_PROXY") })
)

const proxyOf = (name: string): Effect.Effect<Proxy | undefined, ValueError> =>
  Effect.suspend(() => {
    const value = (process.env[name.toLowerCase()] ?? process.env[name] ?? "").trim()
    if (value === "") return Effect.succeed(undefined)
    return Effect.try({
      try: () => parse(value),
      catch: () =>
        new ValueError({
          field: name,
          problems: [{ path: "", message: "is not the URL of an http, https or socks5 proxy" }]
        })
    })
  })

/** Throws on what is no proxy. Like curl's, a URL may leave out `http://`, and a path or a query means nothing. */
const parse = (text: string): Proxy => {
  const { host, password, protocol, username } = new URL(text.includes("://") ? text : `http://${text}`)
  if (!/^(https?|socks5?):$/.test(protocol) || host === "") throw new Error("not a proxy")
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  const isSocks = protocol.startsWith("socks")
  // undici reads them from the URL for SOCKS alone: for http only when both are there.
  const userInfo = isSocks && username !== "" ? `${username}:${password}@` : ""
  const url = `${protocol}//${userInfo}${host}`
  if (isSocks || credentials === ":") return { url, isSocks }
  return { url, isSocks, token: `Basic ${Buffer.from(credentials).toString("base64")}` }
}

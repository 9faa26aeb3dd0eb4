import * as Redacted from "effect/Redacted"

/** What stands where a secret stood. */
export const mask = "<redacted>"

/** A URL as it may be shown: no user info, no query, no fragment (each may hold a token). */
export const displayUrl = (url: string): string => {
  if (!URL.canParse(url)) return mask
  const { protocol, host, pathname, search } = new URL(url)
  return `${protocol}//${host}${pathname.replaceAll(encodeURI(mask), mask)}${search === "" ? "" : `?${mask}`}`
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // not percent-encoded text: its only spelling is the one we have
  }
}

// Once masked in a text, these would hide the URLs in it from `redactText`, with whatever secrets those hold.
const schemes = new Set(["http", "https", "file"])

/** The parts of a header that may be echoed alone: by words, by values, by what is quoted, by all of these. */
const separators = [/\s+/, /[\s;,=]+/, /"/, /[\s;,=:"']+/]

/**
 * The secret strings that a URL and its headers carry, in every spelling in which they could be echoed. Strings of fewer
 * than four characters are left out: they would tear holes into any text without hiding anything.
 */
export const secretsOf = (url: string, headers: Readonly<Record<string, Redacted.Redacted>> = {}): Array<string> => {
  const secrets = new Set<string>()
  const add = (text: string) => {
    for (const spelling of [text, decoded(text)]) {
      if (spelling.length >= 4 && !schemes.has(spelling.toLowerCase())) secrets.add(spelling)
    }
  }
  if (URL.canParse(url)) {
    const { username, password, search, searchParams } = new URL(url)
    add(username)
    add(password)
    if (username !== "" || password !== "") add(btoa(unescape8(`${decoded(username)}:${decoded(password)}`)))
    add(search.slice(1))
    for (const value of searchParams.values()) {
      add(value)
      add(encodeURIComponent(value))
    }
  }
  for (const value of Object.values(headers)) {
    const text = Redacted.value(value)
    add(text)
    // "Bearer TOKEN", "session=TOKEN; lang=en", `Token token="TOKEN"`, "ApiKey key:TOKEN": the token alone is the secret, too.
    for (const separator of separators) for (const word of text.split(separator)) add(word)
    const basic = /^basic\s+([\w+/]+=*)$/i.exec(text.trim())?.[1]
    if (basic !== undefined) for (const word of [fromBase64(basic), ...fromBase64(basic).split(":")]) add(word)
  }
  return [...secrets]
}

/** UTF-8 bytes as a binary string, the form `btoa` takes. */
const unescape8 = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text))

const fromBase64 = (text: string): string => {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)))
  } catch {
    return "" // not base64: it has no other spelling
  }
}

/** The value of an `Authorization: Basic` header for a URL's user info. */
export const basicCredentials = (username: string, password: string): string =>
  `Basic ${btoa(unescape8(`${decoded(username)}:${decoded(password)}`))}`

// A secret that was masked already is part of the URL: what stands before it may be one as well.
const urlInText = /\b(?:https?|file):\/\/(?:<redacted>|[^\s"'<>])+/g

/** `text` with every secret masked, and every URL in it reduced to what {@link displayUrl} shows. */
export const redactText = (text: string, secrets: ReadonlyArray<string>): string => {
  // The longest first: one that is a part of another would leave the rest of it behind.
  const longestFirst = [...secrets].sort((a, b) => b.length - a.length)
  const masked = longestFirst.reduce((result, secret) => result.replaceAll(secret, mask), text)
  return masked.replaceAll(urlInText, displayUrl)
}

/**
 * A copy of a foreign error that is safe to keep: name, code and redacted message, down its chain of causes; no request,
 * no response, no stack of the original (its first lines repeat the message).
 */
export const sanitizeCause = (cause: unknown, secrets: ReadonlyArray<string> = [], depth = 0): SanitizedError => {
  const name = property(cause, "name") ?? "Error"
  const code = property(cause, "code")
  const message = property(cause, "message") ?? (typeof cause === "string" ? cause : "")
  const inner = typeof cause === "object" && cause !== null && "cause" in cause ? cause.cause : undefined
  return new SanitizedError(
    redactText(name, secrets),
    redactText(message, secrets),
    code === undefined ? undefined : redactText(code, secrets),
    inner === undefined || inner === null || depth >= 4 ? undefined : sanitizeCause(inner, secrets, depth + 1)
  )
}

const property = (value: unknown, key: string): string | undefined => {
  if (typeof value !== "object" || value === null || !(key in value)) return undefined
  const found: unknown = Reflect.get(value, key)
  return typeof found === "string" ? found : undefined
}

/** See {@link sanitizeCause}. */
export class SanitizedError extends Error {
  readonly code?: string
  constructor(name: string, message: string, code?: string, cause?: SanitizedError) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = name
    if (code !== undefined) this.code = code
    this.stack = `${name}: ${message}`
  }
  /** What makes an error an error is not enumerable, and so not in JSON by itself. */
  toJSON(): unknown {
    return { name: this.name, code: this.code, message: this.message, cause: this.cause }
  }
}

/** The innermost error code (`ECONNRESET`, `ENOSPC`, ...) in a chain of causes. */
export const codeOf = (cause: unknown): string | undefined => {
  let found: string | undefined
  let current: unknown = cause
  for (let depth = 0; depth < 8 && typeof current === "object" && current !== null; depth++) {
    found = property(current, "code") ?? found
    if ("errors" in current && Array.isArray(current.errors) && current.errors.length > 0) {
      current = current.errors[0] // an AggregateError of happy eyeballs: every address was refused
    } else {
      current = "cause" in current ? current.cause : undefined
    }
  }
  return found
}

/**
 * Where an asset's bytes come from: a URL and the headers to send to it, both held as secrets.
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { displayUrl } from "./internal/redact.js"

/** Headers that belong to the transfer itself: ranges, encodings and connections are its own business. */
const reservedHeaders = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "host",
  "if-range",
  "range",
  "transfer-encoding"
])

const problemOfUrl = (href: string): string | undefined => {
  if (href.trim() === "") return "must not be blank"
  if (!URL.canParse(href)) return "must be an absolute URL"
  const { protocol, host, pathname } = new URL(href)
  if (protocol === "file:") {
    if (host !== "") return "a file URL must not name a host"
    return /%(?:2f|5c|00)/i.test(pathname) ? "a file URL must not contain an encoded separator or NUL" : undefined
  }
  if (protocol === "http:" || protocol === "https:") return undefined
  // In "user:password@host" what looks like a scheme is a user name.
  return `must be an http(s) or file URL${href.includes("://") ? `, not ${protocol}` : ""}`
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/

const problemOfHeader = (name: string, value: string): string | undefined => {
  const legal = token.exec(name)?.[0] ?? ""
  // Only the legal part is shown: the rest of "Authorization: Bearer TOKEN" would be the token.
  if (legal !== name || legal === "") return `${JSON.stringify(`${legal}...`)} is not a header name`
  if (reservedHeaders.has(name.toLowerCase())) return `the header ${name.toLowerCase()} is set by the transfer itself`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\u0000-\u0008\u000a-\u001f\u007f]|[^\u0000-\u00ff]/.test(value)
    ? `the value of header ${name} has characters that a header cannot carry`
    : undefined
}

const problemOf = (url: {
  readonly href: Redacted.Redacted
  readonly headers: Readonly<Record<string, Redacted.Redacted>>
}): string | undefined => {
  const href = Redacted.value(url.href)
  const headers = Object.entries(url.headers)
  return (
    problemOfUrl(href) ??
    (headers.length > 0 && new URL(href).protocol === "file:" ? "a file URL takes no headers" : undefined) ??
    headers
      .map(([name, value]) => problemOfHeader(name, Redacted.value(value)))
      .find((problem) => problem !== undefined)
  )
}

/**
 * One place to fetch an asset from. The URL and the header values are `Redacted`: printing, inspecting or
 * JSON-encoding an `AssetUrl` shows {@link AssetUrl.display} at most.
 *
 * @since 0.1.0
 * @category models
 */
export class AssetUrl extends Schema.Class<AssetUrl>("smolvm-images/AssetUrl")(
  Schema.Struct({
    /** The whole URL: `http:`, `https:` or `file:`; it may carry user info and a query. */
    href: Schema.RedactedFromSelf(Schema.String).annotations({
      arbitrary: () => (fc) => fc.webUrl().map((url) => Redacted.make(url))
    }),
    /** Headers sent to this URL's origin only, never to where it redirects. */
    headers: Schema.Record({ key: Schema.String, value: Schema.RedactedFromSelf(Schema.String) }).annotations({
      arbitrary: () => (fc) => fc.constant({})
    })
  }).pipe(Schema.filter((url) => problemOf(url)))
) {
  /** The URL without user info, query and fragment: fit for messages and logs. */
  get display(): string {
    return displayUrl(Redacted.value(this.href))
  }

  /** The host name, with its port if that is not the usual one; empty for a `file:` URL. */
  get host(): string {
    return new URL(Redacted.value(this.href)).host
  }

  /** `"http:"`, `"https:"` or `"file:"`. */
  get protocol(): string {
    return new URL(Redacted.value(this.href)).protocol
  }

  toJSON(): unknown {
    return { url: this.display, headers: Object.keys(this.headers) }
  }
}

const SecretText = Schema.Union(Schema.String, Schema.RedactedFromSelf(Schema.String)).annotations({
  message: () => ({ message: "must be a string or a Redacted string", override: true })
})

const secret = (text: typeof SecretText.Type): Redacted.Redacted =>
  Redacted.make((typeof text === "string" ? text : Redacted.value(text)).trim())

const UrlWithHeaders = Schema.Struct({
  url: SecretText,
  headers: Schema.optionalWith(Schema.Record({ key: Schema.String, value: SecretText }), { exact: true })
})

const shape = {
  message: () => ({
    message: "must be an http(s) or file URL, an object { url, headers? }, or a non-empty list of these",
    override: true
  })
}

const Item = Schema.Union(SecretText, UrlWithHeaders).annotations(shape)

const FromItem = Schema.transform(Item, AssetUrl, {
  strict: true,
  decode: (item) => {
    const { url, headers = {} } = typeof item === "string" || Redacted.isRedacted(item) ? { url: item } : item
    return { href: secret(url), headers: Record.map(headers, secret) }
  },
  encode: ({ href, headers }) => (Object.keys(headers).length === 0 ? href : { url: href, headers })
})

const Many = Schema.NonEmptyArray(FromItem)

type EncodedItem = typeof Item.Encoded
type EncodedMany = typeof Many.Encoded

const isMany = (urls: EncodedItem | EncodedMany): urls is EncodedMany => Array.isArray(urls)

/**
 * The `url` field of an asset: one item or a non-empty list (the first is the origin, the others are mirrors), decoded to
 * a non-empty list. An item is a URL string or `{ url, headers? }`; strings may be given as `Redacted`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AssetUrls = Schema.transformOrFail(
  Schema.Union(Item, Schema.NonEmptyArray(Item)).annotations(shape),
  Schema.typeSchema(Many),
  {
    strict: true,
    // Not by way of a list of one: a problem with a single URL is at `url`, not at `url[0]`.
    decode: (urls, options) =>
      isMany(urls)
        ? ParseResult.decode(Many)(urls, options)
        : ParseResult.map(ParseResult.decode(FromItem)(urls, options), (url) => [url] as const),
    encode: (urls, options) =>
      ParseResult.map(ParseResult.encode(Many)(urls, options), (items) => (items.length === 1 ? items[0] : items))
  }
)

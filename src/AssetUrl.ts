/**
 * Where an asset's bytes come from: a URL and the headers to send to it, both held as secrets.
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { displayUrl } from "./internal/redact.js"

const SecretText = Schema.Union(Schema.Redacted(Schema.String), Schema.RedactedFromSelf(Schema.String)).annotations({
  message: () => ({ message: "expected a string or a Redacted string", override: true })
})

/**
 * One place to fetch an asset from. The URL and the header values are `Redacted`: printing, inspecting or
 * JSON-encoding an `AssetUrl` shows {@link AssetUrl.display} at most.
 *
 * @since 0.1.0
 * @category models
 */
export class AssetUrl extends Schema.Class<AssetUrl>("smolvm-images/AssetUrl")({
  /** The whole URL: `http:`, `https:` or `file:`; it may carry user info and a query. */
  href: Schema.RedactedFromSelf(Schema.String),
  /** Headers sent to this URL's origin only, never to where it redirects. */
  headers: Schema.Record({ key: Schema.String, value: Schema.RedactedFromSelf(Schema.String) })
}) {
  /** The URL without user info, query and fragment: fit for messages and logs. */
  get display(): string {
    return displayUrl(Redacted.value(this.href))
  }

  /** `"http:"`, `"https:"` or `"file:"`. */
  get protocol(): string {
    return new URL(Redacted.value(this.href)).protocol
  }

  toJSON(): unknown {
    return { url: this.display, headers: Object.keys(this.headers) }
  }
}

const UrlWithHeaders = Schema.Struct({
  url: SecretText,
  headers: Schema.optionalWith(Schema.Record({ key: Schema.String, value: SecretText }), { exact: true })
})

const shape = "must be an http(s) or file URL, an object { url, headers? }, or a non-empty list of these"

const Item = Schema.Union(SecretText, UrlWithHeaders).annotations({
  message: () => ({ message: shape, override: true })
})

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
  return protocol === "http:" || protocol === "https:" ? undefined : `must be an http(s) or file URL, not ${protocol}`
}

const problemOfHeader = (name: string, value: string): string | undefined => {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return `${JSON.stringify(name)} is not a header name`
  if (reservedHeaders.has(name.toLowerCase())) return `the header ${name.toLowerCase()} is set by the transfer itself`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\u0000-\u0008\u000a-\u001f\u007f]|[^\u0000-\u00ff]/.test(value)
    ? `the value of header ${name} has characters that a header cannot carry`
    : undefined
}

const FromItem = Schema.transformOrFail(Item, Schema.typeSchema(AssetUrl), {
  strict: true,
  decode: (item, _, ast) => {
    const { url, headers = {} } = Redacted.isRedacted(item) ? { url: item } : item
    const href = Redacted.value(url)
    const problem =
      problemOfUrl(href) ??
      (Object.keys(headers).length > 0 && new URL(href).protocol === "file:"
        ? "a file URL takes no headers"
        : undefined) ??
      Object.entries(headers)
        .map(([name, value]) => problemOfHeader(name, Redacted.value(value)))
        .find((found) => found !== undefined)
    return problem === undefined
      ? ParseResult.succeed(new AssetUrl({ href: Redacted.make(href.trim()), headers }))
      : ParseResult.fail(new ParseResult.Type(ast, undefined, problem))
  },
  encode: (assetUrl) =>
    ParseResult.succeed(
      Object.keys(assetUrl.headers).length === 0 ? assetUrl.href : { url: assetUrl.href, headers: assetUrl.headers }
    )
})

const Many = Schema.NonEmptyArray(FromItem)

/**
 * The `url` field of an asset: one item or a non-empty list (the first is the origin, the others are mirrors), decoded to
 * a non-empty list. An item is a URL string or `{ url, headers? }`; strings may be given as `Redacted`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AssetUrls = Schema.transform(
  Schema.Union(Schema.encodedSchema(FromItem), Schema.encodedSchema(Many)).annotations({
    message: () => ({ message: shape, override: true })
  }),
  Many,
  {
    strict: true,
    decode: (urls) => (isMany(urls) ? urls : ([urls] as const)),
    encode: (urls) => (urls.length === 1 ? urls[0] : urls)
  }
)

type EncodedItem = typeof FromItem.Encoded
type EncodedMany = typeof Many.Encoded

const isMany = (urls: EncodedItem | EncodedMany): urls is EncodedMany => Array.isArray(urls)

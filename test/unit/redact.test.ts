import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import {
  basicCredentials,
  codeOf,
  displayUrl,
  mask,
  redactText,
  sanitizeCause,
  secretsOf
} from "../../src/internal/redact.js"

const secretUrl = "https://us3r:p%40ss%20word@example.test:8443/path/file.bin?X-Amz-Signature=s1gn%2Fature&x=1#fr4gment"

describe("displayUrl", () => {
  it("keeps scheme, host, port and path, and nothing else", () => {
    assert.strictEqual(displayUrl(secretUrl), `https://example.test:8443/path/file.bin?${mask}`)
    assert.strictEqual(displayUrl("https://example.test/a#fr4gment"), "https://example.test/a")
    assert.strictEqual(displayUrl("file:///srv/images/a.bin"), "file:///srv/images/a.bin")
  })

  it("of what is no URL it shows nothing", () => {
    for (const text of ["", "hunter2", "//u:p@host", "/path?token=hunter2"]) assert.strictEqual(displayUrl(text), mask)
  })

  it("is its own display", () => {
    assert.strictEqual(displayUrl(displayUrl(secretUrl)), displayUrl(secretUrl))
  })
})

describe("secretsOf", () => {
  it("finds user, password, their Basic form, the query, each value, and header values in every spelling", () => {
    const secrets = secretsOf(secretUrl, { Authorization: Redacted.make("Bearer t0k3n") })
    const expected = [
      ...["us3r", "p%40ss%20word", "p@ss word", btoa("us3r:p@ss word")],
      ...["X-Amz-Signature=s1gn%2Fature&x=1", "s1gn/ature", "s1gn%2Fature", "Bearer t0k3n", "t0k3n", "Bearer"]
    ]
    for (const secret of expected) assert.include(secrets, secret)
  })

  it("leaves out what is too short to be looked for", () => {
    const secrets = secretsOf("https://u:pwd@example.test/?a=1&b=secret", { key: Redacted.make('t="abc" u:x') })
    for (const short of ["u", "pwd", "1", "abc", "t", "x"]) assert.notInclude(secrets, short)
  })

  it("a URL without secrets has none, and what is no URL has those of its headers", () => {
    assert.deepStrictEqual(secretsOf("https://example.test/a"), [])
    assert.deepStrictEqual(secretsOf("nonsense", { a: Redacted.make("value") }), ["value"])
  })

  it("takes a user info that is not well encoded as it is", () => {
    assert.include(secretsOf("https://user:100%25%zz@example.test/"), "100%25%zz")
  })
})

describe("redactText", () => {
  const secrets = secretsOf(secretUrl, { Authorization: Redacted.make("Bearer t0k3n") })

  it("masks every occurrence of every secret", () => {
    const echo = `GET ${secretUrl} Authorization: Bearer t0k3n, password 'p@ss word', t0k3n t0k3n`
    const shown = redactText(echo, secrets)
    for (const secret of secrets) assert.notInclude(shown, secret)
    assert.include(shown, "example.test")
  })

  it("reduces URLs it was not told of", () => {
    const shown = redactText('see "https://other:pw@cdn.test/x?sig=abc", or file:///a/b.', [])
    assert.strictEqual(shown, `see "https://cdn.test/x?${mask}", or file:///a/b.`)
  })

  it("a URL with a masked part is still a URL: the short user name before a masked password goes as well", () => {
    assert.strictEqual(
      redactText("at https://u:hunter2@h.test/?sig=hunter2", ["hunter2"]),
      `at https://h.test/?${mask}`
    )
    assert.strictEqual(redactText("at https://h.test/hunter2/x", ["hunter2"]), `at https://h.test/${mask}/x`)
  })

  it("a secret within another one left the rest of it behind when it came first", () => {
    for (const known of [
      ["t0k3n", "t0k3n.signature"],
      ["t0k3n.signature", "t0k3n"]
    ]) {
      assert.strictEqual(redactText("bad t0k3n.signature of t0k3n", known), `bad ${mask} of ${mask}`)
    }
  })

  it("a quoted credential, or one behind a colon, was shown when it was echoed alone", () => {
    for (const [header, echoed] of [
      ['Token token="S3CRET12"', "S3CRET12"],
      ["Token token='S3CRET12'", "S3CRET12"],
      ['Digest username="u", response="S3CRET12"', "S3CRET12"],
      ["ApiKey key:S3CRET12", "S3CRET12"],
      ["AWS AKID:S3CRET12/+a", "S3CRET12/+a"],
      ['Token token="ab:cd;ef"', "ab:cd;ef"]
    ] as const) {
      const shown = redactText(
        `rejected ${echoed}.`,
        secretsOf("https://h.test/", { authorization: Redacted.make(header) })
      )
      assert.strictEqual(shown, `rejected ${mask}.`, header)
    }
  })

  it("the scheme of a URL in a header or a query hid other URLs", () => {
    const known = secretsOf("https://h.test/?proto=https", { origin: Redacted.make("https://app.test:8443") })
    assert.strictEqual(redactText("see https://u:p@cdn.test/x?sig=abc", known), `see https://cdn.test/x?${mask}`)
  })

  it("leaves other text alone", () => {
    assert.strictEqual(redactText("nothing to hide: 100% (a/b)", secrets), "nothing to hide: 100% (a/b)")
  })

  it.prop(
    "whatever the user info and the query, none of it is left in an echo of the URL",
    [FastCheck.string({ unit: "grapheme-ascii", minLength: 4 }), FastCheck.string({ unit: "grapheme", minLength: 4 })],
    ([password, token]) => {
      const url = new URL("https://example.test/a")
      url.password = password
      url.searchParams.set("token", token)
      const shown = redactText(`[${url.href}] [${url.password}] [${url.search}]`, secretsOf(url.href))
      assert.notInclude(shown, url.password)
      assert.notInclude(shown, url.search.slice(1))
    }
  )
})

describe("basicCredentials", () => {
  it("decodes the URL's spelling and encodes UTF-8", () => {
    assert.strictEqual(
      basicCredentials("us%20er", "p%C3%A4ss"),
      `Basic ${Buffer.from("us er:päss").toString("base64")}`
    )
    assert.strictEqual(basicCredentials("", "token"), `Basic ${btoa(":token")}`)
  })
})

describe("sanitizeCause", () => {
  it("keeps name, code and redacted message down the chain, and nothing else", () => {
    const inner = Object.assign(new TypeError("reset by hunter2"), { code: "ECONNRESET", socket: { auth: "hunter2" } })
    const outer = Object.assign(new Error("failed https://u:hunter2@h.test/?hunter2", { cause: inner }), {
      request: "hunter2"
    })
    const safe = sanitizeCause(outer, ["hunter2"])
    assert.strictEqual(safe.message, `failed https://h.test/?${mask}`)
    const cause = safe.cause
    assert.isTrue(cause instanceof Error && cause.name === "TypeError" && Reflect.get(cause, "code") === "ECONNRESET")
    for (const shown of [inspect(safe, { depth: 10, showHidden: true }), String(safe.stack), JSON.stringify(safe)]) {
      assert.notInclude(shown, "hunter2")
    }
  })

  it("takes anything that was thrown", () => {
    for (const thrown of ["text", 5, null, undefined, {}, { message: 5 }, []]) {
      assert.instanceOf(sanitizeCause(thrown), Error)
    }
    assert.strictEqual(sanitizeCause("text hunter2", ["hunter2"]).message, `text ${mask}`)
  })

  it("ends on a chain without an end", () => {
    const loop: { message: string; cause?: unknown } = { message: "again" }
    loop.cause = loop
    assert.strictEqual(sanitizeCause(loop).message, "again")
  })
})

describe("codeOf", () => {
  it("finds the innermost code, through causes and aggregates", () => {
    const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED" })
    const cases: ReadonlyArray<readonly [unknown, string | undefined]> = [
      [refused, "ECONNREFUSED"],
      [new Error("outer", { cause: refused }), "ECONNREFUSED"],
      [Object.assign(new Error("outer", { cause: refused }), { code: "UND_ERR" }), "ECONNREFUSED"],
      [new AggregateError([refused, new Error("other")]), "ECONNREFUSED"],
      [Object.assign(new Error("outer", { cause: new Error("inner") }), { code: "EIO" }), "EIO"],
      [new Error("none"), undefined],
      [undefined, undefined],
      ["ENOENT", undefined]
    ]
    for (const [cause, code] of cases) assert.strictEqual(codeOf(cause), code)
  })
})

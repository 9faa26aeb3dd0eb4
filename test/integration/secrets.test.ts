/**
 * Secrets go to the server they are for, and nowhere else: everything that an application, a log or a tracer can get to
 * see of failing and of succeeding transfers is searched for them.
 */
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { AssetUrl, ImageManager, ImageSource } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { impatient, sha256, temporaryDirectory, writeFile } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as ForwardProxy from "../support/ForwardProxy.js"

const { Fault } = FaultServer

/** Each of these would be found in whatever it leaked into, in this spelling or the next. */
const secrets = {
  user: "sEcReTuSeR",
  password: "sEcReT pAsSwOrD",
  token: "sEcReT/tOkEn+1",
  header: "sEcReThEaDeR",
  cookie: "sEcReTcOoKiE",
  presigned: "sEcReTsIgNaTuRe",
  elsewhere: "sEcReTeLsEwHeRe",
  proxyUser: "sEcReTpRoXyUsEr",
  proxyPassword: "sEcReTpRoXyPaSs"
}

const spellings = Object.values(secrets).flatMap((secret) => [secret, encodeURIComponent(secret)])
const encoded = [
  btoa(`${secrets.user}:${secrets.password}`),
  btoa(`${secrets.proxyUser}:${secrets.proxyPassword}`),
  btoa(`me:${secrets.header}`)
]
const forbidden = [...spellings, ...encoded, "sEcReT"]

const search = (what: string, text: string) => {
  for (const secret of forbidden) {
    assert.isFalse(
      text.includes(secret),
      `${secret} in ${what}: ${text.slice(Math.max(0, text.indexOf(secret) - 200), text.indexOf(secret) + 100)}`
    )
  }
}

/** Everything an object can be made to say, its hidden fields and its chain of causes included. */
const views = (value: unknown): Record<string, string> => ({
  string: String(value),
  json: JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "",
  inspect: inspect(value, { depth: 20, showHidden: true, getters: true }),
  unknown: Inspectable.toStringUnknown(value),
  stack: value instanceof Error ? (value.stack ?? "") : ""
})

const searchAll = (what: string, value: unknown) => {
  for (const [view, text] of Object.entries(views(value))) search(`${what} (${view})`, text)
}

/** A tracer that keeps every span with its attributes and events. */
const recordingTracer = (spans: Array<Tracer.Span>) =>
  Tracer.make({
    context: (run) => run(),
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const events: Array<unknown> = []
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      const span: Tracer.Span & { readonly events: ReadonlyArray<unknown> } = {
        _tag: "Span",
        spanId: String(spans.length),
        traceId: "trace",
        name,
        parent,
        context,
        links,
        kind,
        sampled: true,
        attributes,
        events,
        get status() {
          return status
        },
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
        },
        attribute: (key, value) => void attributes.set(key, value),
        event: (event, time, more) => void events.push([event, time, more]),
        addLinks: () => {}
      }
      spans.push(span)
      return span
    }
  })

const rootfs = FaultServer.toBytes(FaultServer.pattern(300_000))
const kernel = Buffer.from("a kernel")

/** Run it with everything recorded, and search all of it. Gives how it ended. */
const watched = Effect.fnUntraced(function* (name: string, url: PlainUrl, pinned: boolean) {
  const cacheDir = yield* temporaryDirectory
  const local = join(yield* temporaryDirectory, "kernel")
  yield* writeFile(local, kernel)
  const logs: Array<string> = []
  const spans: Array<Tracer.Span> = []
  const logger = Logger.make<unknown, void>((options) => {
    logs.push(
      inspect(options, { depth: 20 }),
      Logger.logfmtLogger.log(options),
      inspect(Logger.structuredLogger.log(options), { depth: 20 })
    )
  })
  const images = {
    x: {
      kernel: { url: pathToFileURL(local).href, sha256: sha256(kernel) },
      rootfs: { url, ...(pinned ? { sha256: sha256(rootfs) } : {}) }
    }
  }
  const events: Array<unknown> = []
  const exit = yield* Effect.gen(function* () {
    const manager = yield* ImageManager.ImageManager
    yield* manager.events.pipe(
      Stream.runForEach((event) => Effect.sync(() => void events.push(event))),
      Effect.forkScoped
    )
    yield* Effect.yieldNow()
    return yield* manager.ensureImage("x")
  }).pipe(
    Effect.provide(NodeImageManager.layer({ ...impatient, stallWindow: "300 millis", cacheDir, registry: images })),
    Effect.withSpan("the application"),
    Effect.withTracer(recordingTracer(spans)),
    Effect.provide(Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All))),
    Effect.scoped,
    Effect.exit
  )
  if (Exit.isFailure(exit)) {
    search(`${name}: Cause.pretty`, Cause.pretty(exit.cause, { renderErrorCause: true }))
    searchAll(`${name}: the cause`, exit.cause)
    searchAll(`${name}: what runPromise throws`, Runtime.makeFiberFailure(exit.cause))
    let error: unknown = Option.getOrUndefined(Cause.failureOption(exit.cause))
    for (let depth = 0; error !== undefined && error !== null && depth < 10; depth++) {
      searchAll(`${name}: the error at depth ${depth}`, error)
      error = typeof error === "object" && "cause" in error ? error.cause : undefined
    }
  } else {
    searchAll(`${name}: the image`, exit.value)
  }
  assert.isNotEmpty(spans)
  search(`${name}: logs`, logs.join("\n"))
  searchAll(`${name}: events`, events)
  for (const span of spans) {
    searchAll(`${name}: span ${span.name}`, [span.name, [...span.attributes], span.status, Reflect.get(span, "events")])
  }
  return { exit, logs: logs.join("\n") }
})

type PlainUrl =
  | string
  | { readonly url: string; readonly headers: Readonly<Record<string, string | Redacted.Redacted>> }

const cases: Readonly<Record<string, ReadonlyArray<FaultServer.Fault>>> = {
  healthy: [],
  "an error that repeats the request": [Fault.EchoHeaders({ status: 403 })],
  "a passing error that repeats the request": [Fault.EchoHeaders({ status: 500 })],
  "no answer": [Fault.HangUp({ how: "reset" })],
  garbage: [Fault.Garbage({})],
  "a huge header": [Fault.HugeHeader({ bytes: 1024 * 1024 })],
  cut: [Fault.Cut({ after: 100_000, how: "fin", times: 1 }), Fault.Status({ status: 404, from: 1 })],
  stalled: [Fault.Stall({ after: 1 })],
  corrupt: [Fault.FlipByte({ offset: 5 })],
  "a page": [Fault.Page({ kind: "html" })],
  "a loop": [Fault.RedirectLoop({})],
  "a redirect that is refused": [
    Fault.Redirect({ to: `ftp://${secrets.user}:x@elsewhere.test/?Signature=${secrets.presigned}` })
  ],
  "a redirect that is none": [Fault.Redirect({ to: `http://[${secrets.presigned}` })],
  "an error that repeats what it was given": [
    Fault.Status({
      status: 401,
      body: `user ${secrets.user} password ${secrets.password} key ${secrets.header} cookie ${secrets.cookie} token ${secrets.token}`
    })
  ],
  "a page that repeats what it was given": [
    Fault.Status({
      status: 200,
      body: `<html>${secrets.user} ${secrets.header} ?sig=${encodeURIComponent(secrets.token)}`
    })
  ],
  "an encoding that repeats what it was given": [
    Fault.Status({ status: 200, headers: { "Content-Encoding": secrets.cookie }, body: "x" })
  ]
}

describe("secrets", () => {
  const withSecrets = (url: string): PlainUrl => ({
    url: `${url.replace("//", `//${secrets.user}:${encodeURIComponent(secrets.password)}@`)}?sig=${encodeURIComponent(secrets.token)}&x=1#${secrets.token}`,
    headers: {
      "X-Key": secrets.header,
      Cookie: Redacted.make(`session=${secrets.cookie}; lang=en`)
    }
  })

  for (const [name, faults] of Object.entries(cases)) {
    it.scopedLive(`in user info, query and headers: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const { exit } = yield* watched(name, withSecrets(server.serve("/r", rootfs, ...faults)), true)
        assert.strictEqual(exit._tag, name === "healthy" ? "Success" : "Failure")
        const [first] = server.requestsOf("/r")
        assert.deepInclude(first?.headers, {
          authorization: `Basic ${encoded[0]}`,
          "x-key": secrets.header,
          cookie: `session=${secrets.cookie}; lang=en`
        })
        assert.include(first?.target, encodeURIComponent(secrets.token))
        assert.notInclude(first?.target, "#")
      })
    )
  }

  it.scopedLive("in a Location: a presigned token, echoed by where it leads to", () =>
    Effect.gen(function* () {
      const [home, away] = yield* Effect.all([FaultServer.make, FaultServer.make])
      const to = `${away.serve("/there", rootfs, Fault.EchoHeaders({ status: 500 })).replace("//", `//${secrets.user}:${secrets.elsewhere}@`)}?Signature=${secrets.presigned}`
      const { exit, logs } = yield* watched("redirect", home.serve("/r", rootfs, Fault.Redirect({ to })), true)
      assert.isTrue(Exit.isFailure(exit))
      assert.include(away.requests[0]?.target, secrets.presigned)
      assert.match(logs, /the server answered 500/)
    })
  )

  it.scopedLive("in an Authorization header of one's own, echoed decoded", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const url = server.serve("/r", rootfs, Fault.Status({ status: 403, body: `no such login: me:${secrets.header}` }))
      const headers = { Authorization: `Basic ${btoa(`me:${secrets.header}`)}` }
      assert.isTrue(Exit.isFailure((yield* watched("basic", { url, headers }, true)).exit))
    })
  )

  it.scopedLive("of a server that cannot be reached or trusted", () =>
    Effect.gen(function* () {
      const tls = yield* FaultServer.makeTls
      for (const origin of [yield* FaultServer.refusingOrigin, tls.origin, "http://nowhere.invalid"]) {
        assert.isTrue(Exit.isFailure((yield* watched(origin, withSecrets(`${origin}/r`), true)).exit))
      }
    })
  )

  it.scopedLive("of an asset that is trusted on first use", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const { exit } = yield* watched("unpinned", withSecrets(server.serve("/r", rootfs)), false)
      assert.isTrue(Exit.isSuccess(exit))
    })
  )

  it.scopedLive("in the URL of a proxy", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make({ credentials: `${secrets.proxyUser}:${secrets.proxyPassword}` })
      const withUser = (origin: string, password: string) => origin.replace("//", `//${secrets.proxyUser}:${password}@`)
      const through = (value: string, url: PlainUrl) =>
        Effect.acquireUseRelease(
          Effect.sync(() => Object.assign(process.env, { http_proxy: value, https_proxy: value })),
          () => watched(value, url, true),
          () =>
            Effect.sync(() => {
              delete process.env["http_proxy"]
              delete process.env["https_proxy"]
            })
        )
      const right = withUser(proxy.origin, secrets.proxyPassword)
      const refusing = withUser(yield* FaultServer.refusingOrigin, secrets.proxyPassword)
      const echo = server.serve("/echo", rootfs, Fault.EchoHeaders({ status: 404 }))
      const ends = yield* Effect.all([
        through(right, withSecrets(server.serve("/r", rootfs))),
        through(right, withSecrets(echo)),
        through(withUser(proxy.origin, `${secrets.proxyPassword}-not`), withSecrets(echo)),
        through(withUser(proxy.origin, `${secrets.proxyPassword}-not`), withSecrets("https://localhost/r")),
        through(refusing, withSecrets(echo)),
        through(refusing, withSecrets("https://localhost/r"))
      ])
      assert.deepStrictEqual(
        ends.map(({ exit }) => exit._tag),
        ["Success", "Failure", "Failure", "Failure", "Failure", "Failure"]
      )
    })
  )

  it.scopedLive("in the bad input that a ValueError is about", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<PlainUrl> = [
        `http//${secrets.user}:${secrets.password}@x`,
        `gopher://${secrets.user}:${secrets.password}@x/?${secrets.token}`,
        { url: `http://x/?${secrets.token}`, headers: { [`Authorization: ${secrets.header}`]: "" } },
        { url: `http://x/?${secrets.token}`, headers: { "X-Key": `a\n${secrets.header}` } },
        { url: `file:///x?${secrets.token}`, headers: { "X-Key": secrets.header } }
      ]
      for (const url of bad) {
        const { exit } = yield* watched("bad input", url, true).pipe(
          Effect.exit,
          Effect.map((exit) => ({ exit: Exit.flatMap(exit, ({ exit }) => exit) }))
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", /Invalid registry/)
        searchAll("a ValueError", exit)
      }
    })
  )

  it("in an AssetUrl or an ImageSource that someone prints", () => {
    const href = `https://${secrets.user}:${secrets.password}@x.test/?${secrets.token}`
    const headers = { "X-Key": Redacted.make(secrets.header) }
    const url = new AssetUrl.AssetUrl({ href: Redacted.make(href), headers })
    searchAll("AssetUrl", url)
    const asset = new ImageSource.Asset({ url: [url] })
    searchAll("ImageSource", new ImageSource.ImageSource({ kernel: asset, rootfs: asset }))
  })
})

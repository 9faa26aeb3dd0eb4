/** Proxies and certificate authorities, by environment and by option. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { NodeHttpClient, type NodeImageManager } from "../../src/node/index.js"
import {
  ensure,
  expectFailure,
  expectImage,
  imageWith,
  sha256,
  temporaryDirectory,
  writeFile
} from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as ForwardProxy from "../support/ForwardProxy.js"
import * as RawServer from "../support/RawServer.js"

const { Fault } = FaultServer

const rootfs = FaultServer.toBytes(FaultServer.pattern(300_000))

const names = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"] as const

/** The environment's proxies for the rest of the test: these and no others. */
const environment = (variables: { readonly [Name in (typeof names)[number]]?: string }) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = names.map((name) => [name, process.env[name]] as const)
      for (const name of names) delete process.env[name]
      Object.assign(process.env, variables)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

const registryOf = (url: string) => imageWith({ url, sha256: sha256(rootfs) })

const fetch = Effect.fnUntraced(function* (url: string, options: NodeImageManager.Options = {}) {
  return yield* ensure({ ...options, cacheDir: yield* temporaryDirectory, registry: yield* registryOf(url) })
})

describe("proxies", () => {
  it.scopedLive("plain http goes to HTTP_PROXY in absolute form, not through a tunnel, resumed too", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make({ resolve: () => ({ host: "127.0.0.1", port: server.port }) })
      yield* environment({ HTTP_PROXY: proxy.origin })
      server.serve("/r", rootfs, Fault.Cut({ after: 200_000, how: "fin", times: 1 }))
      expectImage(yield* fetch("http://images.test/r?x=1"))
      assert.deepStrictEqual(
        proxy.requests.map(({ method, target }) => [method, target]),
        [
          ["GET", "http://images.test/r?x=1"],
          ["GET", "http://images.test/r?x=1"]
        ]
      )
      assert.match(proxy.requests[1]?.headers["range"] ?? "", /^bytes=/)
      assert.strictEqual(server.requests.length, 2)
      assert.strictEqual(server.requests[0]?.headers["host"], "images.test")
    })
  )

  it.scopedLive("https goes through a tunnel of HTTPS_PROXY, with an authority of its own", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.makeTls
      const proxy = yield* ForwardProxy.make({ resolve: () => ({ host: "127.0.0.1", port: server.port }) })
      yield* environment({ https_proxy: proxy.origin.replace("http://", "") })
      server.serve("/r", rootfs)
      const options = { extraCaCertificates: [server.caPem] }
      expectImage(yield* fetch("https://localhost/r", options))
      assert.deepStrictEqual(
        proxy.requests.map(({ method, target }) => [method, target]),
        [["CONNECT", "localhost:443"]]
      )
    })
  )

  it.scopedLive("HTTP_PROXY is not for https, nor HTTPS_PROXY for http", () =>
    Effect.gen(function* () {
      const tls = yield* FaultServer.makeTls
      const plain = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make()
      yield* environment({ HTTP_PROXY: proxy.origin })
      expectImage(yield* fetch(tls.serve("/r", rootfs), { extraCaCertificates: [tls.caPem] }))
      yield* environment({ HTTPS_PROXY: proxy.origin })
      expectImage(yield* fetch(plain.serve("/r", rootfs)))
      assert.deepStrictEqual(proxy.requests, [])
    })
  )

  it.scopedLive("NO_PROXY names what is reached directly", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make()
      const url = server.serve("/r", rootfs)
      yield* environment({ HTTP_PROXY: proxy.origin, NO_PROXY: "example.test,127.0.0.1" })
      expectImage(yield* fetch(url))
      assert.strictEqual(proxy.requests.length, 0)
      yield* environment({ HTTP_PROXY: proxy.origin, NO_PROXY: "example.test" })
      expectImage(yield* fetch(url))
      assert.strictEqual(proxy.requests.length, 1)
    })
  )

  it.scopedLive("credentials in the proxy's URL go to the proxy, and to nobody else", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make({ credentials: "me:p@ss" })
      const url = server.serve("/r", rootfs)
      yield* environment({ HTTP_PROXY: proxy.origin.replace("//", "//me:p%40ss@") })
      expectImage(yield* fetch(url))
      assert.notProperty(server.requests[0]?.headers, "proxy-authorization")
      yield* environment({ HTTP_PROXY: proxy.origin })
      const error = expectFailure(yield* fetch(url))
      assert.strictEqual(error.reason, "DownloadFailed")
      assert.match(error.message, /407/)
    })
  )

  it.scopedLive("a proxy that is not there, and one that has no tunnel for us", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const refusing = yield* FaultServer.refusingOrigin
      yield* environment({ HTTP_PROXY: refusing, HTTPS_PROXY: refusing })
      assert.match(expectFailure(yield* fetch(server.serve("/r", rootfs))).detail ?? "", /^no answer: ECONNREFUSED/)
      assert.match(expectFailure(yield* fetch("https://localhost/r")).detail ?? "", /^no answer: ECONNREFUSED/)
      const proxy = yield* ForwardProxy.make({ credentials: "me:pass" })
      yield* environment({ HTTPS_PROXY: proxy.origin })
      assert.match(expectFailure(yield* fetch("https://localhost/r")).detail ?? "", /407/)
    })
  )

  it.scopedLive("a user name alone is sent as well", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make({ credentials: "token:" })
      yield* environment({ HTTP_PROXY: proxy.origin.replace("//", "//token@") })
      expectImage(yield* fetch(server.serve("/r", rootfs)))
    })
  )

  it.scopedLive("a path or a query of the proxy's URL means nothing", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make()
      yield* environment({ HTTP_PROXY: `${proxy.origin}/path?x=1#f` })
      expectImage(yield* fetch(server.serve("/r", rootfs)))
      assert.strictEqual(proxy.requests.length, 1)
    })
  )

  it.scopedLive("socks5 as well", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const tls = yield* FaultServer.makeTls
      const socks = yield* RawServer.make(RawServer.socks5)
      yield* environment({
        HTTP_PROXY: `socks5://127.0.0.1:${socks.port}`,
        HTTPS_PROXY: `socks5://127.0.0.1:${socks.port}`
      })
      expectImage(yield* fetch(server.serve("/r", rootfs)))
      expectImage(yield* fetch(tls.serve("/r", rootfs), { extraCaCertificates: [tls.caPem] }))
      assert.isAtLeast(socks.connections(), 2)
    })
  )

  it.scopedLive("the headers of one request are not those of the next, nor of anybody else", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const proxy = yield* ForwardProxy.make({ resolve: () => ({ host: "127.0.0.1", port: server.port }) })
      yield* environment({ HTTP_PROXY: proxy.origin })
      server.serve("/r", rootfs)
      yield* Effect.gen(function* () {
        // With it on, the headers are copied before they come to the client.
        const client = HttpClient.withTracerPropagation(yield* HttpClient.HttpClient, false)
        for (const host of ["first.test", "second.test"]) {
          yield* Effect.flatMap(client.get(`http://${host}/r`), ({ arrayBuffer }) => arrayBuffer)
        }
      }).pipe(Effect.provide(NodeHttpClient.layer()))
      assert.deepStrictEqual(
        proxy.requests.map(({ headers }) => headers["host"]),
        ["first.test", "second.test"]
      )
      assert.deepStrictEqual({ ...Headers.empty }, {})
    })
  )

  const secureUrl = "https://localhost:1/r"

  it.scopedLive("one that closes the connection in place of an answer is not asked again without end", () =>
    Effect.gen(function* () {
      const proxy = yield* RawServer.make((socket) => socket.once("data", () => socket.destroy()))
      yield* environment({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
      const result = yield* Effect.either(HttpClient.get(secureUrl).pipe(Effect.provide(NodeHttpClient.layer())))
      assert.strictEqual(result._tag, "Left")
      assert.isAtMost(proxy.connections(), 2)
    })
  )

  it.scopedLive("one that does not answer is given up after the time to connect", () =>
    Effect.gen(function* () {
      const proxy = yield* RawServer.make(() => {})
      yield* environment({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })
      const result = yield* HttpClient.get(secureUrl).pipe(
        Effect.provide(NodeHttpClient.layer({ connectTimeout: "300 millis" })),
        Effect.either,
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(result._tag, "Left")
    })
  )

  it.scopedLive("the refusal of one, be it without end, is let go of", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const proxy = yield* RawServer.make((socket) => {
        socket.once("data", () => socket.write(`HTTP/1.1 407 No\r\ncontent-length: 9999999\r\n\r\n${"x".repeat(1000)}`))
        socket.once("close", () => Deferred.unsafeDone(closed, Effect.void))
      })
      yield* environment({ HTTP_PROXY: `http://127.0.0.1:${proxy.port}` })
      const result = yield* Effect.either(
        HttpClient.get("http://images.test/r").pipe(Effect.provide(NodeHttpClient.layer()))
      )
      assert.strictEqual(result._tag, "Left")
      yield* Effect.timeout(Deferred.await(closed), "10 seconds")
    })
  )

  it.scopedLive("a variable that is no proxy is a ValueError without its secrets", () =>
    Effect.gen(function* () {
      for (const value of ["ftp://me:hunter2@proxy", "http://me:hunter2@[", "http://me:%zz@proxy.test"]) {
        yield* environment({ HTTP_PROXY: value })
        const defect = yield* Effect.flip(Effect.sandbox(fetch("http://127.0.0.1:1/r")))
        // `ensure` dies of a ValueError.
        assert.match(String(defect), /Invalid HTTP_PROXY: is not the URL of/)
        assert.notMatch(String(defect), /hunter2|%zz/)
      }
    })
  )
})

describe("certificate authorities", () => {
  const child = promisify(execFile)
  const script = fileURLToPath(new URL("../support/ensureChild.ts", import.meta.url))

  const inChild = Effect.fnUntraced(function* (options: object, variables: Readonly<Record<string, string>>) {
    const cacheDir = yield* temporaryDirectory
    return yield* Effect.promise(() =>
      child(process.execPath, ["--import", "tsx", script, JSON.stringify({ ...options, cacheDir })], {
        env: { ...process.env, ...variables }
      })
    ).pipe(Effect.map(({ stdout }) => stdout))
  })

  it.scopedLive("of NODE_EXTRA_CA_CERTS, also beside those of the option", () =>
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([FaultServer.makeTls, FaultServer.makeTls], { concurrency: 2 })
      const file = join(yield* temporaryDirectory, "ca.pem")
      yield* writeFile(file, Buffer.from(one.caPem))
      const registry = yield* registryOf(one.serve("/r", rootfs))
      const variables = { NODE_EXTRA_CA_CERTS: file }
      const outcomes = yield* Effect.all(
        [
          inChild({ registry }, {}),
          inChild({ registry }, variables),
          inChild({ registry, extraCaCertificates: [other.caPem] }, variables)
        ],
        { concurrency: 2 }
      )
      assert.match(outcomes[0], /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/)
      assert.deepStrictEqual(outcomes.slice(1), ["success", "success"])
    })
  )

  it.scopedLive("that are none are a ValueError", () =>
    Effect.gen(function* () {
      const defect = yield* Effect.flip(
        Effect.sandbox(fetch("http://127.0.0.1:1/r", { extraCaCertificates: ["-----BEGIN nothing"] }))
      )
      assert.match(String(defect), /Invalid extraCaCertificates: \[0\]: is not a PEM certificate/)
    })
  )
})

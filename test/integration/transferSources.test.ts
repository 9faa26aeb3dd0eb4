/** Where the bytes come from: mirrors, redirects, local files, and nowhere when offline. */
import { execFileSync } from "node:child_process"
import { createServer } from "node:net"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { Host, ImageManager, Registry } from "../../src/index.js"
import { NodeHasher, NodeHost, NodeHttpClient, type NodeImageManager } from "../../src/node/index.js"
import {
  ensure,
  expectFailure,
  expectImage,
  imageWith,
  impatient,
  quietly,
  readFile,
  sha256,
  stagingOf,
  temporaryDirectory,
  writeFile
} from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer

const size = 1_000_000
const rootfs = FaultServer.toBytes(FaultServer.pattern(size))
const kernel = Buffer.from("a kernel")

type PlainUrl =
  | string
  | { readonly url: string; readonly headers: Readonly<Record<string, string | Redacted.Redacted>> }

interface PlainAsset {
  readonly url: PlainUrl | readonly [PlainUrl, ...ReadonlyArray<PlainUrl>]
  readonly sha256?: string
  readonly size?: number
}

/** Ensure an image with this rootfs, in a cache of its own. */
const fetch = Effect.fnUntraced(function* (asset: PlainAsset, options: NodeImageManager.Options = {}) {
  return yield* ensure({ ...options, cacheDir: yield* temporaryDirectory, registry: yield* imageWith(asset) })
})

const arrives = Effect.fnUntraced(function* (...given: Parameters<typeof fetch>) {
  const image = expectImage(yield* fetch(...given))
  assert.strictEqual(sha256(yield* readFile(image.rootfsPath)), sha256(rootfs))
})

const pinned = { sha256: sha256(rootfs) }

describe("mirrors", () => {
  const servers = Effect.all([FaultServer.make, FaultServer.make, FaultServer.make])

  it.scopedLive("the next one goes on with the bytes of the one that failed", () =>
    Effect.gen(function* () {
      const [a, b] = yield* servers
      const url = [a.serve("/r", rootfs, Fault.Cut({ after: size / 2, how: "fin" })), b.serve("/r", rootfs)] as const
      yield* arrives({ ...pinned, url })
      assert.strictEqual(a.requests.length, 1)
      assert.strictEqual(b.requests.length, 1)
      assert.match(b.requests[0]?.headers["range"] ?? "", /^bytes=[1-9]\d*-$/)
      assert.notProperty(b.requests[0]?.headers, "if-range", "a validator of another server means nothing here")
      assert.isBelow(a.bytesSent() + b.bytesSent(), size * 1.3)
    })
  )

  it.scopedLive("the next one is tried after a failure, a stall, a mismatch and what is not an image", () =>
    Effect.gen(function* () {
      const [a, b] = yield* servers
      const good = b.serve("/good", rootfs)
      const faults = {
        gone: Fault.Status({ status: 404 }),
        stalled: Fault.Stall({ after: size / 2 }),
        wrong: Fault.FlipByte({ offset: 3 }),
        page: Fault.Page({ kind: "html" }),
        loop: Fault.RedirectLoop({})
      }
      for (const [name, fault] of Object.entries(faults)) {
        yield* arrives({ ...pinned, url: [a.serve(`/${name}`, rootfs, fault), good] }, { stallWindow: "200 millis" })
      }
      yield* arrives({ ...pinned, url: [yield* FaultServer.refusingOrigin, good] })
    })
  )

  it.scopedLive("two halves that do not fit are fetched once whole, from one source", () =>
    Effect.gen(function* () {
      const [a, b] = yield* servers
      const url = [
        a.serve(
          "/r",
          rootfs,
          Fault.Cut({ after: size / 2, how: "fin", times: 1 }),
          Fault.FlipByte({ offset: 9, times: 1 })
        ),
        b.serve("/r", rootfs)
      ] as const
      yield* arrives({ ...pinned, url })
      assert.strictEqual(a.requests.length + b.requests.length, 3)
      assert.notProperty([...a.requests, ...b.requests].sort((x, y) => x.at - y.at)[2]?.headers, "range")
    })
  )

  it.scopedLive("the error lists what each one said, the mismatch first", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* servers
      const url = [
        a.serve("/r", rootfs, Fault.Status({ status: 404 })),
        b.serve("/r", rootfs, Fault.FlipByte({ offset: 9 })),
        c.serve("/r", rootfs, Fault.Page({ kind: "html" }))
      ] as const
      const error = expectFailure(yield* fetch({ ...pinned, url }))
      assert.strictEqual(error.reason, "ChecksumMismatch")
      assert.strictEqual(error.url, url[1])
      assert.strictEqual(error.attempts, 3)
      assert.deepStrictEqual(
        error.failures?.map(({ url, reason }) => [url, reason]),
        [
          [url[0], "DownloadFailed"],
          [url[1], "ChecksumMismatch"],
          [url[2], "UnexpectedContent"]
        ]
      )
      for (const said of [/404/, /it has the SHA-256/, /an HTML page/]) assert.match(error.message, said)
    })
  )

  it.scopedLive("unpinned bytes of two sources are never mixed, and a source that moves is not left", () =>
    Effect.gen(function* () {
      const [a, b] = yield* servers
      const other = rootfs.map((byte) => byte ^ 0xff)
      const url = [a.serve("/r", rootfs, Fault.Cut({ after: 400_000, how: "fin" })), b.serve("/r", other)] as const
      const image = expectImage(yield* fetch({ url }))
      assert.strictEqual(sha256(yield* readFile(image.rootfsPath)), sha256(rootfs))
      assert.strictEqual(b.requests.length, 0)
    })
  )

  it.scopedLive("headers and user info go to the URL they belong to", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* servers
      const url = [
        { url: a.serve("/r", rootfs, Fault.Status({ status: 404 })), headers: { "X-Key": Redacted.make("key of a") } },
        b.serve("/r", rootfs, Fault.Status({ status: 404 })).replace("//", "//user:p%40ss@"),
        c.serve("/r", rootfs)
      ] as const
      yield* arrives({ ...pinned, url })
      assert.strictEqual(a.requests[0]?.headers["x-key"], "key of a")
      assert.notProperty(a.requests[0]?.headers, "authorization")
      assert.strictEqual(b.requests[0]?.headers["authorization"], `Basic ${btoa("user:p@ss")}`)
      assert.notProperty(b.requests[0]?.headers, "x-key")
      assert.notProperty(c.requests[0]?.headers, "x-key")
      assert.notProperty(c.requests[0]?.headers, "authorization")
    })
  )
})

describe("redirects", () => {
  it.scopedLive("credentials stay with their origin, there and back", () =>
    Effect.gen(function* () {
      const [home, away] = yield* Effect.all([FaultServer.make, FaultServer.make])
      const back = home.serve("/back", rootfs)
      const there = away.serve("/there", rootfs, Fault.Redirect({ to: back }))
      home.serve("/second", rootfs, Fault.Redirect({ to: there, status: 307 }))
      const first = home.serve("/first", rootfs, Fault.Redirect({ to: "second" }))
      yield* arrives({
        ...pinned,
        url: { url: first.replace("//", "//me:secret@"), headers: { "X-Key": "key", Cookie: "a=b" } }
      })
      for (const { headers } of home.requests) {
        assert.deepInclude(headers, { authorization: `Basic ${btoa("me:secret")}`, "x-key": "key", cookie: "a=b" })
      }
      assert.strictEqual(home.requests.length, 3)
      assert.strictEqual(away.requests.length, 1)
      for (const name of ["authorization", "x-key", "cookie"]) assert.notProperty(away.requests[0]?.headers, name)
    })
  )

  it.scopedLive("an Authorization header beside user info was sent by some requests only", () =>
    Effect.gen(function* () {
      const home = yield* FaultServer.make
      const absolute = home.serve("/absolute", rootfs, Fault.Redirect({ to: home.serve("/end", rootfs) }))
      home.serve("/named", rootfs, Fault.Redirect({ to: absolute.replace("//", "//you:word@") }))
      const first = home.serve("/first", rootfs, Fault.Redirect({ to: "named" }))
      yield* arrives({
        ...pinned,
        url: { url: first.replace("//", "//me:secret@"), headers: { Authorization: "Bearer token" } }
      })
      assert.deepStrictEqual(
        home.requests.map(({ headers, path }) => [path, headers["authorization"]]),
        ["/first", "/named", "/absolute", "/end"].map((path) => [path, "Bearer token"])
      )
    })
  )

  it.scopedLive("user info in a Location is for the host it names", () =>
    Effect.gen(function* () {
      const [home, away] = yield* Effect.all([FaultServer.make, FaultServer.make])
      const there = away.serve("/there", rootfs).replace("//", "//you:word@")
      yield* arrives({ ...pinned, url: home.serve("/r", rootfs, Fault.Redirect({ to: there })) })
      assert.strictEqual(away.requests[0]?.headers["authorization"], `Basic ${btoa("you:word")}`)
      assert.notInclude(away.requests[0]?.target ?? "", "you")
    })
  )

  it.scopedLive("https never leads to http; a Range goes along with a redirect", () =>
    Effect.gen(function* () {
      const plain = yield* FaultServer.make
      const tls = yield* FaultServer.makeTls
      const options = { extraCaCertificates: [tls.caPem] }
      const down = tls.serve("/down", rootfs, Fault.Redirect({ to: plain.serve("/r", rootfs) }))
      const error = expectFailure(yield* fetch({ ...pinned, url: down }, options))
      assert.strictEqual(error.reason, "DownloadFailed")
      assert.match(error.detail ?? "", /redirects from https to http .*, which is refused$/)
      assert.strictEqual(plain.requests.length, 0)

      const up = plain.serve(
        "/up",
        rootfs,
        Fault.Redirect({ to: tls.serve("/r", rootfs, Fault.Cut({ after: size / 2, how: "fin" })) })
      )
      yield* arrives({ ...pinned, url: up }, options)
      assert.match(tls.requestsOf("/r")[1]?.headers["range"] ?? "", /^bytes=/)
    })
  )

  it.scopedLive("an authority nobody knows fails at once", () =>
    Effect.gen(function* () {
      const tls = yield* FaultServer.makeTls
      const error = expectFailure(yield* fetch({ ...pinned, url: tls.serve("/r", rootfs) }))
      assert.strictEqual(error.attempts, 1)
      assert.match(error.detail ?? "", /^no answer: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)/)
    })
  )
})

describe("time to connect", () => {
  it.scopedLive("a TLS handshake that never comes", () =>
    Effect.gen(function* () {
      const port = yield* Effect.acquireRelease(
        Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
          const server = createServer((socket) => socket.on("error", () => socket.destroy()))
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" ? (address?.port ?? 0) : 0
            resume(Effect.succeed({ port, close: () => server.close() }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const error = expectFailure(
        yield* fetch(
          { ...pinned, url: `https://127.0.0.1:${port.port}/r` },
          { connectTimeout: "300 millis", retry: Schedule.recurs(1) }
        )
      )
      assert.strictEqual(error.attempts, 2)
      assert.match(error.detail ?? "", /^no answer: UND_ERR_CONNECT_TIMEOUT/)
    })
  )
})

describe("file: URLs", () => {
  const fileOf = Effect.fnUntraced(function* (content: Uint8Array, name = "a file ü%.img") {
    const path = join(yield* temporaryDirectory, name)
    yield* writeFile(path, content)
    return { path, url: pathToFileURL(path).href }
  })

  const fails = Effect.fnUntraced(function* (...given: Parameters<typeof fetch>) {
    return expectFailure(yield* fetch(...given))
  })

  it.scopedLive("are copied, verified, and read in offline mode too", () =>
    Effect.gen(function* () {
      const { path, url } = yield* fileOf(rootfs)
      yield* arrives({ ...pinned, url, size }, { offline: true })
      assert.strictEqual(sha256(yield* readFile(path)), sha256(rootfs), "the source stays")
    })
  )

  it.scopedLive("that cannot be had fail with a reason", () =>
    Effect.gen(function* () {
      const { path, url } = yield* fileOf(rootfs)
      const missing = yield* fails({ ...pinned, url: `${url}.not` })
      assert.strictEqual(missing.reason, "DownloadFailed")
      assert.strictEqual(missing.attempts, 1)
      assert.match(missing.message, /from file:\/\/.*\(1 attempt\): there is no such file \(ENOENT\)/)
      assert.strictEqual(Reflect.get(Object(missing.cause), "name"), "SystemError")

      const directory = yield* fails({ ...pinned, url: pathToFileURL(join(path, "..")).href })
      assert.match(directory.detail ?? "", /^it is a Directory, not a file$/)

      const pipe = join(path, "..", "pipe")
      execFileSync("mkfifo", [pipe])
      const fifo = yield* fails({ ...pinned, url: pathToFileURL(pipe).href })
      assert.match(fifo.detail ?? "", /^it is a FIFO, not a file$/)

      const mismatch = yield* fails({ ...pinned, url: (yield* fileOf(kernel)).url })
      assert.strictEqual(mismatch.reason, "ChecksumMismatch")
      assert.strictEqual(mismatch.bytesReceived, kernel.length)

      const long = yield* fails({ ...pinned, url, size: size - 1 })
      assert.strictEqual(long.reason, "UnexpectedContent")
      assert.strictEqual(long.actual, String(size))
      assert.strictEqual((yield* fails({ url }, { maxSize: size - 1 })).reason, "UnexpectedContent")

      const pointer = yield* fileOf(Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
      const lfs = yield* fails({ url: pointer.url })
      assert.strictEqual(lfs.reason, "UnexpectedContent")
      assert.match(lfs.detail ?? "", /^a Git LFS pointer came instead/)
      assert.strictEqual((yield* fails({ url: (yield* fileOf(new Uint8Array(0))).url })).detail, "it is empty")
    })
  )

  it.scopedLive("without permission", (context) =>
    Effect.gen(function* () {
      if (process.getuid?.() === 0) return context.skip("root may read everything")
      const { path, url } = yield* fileOf(rootfs)
      yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.chmod(path, 0o000)).pipe(
        Effect.provide(NodeFileSystem.layer)
      )
      assert.match((yield* fails({ ...pinned, url })).detail ?? "", /^there is no permission to read it \(EACCES\)$/)
    })
  )

  it.scopedLive("and mirrors go together", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const { url } = yield* fileOf(rootfs)
      yield* arrives({ ...pinned, url: [`${url}.not`, server.serve("/r", rootfs)] })
      yield* arrives({
        ...pinned,
        url: [server.serve("/cut", rootfs, Fault.Cut({ after: size / 2, how: "fin" })), url]
      })
    })
  )

  it.scopedLive("share their blocks where the disk can do that, and what was cloned is verified", () =>
    Effect.gen(function* () {
      const cacheDir = yield* temporaryDirectory
      const { path, url } = yield* fileOf(rootfs)
      const fs = yield* Effect.provide(FileSystem.FileSystem, NodeFileSystem.layer)
      yield* fs.chmod(path, 0o400)
      const clones: Array<string> = []
      const run = (sha: string) =>
        ImageManager.ensureImage("x").pipe(
          Effect.provide(
            ImageManager.layer({ ...impatient, cacheDir }).pipe(
              Layer.provide([
                Registry.layer({
                  x: {
                    kernel: { url: url.replace("file:", "file:"), filename: "kernel" },
                    rootfs: { url, sha256: sha }
                  }
                }),
                NodeHasher.layer,
                Layer.effect(
                  Host.Host,
                  Effect.map(Host.Host, (host) => ({
                    ...host,
                    clone: (from: string, to: string) => {
                      clones.push(from)
                      return Effect.isSuccess(fs.copyFile(from, to))
                    }
                  }))
                ).pipe(Layer.provide(NodeHost.layer)),
                NodeFileSystem.layer,
                NodePath.layer,
                NodeHttpClient.layer()
              ])
            )
          ),
          Effect.either,
          quietly
        )
      const wrong = yield* run(sha256(kernel))
      assert.isTrue(
        Either.isLeft(wrong) && wrong.left._tag === "ImageError" && wrong.left.reason === "ChecksumMismatch"
      )
      assert.deepStrictEqual(yield* stagingOf(cacheDir), [])
      const image = yield* Effect.flatten(run(sha256(rootfs)))
      assert.include(clones, path)
      assert.strictEqual(sha256(yield* readFile(image.rootfsPath)), sha256(rootfs))
      const { mode } = yield* fs.stat(image.rootfsPath)
      assert.strictEqual(mode & 0o777, 0o666 & ~process.umask(), "the mode follows the umask, not the source")
      assert.deepStrictEqual(yield* stagingOf(cacheDir), [])
    })
  )
})

describe("offline", () => {
  it.scopedLive("no request is made: a hit works, a miss says so", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const cacheDir = yield* temporaryDirectory
      const registry = {
        x: {
          kernel: { url: server.serve("/kernel", kernel), sha256: sha256(kernel) },
          rootfs: { url: [server.serve("/rootfs", rootfs), `${server.origin}/mirror`] as const, ...pinned }
        }
      }
      const miss = expectFailure(yield* ensure({ cacheDir, registry, offline: true }))
      assert.strictEqual(miss.reason, "Offline")
      assert.match(miss.message, /^The (kernel|rootfs) of image "x" is not in the cache, and offline mode forbids/)
      assert.strictEqual(server.connectionsAccepted, 0)

      expectImage(yield* ensure({ cacheDir, registry }))
      const online = server.requests.length
      assert.strictEqual(online, 2)
      expectImage(yield* ensure({ cacheDir, registry, offline: true }))
      yield* writeFile(join(cacheDir, "x", "rootfs.ext4"), kernel)
      const corrupt = expectFailure(yield* ensure({ cacheDir, registry, offline: true }))
      assert.strictEqual(corrupt.reason, "Offline")
      assert.strictEqual(corrupt.asset, "rootfs")
      assert.strictEqual(server.requests.length, online)
    })
  )
})

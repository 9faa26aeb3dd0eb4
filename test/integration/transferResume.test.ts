/** Going on where a body broke: how many bytes it costs, and that the prefix is never read again. */
import { createHash } from "node:crypto"
import { join } from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Hasher, ImageManager, Registry } from "../../src/index.js"
import { NodeHasher, NodeHost, NodeHttpClient } from "../../src/node/index.js"
import { MemoryFileSystem } from "../../src/testing/index.js"
import {
  ensure,
  expectFailure,
  expectImage,
  imageOn,
  impatient,
  quietly,
  readFile,
  sha256,
  stagingOf,
  temporaryDirectory
} from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer

const kernel = Buffer.from("a kernel")
const mebibyte = 1024 * 1024

/** The Node hasher, and how many bytes it was fed. */
const countingHasher = () => {
  let bytes = 0
  const layer = Layer.effect(
    Hasher.Hasher,
    Effect.map(Hasher.Hasher, (hasher) =>
      Hasher.Hasher.of({
        start: (size) =>
          Effect.map(hasher.start(size), (digest) => ({
            ...digest,
            update: (chunk) => {
              bytes += chunk.length
              return digest.update(chunk)
            }
          }))
      })
    )
  ).pipe(Layer.provide(NodeHasher.layer))
  return { layer, bytes: () => bytes }
}

describe("resume", () => {
  it.scopedLive(
    "a server that closes after every 10 % of 100 MiB sends less than 2 % in vain",
    () =>
      Effect.gen(function* () {
        const size = 100 * mebibyte
        const source = FaultServer.pattern(size)
        const digest = createHash("sha256")
        for (let at = 0; at < size; ) {
          const part = source.read(at, size)
          digest.update(part)
          at += part.length
        }
        const server = yield* FaultServer.make
        const kernelUrl = server.serve("/kernel", kernel)
        const url = server.serve("/rootfs", source, Fault.Cut({ after: size / 10, how: "fin" }))
        const cacheDir = yield* temporaryDirectory
        const hasher = countingHasher()
        const reads: Array<string> = []
        const fileSystem = MemoryFileSystem.layerFaulty(NodeFileSystem.layer, ({ method, path }) =>
          Effect.sync(() => {
            if (method.startsWith("File.read") && path.includes("staging")) reads.push(path)
          })
        )
        const manager = ImageManager.layer({ ...impatient, cacheDir }).pipe(
          Layer.provide([
            Registry.layer({
              x: {
                kernel: { url: kernelUrl, sha256: sha256(kernel) },
                rootfs: { url, sha256: digest.digest("hex") }
              }
            }),
            hasher.layer,
            NodeHost.layer,
            fileSystem,
            NodePath.layer,
            NodeHttpClient.layer()
          ])
        )
        yield* ImageManager.ensureImage("x").pipe(Effect.provide(manager), quietly)

        assert.isBelow(server.bytesSent("/rootfs"), 1.02 * size)
        assert.isAtLeast(server.requestsOf("/rootfs").length, 10)
        for (const { headers } of server.requestsOf("/rootfs").slice(1)) {
          assert.match(headers["range"] ?? "", /^bytes=\d+-$/)
          assert.match(headers["if-range"] ?? "", /^"[0-9a-f]{16}"$/)
        }
        assert.strictEqual(hasher.bytes(), size + kernel.length, "each byte is hashed once")
        assert.deepStrictEqual(reads, [], "what is in the temp file is not read again")
        assert.deepStrictEqual(yield* stagingOf(cacheDir), [])
      }),
    60_000
  )

  const rootfs = FaultServer.toBytes(FaultServer.pattern(mebibyte))
  const cutOnce = Fault.Cut({ after: mebibyte / 2, how: "fin", times: 1 })

  const fetch = (...faults: ReadonlyArray<FaultServer.Fault>) =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const cacheDir = yield* temporaryDirectory
      const registry = imageOn(server, kernel, rootfs, ...faults)
      const result = yield* ensure({ cacheDir, registry })
      return { cacheDir, result, server, requests: server.requestsOf("/rootfs") }
    })

  it.scopedLive("If-Range names a date where there is no strong ETag", () =>
    Effect.gen(function* () {
      const { requests } = yield* fetch(cutOnce, Fault.Validators({ mode: "weakETag" }))
      assert.strictEqual(requests[1]?.headers["if-range"], "Mon, 01 Jan 2024 00:00:00 GMT")
      assert.strictEqual(requests[1]?.status, 206)
    })
  )

  it.scopedLive("no If-Range where there is no validator, and the first request asks for no range", () =>
    Effect.gen(function* () {
      const { requests, result } = yield* fetch(cutOnce, Fault.Validators({ mode: "none" }))
      expectImage(result)
      assert.notProperty(requests[0]?.headers, "range")
      assert.notProperty(requests[1]?.headers, "if-range")
      for (const { headers } of requests) assert.strictEqual(headers["accept-encoding"], "identity")
    })
  )

  it.scopedLive("a mismatch of a whole file says how many bytes came and that they are gone", () =>
    Effect.gen(function* () {
      const { cacheDir, result } = yield* fetch(cutOnce, Fault.FlipByte({ offset: 7 }))
      const error = expectFailure(result)
      assert.strictEqual(error.reason, "ChecksumMismatch")
      assert.strictEqual(error.bytesReceived, mebibyte)
      assert.strictEqual(error.expected, sha256(rootfs))
      assert.match(error.message, /1048576 bytes received; they were thrown away/)
      assert.deepStrictEqual(yield* stagingOf(cacheDir), [])
    })
  )

  it.scopedLive("a file that mismatches in pieces and cannot be had whole is told as such", () =>
    Effect.gen(function* () {
      const { result } = yield* fetch(
        Fault.FlipByte({ offset: 7 }),
        Fault.Cut({ after: mebibyte / 2 + 10, how: "fin" })
      )
      const error = expectFailure(result)
      assert.strictEqual(error.reason, "DownloadFailed")
      assert.match(error.detail ?? "", /put together from several responses had the wrong SHA-256/)
    })
  )

  it.scopedLive("works with fetch as the client, which follows redirects and decodes by itself", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const serve = (path: string, ...faults: ReadonlyArray<FaultServer.Fault>) => ({
        url: server.serve(path, rootfs, ...faults),
        sha256: sha256(rootfs),
        size: rootfs.length
      })
      const run = Effect.fnUntraced(function* (rootfs: {
        readonly url: string
        readonly sha256: string
        readonly size?: number
      }) {
        const cacheDir = yield* temporaryDirectory
        const manager = ImageManager.layer({ ...impatient, cacheDir }).pipe(
          Layer.provide([
            Registry.layer({ x: { kernel: { url: server.serve("/k", kernel), sha256: sha256(kernel) }, rootfs } }),
            NodeHasher.layer,
            NodeHost.layer,
            NodeFileSystem.layer,
            NodePath.layer,
            FetchHttpClient.layer
          ])
        )
        const result = yield* ImageManager.ensureImage("x").pipe(
          Effect.provide(manager),
          Effect.catchTag("ValueError", Effect.die),
          Effect.either,
          quietly
        )
        assert.deepStrictEqual(yield* stagingOf(cacheDir), [])
        return result
      })
      const arrives = (asset: { readonly url: string; readonly sha256: string }) =>
        Effect.gen(function* () {
          const image = expectImage(yield* run(asset))
          assert.strictEqual(sha256(yield* readFile(image.rootfsPath)), sha256(rootfs))
        })

      yield* arrives(serve("/healthy"))
      yield* arrives(serve("/cut", Fault.Cut({ after: mebibyte / 2, how: "fin" })))
      assert.isBelow(server.bytesSent("/cut"), 1.3 * mebibyte)
      yield* arrives(serve("/hops", Fault.RedirectChain({ length: 3 })))
      yield* arrives(serve("/busy", Fault.Status({ status: 503, times: 2 })))
      for (const encoding of ["gzip", "deflate", "br"] as const) {
        yield* arrives(serve(`/${encoding}`, Fault.ContentEncoding({ encoding })))
      }
      assert.strictEqual(expectFailure(yield* run(serve("/loop", Fault.RedirectLoop({})))).status, 302)
      assert.strictEqual(server.requestsOf("/loop").length, 11)
      const refused = expectFailure(yield* run({ url: yield* FaultServer.refusingOrigin, sha256: sha256(rootfs) }))
      assert.match(refused.detail ?? "", /^no answer: ECONNREFUSED/)
      const { size: _, ...unsized } = serve("/empty", Fault.EmptyBody({}))
      const empty = expectFailure(yield* run(unsized))
      assert.strictEqual(empty.reason, "DownloadFailed")
    })
  )

  it.scopedLive("the fault server's files are where they belong", () =>
    Effect.gen(function* () {
      const { cacheDir, result } = yield* fetch()
      assert.strictEqual(expectImage(result).rootfsPath, join(cacheDir, "x", "rootfs.ext4"))
      assert.strictEqual(sha256(yield* readFile(join(cacheDir, "x", "rootfs.ext4"))), sha256(rootfs))
      const mode = yield* Effect.flatMap(FileSystem.FileSystem, (fs) =>
        fs.stat(join(cacheDir, "x", "rootfs.ext4"))
      ).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie)
      assert.strictEqual(mode.mode & 0o777, 0o666 & ~process.umask())
    })
  )
})

/** The engine against a server that others have written. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { NodeImageManager } from "../../src/node/index.js"
import {
  ensure,
  expectFailure,
  expectImage,
  imageWith,
  readFile,
  sha256,
  temporaryDirectory
} from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import * as Nginx from "../support/Nginx.js"

const { Fault } = FaultServer

const size = 1_000_000
const rootfs = FaultServer.toBytes(FaultServer.pattern(size))

interface Asset {
  readonly url: string | readonly [string, ...ReadonlyArray<string>]
  readonly sha256?: string
  readonly size?: number
}

const fetch = Effect.fnUntraced(function* (
  asset: Asset,
  options: NodeImageManager.Options & { readonly cacheDir?: string } = {}
) {
  const registry = yield* imageWith(asset)
  return yield* ensure({ connections: 1, cacheDir: yield* temporaryDirectory, ...options, registry })
})

const arrives = Effect.fnUntraced(function* (...given: Parameters<typeof fetch>) {
  const image = expectImage(yield* fetch(...given))
  assert.strictEqual(sha256(yield* readFile(image.rootfsPath)), sha256(rootfs))
})

const pinned = { sha256: sha256(rootfs) }
const persistent = { retry: Schedule.spaced("20 millis").pipe(Schedule.intersect(Schedule.recurs(500))) }

const server = (block = "") =>
  Effect.gen(function* () {
    const nginx = yield* Nginx.make(yield* temporaryDirectory, block)
    writeFileSync(join(nginx.root, "r"), rootfs)
    return nginx
  })

const withNginx = (name: string, test: () => Effect.Effect<void, Error, Scope.Scope>) =>
  it.scopedLive(name, (context) =>
    Nginx.isInstalled() ? test() : Effect.sync(() => context.skip("nginx is not installed"))
  )

describe("nginx", () => {
  withNginx("serves a file, and the rest of one that another mirror began", () =>
    Effect.gen(function* () {
      const nginx = yield* server()
      yield* arrives({ ...pinned, size, url: `${nginx.origin}/r` })
      const broken = yield* FaultServer.make
      const half = broken.serve("/r", rootfs, Fault.Cut({ after: size / 2, how: "fin" }))
      yield* arrives({ ...pinned, url: [half, `${nginx.origin}/r`] })
      const [whole, rest] = nginx.log()
      assert.deepStrictEqual([whole?.status, whole?.bodyBytes, whole?.range], [200, size, "-"])
      assert.strictEqual(rest?.status, 206)
      assert.strictEqual(rest?.range, `bytes=${size - (rest?.bodyBytes ?? 0)}-`)
      assert.strictEqual(expectFailure(yield* fetch({ ...pinned, url: `${nginx.origin}/not` })).status, 404)
    })
  )

  withNginx("limit_rate: what moves is waited for, what hardly moves is a stall", () =>
    Effect.gen(function* () {
      const nginx = yield* server("location = /r { limit_rate 1m; } location = /slow { limit_rate 100; }")
      const impatience = { stallWindow: "400 millis", stallBytes: 10_000 } as const
      yield* arrives({ ...pinned, url: `${nginx.origin}/r` }, { ...impatience, stallWindow: "2 seconds" })
      assert.strictEqual(nginx.log().length, 1)
      writeFileSync(join(nginx.root, "slow"), rootfs)
      const error = expectFailure(
        yield* fetch({ ...pinned, url: `${nginx.origin}/slow` }, { ...impatience, retry: Schedule.recurs(0) })
      )
      assert.match(error.detail ?? "", /^the transfer stalled: \d+ bytes in 400ms, after \d+ of 1000000 bytes$/)
    })
  )

  withNginx("an upstream that resets: what came is kept", () =>
    Effect.gen(function* () {
      const upstream = yield* FaultServer.make
      upstream.serve("/r", rootfs, Fault.Cut({ after: 400_000, how: "reset" }))
      const nginx = yield* server(`location / { proxy_pass ${upstream.origin}; proxy_buffering off; }`)
      yield* arrives({ ...pinned, url: `${nginx.origin}/r` })
      assert.isAtLeast(upstream.requests.length, 3)
      for (const { headers, status } of upstream.requests.slice(1)) {
        assert.match(headers["range"] ?? "", /^bytes=\d+-$/)
        assert.strictEqual(status, 206)
      }
      // What nginx had not passed on yet when its upstream was gone is lost with it.
      assert.isBelow(upstream.bytesSent(), 2 * size)
    })
  )

  /** Kill nginx in the middle of a slow answer, let something happen, start it again, and let the transfer end. */
  const crash = Effect.fnUntraced(function* (asset: Omit<Asset, "url">, meanwhile: (nginx: Nginx.Nginx) => void) {
    const nginx = yield* server("location = /r { limit_rate 800k; }")
    const cacheDir = yield* temporaryDirectory
    const url = `${nginx.origin}/r`
    const fiber = yield* Effect.fork(fetch({ ...asset, url }, { ...persistent, cacheDir }))
    yield* Effect.sleep("600 millis")
    yield* nginx.kill
    meanwhile(nginx)
    yield* nginx.start
    return { nginx, result: yield* Fiber.join(fiber) }
  })

  withNginx("killed and started again: an unpinned file goes on under its ETag", () =>
    Effect.gen(function* () {
      const { nginx, result } = yield* crash({}, () => {})
      assert.strictEqual(sha256(yield* readFile(expectImage(result).rootfsPath)), sha256(rootfs))
      // The killed process wrote no log: what is there is the rest.
      assert.deepStrictEqual(
        nginx.log().map(({ status }) => status),
        [206]
      )
    })
  )

  withNginx("killed, and another file when it comes back: taken from its beginning", () =>
    Effect.gen(function* () {
      const other = rootfs.map((byte) => byte ^ 0xff).subarray(10)
      const { nginx, result } = yield* crash({}, ({ root }) => writeFileSync(join(root, "r"), other))
      assert.strictEqual(sha256(yield* readFile(expectImage(result).rootfsPath)), sha256(other))
      assert.deepStrictEqual(
        nginx.log().map(({ bodyBytes, status }) => [status, bodyBytes]),
        [[200, other.length]]
      )
    })
  )
})

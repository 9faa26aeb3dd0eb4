/** Every switch of the fault server against every asset, and what becomes of it. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import type { ImageError } from "../../src/index.js"
import type { NodeImageManager } from "../../src/node/index.js"
import { ensure, readFile, sha256, temporaryDirectory, writeFile } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer

const size = 1_000_000
const pattern = FaultServer.toBytes(FaultServer.pattern(size))
const roles = ["kernel", "rootfs", "initrd"] as const
const filenames = { kernel: "vmlinux.bin", rootfs: "rootfs.ext4", initrd: "initrd.img" }

/** What the server is told, what the registry says, and how it ends. */
interface Row {
  readonly name: string
  readonly faults: ReadonlyArray<FaultServer.Fault>
  /** The asset has a pinned size, beside its digest: the true one, or this. */
  readonly size?: number | true
  readonly pinned?: false
  readonly options?: NodeImageManager.Options
  /** The file at the URL; by default the one that is wanted. */
  readonly content?: Uint8Array
  /** Requests that the server saw for the asset, redirects included. */
  readonly requests: number | readonly [least: number, most: number]
  /** Payload bytes that the server sent for the asset. */
  readonly bytes?: number
  /**
   * It went on where it broke: hardly a byte came twice. A few may, because a client that is told of a broken connection
   * drops what it has received and not yet handed on.
   */
  readonly resumed?: boolean
  /** At least so many milliseconds pass. */
  readonly patience?: number
  /** How it fails; without it, the image is there. */
  readonly fails?: Partial<
    Pick<ImageError.ImageError, "reason" | "status" | "expected" | "actual" | "bytesReceived" | "attempts">
  > & { readonly detail?: RegExp }
}

/** For rows in which something is waited for. */
const soon = { responseTimeout: "700 millis", stallWindow: "700 millis" } as const

const cutOnce = Fault.Cut({ after: 400_000, how: "fin", times: 1 })
const inverted = pattern.map((byte) => byte ^ 0xff)

const table: { readonly [Tag in FaultServer.Fault["_tag"]]: ReadonlyArray<Row> } = {
  NoAnswer: [
    { name: "once", options: soon, faults: [Fault.NoAnswer({ times: 1 })], requests: 2, patience: 700 },
    {
      name: "always",
      options: { responseTimeout: "250 millis" },
      faults: [Fault.NoAnswer({})],
      requests: 4,
      fails: { reason: "DownloadFailed", attempts: 4, detail: /^no answer within 250ms$/ }
    }
  ],
  HangUp: [
    { name: "once with a FIN", faults: [Fault.HangUp({ how: "fin", times: 1 })], requests: 2 },
    { name: "twice with a reset", faults: [Fault.HangUp({ how: "reset", times: 2 })], requests: 3 },
    {
      name: "always",
      faults: [Fault.HangUp({ how: "reset" })],
      requests: 4,
      fails: { reason: "DownloadFailed", attempts: 4, detail: /^no answer: (ECONNRESET|UND_ERR_SOCKET)/ }
    }
  ],
  Garbage: [
    { name: "once", faults: [Fault.Garbage({ times: 1 })], requests: 2 },
    {
      name: "always",
      faults: [Fault.Garbage({})],
      requests: 4,
      fails: {
        reason: "DownloadFailed",
        attempts: 4,
        detail: /^no answer: Response does not match the HTTP\/1.1 protocol/
      }
    }
  ],
  Status: [
    ...[408, 425, 429, 500, 502, 503, 504].map((status) => ({
      name: `${status} for the first two`,
      faults: [Fault.Status({ status, times: 2 })],
      requests: 3
    })),
    ...[400, 401, 403, 404, 410, 451].map((status) => ({
      name: `${status} fails at once`,
      faults: [Fault.Status({ status, body: "go away\nreally" })],
      requests: 1,
      fails: {
        reason: "DownloadFailed",
        status,
        attempts: 1,
        detail: new RegExp(`^the server answered ${status} "go away"$`)
      } as const
    })),
    {
      name: "500 always",
      faults: [Fault.Status({ status: 500 })],
      requests: 4,
      fails: { reason: "DownloadFailed", status: 500, attempts: 4 }
    },
    {
      name: "500 past an offset",
      faults: [cutOnce, Fault.Status({ status: 500, pastOffset: 1000 })],
      requests: 5,
      fails: { reason: "DownloadFailed", status: 500, attempts: 5 }
    },
    {
      name: "Retry-After in seconds",
      faults: [Fault.Status({ status: 503, retryAfter: { seconds: 1 }, times: 1 })],
      requests: 2,
      patience: 1000
    },
    {
      name: "Retry-After as a date",
      faults: [Fault.Status({ status: 429, retryAfter: { dateIn: 0.2 }, times: 1 })],
      requests: 2,
      patience: 190
    },
    {
      name: "Retry-After beyond the bound",
      faults: [Fault.Status({ status: 503, retryAfter: { seconds: 60 } })],
      requests: 1,
      fails: {
        reason: "DownloadFailed",
        status: 503,
        detail: /it asks to wait 1m, more than the 1s 500ms allowed$/
      }
    },
    {
      name: "a Retry-After date beyond the bound",
      faults: [Fault.Status({ status: 503, retryAfter: { dateIn: 3600 } })],
      requests: 1,
      fails: { reason: "DownloadFailed", status: 503, detail: /it asks to wait (59m|1h).*, more than/ }
    },
    {
      name: "an encoding nobody knows",
      faults: [Fault.Status({ status: 200, headers: { "Content-Encoding": "zebra" }, body: "stripes" })],
      requests: 1,
      fails: { reason: "UnexpectedContent", status: 200, detail: /^it is encoded as "zebra"/ }
    }
  ],
  EchoHeaders: [
    {
      name: "403 that repeats the request",
      faults: [Fault.EchoHeaders({ status: 403 })],
      requests: 1,
      fails: { reason: "DownloadFailed", status: 403, detail: /^the server answered 403 "GET \/\w+"$/ }
    }
  ],
  Unsatisfiable: [
    {
      name: "416 to a range begins again",
      faults: [cutOnce, Fault.Unsatisfiable({})],
      requests: 3,
      bytes: 1_400_000 + 26
    }
  ],
  Page: [
    {
      name: "a captive portal",
      faults: [Fault.Page({ kind: "html" })],
      requests: 1,
      fails: {
        reason: "UnexpectedContent",
        status: 200,
        detail: /^an HTML page came instead, beginning "<!DOCTYPE html>"$/
      }
    },
    {
      name: "a captive portal in place of a size that is known",
      faults: [Fault.Page({ kind: "html" })],
      size: true,
      requests: 1,
      fails: {
        reason: "UnexpectedContent",
        expected: String(size),
        actual: "74",
        detail: /^it has 74 bytes instead of 1000000; an HTML page came instead/
      }
    },
    {
      name: "a captive portal in the middle keeps nothing of it",
      faults: [cutOnce, Fault.Page({ kind: "html", from: 1 })],
      requests: 2,
      fails: { reason: "UnexpectedContent", detail: /^an HTML page/ }
    },
    {
      name: "a JSON error",
      faults: [Fault.Page({ kind: "json" })],
      requests: 1,
      fails: { reason: "UnexpectedContent", detail: /^a JSON document came instead, beginning "{.*quota exceeded/ }
    },
    {
      name: "an S3 error with status 200",
      faults: [Fault.Page({ kind: "s3" })],
      requests: 1,
      fails: { reason: "UnexpectedContent", detail: /^an object store's XML error came instead/ }
    },
    {
      name: "a Git LFS pointer",
      faults: [Fault.Page({ kind: "lfs" })],
      requests: 1,
      fails: {
        reason: "UnexpectedContent",
        detail: /^a Git LFS pointer came instead, beginning "version https:\/\/git-lfs/
      }
    },
    {
      name: "a Git LFS pointer, unpinned",
      faults: [Fault.Page({ kind: "lfs" })],
      pinned: false,
      requests: 1,
      fails: { reason: "UnexpectedContent", detail: /^a Git LFS pointer/ }
    }
  ],
  EmptyBody: [
    { name: "once", faults: [Fault.EmptyBody({ times: 1 })], requests: 2 },
    {
      name: "always",
      faults: [Fault.EmptyBody({})],
      requests: 4,
      fails: { reason: "DownloadFailed", bytesReceived: 0, detail: /^the body was empty$/ }
    },
    {
      name: "always, unpinned",
      faults: [Fault.EmptyBody({})],
      pinned: false,
      requests: 4,
      fails: { reason: "DownloadFailed", bytesReceived: 0, detail: /^the body was empty$/ }
    },
    {
      name: "against a pinned size",
      faults: [Fault.EmptyBody({})],
      size: true,
      requests: 1,
      fails: { reason: "UnexpectedContent", expected: String(size), actual: "0" }
    }
  ],
  Redirect: [
    { name: "to a relative URL", faults: [Fault.Redirect({ to: "?again", times: 1 })], requests: 2 },
    ...[301, 303, 307, 308].map((status) => ({
      name: `with status ${status}`,
      faults: [Fault.Redirect({ to: "?again", status, times: 1 })],
      requests: 2
    })),
    {
      name: "to another scheme",
      faults: [Fault.Redirect({ to: "ftp://127.0.0.1/x" })],
      requests: 1,
      fails: { reason: "DownloadFailed", status: 302, detail: /redirects to a ftp: URL, which is refused$/ }
    },
    {
      name: "to a local file",
      faults: [Fault.Redirect({ to: "file:///etc/passwd" })],
      requests: 1,
      fails: { reason: "DownloadFailed", status: 302, detail: /redirects to a file: URL, which is refused$/ }
    },
    {
      name: "to nonsense",
      faults: [Fault.Redirect({ to: "http://[" })],
      requests: 1,
      fails: { reason: "DownloadFailed", status: 302, detail: /redirects to something that is not a URL$/ }
    }
  ],
  RedirectLoop: [
    {
      name: "ends after ten",
      faults: [Fault.RedirectLoop({})],
      requests: 11,
      fails: { reason: "DownloadFailed", attempts: 1, status: 302, detail: /^more than 10 redirects/ }
    }
  ],
  RedirectChain: [
    { name: "of three", faults: [Fault.RedirectChain({ length: 3 })], requests: 4 },
    { name: "of ten", faults: [Fault.RedirectChain({ length: 10 })], requests: 11 },
    {
      name: "of eleven",
      faults: [Fault.RedirectChain({ length: 11 })],
      requests: 11,
      fails: { reason: "DownloadFailed", attempts: 1, detail: /^more than 10 redirects/ }
    },
    {
      name: "of two, resumed",
      faults: [Fault.RedirectChain({ length: 2 }), Fault.Cut({ after: 400_000, how: "fin", times: 3 })],
      requests: 6,
      resumed: true
    }
  ],
  RedirectNowhere: [
    {
      name: "is refused",
      faults: [Fault.RedirectNowhere({})],
      requests: 1,
      fails: { reason: "DownloadFailed", detail: /redirects \(302\) without saying where to$/ }
    }
  ],
  ChangedFile: [
    {
      name: "into another one",
      faults: [cutOnce, Fault.ChangedFile({ from: 1 })],
      requests: 2,
      bytes: 1_400_000,
      fails: { reason: "ChecksumMismatch", actual: sha256(inverted), bytesReceived: size }
    },
    {
      name: "into the right one is taken from its beginning",
      content: inverted,
      faults: [cutOnce, Fault.ChangedFile({ from: 1, bytes: pattern })],
      requests: 2,
      bytes: 1_400_000
    }
  ],
  NewETag: [
    {
      name: "begins again",
      faults: [cutOnce, Fault.NewETag({ etag: `"new"`, from: 1 })],
      requests: 2,
      bytes: 1_400_000
    }
  ],
  Validators: [
    ...(["none", "weakETag", "dateOnly", "etagOnly"] as const).map((mode) => ({
      name: `${mode}, resumed: the digest vouches for the pieces`,
      faults: [cutOnce, Fault.Validators({ mode })],
      requests: 2,
      resumed: true
    })),
    ...(["weakETag", "dateOnly", "etagOnly"] as const).map((mode) => ({
      name: `${mode}, unpinned, resumed`,
      pinned: false as const,
      faults: [cutOnce, Fault.Validators({ mode })],
      requests: 2,
      resumed: true
    })),
    {
      name: "none, unpinned: nothing says that it is the same file",
      pinned: false,
      faults: [cutOnce, Fault.Validators({ mode: "none" })],
      requests: 2,
      bytes: 1_400_000
    }
  ],
  FlipByte: [
    {
      name: "same-size corruption",
      faults: [Fault.FlipByte({ offset: 77 })],
      requests: 1,
      fails: { reason: "ChecksumMismatch", attempts: 1, expected: sha256(pattern), bytesReceived: size }
    },
    {
      name: "in one of two pieces is fetched once whole",
      faults: [cutOnce, Fault.FlipByte({ offset: 77, times: 1 })],
      requests: 3,
      bytes: 2_000_000
    },
    {
      name: "in two pieces and the whole is a verdict",
      faults: [cutOnce, Fault.FlipByte({ offset: 77 })],
      requests: 3,
      fails: { reason: "ChecksumMismatch", attempts: 3, bytesReceived: size }
    }
  ],
  Resize: [
    ...[-10, 10].map((by) => ({
      name: `${by}, unannounced`,
      faults: [Fault.Resize({ by })],
      requests: 1,
      fails: { reason: "ChecksumMismatch", bytesReceived: size + by } as const
    })),
    ...[-10, 10].map((by) => ({
      name: `${by} against a pinned size fails before the body`,
      size: true as const,
      faults: [Fault.Resize({ by })],
      requests: 1,
      fails: { reason: "UnexpectedContent", expected: String(size), actual: String(size + by) } as const
    })),
    {
      name: "+10 against a pinned size, unannounced, is cut off",
      size: true,
      faults: [Fault.Resize({ by: 10 }), Fault.Chunked({})],
      requests: 1,
      fails: { reason: "UnexpectedContent", expected: String(size), detail: /^it is longer than its pinned size/ }
    },
    {
      name: "between two pieces",
      faults: [cutOnce, Fault.Resize({ by: 10, from: 1 }), Fault.IgnoreIfRange({})],
      requests: 3,
      fails: { reason: "ChecksumMismatch", bytesReceived: size + 10 }
    }
  ],
  Endless: [
    {
      name: "stops at the cap",
      options: { maxSize: 3_000_000 },
      faults: [Fault.Endless({})],
      requests: 1,
      fails: {
        reason: "UnexpectedContent",
        expected: "3000000",
        detail: /^it is longer than the largest size allowed \(maxSize\), 3000000 bytes/
      }
    },
    {
      name: "stops at the pinned size",
      size: true,
      faults: [Fault.Endless({})],
      requests: 1,
      fails: { reason: "UnexpectedContent", expected: String(size) }
    },
    {
      name: "an announced length above the cap is not even begun",
      options: { maxSize: 500_000 },
      faults: [Fault.Latency({ ms: 0 })],
      requests: 1,
      fails: { reason: "UnexpectedContent", expected: "500000", actual: String(size) }
    },
    {
      name: "a pinned size may exceed the cap",
      size: true,
      options: { maxSize: 500_000 },
      faults: [],
      requests: 1
    }
  ],
  ContentEncoding: [
    ...(["gzip", "deflate", "br"] as const).flatMap((encoding) => [
      { name: encoding, faults: [Fault.ContentEncoding({ encoding })], requests: 1 },
      {
        name: `${encoding} and a pinned size`,
        size: true as const,
        faults: [Fault.ContentEncoding({ encoding })],
        requests: 1
      }
    ]),
    {
      name: "gzip, cut: begins again",
      faults: [Fault.Cut({ after: 1000, how: "fin", times: 1 }), Fault.ContentEncoding({ encoding: "gzip" })],
      requests: 2
    },
    {
      name: "gzip of something else",
      faults: [Fault.ContentEncoding({ encoding: "gzip" }), Fault.FlipByte({ offset: 3 })],
      requests: 1,
      fails: { reason: "ChecksumMismatch", bytesReceived: size }
    },
    {
      name: "gzip that is none",
      faults: [Fault.Status({ status: 200, headers: { "Content-Encoding": "gzip" }, body: "not gzip" })],
      requests: 4,
      fails: { reason: "DownloadFailed", detail: /^the gzip encoding is broken: incorrect header check/ }
    }
  ],
  Latency: [{ name: "within the bound", faults: [Fault.Latency({ ms: 100 })], requests: 1, patience: 100 }],
  IgnoreRange: [
    { name: "takes the whole file", faults: [cutOnce, Fault.IgnoreRange({})], requests: 2, bytes: 1_400_000 },
    {
      name: "and cut at 60 % for ever is given up",
      faults: [Fault.Cut({ after: 600_000, how: "fin" }), Fault.IgnoreRange({})],
      options: { retry: Schedule.spaced("5 millis").pipe(Schedule.intersect(Schedule.recurs(20))) },
      requests: 4,
      fails: {
        reason: "DownloadFailed",
        attempts: 4,
        detail: /after \d+ of 1000000 bytes; it began again from zero 3 times, more than the 2 allowed$/
      }
    }
  ],
  IgnoreIfRange: [
    {
      name: "of a file that changed: the validator gives it away",
      content: inverted,
      faults: [cutOnce, Fault.IgnoreIfRange({}), Fault.ChangedFile({ from: 1, bytes: pattern })],
      requests: 3,
      bytes: 2_000_000
    },
    {
      name: "of an unpinned file that changed",
      pinned: false,
      content: inverted,
      faults: [cutOnce, Fault.IgnoreIfRange({}), Fault.ChangedFile({ from: 1, bytes: pattern })],
      requests: 3,
      bytes: 2_000_000
    }
  ],
  WrongContentRange: (["start", "total", "missing", "garbage", "shifted"] as const).map((how) => ({
    name: `${how}: begins again`,
    faults: [cutOnce, Fault.WrongContentRange({ how })],
    requests: 3
  })),
  ContentLengthLies: [
    {
      name: "too many",
      faults: [Fault.ContentLengthLies({ by: 10 })],
      requests: 7,
      fails: {
        reason: "DownloadFailed",
        bytesReceived: size,
        detail: /after 1000000 of 1000010 bytes; it began again from zero 3 times/
      }
    },
    {
      name: "too few",
      faults: [Fault.ContentLengthLies({ by: -10 })],
      requests: 1,
      fails: { reason: "ChecksumMismatch", bytesReceived: size - 10 }
    }
  ],
  NoContentLength: [
    { name: "is no fault", faults: [Fault.NoContentLength({})], requests: 1 },
    {
      name: "and cut once: a wrong digest may be a cut",
      faults: [Fault.NoContentLength({}), cutOnce],
      requests: 2
    },
    {
      name: "and cut against a pinned size",
      size: true,
      faults: [Fault.NoContentLength({}), cutOnce],
      requests: 2,
      resumed: true
    }
  ],
  HugeHeader: [
    {
      name: "of 1 MiB",
      faults: [Fault.HugeHeader({ bytes: 1024 * 1024 })],
      requests: 1,
      fails: { reason: "DownloadFailed", attempts: 1, detail: /UND_ERR_HEADERS_OVERFLOW/ }
    }
  ],
  Chunked: [
    { name: "is no fault", faults: [Fault.Chunked({})], requests: 1 },
    {
      name: "without its last chunk: 416 says that all is there",
      faults: [Fault.Chunked({ unterminated: true })],
      requests: 2,
      resumed: true
    },
    {
      name: "cut, resumed",
      faults: [Fault.Chunked({}), cutOnce],
      requests: 2,
      resumed: true
    }
  ],
  Cut: [
    {
      name: "FIN at every 10 %",
      faults: [Fault.Cut({ after: 110_000, how: "fin" })],
      requests: [10, 20],
      resumed: true
    },
    {
      name: "reset at every 10 %",
      faults: [Fault.Cut({ after: 110_000, how: "reset" })],
      requests: [10, 20]
    },
    {
      name: "at every 10 %, unpinned",
      pinned: false,
      faults: [Fault.Cut({ after: 110_000, how: "fin" })],
      requests: [10, 20],
      resumed: true
    },
    { name: "FIN after the last byte", faults: [Fault.Cut({ after: size, how: "fin" })], requests: 1 },
    { name: "reset after the last byte", faults: [Fault.Cut({ after: size, how: "reset" })], requests: [1, 2] },
    {
      name: "before the first byte",
      faults: [Fault.Cut({ after: 0, how: "fin" })],
      requests: 4,
      fails: { reason: "DownloadFailed", bytesReceived: 0, detail: /after 0 of 1000000 bytes$/ }
    },
    {
      name: "after a few bytes that are too few to be progress",
      faults: [Fault.Cut({ after: 100, how: "reset" })],
      requests: 4,
      fails: { reason: "DownloadFailed", detail: /after \d{1,3} of 1000000 bytes$|the body was empty$/ }
    }
  ],
  ResetAfterEnd: [{ name: "is success", faults: [Fault.ResetAfterEnd({})], requests: [1, 3] }],
  Stall: [
    {
      name: "after 40 %, each time: goes on from there",
      options: soon,
      faults: [Fault.Stall({ after: 400_000 })],
      requests: 3,
      resumed: true,
      patience: 1400
    },
    {
      name: "at once",
      faults: [Fault.Stall({ after: 0 })],
      options: { stallWindow: "50 millis" },
      requests: 4,
      fails: { reason: "DownloadFailed", detail: /^the transfer stalled: 0 bytes in 50ms, after 0 of 1000000 bytes$/ }
    }
  ],
  Trickle: [
    {
      name: "too slow is a stall",
      options: soon,
      faults: [Fault.Trickle({ bytes: 1, ms: 20, times: 1 })],
      requests: 2,
      patience: 700
    },
    {
      name: "slow but moving for longer than any bound",
      options: { stallWindow: "400 millis", responseTimeout: "400 millis" },
      faults: [Fault.Trickle({ bytes: 100_000, ms: 60 })],
      requests: 1,
      patience: 500
    }
  ]
}

describe("transfer, by fault", () => {
  for (const [tag, rows] of Object.entries(table)) {
    for (const row of rows) {
      it.scopedLive(`${tag}: ${row.name}`, () =>
        Effect.gen(function* () {
          const server = yield* FaultServer.make
          yield* Effect.forEach(roles, (role) => against(server, role, row), { concurrency: "unbounded" })
        })
      )
    }
  }
})

const others = { kernel: pattern.subarray(0, 5000), rootfs: pattern.subarray(7), initrd: pattern.subarray(0, 1) }

const before = (role: string) => Buffer.from(`the ${role} that was there before`)

const against = Effect.fnUntraced(function* (
  server: FaultServer.FaultServer,
  faulty: (typeof roles)[number],
  row: Row
) {
  const cacheDir = yield* temporaryDirectory
  const place = (role: (typeof roles)[number]) => join(cacheDir, "x", filenames[role])
  // A cache that holds the image, all of it outdated; unless there is no digest, which makes anything a hit.
  const outdated = roles.filter((role) => role !== faulty || row.pinned !== false)
  yield* Effect.forEach(outdated, (role) => writeFile(place(role), before(role)))

  const path = `/${faulty}`
  const url = server.serve(path, row.content ?? pattern, ...row.faults)
  const contents = { ...others, [faulty]: pattern }
  const healthy = (role: (typeof roles)[number]) => ({
    url: server.serve(`/healthy-${faulty}-${role}`, others[role]),
    sha256: sha256(others[role]),
    size: others[role].length
  })
  const asset = {
    url,
    ...(row.pinned === false ? {} : { sha256: sha256(pattern) }),
    ...(row.size === undefined ? {} : { size: row.size === true ? size : row.size })
  }
  const images = { kernel: healthy("kernel"), rootfs: healthy("rootfs"), initrd: healthy("initrd"), [faulty]: asset }

  const started = performance.now()
  const result = yield* ensure({ ...row.options, cacheDir, registry: { x: images } })
  const elapsed = performance.now() - started

  const said = Either.match(result, { onLeft: (error) => error.message, onRight: () => "success" })
  const [least, most] = typeof row.requests === "number" ? [row.requests, row.requests] : row.requests
  const requests = server.requestsOf(path).length
  assert.isTrue(requests >= least && requests <= most, `${requests} requests instead of ${row.requests}; ${said}`)
  if (row.resumed === true) assert.isBelow(server.bytesSent(path), size * 1.3)
  if (row.bytes !== undefined) assert.strictEqual(server.bytesSent(path), row.bytes, "bytes sent")
  if (row.patience !== undefined) assert.isAtLeast(elapsed, row.patience)
  if (row.fails === undefined) {
    assert.isTrue(Either.isRight(result), said)
    for (const role of roles) assert.isTrue(Buffer.from(contents[role]).equals(yield* readFile(place(role))), role)
    return
  }
  if (Either.isRight(result)) return assert.fail("success, but a failure was expected")
  const { detail, ...fields } = row.fails
  const error = result.left
  for (const [field, value] of Object.entries({ image: "x", asset: faulty, url, ...fields })) {
    assert.strictEqual(Reflect.get(error, field), value, field)
  }
  if (detail !== undefined) assert.match(error.detail ?? "", detail)
  for (const role of outdated) assert.deepStrictEqual(Buffer.from(yield* readFile(place(role))), before(role), role)
})

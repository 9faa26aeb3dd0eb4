import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ImageError } from "../../src/index.js"
import { sanitizeCause } from "../../src/internal/redact.js"

const url = "https://example.test/images/rootfs.ext4"
const expected = "ab".repeat(32)
const actual = "cd".repeat(32)
const asset = { image: "hello", asset: "rootfs" } as const

type Fields = ConstructorParameters<typeof ImageError.ImageError>[0]

/** What people read, for every reason. */
const messages: ReadonlyArray<readonly [string, Fields, string]> = [
  [
    "UnknownImage",
    { reason: "UnknownImage", image: "helo", available: ["hello", "quickstart-x86_64"] },
    'Image "helo" is not in the registry. Available: hello, quickstart-x86_64.'
  ],
  [
    "UnknownImage in an empty registry",
    { reason: "UnknownImage", image: "hello", available: [] },
    'Image "hello" is not in the registry. The registry is empty.'
  ],
  [
    "DownloadFailed",
    { reason: "DownloadFailed", ...asset, url, attempts: 6, status: 503, detail: "the server answered 503" },
    `Could not download the rootfs of image "hello" from ${url} (6 attempts): the server answered 503`
  ],
  [
    "DownloadFailed at once",
    { reason: "DownloadFailed", ...asset, url, attempts: 1, status: 404, detail: "the server answered 404" },
    `Could not download the rootfs of image "hello" from ${url} (1 attempt): the server answered 404`
  ],
  [
    "DownloadFailed from several sources",
    {
      reason: "DownloadFailed",
      ...asset,
      url,
      attempts: 2,
      detail: "the server answered 404",
      failures: [
        { url, reason: "DownloadFailed", detail: "the server answered 404" },
        { url: "https://mirror.test/rootfs.ext4", reason: "DownloadFailed", detail: "no answer: ECONNREFUSED" }
      ]
    },
    [
      `Could not download the rootfs of image "hello" from ${url} (2 attempts): the server answered 404`,
      `  - ${url}: the server answered 404`,
      "  - https://mirror.test/rootfs.ext4: no answer: ECONNREFUSED"
    ].join("\n")
  ],
  [
    "UnexpectedContent",
    { reason: "UnexpectedContent", ...asset, url, attempts: 1, detail: 'a web page came instead, beginning "<html>"' },
    `What came for the rootfs of image "hello" from ${url} is not the image: a web page came instead, beginning "<html>"`
  ],
  [
    "ChecksumMismatch",
    { reason: "ChecksumMismatch", ...asset, url, expected, actual, bytesReceived: 5000, attempts: 1 },
    `The SHA-256 of the rootfs of image "hello" from ${url} is not the expected one: expected ${expected}, ` +
      `actual ${actual}, 5000 bytes received; they were thrown away`
  ],
  [
    "StorageFailed",
    { reason: "StorageFailed", ...asset, path: "/cache/hello/rootfs.ext4", detail: "permission denied (EACCES)" },
    'Storage failed for the rootfs of image "hello" at /cache/hello/rootfs.ext4: permission denied (EACCES)'
  ],
  [
    "StorageFailed for a whole image",
    { reason: "StorageFailed", image: "hello", path: "/cache/hello", detail: "permission denied (EACCES)" },
    'Storage failed for image "hello" at /cache/hello: permission denied (EACCES)'
  ],
  [
    "StorageFailed for no image",
    { reason: "StorageFailed", path: "/etc/images.json", detail: "the registry file cannot be read (ENOENT)" },
    "Storage failed at /etc/images.json: the registry file cannot be read (ENOENT)"
  ],
  [
    "NoSpace",
    { reason: "NoSpace", ...asset, path: "/cache", bytesNeeded: 5000, bytesAvailable: 100 },
    'No space for the rootfs of image "hello" at /cache: 5000 more bytes are needed, 100 are available; nothing was changed'
  ],
  [
    "NoSpace, of unknown extent",
    { reason: "NoSpace", ...asset, path: "/cache" },
    'No space for the rootfs of image "hello" at /cache: it does not fit; nothing was changed'
  ],
  [
    "Offline",
    { reason: "Offline", ...asset, url },
    `The rootfs of image "hello" is not in the cache, and offline mode forbids fetching it from ${url}`
  ]
]

describe("ImageError", () => {
  for (const [what, fields, message] of messages) {
    it(`says it in words: ${what}`, () => {
      const error = new ImageError.ImageError(fields)
      assert.strictEqual(error.message, message)
      assert.strictEqual(String(error), `ImageError: ${message}`)
      assert.include(error.stack, message)
    })
  }

  it("has a message for every reason", () => {
    const covered = new Set(messages.map(([, { reason }]) => reason))
    assert.deepStrictEqual([...covered].sort(), [...ImageError.Reason.literals].sort())
  })

  it("never says undefined, however little it knows", () => {
    for (const reason of ImageError.Reason.literals) {
      const { message } = new ImageError.ImageError({ reason })
      assert.notInclude(message, "undefined")
      assert.isNotEmpty(message)
    }
  })

  const cause = sanitizeCause(
    Object.assign(new Error("write failed", { cause: Object.assign(new Error("no space"), { code: "ENOSPC" }) }), {
      code: "EIO"
    })
  )
  const full = new ImageError.ImageError({
    reason: "StorageFailed",
    ...asset,
    path: "/cache",
    detail: "it broke",
    cause
  })

  it("is readable as JSON, with its tag, its fields and what caused it", () => {
    const json = JSON.parse(JSON.stringify(full))
    const { cause: shown, ...fields } = json
    assert.deepStrictEqual(fields, {
      _tag: "ImageError",
      reason: "StorageFailed",
      ...asset,
      path: "/cache",
      detail: "it broke"
    })
    assert.include(JSON.stringify(shown), "write failed")
  })

  it("is readable when it is inspected", () => {
    const text = inspect(full, { depth: 10 })
    for (const part of ["ImageError", "Storage failed for the rootfs", "write failed", "ENOSPC"])
      assert.include(text, part)
  })

  it("can be told apart by its tag and by its class, and its cause is an Error", () => {
    assert.strictEqual(full._tag, "ImageError")
    assert.instanceOf(full, ImageError.ImageError)
    assert.instanceOf(full, Error)
    assert.instanceOf(full.cause, Error)
  })

  it("goes through its Schema and back", () => {
    const json = JSON.stringify(Schema.encodeSync(ImageError.ImageError)(full))
    const back = Schema.decodeUnknownSync(Schema.parseJson(ImageError.ImageError))(json)
    assert.instanceOf(back, ImageError.ImageError)
    assert.strictEqual(back.message, full.message)
  })

  it.effect("shows its message where a program ends with it", () =>
    Effect.gen(function* () {
      const cause = yield* Effect.cause(Effect.fail(full))
      assert.include(Cause.pretty(cause), `ImageError: ${full.message}`)
    })
  )

  it.effect("can be caught by tag, and yielded", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        return yield* new ImageError.ImageError({ reason: "Offline", image: "hello" })
      })
      assert.strictEqual(
        yield* Effect.catchTag(program, "ImageError", ({ reason }) => Effect.succeed(reason)),
        "Offline"
      )
    })
  )
})

describe("ValueError", () => {
  const one = new ImageError.ValueError({
    field: "name",
    problems: [{ path: "", message: "an image name must not be empty" }]
  })
  const many = new ImageError.ValueError({
    field: "registry",
    problems: [
      { path: "hello.kernel.sha256", message: "must be a SHA-256 digest: 64 hexadecimal digits" },
      { path: "hello.rootfs", message: "is missing" }
    ]
  })

  it("says one problem in one line", () => {
    assert.strictEqual(one.message, "Invalid name: an image name must not be empty")
    const { problems } = many
    const first = new ImageError.ValueError({ field: "registry", problems: [problems[0]] })
    assert.strictEqual(
      first.message,
      "Invalid registry: hello.kernel.sha256: must be a SHA-256 digest: 64 hexadecimal digits"
    )
  })

  it("lists many, each with its path", () => {
    assert.strictEqual(
      many.message,
      [
        "Invalid registry, 2 problems:",
        "  - hello.kernel.sha256: must be a SHA-256 digest: 64 hexadecimal digits",
        "  - hello.rootfs: is missing"
      ].join("\n")
    )
  })

  it("is readable as JSON and when it is inspected", () => {
    assert.deepStrictEqual(JSON.parse(JSON.stringify(many)), {
      _tag: "ValueError",
      field: "registry",
      problems: many.problems
    })
    assert.include(inspect(many), "ValueError: Invalid registry, 2 problems:")
    assert.strictEqual(String(one), "ValueError: Invalid name: an image name must not be empty")
  })
})

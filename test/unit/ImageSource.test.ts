import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AssetUrl, ImageSource } from "../../src/index.js"

const url = "https://example.test/a"
const decode = Schema.decodeUnknownSync(ImageSource.ImageSource)

describe("ImageSource", () => {
  it("lists its files in a fixed order under the reference's names", () => {
    const source = decode({ initrd: { url }, rootfs: { url }, kernel: { url } })
    assert.deepStrictEqual(
      source.files.map(({ filename, role }) => [role, filename]),
      [
        ["kernel", "vmlinux.bin"],
        ["rootfs", "rootfs.ext4"],
        ["initrd", "initrd.img"]
      ]
    )
    assert.strictEqual(source.files[2]?.asset, source.initrd)
  })

  it("lists no initrd when it has none, and the file names it was given", () => {
    const source = decode({ kernel: { url, filename: "bzImage" }, rootfs: { url, filename: "disk 1.img" } })
    assert.deepStrictEqual(
      source.files.map(({ filename }) => filename),
      ["bzImage", "disk 1.img"]
    )
  })

  it("survives being encoded and decoded again", () => {
    const source = decode({
      kernel: {
        url: ["https://u:p@example.test/a?q#f", { url, headers: { a: "b" } }],
        sha256: "AB".repeat(32),
        size: 5
      },
      rootfs: { url, filename: "disk.img" },
      description: "d",
      architecture: "aarch64"
    })
    assert.deepStrictEqual(decode(Schema.encodeSync(ImageSource.ImageSource)(source)), source)
  })

  it("cannot be constructed with two assets in one file", () => {
    const { kernel, rootfs } = decode({ kernel: { url }, rootfs: { url } })
    assert.throws(
      () =>
        new ImageSource.ImageSource({ kernel, rootfs: new ImageSource.Asset({ ...rootfs, filename: "VMLINUX.BIN" }) }),
      /the same filename/
    )
  })

  it.prop("is generated from its Schema, and valid", [ImageSource.ImageSource], ([source]) => {
    assert.deepStrictEqual(decode(Schema.encodeSync(ImageSource.ImageSource)(source)), source)
    assert.isAtLeast(source.files.length, 2)
  })
})

describe("Filename", () => {
  const isFilename = Schema.is(ImageSource.Filename)

  it("allows what people call files", () => {
    for (const name of ["vmlinux.bin", "a", "disk 1.img", "größe", "x".repeat(200), "a..b", "a.", "-rf", "日本語"]) {
      assert.isTrue(isFilename(name), name)
    }
  })

  it.prop("is one path component on every system", [FastCheck.string({ unit: "binary", maxLength: 8 })], ([text]) => {
    if (!isFilename(text)) return
    assert.notMatch(text, /[/\\:\0]|^\.|^\s|\s$|^$/)
    assert.isFalse(
      isFilename(`${text}/`) || isFilename(`/${text}`) || isFilename(`../${text}`) || isFilename(`C:${text}`)
    )
  })
})

describe("AssetUrl", () => {
  const parse = (given: unknown) => Schema.decodeUnknownSync(AssetUrl.AssetUrls)(given)

  it("shows no user info, no query and no fragment", () => {
    const [shown] = parse("https://user:password@example.test:8443/a/b.bin?token=1#frag")
    assert.strictEqual(shown.display, "https://example.test:8443/a/b.bin?<redacted>")
    assert.strictEqual(shown.protocol, "https:")
    assert.strictEqual(JSON.stringify(shown), '{"url":"https://example.test:8443/a/b.bin?<redacted>","headers":[]}')
  })

  it("keeps the order of mirrors and which header belongs to which", () => {
    const urls = parse([url, { url: "https://mirror.test/a", headers: { "X-Key": "k" } }, "file:///srv/a"])
    assert.deepStrictEqual(
      urls.map((one) => [one.display, ...Object.keys(one.headers)]),
      [[url], ["https://mirror.test/a", "X-Key"], ["file:///srv/a"]]
    )
    assert.deepStrictEqual(
      urls.map(({ protocol }) => protocol),
      ["https:", "https:", "file:"]
    )
  })

  it("cannot be constructed with what would not decode, and does not tell the secret when it refuses", () => {
    for (const href of ["ftp://u:hunter2@example.test", "hunter2", ""]) {
      const made = Either.try(() => new AssetUrl.AssetUrl({ href: Redacted.make(href), headers: {} }))
      assert.isTrue(Either.isLeft(made))
      if (Either.isLeft(made)) assert.notInclude(String(made.left), "hunter2")
    }
  })
})

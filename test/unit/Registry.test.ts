import { inspect } from "node:util"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AssetUrl, ImageError, ImageName, ImageSource, Registry } from "../../src/index.js"
import { MemoryFileSystem } from "../../src/testing/index.js"

const digest = "ab".repeat(32)
const asset = { url: "https://example.test/a", sha256: digest }
const image = { kernel: asset, rootfs: asset }

const decodeImage = Schema.decodeUnknownSync(ImageSource.ImageSource)

/** The registry that a layer builds, as a plain object of its contents. */
const contents = <E>(layer: Layer.Layer<Registry.Registry, E>) =>
  Effect.gen(function* () {
    const registry = yield* Registry.Registry
    const names = yield* registry.list
    const entries = yield* Effect.forEach(names, (name) => Effect.map(registry.get(name), (source) => [name, source]))
    return new Map(
      entries.map(([name, source]) => [
        name as string,
        Option.getOrThrow(source as Option.Option<ImageSource.ImageSource>)
      ])
    )
  }).pipe(Effect.provide(layer))

/** What a JavaScript caller may pass. */
const anything = (images: unknown) => Registry.layer(images as Registry.Images)

/** The problems that building the layer ends with; a defect or a success fails the test. */
const problemsOf = <E>(layer: Layer.Layer<Registry.Registry, E>) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(Effect.provide(Registry.Registry, layer))
    if (Exit.isSuccess(exit)) return assert.fail("the layer was built")
    assert.strictEqual(exit.cause._tag, "Fail", inspect(exit.cause))
    const error = exit.cause._tag === "Fail" ? exit.cause.error : undefined
    if (!(error instanceof ImageError.ValueError)) return assert.fail(inspect(error))
    return error
  })

const listed = (error: ImageError.ValueError) => error.problems.map(({ message, path }) => `${path}: ${message}`)

const rejects = (images: unknown, ...expected: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const error = yield* problemsOf(anything(images))
    assert.strictEqual(error.field, "registry")
    assert.deepStrictEqual(listed(error), expected)
  })

const withKernel = (fields: object) => ({ x: { ...image, kernel: { ...asset, ...fields } } })

const rejectsKernel = (field: string, values: ReadonlyArray<unknown>, message: string) =>
  Effect.forEach(values, (value) => rejects(withKernel({ [field]: value }), `x.kernel.${field}: ${message}`))

describe("Registry.layer", () => {
  it.effect("holds plain records and instances alike", () =>
    Effect.gen(function* () {
      const held = yield* contents(Registry.layer({ plain: image, instance: decodeImage(image) }))
      assert.deepStrictEqual([...held.keys()], ["plain", "instance"])
      for (const source of held.values()) {
        assert.instanceOf(source, ImageSource.ImageSource)
        assert.deepStrictEqual(source, decodeImage(image))
      }
    })
  )

  it.effect("may be empty", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* contents(Registry.layer({}))).size, 0)
    })
  )

  it.effect("takes every spelling of a URL, Redacted ones included", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("https://example.test/a?token=hunter2")
      const spelled = {
        a: "https://example.test/a?token=hunter2",
        b: secret,
        c: " https://example.test/a?token=hunter2\n",
        d: { url: secret },
        e: { url: secret, headers: {} },
        f: [secret],
        g: [
          { url: "https://example.test/a?token=hunter2", headers: { authorization: Redacted.make("Bearer hunter2") } }
        ]
      } as const
      for (const url of Object.values(spelled)) {
        const held = yield* contents(Registry.layer({ x: { ...image, kernel: { url, sha256: digest } } }))
        const [first, ...rest] = held.get("x")?.kernel.url ?? []
        assert.isEmpty(rest)
        assert.strictEqual(first && Redacted.value(first.href), "https://example.test/a?token=hunter2")
      }
      const held = yield* contents(Registry.layer({ x: { ...image, kernel: { url: spelled.g } } }))
      const headers = held.get("x")?.kernel.url[0].headers ?? {}
      assert.deepStrictEqual(
        Object.entries(headers).map(([name, value]) => [name, Redacted.value(value)]),
        [["authorization", "Bearer hunter2"]]
      )
    })
  )

  it.effect("cleans up a digest", () =>
    Effect.gen(function* () {
      const held = yield* contents(
        Registry.layer(withKernel({ sha256: ` ${digest.toUpperCase()}\n` }) as Registry.Images)
      )
      assert.strictEqual<string | undefined>(held.get("x")?.kernel.sha256, digest)
    })
  )

  it.effect("an image called like a property of every object is an image like any other", () =>
    Effect.gen(function* () {
      const names = ["__proto__", "constructor", "toString", "hasOwnProperty"]
      const held = yield* contents(Registry.layer(Object.fromEntries(names.map((name) => [name, image]))))
      assert.deepStrictEqual([...held.keys()], names)
      const empty = yield* Effect.provide(Registry.Registry, Registry.layer({}))
      for (const name of names) assert.isTrue(Option.isNone(yield* empty.get(name)), name)
    })
  )

  it.effect("what is no record of images is a ValueError, never a defect", () =>
    Effect.gen(function* () {
      const wanted = ": must be a record of images { name: source }, got"
      yield* rejects(null, `${wanted} null`)
      yield* rejects(undefined, `${wanted} undefined`)
      yield* rejects(5, `${wanted} a number`)
      yield* rejects("hello", `${wanted} a string`)
      yield* rejects([], `${wanted} an array`)
      yield* rejects([image], `${wanted} an array`)
      yield* rejects(new Map([["hello", image]]), `${wanted} an object`)
      yield* rejects(() => image, `${wanted} a function`)
    })
  )

  it.effect("what is no image is a ValueError that says what an image is", () =>
    Effect.gen(function* () {
      const wanted = "x: must be an object { kernel, rootfs, initrd?, description?, architecture? }, got"
      yield* rejects({ x: null }, `${wanted} null`)
      yield* rejects({ x: undefined }, `${wanted} undefined`)
      yield* rejects({ x: "https://example.test/a" }, `${wanted} a string`)
      yield* rejects({ x: [image] }, `${wanted} an array`)
      yield* rejects({ x: {} }, "x.kernel: is missing", "x.rootfs: is missing")
      const wantedAsset = "must be an object { url, sha256?, size?, filename? }, got"
      yield* rejects(
        { x: { kernel: null, rootfs: 5 } },
        `x.kernel: ${wantedAsset} null`,
        `x.rootfs: ${wantedAsset} a number`
      )
      yield* rejects({ x: { ...image, initrd: undefined } }, `x.initrd: ${wantedAsset} undefined`)
      yield* rejects({ x: { ...image, description: 5 } }, "x.description: must be a string, got a number")
      yield* rejects(
        { x: { ...image, architecture: " " } },
        "x.architecture: must be a name such as x86_64, with no blanks around it"
      )
    })
  )

  it.effect("an unknown key is an error at every level, never ignored", () =>
    Effect.gen(function* () {
      yield* rejects(
        { x: { ...image, kernal: asset } },
        "x.kernal: is not a known key (known: kernel, rootfs, initrd, description, architecture)"
      )
      yield* rejects(
        withKernel({ sha265: digest }),
        "x.kernel.sha265: is not a known key (known: url, sha256, size, filename)"
      )
      yield* rejects(
        withKernel({ url: { url: asset.url, header: {} } }),
        "x.kernel.url.header: is not a known key (known: url, headers)"
      )
      yield* rejects(
        withKernel({ url: [asset.url, { url: asset.url, header: {} }] }),
        "x.kernel.url[1].header: is not a known key (known: url, headers)"
      )
      yield* rejects(
        JSON.parse(
          `{ "x": { "kernel": { "url": "https://example.test/a", "__proto__": 1 }, "rootfs": { "url": "https://example.test/a" } } }`
        ),
        "x.kernel.__proto__: is not a known key (known: url, sha256, size, filename)"
      )
    })
  )

  it.effect("an empty, blank or undefined digest is an error, never an unpinned asset", () =>
    Effect.gen(function* () {
      yield* rejectsKernel(
        "sha256",
        ["", " ", "\n", "none", digest.slice(1)],
        "must be a SHA-256 digest: 64 hexadecimal digits"
      )
      yield* rejects(withKernel({ sha256: undefined }), "x.kernel.sha256: must be a string, got undefined")
      yield* rejects(withKernel({ sha256: null }), "x.kernel.sha256: must be a string, got null")
    })
  )

  it.effect("a size is a positive whole number of bytes", () =>
    rejectsKernel(
      "size",
      [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60],
      "must be a positive whole number of bytes"
    ).pipe(Effect.zipRight(rejects(withKernel({ size: "5" }), "x.kernel.size: must be a number, got a string")))
  )

  it.effect("a URL is an absolute http(s) or file URL", () =>
    Effect.gen(function* () {
      const shape = "must be an http(s) or file URL, an object { url, headers? }, or a non-empty list of these"
      yield* rejectsKernel("url", [null, undefined, 5, [], () => ""], shape)
      yield* rejectsKernel("url", ["", " \n"], "must not be blank")
      yield* rejectsKernel(
        "url",
        ["images/a", "/images/a", "example.test/a", "//example.test/a"],
        "must be an absolute URL"
      )
      yield* rejectsKernel(
        "url",
        ["ftp://example.test/a", "FTP://example.test/a"],
        "must be an http(s) or file URL, not ftp:"
      )
      yield* rejectsKernel("url", ["data:,abc", "javascript:alert(1)"], "must be an http(s) or file URL")
      yield* rejectsKernel("url", ["file://server/share/a"], "a file URL must not name a host")
      yield* rejectsKernel(
        "url",
        ["file:///a%2Fb", "file:///a%5cb", "file:///a%00b"],
        "a file URL must not contain an encoded separator or NUL"
      )
      yield* rejectsKernel("url", [{ url: "file:///a", headers: { a: "b" } }], "a file URL takes no headers")
      yield* rejects(withKernel({ url: {} }), "x.kernel.url.url: is missing")
      yield* rejects(withKernel({ url: { url: 5 } }), "x.kernel.url.url: must be a string or a Redacted string")
      yield* rejects(withKernel({ url: [asset.url, 5] }), `x.kernel.url[1]: ${shape}`)
      yield* rejects(
        withKernel({ url: ["", asset.url, "a"] }),
        "x.kernel.url[0]: must not be blank",
        "x.kernel.url[2]: must be an absolute URL"
      )
    })
  )

  it.effect("a header is one that a request can carry and the transfer does not need itself", () =>
    Effect.gen(function* () {
      const headers = (given: unknown) => withKernel({ url: { url: asset.url, headers: given } })
      yield* rejects(headers({ "bad name": "v" }), `x.kernel.url: "bad..." is not a header name`)
      yield* rejects(headers({ "": "v" }), `x.kernel.url: "..." is not a header name`)
      yield* rejects(
        headers({ "x-a": "v\r\nx-b: v" }),
        "x.kernel.url: the value of header x-a has characters that a header cannot carry"
      )
      yield* rejects(
        headers({ "x-a": "\u0100" }),
        "x.kernel.url: the value of header x-a has characters that a header cannot carry"
      )
      yield* rejects(headers({ "x-a": 5 }), "x.kernel.url.headers.x-a: must be a string or a Redacted string")
      for (const name of [
        "Range",
        "if-range",
        "Host",
        "Accept-Encoding",
        "content-length",
        "Transfer-Encoding",
        "connection"
      ]) {
        yield* rejects(
          headers({ [name]: "v" }),
          `x.kernel.url: the header ${name.toLowerCase()} is set by the transfer itself`
        )
      }
    })
  )

  it.effect("a name that could leave the cache directory is refused, and named", () =>
    Effect.gen(function* () {
      const message =
        'an image name is letters, digits, ".", "_" and "-", not starting with a dot, at most 128 characters'
      for (const name of [
        "..",
        ".",
        "../x",
        "a/b",
        "/etc",
        "C:\\x",
        "a\\b",
        "a\0b",
        ".hidden",
        ".smolvm-images",
        "a b"
      ]) {
        yield* rejects({ [name]: image }, `[${JSON.stringify(name)}]: ${message}`)
      }
      yield* rejects({ "": image }, '[""]: an image name must not be empty')
      yield* rejects({ " \t": image }, '[" \\t"]: an image name must not be empty')
      yield* rejects({ ["x".repeat(300)]: image }, `["${"x".repeat(64)}..."]: ${message}`)
    })
  )

  it.effect("a file name that could leave the image's directory is refused, and named", () =>
    Effect.gen(function* () {
      const message =
        'must be a plain file name: no "/", "\\", ":" or control character, no leading dot, no blanks around it, at most 200 bytes'
      const wrong = [
        "",
        " ",
        "a ",
        " a",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:\\x",
        "C:x",
        "a\0b",
        "a\nb",
        ".x"
      ]
      yield* rejectsKernel("filename", [...wrong, "x".repeat(300), "é".repeat(101), "\ud800"], message)
      yield* rejects(withKernel({ filename: 5 }), "x.kernel.filename: must be a string, got a number")
    })
  )

  it.effect("two assets of one image must not share a file, whatever its case or normal form", () =>
    Effect.gen(function* () {
      const same = (kernel: object, rootfs: object, initrd?: object) =>
        rejects(
          {
            x: {
              kernel: { ...asset, ...kernel },
              rootfs: { ...asset, ...rootfs },
              ...(initrd && { initrd: { ...asset, ...initrd } })
            }
          },
          "x: two assets of one image must not have the same filename"
        )
      yield* same({ filename: "disk" }, { filename: "disk" })
      yield* same({ filename: "Disk" }, { filename: "dISK" })
      yield* same({ filename: "\u00e9" }, { filename: "e\u0301" })
      yield* same({ filename: "rootfs.ext4" }, {})
      yield* same({}, { filename: "VMLINUX.bin" })
      yield* same({}, {}, { filename: "rootfs.ext4" })
      yield* same({ filename: "INITRD.img" }, {}, {})
    })
  )

  it.effect("lists every problem at once, each with its path", () =>
    rejects(
      {
        good: image,
        "a/b": image,
        empty: {},
        many: { kernel: { url: "", sha256: "", size: 0, filename: "..", extra: 1 }, rootfs: asset, other: 1 }
      },
      '["a/b"]: an image name is letters, digits, ".", "_" and "-", not starting with a dot, at most 128 characters',
      "empty.kernel: is missing",
      "empty.rootfs: is missing",
      "many.other: is not a known key (known: kernel, rootfs, initrd, description, architecture)",
      "many.kernel.extra: is not a known key (known: url, sha256, size, filename)",
      "many.kernel.url: must not be blank",
      "many.kernel.sha256: must be a SHA-256 digest: 64 hexadecimal digits",
      "many.kernel.size: must be a positive whole number of bytes",
      'many.kernel.filename: must be a plain file name: no "/", "\\", ":" or control character, no leading dot, no blanks around it, at most 200 bytes'
    )
  )

  it.effect("an instance that its constructor did not check is checked here", () =>
    Effect.gen(function* () {
      const good = decodeImage(image)
      const kernel = (fields: Partial<ImageSource.Asset>) =>
        new ImageSource.ImageSource(
          { rootfs: good.rootfs, kernel: new ImageSource.Asset({ ...good.kernel, ...fields }, true) },
          true
        )
      yield* rejects(
        { x: kernel({ filename: "../../etc/passwd" }) },
        'x.kernel.filename: must be a plain file name: no "/", "\\", ":" or control character, no leading dot, no blanks around it, at most 200 bytes'
      )
      yield* rejects(
        { x: kernel({ filename: "rootfs.ext4" }) },
        "x: two assets of one image must not have the same filename"
      )
      const url = new AssetUrl.AssetUrl({ href: Redacted.make("ftp://example.test"), headers: {} }, true)
      yield* rejects({ x: kernel({ url: [url] }) }, "x.kernel.url[0]: must be an http(s) or file URL, not ftp:")
    })
  )

  it.effect("no secret of a bad entry reaches the error", () =>
    Effect.gen(function* () {
      const secrets = ["hunter2", "s3cr3t", "t0k3n"]
      const bad: ReadonlyArray<object> = [
        { url: "ftp://s3cr3t:hunter2@example.test/a?sig=t0k3n" },
        { url: "s3cr3t:hunter2@example.test/a?sig=t0k3n" },
        { url: "//s3cr3t:hunter2@example.test/a?sig=t0k3n" },
        { url: "file://s3cr3t:hunter2@example.test/a?sig=t0k3n" },
        { url: ["https://s3cr3t:hunter2@example.test/a?sig=t0k3n", 5] },
        { url: { url: "https://example.test/?t0k3n", headers: { authorization: "hunter2\n", "x y s3cr3t": "v" } } },
        { url: { url: "https://example.test/?t0k3n", headers: { "authorization: Bearer hunter2": "s3cr3t" } } },
        { url: { url: "https://example.test/?t0k3n", headers: { range: Redacted.make("hunter2") }, s: "s3cr3t" } },
        { url: { url: Redacted.make("hunter2"), headers: "s3cr3t" } },
        { url: Redacted.make("hunter2") },
        { url: asset.url, sha256: "hunter2" },
        { url: asset.url, filename: "../hunter2" },
        { url: asset.url, "https://s3cr3t:hunter2@example.test/a?sig=t0k3n": true }
      ]
      for (const kernel of bad) {
        const error = yield* problemsOf(anything({ x: { kernel, rootfs: asset } }))
        const shown = [
          error.message,
          String(error),
          JSON.stringify(error),
          inspect(error, { depth: 20 }),
          error.stack ?? ""
        ].join("\n")
        for (const secret of secrets) assert.notInclude(shown, secret)
      }
    })
  )

  it.effect("no secret of a good entry shows when it is printed", () =>
    Effect.gen(function* () {
      const held = yield* contents(
        Registry.layer({
          x: {
            kernel: { url: "https://s3cr3t:hunter2@example.test/a?sig=t0k3n#f4agment", sha256: digest },
            rootfs: { url: [{ url: "https://example.test/b", headers: { authorization: "Bearer hunter2" } }] }
          }
        })
      )
      const source = held.get("x")
      const shown = [String(source), JSON.stringify(source), inspect(source, { depth: 20, showHidden: true })].join(
        "\n"
      )
      for (const secret of ["hunter2", "s3cr3t", "t0k3n", "f4agment"]) assert.notInclude(shown, secret)
      assert.include(JSON.stringify(source), "https://example.test/a")
      assert.include(JSON.stringify(source), "authorization")
    })
  )
})

const AnyAsset = FastCheck.record(
  {
    url: FastCheck.oneof(FastCheck.webUrl(), FastCheck.array(FastCheck.webUrl(), { minLength: 1, maxLength: 3 })),
    sha256: Arbitrary.make(Schema.typeSchema(ImageSource.Asset.fields.sha256.from)),
    size: FastCheck.integer({ min: 1 })
  },
  { requiredKeys: ["url"] }
)

describe("properties", () => {
  it.effect.prop(
    "every registry of valid parts is accepted, and holds what it was given",
    [
      FastCheck.dictionary(
        Arbitrary.make(ImageName.ImageName),
        FastCheck.record({ kernel: AnyAsset, rootfs: AnyAsset }),
        { maxKeys: 4, noNullPrototype: true }
      )
    ],
    ([images]) =>
      Effect.gen(function* () {
        const held = yield* contents(anything(images))
        assert.deepStrictEqual([...held.keys()].sort(), Object.keys(images).sort())
        for (const [name, { kernel }] of Object.entries(images)) {
          const source = held.get(name)
          assert.strictEqual(source?.kernel.sha256, kernel.sha256)
          assert.strictEqual(source?.kernel.size, kernel.size)
          assert.deepStrictEqual(
            source?.kernel.url.map(({ href }) => Redacted.value(href)),
            [kernel.url].flat()
          )
        }
      }),
    { fastCheck: { numRuns: 40 } }
  )

  it.effect.prop(
    "anything at all is a registry or a ValueError, never a defect",
    [
      FastCheck.anything({
        withMap: true,
        withDate: true,
        withBigInt: true,
        withSparseArray: true,
        withTypedArray: true
      })
    ],
    ([input]) =>
      Effect.gen(function* () {
        for (const images of [
          input,
          { x: input },
          { x: { kernel: input, rootfs: asset } },
          withKernel({ url: input }),
          withKernel({ filename: input })
        ]) {
          const exit = yield* Effect.exit(Effect.provide(Registry.Registry, anything(images)))
          if (Exit.isFailure(exit)) assert.strictEqual(exit.cause._tag, "Fail", inspect(exit.cause))
        }
      }),
    { fastCheck: { numRuns: 60 } }
  )
})

const file = "/etc/images.json"

const fromFile = (content: string) =>
  Registry.layerFile(file).pipe(Layer.provide(MemoryFileSystem.layerWith({ [file]: content })))

describe("Registry.layerFile", () => {
  it.effect("reads images as Registry.layer takes them, a byte order mark before them or not", () =>
    Effect.gen(function* () {
      const json = JSON.stringify({ images: { b: image, a: { ...image, initrd: asset } } })
      for (const content of [json, `\uFEFF${json}`]) {
        const held = yield* contents(fromFile(content))
        assert.deepStrictEqual([...held.keys()], ["b", "a"])
        assert.deepStrictEqual(held.get("b"), decodeImage(image))
      }
    })
  )

  it.effect("an image called __proto__ does not get lost", () =>
    Effect.gen(function* () {
      const held = yield* contents(
        fromFile(`{ "images": { "__proto__": ${JSON.stringify(image)}, "constructor": ${JSON.stringify(image)} } }`)
      )
      assert.deepStrictEqual([...held.keys()], ["__proto__", "constructor"])
    })
  )

  it.effect("lists every problem of the file in one ValueError, unknown keys included", () =>
    Effect.gen(function* () {
      const error = yield* problemsOf(
        fromFile(
          JSON.stringify({ images: { hello: { kernel: { url: "x", sha265: digest }, rootfs: asset }, "a/b": 5 } })
        )
      )
      assert.strictEqual(error.field, `registry file ${file}`)
      assert.strictEqual(
        error.message,
        [
          "Invalid registry file /etc/images.json, 4 problems:",
          "  - images.hello.kernel.sha265: is not a known key (known: url, sha256, size, filename)",
          "  - images.hello.kernel.url: must be an absolute URL",
          '  - images["a/b"]: an image name is letters, digits, ".", "_" and "-", not starting with a dot, at most 128 characters',
          '  - images["a/b"]: must be an object { kernel, rootfs, initrd?, description?, architecture? }, got a number'
        ].join("\n")
      )
    })
  )

  it.effect("says what a registry file is when this is something else", () =>
    Effect.gen(function* () {
      const shape = "Invalid registry file /etc/images.json: must be an object { images }, got"
      const record = "Invalid registry file /etc/images.json: images: must be a record of images { name: source }, got"
      const cases = {
        "[]": `${shape} an array`,
        null: `${shape} null`,
        '"images"': `${shape} a string`,
        "{}": `${record} undefined`,
        [JSON.stringify({ images: {}, image: {} })]:
          "Invalid registry file /etc/images.json: image: is not a known key (known: images)",
        '{ "images": [] }': `${record} an array`,
        '{ "images": null }': `${record} null`
      }
      for (const [content, message] of Object.entries(cases)) {
        assert.strictEqual((yield* problemsOf(fromFile(content))).message, message)
      }
    })
  )

  it.effect("says where a file stops being JSON, without quoting it", () =>
    Effect.gen(function* () {
      for (const content of [
        "",
        "images:",
        '{ "images": {',
        '{ "url": "https://u:hunter2@example.test" oops }',
        "hunter2"
      ]) {
        const error = yield* problemsOf(fromFile(content))
        assert.match(error.message, /^Invalid registry file \/etc\/images\.json: is not JSON/)
        assert.notInclude(inspect(error), "hunter2")
      }
      assert.include((yield* problemsOf(fromFile('{\n  "images": [] oops }'))).message, "line 2, column 16")
    })
  )

  it.effect("fails with an ImageError when the file cannot be read", () =>
    Effect.gen(function* () {
      const disk = MemoryFileSystem.layerFaulty(
        MemoryFileSystem.layerWith({ "/etc/locked.json": "{}", "/etc/dir/x": "" }),
        ({ path }) => (path === "/etc/locked.json" ? Effect.fail("EACCES") : Effect.void)
      )
      const cases = {
        "/etc/missing.json": "ENOENT",
        "/etc/locked.json": "EACCES",
        "/etc/dir": "EISDIR",
        "/etc/dir/x/y": "ENOTDIR"
      }
      for (const [path, code] of Object.entries(cases)) {
        const error = yield* Effect.flip(
          Effect.provide(Registry.Registry, Layer.provide(Registry.layerFile(path), disk))
        )
        if (!(error instanceof ImageError.ImageError)) return assert.fail(inspect(error))
        assert.strictEqual(error.reason, "StorageFailed")
        assert.strictEqual(error.path, path)
        assert.strictEqual(error.message, `Storage failed at ${path}: the registry file cannot be read (${code})`)
        assert.instanceOf(error.cause, Error)
      }
    })
  )

  it.effect("a path that is no path is a ValueError", () =>
    Effect.gen(function* () {
      for (const path of ["", " ", "a\0b", null, undefined, 5, ["/etc/images.json"]]) {
        const error = yield* problemsOf(Layer.provide(Registry.layerFile(path as string), MemoryFileSystem.layer))
        assert.strictEqual(error.message, "Invalid path: must name a file")
      }
    })
  )

  it.effect("is read anew whenever the layer is built", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const layer = Layer.provide(Registry.layerFile(file), Layer.succeed(FileSystem.FileSystem, fs))
      yield* fs.writeFileString(file, JSON.stringify({ images: { b: image } }))
      assert.deepStrictEqual([...(yield* contents(layer)).keys()], ["b"])
    }).pipe(Effect.provide(MemoryFileSystem.layerWith({ [file]: JSON.stringify({ images: { a: image } }) })))
  )
})

describe("Registry.layerBuiltIn", () => {
  it.effect("has exactly the four assets of the design, pinned", () =>
    Effect.gen(function* () {
      const held = yield* contents(Registry.layerBuiltIn)
      const base = "https://s3.amazonaws.com/spec.ccfc.min/"
      const assets = [...held].flatMap(([name, source]) =>
        source.files.map(({ asset: { sha256, url }, filename, role }) =>
          [name, role, filename, ...url.map(({ href }) => Redacted.value(href)), sha256].join(" ")
        )
      )
      assert.deepStrictEqual(assets, [
        `hello kernel vmlinux.bin ${base}img/hello/kernel/hello-vmlinux.bin 882fa465c43ab7d92e31bd4167da3ad6a82cb9230f9b0016176df597c6014cef`,
        `hello rootfs rootfs.ext4 ${base}img/hello/fsfiles/hello-rootfs.ext4 786f0612582cadcee4c8ad46e30e4cc93dff9a3c0b4ede3f3c597b4c241dd547`,
        `quickstart-x86_64 kernel vmlinux.bin ${base}img/quickstart_guide/x86_64/kernels/vmlinux.bin ea5e7d5cf494a8c4ba043259812fc018b44880d70bcbbfc4d57d2760631b1cd6`,
        `quickstart-x86_64 rootfs rootfs.ext4 ${base}img/quickstart_guide/x86_64/rootfs/bionic.rootfs.ext4 2a840feeccb5cb161c6eab1ecd86667c06ed5e307da534d2d3c9e39a6ec6c30a`
      ])
      assert.include(held.get("hello")?.description ?? "", "10 MB")
      assert.include(held.get("quickstart-x86_64")?.description ?? "", "100 MB")
      assert.include(held.get("quickstart-x86_64")?.description ?? "", "Bionic")
      for (const source of held.values()) assert.strictEqual(source.architecture, "x86_64")
    })
  )
})

describe("Registry.merge and overlay", () => {
  const upper = { shared: { ...image, description: "upper" }, a: image }
  const lower = { shared: { ...image, description: "lower" }, z: image }

  it.effect("the upper registry wins, the lower one shines through", () =>
    Effect.gen(function* () {
      const merged = Registry.merge(yield* Registry.make(upper), yield* Registry.make(lower))
      assert.deepStrictEqual(yield* merged.list, ["a", "shared", "z"])
      const shared = Option.getOrThrow(yield* merged.get("shared"))
      assert.strictEqual(shared.description, "upper")
      assert.isTrue(Option.isSome(yield* merged.get("a")))
      assert.isTrue(Option.isSome(yield* merged.get("z")))
      assert.isTrue(Option.isNone(yield* merged.get("other")))
    })
  )

  it.effect("overlay does the same for layers, piped or called", () =>
    Effect.gen(function* () {
      for (const layer of [
        Registry.layer(upper).pipe(Registry.overlay(Registry.layer(lower))),
        Registry.overlay(Registry.layer(upper), Registry.layer(lower))
      ]) {
        const held = yield* contents(layer)
        assert.deepStrictEqual(
          [...held].map(([name, source]) => [name, source.description]),
          [
            ["a", undefined],
            ["shared", "upper"],
            ["z", undefined]
          ]
        )
      }
      const custom = yield* contents(Registry.layer({ mine: image }).pipe(Registry.overlay(Registry.layerBuiltIn)))
      assert.deepStrictEqual([...custom.keys()], ["hello", "mine", "quickstart-x86_64"])
    })
  )

  it.effect("a problem of either layer is the overlay's", () =>
    Effect.gen(function* () {
      const bad = anything({ "": image })
      for (const layer of [
        Registry.overlay(bad, Registry.layerBuiltIn),
        Registry.overlay(Registry.layerBuiltIn, bad)
      ]) {
        assert.strictEqual((yield* problemsOf(layer)).field, "registry")
      }
    })
  )
})

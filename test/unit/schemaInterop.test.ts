// `@effect/schema` is what `effect/Schema` was before effect 3.10: a second implementation that people may still hold
// schemas of. Its schemas do not compose with ours; our classes and plain records do with its.
import * as OldSchema from "@effect/schema/Schema"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { ImageSource, LocalImage, Registry } from "../../src/index.js"

const image = new LocalImage.LocalImage({ name: "hello", kernelPath: "/c/vmlinux.bin", rootfsPath: "/c/rootfs.ext4" })

describe("@effect/schema", () => {
  it("holds a LocalImage in a struct, by instanceOf", () => {
    const Machine = OldSchema.Struct({ cpus: OldSchema.Int, image: OldSchema.instanceOf(LocalImage.LocalImage) })
    const decode = OldSchema.decodeUnknownEither(Machine)
    const machine = Either.getOrThrow(decode({ cpus: 2, image }))
    assert.strictEqual(machine.image, image)
    assert.isTrue(Either.isLeft(decode({ cpus: 2, image: { ...image } })))
    assert.deepStrictEqual(OldSchema.encodeSync(Machine)(machine), { cpus: 2, image })
  })

  const OldAsset = OldSchema.Struct({
    url: OldSchema.Union(OldSchema.String, OldSchema.NonEmptyArray(OldSchema.String)),
    sha256: OldSchema.optionalWith(OldSchema.Lowercase, { exact: true }),
    size: OldSchema.optionalWith(OldSchema.NumberFromString, { exact: true })
  })
  const OldRegistry = OldSchema.Record({
    key: OldSchema.String,
    value: OldSchema.Struct({ kernel: OldAsset, rootfs: OldAsset })
  })

  it.effect("decodes a registry that Registry.layer takes", () =>
    Effect.gen(function* () {
      const images = yield* OldSchema.decodeUnknown(OldRegistry)({
        hello: {
          kernel: { url: "https://example.test/kernel", sha256: "AB".repeat(32), size: "5" },
          rootfs: { url: ["https://example.test/rootfs", "https://mirror.test/rootfs"] }
        }
      })
      const registry = yield* Effect.provide(Registry.Registry, Registry.layer(images))
      const source = Option.getOrThrow(yield* registry.get("hello"))
      assert.instanceOf(source, ImageSource.ImageSource)
      assert.strictEqual<string | undefined>(source.kernel.sha256, "ab".repeat(32))
      assert.strictEqual(source.kernel.size, 5)
      assert.deepStrictEqual(
        source.rootfs.url.map(({ display }) => display),
        ["https://example.test/rootfs", "https://mirror.test/rootfs"]
      )
    })
  )

  it.effect("what it lets through, Registry.layer still checks", () =>
    Effect.gen(function* () {
      const images = yield* OldSchema.decodeUnknown(OldRegistry)({
        "../x": { kernel: { url: "" }, rootfs: { url: "" } }
      })
      const error = yield* Effect.flip(Effect.provide(Registry.Registry, Registry.layer(images)))
      assert.strictEqual(error.problems.length, 3)
    })
  )
})

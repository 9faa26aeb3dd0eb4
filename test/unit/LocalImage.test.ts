import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import { LocalImage } from "../../src/index.js"

const paths = { name: "hello", kernelPath: "/c/hello/vmlinux.bin", rootfsPath: "/c/hello/rootfs.ext4" }

describe("LocalImage", () => {
  it("is a value: equal to another of the same paths", () => {
    assert.isTrue(Equal.equals(new LocalImage.LocalImage(paths), new LocalImage.LocalImage(paths)))
    assert.isFalse(
      Equal.equals(new LocalImage.LocalImage(paths), new LocalImage.LocalImage({ ...paths, kernelPath: "/other" }))
    )
  })

  it("goes through JSON and back, with and without an initrd", () => {
    for (const fields of [paths, { ...paths, initrdPath: "/c/hello/initrd.img" }]) {
      const image = new LocalImage.LocalImage(fields)
      const json = JSON.stringify(image)
      assert.deepStrictEqual(JSON.parse(json), fields)
      const back = Schema.decodeUnknownSync(Schema.parseJson(LocalImage.LocalImage))(json)
      assert.instanceOf(back, LocalImage.LocalImage)
      assert.deepStrictEqual(back, image)
    }
  })

  it("has no initrdPath at all when the image has no initrd", () => {
    assert.isFalse("initrdPath" in new LocalImage.LocalImage(paths))
  })

  it("prints its paths", () => {
    const text = inspect(new LocalImage.LocalImage(paths))
    for (const path of Object.values(paths)) assert.include(text, path)
  })
})

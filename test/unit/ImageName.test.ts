import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { ImageName } from "../../src/index.js"

const isName = Schema.is(ImageName.ImageName)

describe("ImageName", () => {
  it("is one harmless path component", () => {
    for (const name of ["hello", "quickstart-x86_64", "a", "0", "_", "-", "a.b", "A.1_2-3", "a..", "x".repeat(128)]) {
      assert.isTrue(isName(name), name)
    }
  })

  it("refuses everything that could leave the cache directory or is taken", () => {
    const wrong = [
      ...["", " ", "\t\n", ".", "..", "...", ".smolvm-images", "../a", "a/b", "/a", "a/", "a\\b", "C:\\a", "C:", "a\0"],
      ...["a\n", "a b", " a", "a ", "ä", "ａ", "a\u202e", "*", "~", "$HOME", "%2e%2e", "x".repeat(129), "x".repeat(300)]
    ]
    for (const name of [...wrong, null, undefined, 5, [], ["hello"], {}]) {
      assert.isFalse(isName(name), JSON.stringify(name))
    }
  })

  it.prop("a name from the Schema stays directly inside any directory", [ImageName.ImageName], ([name]) => {
    assert.strictEqual(path.dirname(path.resolve("/cache", name)), "/cache")
    assert.strictEqual(path.win32.dirname(path.win32.resolve("C:\\cache", name)), "C:\\cache")
    assert.isAtMost(Buffer.byteLength(name), ImageName.maxLength)
    assert.isFalse(name.startsWith("."))
  })

  it.prop(
    "any text is a name only if it is safe as one",
    [FastCheck.string({ unit: "binary", maxLength: 6 })],
    ([text]) => {
      if (isName(text)) assert.strictEqual(path.dirname(path.resolve("/cache", text)), "/cache")
      assert.isFalse(isName(`${text}/x`) || isName(`${text}\0`) || isName(`.${text}`) || isName(`${text}\\`))
    }
  )
})

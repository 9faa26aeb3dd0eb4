import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { Sha256 } from "../../src/index.js"

const digest = "0123456789abcdef".repeat(4)
const decode = Schema.decodeUnknownEither(Sha256.Sha256)

describe("Sha256", () => {
  it("takes a digest as people paste it: upper case, blanks and a line end around it", () => {
    for (const pasted of [
      digest,
      digest.toUpperCase(),
      ` ${digest}`,
      `\t${digest}\r\n`,
      `  ${digest.toUpperCase()}  `
    ]) {
      assert.deepStrictEqual<unknown>(decode(pasted), Either.right(digest))
    }
  })

  it("refuses what is no digest, the blank one above all", () => {
    const wrong = [
      "",
      " ",
      "\n",
      digest.slice(1),
      `${digest}0`,
      `sha256:${digest}`,
      digest.replace("0", "g"),
      null,
      5,
      []
    ]
    for (const input of [...wrong, undefined, `${digest.slice(0, 32)} ${digest.slice(32)}`, `${digest} vmlinux`]) {
      assert.isTrue(Either.isLeft(decode(input)), `accepted ${JSON.stringify(input)}`)
    }
  })

  it("brands what is known to be a digest, and throws on the rest", () => {
    assert.strictEqual<string>(Sha256.make(digest), digest)
    for (const other of ["not a digest", digest.toUpperCase(), ` ${digest}`]) assert.throws(() => Sha256.make(other))
  })

  it.prop(
    "every digest decodes to itself, however it is spelled",
    [Sha256.Sha256, FastCheck.boolean()],
    ([sha256, upper]) => {
      const spelled = `\n ${upper ? sha256.toUpperCase() : sha256} `
      assert.strictEqual(Schema.decodeSync(Sha256.Sha256)(spelled), sha256)
      assert.strictEqual<string>(Schema.encodeSync(Sha256.Sha256)(sha256), sha256)
    }
  )
})

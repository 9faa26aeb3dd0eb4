import { assert, describe, it } from "@effect/vitest"
import { type Listed, lines } from "../../src/node/cli/held.js"

const images: ReadonlyArray<Listed> = [
  { name: "alpine", architecture: "x86_64", description: "Alpine with SSH", cached: true, size: 52_400_000 },
  { name: "quickstart-x86_64", architecture: "x86_64", description: "Ubuntu", cached: false }
]

describe("list in a window", () => {
  it("that is wide enough has all columns, and cuts descriptions", () => {
    assert.deepStrictEqual(lines(images, 80), [
      "NAME               ARCH    CACHED  SIZE     DESCRIPTION",
      "alpine             x86_64  cached  52.4 MB  Alpine with SSH",
      "quickstart-x86_64  x86_64  -       -        Ubuntu"
    ])
    assert.deepStrictEqual(lines(images), lines(images, 80))
    assert.strictEqual(lines(images, 56)[1], "alpine             x86_64  cached  52.4 MB  Alpine wi...")
  })

  it("that is narrow has no descriptions, then no architecture: the size stays", () => {
    assert.strictEqual(lines(images, 54)[1], "alpine             x86_64  cached  52.4 MB")
    assert.deepStrictEqual(lines(images, 40), [
      "NAME               CACHED  SIZE",
      "alpine             cached  52.4 MB",
      "quickstart-x86_64  -       -"
    ])
  })

  it("that one long name would fill still says what is cached", () => {
    const long: Listed = { name: "n".repeat(104), cached: true, size: 1000 }
    assert.deepStrictEqual(lines([long, ...images], 40), [
      "NAME                     CACHED  SIZE",
      "nnnnnnnnnnnnnnnnnnnn...  cached  1.0 kB",
      "alpine                   cached  52.4 MB",
      "quickstart-x86_64        -       -"
    ])
  })

  it("cuts no character in two", () => {
    const emoji: Listed = { name: "a", description: "🐧".repeat(40), cached: false }
    for (let columns = 30; columns < 60; columns++) {
      for (const line of lines([emoji], columns)) assert.notMatch(line, /\ud83d(?![\udc00-\udfff])/)
    }
  })

  it("is never wider than the window", () => {
    for (let columns = 3; columns < 90; columns++) {
      for (const line of lines(images, columns)) assert.isAtMost(line.length, columns)
    }
  })
})

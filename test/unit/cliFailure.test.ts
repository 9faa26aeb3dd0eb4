import { assert, describe, it } from "@effect/vitest"
import { ImageError } from "../../src/ImageError.js"
import * as Failure from "../../src/node/cli/failure.js"

describe("hints", () => {
  it("a download that failed begins from zero the next time, and nothing else is promised", () => {
    for (const status of [undefined, 500, 503]) {
      const error = new ImageError({
        reason: "DownloadFailed",
        image: "hello",
        ...(status === undefined ? {} : { status })
      })
      const { hint } = Failure.describe(error)
      assert.match(hint, /then run the command again/)
      assert.notMatch(hint, /where it stopped/)
    }
  })

  it("another digest may be one that was trusted first: the registry may have none to compare", () => {
    const { exitCode, hint } = Failure.describe(new ImageError({ reason: "ChecksumMismatch", image: "hello" }))
    assert.strictEqual(exitCode, 5)
    assert.match(hint, /publisher.*registry or remove the image/)
  })
})

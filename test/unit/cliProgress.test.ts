// What progress looks like: scripted events in, lines out.
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as FastCheck from "effect/FastCheck"
import * as Progress from "../../src/node/cli/progress.js"
import * as Text from "../../src/node/cli/text.js"
import { Event } from "../../src/Progress.js"

const url = "https://mirror.example.com/images/rootfs.ext4"
const about = { image: "hello", asset: "rootfs" } as const

const downloading = (
  position: number,
  more: Partial<Extract<Event, { readonly _tag: "Downloading" }>> = {}
): Event => ({
  _tag: "Downloading",
  ...about,
  url,
  received: position,
  position,
  total: 50_000_000,
  bytesPerSecond: 3_200_000,
  ...more
})

const fold = (...events: ReadonlyArray<Event>): Progress.State =>
  events.reduce((state, event) => Progress.update(state, event, 1000), Progress.initial)

const style = { columns: 80, rows: 24, colour: false, unicode: true }
const draw = (state: Progress.State, columns = 80, rows = 24) => Progress.draw(state, { ...style, columns, rows }, 1000)

describe("bars", () => {
  it("a line has percent, bytes, rate, time left and the host in use", () => {
    const [line = "", ...rest] = draw(fold({ _tag: "Checking", image: "hello" }, downloading(22_500_000)))
    assert.deepStrictEqual(rest, [])
    assert.match(line, /^hello rootfs {2}━+─+ +45% +22\.5\/50\.0 MB +3\.2 MB\/s +0:09 {2}mirror.*com$/)
  })

  it("at 40 columns it takes two lines, with the same facts", () => {
    const lines = draw(fold(downloading(22_500_000)), 40)
    assert.strictEqual(lines.length, 2)
    assert.match(lines[0] ?? "", /^hello rootfs {2}━+─+ +45%$/)
    assert.match(lines[1] ?? "", /^ {2}22\.5\/50\.0 MB 3\.2 MB\/s 0:09 m.*m$/)
  })

  it("only what is complete is 100 %", () => {
    assert.include(draw(fold(downloading(49_999_999)))[0] ?? "", " 99%")
    assert.include(draw(fold(downloading(50_000_000)))[0] ?? "", "100%")
    assert.notInclude(draw(fold(downloading(50_000_000), { _tag: "Verifying", ...about }))[0] ?? "", "/s")
  })

  it("without a known length there is no percentage and no time left", () => {
    const event: Event = {
      _tag: "Downloading",
      ...about,
      url,
      received: 5_000_000,
      position: 5_000_000,
      bytesPerSecond: 1000
    }
    const [line = ""] = draw(fold(event))
    assert.notInclude(line, "%")
    assert.notMatch(line, /\d:\d\d/)
    assert.match(line, /5\.0 MB +1\.0 kB\/s/)
  })

  it("a retry tells why, where and when", () => {
    const state = fold(downloading(1000), { _tag: "Retrying", ...about, url, detail: "HTTP 503", delayMillis: 1800 })
    assert.deepStrictEqual(draw(state), ["hello rootfs  trying again in 2 s (mirror.example.com): HTTP 503"])
    assert.strictEqual(draw(fold(downloading(1000), { _tag: "Restarted", ...about }))[0]?.includes("  0%"), true)
  })

  it("an image that is waited for, or put into place, has a line", () => {
    const waiting: Event = { _tag: "Waiting", image: "hello", pid: 7, hostname: "build-1" }
    assert.deepStrictEqual(draw(fold(waiting)), ["hello  waiting for process 7 on build-1"])
    assert.deepStrictEqual(draw(fold({ _tag: "Committing", image: "hello" })), ["hello  putting into place"])
  })

  it("an image that is done, or failed, has none", () => {
    assert.deepStrictEqual(draw(fold(downloading(1), { _tag: "Done", image: "hello" })), [])
    assert.deepStrictEqual(
      draw(fold(downloading(1), { _tag: "Failed", image: "hello", reason: "Offline", message: "" })),
      []
    )
  })

  it("what does not fit the height is counted, and what moves comes first", () => {
    const many = Array.from({ length: 30 }, (_, n) => downloading(n < 20 ? 50_000_000 : 1, { image: `image-${n}` }))
    const lines = draw(fold(...many), 80, 12)
    assert.strictEqual(lines.length, 10)
    assert.match(lines[0] ?? "", /^image-20 rootfs/)
    assert.strictEqual(lines[9], "… and 21 more")
  })

  it("text from outside cannot command the terminal", () => {
    const state = fold({ _tag: "Retrying", ...about, url, detail: "\u001b[2Jgone\nnext", delayMillis: 0 })
    assert.strictEqual(draw(state).join("\n").includes("\u001b"), false)
    assert.strictEqual(draw(state).length, 1)
  })

  it("no line is ever as wide as the terminal, whatever happens in whatever terminal", () => {
    const events = FastCheck.array(Arbitrary.make(Event), { maxLength: 30 })
    const size = FastCheck.record({
      columns: FastCheck.integer({ min: 20, max: 200 }),
      rows: FastCheck.integer({ min: 3, max: 60 })
    })
    FastCheck.assert(
      FastCheck.property(events, size, FastCheck.boolean(), FastCheck.boolean(), (given, of, colour, unicode) => {
        const lines = Progress.draw(fold(...given), { ...of, colour, unicode }, 1000)
        assert.isBelow(lines.length, of.rows)
        for (const line of lines) {
          assert.isBelow(stripVTControlCharacters(line).length, of.columns)
          assert.strictEqual(Text.plain(stripVTControlCharacters(line)), stripVTControlCharacters(line).trim())
        }
      })
    )
  })
})

describe("lines, where there are no bars", () => {
  const line = (event: Event, last?: number, now = 1000) => Progress.lineFor(fold(downloading(1)), event, now, last)

  it("tell of the start, and of how far it is once in ten seconds", () => {
    assert.strictEqual(line(downloading(0)), "hello rootfs: downloading 50.0 MB from mirror.example.com")
    assert.strictEqual(line(downloading(25_000_000), 1000, 10_999), undefined)
    assert.strictEqual(
      line(downloading(25_000_000), 1000, 11_000),
      "hello rootfs: 50%, 25.0/50.0 MB, 3.2 MB/s, 0:08 left"
    )
  })

  it("tell of everything out of the ordinary", () => {
    assert.strictEqual(
      line({ _tag: "Resuming", ...about, url, position: 1_500_000 }),
      "hello rootfs: going on at 1.5 MB from mirror.example.com"
    )
    assert.strictEqual(line({ _tag: "Restarted", ...about }), "hello rootfs: starting again from zero")
    assert.strictEqual(
      line({ _tag: "Retrying", ...about, url, detail: "HTTP 503", delayMillis: 500 }),
      "hello rootfs: mirror.example.com: HTTP 503; trying again in 1 s"
    )
    assert.strictEqual(
      line({ _tag: "Waiting", image: "hello" }),
      "hello: waiting for another process, who is fetching it"
    )
  })

  it("say what was received in all when it is ready, and nothing of a hit", () => {
    assert.strictEqual(line({ _tag: "Done", image: "hello" }, undefined, 4000), "hello: ready, 1 B received in 0:03")
    assert.strictEqual(line({ _tag: "Hit", image: "other" }), undefined)
    assert.strictEqual(line({ _tag: "Done", image: "other" }), undefined)
  })
})

describe("sizes and times", () => {
  it("are short, and never of four digits before the point", () => {
    assert.deepStrictEqual([0, 999, 1000, 999_949, 999_950, 12_345_678, 999_950_000, 5e12].map(Text.bytes), [
      "0 B",
      "999 B",
      "1.0 kB",
      "999.9 kB",
      "1.0 MB",
      "12.3 MB",
      "1.0 GB",
      "5.0 TB"
    ])
    assert.strictEqual(Text.bytesOf(500, 2_000_000), "0.0/2.0 MB")
    assert.deepStrictEqual([0, 59.6, 3599, 3661].map(Text.duration), ["0:00", "1:00", "59:59", "1:01:01"])
  })
})

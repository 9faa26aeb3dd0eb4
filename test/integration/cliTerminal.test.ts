// The bars, in a real terminal.
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bin, type Sandbox, sandbox, serveImages } from "../support/cli.js"
import { stagingOf } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import { Fault, script } from "../support/FaultServer.js"
import * as Tmux from "../support/tmux.js"

const slow = Fault.Trickle({ bytes: 20_000, ms: 100 })

const start = (box: Sandbox, args: string, columns: number, env: Readonly<Record<string, string>> = {}) =>
  Tmux.pane(`${process.execPath} ${bin} ${args}`, { ...box.env, ...env }, { columns, rows: 24 })

const has = (pattern: RegExp) => (lines: ReadonlyArray<string>) => lines.some((line) => pattern.test(line))
const count = (lines: ReadonlyArray<string>, pattern: RegExp) => lines.filter((line) => pattern.test(line)).length

describe.skipIf(!Tmux.isThere)(`list on a terminal${Tmux.isThere ? "" : " (tmux is not there)"}`, () => {
  it.scopedLive("40 columns: a line per image, with its size", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      box.write(".smolvm/images/hello/vmlinux.bin", "kernel")
      box.write(".smolvm/images/hello/rootfs.ext4", "x".repeat(1_500_000))
      const pane = yield* start(box, "list", 40)
      assert.deepStrictEqual(yield* pane.until(has(/^exit=/)), [
        "NAME               CACHED  SIZE",
        "hello              cached  1.5 MB",
        "quickstart-x86_64  -       -",
        "exit=0"
      ])
    })
  )
})

describe.skipIf(!Tmux.isThere)(`bars on a terminal${Tmux.isThere ? "" : " (tmux is not there)"}`, () => {
  it.scopedLive("80 columns: one line per asset, with everything there is to know", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const images = { one: { size: 2_000_000, faults: [slow] }, two: { size: 4_000_000, faults: [slow] } }
      const pane = yield* start(box, `ensure one two --registry ${serveImages(server, box, images)}`, 80)
      const host = `127.0.0.1:${server.port}`
      const line = (name: string, total: string) =>
        new RegExp(`^${name} rootfs {2}━*─+ +\\d+% +\\d\\.\\d/${total} MB +\\d+\\.\\d kB/s +0:\\d\\d +${host}$`)
      const both = (lines: ReadonlyArray<string>) =>
        has(line("one", "2\\.0"))(lines) && has(line("two", "4\\.0"))(lines)
      const first = yield* pane.until(both)
      // Drawn again and again, in the same place.
      const later = yield* pane.until((lines) => both(lines) && lines.join() !== first.join())
      assert.deepStrictEqual([count(later, /one rootfs/), count(later, /two rootfs/)], [1, 1])
      assert.include(yield* pane.coloured, "\u001b[36m")
    })
  )

  it.scopedLive(
    "40 columns: two lines per asset; Ctrl-C takes them and the temporary files away and exits with 130",
    () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const box = yield* sandbox
        const registry = serveImages(server, box, { one: { size: 2_000_000, faults: [slow] } })
        const pane = yield* start(box, `ensure one --registry ${registry}`, 40)
        yield* pane.until(has(/^one rootfs {2}━+─+ +[1-9]\d?%$/))
        yield* pane.until(has(/^ {2}\d\.\d\/2\.0 MB \d+\.\d kB\/s 0:\d\d/))
        yield* pane.keys("C-c")
        const left = yield* pane.until(has(/^exit=/))
        assert.deepStrictEqual(left, ["exit=130"])
        assert.deepStrictEqual(yield* stagingOf(box.cacheDir), [])
      })
  )

  it.scopedLive("the window becomes narrow and wide again: nothing old stays on the screen", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const images = Object.fromEntries(
        ["one", "two", "six"].map((name) => [name, { size: 6_000_000, faults: [slow] }])
      )
      const registry = serveImages(server, box, images)
      const pane = yield* start(box, `ensure one two six --registry ${registry}`, 100)
      const full = / rootfs {2}━*─+ +\d+% .*127/
      yield* pane.until((lines) => count(lines, full) === 3)
      for (const columns of [60, 45, 120, 80]) {
        // tmux tells of a second resize at once only when the first is a quarter of a second old.
        yield* Effect.sleep("400 millis")
        yield* pane.resize(columns, 24)
        const wide = columns >= 72
        // Three kernels, which are complete, three rootfs, and nothing else.
        yield* pane.until(
          (lines) =>
            count(lines, / rootfs /) === 3 &&
            count(lines, wide ? full : /^ {2}\d\.\d\/6/) === 3 &&
            count(lines, /./) === (wide ? 6 : 12)
        )
      }
    })
  )

  it.scopedLive("more images than lines: as many as fit, and how many there are besides", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const names = Array.from({ length: 30 }, (_, n) => `image-${n}`)
      const images = Object.fromEntries(names.map((name) => [name, { size: 1_000_000, faults: [slow] }]))
      const registry = serveImages(server, box, images)
      const pane = yield* start(box, `ensure ${names.join(" ")} --registry ${registry}`, 80)
      const lines = yield* pane.until((seen) => has(/^… and \d+ more$/)(seen) && count(seen, / rootfs .*%/) > 15)
      assert.isAtMost(lines.length, 24)
      yield* pane.keys("C-c")
      assert.deepStrictEqual(yield* pane.until(has(/^exit=/)), ["exit=130"])
    })
  )

  it.scopedLive("a retry is told in place of the bar, and when all is done only the result is left", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const faults = [script(Fault.Status({ status: 503, retryAfter: { seconds: 2 } }), slow)]
      const registry = serveImages(server, box, { one: { size: 300_000, faults } })
      const pane = yield* start(box, `ensure one --registry ${registry}`, 80)
      yield* pane.until(has(/^one rootfs {2}trying again in \d s \(127\.0\.0\.1:\d+\): .*503/))
      const left = yield* pane.until(has(/^exit=/))
      assert.deepStrictEqual(
        left.slice(-4).map((line) => line.replace(/ in \d:\d\d$/, "")),
        [
          "one: ready, 301.0 kB received",
          join(box.cacheDir, "one", "vmlinux.bin"),
          join(box.cacheDir, "one", "rootfs.ext4"),
          "exit=0"
        ]
      )
      assert.strictEqual(has(/%/)(left), false)
    })
  )

  it.scopedLive("NO_COLOR: no colours; CI or a dumb terminal: no bars", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const faults = [slow]
      const registry = serveImages(server, box, { one: { size: 300_000, faults }, two: { size: 300_000, faults } })
      const plain = yield* start(box, `ensure one --registry ${registry}`, 80, { NO_COLOR: "1" })
      yield* plain.until(has(/^one rootfs .*%/))
      assert.notInclude(yield* plain.coloured, "\u001b[3")

      const lines = yield* start(box, `ensure two --registry ${registry}`, 80, { CI: "true" })
      const left = yield* lines.until(has(/^exit=/))
      assert.strictEqual(has(/^two rootfs: downloading 300\.0 kB from 127/)(left), true)
      assert.strictEqual(has(/━/)(left), false)
    })
  )
})

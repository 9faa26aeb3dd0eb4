// The command line as a program sees it: arguments and environment in; standard output, standard error and exit code out.
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { userInfo } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Output from "../../src/node/cli/output.js"
import { bin, type Outcome, sandbox, serveImages } from "../support/cli.js"
import { stagingOf } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"
import { Fault } from "../support/FaultServer.js"

const decode = <A, I>(schema: Schema.Schema<A, I>, { stdout }: Outcome): A => {
  assert.strictEqual(stdout.split("\n").length, 2, "one line")
  return Schema.decodeUnknownSync(Schema.parseJson(schema), { onExcessProperty: "error" })(stdout)
}

/** Two lines, the first of which says what happened and the second what to do; never a trace of how we are made. */
const expectError = ({ stderr }: Outcome, what: RegExp, toDo: RegExp) => {
  const lines = stderr.trimEnd().split("\n").slice(-2)
  assert.match(lines[0] ?? "", /^error: /)
  assert.match(lines[0] ?? "", what)
  assert.match(lines[1] ?? "", /^ {7}\S/)
  assert.match(lines[1] ?? "", toDo)
  assert.notMatch(stderr, /FiberFailure|^ +at /m)
}

const two = { one: { size: 100_000 }, two: { size: 200_000 } }

describe("ensure", () => {
  it.scopedLive("prints the paths, in the order of the names, and nothing else on standard output", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const { code, stderr, stdout } = yield* box.run(["ensure", "two", "one", "two", "--registry", registry])
      assert.deepStrictEqual(
        stdout,
        ["two/vmlinux.bin", "two/rootfs.ext4", "one/vmlinux.bin", "one/rootfs.ext4"]
          .map((path) => `${join(box.cacheDir, path)}\n`)
          .join("")
      )
      assert.strictEqual(code, 0)
      assert.match(stderr, /one: ready|one rootfs: downloading/)
      assert.strictEqual(statSync(join(box.cacheDir, "two/rootfs.ext4")).size, 200_000)

      const hit = yield* box.run(["ensure", "one", "--registry", registry])
      assert.strictEqual(hit.stderr, "")
      assert.strictEqual(server.requestsOf("/one/rootfs").length, 1)
    })
  )

  it.scopedLive(
    "--json: one shape, with what succeeded and what did not; the first failure decides the exit code",
    () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const box = yield* sandbox
        const registry = serveImages(server, box, {
          ...two,
          gone: { size: 1000, faults: [Fault.Status({ status: 404 })] },
          other: { size: 1000, faults: [Fault.FlipByte({ offset: 3 })] }
        })
        const outcome = yield* box.run(["ensure", "one", "gone", "nope", "other", "--json", "--registry", registry])
        const { failures, images } = decode(Output.Ensure, outcome)
        assert.deepStrictEqual(
          images.map(({ name }) => name),
          ["one"]
        )
        assert.deepStrictEqual(
          failures.map(({ exitCode, image, reason }) => [image, reason, exitCode]),
          [
            ["gone", "DownloadFailed", 4],
            ["nope", "UnknownImage", 3],
            ["other", "ChecksumMismatch", 5]
          ]
        )
        assert.strictEqual(outcome.code, 4)
      })
  )

  it.scopedLive("--progress json: every line of standard error is one event of the documented shape", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const args = ["ensure", "one", "nope", "--progress", "json", "--registry", registry]
      const { stderr } = yield* box.run(args)
      const lines = stderr
        .trimEnd()
        .split("\n")
        .map((line) => Schema.decodeUnknownSync(Schema.parseJson(Output.Line))(line))
      const tags = lines.flatMap((line) => ("image" in line && line.image === "one" ? [line._tag] : []))
      assert.strictEqual(tags[0], "Checking")
      assert.strictEqual(tags.at(-1), "Done")
      assert.include(tags, "Committing")
      assert.strictEqual(
        lines.some((line) => line._tag === "Failed" && line.image === "nope"),
        true
      )
      assert.strictEqual(lines.at(-1)?._tag, "Error")

      const hit = yield* box.run(["ensure", "one", "--progress", "json", "--registry", registry])
      assert.deepStrictEqual(
        hit.stderr
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line)),
        ["Checking", "Hit", "Done"].map((tag) => ({ _tag: tag, image: "one" }))
      )
    })
  )

  it.scopedLive("a retry is told once, and as an event and a log message for programs", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const faults = [Fault.Status({ status: 503, times: 1 })]
      const run = (name: string, ...args: ReadonlyArray<string>) => {
        const registry = serveImages(server, box, { [name]: { size: 1000, faults } })
        return box.run(["ensure", name, ...args, "--registry", registry])
      }
      assert.lengthOf((yield* run("one")).stderr.match(/trying again/g) ?? [], 1)
      const { stderr } = yield* run("two", "--progress", "json")
      assert.include(stderr, '{"_tag":"Retrying","image":"two","asset":"rootfs"')
      assert.include(stderr, '{"_tag":"Log","level":"Warning"')
    })
  )

  it.scopedLive("--quiet keeps standard error for errors", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      assert.strictEqual((yield* box.run(["ensure", "one", "-q", "--registry", registry])).stderr, "")
      const failed = yield* box.run(["ensure", "nope", "-q", "--registry", registry])
      assert.strictEqual(failed.stderr.split("\n").length, 3)
    })
  )

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const) {
    it.scopedLive(`${signal}: cleans up, then exits with ${code}`, () =>
      Effect.gen(function* () {
        const server = yield* FaultServer.make
        const box = yield* sandbox
        const faults = [Fault.Trickle({ bytes: 1000, ms: 100 })]
        const registry = serveImages(server, box, { one: { size: 2_000_000, faults } })
        const running = (...args: ReadonlyArray<string>) =>
          box.run(["ensure", "one", "--progress", "json", "--registry", registry, ...args], {
            signal: { when: '"rootfs"', name: signal }
          })
        const [outcome] = yield* Effect.all([running(), server.until(() => server.bytesSent("/one/rootfs") > 0)], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual([outcome.code, outcome.stdout], [code, ""])
        const { error } = decode(Output.Failed, yield* running("--json"))
        assert.deepStrictEqual([error.reason, error.exitCode], ["Interrupted", code])
        assert.include(error.message, signal)
        assert.notMatch(outcome.stderr, /error|FiberFailure/i)
        assert.deepStrictEqual(yield* stagingOf(box.cacheDir), [])
        assert.strictEqual(existsSync(join(box.cacheDir, "one", "rootfs.ext4")), false)
      })
    )
  }
})

describe("the other commands", () => {
  it.scopedLive("list, status, path, verify and remove tell and change what is cached", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const run = (...args: ReadonlyArray<string>) => box.run([...args, "--registry", registry])
      const rootfs = join(box.cacheDir, "one", "rootfs.ext4")

      const none = yield* run("path", "one", "rootfs")
      expectError(none, /not cached/, /smolvm-images ensure one/)
      assert.deepStrictEqual([none.code, none.stdout], [1, ""])
      assert.strictEqual((yield* run("status", "one")).code, 1)
      assert.strictEqual((yield* run("verify", "one")).code, 1)
      assert.strictEqual((yield* run("verify")).code, 0)

      yield* run("ensure", "one")
      const list = yield* run("list")
      assert.match(list.stdout, /^NAME +ARCH +CACHED +SIZE +DESCRIPTION\n/)
      assert.match(list.stdout, /^one +x86_64 +cached +101\.0 kB +Image one$/m)
      assert.match(list.stdout, /^two +x86_64 +- +- +Image two$/m)
      assert.match(list.stdout, /^hello +x86_64 +- /m)
      const { images } = decode(Output.List, yield* run("list", "--json"))
      assert.deepStrictEqual(
        images.find(({ name }) => name === "one"),
        {
          name: "one",
          architecture: "x86_64",
          description: "Image one",
          cached: true,
          size: 101_000
        }
      )
      assert.deepStrictEqual(yield* run("path", "one", "rootfs"), {
        code: 0,
        signal: null,
        stdout: `${rootfs}\n`,
        stderr: ""
      })
      assert.deepStrictEqual(decode(Output.Path, yield* run("path", "one", "rootfs", "--json")), {
        name: "one",
        asset: "rootfs",
        path: rootfs
      })
      expectError(yield* run("path", "one", "initrd"), /has no initrd/, /status one/)
      const status = decode(Output.Status, yield* run("status", "one", "--json"))
      assert.deepStrictEqual([status.cached, status.files[1]?.size], [true, 100_000])

      const good = yield* run("verify", "one")
      assert.deepStrictEqual([good.code, good.stdout.match(/^good /gm)?.length], [0, 2])
      writeFileSync(rootfs, Buffer.alloc(100_000))
      const bad = yield* run("verify", "one", "two")
      assert.strictEqual(bad.code, 5)
      assert.match(bad.stdout, /^good +one +kernel/m)
      assert.match(bad.stdout, /^bad +one +rootfs .*expected [0-9a-f]{64}, found [0-9a-f]{64}$/m)
      assert.match(bad.stdout, /^missing +two +kernel/m)
      const states = decode(Output.Verify, yield* run("verify", "one", "--json")).images[0]?.files
      assert.deepStrictEqual(
        states?.map(({ state }) => state),
        ["good", "bad"]
      )

      assert.deepStrictEqual(decode(Output.Remove, yield* run("remove", "one", "--json")), { removed: "one" })
      assert.strictEqual(existsSync(join(box.cacheDir, "one")), false)
      assert.strictEqual((yield* run("remove", "one")).code, 0)
    })
  )

  it.scopedLive("remove says whom it waits for", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const faults = [Fault.Trickle({ bytes: 20_000, ms: 100 })]
      const registry = serveImages(server, box, { one: { size: 400_000, faults } })
      const fetching = yield* Effect.fork(box.run(["ensure", "one", "--registry", registry]))
      yield* server.until(() => server.bytesSent("/one/rootfs") > 0)
      const { code, stderr } = yield* box.run(["remove", "one", "--registry", registry])
      assert.match(stderr, /^one: waiting for process \d+ on \S+, who is fetching it\n$/)
      assert.strictEqual(code, 0)
      assert.strictEqual((yield* Fiber.join(fetching)).code, 0)
      assert.strictEqual(existsSync(join(box.cacheDir, "one")), false)
      assert.strictEqual((yield* box.run(["remove", "one", "--registry", registry])).stderr, "")
    })
  )

  it.scopedLive("registry check lists every problem, and what is not pinned", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const asset = { url: "https://example.com/x" }
      const good = box.write("good.json", JSON.stringify({ images: { a: { kernel: asset, rootfs: asset } } }))
      const valid = yield* box.run(["registry", "check", good])
      assert.deepStrictEqual(
        [valid.code, valid.stdout],
        [0, `${good}: 1 image, valid\nunpinned: a kernel has no sha256\nunpinned: a rootfs has no sha256\n`]
      )
      const bad = box.write(
        "bad.json",
        JSON.stringify({ images: { a: { kernel: { url: "ftp://x" }, rootfs: { ...asset, sha265: "00" } } } })
      )
      const invalid = yield* box.run(["registry", "check", bad])
      assert.strictEqual(invalid.code, 2)
      assert.match(invalid.stdout, /^problem: images\.a\.kernel\.url.*\nproblem: images\.a\.rootfs\.sha265: /)
      const { problems, valid: isValid } = decode(
        Output.RegistryCheck,
        yield* box.run(["registry", "check", bad, "--json"])
      )
      assert.deepStrictEqual([isValid, problems.length], [false, 2])
      for (const args of [
        ["registry", "check", "/nowhere/x.json"],
        ["list", "--registry", "/nowhere/x.json"]
      ]) {
        const unreadable = yield* box.run(args)
        expectError(unreadable, /nowhere.*cannot be read/, /--registry FILE or SMOLVM_REGISTRY/)
        assert.strictEqual(unreadable.code, 2)
      }
      expectError(yield* box.run(["list", "--registry", bad]), /and 1 more/, /registry check .*bad\.json/)
    })
  )

  it.scopedLive("registry files lie over the built-in images, the last one on top", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const file = (name: string, description: string) => {
        const asset = { url: "https://example.com/x" }
        return box.write(name, JSON.stringify({ images: { hello: { kernel: asset, rootfs: asset, description } } }))
      }
      const low = file("low.json", "lower")
      const high = file("high.json", "upper")
      const described = (outcome: Outcome) =>
        decode(Output.List, outcome).images.map(({ description, name }) => [name, description?.slice(0, 6)])
      const { env } = { env: { SMOLVM_REGISTRY: `${low}:${high}` } }
      const expected = [
        ["hello", "upper"],
        ["quickstart-x86_64", "Ubuntu"]
      ]
      assert.deepStrictEqual(
        described(yield* box.run(["list", "--json", "--registry", low, "--registry", high])),
        expected
      )
      assert.deepStrictEqual(described(yield* box.run(["list", "--json"], { env })), expected)
      const flagWins = yield* box.run(["list", "--json", "--registry", low], { env })
      assert.deepStrictEqual(described(flagWins)[0], ["hello", "lower"])
    })
  )
})

describe("settings from the environment", () => {
  it.scopedLive("flags win over them, and a blank one counts as unset", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const cacheOf = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
        Effect.map(box.run(["status", "hello", "--json", ...args], { env }), (outcome) =>
          decode(Output.Status, outcome).files[0]?.path.replace("/hello/vmlinux.bin", "")
        )
      assert.strictEqual(yield* cacheOf([], {}), box.cacheDir)
      assert.strictEqual(yield* cacheOf([], { SMOLVM_IMAGE_DIR: "  " }), box.cacheDir)
      assert.strictEqual(yield* cacheOf([], { SMOLVM_IMAGE_DIR: "/var/images" }), "/var/images")
      assert.strictEqual(yield* cacheOf(["--cache-dir", "/x"], { SMOLVM_IMAGE_DIR: "/var/images" }), "/x")
      const own = join(userInfo().homedir, ".smolvm", "images")
      for (const HOME of ["", " "]) assert.strictEqual(yield* cacheOf([], { HOME }), own)
      assert.strictEqual(yield* cacheOf(["--cache-dir", "here"], {}), join(box.home, "here"))

      const offline = { env: { SMOLVM_OFFLINE: "1" } }
      const missed = yield* box.run(["ensure", "hello"], offline)
      expectError(missed, /offline/, /SMOLVM_OFFLINE/)
      assert.strictEqual(missed.code, 7)
      const wrong = yield* box.run(["ensure", "hello"], { env: { SMOLVM_OFFLINE: "perhaps" } })
      expectError(wrong, /SMOLVM_OFFLINE .*"perhaps"/, /unset/)
      assert.strictEqual(wrong.code, 2)
      const decided = yield* box.run(["ensure", "hello", "--offline"], { env: { SMOLVM_OFFLINE: "perhaps" } })
      assert.strictEqual(decided.code, 7)
    })
  )
})

describe("exit codes", () => {
  it.scopedLive("2: wrong usage, a bad setting, a bad name", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      for (const args of [[], ["pull"], ["ensure"], ["ensure", "-x"], ["ensure", "hello", "--ofline"]]) {
        const outcome = yield* box.run(args)
        expectError(outcome, /./, /smolvm-images .*--help/)
        assert.deepStrictEqual([outcome.code, outcome.stdout], [2, ""])
      }
      for (const name of ["", "../x", "a b"]) {
        const outcome = yield* box.run(["ensure", name])
        expectError(outcome, /Invalid name: an image name/, /list/)
        assert.strictEqual(outcome.code, 2)
      }
      const server = yield* FaultServer.make
      const registry = serveImages(server, box, two)
      const proxy = yield* box.run(["ensure", "one", "--registry", registry], { env: { http_proxy: "gopher://x" } })
      expectError(proxy, /Invalid HTTP_PROXY/, /./)
      assert.strictEqual(proxy.code, 2)
      assert.match((yield* box.run(["--help"])).stdout, /^HTTPS_PROXY, HTTP_PROXY, NO_PROXY$/m)
    })
  )

  it.scopedLive("3 to 6: unknown, not delivered, another digest, storage; --verbose adds the causes", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, {
        page: { size: 1000, faults: [Fault.Page({ kind: "html" })] },
        other: { size: 1000, faults: [Fault.FlipByte({ offset: 3 })] },
        ...two
      })
      const ensure = (...args: ReadonlyArray<string>) => box.run(["ensure", "--registry", registry, ...args])
      const unknown = yield* ensure("nope")
      expectError(unknown, /Available: hello, one/, /list/)
      assert.strictEqual(unknown.code, 3)
      const page = yield* ensure("page")
      expectError(page, /is not the image/, /browser/)
      assert.strictEqual(page.code, 4)
      const other = yield* ensure("other")
      expectError(other, /expected [0-9a-f]{64}, actual [0-9a-f]{64}/, /publisher/)
      assert.strictEqual(other.code, 5)

      const file = box.write("file", "")
      const storage = yield* ensure("one", "--cache-dir", join(file, "cache"))
      expectError(storage, /ENOTDIR/, /--cache-dir DIR/)
      assert.strictEqual(storage.code, 6)
      const verbose = yield* ensure("one", "--cache-dir", join(file, "cache"), "--verbose")
      assert.match(verbose.stderr, /caused by .*ENOTDIR/)
    })
  )

  it.scopedLive("the hint is about what went wrong", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const tls = yield* FaultServer.makeTls
      const box = yield* sandbox
      const body = FaultServer.toBytes(FaultServer.pattern(100_000))
      const hints: ReadonlyArray<readonly [name: string, asset: object, toDo: RegExp]> = [
        [
          "busy",
          { url: server.serve("/busy", body, Fault.Status({ status: 503, retryAfter: { seconds: 3600 } })) },
          /wait a little/
        ],
        ["forbidden", { url: server.serve("/no", body, Fault.Status({ status: 403 })) }, /credentials/],
        ["unknown-ca", { url: tls.serve("/x", body) }, /NODE_EXTRA_CA_CERTS/],
        ["no-file", { url: `file://${box.home}/nowhere` }, /Check the path in the registry/],
        ["loop", { url: server.serve("/loop", body, Fault.RedirectLoop({})) }, /that the redirects should have led to/],
        [
          "downgrade",
          { url: tls.serve("/down", body, Fault.Redirect({ to: server.serve("/up", body) })) },
          /that the redirects should have led to/
        ],
        ["size", { url: server.serve("/size", body), size: 99_999 }, /the size of that file into the registry/]
      ]
      const kernel = { url: server.serve("/kernel", body) }
      const images = Object.fromEntries(hints.map(([name, rootfs]) => [name, { kernel, rootfs }]))
      const registry = box.write("images.json", JSON.stringify({ images }))
      yield* Effect.forEach(
        hints,
        ([name, , toDo]) => {
          const env = name === "downgrade" ? { NODE_EXTRA_CA_CERTS: box.write("ca.pem", tls.caPem) } : {}
          return Effect.map(box.run(["ensure", name, "--registry", registry], { env }), (outcome) =>
            expectError(outcome, /./, toDo)
          )
        },
        { concurrency: 3 }
      )
    })
  )

  it.scopedLive("--json tells of wrong usage on standard output, too", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      for (const line of [
        "list --json --bogus",
        "--json",
        "ensure --json",
        "nosuch --json",
        "path hello foo --json",
        "ensure hello --verify x --json",
        "--json=yes --json list"
      ]) {
        const outcome = yield* box.run(line.split(" "))
        const { error } = decode(Output.Failed, outcome)
        assert.deepStrictEqual([error.reason, error.exitCode, outcome.code], ["UsageError", 2, 2])
        expectError(outcome, /./, /--help/)
      }
      assert.strictEqual((yield* box.run(["pull", "--", "--json"])).stdout, "")
    })
  )

  it.scopedLive("--json tells of the failure on standard output, too", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const outcome = yield* box.run(["status", "nope", "--json"])
      const { error } = decode(Output.Failed, outcome)
      assert.deepStrictEqual([error.reason, error.exitCode, outcome.code], ["UnknownImage", 3, 3])
    })
  )
})

describe("the program", () => {
  it.scopedLive("| head: a closed pipe is no error", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const asset = { url: "https://example.com/x" }
      const image = { kernel: asset, rootfs: asset, description: "x".repeat(1000) }
      const images = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`image-${n}`, image]))
      const registry = box.write("many.json", JSON.stringify({ images }))
      const output = execFileSync(
        "bash",
        [
          "-c",
          `"${process.execPath}" "${bin}" list --registry "${registry}" 2>&1 | head -n 1; echo "\${PIPESTATUS[0]}"`
        ],
        { env: box.env, encoding: "utf8" }
      )
      assert.match(output, /^NAME.*\n0\n$/)
    })
  )

  it.scopedLive("standard output that cannot be written is an error of its own", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const full = (...args: ReadonlyArray<string>) => box.run(args, { stdout: "/dev/full" })
      const ensure = ["ensure", "one", "--registry", registry]
      for (const args of [["list"], ["list", "--json"], ["--help"], ["--version"], ["ensure", "--json"], ensure]) {
        const outcome = yield* full(...args)
        expectError(outcome, /Cannot write to standard output: ENOSPC/, /Free some space/)
        assert.strictEqual(outcome.code, 6)
      }
      const { stderr } = yield* full(...ensure, "--progress", "json")
      const last = Schema.decodeUnknownSync(Schema.parseJson(Output.Line))(stderr.trimEnd().split("\n").at(-1))
      assert.strictEqual(last._tag === "Error" ? last.error.reason : last._tag, "Unwritable")
    })
  )

  it.scopedLive("standard error that cannot be written stops nothing", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const ensured = yield* box.run(["ensure", "one", "--json", "--registry", registry], { stderr: "/dev/full" })
      assert.strictEqual(ensured.code, 0)
      assert.include(ensured.stdout, join(box.cacheDir, "one/rootfs.ext4"))
      assert.strictEqual((yield* box.run(["list"], { stdout: "/dev/full", stderr: "/dev/full" })).code, 6)
    })
  )

  it.scopedLive("a proxy that cannot be used is of no matter to who makes no request", () =>
    Effect.gen(function* () {
      const server = yield* FaultServer.make
      const box = yield* sandbox
      const registry = serveImages(server, box, two)
      const run = (...args: ReadonlyArray<string>) =>
        box.run([...args, "one", "--registry", registry], { env: { HTTP_PROXY: "ftp://proxy.test" } })
      expectError(yield* run("ensure"), /Invalid HTTP_PROXY/, /--help/)
      yield* box.run(["ensure", "one", "--registry", registry])
      for (const args of [["verify"], ["ensure", "--offline"], ["remove"]]) {
        assert.strictEqual((yield* run(...args)).code, 0, args.join(" "))
      }
    })
  )

  it.scopedLive("--progress json tells of failures as events: of wrong usage too, and when quiet", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      for (const [args, reason] of [
        [["frob", "--progress", "json"], "UsageError"],
        [["ensure", "--progress=json"], "UsageError"],
        [["ensure", "nobody", "-q", "--progress", "json"], "UnknownImage"]
      ] as const) {
        const { stderr } = yield* box.run(args)
        const line = Schema.decodeUnknownSync(Schema.parseJson(Output.Line))(stderr.trimEnd())
        assert.strictEqual(line._tag === "Error" ? line.error.reason : line._tag, reason)
      }
    })
  )

  it.scopedLive("runs without node_modules, from anywhere, and through a link", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const dist = join(box.home, "lib")
      execFileSync("cp", ["-r", join(bin, ".."), dist])
      const link = join(box.home, "smolvm-images")
      execFileSync("ln", ["-s", join(dist, "cli.js"), link])
      chmodSync(join(dist, "cli.js"), 0o755)
      const server = yield* FaultServer.make
      const registry = serveImages(server, box, two)
      const env = { ...box.env, PATH: `${join(process.execPath, "..")}:${box.env["PATH"]}` }
      const code = yield* Effect.async<number | null>((resume) => {
        const child = spawn(link, ["ensure", "one", "--registry", registry], { env, cwd: "/", stdio: "ignore" })
        child.on("close", (status) => resume(Effect.succeed(status)))
      })
      assert.strictEqual(code, 0)
    })
  )

  it("imports nothing but what Node.js has", () => {
    const files = ["cli.js", ...readdirSync(join(bin, "..", "cli")).map((file) => join("cli", file))]
    for (const file of files.filter((name) => name.endsWith(".js"))) {
      const text = readFileSync(join(bin, "..", file), "utf8")
      const imports = Array.from(
        text.matchAll(/(?:^|;)(?:import|export)[^;"']*?from"([^"]+)"/g),
        (match) => match[1] ?? ""
      )
      assert.deepStrictEqual(
        imports.filter((name) => !/^(node:|\.\.?\/)/.test(name)),
        []
      )
    }
  })

  it.scopedLive("--help, --version and --completions answer on standard output", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      const help = yield* box.run(["ensure", "--help"])
      assert.match(help.stdout, /^USAGE\n\nsmolvm-images ensure NAME\.\.\. \[OPTIONS\]\n/)
      assert.match(help.stdout, /SMOLVM_IMAGE_DIR/)
      assert.notInclude(help.stdout, "\u001b")
      for (const line of help.stdout.split("\n")) assert.isAtMost(line.length, 80)
      const version: unknown = JSON.parse(readFileSync(join(bin, "../../package.json"), "utf8")).version
      assert.strictEqual((yield* box.run(["--version"])).stdout, `${version}\n`)
      const script = box.write("complete.bash", (yield* box.run(["--completions", "bash"])).stdout)
      const complete = (...words: ReadonlyArray<string>) =>
        execFileSync(
          "bash",
          [
            "-c",
            `source ${script}; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _smolvm-images_bash_completions smolvm-images; echo "\${COMPREPLY[*]}"`,
            "-",
            "smolvm-images",
            ...words
          ],
          { encoding: "utf8" }
        ).trim()
      assert.strictEqual(complete("en"), "ensure")
      assert.strictEqual(complete("ensure", "hello", "--json", "--of"), "--offline")
      assert.strictEqual(complete("registry", "c"), "check")
      assert.strictEqual(complete("list", "--progress", "l"), "lines")
      assert.notInclude(complete("ensure", "--"), "wizard")
      const offered = complete("ensure", "--").split(" ")
      assert.deepStrictEqual(offered, Arr.dedupe(offered))
      assert.includeMembers(offered, ["--completions", "--log-level"])
      for (const shell of ["fish", "zsh"]) {
        const text = (yield* box.run(["--completions", shell])).stdout
        assert.include(text, "registry")
        assert.notInclude(text, "wizard")
      }
    })
  )

  it.scopedLive("the quick way to list the built-in images says what the long way says", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      box.write(".smolvm/images/hello/vmlinux.bin", "kernel")
      box.write(".smolvm/images/hello/rootfs.ext4", "rootfs")
      const nothing = box.write("none.json", JSON.stringify({ images: {} }))
      const quick = yield* box.run(["list"])
      assert.match(quick.stdout, /^hello +x86_64 +cached +12 B +Minimal/m)
      assert.deepStrictEqual(quick, yield* box.run(["list", "--registry", nothing]))
    })
  )

  it.scopedLive("list as a whole process costs at most three times an empty one", () =>
    Effect.gen(function* () {
      const box = yield* sandbox
      // Processor time, and the least of several: what a busy machine adds is not ours.
      const cost = (args: ReadonlyArray<string>) => {
        const script = 'TIMEFORMAT="%3U %3S"; time "$0" "$@" >/dev/null'
        const { stderr } = spawnSync("bash", ["-c", script, process.execPath, ...args], {
          env: box.env,
          encoding: "utf8",
          stdio: ["ignore", "ignore", "pipe"]
        })
        return stderr
          .trim()
          .split(" ")
          .reduce((sum, seconds) => sum + Number(seconds), 0)
      }
      const runs = Array.from({ length: 7 }, () => [cost([bin, "list"]), cost(["-e", "0"])] as const)
      assert.isAtMost(Math.min(...runs.map(([list]) => list)) / Math.min(...runs.map(([, empty]) => empty)), 3)
    })
  )
})

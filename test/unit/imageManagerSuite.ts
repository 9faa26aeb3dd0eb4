/**
 * What an `ImageManager` promises, as one suite that runs on any layers: in memory and on Node.
 */
import { inspect } from "node:util"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import { assert, describe, type it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Hasher, Host, ImageError, ImageManager, Registry } from "../../src/index.js"
import { MemoryFileSystem } from "../../src/testing/index.js"

/** How a server treats the requests for one path; by default it serves the file. */
export interface Behaviour {
  /** An answer without the file. */
  readonly status?: number
  /** Nothing more comes after so many bytes of the body. */
  readonly stallAfter?: number
  /** Milliseconds before the answer. */
  readonly latency?: number
}

/** A disk, a network and a clock. */
export interface World {
  readonly services: Context.Context<
    FileSystem.FileSystem | Path.Path | HttpClient.HttpClient | Hasher.Hasher | Host.Host
  >
  /** A directory that does not exist yet, in one that does. */
  readonly cacheDir: string
  readonly digest: (content: Uint8Array) => string
  /** Serve a file, in place of what was at that path, and return its URL. */
  readonly serve: (path: string, content: Uint8Array, behaviour?: Behaviour) => string
  /** The paths that were asked for, in order. */
  readonly requests: () => ReadonlyArray<string>
  /** Completes when so many requests have come. */
  readonly requested: (count: number) => Effect.Effect<void>
  /** Let time pass. */
  readonly pass: (millis: number) => Effect.Effect<void>
}

/** Bytes that nothing recognises as a document; equal seeds give equal bytes. */
export const bytes = (seed: string, length = 5000): Uint8Array => {
  let state = [...seed].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) >>> 0, 7) || 1
  return Uint8Array.from({ length }, (_, at) => {
    if (at < 4) return [0x7f, 0x45, 0x4c, 0x46][at] ?? 0
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state & 0xff
  })
}

export const kernel = bytes("kernel")
export const rootfs = bytes("rootfs", 40_000)
const initrd = bytes("initrd", 3000)

/** `hello`, pinned and served. */
export const serveHello = (world: World, behaviour?: { readonly kernel?: Behaviour; readonly rootfs?: Behaviour }) => ({
  hello: {
    kernel: { url: world.serve("/kernel", kernel, behaviour?.kernel), sha256: world.digest(kernel) },
    rootfs: { url: world.serve("/rootfs", rootfs, behaviour?.rootfs), sha256: world.digest(rootfs) }
  }
})

type Overrides = Partial<Omit<ImageManager.Options, "cacheDir">> & {
  readonly cacheDir?: string
  /** Put between the manager and the disk. */
  readonly fault?: MemoryFileSystem.Fault
  readonly hasher?: Hasher.Hasher["Type"]
}

/** A manager on the world's services. */
export const start = (
  world: World,
  images: Registry.Images,
  { cacheDir = world.cacheDir, fault, hasher, ...options }: Overrides = {}
): Effect.Effect<ImageManager.ImageManager["Type"], ImageError.ValueError> =>
  Effect.gen(function* () {
    const registry = yield* Registry.make(images)
    const fs = Context.get(world.services, FileSystem.FileSystem)
    const services = world.services.pipe(
      Context.add(FileSystem.FileSystem, fault === undefined ? fs : MemoryFileSystem.faulty(fs, fault)),
      Context.add(Hasher.Hasher, hasher ?? Context.get(world.services, Hasher.Hasher)),
      Context.add(Registry.Registry, registry)
    )
    return yield* Effect.provide(ImageManager.make({ cacheDir, ...options }), services)
  })

/** Everything below a directory: files with their content and time of change, directories as they are. */
export const tree = (world: World, directory = world.cacheDir): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if (!(yield* fs.exists(directory))) return {}
    const entries = yield* Effect.forEach(yield* fs.readDirectory(directory, { recursive: true }), (entry) =>
      Effect.gen(function* () {
        const info = yield* fs.stat(`${directory}/${entry}`)
        if (info.type !== "File") return [entry, info.type] as const
        const content = yield* fs.readFile(`${directory}/${entry}`)
        return [entry, `${world.digest(content)} ${Option.getOrUndefined(info.mtime)?.getTime()}`] as const
      })
    )
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
  }).pipe(Effect.provide(world.services), Effect.orDie)

const read = (world: World, file: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFile(`${world.cacheDir}/${file}`)).pipe(
    Effect.provide(world.services),
    Effect.orDie
  )

/** What is in the cache under a name, by what is known to be in files. */
const holds = (world: World, name: string, files: Readonly<Record<string, Uint8Array>>) =>
  Effect.forEach(
    Object.entries(files),
    ([file, content]) =>
      Effect.map(read(world, `${name}/${file}`), (found) =>
        assert.isTrue(Buffer.from(found).equals(content), `${name}/${file} has other content`)
      ),
    { discard: true }
  )

export const write = (world: World, file: string, content: Uint8Array | string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const target = path.join(world.cacheDir, file)
    yield* fs.makeDirectory(path.dirname(target), { recursive: true })
    yield* fs.writeFile(target, typeof content === "string" ? new TextEncoder().encode(content) : content)
  }).pipe(Effect.provide(world.services), Effect.orDie)

const remove = (world: World, file: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.remove(`${world.cacheDir}/${file}`, { recursive: true })).pipe(
    Effect.provide(world.services),
    Effect.orDie
  )

/** Nothing under construction is left: no staged file, no lock. */
export const assertClean = (world: World) =>
  Effect.map(tree(world), (entries) => {
    const left = Object.keys(entries).filter(
      (entry) => /^\.[^/]+\/(staging|locks)\/./.test(entry) || /\.(new|tmp|part)$/.test(entry)
    )
    assert.deepStrictEqual(left, [])
  })

/** Run with a logger of its own and return what was logged as a warning or worse. */
const warningsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      if (logLevel.ordinal < 30_000) return
      const image = Option.getOrElse(HashMap.get(annotations, "image"), () => "-")
      warnings.push(`${image}: ${[message].flat().join(" ")}`)
    })
    return Effect.map(
      Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)),
      (result) => [result, warnings] as const
    )
  })

/** The typed failure of an effect; a defect, an interruption or a success fails the test. */
const failureOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return assert.fail(`it succeeded with ${inspect(exit.value)}`)
    return Option.getOrElse(Cause.failureOption(exit.cause), () => assert.fail(Cause.pretty(exit.cause)))
  })

const imageErrorOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(failureOf(effect), (error) =>
    error instanceof ImageError.ImageError ? error : assert.fail(`not an ImageError: ${inspect(error)}`)
  )

const valueErrorOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(failureOf(effect), (error) =>
    error instanceof ImageError.ValueError ? error : assert.fail(`not a ValueError: ${inspect(error)}`)
  )

const requestsDuring = <A, E, R>(world: World, effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const before = world.requests().length
    return Effect.map(effect, () => [...world.requests().slice(before)].sort())
  })

const emptyNames = ["", " ", "\t\n"]
const badNames = [
  ".",
  "..",
  "../hello",
  "hello/",
  "/hello",
  "a/b",
  "C:\\hello",
  "hel\0lo",
  ".hello",
  "hello ",
  "häll",
  "x".repeat(300)
]
const noNames = [null, undefined, 5, true, [], ["hello"], {}, () => "hello", Symbol("hello"), new String("hello")]

/** The suite. `test` is `it.scoped` where the clock is a test's, `it.scopedLive` where it is the real one. */
export const imageManagerSuite = (
  name: string,
  test: typeof it.scoped | typeof it.scopedLive,
  makeWorld: Effect.Effect<World, never, Scope.Scope>
): void => {
  const check = <E>(title: string, body: (world: World) => Effect.Effect<void, E, Scope.Scope>) =>
    test(title, () => Effect.provide(Effect.flatMap(makeWorld, body), Logger.remove(Logger.defaultLogger)))

  describe(`${name}: listAvailable`, () => {
    check("lists all names, sorted, each once", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const manager = yield* start(world, {
          zebra: hello,
          Beta: hello,
          alpha: hello,
          "10": hello,
          "9": hello,
          _: hello
        })
        assert.deepStrictEqual(yield* manager.listAvailable, ["10", "9", "Beta", "_", "alpha", "zebra"])
        assert.deepStrictEqual(yield* (yield* start(world, {})).listAvailable, [])
      })
    )

    check("sorts what a registry of one's own lists, and drops what it lists twice", (world) =>
      Effect.gen(function* () {
        const registry = Registry.Registry.of({
          list: Effect.succeed(["b", "a", "b", "c", "a"]),
          get: () => Effect.succeedNone
        })
        const manager = yield* Effect.provide(
          ImageManager.make({ cacheDir: world.cacheDir }),
          Context.add(world.services, Registry.Registry, registry)
        )
        assert.deepStrictEqual(yield* manager.listAvailable, ["a", "b", "c"])
      })
    )
  })

  describe(`${name}: isCached`, () => {
    check("is false for an unknown image and for one of which any file is missing, true when all are there", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const three = { ...hello, initrd: { url: world.serve("/initrd", initrd), sha256: world.digest(initrd) } }
        const manager = yield* start(world, { hello, three })
        assert.isFalse(yield* manager.isCached("unknown"))
        assert.isFalse(yield* manager.isCached("hello"))
        yield* write(world, "hello/vmlinux.bin", kernel)
        assert.isFalse(yield* manager.isCached("hello"))
        yield* write(world, "hello/rootfs.ext4", rootfs)
        assert.isTrue(yield* manager.isCached("hello"))
        yield* remove(world, "hello/vmlinux.bin")
        assert.isFalse(yield* manager.isCached("hello"))
        yield* write(world, "three/vmlinux.bin", kernel)
        yield* write(world, "three/rootfs.ext4", rootfs)
        assert.isFalse(yield* manager.isCached("three"))
        yield* write(world, "three/initrd.img", initrd)
        assert.isTrue(yield* manager.isCached("three"))
        yield* write(world, "unknown/vmlinux.bin", kernel)
        yield* write(world, "unknown/rootfs.ext4", rootfs)
        assert.isFalse(yield* manager.isCached("unknown"))
      })
    )

    check("a directory in the place of a file is no file", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world))
        yield* write(world, "hello/vmlinux.bin", kernel)
        yield* write(world, "hello/rootfs.ext4/inside", rootfs)
        assert.isFalse(yield* manager.isCached("hello"))
      })
    )

    check("neither reads, hashes, writes nor asks the network", (world) =>
      Effect.gen(function* () {
        let hashes = 0
        const operations: Array<string> = []
        const real = Context.get(world.services, Hasher.Hasher)
        const manager = yield* start(world, serveHello(world), {
          hasher: {
            start: (size) =>
              Effect.zipRight(
                Effect.sync(() => hashes++),
                real.start(size)
              )
          },
          fault: ({ method }) => Effect.sync(() => void operations.push(method))
        })
        yield* write(world, "hello/vmlinux.bin", "corrupt")
        yield* write(world, "hello/rootfs.ext4", "corrupt")
        const before = yield* tree(world)
        yield* world.pass(20)
        assert.isTrue(yield* manager.isCached("hello"))
        assert.isFalse(yield* manager.isCached("unknown"))
        assert.deepStrictEqual(yield* tree(world), before)
        assert.strictEqual(hashes, 0)
        assert.deepStrictEqual([...new Set(operations)], ["stat"])
        assert.deepStrictEqual(world.requests(), [])
      })
    )

    check("creates no cache directory", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world))
        assert.isFalse(yield* manager.isCached("hello"))
        const exists = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.exists(world.cacheDir))
        assert.isFalse(yield* Effect.orDie(Effect.provide(exists, world.services)))
      })
    )

    for (const code of ["EACCES", "EIO"] as const) {
      check(`what cannot be looked at (${code}) is not cached, with a warning`, (world) =>
        Effect.gen(function* () {
          const manager = yield* start(world, serveHello(world), {
            fault: ({ method }) => (method === "stat" ? Effect.fail(code) : Effect.void)
          })
          yield* write(world, "hello/vmlinux.bin", kernel)
          yield* write(world, "hello/rootfs.ext4", rootfs)
          const [cached, warnings] = yield* warningsOf(manager.isCached("hello"))
          assert.isFalse(cached)
          assert.isNotEmpty(warnings)
          assert.match(warnings[0] ?? "", /cannot look at image "hello" in the cache/)
        })
      )
    }
  })

  describe(`${name}: options`, () => {
    check("what cannot be options is a ValueError, never a defect", (world) =>
      Effect.gen(function* () {
        const services = Context.add(world.services, Registry.Registry, yield* Registry.make({}))
        for (const options of [
          null,
          undefined,
          5,
          "/cache",
          [],
          {},
          { cacheDir: 5 },
          { cacheDir: " " },
          { cacheDir: "a\0b" }
        ]) {
          const error = yield* valueErrorOf(
            Effect.provide(ImageManager.make(options as ImageManager.Options), services)
          )
          assert.include(["options", "cacheDir"], error.field)
        }
      })
    )
  })

  describe(`${name}: names`, () => {
    const operations = {
      isCached: (
        manager: ImageManager.ImageManager["Type"],
        given: string
      ): Effect.Effect<unknown, ImageError.ImageError | ImageError.ValueError> => manager.isCached(given),
      ensureImage: (
        manager: ImageManager.ImageManager["Type"],
        given: string
      ): Effect.Effect<unknown, ImageError.ImageError | ImageError.ValueError> => manager.ensureImage(given)
    }
    for (const [operation, run] of Object.entries(operations)) {
      check(`${operation} refuses an empty name, a bad one and what is no name with a ValueError`, (world) =>
        Effect.gen(function* () {
          const manager = yield* start(world, serveHello(world))
          for (const given of emptyNames) {
            const error = yield* valueErrorOf(run(manager, given))
            assert.strictEqual(error.field, "name")
            assert.strictEqual(error.message, "Invalid name: an image name must not be empty")
          }
          for (const given of badNames) {
            const error = yield* valueErrorOf(run(manager, given))
            assert.strictEqual(
              error.message,
              'Invalid name: an image name is letters, digits, ".", "_" and "-", not starting with a dot, at most 128 characters'
            )
          }
          for (const given of noNames) {
            const error = yield* valueErrorOf(run(manager, given as string))
            assert.match(error.message, /^Invalid name: must be a string, got /)
          }
          assert.deepStrictEqual(world.requests(), [])
          assert.deepStrictEqual(yield* tree(world), {})
        })
      )
    }

    check("an unknown image is an ImageError that lists what is available", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const manager = yield* start(world, { zebra: hello, alpha: hello })
        for (const given of ["hello", "Alpha", "__proto__", "constructor", "toString"]) {
          const error = yield* imageErrorOf(manager.ensureImage(given))
          assert.strictEqual(error.reason, "UnknownImage")
          assert.strictEqual(error.image, given)
          assert.deepStrictEqual(error.available, ["alpha", "zebra"])
          assert.strictEqual(error.message, `Image "${given}" is not in the registry. Available: alpha, zebra.`)
        }
        const empty = yield* imageErrorOf((yield* start(world, {})).ensureImage("hello"))
        assert.strictEqual(empty.message, 'Image "hello" is not in the registry. The registry is empty.')
        assert.deepStrictEqual(world.requests(), [])
      })
    )

    check("an image may be called like a property of every object", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        for (const given of ["__proto__", "constructor", "toString"]) {
          const manager = yield* start(world, Object.fromEntries([[given, hello]]))
          assert.deepStrictEqual(yield* manager.listAvailable, [given])
          assert.isFalse(yield* manager.isCached(given))
          const image = yield* manager.ensureImage(given)
          assert.strictEqual(image.kernelPath, `${world.cacheDir}/${given}/vmlinux.bin`)
          yield* holds(world, given, { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
        }
      })
    )
  })

  describe(`${name}: ensureImage`, () => {
    check("a miss: both files are fetched, whole, and the paths are absolute", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world))
        const [image, warnings] = yield* warningsOf(manager.ensureImage("hello"))
        assert.deepStrictEqual(
          { ...image },
          {
            name: "hello",
            kernelPath: `${world.cacheDir}/hello/vmlinux.bin`,
            rootfsPath: `${world.cacheDir}/hello/rootfs.ext4`
          }
        )
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
        assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
        assert.isTrue(yield* manager.isCached("hello"))
        assert.deepStrictEqual(warnings, [])
        yield* assertClean(world)
      })
    )

    check("a hit: no request, nothing written, not even a time changed", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world)
        const manager = yield* start(world, images)
        const image = yield* manager.ensureImage("hello")
        yield* world.pass(20)
        const before = yield* tree(world)
        for (const again of [manager, yield* start(world, images)]) {
          const [requests, warnings] = yield* warningsOf(
            requestsDuring(
              world,
              Effect.map(again.ensureImage("hello"), (hit) => assert.deepStrictEqual(hit, image))
            )
          )
          assert.deepStrictEqual([requests, warnings], [[], []])
        }
        assert.deepStrictEqual(yield* tree(world), before)
      })
    )

    check("a hit needs no write access", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world)
        yield* (yield* start(world, images)).ensureImage("hello")
        const reads = new Set([
          "access",
          "open",
          "readFile",
          "readLink",
          "realPath",
          "stat",
          "File.read",
          "File.readAlloc",
          "File.stat"
        ])
        const readOnly = yield* start(world, images, {
          fault: ({ method }) => (reads.has(method) ? Effect.void : Effect.fail("EROFS"))
        })
        assert.strictEqual((yield* readOnly.ensureImage("hello")).name, "hello")
      })
    )

    check("partly cached: only the missing file is fetched, the other one is not touched", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world))
        yield* manager.ensureImage("hello")
        const before = yield* tree(world)
        yield* world.pass(20)
        for (const [file, path] of [
          ["vmlinux.bin", "/kernel"],
          ["rootfs.ext4", "/rootfs"]
        ] as const) {
          yield* remove(world, `hello/${file}`)
          assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("hello")), [path])
        }
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
        yield* remove(world, "hello/rootfs.ext4")
        const between = yield* tree(world)
        yield* world.pass(20)
        yield* manager.ensureImage("hello")
        const after = yield* tree(world)
        assert.strictEqual(after["hello/vmlinux.bin"], between["hello/vmlinux.bin"])
        assert.notStrictEqual(after["hello/rootfs.ext4"], before["hello/rootfs.ext4"])
        yield* assertClean(world)
      })
    )

    const corruptions = {
      "one byte, same size": rootfs.map((byte, at) => (at === 20_000 ? byte ^ 1 : byte)),
      "cut short": rootfs.slice(0, -1),
      "one byte too many": Uint8Array.from([...rootfs, 0]),
      empty: new Uint8Array(0),
      "something else": bytes("something else")
    }
    for (const [what, corrupt] of Object.entries(corruptions)) {
      check(
        `corrupted (${what}): only the bad file is fetched again, with a warning that tells both digests`,
        (world) =>
          Effect.gen(function* () {
            const manager = yield* start(world, serveHello(world))
            yield* write(world, "hello/vmlinux.bin", kernel)
            yield* write(world, "hello/rootfs.ext4", corrupt)
            const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
            assert.deepStrictEqual(requests, ["/rootfs"])
            assert.deepStrictEqual(warnings, [
              `hello: the cached ${world.cacheDir}/hello/rootfs.ext4 fails verification and is fetched again: ` +
                `expected ${world.digest(rootfs)}, actual ${world.digest(corrupt)}`
            ])
            yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
            yield* assertClean(world)
          })
      )
    }

    check("corrupted after this process fetched it: fetched again", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world))
        yield* manager.ensureImage("hello")
        yield* write(world, "hello/rootfs.ext4", corruptions["one byte, same size"])
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("hello")), ["/rootfs"])
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
      })
    )

    check("corrupted after this process fetched it, and gone from the server: the error is about the server", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world)
        const manager = yield* start(world, images)
        yield* manager.ensureImage("hello")
        yield* write(world, "hello/rootfs.ext4", corruptions["one byte, same size"])
        world.serve("/rootfs", rootfs, { status: 404 })
        const error = yield* imageErrorOf(manager.ensureImage("hello"))
        assert.strictEqual(error.reason, "DownloadFailed")
        assert.strictEqual(error.status, 404)
        assert.strictEqual(error.url, images.hello.rootfs.url)
      })
    )

    check("a pinned size that differs is a corruption, without reading the file", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const manager = yield* start(world, { hello: { ...hello, kernel: { ...hello.kernel, size: kernel.length } } })
        yield* write(world, "hello/vmlinux.bin", kernel.slice(1))
        yield* write(world, "hello/rootfs.ext4", rootfs)
        const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
        assert.deepStrictEqual(requests, ["/kernel"])
        assert.match(warnings.join(), /actual 4999 bytes instead of 5000/)
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
      })
    )

    check("a wrong digest: an error with everything to act on, and nothing is placed", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const wrong = world.digest(bytes("another"))
        const manager = yield* start(world, { hello: { ...hello, rootfs: { ...hello.rootfs, sha256: wrong } } })
        const error = yield* imageErrorOf(manager.ensureImage("hello"))
        assert.strictEqual(error.reason, "ChecksumMismatch")
        assert.strictEqual(error.image, "hello")
        assert.strictEqual(error.asset, "rootfs")
        assert.strictEqual(error.url, hello.rootfs.url)
        assert.strictEqual(error.expected, wrong)
        assert.strictEqual(error.actual, world.digest(rootfs))
        assert.strictEqual(error.bytesReceived, rootfs.length)
        assert.strictEqual(
          error.message,
          `The SHA-256 of the rootfs of image "hello" from ${hello.rootfs.url} is not the expected one: expected ${wrong}, ` +
            `actual ${world.digest(rootfs)}, ${rootfs.length} bytes received; they were thrown away`
        )
        assert.strictEqual(world.requests().filter((path) => path === "/rootfs").length, 1)
        assert.deepStrictEqual(
          Object.keys(yield* tree(world)).filter((entry) => /vmlinux|rootfs/.test(entry)),
          []
        )
        assert.isFalse(yield* manager.isCached("hello"))
        yield* assertClean(world)
      })
    )

    check("all or nothing: when one asset fails, what the cache held before is untouched", (world) =>
      Effect.gen(function* () {
        const old = yield* start(world, serveHello(world))
        yield* old.ensureImage("hello")
        yield* world.pass(20)
        const before = yield* tree(world)
        const newKernel = bytes("new kernel")
        const updated = {
          kernel: { url: world.serve("/new-kernel", newKernel), sha256: world.digest(newKernel) },
          rootfs: { url: world.serve("/new-rootfs", rootfs, { latency: 50 }), sha256: world.digest(bytes("not this")) }
        }
        for (const behaviour of [{}, { status: 404 }, { status: 403 }]) {
          world.serve("/new-rootfs", rootfs, behaviour)
          yield* imageErrorOf((yield* start(world, { hello: updated })).ensureImage("hello"))
          const after = yield* tree(world)
          for (const file of ["hello/vmlinux.bin", "hello/rootfs.ext4"]) assert.strictEqual(after[file], before[file])
        }
        assert.deepStrictEqual(yield* requestsDuring(world, old.ensureImage("hello")), [])
        yield* assertClean(world)
      })
    )

    check("kernel and rootfs are fetched at the same time, and an interruption stops both and cleans up", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world, { kernel: { stallAfter: 1000 }, rootfs: { stallAfter: 1000 } })
        const manager = yield* start(world, images)
        const fiber = yield* Effect.fork(manager.ensureImage("hello"))
        yield* world.requested(2)
        assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
        const exit = yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isInterrupted(exit))
        yield* assertClean(world)
        assert.isFalse(yield* manager.isCached("hello"))
        serveHello(world)
        yield* manager.ensureImage("hello")
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
      })
    )

    check("an initrd is a third file, verified like the others", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const three = { ...hello, initrd: { url: world.serve("/initrd", initrd), sha256: world.digest(initrd) } }
        const manager = yield* start(world, { three })
        const image = yield* manager.ensureImage("three")
        assert.strictEqual(image.initrdPath, `${world.cacheDir}/three/initrd.img`)
        yield* holds(world, "three", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs, "initrd.img": initrd })
        yield* write(world, "three/initrd.img", "corrupt")
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("three")), ["/initrd"])
        yield* remove(world, "three/initrd.img")
        assert.isFalse(yield* manager.isCached("three"))
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("three")), ["/initrd"])
      })
    )

    check("file names can be chosen", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const chosen = {
          kernel: { ...hello.kernel, filename: "bz Image" },
          rootfs: { ...hello.rootfs, filename: "größe.img" },
          initrd: { url: world.serve("/initrd", initrd), sha256: world.digest(initrd), filename: "vmlinux.bin" }
        }
        const manager = yield* start(world, { chosen })
        const image = yield* manager.ensureImage("chosen")
        assert.deepStrictEqual(
          { ...image },
          {
            name: "chosen",
            kernelPath: `${world.cacheDir}/chosen/bz Image`,
            rootfsPath: `${world.cacheDir}/chosen/größe.img`,
            initrdPath: `${world.cacheDir}/chosen/vmlinux.bin`
          }
        )
        yield* holds(world, "chosen", { "bz Image": kernel, "größe.img": rootfs, "vmlinux.bin": initrd })
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("chosen")), [])
      })
    )

    check("a digest in upper case with blanks around it is that digest", (world) =>
      Effect.gen(function* () {
        const { hello } = serveHello(world)
        const sloppy = { ...hello, kernel: { ...hello.kernel, sha256: `\t ${hello.kernel.sha256.toUpperCase()}\r\n` } }
        const manager = yield* start(world, { hello: sloppy })
        yield* manager.ensureImage("hello")
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("hello")), [])
      })
    )

    check("a relative cache directory is resolved once, and the paths are absolute", (world) =>
      Effect.gen(function* () {
        const path = Context.get(world.services, Path.Path)
        const relative = path.relative(path.resolve(""), world.cacheDir)
        const manager = yield* start(world, serveHello(world), { cacheDir: `./${relative}/` })
        assert.strictEqual((yield* manager.ensureImage("hello")).kernelPath, `${world.cacheDir}/hello/vmlinux.bin`)
        yield* holds(world, "hello", { "vmlinux.bin": kernel })
      })
    )

    check("what else is in the cache stays", (world) =>
      Effect.gen(function* () {
        yield* write(world, "hello/notes.txt", "mine")
        yield* write(world, "other/vmlinux.bin", "mine")
        yield* write(world, "README", "mine")
        yield* (yield* start(world, serveHello(world))).ensureImage("hello")
        for (const file of ["hello/notes.txt", "other/vmlinux.bin", "README"]) {
          assert.strictEqual(new TextDecoder().decode(yield* read(world, file)), "mine")
        }
      })
    )
  })

  describe(`${name}: without a pinned digest`, () => {
    const serveUnpinned = (world: World) => ({
      hello: {
        kernel: { url: world.serve("/kernel", kernel) },
        rootfs: { url: world.serve("/rootfs", rootfs), sha256: world.digest(rootfs) }
      }
    })

    check("a miss warns, and records what was fetched", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world))
        const [, warnings] = yield* warningsOf(manager.ensureImage("hello"))
        assert.deepStrictEqual(warnings, [
          'hello: kernel of image "hello" has no pinned SHA-256: it is trusted on first use'
        ])
        yield* world.pass(20)
        const before = yield* tree(world)
        assert.isNotEmpty(Object.keys(before).filter((entry) => entry.startsWith(".smolvm-images/records/hello/")))
        const [requests, later] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
        assert.deepStrictEqual([requests, later], [[], []])
        assert.deepStrictEqual(yield* tree(world), before)
      })
    )

    check("a file that was tampered with is fetched again and has to be what it was", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world))
        yield* manager.ensureImage("hello")
        yield* write(
          world,
          "hello/vmlinux.bin",
          kernel.map((byte, at) => (at === 99 ? byte ^ 1 : byte))
        )
        const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
        assert.deepStrictEqual(requests, ["/kernel"])
        assert.include(warnings.join("\n"), `fails verification and is fetched again: expected ${world.digest(kernel)}`)
        yield* holds(world, "hello", { "vmlinux.bin": kernel })

        const other = bytes("another kernel")
        world.serve("/kernel", other)
        const tampered = bytes("tampered")
        yield* write(world, "hello/vmlinux.bin", tampered)
        const error = yield* imageErrorOf(manager.ensureImage("hello"))
        assert.strictEqual(error.reason, "ChecksumMismatch")
        assert.strictEqual(error.expected, world.digest(kernel))
        assert.strictEqual(error.actual, world.digest(other))
        yield* holds(world, "hello", { "vmlinux.bin": tampered })
      })
    )

    check("who removes the file forgets the record", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world))
        yield* manager.ensureImage("hello")
        yield* remove(world, "hello/vmlinux.bin")
        const other = bytes("another kernel")
        world.serve("/kernel", other)
        yield* manager.ensureImage("hello")
        yield* holds(world, "hello", { "vmlinux.bin": other })
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("hello")), [])
      })
    )

    check("a file without a record is a hit with a warning, and recorded from then on", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world))
        const found = bytes("filled by somebody else")
        yield* write(world, "hello/vmlinux.bin", found)
        yield* write(world, "hello/rootfs.ext4", rootfs)
        const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
        assert.deepStrictEqual(requests, [])
        assert.deepStrictEqual(warnings, [
          `hello: kernel of image "hello" has no pinned SHA-256 and no record: it is trusted as it is (${world.digest(found)})`
        ])
        yield* holds(world, "hello", { "vmlinux.bin": found })
        assert.deepStrictEqual((yield* warningsOf(manager.ensureImage("hello")))[1], [])
        yield* write(world, "hello/vmlinux.bin", "tampered")
        const error = yield* imageErrorOf(manager.ensureImage("hello"))
        assert.strictEqual(error.reason, "ChecksumMismatch")
        assert.strictEqual(error.expected, world.digest(found))
      })
    )

    check("a record that cannot be kept or read is no record, and nothing breaks", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world), {
          fault: ({ path }) => (path.includes("/records") ? Effect.fail("EACCES") : Effect.void)
        })
        yield* manager.ensureImage("hello")
        const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
        assert.deepStrictEqual(requests, [])
        assert.match(warnings.join("\n"), /no record: it is trusted as it is/)
      })
    )

    check("a damaged record is ignored with a warning, and replaced", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveUnpinned(world))
        yield* manager.ensureImage("hello")
        const [record = ""] = Object.keys(yield* tree(world)).filter((entry) => /records\/hello\/vmlinux/.test(entry))
        for (const damage of ["", "{", "null", '{"version":2,"sha256":"","size":1}', "\0".repeat(100)]) {
          yield* write(world, record, damage)
          const [requests, warnings] = yield* warningsOf(requestsDuring(world, manager.ensureImage("hello")))
          assert.deepStrictEqual(requests, [])
          assert.match(warnings.join("\n"), /is damaged and ignored/)
        }
        assert.deepStrictEqual((yield* warningsOf(manager.ensureImage("hello")))[1], [])
      })
    )

    check("pinning it later is enforced, whatever the record says", (world) =>
      Effect.gen(function* () {
        const images = serveUnpinned(world)
        yield* (yield* start(world, images)).ensureImage("hello")
        const better = bytes("better")
        world.serve("/kernel", better)
        const pinned = { hello: { ...images.hello, kernel: { ...images.hello.kernel, sha256: world.digest(better) } } }
        const manager = yield* start(world, pinned)
        assert.deepStrictEqual(yield* requestsDuring(world, manager.ensureImage("hello")), ["/kernel"])
        yield* holds(world, "hello", { "vmlinux.bin": better })
      })
    )
  })

  describe(`${name}: storage`, () => {
    const storageErrorOf = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.map(imageErrorOf(effect), (error) => {
        assert.strictEqual(error.reason, "StorageFailed")
        assert.isNotEmpty(error.path)
        assert.strictEqual(error.image, "hello")
        return error
      })

    const injected = [
      ["makeDirectory", "EACCES", "StorageFailed"],
      ["makeDirectory", "EROFS", "StorageFailed"],
      ["makeDirectory", "ENOSPC", "NoSpace"],
      ["open", "EACCES", "StorageFailed"],
      ["open", "EMFILE", "StorageFailed"],
      ["File.writeAll", "ENOSPC", "NoSpace"],
      ["File.writeAll", "EDQUOT", "NoSpace"],
      ["File.writeAll", "EIO", "StorageFailed"],
      ["File.sync", "EIO", "StorageFailed"],
      ["File.sync", "ENOSPC", "NoSpace"],
      ["rename", "EACCES", "StorageFailed"],
      ["rename", "EXDEV", "StorageFailed"],
      ["rename", "EISDIR", "StorageFailed"],
      ["rename", "EROFS", "StorageFailed"],
      ["stat", "EACCES", "StorageFailed"],
      ["stat", "EIO", "StorageFailed"],
      ["realPath", "ELOOP", "StorageFailed"]
    ] as const

    for (const [method, code, reason] of injected) {
      check(`${code} from ${method} is ${reason} with path and cause, and the next try works`, (world) =>
        Effect.gen(function* () {
          let broken = true
          const manager = yield* start(world, serveHello(world), {
            fault: (operation) =>
              Effect.suspend(() => (broken && operation.method === method ? Effect.fail(code) : Effect.void))
          })
          const [error] = yield* warningsOf(imageErrorOf(manager.ensureImage("hello")))
          assert.strictEqual(error.reason, reason, error.message)
          assert.strictEqual(error.image, "hello")
          assert.include(error.path, world.cacheDir)
          assert.include(error.message, `at ${error.path}`)
          assert.instanceOf(error.cause, Error)
          assert.strictEqual(
            Reflect.get(error.cause as object, "code") ?? Reflect.get((error.cause as Error).cause as object, "code"),
            code
          )
          assert.notMatch(Object.keys(yield* tree(world)).join("\n"), /^hello\/./m)
          broken = false
          yield* manager.ensureImage("hello")
          yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
          yield* assertClean(world)
        })
      )
    }

    check("a file that cannot be read for its verification is StorageFailed, not fetched again", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world)
        yield* (yield* start(world, images)).ensureImage("hello")
        for (const method of ["open", "File.read"] as const) {
          const manager = yield* start(world, images, {
            fault: (operation) =>
              operation.method === method && operation.path.endsWith("rootfs.ext4") ? Effect.fail("EIO") : Effect.void
          })
          const [error] = yield* warningsOf(storageErrorOf(manager.ensureImage("hello")))
          assert.strictEqual(error.path, `${world.cacheDir}/hello/rootfs.ext4`)
          assert.strictEqual(error.asset, "rootfs")
        }
      })
    )

    for (const links of [true, false]) {
      check(
        `when the second file cannot be placed the first one is put back (${links ? "with" : "without"} hard links)`,
        (world) =>
          Effect.gen(function* () {
            const [oldKernel, oldRootfs] = [bytes("old kernel"), bytes("old rootfs")]
            yield* write(world, "hello/vmlinux.bin", oldKernel)
            yield* write(world, "hello/rootfs.ext4", oldRootfs)
            let placed = 0
            const manager = yield* start(world, serveHello(world), {
              fault: ({ method, to }) =>
                Effect.suspend(() => {
                  if (method === "link" && !links) return Effect.fail("EPERM" as const)
                  const isPlacement = method === "rename" && to?.startsWith(`${world.cacheDir}/hello/`) === true
                  return isPlacement && ++placed === 2 ? Effect.fail("EIO" as const) : Effect.void
                })
            })
            const [error] = yield* warningsOf(storageErrorOf(manager.ensureImage("hello")))
            assert.strictEqual(error.asset, "rootfs")
            yield* holds(world, "hello", { "vmlinux.bin": oldKernel, "rootfs.ext4": oldRootfs })
            yield* assertClean(world)
            yield* manager.ensureImage("hello")
            yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
          })
      )
    }

    check("a file in the place of the cache directory (ENOTDIR)", (world) =>
      Effect.gen(function* () {
        yield* write(world, "file", "a file")
        const manager = yield* start(world, serveHello(world), { cacheDir: `${world.cacheDir}/file` })
        const [error] = yield* warningsOf(storageErrorOf(manager.ensureImage("hello")))
        assert.include(error.path, `${world.cacheDir}/file`)
        assert.isFalse((yield* warningsOf(manager.isCached("hello")))[0])
      })
    )

    check("a file in the place of the image's directory", (world) =>
      Effect.gen(function* () {
        yield* write(world, "hello", "a file")
        const manager = yield* start(world, serveHello(world))
        const [error] = yield* warningsOf(storageErrorOf(manager.ensureImage("hello")))
        assert.include(error.path, `${world.cacheDir}/hello`)
        assert.match(error.message, /a file is where a directory should be; move it away/)
        assert.strictEqual(new TextDecoder().decode(yield* read(world, "hello")), "a file")
        assert.isFalse((yield* warningsOf(manager.isCached("hello")))[0])
      })
    )

    check("a directory in the place of an asset", (world) =>
      Effect.gen(function* () {
        yield* write(world, "hello/vmlinux.bin/inside", "mine")
        const manager = yield* start(world, serveHello(world))
        const error = yield* storageErrorOf(manager.ensureImage("hello"))
        assert.strictEqual(error.asset, "kernel")
        assert.strictEqual(error.path, `${world.cacheDir}/hello/vmlinux.bin`)
        assert.strictEqual(
          error.message,
          `Storage failed for the kernel of image "hello" at ${world.cacheDir}/hello/vmlinux.bin: ` +
            "a directory is where a file should be; move it away"
        )
        assert.strictEqual(new TextDecoder().decode(yield* read(world, "hello/vmlinux.bin/inside")), "mine")
        yield* assertClean(world)
      })
    )

    check("a file in the place of our bookkeeping", (world) =>
      Effect.gen(function* () {
        yield* write(world, ".smolvm-images", "a file")
        const manager = yield* start(world, serveHello(world))
        const [error] = yield* warningsOf(storageErrorOf(manager.ensureImage("hello")))
        assert.include(error.path, `${world.cacheDir}/.smolvm-images`)
        assert.match(error.message, /a file is where a directory should be; move it away/)
      })
    )

    check("a link that leads out of the cache is not followed when files are placed", (world) =>
      Effect.gen(function* () {
        const fs = Context.get(world.services, FileSystem.FileSystem)
        yield* Effect.orDie(fs.makeDirectory(`${world.cacheDir}-outside`, { recursive: true }))
        yield* write(world, "README", "makes the directory")
        yield* Effect.orDie(fs.symlink(`${world.cacheDir}-outside`, `${world.cacheDir}/hello`))
        const manager = yield* start(world, serveHello(world))
        const error = yield* storageErrorOf(manager.ensureImage("hello"))
        assert.match(error.message, /a link leads .*remove/)
        assert.deepStrictEqual(yield* Effect.orDie(fs.readDirectory(`${world.cacheDir}-outside`)), [])
      })
    )
  })

  describe(`${name}: many at once`, () => {
    check("twenty callers share one download", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world, { kernel: { latency: 100 }, rootfs: { latency: 100 } }))
        const callers = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 20 }, () => manager.ensureImage("hello")),
            { concurrency: "unbounded" }
          )
        )
        yield* world.requested(2)
        yield* world.pass(150)
        const images = yield* Fiber.join(callers)
        assert.strictEqual(new Set(images.map(({ kernelPath }) => kernelPath)).size, 1)
        assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
        yield* assertClean(world)
      })
    )

    check("twenty callers share one failure, and the next call tries again", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world, { rootfs: { latency: 100, status: 404 } }))
        const callers = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 20 }, () => imageErrorOf(manager.ensureImage("hello"))),
            { concurrency: "unbounded" }
          )
        )
        yield* world.requested(2)
        yield* world.pass(150)
        const errors = yield* Fiber.join(callers)
        assert.deepStrictEqual([...new Set(errors.map(({ status }) => status))], [404])
        assert.strictEqual(world.requests().filter((path) => path === "/rootfs").length, 1)
        serveHello(world)
        yield* manager.ensureImage("hello")
      })
    )

    check("interrupting the first caller does not disturb the others", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(world, serveHello(world, { kernel: { latency: 600 }, rootfs: { latency: 600 } }))
        const first = yield* Effect.fork(manager.ensureImage("hello"))
        yield* world.requested(2)
        const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(manager.ensureImage("hello")))
        yield* world.pass(250)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
        yield* world.pass(500)
        for (const fiber of others) assert.strictEqual((yield* Fiber.join(fiber)).name, "hello")
        assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
        yield* assertClean(world)
      })
    )

    check("interrupting the last caller stops the download and cleans up before it returns", (world) =>
      Effect.gen(function* () {
        const manager = yield* start(
          world,
          serveHello(world, { kernel: { stallAfter: 10 }, rootfs: { stallAfter: 100 } })
        )
        const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.fork(manager.ensureImage("hello")))
        yield* world.requested(2)
        yield* world.pass(50)
        for (const fiber of fibers) assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* assertClean(world)
        serveHello(world)
        yield* manager.ensureImage("hello")
      })
    )

    check("two managers over one directory share a download", (world) =>
      Effect.gen(function* () {
        const images = serveHello(world, { kernel: { latency: 100 }, rootfs: { latency: 100 } })
        const one = yield* start(world, images)
        const other = yield* start(world, images, {
          cacheDir: `${world.cacheDir}/../${world.cacheDir.split("/").at(-1)}/`
        })
        const callers = yield* Effect.fork(
          Effect.all([one.ensureImage("hello"), other.ensureImage("hello")], { concurrency: 2 })
        )
        yield* world.requested(2)
        yield* world.pass(150)
        const [a, b] = yield* Fiber.join(callers)
        assert.deepStrictEqual(a, b)
        assert.deepStrictEqual([...world.requests()].sort(), ["/kernel", "/rootfs"])
      })
    )

    check("two managers that want different bytes under one name do not mix them", (world) =>
      Effect.gen(function* () {
        const ours = serveHello(world, { kernel: { latency: 50 }, rootfs: { latency: 50 } })
        const [otherKernel, otherRootfs] = [bytes("other kernel"), bytes("other rootfs")]
        const theirs = {
          hello: {
            kernel: { url: world.serve("/kernel2", otherKernel, { latency: 50 }), sha256: world.digest(otherKernel) },
            rootfs: { url: world.serve("/rootfs2", otherRootfs, { latency: 50 }), sha256: world.digest(otherRootfs) }
          }
        }
        const one = yield* start(world, ours)
        const other = yield* start(world, theirs)
        const callers = yield* Effect.fork(
          Effect.all([one.ensureImage("hello"), other.ensureImage("hello"), one.ensureImage("hello")], {
            concurrency: 3
          })
        )
        yield* Effect.repeat(world.pass(60), { times: 10 })
        yield* Fiber.join(callers)
        const [found] = yield* Effect.all([Effect.map(read(world, "hello/vmlinux.bin"), world.digest)])
        const isOurs = found === world.digest(kernel)
        yield* holds(world, "hello", {
          "vmlinux.bin": isOurs ? kernel : otherKernel,
          "rootfs.ext4": isOurs ? rootfs : otherRootfs
        })
        yield* assertClean(world)
      })
    )

    check("two managers that want different bytes under one name do not share a failure", (world) =>
      Effect.gen(function* () {
        const ours = serveHello(world, { kernel: { latency: 100 }, rootfs: { latency: 100 } })
        const missing = (path: string) => ({
          url: world.serve(path, kernel, { latency: 100, status: 404 }),
          sha256: world.digest(bytes(path))
        })
        const one = yield* start(world, ours)
        const other = yield* start(world, { hello: { kernel: missing("/gone"), rootfs: missing("/gone-too") } })
        const callers = [other, one, other, one].map(({ ensureImage }) => Effect.either(ensureImage("hello")))
        const running = yield* Effect.fork(Effect.all(callers, { concurrency: "unbounded" }))
        yield* Effect.repeat(world.pass(60), { times: 10 })
        const outcomes = yield* Fiber.join(running)
        assert.deepStrictEqual(
          outcomes.map(({ _tag }) => _tag),
          ["Left", "Right", "Left", "Right"]
        )
        yield* holds(world, "hello", { "vmlinux.bin": kernel, "rootfs.ext4": rootfs })
        yield* assertClean(world)
      })
    )

    check("two images are fetched at the same time", (world) =>
      Effect.gen(function* () {
        const content = bytes("another image")
        const { hello } = serveHello(world, { kernel: { stallAfter: 9 }, rootfs: { stallAfter: 9 } })
        const asset = (path: string, extra: number) => {
          const own = Uint8Array.from([...content, extra])
          return { url: world.serve(path, own), sha256: world.digest(own) }
        }
        const manager = yield* start(world, { hello, other: { kernel: asset("/k", 1), rootfs: asset("/r", 2) } })
        const stuck = yield* Effect.fork(manager.ensureImage("hello"))
        yield* world.requested(2)
        assert.strictEqual((yield* manager.ensureImage("other")).name, "other")
        yield* Fiber.interrupt(stuck)
      })
    )
  })
}

/** The services of a world out of layers. */
export const servicesOf = <E>(
  layer: Layer.Layer<FileSystem.FileSystem | Path.Path | HttpClient.HttpClient | Hasher.Hasher, E>
) => Effect.map(Effect.orDie(Layer.build(layer)), (context) => Context.add(context, Host.Host, Host.neutral))

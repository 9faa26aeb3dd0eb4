import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Predicate, Ref, type Scope, Stream, TestClock } from "effect"
import * as MemoryFileSystem from "../../src/testing/MemoryFileSystem.js"
import { fileSystemContract } from "./fileSystemContract.js"

fileSystemContract("memory", {
  layer: MemoryFileSystem.layer,
  scratch: Effect.as(
    Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeDirectory("/scratch")),
    "/scratch"
  ),
  permissions: true
})

/** The `code` of a PlatformError's cause. */
const code = <A, E extends { readonly cause?: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ cause }) => (Predicate.hasProperty(cause, "code") ? cause.code : undefined))

describe("MemoryFileSystem", () => {
  it.effect("every build of the layer is a fresh disk", () =>
    Effect.gen(function* () {
      const write = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFileString("/a", "a"))
      const exists = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.exists("/a"))
      yield* Effect.provide(write, MemoryFileSystem.layer)
      assert.isFalse(yield* Effect.provide(exists, MemoryFileSystem.layer))
      assert.isTrue(yield* Effect.provide(Effect.zipRight(write, exists), MemoryFileSystem.layer))
    })
  )

  it.effect("times come from the Clock", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      yield* TestClock.setTime(5_000)
      yield* fs.writeFileString("/a", "a")
      yield* TestClock.adjust("1 minute")
      yield* fs.writeFileString("/a", "b", { flag: "a" })
      yield* fs.readFile("/a")
      const { atime, birthtime, mtime } = yield* fs.stat("/a")
      const times = [birthtime, atime, mtime].map(Option.map((time) => time.getTime()))
      assert.deepStrictEqual(times, [Option.some(5_000), Option.some(5_000), Option.some(65_000)])
    })
  )

  it.effect("layerWith holds the files it was given, as bytes or text, in folders it makes", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      assert.strictEqual(yield* fs.readFileString("/images/hello/vmlinux.bin"), "kernel")
      assert.deepStrictEqual(Array.from(yield* fs.readFile("/images/hello/rootfs.ext4")), [1, 2])
      assert.strictEqual(yield* fs.readFileString("relative"), "r")
    }).pipe(
      Effect.provide(
        MemoryFileSystem.layerWith({
          "/images/hello/vmlinux.bin": "kernel",
          "/images/hello/rootfs.ext4": Uint8Array.of(1, 2),
          relative: "r"
        })
      )
    )
  )

  it.effect("a closed handle is refused", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      const file = yield* Effect.scoped(fs.open("/a", { flag: "w+" }))
      assert.strictEqual(yield* code(file.read(new Uint8Array(1))), "EBADF")
      assert.strictEqual(yield* code(file.writeAll(new Uint8Array(1))), "EBADF")
      assert.strictEqual(yield* code(file.sync), "EBADF")
      assert.strictEqual(yield* code(file.stat), "EBADF")
      assert.strictEqual(yield* code(file.truncate()), "EBADF")
    })
  )

  it.effect("a file far larger than memory may be all hole", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      yield* fs.writeFileString("/a", "a")
      yield* fs.truncate("/a", 2 ** 40)
      assert.strictEqual((yield* fs.stat("/a")).size, 2n ** 40n)
      const end = yield* Stream.runCollect(fs.stream("/a", { offset: 2 ** 40 - 2 }))
      assert.deepStrictEqual(
        Array.from(end, (bytes) => Array.from(bytes)),
        [[0, 0]]
      )
      assert.strictEqual(yield* code(fs.readFile("/a")), "ERR_FS_FILE_TOO_LARGE")
      assert.strictEqual(yield* code(fs.writeFileString("/a", "b", { flag: "a" })), "EFBIG")
    }).pipe(Effect.scoped)
  )

  it.effect("nothing can be watched", () =>
    Effect.gen(function* () {
      const fs = yield* MemoryFileSystem.make
      assert.strictEqual(yield* code(Stream.runDrain(fs.watch("/tmp"))), "ENOSYS")
    })
  )
})

describe("MemoryFileSystem.faulty", () => {
  const withFault = (fault: MemoryFileSystem.Fault) => MemoryFileSystem.layerFaulty(MemoryFileSystem.layer, fault)

  it.effect("the chosen operation fails with the chosen code and is not made, the others are", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      yield* fs.writeFileString("/a", "a")
      const error = yield* Effect.flip(fs.rename("/a", "/b"))
      assert.isTrue(error._tag === "SystemError" && error.reason === "Unknown" && error.pathOrDescriptor === "/a")
      assert.strictEqual(error.method, "rename")
      assert.strictEqual(yield* code(fs.rename("/a", "/b")), "EXDEV")
      assert.deepStrictEqual(yield* fs.readDirectory("/"), ["tmp", "a"])
      yield* fs.rename("/a", "/c")
      assert.strictEqual(yield* fs.readFileString("/c"), "a")
    }).pipe(
      Effect.provide(
        withFault(({ method, to }) => (method === "rename" && to === "/b" ? Effect.fail("EXDEV") : Effect.void))
      )
    )
  )

  it.scoped("operations of open files, and what is derived from them", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const inner = yield* MemoryFileSystem.make
      const fs = MemoryFileSystem.faulty(inner, ({ method, path }) => {
        asked.push(`${method} ${path}`)
        return method.startsWith("File.write") ? Effect.fail("ENOSPC") : Effect.void
      })
      const file = yield* fs.open("/a", { flag: "w+" })
      const error = yield* Effect.flip(file.writeAll(Uint8Array.of(1)))
      assert.isTrue(error._tag === "SystemError" && error.method === "writeAll" && error.pathOrDescriptor === file.fd)
      assert.strictEqual(yield* code(file.write(Uint8Array.of(1))), "ENOSPC")
      yield* file.sync
      yield* file.truncate(3)
      yield* file.seek(0, "start")
      assert.strictEqual(yield* file.read(new Uint8Array(2)), 2n)
      assert.isTrue(Option.isSome(yield* file.readAlloc(1)))
      assert.strictEqual((yield* file.stat).size, 3n)
      assert.strictEqual(yield* code(Stream.run(Stream.make(Uint8Array.of(1)), fs.sink("/b"))), "ENOSPC")
      assert.deepStrictEqual(asked, [
        "open /a",
        "File.writeAll /a",
        "File.write /a",
        "File.sync /a",
        "File.truncate /a",
        "File.read /a",
        "File.readAlloc /a",
        "File.stat /a",
        "open /b",
        "File.writeAll /b"
      ])
    })
  )

  const reasons: ReadonlyArray<readonly [MemoryFileSystem.ErrorCode, string]> = [
    ["EACCES", "PermissionDenied"],
    ["EBUSY", "Busy"],
    ["EIO", "Unknown"],
    ["EMFILE", "Unknown"],
    ["ESTALE", "Unknown"]
  ]
  for (const [fault, reason] of reasons) {
    it.effect(`${fault} has reason ${reason}`, () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const error = yield* Effect.flip(fs.exists("/"))
        assert.isTrue(error._tag === "SystemError" && error.reason === reason)
      }).pipe(Effect.provide(withFault(() => Effect.fail(fault))))
    )
  }

  it.effect("every method of the service asks first", () =>
    Effect.gen(function* () {
      const fs = MemoryFileSystem.faulty(yield* MemoryFileSystem.make, ({ method }) =>
        Effect.sync(() => asked.push(method)).pipe(Effect.zipRight(Effect.fail("EIO" as const)))
      )
      const asked: Array<string> = []
      const bytes = new Uint8Array(1)
      const calls: {
        readonly [Method in keyof FileSystem.FileSystem]: Effect.Effect<unknown, PlatformError, Scope.Scope>
      } = {
        access: fs.access("/a"),
        chmod: fs.chmod("/a", 0),
        chown: fs.chown("/a", 0, 0),
        copy: fs.copy("/a", "/b"),
        copyFile: fs.copyFile("/a", "/b"),
        exists: fs.exists("/a"),
        link: fs.link("/a", "/b"),
        makeDirectory: fs.makeDirectory("/a"),
        makeTempDirectory: fs.makeTempDirectory(),
        makeTempDirectoryScoped: fs.makeTempDirectoryScoped(),
        makeTempFile: fs.makeTempFile(),
        makeTempFileScoped: fs.makeTempFileScoped(),
        open: fs.open("/a", { flag: "w" }),
        readDirectory: fs.readDirectory("/"),
        readFile: fs.readFile("/a"),
        readFileString: fs.readFileString("/a"),
        readLink: fs.readLink("/a"),
        realPath: fs.realPath("/"),
        remove: fs.remove("/a", { force: true }),
        rename: fs.rename("/a", "/b"),
        sink: Stream.run(Stream.make(bytes), fs.sink("/a")),
        stat: fs.stat("/"),
        stream: Stream.runDrain(fs.stream("/a")),
        symlink: fs.symlink("/a", "/b"),
        truncate: fs.truncate("/a"),
        utimes: fs.utimes("/", 0, 0),
        watch: Stream.runDrain(fs.watch("/")),
        writeFile: fs.writeFile("/a", bytes),
        writeFileString: fs.writeFileString("/a", "")
      }
      const derived: Record<string, string> = {
        exists: "access",
        readFileString: "readFile",
        sink: "open",
        stream: "open",
        writeFileString: "writeFile"
      }
      for (const [method, call] of Object.entries(calls)) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(call)), method)
        assert.strictEqual(asked.at(-1), derived[method] ?? method)
      }
      assert.lengthOf(asked, Object.keys(calls).length)
    }).pipe(Effect.scoped)
  )

  it.effect("a fault may count, and may hold an operation until the test lets it go", () =>
    Effect.gen(function* () {
      const attempts = yield* Ref.make(0)
      const gate = yield* Deferred.make<void>()
      const fs = MemoryFileSystem.faulty(yield* MemoryFileSystem.make, ({ method }) =>
        Effect.gen(function* () {
          if (method === "rename") {
            yield* Deferred.await(gate)
          } else if ((yield* Ref.updateAndGet(attempts, (count) => count + 1)) === 2) {
            return yield* Effect.fail("EIO" as const)
          }
        })
      )
      yield* fs.writeFileString("/a", "a")
      assert.strictEqual(yield* code(fs.writeFileString("/b", "b")), "EIO")
      yield* fs.writeFileString("/b", "b")
      const renaming = yield* Effect.fork(fs.rename("/a", "/b"))
      yield* Effect.yieldNow()
      assert.strictEqual(yield* fs.readFileString("/b"), "b")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(renaming)
      assert.strictEqual(yield* fs.readFileString("/b"), "a")
    })
  )

  it.effect("one disk shared by two layers, as after a restart", () =>
    Effect.gen(function* () {
      const disk = Layer.succeed(FileSystem.FileSystem, yield* MemoryFileSystem.make)
      const write = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFileString("/a", "a"))
      const read = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString("/a"))
      yield* Effect.provide(write, disk)
      assert.strictEqual(yield* Effect.provide(read, disk), "a")
    })
  )
})

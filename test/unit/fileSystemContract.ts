import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, type Layer, Option, Predicate, Scope, Stream } from "effect"

export interface FileSystemUnderTest {
  /** Built anew for every test. */
  readonly layer: Layer.Layer<FileSystem.FileSystem>
  /** An empty directory of the test's own, writable, an absolute canonical path. */
  readonly scratch: Effect.Effect<string, PlatformError, FileSystem.FileSystem | Scope.Scope>
  /** Whether permissions bind this user: they do not bind root. */
  readonly permissions: boolean
}

type Body<E> = (fs: FileSystem.FileSystem, dir: string) => Effect.Effect<unknown, E, Scope.Scope>

interface Failure {
  readonly reason: string
  readonly code: string
  readonly method: string
  /** Where it is not the first argument. */
  readonly target?: string
}

const bytes = (...values: ReadonlyArray<number>) => Uint8Array.from(values)
const mebibyte = 1024 * 1024
const sharedBytes = (length: number, seed: number) => {
  const shared = new Uint8Array(new SharedArrayBuffer(length))
  shared.set(Uint8Array.from({ length }, (_, index) => (index * 7 + seed) % 251))
  return shared
}
const encode = (text: string) => new TextEncoder().encode(text)
const decode = (data: Uint8Array) => new TextDecoder().decode(data)

const codeOf = (cause: unknown): unknown => (Predicate.hasProperty(cause, "code") ? cause.code : undefined)

const fails = <A, R>(effect: Effect.Effect<A, PlatformError, R>, expected: Partial<Failure>) =>
  Effect.map(Effect.flip(Effect.asVoid(effect)), (error) => {
    if (error._tag === "BadArgument") {
      return assert.fail(`BadArgument where a SystemError was due: ${error.message}`)
    }
    const { code, method, reason, target } = expected
    const actual = {
      code: codeOf(error.cause),
      reason: error.reason,
      method: error.method,
      target: error.pathOrDescriptor
    }
    assert.deepStrictEqual(actual, {
      code: code ?? actual.code,
      reason: reason ?? actual.reason,
      method: method ?? actual.method,
      target: target ?? actual.target
    })
    assert.strictEqual(error.module, "FileSystem")
    assert.instanceOf(error.cause, Error)
  })

const missing = { reason: "NotFound", code: "ENOENT" }
const exists = { reason: "AlreadyExists", code: "EEXIST" }
const isDirectory = { reason: "BadResource", code: "EISDIR" }
const notDirectory = { reason: "BadResource", code: "ENOTDIR" }
const looping = { reason: "BadResource", code: "ELOOP" }
const denied = { reason: "PermissionDenied", code: "EACCES" }
const badDescriptor = { reason: "Unknown", code: "EBADF" }

/** What every FileSystem has to do, in one suite, so that a test in memory says something about the disk. */
export const fileSystemContract = (name: string, { layer, permissions, scratch }: FileSystemUnderTest): void => {
  const run =
    <E>(body: Body<E>) =>
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const dir = yield* scratch
        yield* body(fs, dir)
      }).pipe(Effect.provide(layer))

  const test = <E>(title: string, body: Body<E>) => it.scoped(title, run(body))
  const testPermission = <E>(title: string, body: Body<E>) => it.scoped.skipIf(!permissions)(title, run(body))

  /** One failing call: what is set up is `file` (text "file"), `dir/child`, `empty`, and the links `loop`, `dangling` and `link` to `dir`. */
  const testFailure = (
    title: string,
    expected: Failure,
    call: (fs: FileSystem.FileSystem, dir: string) => Effect.Effect<unknown, PlatformError, Scope.Scope>
  ) =>
    test(`${title}: ${expected.code}`, (fs, dir) =>
      Effect.gen(function* () {
        yield* fs.writeFileString(`${dir}/file`, "file")
        yield* fs.makeDirectory(`${dir}/dir`)
        yield* fs.makeDirectory(`${dir}/empty`)
        yield* fs.writeFileString(`${dir}/dir/child`, "child")
        yield* fs.symlink("loop", `${dir}/loop`)
        yield* fs.symlink("nothing", `${dir}/dangling`)
        yield* fs.symlink("dir", `${dir}/link`)
        const target = expected.target
        yield* fails(call(fs, dir), target === undefined ? expected : { ...expected, target: `${dir}/${target}` })
      }))

  describe(`FileSystem contract: ${name}`, () => {
    describe("whole files", () => {
      test("what is written is read back, and written over", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFile(`${dir}/a`, bytes(0, 255, 10, 13))
          assert.deepStrictEqual(Array.from(yield* fs.readFile(`${dir}/a`)), [0, 255, 10, 13])
          yield* fs.writeFileString(`${dir}/a`, "é")
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "é")
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).size, 2n)
        }))

      test("an empty file", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFile(`${dir}/a`, bytes())
          assert.strictEqual((yield* fs.readFile(`${dir}/a`)).length, 0)
          assert.isTrue(yield* fs.exists(`${dir}/a`))
        }))

      test("neither the buffer written nor the buffer read is shared with the file", (fs, dir) =>
        Effect.gen(function* () {
          const buffer = bytes(1, 2, 3)
          yield* fs.writeFile(`${dir}/a`, buffer)
          buffer.fill(9)
          const read = yield* fs.readFile(`${dir}/a`)
          read.fill(8)
          assert.deepStrictEqual(Array.from(yield* fs.readFile(`${dir}/a`)), [1, 2, 3])
        }))

      test("writeFile with a, r+ and wx", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "12345")
          yield* fs.writeFileString(`${dir}/a`, "67", { flag: "a" })
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "1234567")
          yield* fs.writeFileString(`${dir}/a`, "ab", { flag: "r+" })
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "ab34567")
          yield* fails(fs.writeFileString(`${dir}/a`, "", { flag: "wx" }), { ...exists, method: "writeFile" })
          yield* fails(fs.writeFileString(`${dir}/a`, "x", { flag: "r" }), badDescriptor)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "ab34567")
        }))

      test("truncate shrinks, and grows with zeros", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "12345")
          yield* fs.truncate(`${dir}/a`, 2)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "12")
          yield* fs.truncate(`${dir}/a`, 4n)
          assert.deepStrictEqual(Array.from(yield* fs.readFile(`${dir}/a`)), [49, 50, 0, 0])
          yield* fs.truncate(`${dir}/a`)
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).size, 0n)
        }))

      test("copyFile copies bytes and mode, and writes over what is there", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "new", { mode: 0o600 })
          yield* fs.writeFileString(`${dir}/b`, "something longer")
          yield* fs.copyFile(`${dir}/a`, `${dir}/b`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "new")
          assert.strictEqual((yield* fs.stat(`${dir}/b`)).mode & 0o777, 0o600)
          yield* fs.copyFile(`${dir}/a`, `${dir}/a`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "new")
          yield* fs.writeFileString(`${dir}/a`, "changed")
          assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "new")
        }))

      test("a relative or untidy path leads to the same file", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d`)
          yield* fs.writeFileString(`${dir}/d/../d/.//a`, "x")
          assert.strictEqual(yield* fs.readFileString(`${dir}//d/a`), "x")
        }))

      testFailure("readFile of nothing", { ...missing, method: "readFile", target: "nothing" }, (fs, dir) =>
        fs.readFile(`${dir}/nothing`)
      )
      testFailure("readFile of a directory", { ...isDirectory, method: "readFile", target: "dir" }, (fs, dir) =>
        fs.readFile(`${dir}/dir`)
      )
      testFailure("readFile below a file", { ...notDirectory, method: "readFile" }, (fs, dir) =>
        fs.readFile(`${dir}/file/child`)
      )
      testFailure("readFile of a file with a slash", { ...notDirectory, method: "readFile" }, (fs, dir) =>
        fs.readFile(`${dir}/file/`)
      )
      testFailure("readFile of a loop", { ...looping, method: "readFile" }, (fs, dir) => fs.readFile(`${dir}/loop`))
      testFailure("readFileString of nothing", { ...missing, method: "readFile" }, (fs, dir) =>
        fs.readFileString(`${dir}/nothing`)
      )
      testFailure("writeFile in no directory", { ...missing, method: "writeFile" }, (fs, dir) =>
        fs.writeFileString(`${dir}/nothing/a`, "")
      )
      testFailure("writeFile to a directory", { ...isDirectory, method: "writeFile" }, (fs, dir) =>
        fs.writeFileString(`${dir}/dir`, "")
      )
      testFailure("writeFile to a name with a slash", { ...isDirectory, method: "writeFile" }, (fs, dir) =>
        fs.writeFileString(`${dir}/new/`, "")
      )
      testFailure("a name of 256 bytes", { reason: "Unknown", code: "ENAMETOOLONG", method: "writeFile" }, (fs, dir) =>
        fs.writeFileString(`${dir}/${"n".repeat(256)}`, "")
      )
      testFailure("an empty path", { ...missing, method: "readFile" }, (fs) => fs.readFile(""))
      testFailure("truncate of nothing", { ...missing, method: "truncate" }, (fs, dir) => fs.truncate(`${dir}/nothing`))
      testFailure("truncate of a directory", { ...isDirectory, method: "truncate" }, (fs, dir) =>
        fs.truncate(`${dir}/dir`)
      )
      testFailure("copyFile of nothing", { ...missing, method: "copyFile", target: "nothing" }, (fs, dir) =>
        fs.copyFile(`${dir}/nothing`, `${dir}/new`)
      )
      testFailure("copyFile of a directory", { ...isDirectory, method: "copyFile" }, (fs, dir) =>
        fs.copyFile(`${dir}/dir`, `${dir}/new`)
      )
      testFailure("copyFile in no directory", { ...missing, method: "copyFile", target: "dir" }, (fs, dir) =>
        fs.copyFile(`${dir}/dir`, `${dir}/nothing/new`)
      )
      testFailure("copyFile to a directory", { ...isDirectory, method: "copyFile" }, (fs, dir) =>
        fs.copyFile(`${dir}/file`, `${dir}/dir`)
      )
    })

    describe("open", () => {
      const flags: ReadonlyArray<{
        readonly flag: FileSystem.OpenFlag
        readonly creates: boolean
        readonly exclusive: boolean
        readonly reads: boolean
        /** What "12345" is after "ab" is written. */
        readonly after: string | undefined
      }> = [
        { flag: "r", creates: false, exclusive: false, reads: true, after: undefined },
        { flag: "r+", creates: false, exclusive: false, reads: true, after: "ab345" },
        { flag: "w", creates: true, exclusive: false, reads: false, after: "ab" },
        { flag: "wx", creates: true, exclusive: true, reads: false, after: "ab" },
        { flag: "w+", creates: true, exclusive: false, reads: true, after: "ab" },
        { flag: "wx+", creates: true, exclusive: true, reads: true, after: "ab" },
        { flag: "a", creates: true, exclusive: false, reads: false, after: "12345ab" },
        { flag: "ax", creates: true, exclusive: true, reads: false, after: "ab" },
        { flag: "a+", creates: true, exclusive: false, reads: true, after: "12345ab" },
        { flag: "ax+", creates: true, exclusive: true, reads: true, after: "ab" }
      ]

      for (const { after, creates, exclusive, flag, reads } of flags) {
        test(`flag ${flag}`, (fs, dir) =>
          Effect.gen(function* () {
            const path = `${dir}/a`
            if (creates) {
              yield* Effect.scoped(fs.open(path, { flag }))
              assert.strictEqual((yield* fs.stat(path)).size, 0n)
            } else {
              yield* fails(fs.open(path, { flag }), { ...missing, method: "open", target: path })
            }
            yield* fs.writeFileString(path, "12345")
            if (exclusive) {
              yield* fails(fs.open(path, { flag }), { ...exists, method: "open", target: path })
              assert.strictEqual(yield* fs.readFileString(path), "12345")
              yield* fs.remove(path)
            }
            const file = yield* fs.open(path, { flag })
            const read = file.read(new Uint8Array(1))
            if (reads) {
              assert.strictEqual(yield* read, after === undefined || after.startsWith("12") || flag === "r+" ? 1n : 0n)
              yield* file.seek(0, "start")
            } else {
              yield* fails(read, { ...badDescriptor, method: "read" })
            }
            if (after === undefined) {
              yield* fails(file.write(encode("ab")), { ...badDescriptor, method: "write" })
              yield* fails(file.writeAll(encode("ab")), { ...badDescriptor, method: "writeAll" })
              yield* fails(file.truncate(0), { reason: "Unknown", code: "EINVAL", method: "truncate" })
            } else {
              assert.strictEqual(yield* file.write(encode("ab")), 2n)
            }
            assert.strictEqual(yield* fs.readFileString(path), after ?? "12345")
          }))
      }

      test("a directory opens for reading, syncs and tells its type, but has no bytes", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(dir)
          yield* file.sync
          assert.strictEqual((yield* file.stat).type, "Directory")
          yield* fails(file.read(new Uint8Array(1)), { ...isDirectory, method: "read" })
          yield* fails(file.readAlloc(1), { ...isDirectory, method: "readAlloc" })
          yield* fails(file.writeAll(bytes(1)), badDescriptor)
          yield* fails(file.truncate(0), { code: "EINVAL" })
        }))

      test("through a dangling link a file is made where it points, but not exclusively", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.symlink("target", `${dir}/link`)
          yield* fails(fs.open(`${dir}/link`, { flag: "wx" }), exists)
          yield* Effect.scoped(fs.open(`${dir}/link`, { flag: "w" }))
          assert.isTrue(yield* fs.exists(`${dir}/target`))
          assert.strictEqual(yield* fs.readLink(`${dir}/link`), "target")
        }))

      test("a file made without write permission is written through the handle that made it", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "wx", mode: 0o444 })
          yield* file.writeAll(encode("x"))
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).mode & 0o777, 0o444)
        }))

      testFailure("in no directory", { ...missing, method: "open" }, (fs, dir) =>
        fs.open(`${dir}/nothing/a`, { flag: "w" })
      )
      testFailure("below a file", { ...notDirectory, method: "open" }, (fs, dir) =>
        fs.open(`${dir}/file/a`, { flag: "w" })
      )
      for (const flag of ["r+", "w", "a"] as const) {
        testFailure(`a directory with ${flag}`, { ...isDirectory, method: "open" }, (fs, dir) =>
          fs.open(`${dir}/dir`, { flag })
        )
      }
      testFailure("a directory with wx", { ...exists, method: "open" }, (fs, dir) =>
        fs.open(`${dir}/dir`, { flag: "wx" })
      )
      testFailure("a loop with w", { ...looping, method: "open" }, (fs, dir) => fs.open(`${dir}/loop`, { flag: "w" }))
    })

    describe("handles", () => {
      test("reads and writes share one position, which seek moves", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w+" })
          yield* file.writeAll(encode("hello world"))
          assert.isTrue(Option.isNone(yield* file.readAlloc(4)))
          yield* file.seek(6n, "start")
          const buffer = new Uint8Array(3)
          assert.strictEqual(yield* file.read(buffer), 3n)
          assert.strictEqual(decode(buffer), "wor")
          yield* file.seek(-2, "current")
          yield* file.write(encode("OR"))
          yield* file.seek(0, "start")
          assert.strictEqual(decode(Option.getOrThrow(yield* file.readAlloc(100))), "hello wORld")
        }))

      test("a read gives what is there and then nothing", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "12345")
          const file = yield* fs.open(`${dir}/a`)
          assert.strictEqual(decode(Option.getOrThrow(yield* file.readAlloc(3))), "123")
          assert.strictEqual(decode(Option.getOrThrow(yield* file.readAlloc(3))), "45")
          assert.isTrue(Option.isNone(yield* file.readAlloc(3)))
          assert.strictEqual(yield* file.read(new Uint8Array(3)), 0n)
          assert.isTrue(Option.isNone(yield* file.readAlloc(0)))
        }))

      test("a read leaves the rest of the buffer alone", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFile(`${dir}/a`, bytes(1, 2))
          const file = yield* fs.open(`${dir}/a`)
          const buffer = bytes(9, 9, 9, 9)
          yield* file.read(buffer)
          assert.deepStrictEqual(Array.from(buffer), [1, 2, 9, 9])
        }))

      test("a write past the end leaves a hole of zeros", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          yield* file.writeAll(bytes(1))
          yield* file.seek(4, "start")
          yield* file.writeAll(bytes(2))
          assert.deepStrictEqual(Array.from(yield* fs.readFile(`${dir}/a`)), [1, 0, 0, 0, 2])
        }))

      test("bytes cut off do not come back when the file grows", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          yield* file.writeAll(bytes(1, 2, 3, 4))
          yield* file.truncate(1)
          yield* file.truncate(3)
          assert.deepStrictEqual(Array.from(yield* fs.readFile(`${dir}/a`)), [1, 0, 0])
        }))

      test("an append goes to the end whatever the position, and does not move it", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "123")
          const file = yield* fs.open(`${dir}/a`, { flag: "a+" })
          yield* file.seek(1, "start")
          yield* file.writeAll(encode("4"))
          assert.strictEqual(decode(Option.getOrThrow(yield* file.readAlloc(10))), "234")
          yield* fs.writeFileString(`${dir}/a`, "56", { flag: "a" })
          yield* file.writeAll(encode("7"))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "1234567")
        }))

      test("truncate draws the position back to the end, but not on an appending handle", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          yield* file.writeAll(encode("12345"))
          yield* file.truncate(2)
          yield* file.writeAll(encode("x"))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "12x")
          yield* file.truncate()
          yield* file.writeAll(encode("y"))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "y")
          const append = yield* fs.open(`${dir}/a`, { flag: "a+" })
          yield* append.seek(3, "start")
          yield* append.truncate(0)
          yield* append.writeAll(encode("12345"))
          assert.strictEqual(decode(Option.getOrThrow(yield* append.readAlloc(10))), "45")
        }))

      test("an empty write writes nothing, an empty writeAll fails with WriteZero", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          assert.strictEqual(yield* file.write(bytes()), 0n)
          const error = yield* Effect.flip(file.writeAll(bytes()))
          assert.isTrue(error._tag === "SystemError" && error.reason === "WriteZero" && error.method === "writeAll")
        }))

      test("two handles on one file see each other", (fs, dir) =>
        Effect.gen(function* () {
          const writer = yield* fs.open(`${dir}/a`, { flag: "w" })
          const reader = yield* fs.open(`${dir}/a`)
          assert.isTrue(Option.isNone(yield* reader.readAlloc(5)))
          yield* writer.writeAll(encode("12"))
          assert.strictEqual((yield* reader.stat).size, 2n)
          assert.strictEqual(decode(Option.getOrThrow(yield* reader.readAlloc(5))), "12")
          assert.notStrictEqual(writer.fd, reader.fd)
          assert.isTrue(FileSystem.isFile(writer))
        }))

      test("a file unlinked while open stays readable and writable, without a link", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "old")
          const file = yield* fs.open(`${dir}/a`, { flag: "r+" })
          yield* fs.remove(`${dir}/a`)
          yield* fs.writeFileString(`${dir}/a`, "other")
          assert.strictEqual(decode(Option.getOrThrow(yield* file.readAlloc(5))), "old")
          yield* file.writeAll(encode("er"))
          const info = yield* file.stat
          assert.strictEqual(info.size, 5n)
          assert.deepStrictEqual(info.nlink, Option.some(0))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "other")
        }))

      test("parallel writes on one handle do not interleave", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          const letters = Array.from("abcdefghij")
          yield* Effect.forEach(letters, (letter) => file.writeAll(encode(letter.repeat(100))), {
            concurrency: "unbounded"
          })
          const runs = (yield* fs.readFileString(`${dir}/a`)).match(/(.)\1{99}/g) ?? []
          assert.deepStrictEqual(runs.map((run) => run.charAt(0)).sort(), letters)
        }))

      test("large writes of memory that threads share go where small ones go", (fs, dir) =>
        Effect.gen(function* () {
          const [one, other] = [sharedBytes(3 * mebibyte + 1, 1), sharedBytes(2 * mebibyte, 2)]
          const file = yield* fs.open(`${dir}/a`, { flag: "wx+" })
          yield* file.writeAll(bytes(9))
          yield* file.writeAll(one)
          yield* file.truncate(3)
          yield* file.writeAll(other)
          yield* file.writeAll(bytes(8))
          yield* file.seek(-2, "current")
          assert.deepStrictEqual(Array.from(Option.getOrThrow(yield* file.readAlloc(9))), [other.at(-1), 8])
          const expected = [...bytes(9), ...one.subarray(0, 2), ...other, 8]
          assert.isTrue(Buffer.from(expected).equals(yield* fs.readFile(`${dir}/a`)))
        }))

      test("large writes in parallel do not interleave", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "w" })
          const values = [1, 2, 3, 4]
          yield* Effect.forEach(values, (value) => file.writeAll(sharedBytes(mebibyte, 0).fill(value)), {
            concurrency: "unbounded"
          })
          const content = yield* fs.readFile(`${dir}/a`)
          const parts = values.map((_, index) => content.subarray(index * mebibyte, (index + 1) * mebibyte))
          assert.deepStrictEqual(parts.map((part) => part[0]).sort(), values)
          assert.isTrue(parts.every((part) => part.every((byte) => byte === part[0])))
        }))

      test("a large write that fails says why", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "file")
          const file = yield* fs.open(`${dir}/a`)
          yield* fails(file.writeAll(sharedBytes(mebibyte, 0)), { ...badDescriptor, method: "writeAll" })
        }))

      test("64 MiB in pieces of 64 KiB", (fs, dir) =>
        Effect.gen(function* () {
          const piece = new Uint8Array(64 * 1024).fill(7)
          const file = yield* fs.open(`${dir}/a`, { flag: "w+" })
          yield* Effect.repeatN(file.writeAll(piece), 1023)
          assert.strictEqual((yield* file.stat).size, 64n * 1024n * 1024n)
          yield* file.seek(-1, "current")
          assert.deepStrictEqual(Array.from(Option.getOrThrow(yield* file.readAlloc(10))), [7])
        }))
    })

    describe("streams and sinks", () => {
      test("a stream in chunks, with an offset and a count", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "0123456789")
          const collect = (options: FileSystem.StreamOptions) =>
            Effect.map(Stream.runCollect(fs.stream(`${dir}/a`, options)), (chunks) => Array.from(chunks, decode))
          assert.deepStrictEqual(yield* collect({}), ["0123456789"])
          assert.deepStrictEqual(yield* collect({ chunkSize: 4 }), ["0123", "4567", "89"])
          assert.deepStrictEqual(yield* collect({ chunkSize: 4, offset: 3, bytesToRead: 6 }), ["3456", "78"])
          assert.deepStrictEqual(yield* collect({ offset: 20 }), [])
        }))

      test("a sink, and one that appends", (fs, dir) =>
        Effect.gen(function* () {
          yield* Stream.run(Stream.make(encode("12"), encode("3")), fs.sink(`${dir}/a`))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "123")
          yield* Stream.run(Stream.make(encode("4")), fs.sink(`${dir}/a`, { flag: "a" }))
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "1234")
        }))

      testFailure("a stream of nothing", { ...missing, method: "open" }, (fs, dir) =>
        Stream.runDrain(fs.stream(`${dir}/nothing`))
      )
      testFailure("a stream of a directory", { ...isDirectory, method: "readAlloc" }, (fs, dir) =>
        Stream.runDrain(fs.stream(`${dir}/dir`))
      )
      testFailure("a sink in no directory", { ...missing, method: "open" }, (fs, dir) =>
        Stream.run(Stream.make(bytes(1)), fs.sink(`${dir}/nothing/a`))
      )
    })

    describe("directories", () => {
      test("made one by one or all at once", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/a`)
          yield* fs.makeDirectory(`${dir}/a/b/c`, { recursive: true })
          yield* fs.makeDirectory(`${dir}/a/b/c`, { recursive: true })
          assert.strictEqual((yield* fs.stat(`${dir}/a/b/c`)).type, "Directory")
        }))

      test("readDirectory gives names, recursively the paths below", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d/e`, { recursive: true })
          yield* fs.writeFileString(`${dir}/d/e/x`, "")
          yield* fs.writeFileString(`${dir}/y`, "")
          yield* fs.symlink("nothing", `${dir}/z`)
          assert.deepStrictEqual((yield* fs.readDirectory(dir)).sort(), ["d", "y", "z"])
          assert.deepStrictEqual((yield* fs.readDirectory(dir, { recursive: true })).sort(), [
            "d",
            "d/e",
            "d/e/x",
            "y",
            "z"
          ])
          assert.deepStrictEqual(yield* fs.readDirectory(`${dir}/d/e/`), ["x"])
        }))

      test("a recursive readDirectory goes through links to directories", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/top`)
          yield* fs.makeDirectory(`${dir}/other`)
          yield* fs.writeFileString(`${dir}/other/x`, "")
          yield* fs.symlink("../other", `${dir}/top/link`)
          assert.deepStrictEqual((yield* fs.readDirectory(`${dir}/top`, { recursive: true })).sort(), [
            "link",
            "link/x"
          ])
        }))

      testFailure("one that is there", { ...exists, method: "makeDirectory", target: "dir" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/dir`)
      )
      testFailure("where a file is", { ...exists, method: "makeDirectory" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/file`, { recursive: true })
      )
      testFailure("where a dangling link is", { ...exists, method: "makeDirectory" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/dangling`)
      )
      testFailure("below a dangling link, recursively", { ...notDirectory, method: "makeDirectory" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/dangling/a`, { recursive: true })
      )
      testFailure("where a dangling link is, recursively", { ...missing, method: "makeDirectory" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/dangling`, { recursive: true })
      )
      testFailure("in none", { ...missing, method: "makeDirectory" }, (fs, dir) => fs.makeDirectory(`${dir}/nothing/a`))
      testFailure("below a file, recursively", { ...notDirectory, method: "makeDirectory" }, (fs, dir) =>
        fs.makeDirectory(`${dir}/file/a/b`, { recursive: true })
      )
      testFailure("readDirectory of nothing", { ...missing, method: "readDirectory", target: "nothing" }, (fs, dir) =>
        fs.readDirectory(`${dir}/nothing`)
      )
      testFailure("readDirectory of a file", { ...notDirectory, method: "readDirectory" }, (fs, dir) =>
        fs.readDirectory(`${dir}/file`)
      )
    })

    describe("remove", () => {
      test("a file, an empty and a full directory, and with force what is not there", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          yield* fs.remove(`${dir}/a`)
          yield* fs.makeDirectory(`${dir}/d/e`, { recursive: true })
          yield* fs.writeFileString(`${dir}/d/e/x`, "")
          yield* fs.remove(`${dir}/d`, { recursive: true })
          yield* fs.remove(`${dir}/a`, { force: true })
          yield* fs.remove(`${dir}/no/where`, { force: true })
          assert.deepStrictEqual(yield* fs.readDirectory(dir), [])
        }))

      test("a link goes, what it points to stays", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d`)
          yield* fs.writeFileString(`${dir}/d/x`, "")
          yield* fs.symlink("d", `${dir}/link`)
          yield* fs.remove(`${dir}/link`, { recursive: true })
          assert.deepStrictEqual(yield* fs.readDirectory(dir), ["d"])
          assert.isTrue(yield* fs.exists(`${dir}/d/x`))
        }))

      testFailure("nothing", { ...missing, method: "remove", target: "nothing" }, (fs, dir) =>
        fs.remove(`${dir}/nothing`, { recursive: true })
      )
      testFailure("an empty directory", { reason: "Unknown", code: "ERR_FS_EISDIR", method: "remove" }, (fs, dir) =>
        fs.remove(`${dir}/empty`, { force: true })
      )
      testFailure("below a file, with force", { ...notDirectory, method: "remove" }, (fs, dir) =>
        fs.remove(`${dir}/file/a`, { force: true })
      )
    })

    describe("rename", () => {
      test("moves, and replaces in one step: who holds the old file keeps its bytes", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/new`, "new")
          yield* fs.writeFileString(`${dir}/old`, "old")
          const ino = (yield* fs.stat(`${dir}/new`)).ino
          const handle = yield* fs.open(`${dir}/old`)
          yield* fs.rename(`${dir}/new`, `${dir}/old`)
          assert.deepStrictEqual(yield* fs.readDirectory(dir), ["old"])
          assert.strictEqual(yield* fs.readFileString(`${dir}/old`), "new")
          assert.deepStrictEqual((yield* fs.stat(`${dir}/old`)).ino, ino)
          assert.strictEqual(decode(Option.getOrThrow(yield* handle.readAlloc(9))), "old")
          assert.deepStrictEqual((yield* handle.stat).nlink, Option.some(0))
        }))

      test("a handle follows its file to the new name", (fs, dir) =>
        Effect.gen(function* () {
          const file = yield* fs.open(`${dir}/a`, { flag: "wx" })
          yield* fs.rename(`${dir}/a`, `${dir}/b`)
          yield* file.writeAll(encode("x"))
          assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "x")
        }))

      test("a directory with all in it, also over an empty one", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d`)
          yield* fs.makeDirectory(`${dir}/into/e`, { recursive: true })
          yield* fs.writeFileString(`${dir}/d/x`, "x")
          yield* fs.rename(`${dir}/d`, `${dir}/into/e`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/into/e/../e/x`), "x")
          yield* fs.rename(`${dir}/into/e`, `${dir}/f/`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/f/../f/x`), "x")
          assert.deepStrictEqual((yield* fs.readDirectory(dir)).sort(), ["f", "into"])
        }))

      test("to its own name, or to another name of the same file, changes nothing", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.rename(`${dir}/a`, `${dir}/a`)
          yield* fs.link(`${dir}/a`, `${dir}/b`)
          yield* fs.rename(`${dir}/a`, `${dir}/b`)
          assert.deepStrictEqual((yield* fs.readDirectory(dir)).sort(), ["a", "b"])
        }))

      test("a link itself, not what it points to", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.writeFileString(`${dir}/b`, "b")
          yield* fs.symlink("a", `${dir}/link`)
          yield* fs.rename(`${dir}/b`, `${dir}/link`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "a")
          assert.strictEqual(yield* fs.readFileString(`${dir}/link`), "b")
          assert.deepStrictEqual((yield* fs.readDirectory(dir)).sort(), ["a", "link"])
        }))

      testFailure("nothing", { ...missing, method: "rename", target: "nothing" }, (fs, dir) =>
        fs.rename(`${dir}/nothing`, `${dir}/new`)
      )
      testFailure("into no directory", { ...missing, method: "rename", target: "file" }, (fs, dir) =>
        fs.rename(`${dir}/file`, `${dir}/nothing/new`)
      )
      testFailure("a file over a directory", { ...isDirectory, method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/file`, `${dir}/empty`)
      )
      testFailure("a directory over a file", { ...notDirectory, method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/dir`, `${dir}/file`)
      )
      testFailure("over a full directory", { reason: "Unknown", code: "ENOTEMPTY", method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/empty`, `${dir}/dir`)
      )
      testFailure("a directory into itself", { reason: "Unknown", code: "EINVAL", method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/dir`, `${dir}/dir/new`)
      )
      testFailure("a file to a name with a slash", { ...notDirectory, method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/file`, `${dir}/new/`)
      )
      testFailure("a directory by its dot", { reason: "Busy", code: "EBUSY", method: "rename" }, (fs, dir) =>
        fs.rename(`${dir}/empty/.`, `${dir}/new`)
      )
    })

    describe("links", () => {
      test("a symbolic link is read as written and followed by the rest", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d`)
          yield* fs.writeFileString(`${dir}/d/a`, "a")
          yield* fs.symlink("d/./a", `${dir}/relative`)
          yield* fs.symlink(`${dir}/d`, `${dir}/absolute`)
          assert.strictEqual(yield* fs.readLink(`${dir}/relative`), "d/./a")
          assert.strictEqual(yield* fs.readFileString(`${dir}/relative`), "a")
          assert.strictEqual((yield* fs.stat(`${dir}/relative`)).type, "File")
          yield* fs.writeFileString(`${dir}/absolute/b`, "b")
          assert.strictEqual(yield* fs.readFileString(`${dir}/d/b`), "b")
          assert.strictEqual(yield* fs.readFileString(`${dir}/absolute/../d/b`), "b")
        }))

      test("realPath resolves links, dots and slashes", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/d/e`, { recursive: true })
          yield* fs.writeFileString(`${dir}/d/e/a`, "a")
          yield* fs.symlink("d/e", `${dir}/one`)
          yield* fs.symlink("../one/a", `${dir}/d/two`)
          assert.strictEqual(yield* fs.realPath(`${dir}/./d//two`), `${dir}/d/e/a`)
          assert.strictEqual(yield* fs.realPath(`${dir}/one/`), `${dir}/d/e`)
          assert.strictEqual(yield* fs.realPath("/"), "/")
        }))

      test("a chain of 40 links is followed, one of 41 is not", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/0`, "end")
          for (let link = 1; link <= 41; link++) {
            yield* fs.symlink(`${link - 1}`, `${dir}/${link}`)
          }
          assert.strictEqual(yield* fs.readFileString(`${dir}/40`), "end")
          yield* fails(fs.readFileString(`${dir}/41`), looping)
        }))

      test("a hard link is the same file under another name", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.link(`${dir}/a`, `${dir}/b`)
          const [a, b] = yield* Effect.all([fs.stat(`${dir}/a`), fs.stat(`${dir}/b`)])
          assert.deepStrictEqual([a.ino, a.dev, a.nlink], [b.ino, b.dev, Option.some(2)])
          yield* fs.writeFileString(`${dir}/b`, "changed")
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "changed")
          yield* fs.remove(`${dir}/a`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "changed")
          assert.deepStrictEqual((yield* fs.stat(`${dir}/b`)).nlink, Option.some(1))
        }))

      testFailure("stat of a dangling link", { ...missing, method: "stat" }, (fs, dir) => fs.stat(`${dir}/dangling`))
      testFailure("symlink where something is", { ...exists, method: "symlink" }, (fs, dir) =>
        fs.symlink("x", `${dir}/dangling`)
      )
      testFailure("symlink to no name", { ...missing, method: "symlink" }, (fs, dir) => fs.symlink("", `${dir}/new`))
      testFailure("readLink of a file", { reason: "Unknown", code: "EINVAL", method: "readLink" }, (fs, dir) =>
        fs.readLink(`${dir}/file`)
      )
      testFailure("readLink of nothing", { ...missing, method: "readLink" }, (fs, dir) => fs.readLink(`${dir}/nothing`))
      testFailure("realPath of a loop", { ...looping, method: "realPath" }, (fs, dir) => fs.realPath(`${dir}/loop`))
      testFailure("realPath of a dangling link", { ...missing, method: "realPath" }, (fs, dir) =>
        fs.realPath(`${dir}/dangling`)
      )
      testFailure("realPath below a file", { ...notDirectory, method: "realPath" }, (fs, dir) =>
        fs.realPath(`${dir}/file/a`)
      )
      testFailure("link to nothing", { ...missing, method: "link", target: "nothing" }, (fs, dir) =>
        fs.link(`${dir}/nothing`, `${dir}/new`)
      )
      testFailure("link where something is", { ...exists, method: "link" }, (fs, dir) =>
        fs.link(`${dir}/file`, `${dir}/dir`)
      )
      testFailure("link to a directory", { reason: "Unknown", code: "EPERM", method: "link" }, (fs, dir) =>
        fs.link(`${dir}/dir`, `${dir}/new`)
      )
    })

    describe("stat, access, modes and times", () => {
      test("stat tells type, size, mode and identity", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "123")
          const handle = yield* fs.open(`${dir}/a`)
          const file = yield* fs.stat(`${dir}/a`)
          assert.deepStrictEqual([file.type, file.size, file.mode, file.nlink], ["File", 3n, 0o100644, Option.some(1)])
          assert.deepStrictEqual(yield* handle.stat, file)
          assert.isTrue(Option.isSome(file.mtime) && Option.isSome(file.atime) && Option.isSome(file.birthtime))
          const folder = yield* fs.stat(dir)
          assert.strictEqual(folder.type, "Directory")
          assert.strictEqual(folder.mode & 0o170000, 0o040000)
          assert.strictEqual(folder.dev, file.dev)
          assert.notDeepEqual(folder.ino, file.ino)
        }))

      test("modes follow the umask 022", (fs, dir) =>
        Effect.gen(function* () {
          const mode = (path: string) => Effect.map(fs.stat(`${dir}/${path}`), (info) => info.mode & 0o7777)
          yield* fs.writeFileString(`${dir}/a`, "")
          assert.strictEqual(yield* mode("a"), 0o644)
          yield* fs.writeFileString(`${dir}/b`, "", { mode: 0o777 })
          assert.strictEqual(yield* mode("b"), 0o755)
          yield* fs.writeFileString(`${dir}/a`, "", { mode: 0o600 })
          assert.strictEqual(yield* mode("a"), 0o644)
          yield* Effect.scoped(fs.open(`${dir}/c`, { flag: "wx", mode: 0o666 }))
          assert.strictEqual(yield* mode("c"), 0o644)
          yield* fs.makeDirectory(`${dir}/d`)
          assert.strictEqual(yield* mode("d"), 0o755)
          yield* fs.makeDirectory(`${dir}/e/f`, { recursive: true, mode: 0o700 })
          assert.deepStrictEqual([yield* mode("e"), yield* mode("e/f")], [0o700, 0o700])
        }))

      test("chmod sets the bits it is given, through a link too", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          yield* fs.symlink("a", `${dir}/link`)
          yield* fs.chmod(`${dir}/link`, 0o777)
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).mode, 0o100777)
        }))

      test("chown to the owner it has", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          const { gid, uid } = yield* fs.stat(`${dir}/a`)
          yield* fs.chown(`${dir}/a`, Option.getOrThrow(uid), Option.getOrThrow(gid))
        }))

      test("utimes takes dates and seconds", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          yield* fs.utimes(`${dir}/a`, new Date(5_000), 7.25)
          const info = yield* fs.stat(`${dir}/a`)
          assert.deepStrictEqual([info.atime, info.mtime].map(Option.map((time) => time.getTime())), [
            Option.some(5_000),
            Option.some(7_250)
          ])
          assert.strictEqual(info.size, 0n)
        }))

      test("a write changes the time of the file, a new name that of its directory", (fs, dir) =>
        Effect.gen(function* () {
          const mtime = (path: string) => Effect.map(fs.stat(path), (info) => Option.getOrThrow(info.mtime).getTime())
          const past = new Date(-86_400_000)
          const reset = Effect.forEach([`${dir}/a`, dir], (path) => fs.utimes(path, past, past))
          yield* fs.writeFileString(`${dir}/a`, "")
          const file = yield* fs.open(`${dir}/a`, { flag: "r+" })
          yield* reset
          yield* file.writeAll(bytes(1))
          assert.isAbove(yield* mtime(`${dir}/a`), past.getTime())
          assert.strictEqual(yield* mtime(dir), past.getTime())
          yield* reset
          yield* file.truncate(0)
          assert.isAbove(yield* mtime(`${dir}/a`), past.getTime())
          yield* reset
          yield* fs.rename(`${dir}/a`, `${dir}/b`)
          assert.isAbove(yield* mtime(dir), past.getTime())
          assert.strictEqual(yield* mtime(`${dir}/b`), past.getTime())
        }))

      test("access and exists, also of links", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          yield* fs.symlink("nothing", `${dir}/dangling`)
          yield* fs.access(`${dir}/a`)
          yield* fs.access(`${dir}/a`, { ok: true, readable: true, writable: true })
          assert.isTrue(yield* fs.exists(`${dir}/a`))
          assert.isFalse(yield* fs.exists(`${dir}/dangling`))
          assert.isFalse(yield* fs.exists(`${dir}/nothing/at/all`))
          yield* fails(fs.exists(`${dir}/a/b`), { ...notDirectory, method: "access" })
        }))

      testFailure("access of nothing", { ...missing, method: "access", target: "nothing" }, (fs, dir) =>
        fs.access(`${dir}/nothing`)
      )
      testFailure("stat of nothing", { ...missing, method: "stat", target: "nothing" }, (fs, dir) =>
        fs.stat(`${dir}/nothing`)
      )
      testFailure("stat through a loop", { ...looping, method: "stat" }, (fs, dir) => fs.stat(`${dir}/loop/a`))
      testFailure("chmod of nothing", { ...missing, method: "chmod" }, (fs, dir) => fs.chmod(`${dir}/nothing`, 0))
      testFailure("chown of nothing", { ...missing, method: "chown" }, (fs, dir) => fs.chown(`${dir}/nothing`, -1, -1))
      testFailure("utimes of nothing", { ...missing, method: "utime" }, (fs, dir) => fs.utimes(`${dir}/nothing`, 0, 0))
      testFailure("watch of nothing", { ...missing, method: "stat" }, (fs, dir) =>
        Stream.runDrain(fs.watch(`${dir}/nothing`))
      )
    })

    describe("permissions", () => {
      testPermission("a file of mode 0 is neither read nor written, but removed", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.chmod(`${dir}/a`, 0)
          yield* fails(fs.readFile(`${dir}/a`), { ...denied, method: "readFile", target: `${dir}/a` })
          yield* fails(fs.open(`${dir}/a`, { flag: "a" }), denied)
          yield* fails(fs.truncate(`${dir}/a`), denied)
          yield* fails(fs.access(`${dir}/a`, { readable: true }), denied)
          yield* fails(fs.copyFile(`${dir}/a`, `${dir}/b`), denied)
          yield* fs.access(`${dir}/a`)
          yield* fs.stat(`${dir}/a`)
          yield* fs.remove(`${dir}/a`)
        })
      )

      testPermission("a read-only file is read, not written, but replaced", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a", { mode: 0o444 })
          yield* fails(fs.writeFileString(`${dir}/a`, "b"), denied)
          yield* fails(fs.access(`${dir}/a`, { writable: true }), denied)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "a")
          yield* fs.writeFileString(`${dir}/b`, "b")
          yield* fs.rename(`${dir}/b`, `${dir}/a`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "b")
        })
      )

      testPermission(
        "a read-only directory refuses to create, rename and remove, not to read or to write a file",
        (fs, dir) =>
          Effect.gen(function* () {
            const ro = `${dir}/ro`
            yield* fs.makeDirectory(ro)
            yield* fs.writeFileString(`${ro}/a`, "a")
            yield* fs.chmod(ro, 0o555)
            yield* fails(fs.writeFileString(`${ro}/b`, ""), denied)
            yield* fails(fs.open(`${ro}/b`, { flag: "wx" }), denied)
            yield* fails(fs.makeDirectory(`${ro}/d`), denied)
            yield* fails(fs.symlink("x", `${ro}/l`), denied)
            yield* fails(fs.link(`${ro}/a`, `${ro}/l`), denied)
            yield* fails(fs.rename(`${ro}/a`, `${dir}/a`), denied)
            yield* fs.writeFileString(`${dir}/b`, "b")
            yield* fails(fs.rename(`${dir}/b`, `${ro}/b`), denied)
            assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "b")
            yield* fails(fs.remove(`${ro}/a`), denied)
            yield* fails(fs.remove(ro, { recursive: true }), denied)
            yield* fails(fs.makeTempDirectory({ directory: ro }), { ...denied, method: "makeTempDirectory" })
            yield* fs.writeFileString(`${ro}/a`, "b")
            assert.strictEqual(yield* fs.readFileString(`${ro}/a`), "b")
            yield* fs.chmod(ro, 0o755)
          })
      )

      testPermission("a directory without x hides what is in it, one without r its names", (fs, dir) =>
        Effect.gen(function* () {
          const d = `${dir}/d`
          yield* fs.makeDirectory(d)
          yield* fs.writeFileString(`${d}/a`, "a")
          yield* fs.chmod(d, 0o600)
          yield* fails(fs.stat(`${d}/a`), denied)
          yield* fails(fs.exists(`${d}/a`), { ...denied, method: "access" })
          yield* fails(fs.realPath(`${d}/a`), denied)
          assert.deepStrictEqual(yield* fs.readDirectory(d), ["a"])
          yield* fs.chmod(d, 0o300)
          yield* fails(fs.readDirectory(d), denied)
          yield* fails(fs.open(d), denied)
          assert.strictEqual(yield* fs.readFileString(`${d}/a`), "a")
          yield* fs.chmod(d, 0o755)
        })
      )

      testPermission("nobody gives files away", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fails(fs.chown(`${dir}/a`, 0, 0), { reason: "Unknown", code: "EPERM", method: "chown" })
        })
      )
    })

    describe("temporary files", () => {
      test("a directory of mode 700 with a new name each time", (fs, dir) =>
        Effect.gen(function* () {
          const first = yield* fs.makeTempDirectory({ directory: dir, prefix: "t-" })
          const second = yield* fs.makeTempDirectory({ directory: `${dir}/./`, prefix: "t-" })
          assert.match(first.slice(dir.length), /^\/t-\w{6}$/)
          assert.match(second.slice(dir.length), /^\/t-\w{6}$/)
          assert.notStrictEqual(first, second)
          assert.strictEqual((yield* fs.stat(first)).mode, 0o040700)
        }))

      test("without a directory it is the system's", (fs) =>
        Effect.gen(function* () {
          const made = yield* fs.makeTempDirectory()
          assert.strictEqual((yield* fs.stat(made)).type, "Directory")
          yield* fs.remove(made, { recursive: true })
        }))

      test("a file is in a directory of its own", (fs, dir) =>
        Effect.gen(function* () {
          const path = yield* fs.makeTempFile({ directory: dir, prefix: "p", suffix: ".txt" })
          assert.match(path.slice(dir.length), /^\/p\w{6}\/[0-9a-f]{12}\.txt$/)
          const info = yield* fs.stat(path)
          assert.deepStrictEqual([info.mode, info.size], [0o100644, 0n])
        }))

      test("scoped ones are gone with their scope, with all in them", (fs, dir) =>
        Effect.gen(function* () {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const folder = yield* fs.makeTempDirectoryScoped({ directory: dir })
              yield* fs.writeFileString(`${folder}/a`, "a")
              const file = yield* fs.makeTempFileScoped({ directory: dir })
              yield* fs.writeFileString(file, "a")
              assert.lengthOf(yield* fs.readDirectory(dir), 2)
            })
          )
          assert.deepStrictEqual(yield* fs.readDirectory(dir), [])
        }))

      test("a scoped one that vanished is a defect", (fs, dir) =>
        Effect.gen(function* () {
          const exit = yield* Effect.exit(
            Effect.scoped(
              Effect.flatMap(fs.makeTempDirectoryScoped({ directory: dir }), (folder) =>
                fs.remove(folder, { recursive: true })
              )
            )
          )
          assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        }))

      testFailure("in no directory", { ...missing, method: "makeTempFile" }, (fs, dir) =>
        fs.makeTempFile({ directory: `${dir}/nothing` })
      )
      testFailure("scoped, in no directory", { ...missing, method: "makeTempDirectoryScoped" }, (fs, dir) =>
        fs.makeTempDirectoryScoped({ directory: `${dir}/nothing` })
      )
    })

    describe("copy", () => {
      test("a tree, into folders it makes, with its modes and links", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/from/ro`, { recursive: true })
          yield* fs.writeFileString(`${dir}/from/ro/a`, "a", { mode: 0o600 })
          yield* fs.symlink("ro/a", `${dir}/from/link`)
          yield* fs.chmod(`${dir}/from/ro`, 0o555)
          yield* fs.copy(`${dir}/from`, `${dir}/x/y/to`)
          const to = `${dir}/x/y/to`
          assert.strictEqual(yield* fs.readFileString(`${to}/ro/a`), "a")
          assert.strictEqual((yield* fs.stat(`${to}/ro/a`)).mode, 0o100600)
          assert.strictEqual((yield* fs.stat(`${to}/ro`)).mode, 0o040555)
          assert.strictEqual(yield* fs.readLink(`${to}/link`), `${dir}/from/ro/a`)
          yield* fs.chmod(`${to}/ro`, 0o755)
          yield* fs.chmod(`${dir}/from/ro`, 0o755)
        }))

      test("keeps what is there unless told to overwrite, and merges folders", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.makeDirectory(`${dir}/from`)
          yield* fs.makeDirectory(`${dir}/to`)
          yield* fs.writeFileString(`${dir}/from/a`, "new")
          yield* fs.writeFileString(`${dir}/from/b`, "b")
          yield* fs.writeFileString(`${dir}/to/a`, "old")
          yield* fs.writeFileString(`${dir}/to/c`, "c")
          yield* fs.copy(`${dir}/from`, `${dir}/to`)
          assert.strictEqual(yield* fs.readFileString(`${dir}/to/a`), "old")
          assert.deepStrictEqual((yield* fs.readDirectory(`${dir}/to`)).sort(), ["a", "b", "c"])
          yield* fs.copy(`${dir}/from`, `${dir}/to`, { overwrite: true })
          assert.strictEqual(yield* fs.readFileString(`${dir}/to/a`), "new")
        }))

      test("overwriting a file that has another name leaves that one alone", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.writeFileString(`${dir}/b`, "b")
          yield* fs.link(`${dir}/b`, `${dir}/c`)
          yield* fs.copy(`${dir}/a`, `${dir}/b`, { overwrite: true })
          assert.strictEqual(yield* fs.readFileString(`${dir}/b`), "a")
          assert.strictEqual(yield* fs.readFileString(`${dir}/c`), "b")
        }))

      test("preserves times when asked", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "a")
          yield* fs.utimes(`${dir}/a`, 1, 2)
          yield* fs.copy(`${dir}/a`, `${dir}/b`, { preserveTimestamps: true })
          assert.deepStrictEqual((yield* fs.stat(`${dir}/b`)).mtime, Option.some(new Date(2000)))
        }))

      testFailure("nothing", { ...missing, method: "copy", target: "nothing" }, (fs, dir) =>
        fs.copy(`${dir}/nothing`, `${dir}/new`)
      )
      testFailure("onto itself", { reason: "Unknown", code: "ERR_FS_CP_EINVAL", method: "copy" }, (fs, dir) =>
        fs.copy(`${dir}/file`, `${dir}/file`)
      )
      testFailure("into itself", { reason: "Unknown", code: "ERR_FS_CP_EINVAL", method: "copy" }, (fs, dir) =>
        fs.copy(`${dir}/dir`, `${dir}/dir/new`)
      )
      testFailure(
        "a directory to a file",
        { reason: "Unknown", code: "ERR_FS_CP_DIR_TO_NON_DIR", method: "copy" },
        (fs, dir) => fs.copy(`${dir}/dir`, `${dir}/file`)
      )
      testFailure(
        "a file to a directory",
        { reason: "Unknown", code: "ERR_FS_CP_NON_DIR_TO_DIR", method: "copy" },
        (fs, dir) => fs.copy(`${dir}/file`, `${dir}/dir`)
      )
      testFailure("below a file", { ...notDirectory, method: "copy" }, (fs, dir) =>
        fs.copy(`${dir}/dir`, `${dir}/file/new`)
      )
    })

    describe("bad arguments", () => {
      const nul = "a\u0000b"
      const calls: Record<
        string,
        (fs: FileSystem.FileSystem, dir: string) => Effect.Effect<unknown, PlatformError, Scope.Scope>
      > = {
        access: (fs) => fs.access(nul),
        chmod: (fs) => fs.chmod(nul, 0),
        "copy to": (fs, dir) => fs.copy(dir, nul),
        "copyFile to": (fs, dir) => fs.copyFile(dir, nul),
        exists: (fs) => fs.exists(nul),
        "link to": (fs, dir) => fs.link(dir, nul),
        makeDirectory: (fs) => fs.makeDirectory(nul),
        "makeDirectory, recursive": (fs) => fs.makeDirectory(nul, { recursive: true }),
        makeTempDirectory: (fs, dir) => fs.makeTempDirectory({ directory: dir, prefix: nul }),
        open: (fs) => fs.open(nul),
        readFile: (fs) => fs.readFile(nul),
        readLink: (fs) => fs.readLink(nul),
        realPath: (fs) => fs.realPath(nul),
        "remove with force": (fs) => fs.remove(nul, { force: true }),
        "rename to": (fs, dir) => fs.rename(dir, nul),
        stat: (fs) => fs.stat(nul),
        "symlink from": (fs, dir) => fs.symlink(nul, `${dir}/new`),
        truncate: (fs) => fs.truncate(nul),
        utimes: (fs) => fs.utimes(nul, 0, 0),
        writeFile: (fs) => fs.writeFileString(nul, "")
      }
      for (const [call, use] of Object.entries(calls)) {
        test(`${call}: a path with a null byte`, (fs, dir) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(Effect.asVoid(use(fs, dir)))
            assert.strictEqual(error._tag, "BadArgument")
            assert.strictEqual(
              error.method,
              call === "exists" ? "access" : call === "utimes" ? "utime" : call.split(/\W/)[0]
            )
            assert.strictEqual(codeOf(error.cause), "ERR_INVALID_ARG_VALUE")
          }))
      }
      test("readDirectory: a path with a null byte is a SystemError", (fs) =>
        fails(fs.readDirectory(nul), { reason: "Unknown", code: "ERR_INVALID_ARG_VALUE", method: "readDirectory" }))
      test("a mode, a length and a time out of range", (fs, dir) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${dir}/a`, "")
          const file = yield* fs.open(`${dir}/a`, { flag: "r+" })
          const refused: ReadonlyArray<Effect.Effect<void, PlatformError>> = [
            fs.chmod(`${dir}/a`, -1),
            fs.chown(`${dir}/a`, -2, 0),
            fs.makeDirectory(`${dir}/d`, { mode: 1.5 }),
            fs.truncate(`${dir}/a`, 1.5),
            fs.utimes(`${dir}/a`, Number.NaN, 0)
          ]
          for (const call of refused) {
            assert.strictEqual((yield* Effect.flip(call))._tag, "BadArgument")
          }
          yield* fs.truncate(`${dir}/a`, -1)
          yield* file.truncate(-1)
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).size, 0n)
        }))
    })

    describe("scope and interruption", () => {
      test("a handle lives as long as its scope", (fs, dir) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const file = yield* Scope.extend(fs.open(`${dir}/a`, { flag: "w" }), scope)
          yield* file.writeAll(bytes(1))
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual((yield* fs.stat(`${dir}/a`)).size, 1n)
        }))

      test("an interrupted use leaves the file as it was written so far", (fs, dir) =>
        Effect.gen(function* () {
          const written = yield* Deferred.make<void>()
          const fiber = yield* Effect.fork(
            Effect.scoped(
              Effect.flatMap(fs.open(`${dir}/a`, { flag: "w" }), (file) =>
                file
                  .writeAll(encode("part"))
                  .pipe(Effect.zipRight(Deferred.succeed(written, undefined)), Effect.zipRight(Effect.never))
              )
            )
          )
          yield* Deferred.await(written)
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(yield* fs.readFileString(`${dir}/a`), "part")
        }))
    })
  })
}

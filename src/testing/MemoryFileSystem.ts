/**
 * A whole `FileSystem` service in memory, and a way to make chosen operations of any `FileSystem` fail.
 *
 * It answers as `NodeFileSystem` does on Linux for a user who is not root: the same results, the same `reason`, `method` and path in the
 * errors, and a `cause` with the same `code`. One contract suite is run against both. What differs: times come from the Effect Clock,
 * reading leaves the access time alone, names of temporary files are counted and not random, and nothing can be watched.
 *
 * @since 0.1.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Disk } from "./internal/disk.js"
import type { ErrorCode as ErrorCode_ } from "./internal/errno.js"
import * as faulty_ from "./internal/faultyFileSystem.js"
import { makeFileSystem } from "./internal/memoryFileSystem.js"
import { dirname } from "./internal/walk.js"

/**
 * The codes an operation can fail with: `ENOSPC`, `EIO`, `EACCES`, `EXDEV`, `EMFILE`, `ESTALE` and the other usual ones. A code decides
 * the `reason` of the `SystemError` as it does in NodeFileSystem; most of them, `ENOSPC` too, are `"Unknown"` there, and found in
 * `cause.code`.
 *
 * @since 0.1.0
 * @category faults
 */
export type ErrorCode = ErrorCode_

/**
 * An operation about to be made.
 *
 * `method` is the method of the service, or of an open file with `File.` before it. What the service derives goes by the method below it:
 * `exists` asks `access`, `readFileString` asks `readFile`, `writeFileString` asks `writeFile`, `stream` asks `open` and `File.readAlloc`,
 * `sink` asks `open` and `File.writeAll`. `path` is the first path of the call, for an open file the path it was opened with, for a
 * temporary file the `directory` asked for or `""`; `to` is the second path of copy, copyFile, link, rename and symlink.
 *
 * @since 0.1.0
 * @category faults
 */
export type Operation = faulty_.Operation

/**
 * Decides about an operation before it is made: `Effect.void` lets it through, `Effect.fail(code)` makes it fail without being made.
 * Being an Effect, it may also count in a `Ref`, wait for a `Deferred`, or sleep.
 *
 * @since 0.1.0
 * @category faults
 */
export type Fault = faulty_.Fault

/**
 * A new, empty disk: `/` and `/tmp`, both writable, and a relative path starts at `/`. Provide the result with
 * `Layer.succeed(FileSystem.FileSystem, fs)` where several layers are to see the same disk, as after a restart.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<FileSystem.FileSystem> = Effect.clockWith((clock) =>
  Effect.sync(() => makeFileSystem(new Disk(clock.unsafeCurrentTimeMillis())))
)

/**
 * An empty disk, a fresh one each time the layer is built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.effect(FileSystem.FileSystem, make)

/**
 * A disk that starts with these files, by path; their folders are made. Strings are written as UTF-8. A record no disk could hold (a file
 * that is also a folder of another) is a defect.
 *
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Effect } from "effect"
 * import { MemoryFileSystem } from "smolvm-images/testing"
 *
 * const program = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString("/images/hello/vmlinux.bin"))
 *
 * program.pipe(Effect.provide(MemoryFileSystem.layerWith({ "/images/hello/vmlinux.bin": "kernel" })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (files: Readonly<Record<string, string | Uint8Array>>): Layer.Layer<FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.gen(function* () {
      const fs = yield* make
      for (const [path, content] of Object.entries(files)) {
        yield* fs.makeDirectory(dirname(path), { recursive: true })
        yield* typeof content === "string" ? fs.writeFileString(path, content) : fs.writeFile(path, content)
      }
      return fs
    }).pipe(Effect.orDie)
  )

/**
 * Any `FileSystem`, with `fault` asked before each operation, those of open files included.
 *
 * @since 0.1.0
 * @category faults
 */
export const faulty: (inner: FileSystem.FileSystem, fault: Fault) => FileSystem.FileSystem = faulty_.makeFaulty

/**
 * The same for a layer.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { MemoryFileSystem } from "smolvm-images/testing"
 *
 * // a disk that is full for everything but small files
 * const full = MemoryFileSystem.layerFaulty(MemoryFileSystem.layer, ({ method }) =>
 *   method === "File.write" || method === "File.writeAll" ? Effect.fail("ENOSPC") : Effect.void
 * )
 * ```
 *
 * @since 0.1.0
 * @category faults
 */
export const layerFaulty = <E, R>(
  inner: Layer.Layer<FileSystem.FileSystem, E, R>,
  fault: Fault
): Layer.Layer<FileSystem.FileSystem, E, R> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => faulty(fs, fault))
  ).pipe(Layer.provide(inner))

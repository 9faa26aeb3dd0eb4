import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { allowThreads } from "./threadDelegate.js"
import * as Threads from "./threads.js"

/** What is shorter is not worth a message to a thread. */
const smallestOnThread = 256 * 1024

/** The most that Node.js itself writes at a time: smaller writes find warmer memory (see threads.ts), but each is an event. */
const largestWrite = 256 * 1024

/** Files that are written at their position, not at their end. */
const positioned = /^(w|r\+)/

/**
 * The FileSystem of Node.js. Where a thread runs anyway, as it does to hash a large file, large writes of shared memory are
 * made there, without an event of the main thread for each system call.
 */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.effect(
  FileSystem.FileSystem,
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { running } = yield* Threads.Threads
    return FileSystem.FileSystem.of({
      ...fs,
      open: (path, options) =>
        Effect.map(fs.open(path, options), (file) =>
          allowThreads(positioned.test(options?.flag ?? "r") ? onThreads(file, running) : file)
        )
    })
  })
).pipe(Layer.provide([NodeFileSystem.layer, Threads.layer]))

/** The file, with another way to write. */
const onThreads = (file: FileSystem.File, running: () => Threads.Thread | undefined): FileSystem.File => {
  /** What reads or moves the position waits for its turn. */
  const inTurn = Effect.unsafeMakeSemaphore(1).withPermits(1)

  const writeInPieces = (bytes: Uint8Array): Effect.Effect<void, PlatformError> =>
    bytes.length <= largestWrite
      ? file.writeAll(bytes)
      : Effect.zipRight(
          file.writeAll(bytes.subarray(0, largestWrite)),
          Effect.suspend(() => writeInPieces(bytes.subarray(largestWrite)))
        )

  const writeOn = Effect.fnUntraced(function* (thread: Threads.Thread, bytes: Uint8Array) {
    const position: unknown = yield* file.seek(0, "current") // it tells, though its type does not say so
    if (typeof position !== "bigint") return yield* writeInPieces(bytes)
    const request = { what: "write", fd: file.fd, bytes, position: Number(position) } as const
    const written = Number(yield* thread.ask(request))
    yield* file.seek(written, "current")
    // Whatever stopped it stops Node.js as well, which has the error for it.
    if (written < bytes.length) yield* writeInPieces(bytes.subarray(written))
  }, Effect.uninterruptible)

  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    fd: file.fd,
    stat: Effect.suspend(() => file.stat),
    sync: Effect.suspend(() => file.sync),
    seek: (offset, from) => inTurn(file.seek(offset, from)),
    read: (buffer) => inTurn(file.read(buffer)),
    readAlloc: (size) => inTurn(file.readAlloc(size)),
    truncate: (length) => inTurn(file.truncate(length)),
    write: (bytes) => inTurn(file.write(bytes)),
    writeAll: (bytes) =>
      inTurn(
        Effect.suspend(() => {
          const thread = bytes.length >= smallestOnThread && Threads.isShared(bytes) ? running() : undefined
          return thread === undefined ? writeInPieces(bytes) : writeOn(thread, bytes)
        })
      )
  }
}

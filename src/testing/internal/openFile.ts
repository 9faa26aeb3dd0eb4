import type { PlatformError } from "@effect/platform/Error"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { checkLength } from "./arguments.js"
import type { OpenFile } from "./disk.js"
import { attempt, Errno } from "./errno.js"
import { infoOf, type RegularFile } from "./inode.js"

/** A handle, and what its scope does to it at the end. */
export interface ClosableFile {
  readonly file: FileSystem.File
  readonly close: Effect.Effect<void>
}

/**
 * NodeFileSystem's handle: one position for reads and writes, kept here and not in the descriptor, which an appending handle moves by
 * reading only.
 */
export const makeFile = (fd: FileSystem.File.Descriptor, opened: OpenFile): ClosableFile => {
  let position = 0n
  let closed = false
  // the descriptor's own offset: what a negative position makes the kernel use
  let offset = 0

  const inode = () => {
    if (closed) {
      throw new Errno("EBADF")
    }
    return opened.inode
  }

  const readAt = (target: Uint8Array, at: bigint): number => {
    if (target.length === 0) {
      return 0
    }
    const source = inode()
    if (!opened.read) {
      throw new Errno("EBADF")
    }
    if (source.type === "Directory") {
      throw new Errno("EISDIR")
    }
    if (at >= 0n) {
      return source.content.read(target, Number(at))
    }
    const count = source.content.read(target, offset)
    offset += count
    return count
  }

  const writableInode = (failure: "EBADF" | "EINVAL"): RegularFile => {
    const target = inode()
    if (!opened.write || target.type === "Directory") {
      throw new Errno(failure)
    }
    return target
  }

  const write = (method: "write" | "writeAll", source: Uint8Array) =>
    attempt(method, fd, (now) => {
      const target = writableInode("EBADF")
      const negative = position < 0n
      target.content.write(source, opened.append ? target.content.size : negative ? offset : Number(position))
      if (source.length > 0) {
        target.mtime = now
      }
      if (!opened.append) {
        offset += negative ? source.length : 0
        position += BigInt(source.length)
      }
      return FileSystem.Size(source.length)
    })

  const writeAll = (source: Uint8Array): Effect.Effect<void, PlatformError> =>
    Effect.flatMap(write("writeAll", source), (written) =>
      written > 0n
        ? Effect.void
        : Effect.fail(
            new SystemError({
              module: "FileSystem",
              method: "writeAll",
              reason: "WriteZero",
              pathOrDescriptor: fd,
              description: "write returned 0 bytes written"
            })
          )
    )

  const file: FileSystem.File = {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    fd,
    stat: attempt("stat", fd, () => infoOf(inode())),
    sync: attempt("sync", fd, () => {
      inode()
    }),
    seek: (to, from) =>
      Effect.sync(() => {
        position = from === "start" ? FileSystem.Size(to) : position + FileSystem.Size(to)
      }),
    read: (buffer) =>
      attempt("read", fd, () => {
        const count = FileSystem.Size(readAt(buffer, position))
        position += count
        return count
      }),
    readAlloc: (size) =>
      attempt("readAlloc", fd, () => {
        const buffer = new Uint8Array(Number(size))
        const count = readAt(buffer, position)
        position += BigInt(count)
        return count === 0 ? Option.none() : Option.some(count === buffer.length ? buffer : buffer.slice(0, count))
      }),
    truncate: (length) =>
      attempt("truncate", fd, (now) => {
        const size = checkLength(Number(length ?? 0))
        const target = writableInode("EINVAL")
        target.content.truncate(size)
        target.mtime = now
        if (!opened.append && position > BigInt(length ?? 0)) {
          position = BigInt(length ?? 0)
        }
      }),
    write: (buffer) => write("write", buffer),
    writeAll
  }

  return {
    file,
    close: Effect.sync(() => {
      closed = true
    })
  }
}

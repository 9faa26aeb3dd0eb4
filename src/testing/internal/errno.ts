import type { PlatformError, SystemErrorReason } from "@effect/platform/Error"
import { BadArgument, SystemError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"

const descriptions = {
  EACCES: "permission denied",
  EAGAIN: "resource temporarily unavailable",
  EBADF: "bad file descriptor",
  EBUSY: "resource busy or locked",
  EDQUOT: "disk quota exceeded",
  EEXIST: "file already exists",
  EFBIG: "file too large",
  EINTR: "interrupted system call",
  EINVAL: "invalid argument",
  EIO: "i/o error",
  EISDIR: "illegal operation on a directory",
  ELOOP: "too many symbolic links encountered",
  EMFILE: "too many open files",
  EMLINK: "too many links",
  ENAMETOOLONG: "name too long",
  ENFILE: "file table overflow",
  ENODEV: "no such device",
  ENOENT: "no such file or directory",
  ENOMEM: "not enough memory",
  ENOSPC: "no space left on device",
  ENOSYS: "function not implemented",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  ENOTSUP: "operation not supported",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
  ESTALE: "stale file handle",
  ETIMEDOUT: "connection timed out",
  ETXTBSY: "text file is busy",
  EXDEV: "cross-device link not permitted",
  ERR_FS_CP_DIR_TO_NON_DIR: "cannot overwrite non-directory with directory",
  ERR_FS_CP_EINVAL: "src and dest cannot be the same, nor one inside the other",
  ERR_FS_CP_NON_DIR_TO_DIR: "cannot overwrite directory with non-directory",
  ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY: "cannot overwrite a directory with a link below it",
  ERR_FS_EISDIR: "path is a directory",
  ERR_FS_FILE_TOO_LARGE: "file size is greater than 2 GiB",
  ERR_INVALID_ARG_VALUE: "the argument must be a string without null bytes"
} as const

/** The codes a failing file operation can carry, as `errno` and Node spell them. */
export type ErrorCode = keyof typeof descriptions

const reasons: { readonly [Code in ErrorCode]?: SystemErrorReason } = {
  EACCES: "PermissionDenied",
  EBUSY: "Busy",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ELOOP: "BadResource",
  ENOENT: "NotFound",
  ENOTDIR: "BadResource"
}

/** The system call a method fails in, where its name is not the method's. */
const syscalls: Readonly<Record<string, string>> = {
  copy: "cp",
  copyFile: "copyfile",
  makeDirectory: "mkdir",
  makeTempDirectory: "mkdtemp",
  makeTempDirectoryScoped: "mkdtemp",
  makeTempFile: "mkdtemp",
  makeTempFileScoped: "mkdtemp",
  readAlloc: "read",
  readDirectory: "scandir",
  readFile: "open",
  readLink: "readlink",
  realPath: "lstat",
  remove: "rm",
  sync: "fsync",
  truncate: "ftruncate",
  writeAll: "write",
  writeFile: "open"
}

/** What the disk throws; `attempt` turns it into a `SystemError`. */
export class Errno extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode) {
    super(descriptions[code])
    this.code = code
  }
}

/** What the disk throws for an argument Node refuses before it asks the kernel; it becomes a `BadArgument`. */
export class InvalidArgument extends Error {
  readonly code: "ERR_INVALID_ARG_VALUE" | "ERR_OUT_OF_RANGE" | "ERR_INVALID_ARG_TYPE"
  constructor(code: InvalidArgument["code"], message: string) {
    super(message)
    this.name = "TypeError"
    this.code = code
  }
}

/** The `cause` of a `SystemError`: what Node calls an `ErrnoException`. */
class ErrnoException extends Error {
  readonly code: ErrorCode
  readonly syscall: string
  readonly path: string | undefined
  constructor(code: ErrorCode, syscall: string, target: string | number) {
    super(`${code}: ${descriptions[code]}, ${syscall}${typeof target === "string" ? ` '${target}'` : ""}`)
    this.name = "Error"
    this.code = code
    this.syscall = syscall
    this.path = typeof target === "string" ? target : undefined
  }
}

/** The `SystemError` that NodeFileSystem makes of this code. */
export const systemError = (method: string, target: string | number, code: ErrorCode): SystemError => {
  const cause = new ErrnoException(code, syscalls[method] ?? method, target)
  return new SystemError({
    module: "FileSystem",
    method,
    reason: reasons[code] ?? "Unknown",
    pathOrDescriptor: target,
    syscall: cause.syscall,
    description: cause.message,
    cause
  })
}

/** Runs a disk operation at the time of the Effect Clock; what it throws becomes the failure, anything unforeseen a defect. */
export const attempt = <A>(
  method: string,
  target: string | number,
  operation: (now: number) => A
): Effect.Effect<A, PlatformError> =>
  Effect.clockWith((clock): Effect.Effect<A, PlatformError> => {
    try {
      return Effect.succeed(operation(clock.unsafeCurrentTimeMillis()))
    } catch (thrown) {
      if (thrown instanceof Errno) {
        return Effect.fail(systemError(method, target, thrown.code))
      }
      if (thrown instanceof InvalidArgument) {
        return Effect.fail(new BadArgument({ module: "FileSystem", method, cause: thrown }))
      }
      throw thrown
    }
  })

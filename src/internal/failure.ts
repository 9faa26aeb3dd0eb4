import type { PlatformError } from "@effect/platform/Error"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Struct from "effect/Struct"
import { ImageError, type Reason } from "../ImageError.js"
import type { Role } from "../ImageSource.js"
import { codeOf, sanitizeCause } from "./redact.js"

/**
 * Why one request for an asset did not deliver it. Never leaves the transfer: it becomes a retry, another mirror, or an
 * `ImageError`. All its texts are redacted already.
 */
export class AttemptFailure extends Data.TaggedError("AttemptFailure")<{
  readonly reason: Reason
  readonly detail: string
  /** Another request to the same source may well succeed. */
  readonly transient: boolean
  readonly status?: number
  /** What the server asked for by Retry-After, in milliseconds from now. */
  readonly retryAfter?: number
  readonly expected?: string
  readonly actual?: string
  readonly bytesReceived?: number
  readonly cause?: Error
}> {
  override get message() {
    return this.detail
  }
}

/** The same failure, told differently. */
export const revise = (
  failure: AttemptFailure,
  changes: Partial<Pick<AttemptFailure, "detail" | "transient" | "bytesReceived" | "expected" | "actual">>
): AttemptFailure =>
  // An error's own cause is not enumerable, so that copying it takes more than spreading.
  new AttemptFailure({ ...failure, ...Struct.pick(failure, "cause"), ...changes })

/** Which asset of which image an error is about. */
export interface Subject {
  readonly image: string
  readonly asset?: Role
}

/** A failure of the file system, as the caller sees it. */
export const storageFailed = (subject: Subject, path: string, error: PlatformError): ImageError =>
  new ImageError({
    reason: isFull(error) ? "NoSpace" : "StorageFailed",
    ...subject,
    path,
    detail: explain(error),
    cause: sanitizeCause(error)
  })

/** There is nothing at that path. */
export const isAbsent = (error: PlatformError): boolean => error._tag === "SystemError" && error.reason === "NotFound"

export const isForbidden = (error: PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "PermissionDenied"

const isFull = (error: PlatformError) => {
  const code = codeOf(error)
  return code === "ENOSPC" || code === "EDQUOT"
}

/** {@link storageFailed} as an operator. */
export const orStorageFailed =
  (subject: Subject, path: string) =>
  <A, R>(effect: Effect.Effect<A, PlatformError, R>): Effect.Effect<A, ImageError, R> =>
    Effect.mapError(effect, (error) => storageFailed(subject, path, error))

/** The operating system's code with what it means for the person who reads it. */
const explain = (error: PlatformError): string => {
  const code = codeOf(error) ?? (error._tag === "SystemError" ? error.reason : "BadArgument")
  const hint = hints[code]
  return hint === undefined ? `${code} (${error.module}.${error.method})` : `${hint} (${code})`
}

const hints: Readonly<Record<string, string>> = {
  EACCES: "permission denied; check who owns the cache directory, or choose another",
  EPERM: "the operation is not permitted there",
  EROFS: "the file system is read-only; choose a writable cache directory",
  ENOSPC: "no space left on the device; free some, or choose another cache directory",
  EDQUOT: "the disk quota is used up",
  ENOTDIR: "a file is where a directory should be; move it away",
  EEXIST: "something else is already there; move it away",
  EISDIR: "a directory is where a file should be; move it away",
  ENOENT: "it vanished, or a part of the path does not exist",
  ELOOP: "a loop of symbolic links",
  EMFILE: "too many open files in this process",
  ENFILE: "too many open files on this machine",
  ESTALE: "the network file system lost the file",
  EXDEV: "parts of the cache directory are on different file systems"
}

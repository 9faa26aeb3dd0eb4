/**
 * What `FileSystem` cannot tell or do, as one small service with a neutral default.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"

/**
 * The machine below the `FileSystem` service. It is a `Context.Reference`: without a layer of its own it is
 * {@link neutral}, on which everything works and nothing becomes unsafe, only slower or less forgiving.
 *
 * @since 0.1.0
 * @category tags
 */
export class Host extends Context.Reference<Host>()("smolvm-images/Host", {
  defaultValue: (): HostService => neutral
}) {}

/**
 * Bytes are not encoded as they are said to be.
 *
 * @since 0.1.0
 * @category errors
 */
export class DecompressError extends Data.TaggedError("DecompressError")<{ readonly message: string }> {}

/**
 * Who works on a cache directory, as others who share it can see.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProcessIdentity {
  /**
   * Tells this process from every other one on every machine, now and later: letters, digits and `-`. Only
   * {@link HostService.isAlive} looks into it.
   */
  readonly id: string
  /** For people: the process number, which means nothing outside its container or machine. */
  readonly pid: number
  /** For people: the machine's name. */
  readonly hostname: string
}

/**
 * What changes when a file does: its size in bytes, the times of its last modification and of its last change of status in
 * nanoseconds, its inode and device. Equal stamps mean an untouched file.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stamp {
  readonly size: string
  readonly mtime: string
  readonly ctime: string
  readonly ino: string
  readonly dev: string
}

/**
 * What `FileSystem` cannot do or tell: the disk's free space and identity, stamps, block sharing, other processes, and the
 * decoding of bodies. Nothing depends on an answer for its safety: "unknown" costs speed or a warning.
 *
 * @since 0.1.0
 * @category models
 */
export interface HostService {
  /**
   * Names the disk that `FileSystem` shows. Managers on the same disk and cache directory share their downloads. `None`:
   * unknown, so only managers that hold the same `FileSystem` service share.
   */
  readonly disk: Option.Option<string>
  readonly process: ProcessIdentity
  /** Whether the process of that id still runs. `None`: it cannot be told from here, as for one on another machine. */
  readonly isAlive: (id: string) => Effect.Effect<Option.Option<boolean>>
  /**
   * The stamp of a regular file, without following a link. `None`: there is no such file, or it cannot be told so exactly;
   * then `stat` verification rehashes.
   */
  readonly stamp: (path: string) => Effect.Effect<Option.Option<Stamp>>
  /** The bytes that may still be written where `path` is. `None`: unknown. */
  readonly freeSpace: (path: string) => Effect.Effect<Option.Option<number>>
  /**
   * Copy a file by sharing its blocks (reflink). `false`: this file system cannot, and nothing was written. `to` must not
   * exist.
   */
  readonly clone: (from: string, to: string) => Effect.Effect<boolean>
  /**
   * Undo a Content-Encoding (`gzip`, `deflate`, `br`). `None`: this encoding is not known here. The stream fails with
   * a `DecompressError` on bytes that are not so encoded.
   */
  readonly decompress: (
    encoding: string
  ) => Option.Option<<E>(encoded: Stream.Stream<Uint8Array, E>) => Stream.Stream<Uint8Array, E | DecompressError>>
}

/**
 * Knows nothing and can do nothing: the default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const neutral: HostService = {
  disk: Option.none(),
  process: { id: "unknown", pid: 0, hostname: "unknown" },
  isAlive: () => Effect.succeedNone,
  stamp: () => Effect.succeedNone,
  freeSpace: () => Effect.succeedNone,
  clone: () => Effect.succeed(false),
  decompress: () => Option.none()
}

/**
 * What `FileSystem` cannot tell or do, as one small service with a neutral default.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
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
 * @since 0.1.0
 * @category models
 */
export interface HostService {
  /**
   * Names the disk that `FileSystem` shows. Managers on the same disk and cache directory share their downloads. `None`:
   * unknown, so only managers that hold the same `FileSystem` service share.
   */
  readonly disk: Option.Option<string>
  /**
   * Copy a file by sharing its blocks (reflink). `false`: this file system cannot, and nothing was written. `to` must not
   * exist.
   */
  readonly clone: (from: string, to: string) => Effect.Effect<boolean>
  /**
   * Undo a Content-Encoding (`gzip`, `deflate`, `br`). `None`: this encoding is not known here. The stream fails
   * with the decoder's error on bytes that are not so encoded.
   */
  readonly decompress: (
    encoding: string
  ) => Option.Option<<E>(encoded: Stream.Stream<Uint8Array, E>) => Stream.Stream<Uint8Array, E | Error>>
}

/**
 * Knows nothing and can do nothing: the default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const neutral: HostService = {
  disk: Option.none(),
  clone: () => Effect.succeed(false),
  decompress: () => Option.none()
}

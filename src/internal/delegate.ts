import type { File } from "@effect/platform/FileSystem"
import type * as Effect from "effect/Effect"
import type { Digest } from "../Hasher.js"
import type { Follower } from "./follower.js"

/**
 * What a digest on another thread can do by itself with a file that the thread can reach: no message goes to and fro for each
 * few bytes.
 */
export interface Delegate {
  /**
   * Hash the file from its position on, to its end or to where it cannot be read, and move the position there. Returns how
   * many bytes there were.
   */
  readonly read: Effect.Effect<number>
  /** Hash what comes through a ring and write it to the file, from its position on. */
  readonly follow: Follower
}

type Make = (file: File) => Delegate | undefined

/** By identity: a digest that wraps another one means to see what is hashed. */
const makers = new WeakMap<Digest, Make>()

/** Say what this digest can do by itself, with those files that `make` knows how to reach. */
export const offer = (digest: Digest, make: Make): Digest => {
  makers.set(digest, make)
  return digest
}

/** Who does all the work between this digest and this file, if anybody can. */
export const between = (digest: Digest, file: File): Delegate | undefined => makers.get(digest)?.(file)

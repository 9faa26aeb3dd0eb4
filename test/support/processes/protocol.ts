/** What a child process is told, and what it says. */
import type { Progress, Registry } from "../../../src/index.js"
import type { NodeImageManager } from "../../../src/node/index.js"

export interface Task {
  readonly cacheDir: string
  readonly registry: Registry.Images
  readonly images: ReadonlyArray<string>
  /** Only what survives JSON. */
  readonly settings?: NodeImageManager.Options
  /** How often to ensure all of the images. Default: once. */
  readonly rounds?: number
  /** Milliseconds since the epoch: not before then. */
  readonly startAt?: number
  readonly withoutLock?: boolean
  /** Be a process of another machine. */
  readonly elsewhere?: boolean
  /** Die by SIGKILL before this operation on the file system, from 1; 0 only counts them. */
  readonly killAt?: number
  readonly umask?: number
  /** A clock that is somewhere else, by so many milliseconds each in turn, whenever it is asked. */
  readonly jumps?: ReadonlyArray<number>
  /** Run by `Effect.runPromise` with an AbortSignal that fires on this signal, instead of by `NodeRuntime.runMain`. */
  readonly abort?: "SIGINT" | "SIGTERM"
}

export type Line =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Log"; readonly level: string; readonly message: string }
  | { readonly _tag: "Event"; readonly event: Progress.Event }
  /** It has the image, whose files have these digests right after. */
  | { readonly _tag: "Image"; readonly kernel: string; readonly rootfs: string }
  | { readonly _tag: "Failure"; readonly error: Failure }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Defect"; readonly text: string }
  | { readonly _tag: "Operations"; readonly count: number }

/** An `ImageError` or `ValueError` as JSON. */
export interface Failure {
  readonly name: string
  readonly reason?: string
  readonly message: string
  readonly path?: string
  readonly bytesNeeded?: number
  readonly bytesAvailable?: number
}

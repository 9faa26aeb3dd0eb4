import type * as FileSystem from "@effect/platform/FileSystem"
import { InvalidArgument } from "./errno.js"

// What Node checks before it asks the kernel.

/** A path. */
export const checkPath = (path: string): void => {
  if (path.includes("\u0000")) {
    throw new InvalidArgument("ERR_INVALID_ARG_VALUE", "The argument 'path' must be a string without null bytes")
  }
}

/** A user or group; -1 is "leave it". */
export const checkId = (id: number): void => {
  if (!Number.isInteger(id) || id < -1 || id > 0xffff_ffff) {
    throw new InvalidArgument("ERR_OUT_OF_RANGE", `The value of "id" is out of range. Received ${id}`)
  }
}

/** What a handle may do, and what opening it does. */
export interface Access {
  readonly read: boolean
  readonly write: boolean
  readonly append: boolean
  readonly create: boolean
  readonly exclusive: boolean
  readonly truncate: boolean
}

export const accessOf = (flag: FileSystem.OpenFlag): Access => {
  if (!/^(r\+?|[wa]x?\+?)$/.test(flag)) {
    throw new InvalidArgument("ERR_INVALID_ARG_VALUE", `The argument 'flags' is invalid. Received '${flag}'`)
  }
  const plus = flag.endsWith("+")
  return {
    read: flag.startsWith("r") || plus,
    write: !flag.startsWith("r") || plus,
    append: flag.startsWith("a"),
    create: !flag.startsWith("r"),
    exclusive: flag.includes("x"),
    truncate: flag.startsWith("w")
  }
}

/** Permission bits. */
export const checkMode = (mode: number): number => {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0xffff_ffff) {
    throw new InvalidArgument("ERR_OUT_OF_RANGE", `The value of "mode" is out of range. Received ${mode}`)
  }
  return mode & 0o7777
}

/** A time for `utimes`, in milliseconds: numbers are seconds. */
export const checkTime = (time: { readonly getTime: () => number } | number, now: number): number => {
  if (typeof time !== "number") {
    return time.getTime()
  }
  if (!Number.isFinite(time)) {
    throw new InvalidArgument(
      "ERR_INVALID_ARG_TYPE",
      `The "time" argument must be a number or a Date. Received ${time}`
    )
  }
  // Node takes a negative number of seconds for "now"
  return time < 0 ? now : time * 1000
}

/** The length of a truncation, checked and clamped as Node does. */
export const checkLength = (length: number): number => {
  if (!Number.isSafeInteger(length)) {
    throw new InvalidArgument("ERR_OUT_OF_RANGE", `The value of "len" is out of range. Received ${length}`)
  }
  return Math.max(0, length)
}

import * as FileSystem from "@effect/platform/FileSystem"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import { GrowableBytes } from "./growableBytes.js"

interface Common {
  readonly ino: number
  readonly birthtime: number
  /** Permission bits only; the bits of the type are added by `infoOf`. */
  mode: number
  atime: number
  mtime: number
}

export interface RegularFile extends Common {
  readonly type: "File"
  readonly content: GrowableBytes
  /** How many names it has. At zero it lives on for those who hold it open. */
  links: number
}

export interface Directory extends Common {
  readonly type: "Directory"
  readonly entries: Map<string, Inode>
  /** Undefined for the root. */
  parent: Directory | undefined
}

export interface SymbolicLink extends Common {
  readonly type: "SymbolicLink"
  readonly target: string
  links: number
}

export type Inode = RegularFile | Directory | SymbolicLink

/** The one user of the disk, who owns everything on it and is not root. */
export const user = { uid: 1000, gid: 1000 } as const

let nextInode = 1

const common = (mode: number, now: number): Common => ({
  ino: nextInode++,
  mode,
  birthtime: now,
  atime: now,
  mtime: now
})

export const makeFile = (mode: number, now: number): RegularFile => ({
  ...common(mode, now),
  type: "File",
  content: new GrowableBytes(),
  links: 0
})

export const makeDirectory = (mode: number, now: number, parent: Directory | undefined): Directory => ({
  ...common(mode, now),
  type: "Directory",
  entries: new Map(),
  parent
})

export const makeSymbolicLink = (target: string, now: number): SymbolicLink => ({
  ...common(0o777, now),
  type: "SymbolicLink",
  target,
  links: 0
})

export const readable = 4
export const writable = 2
export const searchable = 1

/** Whether the owner's bits of the mode grant all of `access`. */
export const permits = (inode: Inode, access: number): boolean => ((inode.mode >> 6) & access) === access

const typeBits = { File: 0o100000, Directory: 0o040000, SymbolicLink: 0o120000 } as const

const linksOf = (inode: Inode): number => {
  if (inode.type !== "Directory") {
    return inode.links
  }
  let links = 2
  for (const entry of inode.entries.values()) {
    if (entry.type === "Directory") {
      links++
    }
  }
  return links
}

const sizeOf = (inode: Inode): number => {
  switch (inode.type) {
    case "File":
      return inode.content.size
    case "Directory":
      return 4096
    case "SymbolicLink":
      return inode.target.length
  }
}

const dateOf = (milliseconds: number) => DateTime.toDateUtc(DateTime.unsafeMake(milliseconds))

export const infoOf = (inode: Inode): FileSystem.File.Info => {
  const size = sizeOf(inode)
  return {
    type: inode.type,
    mtime: Option.some(dateOf(inode.mtime)),
    atime: Option.some(dateOf(inode.atime)),
    birthtime: Option.some(dateOf(inode.birthtime)),
    dev: 1,
    rdev: Option.some(0),
    ino: Option.some(inode.ino),
    mode: typeBits[inode.type] | inode.mode,
    nlink: Option.some(linksOf(inode)),
    uid: Option.some(user.uid),
    gid: Option.some(user.gid),
    size: FileSystem.Size(size),
    blksize: Option.some(FileSystem.Size(4096)),
    blocks: Option.some(Math.ceil(size / 512))
  }
}

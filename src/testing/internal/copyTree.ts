import type * as FileSystem from "@effect/platform/FileSystem"
import { checkPath } from "./arguments.js"
import type { Disk } from "./disk.js"
import { Errno } from "./errno.js"
import type { Inode } from "./inode.js"
import { dirname, normalize } from "./walk.js"

const within = (directory: string, path: string): boolean =>
  normalize(`/${path}/`).startsWith(`${normalize(`/${directory}`)}/`) ||
  normalize(`/${path}`) === normalize(`/${directory}`)

const lstatIfAny = (disk: Disk, path: string): Inode | undefined => {
  try {
    return disk.lstat(path)
  } catch (thrown) {
    if (thrown instanceof Errno && thrown.code === "ENOENT") {
      return undefined
    }
    throw thrown
  }
}

/** A relative target means the directory of its link; Node makes it absolute in the copy. */
const targetOf = (disk: Disk, path: string): string => {
  const target = disk.readlink(path)
  return target.startsWith("/") ? target : normalize(`/${dirname(path)}/${target}`)
}

/** `fs.cp` with `recursive`: what exists at the destination is kept unless `overwrite`; directories merge. */
export const copyTree = (
  disk: Disk,
  fromPath: string,
  toPath: string,
  options: FileSystem.CopyOptions | undefined,
  now: number
): void => {
  checkPath(fromPath)
  checkPath(toPath)
  const overwrite = options?.overwrite ?? false

  const copyFile = (from: string, to: string, source: Inode, target: Inode | undefined): void => {
    if (target !== undefined) {
      if (!overwrite) {
        return
      }
      disk.rm(to, false, false, now)
    }
    disk.copyFile(from, to, now)
    if (options?.preserveTimestamps ?? false) {
      disk.setTimes(to, source.atime, source.mtime)
    }
  }

  const copyLink = (from: string, to: string, target: Inode | undefined): void => {
    const points = targetOf(disk, from)
    if (target?.type === "SymbolicLink") {
      const pointed = targetOf(disk, to)
      if (within(points, pointed)) {
        throw new Errno("ERR_FS_CP_EINVAL")
      }
      if (disk.stat(from).type === "Directory" && within(pointed, points)) {
        throw new Errno("ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY")
      }
      disk.rm(to, false, false, now)
    }
    disk.symlink(points, to, now)
  }

  const copyDirectory = (from: string, to: string, source: Inode, target: Inode | undefined): void => {
    if (target === undefined) {
      disk.mkdir(to, 0o777, now)
    }
    for (const name of disk.readdir(from, false)) {
      copyAny(`${from}/${name}`, `${to}/${name}`)
    }
    if (target === undefined) {
      disk.chmod(to, source.mode)
    }
  }

  const copyAny = (from: string, to: string): void => {
    const source = disk.lstat(from)
    const target = lstatIfAny(disk, to)
    if (source === target) {
      throw new Errno("ERR_FS_CP_EINVAL")
    }
    if (source.type === "Directory" && target !== undefined && target.type !== "Directory") {
      throw new Errno("ERR_FS_CP_DIR_TO_NON_DIR")
    }
    if (source.type !== "Directory" && target?.type === "Directory") {
      throw new Errno("ERR_FS_CP_NON_DIR_TO_DIR")
    }
    if (source.type === "Directory" && within(from, to)) {
      throw new Errno("ERR_FS_CP_EINVAL")
    }
    if (source.type === "File") {
      copyFile(from, to, source, target)
    } else if (source.type === "Directory") {
      copyDirectory(from, to, source, target)
    } else {
      copyLink(from, to, target)
    }
  }

  disk.lstat(fromPath)
  if (lstatIfAny(disk, toPath) === undefined) {
    disk.mkdirs(dirname(toPath), 0o777, now)
  }
  copyAny(fromPath, toPath)
}

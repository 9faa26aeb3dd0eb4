import type * as FileSystem from "@effect/platform/FileSystem"
import { type Access, accessOf, checkId, checkLength, checkMode, checkPath } from "./arguments.js"
import { Errno } from "./errno.js"
import * as Inode from "./inode.js"
import { existing, normalize, type Place, walk } from "./walk.js"

const umask = 0o022
const largestReadFile = 2 ** 31 - 1

const need = (inode: Inode.Inode, access: number): void => {
  if (!Inode.permits(inode, access)) {
    throw new Errno("EACCES")
  }
}

/** A directory whose entries are about to change. */
const needChange = (directory: Inode.Directory): void => need(directory, Inode.writable | Inode.searchable)

const isName = (name: string): boolean => name !== "/" && name !== "." && name !== ".."

/** An open file description: the inode stays readable through it after its last name is gone. */
export interface OpenFile extends Pick<Access, "read" | "write" | "append"> {
  readonly inode: Inode.RegularFile | Inode.Directory
}

/** A file system of one user on one device: what the kernel does for `node:fs`, throwing `Errno`. Access times stay put (`noatime`). */
export class Disk {
  private readonly root: Inode.Directory
  private temporary = 0

  constructor(now: number) {
    this.root = Inode.makeDirectory(0o755, now, undefined)
    this.mkdir("/tmp", 0o777, now)
  }

  /** A name no temporary file of this disk had before. */
  temporaryName(radix: 16 | 36, length: number): string {
    return (this.temporary++).toString(radix).padStart(length, "0")
  }

  stat(path: string): Inode.Inode {
    return existing(this.at(path))
  }

  lstat(path: string): Inode.Inode {
    return existing(this.at(path, false))
  }

  access(path: string, access: number): void {
    need(this.stat(path), access)
  }

  open(path: string, flag: FileSystem.OpenFlag, mode: number, now: number): OpenFile {
    const { append, create, exclusive, read, truncate, write } = accessOf(flag)
    const permissions = checkMode(mode)
    const place = this.at(path, !exclusive)
    if (create && place.slash) {
      throw new Errno("EISDIR")
    }
    if (create && place.inode === undefined) {
      const inode = Inode.makeFile(permissions & ~umask, now)
      this.attach(place, inode, now)
      return { inode, read, write, append }
    }
    const inode = existing(place)
    if (exclusive) {
      throw new Errno("EEXIST")
    }
    if (inode.type === "SymbolicLink") {
      throw new Errno("ELOOP")
    }
    if (inode.type === "Directory" && write) {
      throw new Errno("EISDIR")
    }
    need(inode, (read ? Inode.readable : 0) | (write ? Inode.writable : 0))
    if (truncate && inode.type === "File") {
      inode.content.truncate(0)
      inode.mtime = now
    }
    return { inode, read, write, append }
  }

  readFile(path: string, now: number): Uint8Array {
    const { inode } = this.open(path, "r", 0o666, now)
    if (inode.type === "Directory") {
      throw new Errno("EISDIR")
    }
    if (inode.content.size > largestReadFile) {
      throw new Errno("ERR_FS_FILE_TOO_LARGE")
    }
    const bytes = new Uint8Array(inode.content.size)
    inode.content.read(bytes, 0)
    return bytes
  }

  writeFile(path: string, data: Uint8Array, flag: FileSystem.OpenFlag, mode: number, now: number): void {
    const { append, inode, write } = this.open(path, flag, mode, now)
    if (!write || inode.type === "Directory") {
      throw new Errno("EBADF")
    }
    inode.content.write(data, append ? inode.content.size : 0)
    inode.mtime = now
  }

  truncate(path: string, length: number, now: number): void {
    const size = checkLength(length)
    const { inode } = this.open(path, "r+", 0o666, now)
    if (inode.type === "File") {
      inode.content.truncate(size)
      inode.mtime = now
    }
  }

  mkdir(path: string, mode: number, now: number): void {
    const permissions = checkMode(mode)
    const place = this.at(path, false)
    if (place.inode !== undefined) {
      throw new Errno("EEXIST")
    }
    this.attach(place, Inode.makeDirectory(permissions & ~umask, now, place.parent), now)
  }

  mkdirs(path: string, mode: number, now: number): void {
    checkPath(path)
    const names = path.split("/")
    for (let count = 1; count <= names.length; count++) {
      const last = count === names.length
      const prefix = names.slice(0, count).join("/") || (last && path === "" ? "" : "/")
      if (this.at(prefix, false).inode === undefined) {
        this.mkdir(prefix, mode, now)
      } else if (!this.isDirectory(prefix)) {
        if (!last) {
          throw new Errno("ENOTDIR")
        }
        // a link that dangles or loops fails here, as what it is
        this.stat(prefix)
        throw new Errno("EEXIST")
      }
    }
  }

  /** The names in a directory; `recursive` gives relative paths and, like Node, goes through links to directories. */
  readdir(path: string, recursive: boolean): Array<string> {
    if (path.includes("\u0000")) {
      // NodeFileSystem calls the promise API here, which rejects where the others throw
      throw new Errno("ERR_INVALID_ARG_VALUE")
    }
    const found: Array<string> = []
    const pending = [""]
    for (let below = pending.shift(); below !== undefined; below = pending.shift()) {
      const directory = this.stat(below === "" ? path : `${path}/${below}`)
      if (directory.type !== "Directory") {
        throw new Errno("ENOTDIR")
      }
      need(directory, Inode.readable)
      for (const name of directory.entries.keys()) {
        const relative = below === "" ? name : `${below}/${name}`
        found.push(relative)
        if (recursive && this.isDirectory(`${path}/${relative}`)) {
          pending.push(relative)
        }
      }
    }
    return found
  }

  rm(path: string, recursive: boolean, force: boolean, now: number): void {
    const place = this.atUnlessMissing(path)
    if (place?.inode === undefined) {
      if (force) {
        return
      }
      throw new Errno("ENOENT")
    }
    const inode = existing(place)
    if (inode.type === "Directory") {
      if (!recursive) {
        throw new Errno("ERR_FS_EISDIR")
      }
      if (!isName(place.name)) {
        throw new Errno(place.name === "." ? "EINVAL" : place.name === ".." ? "ENOTEMPTY" : "EBUSY")
      }
    }
    this.removeTree(place.parent, place.name, inode, now)
  }

  rename(oldPath: string, newPath: string, now: number): void {
    const from = this.at(oldPath, false)
    const to = this.at(newPath, false)
    if (!isName(from.name) || !isName(to.name)) {
      throw new Errno("EBUSY")
    }
    const source = existing(from)
    if (source.type === "Directory") {
      for (let above: Inode.Directory | undefined = to.parent; above !== undefined; above = above.parent) {
        if (above === source) {
          throw new Errno("EINVAL")
        }
      }
    } else if (to.slash) {
      throw new Errno("ENOTDIR")
    }
    if (source === to.inode) {
      return
    }
    needChange(from.parent)
    needChange(to.parent)
    if (source.type === "Directory" && from.parent !== to.parent) {
      // its ".." is about to change
      need(source, Inode.writable)
    }
    if (to.inode !== undefined) {
      this.checkReplace(source, to.inode)
      this.detach(to.parent, to.name, now)
    }
    this.detach(from.parent, from.name, now)
    this.attach(to, source, now)
  }

  link(path: string, newPath: string, now: number): void {
    const inode = this.lstat(path)
    const place = this.at(newPath, false)
    if (place.inode !== undefined) {
      throw new Errno("EEXIST")
    }
    if (inode.type === "Directory") {
      throw new Errno("EPERM")
    }
    this.attach(this.unslashed(place), inode, now)
  }

  symlink(target: string, path: string, now: number): void {
    checkPath(target)
    const place = this.at(path, false)
    if (target === "") {
      throw new Errno("ENOENT")
    }
    if (place.inode !== undefined) {
      throw new Errno("EEXIST")
    }
    this.attach(this.unslashed(place), Inode.makeSymbolicLink(target, now), now)
  }

  readlink(path: string): string {
    const inode = this.lstat(path)
    if (inode.type !== "SymbolicLink") {
      throw new Errno("EINVAL")
    }
    return inode.target
  }

  /** Node resolves `..` in the text before it looks at the disk. */
  realpath(path: string): string {
    checkPath(path)
    const place = this.at(normalize(`/${path}`))
    existing(place)
    return place.path
  }

  chmod(path: string, mode: number): void {
    const permissions = checkMode(mode)
    this.stat(path).mode = permissions
  }

  /** Only root gives files away; -1 keeps what is there. */
  chown(path: string, uid: number, gid: number): void {
    checkId(uid)
    checkId(gid)
    this.stat(path)
    if ((uid !== -1 && uid !== Inode.user.uid) || (gid !== -1 && gid !== Inode.user.gid)) {
      throw new Errno("EPERM")
    }
  }

  setTimes(path: string, atime: number, mtime: number): void {
    Object.assign(this.stat(path), { atime, mtime })
  }

  copyFile(fromPath: string, toPath: string, now: number): void {
    checkPath(toPath)
    const source = this.stat(fromPath)
    need(source, Inode.readable)
    const target = this.at(toPath)
    if (target.inode === undefined) {
      needChange(target.parent)
    }
    if (source.type !== "File" || target.inode?.type === "Directory") {
      throw new Errno("EISDIR")
    }
    if (source === target.inode) {
      return
    }
    const bytes = this.readFile(fromPath, now)
    this.writeFile(toPath, bytes, "w", source.mode, now)
    this.stat(toPath).mode = source.mode
  }

  private at(path: string, follow = true): Place {
    return walk(this.root, path, follow)
  }

  private atUnlessMissing(path: string): Place | undefined {
    try {
      return this.at(path, false)
    } catch (thrown) {
      if (thrown instanceof Errno && thrown.code === "ENOENT") {
        return undefined
      }
      throw thrown
    }
  }

  private isDirectory(path: string): boolean {
    try {
      return this.stat(path).type === "Directory"
    } catch (thrown) {
      if (thrown instanceof Errno) {
        return false
      }
      throw thrown
    }
  }

  private unslashed(place: Place): Place {
    if (place.slash) {
      throw new Errno("ENOENT")
    }
    return place
  }

  private attach({ name, parent }: Place, inode: Inode.Inode, now: number): void {
    needChange(parent)
    parent.entries.set(name, inode)
    parent.mtime = now
    if (inode.type === "Directory") {
      inode.parent = parent
    } else {
      inode.links++
    }
  }

  private detach(parent: Inode.Directory, name: string, now: number): void {
    const inode = parent.entries.get(name)
    parent.entries.delete(name)
    parent.mtime = now
    if (inode !== undefined && inode.type !== "Directory") {
      inode.links--
    }
  }

  private removeTree(parent: Inode.Directory, name: string, inode: Inode.Inode, now: number): void {
    needChange(parent)
    if (inode.type === "Directory" && inode.entries.size > 0) {
      need(inode, Inode.readable)
      for (const [childName, child] of [...inode.entries]) {
        this.removeTree(inode, childName, child, now)
      }
    }
    this.detach(parent, name, now)
  }

  private checkReplace(source: Inode.Inode, target: Inode.Inode): void {
    if (source.type === "Directory" && target.type !== "Directory") {
      throw new Errno("ENOTDIR")
    }
    if (source.type !== "Directory" && target.type === "Directory") {
      throw new Errno("EISDIR")
    }
    if (target.type === "Directory" && target.entries.size > 0) {
      throw new Errno("ENOTEMPTY")
    }
  }
}

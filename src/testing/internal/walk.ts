import { checkPath } from "./arguments.js"
import { Errno } from "./errno.js"
import { type Directory, type Inode, permits, searchable } from "./inode.js"

const mostLinks = 40
const longestName = 255
const longestPath = 4095

/** Where a path leads: a name in a directory, and what bears that name, if anything does. */
export interface Place {
  readonly parent: Directory
  /** `.`, `..` or `/` when the path ends in no name of its own. */
  readonly name: string
  readonly inode: Inode | undefined
  /** The canonical path. */
  readonly path: string
  /** Whether the path ended in a slash, which only a directory may. */
  readonly slash: boolean
}

const encoder = new TextEncoder()

const namesOf = (path: string): Array<string> => path.split("/").filter((name) => name !== "")

/** Resolves `.` and `..` in the text alone, as `path.posix.normalize` does, without the trailing slash. */
export const normalize = (path: string): string => {
  const absolute = path.startsWith("/")
  const kept: Array<string> = []
  for (const name of namesOf(path)) {
    if (name === "..") {
      if (kept.length > 0 && kept[kept.length - 1] !== "..") {
        kept.pop()
      } else if (!absolute) {
        kept.push(name)
      }
    } else if (name !== ".") {
      kept.push(name)
    }
  }
  return absolute ? `/${kept.join("/")}` : kept.join("/") || "."
}

export const dirname = (path: string): string => normalize(`${path}/..`)

/** The kernel's path walk. A relative path starts at the root. `follow` says whether a symbolic link in the last place is followed. */
export const walk = (root: Directory, path: string, follow: boolean): Place => {
  checkPath(path)
  if (path === "") {
    throw new Errno("ENOENT")
  }
  if (encoder.encode(path).length > longestPath) {
    throw new Errno("ENAMETOOLONG")
  }
  const start = { parent: root, name: "/", inode: root, path: "/" }
  let slash = path.endsWith("/")
  let links = 0
  let place: Omit<Place, "slash"> = start
  const rest = namesOf(path).reverse()
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    const directory = place.inode
    if (directory === undefined) {
      throw new Errno("ENOENT")
    }
    if (directory.type !== "Directory") {
      throw new Errno("ENOTDIR")
    }
    if (!permits(directory, searchable)) {
      throw new Errno("EACCES")
    }
    if (name === ".") {
      place = { parent: directory, name, inode: directory, path: place.path }
    } else if (name === "..") {
      place = { parent: directory, name, inode: directory.parent ?? directory, path: dirname(place.path) }
    } else {
      if (encoder.encode(name).length > longestName) {
        throw new Errno("ENAMETOOLONG")
      }
      const inode = directory.entries.get(name)
      if (inode?.type === "SymbolicLink" && (follow || rest.length > 0)) {
        if (++links > mostLinks) {
          throw new Errno("ELOOP")
        }
        slash ||= rest.length === 0 && inode.target.endsWith("/")
        rest.push(...namesOf(inode.target).reverse())
        if (inode.target.startsWith("/")) {
          place = start
        }
      } else {
        place = { parent: directory, name, inode, path: place.path === "/" ? `/${name}` : `${place.path}/${name}` }
      }
    }
  }
  return { ...place, slash }
}

/** What a path leads to, which has to exist. */
export const existing = (place: Place): Inode => {
  if (place.inode === undefined) {
    throw new Errno("ENOENT")
  }
  if (place.slash && place.inode.type !== "Directory") {
    throw new Errno("ENOTDIR")
  }
  return place.inode
}

import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { checkTime } from "./arguments.js"
import { copyTree } from "./copyTree.js"
import type { Disk } from "./disk.js"
import { attempt, systemError } from "./errno.js"
import { infoOf, readable, writable } from "./inode.js"
import { makeFile } from "./openFile.js"
import { dirname, normalize } from "./walk.js"

const firstDescriptor = 3

/** The service over one disk: method by method what NodeFileSystem asks of `node:fs`, under the names its errors bear. */
export const makeFileSystem = (disk: Disk): FileSystem.FileSystem => {
  let descriptor = firstDescriptor

  const openAs = (method: string) => (path: string, options?: FileSystem.OpenFileOptions) =>
    Effect.acquireRelease(
      attempt(method, path, (now) =>
        makeFile(
          FileSystem.FileDescriptor(descriptor++),
          disk.open(path, options?.flag ?? "r", options?.mode ?? 0o666, now)
        )
      ),
      ({ close }) => close
    ).pipe(Effect.map(({ file }) => file))

  const removeAs = (method: string) => (path: string, options?: FileSystem.RemoveOptions) =>
    attempt(method, path, (now) => disk.rm(path, options?.recursive ?? false, options?.force ?? false, now))

  const makeTempDirectoryAs = (method: string) => (options?: FileSystem.MakeTempDirectoryOptions) => {
    const directory = options?.directory === undefined ? "/tmp" : normalize(options.directory)
    const prefix = options?.prefix ? normalize(`${directory}/${options.prefix}`) : `${directory}/`
    return attempt(method, prefix, (now) => {
      const path = prefix + disk.temporaryName(36, 6)
      disk.mkdir(path, 0o700, now)
      return path
    })
  }

  const makeTempFileAs = (method: string) => {
    const makeTempDirectory = makeTempDirectoryAs(method)
    const open = openAs(method)
    return (options?: FileSystem.MakeTempFileOptions) =>
      makeTempDirectory(options).pipe(
        Effect.map((directory) => normalize(`${directory}/${disk.temporaryName(16, 12)}${options?.suffix ?? ""}`)),
        Effect.tap((path) => Effect.scoped(open(path, { flag: "w+" })))
      )
  }

  const makeTempDirectoryScoped = makeTempDirectoryAs("makeTempDirectoryScoped")
  const removeTempDirectory = removeAs("makeTempDirectoryScoped")
  const makeTempFileScoped = makeTempFileAs("makeTempFileScoped")
  const removeTempFile = removeAs("makeTempFileScoped")
  const stat = (path: string) => attempt("stat", path, () => infoOf(disk.stat(path)))

  return FileSystem.make({
    access: (path, options) =>
      attempt("access", path, () =>
        disk.access(path, (options?.readable ? readable : 0) | (options?.writable ? writable : 0))
      ),
    chmod: (path, mode) => attempt("chmod", path, () => disk.chmod(path, mode)),
    chown: (path, uid, gid) => attempt("chown", path, () => disk.chown(path, uid, gid)),
    copy: (fromPath, toPath, options) =>
      attempt("copy", fromPath, (now) => copyTree(disk, fromPath, toPath, options, now)),
    copyFile: (fromPath, toPath) => attempt("copyFile", fromPath, (now) => disk.copyFile(fromPath, toPath, now)),
    link: (fromPath, toPath) => attempt("link", fromPath, (now) => disk.link(fromPath, toPath, now)),
    makeDirectory: (path, options) =>
      attempt("makeDirectory", path, (now) =>
        options?.recursive
          ? disk.mkdirs(path, options.mode ?? 0o777, now)
          : disk.mkdir(path, options?.mode ?? 0o777, now)
      ),
    makeTempDirectory: makeTempDirectoryAs("makeTempDirectory"),
    // a folder that is gone by the end of its scope is a defect there, as it is with Node
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectoryScoped(options), (directory) =>
        Effect.orDie(removeTempDirectory(directory, { recursive: true }))
      ),
    makeTempFile: makeTempFileAs("makeTempFile"),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeTempFileScoped(options), (file) =>
        Effect.orDie(removeTempFile(dirname(file), { recursive: true }))
      ),
    open: openAs("open"),
    readDirectory: (path, options) =>
      attempt("readDirectory", path, () => disk.readdir(path, options?.recursive ?? false)),
    readFile: (path) => attempt("readFile", path, (now) => disk.readFile(path, now)),
    readLink: (path) => attempt("readLink", path, () => disk.readlink(path)),
    realPath: (path) => attempt("realPath", path, () => disk.realpath(path)),
    remove: removeAs("remove"),
    rename: (oldPath, newPath) => attempt("rename", oldPath, (now) => disk.rename(oldPath, newPath, now)),
    stat,
    symlink: (target, path) => attempt("symlink", target, (now) => disk.symlink(target, path, now)),
    truncate: (path, length) => attempt("truncate", path, (now) => disk.truncate(path, Number(length ?? 0), now)),
    // NodeFileSystem calls it "utime"
    utimes: (path, atime, mtime) =>
      attempt("utime", path, (now) => disk.setTimes(path, checkTime(atime, now), checkTime(mtime, now))),
    watch: (path) => Stream.unwrap(Effect.map(stat(path), () => Stream.fail(systemError("watch", path, "ENOSYS")))),
    writeFile: (path, data, options) =>
      attempt("writeFile", path, (now) => disk.writeFile(path, data, options?.flag ?? "w", options?.mode ?? 0o666, now))
  })
}

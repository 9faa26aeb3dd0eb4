import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type ErrorCode, systemError } from "./errno.js"

type HandleMethod = "read" | "readAlloc" | "stat" | "sync" | "truncate" | "write" | "writeAll"

type PathMethod = Exclude<
  keyof FileSystem.FileSystem,
  "exists" | "readFileString" | "stream" | "sink" | "writeFileString"
>

export interface Operation {
  readonly method: PathMethod | `File.${HandleMethod}`
  readonly path: string
  readonly to?: string
}

export type Fault = (operation: Operation) => Effect.Effect<void, ErrorCode>

/** The service with `fault` asked before every operation; what it fails with, the operation fails with. */
export const makeFaulty = (inner: FileSystem.FileSystem, fault: Fault): FileSystem.FileSystem => {
  const check = (operation: Operation, target: string | number = operation.path) =>
    Effect.mapError(
      Effect.suspend(() => fault(operation)),
      (code) => systemError(operation.method.replace("File.", ""), target, code)
    )

  const guard =
    <Rest extends ReadonlyArray<unknown>, A, R>(
      method: PathMethod,
      run: (path: string, ...rest: Rest) => Effect.Effect<A, PlatformError, R>
    ) =>
    (path: string, ...rest: Rest) =>
      Effect.zipRight(check({ method, path }), run(path, ...rest))

  const guardTwo =
    <Rest extends ReadonlyArray<unknown>>(
      method: PathMethod,
      run: (path: string, to: string, ...rest: Rest) => Effect.Effect<void, PlatformError>
    ) =>
    (path: string, to: string, ...rest: Rest) =>
      Effect.zipRight(check({ method, path, to }), run(path, to, ...rest))

  const guardTemp =
    <Options extends FileSystem.MakeTempFileOptions, R>(
      method: PathMethod,
      run: (options?: Options) => Effect.Effect<string, PlatformError, R>
    ) =>
    (options?: Options) =>
      Effect.zipRight(check({ method, path: options?.directory ?? "" }), run(options))

  const guardFile = (path: string, file: FileSystem.File): FileSystem.File => {
    const before = <A>(method: HandleMethod, run: Effect.Effect<A, PlatformError>) =>
      Effect.zipRight(check({ method: `File.${method}`, path }, file.fd), run)
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: file.fd,
      stat: before("stat", file.stat),
      sync: before("sync", file.sync),
      seek: (offset, from) => file.seek(offset, from),
      read: (buffer) => before("read", file.read(buffer)),
      readAlloc: (size) => before("readAlloc", file.readAlloc(size)),
      truncate: (length) => before("truncate", file.truncate(length)),
      write: (buffer) => before("write", file.write(buffer)),
      writeAll: (buffer) => before("writeAll", file.writeAll(buffer))
    }
  }

  return FileSystem.make({
    access: guard("access", inner.access),
    chmod: guard("chmod", inner.chmod),
    chown: guard("chown", inner.chown),
    copy: guardTwo("copy", inner.copy),
    copyFile: guardTwo("copyFile", inner.copyFile),
    link: guardTwo("link", inner.link),
    makeDirectory: guard("makeDirectory", inner.makeDirectory),
    makeTempDirectory: guardTemp("makeTempDirectory", inner.makeTempDirectory),
    makeTempDirectoryScoped: guardTemp("makeTempDirectoryScoped", inner.makeTempDirectoryScoped),
    makeTempFile: guardTemp("makeTempFile", inner.makeTempFile),
    makeTempFileScoped: guardTemp("makeTempFileScoped", inner.makeTempFileScoped),
    open: guard("open", (path: string, options?: FileSystem.OpenFileOptions) =>
      Effect.map(inner.open(path, options), (file) => guardFile(path, file))
    ),
    readDirectory: guard("readDirectory", inner.readDirectory),
    readFile: guard("readFile", inner.readFile),
    readLink: guard("readLink", inner.readLink),
    realPath: guard("realPath", inner.realPath),
    remove: guard("remove", inner.remove),
    rename: guardTwo("rename", inner.rename),
    stat: guard("stat", inner.stat),
    symlink: guardTwo("symlink", inner.symlink),
    truncate: guard("truncate", inner.truncate),
    utimes: guard("utimes", inner.utimes),
    watch: (path, options) => Stream.unwrap(Effect.as(check({ method: "watch", path }), inner.watch(path, options))),
    writeFile: guard("writeFile", inner.writeFile)
  })
}

import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { allowThreads } from "./threadDelegate.js"

/** The FileSystem of Node.js, of whose files a thread that hashes them may do the reading and writing as well. */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(FileSystem.FileSystem, (fs) =>
    FileSystem.FileSystem.of({
      ...fs,
      open: (path, options) => Effect.map(fs.open(path, options), allowThreads)
    })
  )
).pipe(Layer.provide(NodeFileSystem.layer))

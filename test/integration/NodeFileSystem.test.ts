import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, type Layer } from "effect"
import * as Files from "../../src/node/files.js"
import { fileSystemContract } from "../unit/fileSystemContract.js"

const onDisk = (name: string, layer: Layer.Layer<FileSystem.FileSystem>) =>
  fileSystemContract(name, {
    layer,
    scratch: Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" }))
    }),
    permissions: process.getuid?.() !== 0
  })

// the reference: what the suite asks of the in-memory disk is what a real one does
onDisk("Node", NodeFileSystem.layer)

onDisk("Node, of whose files threads may do the work", Files.layer)

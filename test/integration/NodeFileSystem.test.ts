import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect } from "effect"
import { fileSystemContract } from "../unit/fileSystemContract.js"

// the reference: what the suite asks of the in-memory disk is what a real one does
fileSystemContract("Node", {
  layer: NodeFileSystem.layer,
  scratch: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-" }))
  }),
  permissions: process.getuid?.() !== 0
})

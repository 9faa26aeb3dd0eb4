// Run by Bun, beside the packed package: download, hit, and a failure from a server of its own.
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { Effect } from "effect"
import { ImageManager } from "smolvm-images"
import { NodeImageManager } from "smolvm-images/node"

/** Large enough for a thread. */
const rootfs = Buffer.alloc(60_000_000, "image")
const kernel = rootfs.subarray(0, 5_000_000)
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex")
let requests = 0
const server = createServer((request, response) => {
  requests++
  if (request.url === "/gone") response.writeHead(404).end()
  else {
    const bytes = request.url === "/kernel" ? kernel : rootfs
    response.writeHead(200, { "content-length": bytes.length }).end(bytes)
  }
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const url = (path) => `http://127.0.0.1:${server.address().port}${path}`

const layer = NodeImageManager.layer({
  registry: {
    here: {
      kernel: { url: url("/kernel"), sha256: sha256(kernel) },
      rootfs: { url: url("/rootfs"), sha256: sha256(rootfs) }
    },
    gone: { kernel: { url: url("/gone") }, rootfs: { url: url("/gone") } }
  }
})
const ensure = (name) => Effect.runPromise(Effect.either(ImageManager.ensureImage(name)).pipe(Effect.provide(layer)))

const first = await ensure("here")
assert.equal(first._tag, "Right")
assert.ok(rootfs.equals(readFileSync(first.right.rootfsPath)))
assert.ok(kernel.equals(readFileSync(first.right.kernelPath)))
const before = requests
assert.equal((await ensure("here"))._tag, "Right")
assert.equal(requests, before)
const gone = await ensure("gone")
assert.equal(gone.left.reason, "DownloadFailed")
server.close()
console.log("ensured on Bun")
process.exit(0)

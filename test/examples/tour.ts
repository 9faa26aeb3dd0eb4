// `npm start`: what the library does, shown and checked against a small web server of its own. It needs no internet.
import { createHash, randomBytes } from "node:crypto"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Cause, Data, Duration, Effect, Either, Equal } from "effect"
import { ImageManager, type LocalImage, type Registry } from "smolvm-images"
import { NodeImageManager } from "smolvm-images/node"
import * as ImageServer from "./imageServer.js"
import * as Print from "./print.js"

/** The tour saw something other than what it says. */
class Surprise extends Data.TaggedError("Surprise")<{ readonly message: string }> {}

/** Show a claim. One that does not hold ends the tour, with exit code 1. */
const check = (claim: string, holds: boolean) =>
  holds ? Print.entry("ok", claim) : Effect.fail(new Surprise({ message: `This does not hold: ${claim}` }))

const isSame = (some: ReadonlyArray<string>, others: ReadonlyArray<string>) => some.join("\n") === others.join("\n")

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const tour = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const server = yield* ImageServer.make
  const cacheDir = yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-tour-" })

  /** Put random bytes on the server. */
  const publish = (path: string, length: number) => {
    const content = randomBytes(length)
    server.publish(path, content)
    return { url: `${server.url}${path}`, sha256: sha256(content) }
  }
  const publishImage = (name: string) => ({
    kernel: publish(`/${name}/vmlinux.bin`, 512 * 1024),
    rootfs: publish(`/${name}/rootfs.ext4`, 4 * 1024 * 1024)
  })
  const demo = publishImage("demo")
  const flaky = publishImage("flaky")
  const forged = publishImage("forged")

  const registry: Registry.Images = {
    demo,
    flaky,
    forged: { kernel: forged.kernel, rootfs: { url: forged.rootfs.url, sha256: sha256(randomBytes(32)) } },
    other: publishImage("other")
  }
  const online = NodeImageManager.layer({ cacheDir, registry })
  const offline = NodeImageManager.layer({ cacheDir, registry, offline: true })

  /** Ensure an image; show what came of it, and what the server saw. */
  const ensure = Effect.fnUntraced(function* (name: string, manager: typeof online = online) {
    yield* Print.entry("call", `ImageManager.ensureImage("${name}")`)
    const [time, result] = yield* ImageManager.ensureImage(name).pipe(
      Effect.provide(manager),
      Effect.either,
      Effect.timed
    )
    const seen = server.takeSeen()
    for (const { answer, path, range } of seen) {
      yield* Print.entry("server saw", `GET ${path}${range === undefined ? "" : `, ${range}`}: ${answer}`)
    }
    if (seen.length === 0) yield* Print.entry("server saw", "nothing")
    const reason = Either.isLeft(result) && result.left._tag === "ImageError" ? result.left.reason : undefined
    if (Either.isRight(result)) {
      yield* Print.entry("kernelPath", result.right.kernelPath)
      yield* Print.entry("rootfsPath", result.right.rootfsPath)
    } else {
      yield* Print.entry("fails with", `${result.left._tag}, reason "${reason}"`)
      yield* Print.entry("message", result.left.message)
    }
    yield* Print.entry("time", `${Math.round(Duration.toMillis(time))} ms`)
    return { result, reason, seen, paths: seen.map(({ path }) => path).sort() }
  })

  const isOnDisk = Effect.fnUntraced(function* (image: LocalImage.LocalImage, published: typeof demo) {
    const [kernel, rootfs] = yield* Effect.all([fs.readFile(image.kernelPath), fs.readFile(image.rootfsPath)])
    return sha256(kernel) === published.kernel.sha256 && sha256(rootfs) === published.rootfs.sha256
  })

  /** The files of the images in the cache. */
  const cachedFiles = Effect.gen(function* () {
    const names = yield* fs.readDirectory(cacheDir, { recursive: true })
    return yield* Effect.filter(names.sort(), (name) =>
      Effect.map(fs.stat(join(cacheDir, name)), ({ type }) => type === "File")
    )
  })

  const entry = fileURLToPath(import.meta.resolve("smolvm-images"))
  yield* Print.entry("package", entry)
  yield* Print.entry("web server", server.url)
  yield* Print.entry("cacheDir", cacheDir)
  yield* check("the package is the built one", entry.endsWith(join("dist", "index.js")))

  yield* Print.section(
    "1. A miss",
    "The cache is empty. Both files are downloaded at the same time, checked against their SHA-256, and put in place."
  )
  const miss = yield* ensure("demo")
  const image = yield* miss.result
  yield* check("one request for each file", isSame(miss.paths, ["/demo/rootfs.ext4", "/demo/vmlinux.bin"]))
  yield* check("the files on disk are those of the server", yield* isOnDisk(image, demo))

  yield* Print.section("2. A hit", "Both files are there. They are checked again; nothing is downloaded.")
  const hit = yield* ensure("demo")
  yield* check("no request, and the same paths", hit.seen.length === 0 && Equal.equals(yield* hit.result, image))

  yield* Print.section(
    "3. A tampered file",
    "Somebody overwrites the cached rootfs. The next call notices, and repairs that one file."
  )
  yield* fs.writeFileString(image.rootfsPath, "this is not an ext4 file system")
  const repair = yield* ensure("demo")
  yield* check("one request, for the bad file only", isSame(repair.paths, ["/demo/rootfs.ext4"]))
  yield* check("the files on disk are those of the server", yield* isOnDisk(yield* repair.result, demo))

  yield* Print.section(
    "4. A wrong digest",
    "The registry expects another rootfs than the server sends. The image is refused as a whole, its good kernel too."
  )
  const before = yield* cachedFiles
  const refused = yield* ensure("forged")
  yield* check("refused with a typed error", refused.reason === "ChecksumMismatch")
  yield* check("the cache holds the same files as before", isSame(yield* cachedFiles, before))

  yield* Print.section(
    "5. A flaky server",
    "It answers 503, and then its connection breaks in the middle of the file. The library tries again, and goes on " +
      "from where the file broke off."
  )
  server.misbehave("/flaky/rootfs.ext4", [{ status: 503 }, { cutAfter: 2.5 * 1024 * 1024 }])
  const survived = yield* ensure("flaky")
  const ranges = survived.seen.filter(({ path }) => path === "/flaky/rootfs.ext4").map(({ range }) => range ?? "")
  yield* check(
    "three requests, the last one for the rest only",
    ranges.length === 3 && /^bytes=[1-9]\d*-$/.test(ranges[2] ?? "")
  )
  yield* check("the files on disk are those of the server", yield* isOnDisk(yield* survived.result, flaky))

  yield* Print.section(
    "6. Offline",
    "With the option offline: true no request is made. What is cached works; what is not cached is a typed error."
  )
  const cached = yield* ensure("demo", offline)
  yield* check("a hit works offline", cached.seen.length === 0 && Equal.equals(yield* cached.result, image))
  yield* Print.text("")
  const missing = yield* ensure("other", offline)
  yield* check("a miss is refused without a request", missing.seen.length === 0 && missing.reason === "Offline")

  return cacheDir
}).pipe(Effect.scoped)

const program = Effect.gen(function* () {
  yield* Print.text(
    "smolvm-images: a tour\n\n" +
      "A VM image is a kernel and a root file system (rootfs). This library keeps images in a cache directory and tells " +
      "where their files are. The tour starts a web server on this computer, fetches images from it, and checks each " +
      "thing it says. It needs no internet. It writes to a temporary directory, which it removes at the end.\n"
  )
  const cacheDir = yield* tour
  const fs = yield* FileSystem.FileSystem
  yield* Print.text("")
  yield* check("the temporary directory is removed", !(yield* fs.exists(cacheDir)))
  yield* Print.text("\nThe tour ends here: everything was as it says. Next: README.md.")
})

program.pipe(
  Effect.tapErrorCause((cause) => Print.entry("FAILED", Cause.pretty(cause))),
  Effect.provide([NodeFileSystem.layer, Print.logger]),
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)

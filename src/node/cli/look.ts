// The commands that only look: at the registry, and at what is where on the disk.
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { ImageError, ValueError } from "../../ImageError.js"
import type { ImageSource, Role } from "../../ImageSource.js"
import * as Lookup from "../../internal/lookup.js"
import * as Registry from "../../Registry.js"
import * as Spec from "./commands.js"
import * as Failure from "./failure.js"
import * as Held from "./held.js"
import * as Output from "./output.js"
import * as Result from "./result.js"
import { bytes, plain, table } from "./text.js"

type Command<E> = Effect.Effect<Result.Result, E, Registry.Registry>

const entryOf = (name: string, source: ImageSource): Held.Entry => ({
  name,
  architecture: source.architecture,
  description: source.description,
  files: source.files.map(({ asset, filename, role }) => ({ role, filename, size: asset.size }))
})

export const list = (cacheDir: string): Command<never> =>
  Effect.gen(function* () {
    const registry = yield* Registry.Registry
    const names = yield* Lookup.listNames(registry)
    const sources = yield* Effect.forEach(names, (name) =>
      Effect.map(registry.get(name), (source) => Option.map(source, (found) => entryOf(name, found)))
    )
    // A registry that no longer has what it listed: it is as if it had not listed it.
    const images = yield* Held.list(cacheDir, Arr.getSomes(sources))
    return Result.make(Output.List, { images }, Held.lines(images))
  })

/** The image of that name; what cannot be a name is refused. */
const lookup = (name: string): Effect.Effect<ImageSource, ImageError | ValueError, Registry.Registry> =>
  Effect.gen(function* () {
    return yield* Lookup.lookup(yield* Registry.Registry, yield* Lookup.validName(name))
  })

export const status = (cacheDir: string, name: string): Command<ImageError | ValueError> =>
  Effect.gen(function* () {
    const source = yield* lookup(name)
    const held = yield* Held.files(cacheDir, entryOf(name, source))
    const cached = Held.isCached(held)
    const files = Arr.zip(held, source.files).map(([file, { asset }]) => {
      const size = file.held ?? file.size
      const { sha256, url } = asset
      return {
        asset: file.role,
        path: file.path,
        present: file.held !== undefined,
        ...(size === undefined ? {} : { size }),
        ...(sha256 === undefined ? {} : { sha256 }),
        urls: url.map(({ display }) => display)
      }
    })
    const { architecture, description } = source
    const known = {
      ...(architecture === undefined ? {} : { architecture }),
      ...(description === undefined ? {} : { description })
    }
    const facts = [
      ["name", name],
      ["architecture", plain(architecture ?? "-")],
      ["description", plain(description ?? "-")],
      ["cached", cached ? "yes" : "no"]
    ]
    const details = files.flatMap(({ asset, path, present, sha256, size, urls }) => [
      "",
      ...table([
        [asset, path],
        ["  on disk", present ? "yes" : "no"],
        ["  size", size === undefined ? "unknown" : `${size} bytes (${bytes(size)})`],
        ["  sha256", sha256 ?? "not pinned: trusted on first use"],
        ...urls.map((url, index) => [index === 0 ? "  from" : "  or from", url])
      ])
    ])
    return Result.make(Output.Status, { name, ...known, cached, files }, [...table(facts), ...details], {
      exitCode: cached ? 0 : Failure.no
    })
  })

export const path = (cacheDir: string, name: string, asset: Role): Command<ImageError | ValueError | Failure.No> =>
  Effect.gen(function* () {
    const source = yield* lookup(name)
    const files = yield* Held.files(cacheDir, entryOf(name, source))
    const file = files.find(({ role }) => role === asset)
    if (file === undefined) {
      return yield* new Failure.No({
        message: `Image "${name}" has no ${asset}.`,
        hint: `\`${Spec.programName} status ${name}\` shows its files.`
      })
    }
    if (!Held.isCached(files)) {
      return yield* new Failure.No({
        message: `Image "${name}" is not cached.`,
        hint: `Run \`${Spec.programName} ensure ${name}\` to download it.`
      })
    }
    return Result.make(Output.Path, { name, asset, path: file.path }, [file.path])
  })

/** What is wrong with the file is the result; that it cannot be read is an error. */
export const registryCheck = (file: string): Effect.Effect<Result.Result, ImageError | ValueError> =>
  Effect.gen(function* () {
    const registry = yield* Registry.Registry
    const names = yield* Lookup.listNames(registry)
    const unpinned = yield* Effect.forEach(names, (image) =>
      Effect.map(registry.get(image), (source) =>
        Option.match(source, {
          onNone: () => [],
          onSome: ({ files }) =>
            files.flatMap(({ asset, role }) => (asset.sha256 === undefined ? [{ image, asset: role }] : []))
        })
      )
    )
    const warnings = unpinned.flat().map(({ asset, image }) => `unpinned: ${image} ${asset} has no sha256`)
    const count = `${names.length} ${names.length === 1 ? "image" : "images"}`
    return Result.make(
      Output.RegistryCheck,
      { file, valid: true, images: names, unpinned: unpinned.flat(), problems: [] },
      [`${file}: ${count}, valid`, ...warnings]
    )
  }).pipe(
    Effect.provide(Layer.provide(Registry.layerFile(file), NodeFileSystem.layer)),
    Effect.catchTag("ValueError", (error) => {
      if (error.field === "path") return Effect.fail(error)
      const { problems } = error
      const lines = problems.map(
        ({ message, path }) => `problem: ${path === "" ? "the file" : path}: ${plain(message)}`
      )
      return Effect.succeed(
        Result.make(Output.RegistryCheck, { file, valid: false, images: [], unpinned: [], problems }, lines, {
          exitCode: Failure.usage,
          errors: [error]
        })
      )
    })
  )

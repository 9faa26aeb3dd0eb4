// Compiled by tsc with everything else: what is wrong here is a type error. Vitest runs it so that it is counted.
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import {
  type Hasher,
  type Host,
  type ImageError,
  ImageManager,
  ImageSource,
  type LocalImage,
  Registry,
  type Sha256
} from "../../src/index.js"
import { NodeHasher, NodeHost, type NodeImageManager } from "../../src/node/index.js"
import { MemoryFileSystem, StubHasher, StubHttpClient } from "../../src/testing/index.js"

type Failure = ImageError.ImageError | ImageError.ValueError
type Services = Registry.Registry | Hasher.Hasher | FileSystem.FileSystem | Path.Path | HttpClient.HttpClient

describe("types", () => {
  it("of the operations", () => {
    expectTypeOf(ImageManager.listAvailable).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<string>, never, ImageManager.ImageManager>
    >()
    expectTypeOf(ImageManager.isCached).toEqualTypeOf<
      (name: string) => Effect.Effect<boolean, ImageError.ValueError, ImageManager.ImageManager>
    >()
    expectTypeOf(ImageManager.ensureImage).toEqualTypeOf<
      (name: string) => Effect.Effect<LocalImage.LocalImage, Failure, ImageManager.ImageManager>
    >()
  })

  it("of the service: its methods need nothing", () => {
    type Service = ImageManager.ImageManager["Type"]
    expectTypeOf<Service["listAvailable"]>().toEqualTypeOf<Effect.Effect<ReadonlyArray<string>>>()
    expectTypeOf<Service["isCached"]>().toEqualTypeOf<(name: string) => Effect.Effect<boolean, ImageError.ValueError>>()
    expectTypeOf<Service["ensureImage"]>().toEqualTypeOf<
      (name: string) => Effect.Effect<LocalImage.LocalImage, Failure>
    >()
  })

  it("of the manager's layers", () => {
    expectTypeOf(ImageManager.layer).toEqualTypeOf<
      (options: ImageManager.Options) => Layer.Layer<ImageManager.ImageManager, ImageError.ValueError, Services>
    >()
    expectTypeOf<ImageManager.Options["cacheDir"]>().toEqualTypeOf<string>()
    expectTypeOf<ReturnType<typeof NodeImageManager.layer>>().toEqualTypeOf<
      Layer.Layer<ImageManager.ImageManager, ImageError.ValueError>
    >()
    expectTypeOf<Parameters<typeof NodeImageManager.layer>>().toEqualTypeOf<[options?: NodeImageManager.Options]>()
    expectTypeOf<NodeImageManager.Options["cacheDir"]>().toEqualTypeOf<string | undefined>()
    expectTypeOf<NodeImageManager.Options["registry"]>().toEqualTypeOf<Registry.Images | undefined>()
  })

  it("of the registry and its layers", () => {
    expectTypeOf<Registry.Registry["Type"]>().toEqualTypeOf<{
      readonly list: Effect.Effect<ReadonlyArray<string>>
      readonly get: (name: string) => Effect.Effect<Option.Option<ImageSource.ImageSource>>
    }>()
    expectTypeOf(Registry.layer).toEqualTypeOf<
      (images: Registry.Images) => Layer.Layer<Registry.Registry, ImageError.ValueError>
    >()
    expectTypeOf(Registry.layerBuiltIn).toEqualTypeOf<Layer.Layer<Registry.Registry>>()
    expectTypeOf(Registry.layerFile).toEqualTypeOf<
      (path: string) => Layer.Layer<Registry.Registry, Failure, FileSystem.FileSystem>
    >()
    const overlaid = Registry.layerFile("/x").pipe(Registry.overlay(Registry.layerBuiltIn))
    expectTypeOf(overlaid).toEqualTypeOf<Layer.Layer<Registry.Registry, Failure, FileSystem.FileSystem>>()
    expectTypeOf(Registry.overlay(Registry.layerBuiltIn, Registry.layer({}))).toEqualTypeOf<
      Layer.Layer<Registry.Registry, ImageError.ValueError>
    >()
  })

  it("of what a registry takes", () => {
    expectTypeOf<{ x: ImageSource.ImageSource }>().toExtend<Registry.Images>()
    expectTypeOf<{
      x: { kernel: { url: string }; rootfs: { url: [string, string]; sha256: string } }
    }>().toExtend<Registry.Images>()
    expectTypeOf<{
      x: {
        kernel: { url: Redacted.Redacted; size: number; filename: string }
        rootfs: { url: { url: string; headers: { authorization: Redacted.Redacted } } }
        initrd: { url: string }
        description: string
        architecture: string
      }
    }>().toExtend<Registry.Images>()
    expectTypeOf<{ x: { kernel: { url: string } } }>().not.toExtend<Registry.Images>()
    expectTypeOf<{ x: { kernel: { url: number }; rootfs: { url: string } } }>().not.toExtend<Registry.Images>()
    expectTypeOf<{ x: { kernel: { url: [] }; rootfs: { url: string } } }>().not.toExtend<Registry.Images>()
    expectTypeOf<{
      x: { kernel: { url: string; sha256: undefined }; rootfs: { url: string } }
    }>().not.toExtend<Registry.Images>()
    const asset = { url: "https://example.test/a" }
    // @ts-expect-error a misspelt key is seen by the compiler, too
    Registry.layer({ x: { kernel: { ...asset, sha265: "" }, rootfs: asset } })
  })

  it("of the vocabulary", () => {
    expectTypeOf<typeof LocalImage.LocalImage.Encoded>().toEqualTypeOf<{
      readonly name: string
      readonly kernelPath: string
      readonly rootfsPath: string
      readonly initrdPath?: string
    }>()
    expectTypeOf<ImageSource.Asset["sha256"]>().toEqualTypeOf<Sha256.Sha256 | undefined>()
    expectTypeOf(Schema.decodeUnknown(ImageSource.ImageSource)).returns.toExtend<
      Effect.Effect<ImageSource.ImageSource, unknown>
    >()
    expectTypeOf<ImageError.ImageError["_tag"]>().toEqualTypeOf<"ImageError">()
    expectTypeOf<ImageError.ValueError["_tag"]>().toEqualTypeOf<"ValueError">()
    expectTypeOf<
      "UnknownImage" | "DownloadFailed" | "ChecksumMismatch" | "StorageFailed"
    >().toExtend<ImageError.Reason>()
    expectTypeOf<ImageError.ImageError["reason"]>().toEqualTypeOf<ImageError.Reason>()
  })

  it("of the hasher, and of what tests put in its place", () => {
    expectTypeOf<Hasher.Hasher["Type"]["start"]>().toEqualTypeOf<
      (known?: Hasher.Start) => Effect.Effect<Hasher.Digest, never, Scope.Scope>
    >()
    expectTypeOf(NodeHasher.layer).toEqualTypeOf<Layer.Layer<Hasher.Hasher>>()
    expectTypeOf(NodeHost.layer).toEqualTypeOf<Layer.Layer<Host.Host>>()
    expectTypeOf(StubHasher.layer()).toEqualTypeOf<Layer.Layer<Hasher.Hasher>>()
    expectTypeOf(MemoryFileSystem.layer).toEqualTypeOf<Layer.Layer<FileSystem.FileSystem>>()
    expectTypeOf(StubHttpClient.layer({})).toExtend<Layer.Layer<HttpClient.HttpClient>>()
  })
})

import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Layer from "effect/Layer"
import type { ImageError, ValueError } from "../ImageError.js"
import * as Registry from "../Registry.js"

/** Registry files over the built-in images; where several have an image, the last one wins. */
export const layerRegistry = (
  files: ReadonlyArray<string>
): Layer.Layer<Registry.Registry, ImageError | ValueError, FileSystem.FileSystem> =>
  files.reduce<Layer.Layer<Registry.Registry, ImageError | ValueError, FileSystem.FileSystem>>(
    (base, file) => Registry.overlay(Registry.layerFile(file), base),
    Registry.layerBuiltIn
  )

// Compiled twice by `npm test`: in this checkout against src, and by a strict compiler in a fresh project against the
// packed tarball, where Node then runs it. It says what the public signatures are, exactly.
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { type ImageError, ImageManager, type LocalImage, Registry } from "smolvm-images"
import { NodeImageManager } from "smolvm-images/node"
import * as Testing from "smolvm-images/testing"

type Exactly<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : { readonly got: A; readonly wanted: B }

type Failure = ImageError.ImageError | ImageError.ValueError
type Needs = ImageManager.ImageManager

type Checks = readonly [
  Exactly<typeof ImageManager.listAvailable, Effect.Effect<ReadonlyArray<string>, never, Needs>>,
  Exactly<ReturnType<typeof ImageManager.isCached>, Effect.Effect<boolean, ImageError.ValueError, Needs>>,
  Exactly<ReturnType<typeof ImageManager.ensureImage>, Effect.Effect<LocalImage.LocalImage, Failure, Needs>>,
  Exactly<ReturnType<typeof Registry.layer>, Layer.Layer<Registry.Registry, ImageError.ValueError>>,
  Exactly<typeof Registry.layerBuiltIn, Layer.Layer<Registry.Registry>>,
  Exactly<ReturnType<typeof NodeImageManager.layer>, Layer.Layer<Needs, ImageError.ValueError>>
]

export const checks: Checks = [true, true, true, true, true, true]

/** Infers, rather than names, the type of a call as the README writes it. */
export const ensured = ImageManager.ensureImage("x")
export const ensuredExactly: Exactly<
  typeof ensured,
  Effect.Effect<LocalImage.LocalImage, Failure, ImageManager.ImageManager>
> = true

// Each entry loads, and has something in it.
for (const [entry, module] of Object.entries({ ImageManager, Registry, NodeImageManager, Testing })) {
  if (Object.keys(module).length === 0) throw new Error(`${entry} is empty`)
}

/**
 * What a registry says about an image: which files it has, where they come from, and their digests.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { AssetUrls } from "./AssetUrl.js"
import { Sha256 } from "./Sha256.js"

/**
 * What a file of an image is for.
 *
 * @since 0.1.0
 * @category models
 */
export type Role = typeof Role.Type

/**
 * The schema of the roles, in the order in which files are named everywhere.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Role = Schema.Literal("kernel", "rootfs", "initrd")

/**
 * A plain base name of a file: one path component without separators, drive letters or control characters, not starting
 * with a dot, at most 200 bytes in UTF-8.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Filename = Schema.String.pipe(
  Schema.filter(
    (name) =>
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
      !/[/\\:\u0000-\u001f\u007f]/.test(name) &&
      name !== "" &&
      name.trim() === name &&
      !name.startsWith(".") &&
      !/[\ud800-\udfff]/u.test(name) && // a lone surrogate has no UTF-8 form
      new TextEncoder().encode(name).length <= 200,
    {
      identifier: "Filename",
      message: () =>
        'must be a plain file name: no "/", "\\", ":" or control character, no leading dot, no blanks around it, at most 200 bytes'
    }
  )
)

/**
 * One file of an image.
 *
 * @since 0.1.0
 * @category models
 */
export class Asset extends Schema.Class<Asset>("smolvm-images/Asset")({
  /** Where the bytes come from: the origin, then its mirrors. */
  url: AssetUrls,
  /** The digest of the file. Without it the asset is trusted on first use, with a warning. */
  sha256: Schema.optionalWith(Sha256, { exact: true }),
  /** The exact length of the file in bytes. */
  size: Schema.optionalWith(
    Schema.Number.pipe(
      Schema.filter((size) => Number.isSafeInteger(size) && size > 0, {
        identifier: "Size",
        jsonSchema: { type: "integer", minimum: 1 },
        arbitrary: () => (fc) => fc.integer({ min: 1, max: 2 ** 40 }),
        message: () => "must be a positive whole number of bytes"
      })
    ),
    { exact: true }
  ),
  /** The base name in the cache; by default the one of {@link defaultFilename}. */
  filename: Schema.optionalWith(Filename, { exact: true })
}) {}

/**
 * The base names that the reference implementation uses in its cache.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultFilename: { readonly [K in Role]: string } = {
  kernel: "vmlinux.bin",
  rootfs: "rootfs.ext4",
  initrd: "initrd.img"
}

/**
 * A downloadable image: a kernel, a root file system and, for some, an initial RAM disk.
 *
 * @since 0.1.0
 * @category models
 */
export class ImageSource extends Schema.Class<ImageSource>("smolvm-images/ImageSource")(
  Schema.Struct({
    kernel: Asset,
    rootfs: Asset,
    initrd: Schema.optionalWith(Asset, { exact: true }),
    /** For people: contents, size, use. */
    description: Schema.optionalWith(Schema.String, { exact: true }),
    /** The machine it runs on, such as `x86_64` or `aarch64`. */
    architecture: Schema.optionalWith(
      Schema.String.pipe(
        Schema.filter((name) => name !== "" && name.trim() === name, {
          identifier: "Architecture",
          message: () => "must be a name such as x86_64, with no blanks around it"
        })
      ),
      { exact: true }
    )
  }).pipe(
    Schema.filter(
      (source) => {
        // Compared as a case-insensitive, normalising file system would.
        const names = filesOf(source).map(({ filename }) => filename.normalize("NFC").toLowerCase())
        return new Set(names).size === names.length
      },
      { message: () => "two assets of one image must not have the same filename" }
    )
  )
) {
  /** The image's files in a fixed order: kernel, rootfs, initrd. */
  get files(): ReadonlyArray<ImageFile> {
    return filesOf(this)
  }
}

/**
 * One asset of an image together with its role and its base name in the cache.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageFile {
  readonly role: Role
  readonly filename: string
  readonly asset: Asset
}

const filesOf = (source: { readonly [K in Role]?: Asset }): ReadonlyArray<ImageFile> =>
  Role.literals.flatMap((role) => {
    const asset = source[role]
    return asset === undefined ? [] : [{ role, asset, filename: asset.filename ?? defaultFilename[role] }]
  })

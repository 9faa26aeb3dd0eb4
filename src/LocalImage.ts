/**
 * What `ensureImage` returns: the files of one image on disk.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A locally cached image. All paths are absolute; each held exactly the pinned bytes when it was returned. Boot from the
 * files read-only or from a copy: a guest that writes to the rootfs makes it fail its next verification.
 *
 * @since 0.1.0
 * @category models
 */
export class LocalImage extends Schema.Class<LocalImage>("smolvm-images/LocalImage")({
  /** The image's name in the registry. */
  name: Schema.String,
  /** The kernel: what goes to a VMM's kernel option. */
  kernelPath: Schema.String,
  /** The root file system image. */
  rootfsPath: Schema.String,
  /** The initial RAM disk, when the image has one. */
  initrdPath: Schema.optionalWith(Schema.String, { exact: true })
}) {}

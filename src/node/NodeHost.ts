/**
 * The `Host` of Node.js.
 *
 * @since 0.1.0
 */
import { constants, copyFile } from "node:fs"
import type { Duplex } from "node:stream"
import * as zlib from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Host, type HostService } from "../Host.js"

const decoders: ReadonlyMap<string, () => Duplex> = new Map([
  ["gzip", () => zlib.createGunzip()],
  ["x-gzip", () => zlib.createGunzip()],
  ["deflate", () => zlib.createInflate()],
  ["br", () => zlib.createBrotliDecompress()]
])

const host: HostService = {
  disk: Option.some("node"),
  clone: (from, to) =>
    Effect.async<boolean>((resume) => {
      copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL, (error) =>
        resume(Effect.succeed(error === null))
      )
    }),
  decompress: (encoding) =>
    Option.fromNullable(decoders.get(encoding)).pipe(
      Option.map(
        (decoder) => (encoded) =>
          NodeStream.pipeThroughDuplex(encoded, decoder, (error) =>
            error instanceof Error ? error : new Error(String(error))
          )
      )
    )
}

/**
 * Reflinks, Content-Encodings and the name of the disk. Add it wherever `ImageManager.layer` is composed by hand on Node.js.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Host> = Layer.succeed(Host, host)

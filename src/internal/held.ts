import * as Effect from "effect/Effect"
import type { AssetUrl } from "../AssetUrl.js"
import type { ImageError } from "../ImageError.js"
import type { Report } from "./report.js"
import type { Staged } from "./staging.js"

/** One asset on its way into its staged file, over as many requests as it takes. */
export interface Transfer {
  readonly staged: Staged
  /** The digest is known beforehand, so that bytes of different sources may be put together. */
  readonly pinned: boolean
  readonly size: number | undefined
  /** The most bytes an asset without a pinned size may have. */
  readonly maxSize: number
  /** Where the bytes in the staged file came from. */
  held: Held
  /** The most bytes the staged file ever held. */
  highWater: number
  /** How often bytes were thrown away. */
  restarts: number
  /** How many requests were made, redirects not counted. */
  requests: number
  /** More connections are worth a try: they have not failed to help yet. */
  divisible: boolean
  /** How many bytes were taken, those thrown away included. */
  received: number
  readonly report: Report
}

export interface Held {
  readonly source: AssetUrl | undefined
  /** A strong ETag or a Last-Modified date of `source`. */
  readonly validator: string | undefined
  /** The length of the whole file, as announced. */
  readonly total: number | undefined
  /** How many responses contributed. */
  readonly responses: number
  /** The bytes are as the server holds them, so that a range can go on from them. */
  readonly plain: boolean
  /** The end of the file was told by a length or a frame, not by the end of the connection, which may as well be a cut. */
  readonly delimited: boolean
}

const nothing: Held = {
  source: undefined,
  validator: undefined,
  total: undefined,
  responses: 0,
  plain: true,
  delimited: true
}

export const makeTransfer = (
  staged: Staged,
  report: Report,
  asset: { readonly pinned: boolean; readonly size: number | undefined; readonly maxSize: number }
): Transfer => ({
  ...asset,
  staged,
  // What a killed process left behind is one piece, of unknown source.
  held: { ...nothing, responses: staged.position() === 0 ? 0 : 1 },
  highWater: staged.position(),
  restarts: 0,
  requests: 0,
  divisible: true,
  received: 0,
  report
})

/** Throw away what the transfer holds. */
export const startOver = (transfer: Transfer): Effect.Effect<void, ImageError> =>
  Effect.suspend(() => {
    transfer.held = nothing
    if (transfer.staged.position() === 0) return Effect.void
    transfer.restarts++
    return transfer.staged.restart
  })

/** Take the next bytes of the file. */
export const append = (transfer: Transfer, bytes: Uint8Array): Effect.Effect<void, ImageError> =>
  Effect.zipRight(
    transfer.staged.append(bytes),
    Effect.suspend(() => {
      transfer.received += bytes.length
      transfer.highWater = Math.max(transfer.highWater, transfer.staged.position())
      return transfer.report.moves(transfer)
    })
  )

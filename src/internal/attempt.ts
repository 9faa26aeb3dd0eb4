import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AssetUrl } from "../AssetUrl.js"
import type { ImageError } from "../ImageError.js"
import { interpret } from "./answer.js"
import { copyFile } from "./copyFile.js"
import { AttemptFailure } from "./failure.js"
import { startOver, type Transfer } from "./held.js"
import { type ReceiveOptions, receive } from "./receive.js"
import { open } from "./request.js"

/** What bounds one attempt, and which world it is made in. */
export interface AttemptOptions extends ReceiveOptions {
  readonly client: HttpClient.HttpClient
  /** From a request to the head of its response. */
  readonly responseTimeout: Duration.DurationInput
}

/**
 * Bring one source's bytes into the staged file, going on from what is there if the source agrees. Succeeds when the file
 * is complete as far as lengths can tell; on failure what arrived stays, for the next attempt to go on from.
 */
export const attempt = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  /** Fetch the file in one piece. */
  whole: boolean
): Effect.fn.Return<void, AttemptFailure | ImageError, FileSystem.FileSystem | Path.Path> {
  if (source.protocol === "file:") {
    transfer.requests++
    return yield* Effect.scoped(copyFile(options, transfer, source))
  }
  if (whole || !isResumable(transfer, source)) yield* startOver(transfer)
  const refusal = yield* Effect.scoped(request(options, transfer, source))
  if (refusal === undefined) return

  yield* Effect.logWarning(`${source.display}: ${refusal}; beginning again`)
  yield* startOver(transfer)
  const again = yield* Effect.scoped(request(options, transfer, source))
  if (again !== undefined) {
    return yield* new AttemptFailure({ reason: "DownloadFailed", transient: true, detail: again })
  }
})

/** Whether more bytes of this source may follow those held: surely the same file, or checked by its digest in the end. */
const isResumable = ({ held, pinned }: Transfer, source: AssetUrl): boolean =>
  held.plain && (pinned || (held.source === source && held.validator !== undefined))

/** One request. Returns why the server would not go on from what is held, if it would not. */
const request = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl
): Effect.fn.Return<string | undefined, AttemptFailure | ImageError, Scope.Scope> {
  const { held, maxSize, size, staged } = transfer
  const offset = staged.position()
  const validator = held.source === source ? held.validator : undefined
  transfer.requests++
  const response = yield* open(options.client, source, { offset, ifRange: validator }, options.responseTimeout)
  const answer = yield* interpret(response, { offset, validator, total: held.total, size, maxSize })
  switch (answer._tag) {
    case "Complete":
      return undefined
    case "Refusal":
      return answer.detail
    case "Body":
      yield* receive(options, transfer, source, response, answer)
      return undefined
  }
})

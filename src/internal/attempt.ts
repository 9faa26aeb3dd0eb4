import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AssetUrl } from "../AssetUrl.js"
import type { ImageError } from "../ImageError.js"
import { interpret, isPart, offersRanges, validatorOf } from "./answer.js"
import { copyFile } from "./copyFile.js"
import { AttemptFailure } from "./failure.js"
import { append, startOver, type Transfer } from "./held.js"
import { limited } from "./keyedMutex.js"
import { firstOf } from "./race.js"
import { type ReceiveOptions, receive } from "./receive.js"
import { open } from "./request.js"
import { fetchInSegments, type Segment } from "./segments.js"
import { makeMeter, stallWatch } from "./stall.js"
import * as Telemetry from "./telemetry.js"

/** What bounds one attempt, and which world it is made in. */
export interface AttemptOptions extends ReceiveOptions {
  readonly client: HttpClient.HttpClient
  /** The most connections for one asset. */
  readonly connections: number
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
  let refused = false
  for (;;) {
    const outcome = yield* Effect.scoped(round(options, transfer, source, !whole && options.connections > 1))
    switch (outcome._tag) {
      case "Complete":
        return
      case "Refused":
        if (refused) {
          return yield* new AttemptFailure({ reason: "DownloadFailed", transient: true, detail: outcome.detail })
        }
        refused = true
        yield* Effect.logWarning(`${source.display}: ${outcome.detail}; beginning again`)
        yield* startOver(transfer)
        break
      case "Divisible":
        break // what several connections have left is for one
    }
  }
})

/** One span for each request, with the attributes of OpenTelemetry's HTTP and error conventions; no URL, for its secrets. */
const traced =
  (transfer: Transfer, source: AssetUrl) =>
  <A, R>(effect: Effect.Effect<A, AttemptFailure | ImageError, R>): Effect.Effect<A, AttemptFailure | ImageError, R> =>
    Effect.suspend(() => {
      const { received, requests } = transfer
      return effect.pipe(
        Telemetry.timed(Telemetry.attemptDuration),
        Effect.tapError((error) =>
          Effect.annotateCurrentSpan({
            "error.type": error.reason,
            ...(error.status === undefined ? {} : { "http.response.status_code": error.status })
          })
        ),
        Effect.ensuring(
          Effect.suspend(() => Effect.annotateCurrentSpan("smolvm_images.bytes", transfer.received - received))
        ),
        Effect.withSpan("ImageManager.attempt", {
          kind: "client",
          attributes: {
            "http.request.method": "GET",
            "http.request.resend_count": requests,
            "server.address": source.host
          }
        })
      )
    })

/** Whether more bytes of this source may follow those held: surely the same file, or checked by its digest in the end. */
const isResumable = ({ held, pinned }: Transfer, source: AssetUrl): boolean =>
  held.plain && (pinned || (held.source === source && held.validator !== undefined))

/** How a request ended, if it did not fail. */
type Outcome =
  | { readonly _tag: "Complete" }
  /** The server would not go on from what is held. */
  | { readonly _tag: "Refused"; readonly detail: string }
  /** The connection is the limit, and the rest, up to `total`, can be fetched over several. */
  | { readonly _tag: "Divisible"; readonly rate: number; readonly total: number }

/** One request, and what several connections bring of the rest. */
const round = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  mayDivide: boolean
): Effect.fn.Return<Outcome, AttemptFailure | ImageError, Scope.Scope> {
  const scope = yield* Effect.scope
  // Not in the scope of the request: in between and from then on the space would be for others to take.
  const claimSpace: AttemptOptions["claimSpace"] = (remaining) => Scope.extend(options.claimSpace(remaining), scope)
  const requested = Effect.scoped(request({ ...options, claimSpace }, transfer, source, mayDivide))
  const outcome = yield* traced(transfer, source)(requested)
  if (outcome._tag !== "Divisible") return outcome
  const complete = yield* Effect.withSpan(divide(options, transfer, source, outcome), "ImageManager.divide")
  return complete ? { _tag: "Complete" } : outcome
})

/** One request with its body. */
const request = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  mayDivide: boolean
): Effect.fn.Return<Outcome, AttemptFailure | ImageError, Scope.Scope> {
  const { held, maxSize, size, staged } = transfer
  const offset = staged.position()
  const validator = held.source === source ? held.validator : undefined
  transfer.requests++
  const response = yield* open(options.client, source, { offset, ifRange: validator }, options.responseTimeout)
  yield* Effect.annotateCurrentSpan("http.response.status_code", response.status)
  const answer = yield* interpret(response, { offset, validator, total: held.total, size, maxSize })
  switch (answer._tag) {
    case "Complete":
      // What is there was not all brought by one response: if it is wrong, it is worth another try.
      transfer.held = { ...held, responses: held.responses + 1 }
      return { _tag: "Complete" }
    case "Refusal":
      return { _tag: "Refused", detail: answer.detail }
    case "Body": {
      const { encoding, total } = answer
      const resumable = encoding === undefined && (transfer.pinned || validatorOf(response) !== undefined)
      const divisible = mayDivide && transfer.divisible && resumable && offersRanges(response)
      const rate = yield* receive(options, transfer, source, response, answer, divisible)
      return rate === undefined || total === undefined ? { _tag: "Complete" } : { _tag: "Divisible", rate, total }
    }
  }
})

/** The most parts that are fetched from one host at a time, over all files that are divided; as many as browsers fetch. */
const connectionsPerHost = 6

/** Fetch the rest over several connections. Tells whether the file is complete; if not, one goes on with what is left. */
const divide = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  { rate, total }: Extract<Outcome, { readonly _tag: "Divisible" }>
): Effect.fn.Return<boolean, AttemptFailure | ImageError> {
  const { held, staged } = transfer
  const meter = makeMeter()
  // The parts are checked against what is held, and all of it against the digest; but it comes from several responses.
  transfer.held = { ...held, total, responses: held.responses + 1 }
  // Whatever comes of it: it is tried once.
  transfer.divisible = false
  const read = ({ end, start }: Segment) =>
    Stream.unwrapScoped(
      Effect.gen(function* () {
        transfer.requests++
        const from = { offset: start, end, ifRange: held.validator }
        const response = yield* open(options.client, source, from, options.responseTimeout)
        if (isPart(response, { start, end, total, validator: held.validator })) return response.body
        return yield* new AttemptFailure({
          reason: "DownloadFailed",
          transient: false,
          detail: "the server did not send the part that was asked for"
        })
      })
    ).pipe(
      Stream.tap((bytes) =>
        Effect.sync(() => {
          meter.received += bytes.length
        })
      )
    )
  const take = Effect.fnUntraced(function* (bytes: Uint8Array) {
    meter.waiting = false
    yield* append(transfer, bytes)
    meter.waiting = true
  })
  const bounded = limited(`connections to ${source.host}`, connectionsPerHost)
  const fetching = fetchInSegments(
    { connections: options.connections, rate, read, bounded },
    { start: staged.position(), end: total },
    take
  )
  yield* transfer.report.begins(transfer, source.display)
  yield* firstOf(fetching, stallWatch(options, meter)).pipe(
    // One connection may still do what several could not.
    Effect.catchTag("AttemptFailure", (failure) =>
      Effect.logDebug(`${source.display}: ${failure.detail}; going on with one connection`)
    ),
    Effect.ensuring(transfer.report.ends(transfer))
  )
  return staged.position() === total
})

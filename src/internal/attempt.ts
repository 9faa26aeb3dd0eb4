import type * as HttpClient from "@effect/platform/HttpClient"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AssetUrl } from "../AssetUrl.js"
import type { HostService } from "../Host.js"
import type { ImageError } from "../ImageError.js"
import { type Answer, interpret, tooLong, validatorOf } from "./answer.js"
import { AttemptFailure } from "./failure.js"
import { type Opened, open } from "./request.js"
import { recognise, sniffLength } from "./sniff.js"
import type { Staged } from "./staging.js"

/** What bounds one request, and which world it is made in. */
export interface AttemptOptions {
  readonly client: HttpClient.HttpClient
  readonly host: HostService
  /** From the request to the head of its response. */
  readonly responseTimeout: Duration.DurationInput
  /** A body that brings less than `stallBytes` in `stallWindow` has stalled. */
  readonly stallWindow: Duration.DurationInput
  readonly stallBytes: number
}

/** One asset on its way into its staged file, over as many requests as it takes. */
export interface Transfer {
  readonly staged: Staged
  /** The digest is known beforehand, so that bytes of different sources may be put together. */
  readonly pinned: boolean
  readonly size: number | undefined
  readonly maxSize: number
  /** Where the bytes in the staged file came from. */
  held: Held
  /** The most bytes the staged file ever held. */
  highWater: number
  /** How often bytes were thrown away. */
  restarts: number
}

interface Held {
  readonly source: AssetUrl | undefined
  /** A strong ETag or a Last-Modified date of `source`. */
  readonly validator: string | undefined
  /** The length of the whole file, as announced. */
  readonly total: number | undefined
  /** How many responses contributed. */
  readonly responses: number
  /** The bytes are as the server holds them, so that a range can go on from them. */
  readonly plain: boolean
}

const nothing: Held = { source: undefined, validator: undefined, total: undefined, responses: 0, plain: true }

export const makeTransfer = (
  staged: Staged,
  asset: { readonly pinned: boolean; readonly size: number | undefined; readonly maxSize: number }
): Transfer => ({ ...asset, staged, held: nothing, highWater: 0, restarts: 0 })

/** Throw away what the transfer holds. */
export const startOver = (transfer: Transfer): Effect.Effect<void, ImageError> =>
  Effect.suspend(() => {
    transfer.held = nothing
    if (transfer.staged.position() === 0) return Effect.void
    transfer.restarts++
    return transfer.staged.restart
  })

/**
 * Make one request and move its body into the staged file, going on from what is there if the source agrees. Succeeds when
 * the file is complete as far as lengths can tell; on failure what arrived stays, for the next attempt to go on from.
 */
export const attempt = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  /** Fetch the file in one piece. */
  whole: boolean
): Effect.fn.Return<void, AttemptFailure | ImageError, Scope.Scope> {
  const validator = transfer.held.source === source ? transfer.held.validator : undefined
  const resumable = transfer.held.plain && (transfer.pinned || validator !== undefined)
  if (whole || !resumable) yield* startOver(transfer)
  const offset = transfer.staged.position()

  const response = yield* open(options.client, source, { offset, ifRange: validator }, options.responseTimeout)
  const answer = yield* interpret(response, { ...transfer, offset, validator, total: transfer.held.total })
  switch (answer._tag) {
    case "Complete":
      return
    case "Restart":
      yield* startOver(transfer)
      return yield* new AttemptFailure({ reason: "DownloadFailed", transient: true, detail: answer.detail })
    case "Body":
      return yield* receive(options, transfer, source, response, answer)
  }
})

/** Read a body into the staged file, under watch for a stall. */
const receive = Effect.fnUntraced(function* (
  options: AttemptOptions,
  transfer: Transfer,
  source: AssetUrl,
  response: Opened,
  answer: Extract<Answer, { readonly _tag: "Body" }>
): Effect.fn.Return<void, AttemptFailure | ImageError, Scope.Scope> {
  const { staged, size, maxSize } = transfer
  const { total, offset } = answer
  const body = yield* decoded(options.host, response, answer.encoding)
  const limit = Math.min(size ?? total ?? maxSize, maxSize)
  const limitName =
    limit === size ? "its pinned size" : limit === total ? "the announced length" : "the largest size allowed"
  const meter: Meter = { received: 0, waiting: true }
  let resuming = offset > 0
  let head: Uint8Array | undefined = new Uint8Array(0)

  /** The first bytes decide whether this is an image at all; only then may they take the place of what is held. */
  const begin = (first: Uint8Array) =>
    Effect.gen(function* () {
      head = undefined
      if (first.length === 0) return
      if (!resuming) {
        const impostor = recognise(first, response.header("content-type"))
        if (impostor !== undefined) {
          return yield* new AttemptFailure({
            reason: "UnexpectedContent",
            transient: false,
            status: response.status,
            detail: `${impostor.kind} came instead, beginning ${JSON.stringify(response.redact(impostor.firstLine))}`
          })
        }
        yield* startOver(transfer)
        resuming = true
      }
      transfer.held = {
        source,
        validator: validatorOf(response),
        total,
        responses: transfer.held.responses + 1,
        plain: answer.encoding === undefined
      }
      yield* append(first)
    })

  const append = (bytes: Uint8Array): Effect.Effect<void, AttemptFailure | ImageError> => {
    if (staged.position() + bytes.length > limit) {
      return Effect.fail(tooLong(limit, limitName, staged.position() + bytes.length))
    }
    return Effect.zipRight(
      staged.append(bytes),
      Effect.sync(() => {
        transfer.highWater = Math.max(transfer.highWater, staged.position())
      })
    )
  }

  const take = (bytes: Uint8Array): Effect.Effect<void, AttemptFailure | ImageError> => {
    meter.received += bytes.length
    if (head === undefined) return append(bytes)
    head = head.length === 0 ? bytes.slice() : concat(head, bytes)
    return resuming || head.length >= sniffLength ? begin(head) : Effect.void
  }

  const read = Effect.gen(function* () {
    const pull = yield* Stream.toPull(body)
    for (;;) {
      meter.waiting = true
      const chunk = yield* Effect.matchEffect(pull, {
        onFailure: Option.match({ onNone: () => Effect.succeedNone, onSome: Effect.fail }),
        onSuccess: Effect.succeedSome
      })
      meter.waiting = false
      if (Option.isNone(chunk)) return
      for (const bytes of Chunk.toReadonlyArray(chunk.value)) yield* take(bytes)
    }
  }).pipe(
    Effect.catchTag("AttemptFailure", (failure) =>
      // What arrived before the break counts, be it ever so little.
      Effect.zipRight(head === undefined ? Effect.void : begin(head), Effect.fail(failure))
    ),
    Effect.zipRight(Effect.suspend(() => (head === undefined ? Effect.void : begin(head))))
  )

  const complete = total ?? size
  yield* Effect.raceFirst(read, stallWatch(options, meter)).pipe(
    Effect.catchTag("AttemptFailure", (failure) =>
      // A connection that breaks after the last byte has done its work.
      failure.transient && complete !== undefined && staged.position() === complete ? Effect.void : failure
    )
  )
  const position = staged.position()
  if (meter.received === 0 || position === 0) {
    return yield* new AttemptFailure({ reason: "DownloadFailed", transient: true, detail: "the body was empty" })
  }
  if (complete !== undefined && position < complete) {
    return yield* new AttemptFailure({
      reason: "DownloadFailed",
      transient: true,
      detail: `the body ended early, after ${position} of ${complete} bytes`,
      expected: String(complete),
      actual: String(position)
    })
  }
})

interface Meter {
  received: number
  /** The network is to deliver; otherwise the disk is being waited for. */
  waiting: boolean
}

/** Fails when the network brings too little for a whole window. Time in which the consumer is busy does not count. */
const stallWatch = (
  { stallWindow, stallBytes }: AttemptOptions,
  meter: Meter
): Effect.Effect<never, AttemptFailure> => {
  const ticks = 10
  const tick = Duration.unsafeDivide(Duration.decode(stallWindow), ticks)
  const watch = (waited: number, since: number): Effect.Effect<never, AttemptFailure> =>
    Effect.flatMap(Effect.sleep(tick), () => {
      if (!meter.waiting || meter.received - since >= stallBytes) return watch(0, meter.received)
      return waited + 1 < ticks
        ? watch(waited + 1, since)
        : Effect.fail(
            new AttemptFailure({
              reason: "DownloadFailed",
              transient: true,
              detail: `the transfer stalled: ${meter.received - since} bytes in ${Duration.format(stallWindow)}`
            })
          )
    })
  return watch(0, 0)
}

const decoded = (
  host: HostService,
  response: Opened,
  encoding: string | undefined
): Effect.Effect<Stream.Stream<Uint8Array, AttemptFailure>, AttemptFailure> => {
  if (encoding === undefined) return Effect.succeed(response.body)
  return Option.match(host.decompress(encoding), {
    onNone: () =>
      Effect.fail(
        new AttemptFailure({
          reason: "UnexpectedContent",
          transient: false,
          detail: `it is encoded as ${JSON.stringify(encoding)}, which was not asked for and cannot be undone here`
        })
      ),
    onSome: (decompress) =>
      Effect.succeed(
        Stream.mapError(decompress(response.body), (error) =>
          error instanceof AttemptFailure
            ? error
            : new AttemptFailure({
                reason: "DownloadFailed",
                transient: true,
                detail: `the ${encoding} encoding is broken: ${response.redact(error.message)}`
              })
        )
      )
  })
}

const concat = (one: Uint8Array, other: Uint8Array): Uint8Array => {
  const both = new Uint8Array(one.length + other.length)
  both.set(one)
  both.set(other, one.length)
  return both
}

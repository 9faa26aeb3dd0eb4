import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AssetUrl } from "../AssetUrl.js"
import type { HostService } from "../Host.js"
import type { ImageError } from "../ImageError.js"
import { type Body, limitOf, tooLong, validatorOf } from "./answer.js"
import { giveBack } from "./buffer.js"
import { AttemptFailure, revise } from "./failure.js"
import { append, startOver, type Transfer } from "./held.js"
import { firstOf } from "./race.js"
import type { Opened } from "./request.js"
import { mayHelp, type Pace } from "./segments.js"
import { recognise, sniffLength, unexpected } from "./sniff.js"
import { type Meter, makeMeter, type StallOptions, stallWatch } from "./stall.js"

export interface ReceiveOptions extends StallOptions {
  readonly host: HostService
  /** Makes sure that what is still missing fits on the disk; fails with reason `NoSpace`. */
  readonly claimSpace: (remaining: () => number) => Effect.Effect<void, ImageError, Scope.Scope>
}

/**
 * Read a body into the staged file, under watch for a stall. Succeeds when it is there to its end, or, with the rate of
 * this connection in bytes per second, when more connections may bring the rest faster.
 */
export const receive = Effect.fnUntraced(function* (
  options: ReceiveOptions,
  transfer: Transfer,
  source: AssetUrl,
  response: Opened,
  answer: Body,
  /** The rest may be fetched in another way. */
  divisible: boolean
): Effect.fn.Return<number | undefined, AttemptFailure | ImageError, Scope.Scope> {
  const body = yield* decoded(options.host, response, answer.encoding)
  const intake = makeIntake(transfer, source, response, answer)
  const meter = makeMeter()
  const end = answer.total ?? transfer.size
  if (end !== undefined) yield* options.claimSpace(() => end - transfer.staged.position())

  const clock = yield* Effect.clock
  let rate: number | undefined
  const divide = (pace: Pace) => {
    if (!divisible || end === undefined || !mayHelp(pace, end - transfer.staged.position())) return false
    rate = pace.bytes / pace.seconds
    return true
  }
  const drained = drain(clock, body, meter, intake.take, divide)
  const broken = yield* firstOf(drained, stallWatch(options, meter)).pipe(
    Effect.as(undefined),
    Effect.catchTag("AttemptFailure", (failure) => (failure.transient ? Effect.succeed(failure) : failure)),
    // What arrived before a break counts, be it ever so little.
    Effect.zipLeft(intake.settle),
    Effect.ensuring(transfer.report.ends(transfer))
  )
  if (rate !== undefined) return rate

  const position = transfer.staged.position()
  const complete = meter.received > 0 && (end === undefined ? broken === undefined : position === end)
  // A connection that breaks after the last byte has done its work.
  if (complete) return undefined
  const progress = `after ${position}${end === undefined ? "" : ` of ${end}`} bytes`
  if (broken !== undefined) {
    return yield* revise(broken, { detail: `${broken.detail}, ${progress}`, bytesReceived: position })
  }
  return yield* new AttemptFailure({
    reason: "DownloadFailed",
    transient: true,
    detail: meter.received === 0 ? "the body was empty" : `the body ended early, ${progress}`,
    bytesReceived: position,
    ...(end === undefined ? {} : { expected: String(end), actual: String(position) })
  })
})

/** Pull a body to its end, or until `enough`, noting in the meter when it is the network that is waited for. */
const drain = <E>(
  clock: Clock.Clock,
  body: Stream.Stream<Uint8Array, AttemptFailure>,
  meter: Meter,
  take: (bytes: Uint8Array) => Effect.Effect<void, E>,
  enough: (pace: Pace) => boolean
): Effect.Effect<void, AttemptFailure | E, Scope.Scope> =>
  Effect.gen(function* () {
    const pull = yield* Stream.toPull(body)
    const now = () => Number(clock.unsafeCurrentTimeNanos()) / 1e9
    const began = now()
    let waiting = 0
    for (;;) {
      meter.waiting = true
      const asked = now()
      const chunk = yield* Effect.matchEffect(pull, {
        onFailure: Option.match({ onNone: () => Effect.succeedNone, onSome: Effect.fail }),
        onSuccess: Effect.succeedSome
      })
      const answered = now()
      waiting += answered - asked
      meter.waiting = false
      if (Option.isNone(chunk)) return
      for (const bytes of Chunk.toReadonlyArray(chunk.value)) {
        meter.received += bytes.length
        yield* take(bytes)
        giveBack(bytes)
      }
      if (enough({ bytes: meter.received, seconds: answered - began, waiting })) return
    }
  })

/** Where a body's bytes go: into the staged file, once the first of them are seen to be an image's. */
interface Intake {
  readonly take: (bytes: Uint8Array) => Effect.Effect<void, AttemptFailure | ImageError>
  /** Take what was held back of a body too short to be recognised by then. */
  readonly settle: Effect.Effect<void, AttemptFailure | ImageError>
}

const makeIntake = (transfer: Transfer, source: AssetUrl, response: Opened, answer: Body): Intake => {
  const limit = limitOf(transfer, answer.total)
  const goesOn = answer.offset > 0
  let begun = false
  let head = new Uint8Array(0)

  const store = (bytes: Uint8Array): Effect.Effect<void, AttemptFailure | ImageError> => {
    const position = transfer.staged.position() + bytes.length
    return position > limit.bytes ? Effect.fail(tooLong(limit, position)) : append(transfer, bytes)
  }

  /** A body from the beginning takes the place of what is held, but not before it has shown itself as an image. */
  const begin = Effect.fnUntraced(function* (first: Uint8Array) {
    begun = true
    const { held } = transfer
    if (!goesOn) {
      const impostor = recognise(first, response.header("content-type"))
      if (impostor !== undefined) return yield* unexpected(impostor, response)
      yield* startOver(transfer)
    }
    transfer.held = {
      source,
      validator: validatorOf(response) ?? (held.source === source && goesOn ? held.validator : undefined),
      total: answer.total,
      responses: transfer.held.responses + 1,
      plain: answer.encoding === undefined,
      delimited: answer.delimited
    }
    if (answer.total !== undefined) transfer.staged.expect(answer.total)
    yield* transfer.report.begins(transfer, source.display)
    yield* store(first)
  })

  return {
    take: (bytes) => {
      if (begun) return store(bytes)
      // Not as a copy if it can be helped: the ring takes its alignment from the first bytes, all others lie as they do.
      const first = head.length === 0 ? bytes : concat(head, bytes)
      if (goesOn || first.length >= sniffLength) return begin(first)
      head = concat(head, bytes)
      return Effect.void
    },
    settle: Effect.suspend(() => (begun || head.length === 0 ? Effect.void : begin(head)))
  }
}

/** The body without its Content-Encoding. */
const decoded = (
  host: HostService,
  response: Opened,
  encoding: string | undefined
): Effect.Effect<Stream.Stream<Uint8Array, AttemptFailure>, AttemptFailure> => {
  if (encoding === undefined || response.decodes(encoding)) return Effect.succeed(response.body)
  return Option.match(host.decompress(encoding), {
    onNone: () =>
      Effect.fail(
        new AttemptFailure({
          reason: "UnexpectedContent",
          transient: false,
          status: response.status,
          detail: `it is encoded as ${JSON.stringify(response.redact(encoding))}, which was not asked for and cannot be undone here`
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

const concat = (one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> => {
  const both = new Uint8Array(one.length + other.length)
  both.set(one)
  both.set(other, one.length)
  return both
}

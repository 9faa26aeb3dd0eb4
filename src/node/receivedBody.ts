import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** So many bytes may wait for their reader before the sender has to ... */
const enough = 1024 * 1024

/** ... and each piece takes about so many more, be it ever so small. */
const pieceCost = 100

/** Who brings the body. */
export interface Sender {
  readonly pause: () => void
  readonly resume: () => void
  /** Nobody will read the rest. */
  readonly abort: () => void
}

/** A body on its way from callbacks to the Stream that reads it, once. */
export class ReceivedBody {
  private pieces: Array<Uint8Array> = []
  private waiting = 0
  private paused = false
  private end: Option.Option<unknown> | undefined
  private wake = () => {}
  private readonly sender: Sender

  constructor(sender: Sender) {
    this.sender = sender
  }

  readonly push = (bytes: Uint8Array): void => {
    this.pieces.push(bytes)
    this.waiting += bytes.length + pieceCost
    if (this.waiting >= enough && !this.paused) {
      this.paused = true
      this.sender.pause()
    }
    this.wake()
  }

  /** The body is complete, or broke for this reason. */
  readonly finish = (failure: Option.Option<unknown> = Option.none()): void => {
    this.end ??= failure
    this.wake()
  }

  /** All pieces that wait together, as they arrived. */
  private readonly pull = Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<unknown>>((resume) => {
    this.wake = () => {
      const { end, pieces } = this
      if (pieces.length === 0 && end === undefined) return
      this.wake = () => {}
      this.pieces = []
      this.waiting = 0
      resume(pieces.length === 0 ? Effect.fail(end ?? Option.none()) : Effect.succeed(Chunk.unsafeFromArray(pieces)))
      if (!this.paused) return
      this.paused = false
      this.sender.resume()
    }
    this.wake()
    return Effect.sync(() => {
      this.wake = () => {}
    })
  })

  readonly stream: Stream.Stream<Uint8Array, unknown> = Stream.fromPull(
    Effect.as(
      Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (this.end === undefined) this.sender.abort()
        })
      ),
      this.pull
    )
  )
}

import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import { ResponseError } from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** A response whose bytes are pulled from a stream. Whatever that fails with is a `ResponseError`, as in the real clients. */
export class StreamResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly remoteAddress = Option.none<string>()
  readonly request: HttpClientRequest.HttpClientRequest
  readonly status: number
  readonly headers: Headers.Headers
  readonly stream: Stream.Stream<Uint8Array, ResponseError>
  private readonly setCookie: ReadonlyArray<string>

  private whole: Effect.Effect<ArrayBuffer, ResponseError> | undefined

  constructor(
    request: HttpClientRequest.HttpClientRequest,
    status: number,
    headers: Headers.Headers,
    body: Stream.Stream<Uint8Array, unknown>,
    /** The values of Set-Cookie, which cannot be joined to one. */
    setCookie: ReadonlyArray<string> = headers["set-cookie"] === undefined ? [] : [headers["set-cookie"]]
  ) {
    super()
    this.request = request
    this.status = status
    this.headers = headers
    this.setCookie = setCookie
    this.stream = Stream.mapError(body, (cause) => this.undecodable(cause))
  }

  get cookies(): Cookies.Cookies {
    return Cookies.fromSetCookie(this.setCookie)
  }

  /** Read once, for all who ask: `toJSON`, as for a log, is one of them. */
  get arrayBuffer(): Effect.Effect<ArrayBuffer, ResponseError> {
    this.whole ??= Effect.catchAllCause(Effect.runSync(Effect.cached(this.collected)), (cause) =>
      // Whoever was reading for all gave up, and what he had is gone.
      Cause.isInterruptedOnly(cause) ? Effect.fail(this.undecodable(new Error("given up"))) : Effect.failCause(cause)
    )
    return this.whole
  }

  private get collected(): Effect.Effect<ArrayBuffer, ResponseError> {
    return Effect.map(Stream.runCollect(this.stream), (chunks) => {
      const pieces = Array.from(chunks)
      const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0))
      let size = 0
      for (const piece of pieces) {
        whole.set(piece, size)
        size += piece.length
      }
      return whole.buffer
    })
  }

  get text(): Effect.Effect<string, ResponseError> {
    return Effect.map(this.arrayBuffer, (bytes) => new TextDecoder().decode(bytes))
  }

  get json(): Effect.Effect<unknown, ResponseError> {
    return Effect.tryMap(this.text, {
      try: (text): unknown => (text === "" ? null : JSON.parse(text)),
      catch: (cause) => this.undecodable(cause)
    })
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, ResponseError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }

  get formData(): Effect.Effect<FormData, ResponseError> {
    return Effect.flatMap(this.arrayBuffer, (bytes) =>
      Effect.tryPromise({
        try: () => new Response(bytes, { headers: this.headers }).formData(),
        catch: (cause) => this.undecodable(cause)
      })
    )
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }

  private undecodable(cause: unknown): ResponseError {
    return new ResponseError({ request: this.request, response: this, reason: "Decode", cause })
  }
}

/** What can go wrong with an answer, as plain data. */
import * as Data from "effect/Data"
import * as FastCheck from "effect/FastCheck"

/** How a connection ends: an orderly FIN, or a TCP reset. */
export type How = "fin" | "reset"

/**
 * The requests of its path a fault applies to, counted from 0: `from` is the first one (default 0), `times` how many
 * of them (default all). HEAD requests and redirect hops count.
 */
export interface Limits {
  readonly from?: number
  readonly times?: number
}

/** `Retry-After` in seconds, or as an HTTP date so many seconds from now. */
export type RetryAfter = { readonly seconds: number } | { readonly dateIn: number }

/**
 * One deviation from a correct answer. Several may be active at once: those that replace the whole answer (first group)
 * win over the others, the first in the list first. Byte counts are payload bytes of the response, not of the file.
 */
export type Fault = Data.TaggedEnum<{
  // Instead of the file
  /** The head never comes; the socket stays open. */
  NoAnswer: Limits
  /** The request is read, then the connection ends without an answer. */
  HangUp: Limits & { readonly how: How }
  /** Bytes that are not HTTP, then FIN. */
  Garbage: Limits
  /** A status with any headers and body; `pastOffset`: only where the requested range starts at or past it. */
  Status: Limits & {
    readonly status: number
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: string
    readonly retryAfter?: RetryAfter
    readonly pastOffset?: number
  }
  /** An error whose body repeats the request's target and headers (for tests of redaction). */
  EchoHeaders: Limits & { readonly status: number }
  /** 416 to every range request, satisfiable or not. */
  Unsatisfiable: Limits
  /** Status 200 with something that is not the file: a captive portal, a JSON error, an S3 error, a Git LFS pointer. */
  Page: Limits & { readonly kind: "html" | "json" | "s3" | "lfs"; readonly contentType?: string }
  /** Status 200, Content-Length 0. */
  EmptyBody: Limits
  /** A redirect to `to`, verbatim (default status 302). */
  Redirect: Limits & { readonly to: string; readonly status?: number }
  /** `path` and `path?loop` point at each other for ever. */
  RedirectLoop: Limits
  /** `length` redirects (`path?hop=1`, `path?hop=2`, ...), then the answer. */
  RedirectChain: Limits & { readonly length: number }
  /** A 302 without Location. */
  RedirectNowhere: Limits

  // Another file
  /** From here on another file: new ETag and Last-Modified, and `bytes` (default: every byte inverted). */
  ChangedFile: Limits & { readonly bytes?: Uint8Array }
  /** The same bytes under this ETag, quotes included (another mirror, a re-upload). */
  NewETag: Limits & { readonly etag: string }
  /** Which validators are missing or weak. */
  Validators: Limits & { readonly mode: "none" | "weakETag" | "dateOnly" | "etagOnly" }
  /** One byte inverted, same size, same ETag. */
  FlipByte: Limits & { readonly offset: number }
  /** An honest file that is longer (zeros follow) or shorter by so many bytes. */
  Resize: Limits & { readonly by: number }
  /** Zeros without end and without Content-Length, until the client leaves. */
  Endless: Limits
  /** The whole file, really encoded; ranges are ignored. */
  ContentEncoding: Limits & { readonly encoding: "gzip" | "deflate" | "br" }

  // Head
  /** Milliseconds before the answer, whatever it is. */
  Latency: Limits & { readonly ms: number }
  /** 200 and the whole file to a range request; no Accept-Ranges. */
  IgnoreRange: Limits
  /** 206 although If-Range names another file. */
  IgnoreIfRange: Limits
  /**
   * A 206 with the right bytes and a false Content-Range ("start", "total": off by one; "missing"; "garbage"), or,
   * for "shifted", a true Content-Range of bytes that begin elsewhere than asked.
   */
  WrongContentRange: Limits & { readonly how: "start" | "total" | "missing" | "garbage" | "shifted" }
  /** Content-Length announces `by` bytes more (or fewer) than follow; then FIN. */
  ContentLengthLies: Limits & { readonly by: number }
  /** No Content-Length: the body ends with FIN. */
  NoContentLength: Limits
  /** A header of so many bytes. */
  HugeHeader: Limits & { readonly bytes: number }

  // Body
  /** Chunked; `unterminated`: all of the bytes, then FIN in place of the last chunk. */
  Chunked: Limits & { readonly unterminated?: boolean }
  /**
   * The connection ends after so many bytes, if the body has as many (equal: a cut after the last byte). The end comes
   * 30 ms after them: what a slow client has not taken by then, it may lose.
   */
  Cut: Limits & { readonly after: number; readonly how: How }
  /** A reset right after the last byte. */
  ResetAfterEnd: Limits
  /** Nothing more after so many bytes; the socket stays open. */
  Stall: Limits & { readonly after: number }
  /** `bytes` bytes every `ms` milliseconds. */
  Trickle: Limits & { readonly bytes: number; readonly ms: number }
}>

/** Constructors of the faults, and `$is`/`$match`. */
export const Fault = Data.taggedEnum<Fault>()

/** Faults by request: the n-th request of the path meets the n-th step, later ones a healthy server. */
export interface Script {
  readonly _tag: "Script"
  readonly steps: ReadonlyArray<ReadonlyArray<Fault>>
}

/** A script from its steps; `[]` is a healthy answer. */
export const script = (...steps: ReadonlyArray<Fault | ReadonlyArray<Fault>>): Script => ({
  _tag: "Script",
  steps: steps.map((step) => ("_tag" in step ? [step] : step))
})

/** The faults that request `index` (from 0) of a path meets. */
export const activeAt = (faults: ReadonlyArray<Fault | Script>, index: number): ReadonlyArray<Fault> =>
  faults
    .flatMap((fault) => (fault._tag === "Script" ? (fault.steps[index] ?? []) : [fault]))
    .filter(({ from = 0, times = Number.POSITIVE_INFINITY }) => index >= from && index < from + times)

const among = <const A>(...values: ReadonlyArray<A>): FastCheck.Arbitrary<A> => FastCheck.constantFrom<A>(...values)

/**
 * Scripts of up to `maxSteps` faults for a file of `size` bytes, for property tests. Every fault answers or ends at
 * once; `waits: true` adds those that keep a client waiting (no answer, stall) and those that only a size cap stops (endless).
 */
export const arbitraryScript = (options: {
  readonly size: number
  readonly maxSteps: number
  readonly waits?: boolean
}): FastCheck.Arbitrary<Script> => {
  const bytes = FastCheck.integer({ min: 0, max: options.size })
  const how = among("fin", "reset")
  const fixed: ReadonlyArray<Fault> = [
    Fault.Garbage({}),
    Fault.Unsatisfiable({}),
    Fault.EmptyBody({}),
    Fault.RedirectLoop({}),
    Fault.RedirectNowhere({}),
    Fault.ChangedFile({}),
    Fault.IgnoreRange({}),
    Fault.IgnoreIfRange({}),
    Fault.NoContentLength({}),
    Fault.HugeHeader({ bytes: 1024 * 1024 }),
    Fault.Chunked({}),
    Fault.Chunked({ unterminated: true }),
    Fault.ResetAfterEnd({}),
    Fault.NewETag({ etag: `"other"` }),
    Fault.RedirectChain({ length: 2 })
  ]
  const waiting: ReadonlyArray<Fault> = [Fault.NoAnswer({}), Fault.Endless({})]
  const quick: ReadonlyArray<FastCheck.Arbitrary<Fault>> = [
    among(...fixed),
    FastCheck.record({ after: bytes, how }).map(Fault.Cut),
    FastCheck.record({ how }).map(Fault.HangUp),
    FastCheck.record({ offset: FastCheck.nat({ max: Math.max(options.size - 1, 0) }) }).map(Fault.FlipByte),
    FastCheck.record({ by: FastCheck.integer({ min: -options.size, max: options.size }) }).map(Fault.Resize),
    FastCheck.record({ by: FastCheck.integer({ min: -options.size, max: options.size }) }).map(Fault.ContentLengthLies),
    FastCheck.record({ status: among(401, 403, 404, 408, 410, 425, 429, 500, 502, 503, 504) }).map(Fault.Status),
    FastCheck.record({ kind: among("html", "json", "s3", "lfs") }).map(Fault.Page),
    FastCheck.record({ mode: among("none", "weakETag", "dateOnly", "etagOnly") }).map(Fault.Validators),
    FastCheck.record({
      how: among("start", "total", "missing", "garbage", "shifted")
    }).map(Fault.WrongContentRange),
    FastCheck.record({ encoding: among("gzip", "deflate", "br") }).map(Fault.ContentEncoding)
  ]
  const slow: ReadonlyArray<FastCheck.Arbitrary<Fault>> = [
    among(...waiting),
    FastCheck.record({ after: bytes }).map(Fault.Stall)
  ]
  const fault = FastCheck.oneof(...quick, ...(options.waits === true ? slow : []))
  const step = FastCheck.array(fault, { maxLength: 2 })
  return FastCheck.array(step, { maxLength: options.maxSteps }).map((steps) => script(...steps))
}

import type * as Effect from "effect/Effect"
import { AttemptFailure } from "./failure.js"
import type { Opened } from "./request.js"

/** What a body turned out to be instead of an image. */
export interface Impostor {
  readonly kind: string
  readonly firstLine: string
}

/** How many leading bytes of a body are enough to recognise an impostor. */
export const sniffLength = 512

/**
 * Recognise, by its first bytes, what servers and gateways send in place of a file with status 200: a login or error page,
 * an error document of an object store, a Git LFS pointer. No kernel, file system image or RAM disk starts like that.
 */
export const recognise = (head: Uint8Array, contentType: string | undefined): Impostor | undefined => {
  const text = new TextDecoder("utf-8").decode(head.subarray(0, sniffLength)).replace(/^\uFEFF?\s*/, "")
  const kind = kindOf(text, contentType?.toLowerCase() ?? "")
  return kind === undefined ? undefined : { kind, firstLine: firstLine(text) }
}

const kindOf = (text: string, contentType: string): string | undefined => {
  if (/^version https:\/\/git-lfs\.github\.com\/spec\//.test(text)) return "a Git LFS pointer"
  if (/^(<!--[\s\S]*?-->\s*)*<(!doctype html|html|head|body|script|meta)[\s>]/i.test(text)) return "an HTML page"
  if (/^(<\?xml[^>]*>\s*)?<Error[\s>]/.test(text)) return "an object store's XML error"
  if (/^<\?xml[\s]/.test(text)) return /<html[\s>]/i.test(text) ? "an HTML page" : "an XML document"
  if (/^[{[]/.test(text) && /^(application|text)\/([\w.-]+\+)?json\b/.test(contentType)) return "a JSON document"
  return undefined
}

/** The failure that names an impostor. */
export const unexpected = (
  { firstLine, kind }: Impostor,
  { redact, status }: Pick<Opened, "redact"> & { readonly status?: number }
): Effect.Effect<never, AttemptFailure> =>
  new AttemptFailure({
    reason: "UnexpectedContent",
    transient: false,
    detail: `${kind} came instead, beginning ${JSON.stringify(redact(firstLine))}`,
    ...(status === undefined ? {} : { status })
  })

/** The first line of a text that is not blank, fit for an error message. */
export const firstLine = (text: string): string => {
  const printable = (text.split(/[\r\n]+/).find((line) => line.trim() !== "") ?? "")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
    .replace(/[\u0000-\u001f\u007f-\u009f]/g, " ")
    .trim()
  return printable.length > 120 ? `${printable.slice(0, 119)}…` : printable
}

import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { AssetUrl } from "../AssetUrl.js"
import type { ImageError } from "../ImageError.js"
import { checkLength, limitOf, tooLong } from "./answer.js"
import { AttemptFailure } from "./failure.js"
import { append, startOver, type Transfer } from "./held.js"
import type { ReceiveOptions } from "./receive.js"
import { codeOf, redactText, sanitizeCause } from "./redact.js"
import { recognise, sniffLength, unexpected } from "./sniff.js"

/** Small reads cost several times as much. */
const bufferSize = 1024 * 1024

/**
 * Bring the file behind a `file:` URL into the staged file: by sharing its blocks where the disk can do that, otherwise by
 * copying. What arrives is measured, recognised and hashed like a download.
 */
export const copyFile = Effect.fnUntraced(function* (
  options: Pick<ReceiveOptions, "host" | "claimSpace">,
  transfer: Transfer,
  source: AssetUrl
): Effect.fn.Return<void, AttemptFailure | ImageError, FileSystem.FileSystem | Path.Path | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { staged } = transfer

  const from = yield* Effect.mapError(path.fromFileUrl(new URL(Redacted.value(source.href))), unreadable)
  const info = yield* Effect.mapError(fs.stat(from), unreadable)
  // Opening a pipe or a device may never return.
  if (info.type !== "File") return yield* failed(`it is a ${info.type}, not a file`)
  const size = Number(info.size)
  if (size === 0) return yield* failed("it is empty")
  yield* checkLength(size, transfer)

  const file = yield* Effect.mapError(fs.open(from, { flag: "r" }), unreadable)
  const buffer = new Uint8Array(bufferSize)
  const read = file.read(buffer).pipe(
    Effect.map((count) => buffer.subarray(0, Number(count))),
    Effect.mapError(unreadable),
    Effect.uninterruptible // a read under way cannot be stopped, only awaited
  )
  const first = yield* read
  const impostor = recognise(first.subarray(0, sniffLength), undefined)
  if (impostor !== undefined) return yield* unexpected(impostor, { redact: (text) => redactText(text, []) })

  yield* startOver(transfer)
  transfer.held = { ...transfer.held, source, total: size, responses: 1 }
  staged.expect(size)
  yield* transfer.report.begins(transfer, source.display)
  yield* Effect.gen(function* () {
    if (yield* staged.adopt((to) => options.host.clone(from, to))) return
    yield* options.claimSpace(() => size - staged.position())
    const limit = limitOf(transfer, size)
    for (let bytes = first; bytes.length > 0; bytes = yield* read) {
      const position = staged.position() + bytes.length
      if (position > limit.bytes) return yield* tooLong(limit, position)
      yield* append(transfer, bytes)
    }
  }).pipe(Effect.ensuring(transfer.report.ends(transfer)))
  // Between the look at it and now, someone may have written to it.
  if (staged.position() !== size) return yield* failed("it changed while it was copied")
})

const failed = (detail: string, cause?: Error) =>
  new AttemptFailure({ reason: "DownloadFailed", transient: false, detail, ...(cause === undefined ? {} : { cause }) })

const unreadable = (error: PlatformError): AttemptFailure => {
  const code = codeOf(error) ?? (error._tag === "SystemError" ? error.reason : "BadArgument")
  return failed(`${meanings[code] ?? "it cannot be read"} (${code})`, sanitizeCause(error))
}

const meanings: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "there is no permission to read it",
  EPERM: "there is no permission to read it"
}

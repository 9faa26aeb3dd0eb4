// Every failure as two lines a person can act on, and an exit code a script can.
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import { ImageError, type Reason, ValueError } from "../../ImageError.js"
import { codeOf } from "../../internal/redact.js"
import { programName, unwritable } from "./commands.js"
import type * as Output from "./output.js"
import { UsageError } from "./parse.js"
import { Unwritable } from "./streams.js"

/** The answer to a question is no. */
export class No extends Data.TaggedError("No")<{ readonly message: string; readonly hint: string }> {}

export type Failure = typeof Output.Failure.Type

const exitCodes: { readonly [K in Reason]: number } = {
  UnknownImage: 3,
  DownloadFailed: 4,
  UnexpectedContent: 4,
  ChecksumMismatch: 5,
  StorageFailed: 6,
  NoSpace: 6,
  Offline: 7
}

export const no = 1
export const usage = 2
export const mismatch = exitCodes.ChecksumMismatch

const again = "run the command again"

/** What to do about a download that failed: the first line that fits. */
const downloadHints: ReadonlyArray<readonly [fits: (error: ImageError) => boolean, hint: string]> = [
  [
    ({ status }) => status === 401 || status === 403,
    "The server wants credentials, or refuses them: check the URL and the headers in the registry."
  ],
  [
    ({ status }) => status === 404 || status === 410,
    "The file is not there any more: check the URL in the registry, or add a mirror."
  ],
  [
    ({ status = 0 }) => status >= 300 && status < 400,
    "Put the URL that the redirects should have led to into the registry, or add a mirror."
  ],
  [
    ({ url }) => url?.startsWith("file:") === true,
    "Check the path in the registry, and that the file there can be read."
  ],
  [
    ({ cause }) => /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(codeOf(cause) ?? ""),
    "If it is an authority of your own, trust it: set NODE_EXTRA_CA_CERTS to the file of its certificate (PEM)."
  ],
  [
    ({ cause }) => /CERT|ALTNAME/.test(codeOf(cause) ?? ""),
    "The server's certificate is not valid: check the URL in the registry and the clock of this machine."
  ],
  [
    ({ status }) => status === undefined,
    `Check the network and the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), then ${again}.`
  ]
]

/** A registry file that cannot be read: whatever else cannot be is of an image. */
const isOfRegistry = ({ image, reason }: ImageError) => reason === "StorageFailed" && image === undefined

const hintOf = (error: ImageError): string => {
  switch (error.reason) {
    case "UnknownImage":
      return `Run \`${programName} list\` to see what there is, or name another registry file with --registry FILE.`
    case "DownloadFailed":
      return (
        downloadHints.find(([fits]) => fits(error))?.[1] ??
        `The server has a problem: wait a little, then ${again}, or add a mirror.`
      )
    case "UnexpectedContent":
      return error.expected === undefined
        ? "Open the URL in a browser: a login page, an error page or another file may be answering there."
        : "Open the URL in a browser: if no page comes but the file itself, put the size of that file into the registry."
    case "ChecksumMismatch":
      return "Do not use that file. Ask its publisher for the SHA-256, before you change the registry or remove the image."
    case "StorageFailed":
      if (isOfRegistry(error)) return "Check the path; registry files are named by --registry FILE or SMOLVM_REGISTRY."
      return "Check that the path can be read and written, or choose another directory with --cache-dir DIR."
    case "NoSpace":
      return "Free some space there, or choose another directory with --cache-dir DIR."
    case "Offline":
      return `To download it, ${again} without --offline (or with SMOLVM_OFFLINE unset).`
  }
}

const usageHint = (error: UsageError) =>
  `Run \`${[programName, ...(error.command?.words ?? []), "--help"].join(" ")}\` to see how it goes.`

const problemsHint = (error: ValueError) => {
  const file = /^registry file (.*)$/.exec(error.field)?.[1]
  if (file !== undefined) return `Correct the file; \`${programName} registry check ${file}\` lists all its problems.`
  return error.field === "name"
    ? `Run \`${programName} list\` to see the names of all images.`
    : `Correct it; \`${programName} --help\` tells where settings come from.`
}

/** One line of a message that may have several. */
const firstLine = (message: string) => message.split("\n")[0] ?? ""

const valueMessage = (error: ValueError) => {
  const [first, ...others] = error.problems
  const where = first.path === "" ? "" : `${first.path}: `
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`
  return `Invalid ${error.field}: ${where}${first.message}${more}`
}

const imageMessage = (error: ImageError) => {
  const failures = error.failures?.length ?? 0
  return firstLine(error.message) + (failures > 1 ? ` (${failures} sources failed; --verbose tells of each)` : "")
}

const invalidSettings = (error: ConfigError.ConfigError): string =>
  ConfigError.reduceWithContext(error, undefined, {
    andCase: (_, left) => left,
    orCase: (_, left) => left,
    invalidDataCase: (_, path, message) => `The setting ${path.join(".")} ${message}.`,
    missingDataCase: (_, path) => `The setting ${path.join(".")} is missing.`,
    sourceUnavailableCase: (_, path) => `The setting ${path.join(".")} cannot be read.`,
    unsupportedCase: (_, path) => `The setting ${path.join(".")} cannot be read.`
  })

export type Expected = ImageError | ValueError | ConfigError.ConfigError | UsageError | No | Unwritable

/** What an error says, and what to do about it. */
export const describe = (error: Expected): Failure => {
  if (error instanceof ImageError) {
    return {
      ...(error.image === undefined ? {} : { image: error.image }),
      reason: error.reason,
      message: imageMessage(error),
      hint: hintOf(error),
      exitCode: isOfRegistry(error) ? usage : exitCodes[error.reason]
    }
  }
  if (error instanceof ValueError) {
    return { reason: "ValueError", message: valueMessage(error), hint: problemsHint(error), exitCode: usage }
  }
  if (error instanceof UsageError) {
    return { reason: "UsageError", message: error.message, hint: usageHint(error), exitCode: usage }
  }
  if (error instanceof No) return { reason: "No", message: error.message, hint: error.hint, exitCode: no }
  if (error instanceof Unwritable) {
    return { reason: "Unwritable", message: error.message, hint: error.hint, exitCode: unwritable }
  }
  return {
    reason: "ConfigError",
    message: invalidSettings(error),
    hint: `Correct or unset it; \`${programName} --help\` lists all settings.`,
    exitCode: usage
  }
}

/** What else `--verbose` tells: the sources that failed and the chain of causes, a line each. */
export const details = (error: Expected): ReadonlyArray<string> => {
  const lines = "message" in error && typeof error.message === "string" ? error.message.split("\n").slice(1) : []
  let cause = error instanceof ImageError ? error.cause : undefined
  while (cause instanceof Error) {
    const code = "code" in cause && typeof cause.code === "string" ? ` [${cause.code}]` : ""
    lines.push(`  caused by ${cause.name}: ${cause.message}${code}`)
    cause = cause.cause
  }
  return lines
}

/** What a signal leaves undone. */
export const interruption = (signal: NodeJS.Signals, exitCode: number): Failure => ({
  reason: "Interrupted",
  message: `Interrupted by ${signal}.`,
  hint: `To have it done, ${again}.`,
  exitCode
})

/** A failure that no command foresees. */
export const bug = (cause: Cause.Cause<unknown>): Failure => {
  const squashed = Cause.squash(cause)
  return {
    reason: "Bug",
    message: `Internal error: ${firstLine(squashed instanceof Error ? squashed.message : String(squashed))}`,
    hint: "This is a bug. Please report it with what --verbose adds.",
    exitCode: 70
  }
}

const isExpected = (error: unknown): error is Expected =>
  error instanceof ImageError ||
  error instanceof ValueError ||
  error instanceof UsageError ||
  error instanceof No ||
  ConfigError.isConfigError(error)

/** The expected error in a cause, if it is one. */
export const expected = (cause: Cause.Cause<unknown>): Option.Option<Expected> =>
  Option.filter(Cause.failureOption(cause), isExpected)

// The command line as plain data: the parser reads it, and @effect/cli makes help and completion from it.

export const programName = "smolvm-images"
export const summary = "Named VM images on disk: downloaded, SHA-256 verified, cached, ready to boot."
export const groupSummary = "Look after registry files."

/** An option; every command takes all of them. */
export interface OptionSpec {
  /** The commands, by their first word, whose help explains it; all, when this is not set. */
  readonly matters?: ReadonlyArray<string>
  readonly name: string
  readonly short?: string
  /** What stands for the value in help; an option without it is a switch. */
  readonly value?: string
  readonly choices?: ReadonlyArray<string>
  readonly repeatable?: boolean
  readonly description: string
}

export const logLevels = ["all", "trace", "debug", "info", "warning", "error", "fatal", "none"] as const
export const progressModes = ["auto", "bars", "lines", "json", "none"] as const
export const verifications = ["always", "stat"] as const
export const shells = ["bash", "fish", "zsh"] as const
export const roles = ["kernel", "rootfs", "initrd"] as const

const onImages = ["list", "ensure", "status", "verify", "path", "remove"]

export const options: ReadonlyArray<OptionSpec> = [
  {
    name: "cache-dir",
    matters: onImages,
    value: "DIR",
    description: "The cache directory. Environment: SMOLVM_IMAGE_DIR. Default: ~/.smolvm/images."
  },
  {
    name: "registry",
    matters: onImages,
    value: "FILE",
    repeatable: true,
    description:
      "A JSON file of images, laid over the built-in ones; may be repeated, the last one wins. " +
      "Environment: SMOLVM_REGISTRY, several files joined as in PATH."
  },
  {
    name: "offline",
    matters: ["ensure"],
    description: "Make no request: what is cached works, what is missing fails. Environment: SMOLVM_OFFLINE=1."
  },
  { name: "no-offline", matters: ["ensure"], description: "Make requests even though SMOLVM_OFFLINE is set." },
  {
    name: "verify",
    matters: ["ensure"],
    value: "HOW",
    choices: verifications,
    description:
      "How ensure verifies what is cached: always reads all of it; stat trusts a file that has not been touched " +
      "since it was last read. Default: always."
  },
  { name: "json", description: "Print the result as one line of JSON." },
  {
    name: "progress",
    matters: ["ensure", "remove"],
    value: "HOW",
    choices: progressModes,
    description:
      "How progress is shown on standard error: bars, lines, json (one event a line) or none. " +
      "Default: auto, which is bars on a terminal and lines elsewhere or where CI is set."
  },
  { name: "quiet", matters: ["ensure", "remove"], short: "q", description: "Nothing but errors on standard error." },
  {
    name: "log-level",
    matters: ["ensure", "verify", "remove"],
    value: "LEVEL",
    choices: logLevels,
    description: "The least severe messages to show on standard error. Default: warning."
  },
  { name: "verbose", short: "v", description: "Show the causes of an error." },
  { name: "help", matters: [], short: "h", description: "Show the help of a command and exit." },
  { name: "version", matters: [], description: "Show the version and exit." },
  {
    name: "completions",
    matters: [],
    value: "SHELL",
    choices: shells,
    description: "Print a completion script for a shell and exit."
  }
]

export interface ArgumentSpec {
  readonly name: string
  readonly choices?: ReadonlyArray<string>
  /** How often it may stand there; exactly once by default. */
  readonly count?: "any" | "some"
  readonly description: string
}

export interface CommandSpec {
  /** The words that call it. */
  readonly words: readonly [string, ...ReadonlyArray<string>]
  readonly arguments: ReadonlyArray<ArgumentSpec>
  readonly summary: string
  /** The rest of its description, a paragraph each. */
  readonly details: ReadonlyArray<string>
}

const imageName = (description = "The name of an image; `list` shows them."): ArgumentSpec => ({
  name: "NAME",
  description
})

export const list: CommandSpec = {
  words: ["list"],
  arguments: [],
  summary: "List the images of the registry.",
  details: ["Tells name, architecture, whether it is cached, its size, and a description. Reads no image."]
}

export const ensure: CommandSpec = {
  words: ["ensure"],
  arguments: [{ ...imageName(), count: "some" }],
  summary: "Make sure that images are cached and intact, and print the paths of their files.",
  details: [
    "What is cached is verified; what is missing or damaged is downloaded, verified and put into place. Several images are fetched in parallel.",
    "Prints a path a line: kernel, rootfs and, where the image has one, initrd, for each NAME in turn."
  ]
}

export const status: CommandSpec = {
  words: ["status"],
  arguments: [imageName()],
  summary: "Tell what is known of an image and which of its files are cached.",
  details: ["Looks at names and sizes only; `verify` reads the files. Exits with 1 when the image is not cached."]
}

export const verify: CommandSpec = {
  words: ["verify"],
  arguments: [{ ...imageName("The name of an image. Without one: all images of the registry."), count: "any" }],
  summary: "Read cached images in full and tell good files from bad and missing ones.",
  details: [
    "Changes nothing; `ensure` repairs. Exits with 5 when a file is bad, and with 1 when one is missing. " +
      "Without NAME, an image of which nothing is cached is no reason to fail."
  ]
}

export const path: CommandSpec = {
  words: ["path"],
  arguments: [
    imageName(),
    { name: "FILE", choices: roles, description: "Which file of the image: kernel, rootfs or initrd." }
  ],
  summary: "Print the path of one file of a cached image.",
  details: ["Looks at names only. Exits with 1 when the image is not cached or has no such file."]
}

export const remove: CommandSpec = {
  words: ["remove"],
  arguments: [imageName()],
  summary: "Remove an image's files from the cache.",
  details: ["Waits for whoever is fetching it, and says so. An image that is not cached is removed already."]
}

export const registryCheck: CommandSpec = {
  words: ["registry", "check"],
  arguments: [{ name: "FILE", description: 'A JSON file { "images": { name: source } }.' }],
  summary: "Check a registry file, and list everything that is wrong with it.",
  details: ["Exits with 2 when something is wrong. Files without a pinned SHA-256 are pointed out."]
}

export const commands: ReadonlyArray<CommandSpec> = [list, ensure, status, verify, path, remove, registryCheck]

/** Variables beside those of the options. */
export const environment: ReadonlyArray<readonly [names: string, meaning: string]> = [
  [
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
    "The proxies for https and http URLs (http, https or socks5), and the hosts that are asked directly."
  ],
  ["NODE_EXTRA_CA_CERTS", "A file of certificates (PEM) of authorities to trust beside the usual ones."],
  ["NO_COLOR, CI", "No colours; lines in place of bars."]
]

/** The exit code when standard output cannot be written. */
export const unwritable = 6

export const exitCodes: ReadonlyArray<readonly [code: number, meaning: string]> = [
  [0, "done"],
  [1, "the answer is no: not cached, a file is missing"],
  [2, "wrong usage, a bad setting or a bad registry file"],
  [3, "the registry does not have the image"],
  [4, "the download failed, or something else came than the image"],
  [5, "a SHA-256 is not the expected one"],
  [unwritable, "the cache or the output cannot be read or written, or the disk is full"],
  [7, "not cached or damaged, and offline mode forbids fetching it"],
  [70, "a bug in smolvm-images"],
  [130, "interrupted (143: terminated, 129: hung up)"]
]

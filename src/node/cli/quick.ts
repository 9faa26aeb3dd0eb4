// `list` of the built-in images, without what it can do without: schemas, a registry, services. Everything else is in main.ts,
// which is loaded when it is needed.
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { builtInImages } from "../../internal/builtInImages.js"
import * as Held from "./held.js"
import type { Flags } from "./parse.js"
import { fromFlags } from "./settings.js"

/** By name; none of them has names of its own for its files, or a pinned size. */
const entries: ReadonlyArray<Held.Entry> = Object.entries(builtInImages)
  .map(([name, { architecture, description }]) => ({
    name,
    architecture,
    description,
    files: [
      { role: "kernel" as const, filename: "vmlinux.bin", size: undefined },
      { role: "rootfs" as const, filename: "rootfs.ext4", size: undefined }
    ]
  }))
  .sort((a, b) => (a.name < b.name ? -1 : 1))

/** None when there is more to it: other images, or a setting that is wrong. */
export const list = (flags: Flags): Effect.Effect<Option.Option<string>> =>
  fromFlags(flags).pipe(
    Effect.option,
    Effect.map(Option.filter(({ registryFiles }) => registryFiles.length === 0)),
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: ({ cacheDir }) =>
          Effect.map(Held.list(cacheDir, entries), (images) =>
            Option.some(
              Held.lines(images)
                .map((line) => `${line}\n`)
                .join("")
            )
          )
      })
    )
  )

/**
 * A real kernel, initrd and root file system, and the emulator that boots them.
 *
 * The kernel is Debian's cloud kernel, downloaded and unpacked by apt-get and dpkg (not installed) into a folder of the
 * system's temp folder that is named after its version, so that it is downloaded once per machine.
 */
import { tmpdir, userInfo } from "node:os"
import * as Command from "@effect/platform/Command"
import type { CommandExecutor } from "@effect/platform/CommandExecutor"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LocalImage } from "../../src/LocalImage.js"

/** This machine cannot boot anything: the test is to be skipped, for this reason. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly reason: string }> {}

/** A program that was there and did not do its work: the test has failed. */
export class ProgramFailed extends Data.TaggedError("ProgramFailed")<{
  readonly command: string
  readonly output: string
}> {
  override get message(): string {
    return `${this.command}\n${this.output}`
  }
}

type Platform = FileSystem.FileSystem | Path.Path | CommandExecutor

/** Loaded in this order; Debian's kernel has ext4 built in. */
const modules = [
  "virtio_ring",
  "virtio",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "virtio_blk"
] as const

const output = (
  program: string,
  args: ReadonlyArray<string>,
  cwd: string = tmpdir()
): Effect.Effect<string, ProgramFailed | PlatformError, CommandExecutor> =>
  Effect.gen(function* () {
    const process = yield* Command.make(program, ...args).pipe(Command.workingDirectory(cwd), Command.start)
    const text = (bytes: Stream.Stream<Uint8Array, PlatformError>) => Stream.mkString(Stream.decodeText(bytes))
    const [stdout, stderr, exitCode] = yield* Effect.all(
      [text(process.stdout), text(process.stderr), process.exitCode],
      { concurrency: "unbounded" }
    )
    if (exitCode !== 0) {
      return yield* new ProgramFailed({ command: [program, ...args].join(" "), output: stdout + stderr })
    }
    return stdout
  }).pipe(Effect.scoped)

/** Where a program is; the system folders are searched too, since a user's PATH may lack them. */
const find = (program: string): Effect.Effect<string, Unavailable | PlatformError, Platform> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"]
    const found = yield* Effect.findFirst(
      folders.map((folder) => `${folder}/${program}`),
      (file) => fs.exists(file)
    )
    return yield* Option.match(found, {
      onNone: () => new Unavailable({ reason: `${program} is not installed` }),
      onSome: Effect.succeed
    })
  })

/** An ELF file that asks for no dynamic loader (program header type 3), so it runs where there are no libraries. */
const isStatic = (elf: Uint8Array): boolean => {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength)
  const headers = Number(view.getBigUint64(32, true))
  const size = view.getUint16(54, true)
  return Array.from({ length: view.getUint16(56, true) }, (_, index) => headers + index * size).every(
    (header) => view.getUint32(header, true) !== 3
  )
}

const findBusybox = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const busybox = yield* find("busybox")
  if (!isStatic(yield* fs.readFile(busybox))) {
    return yield* new Unavailable({ reason: `${busybox} is not static (busybox-static is)` })
  }
  return busybox
})

/** A folder with `vmlinuz` and the modules. */
const prepareKernel = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const metaPackage = "linux-image-cloud-amd64"
  yield* Effect.forEach(["apt-cache", "apt-get", "dpkg"], find)
  const description = yield* output("apt-cache", ["show", "--no-all-versions", metaPackage]).pipe(
    Effect.catchTag("ProgramFailed", () => Effect.succeed(""))
  )
  const real = /^Depends: (linux-image-[^\s,]+) \(= ([^\s)]+)\)/m.exec(description)
  const [, name = "", version = ""] = real ?? []
  if (real === null) {
    return yield* new Unavailable({ reason: `apt knows no package ${metaPackage} (try apt-get update)` })
  }
  const parent = path.join(tmpdir(), `smolvm-images-test-${userInfo().uid}`)
  const ready = path.join(parent, `${name}_${version}`)
  if (yield* fs.exists(ready)) return ready

  yield* fs.makeDirectory(parent, { recursive: true, mode: 0o700 })
  const work = yield* fs.makeTempDirectoryScoped({ directory: parent })
  yield* output("apt-get", ["-qq", "-o", "APT::Sandbox::User=root", "download", `${name}=${version}`], work).pipe(
    Effect.timeoutFail({
      duration: "3 minutes",
      onTimeout: () => new Unavailable({ reason: `apt-get download ${name} took over 3 minutes` })
    }),
    Effect.catchTag("ProgramFailed", (error) => new Unavailable({ reason: error.message }))
  )
  const [deb = ""] = yield* fs.readDirectory(work)
  const unpacked = path.join(work, "unpacked")
  yield* output("dpkg", ["-x", path.join(work, deb), unpacked])

  const wanted = new Map([["vmlinuz", /(^|\/)boot\/vmlinuz-[^/]+$/]])
  for (const module of modules) wanted.set(`${module}.ko`, new RegExp(`/${module}\\.ko$`))
  const files = yield* fs.readDirectory(unpacked, { recursive: true })
  const chosen = path.join(work, "chosen")
  yield* fs.makeDirectory(chosen)
  for (const [as, pattern] of wanted) {
    const file = files.find((file) => pattern.test(file))
    if (file === undefined) return yield* new Unavailable({ reason: `${name} has no ${as}` })
    yield* fs.rename(path.join(unpacked, file), path.join(chosen, as))
  }
  // Another run may have been faster: its folder is as good as ours.
  yield* fs
    .rename(chosen, ready)
    .pipe(
      Effect.catchAll((error) =>
        Effect.flatMap(fs.exists(ready), (there) => (there ? Effect.void : Effect.fail(error)))
      )
    )
  return ready
}).pipe(Effect.scoped)

const makeInitrd = (busybox: string, kernel: string, work: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const tree = path.join(work, "initrd")
    yield* Effect.forEach(["bin", "dev", "modules", "root"], (folder) =>
      fs.makeDirectory(path.join(tree, folder), { recursive: true })
    )
    yield* fs.copyFile(busybox, path.join(tree, "bin/busybox"))
    yield* Effect.forEach(modules, (module) =>
      fs.copyFile(path.join(kernel, `${module}.ko`), path.join(tree, `modules/${module}.ko`))
    )
    const init = [
      "#!/bin/busybox sh",
      "/bin/busybox mount -t devtmpfs dev /dev",
      ...modules.map((module) => `/bin/busybox insmod /modules/${module}.ko`),
      "/bin/busybox mount -t ext4 -o ro /dev/vda /root",
      "exec /bin/busybox switch_root /root /sbin/init"
    ]
    yield* fs.writeFileString(path.join(tree, "init"), `${init.join("\n")}\n`)
    yield* fs.chmod(path.join(tree, "init"), 0o755)
    const archive = "find . > ../list && cpio -o -H newc --quiet -F ../initrd.cpio < ../list && gzip -1 ../initrd.cpio"
    yield* output("sh", ["-c", archive], tree)
    return path.join(work, "initrd.cpio.gz")
  })

const makeRootfs = (busybox: string, mke2fs: string, line: string, work: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const tree = path.join(work, "rootfs")
    yield* Effect.forEach(["bin", "sbin"], (folder) => fs.makeDirectory(path.join(tree, folder), { recursive: true }))
    yield* fs.copyFile(busybox, path.join(tree, "bin/busybox"))
    // The blank line ends what the firmware left on the screen's current line.
    const init = ["#!/bin/busybox sh", "/bin/busybox echo", `/bin/busybox echo "${line}"`, "/bin/busybox poweroff -f"]
    yield* fs.writeFileString(path.join(tree, "sbin/init"), `${init.join("\n")}\n`)
    yield* fs.chmod(path.join(tree, "sbin/init"), 0o755)
    const rootfs = path.join(work, "rootfs.ext4")
    yield* output(mke2fs, ["-q", "-t", "ext4", "-d", tree, rootfs, "8M"])
    return rootfs
  })

export interface BootFiles {
  readonly kernel: string
  readonly rootfs: string
  readonly initrd: string
}

/**
 * Makes the three files of an image whose `/sbin/init` prints `line` (free of shell syntax) on the console and powers
 * off. The kernel stays for the next run; the others go with the scope.
 */
export const make = (
  line: string
): Effect.Effect<BootFiles, Unavailable | ProgramFailed | PlatformError, Platform | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    if (process.platform !== "linux" || process.arch !== "x64") {
      return yield* new Unavailable({ reason: "the image is built on Linux on x86-64 only" })
    }
    const mke2fs = yield* find("mke2fs")
    yield* Effect.forEach(["qemu-system-x86_64", "cpio", "gzip"], find)
    const busybox = yield* findBusybox
    const kernel = yield* prepareKernel
    const work = yield* fs.makeTempDirectoryScoped({ prefix: "smolvm-images-boot-" })
    return {
      kernel: path.join(kernel, "vmlinuz"),
      rootfs: yield* makeRootfs(busybox, mke2fs, line, work),
      initrd: yield* makeInitrd(busybox, kernel, work)
    }
  })

/** Boots an image in software emulation until it powers off; the lines on its serial console. */
export const boot = (
  image: LocalImage,
  limit: Duration.DurationInput
): Effect.Effect<ReadonlyArray<string>, ProgramFailed | PlatformError, CommandExecutor> =>
  Effect.gen(function* () {
    const qemu = Command.make(
      "qemu-system-x86_64",
      ...["-accel", "tcg", "-m", "512", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"],
      ...["-kernel", image.kernelPath, "-append", "console=ttyS0 quiet panic=-1"],
      ...(image.initrdPath === undefined ? [] : ["-initrd", image.initrdPath]),
      ...["-drive", `file=${image.rootfsPath},if=virtio,format=raw,readonly=on`]
    )
    const process = yield* Command.start(qemu)
    let text = ""
    const read = (bytes: Stream.Stream<Uint8Array, PlatformError>) =>
      Stream.runForEach(Stream.decodeText(bytes), (more) =>
        Effect.sync(() => {
          text += more
        })
      )
    const failed = (how: string) => new ProgramFailed({ command: `qemu-system-x86_64 ${how}`, output: text })
    const [, , exitCode] = yield* Effect.all([read(process.stdout), read(process.stderr), process.exitCode], {
      concurrency: "unbounded"
    }).pipe(
      Effect.timeoutFail({
        duration: limit,
        onTimeout: () => failed(`was not done after ${Duration.format(limit)}`)
      })
    )
    return exitCode === 0 ? text.split(/\r?\n/) : yield* failed(`exited with ${exitCode}`)
  }).pipe(Effect.scoped)

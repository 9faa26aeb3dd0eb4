/**
 * A program that ensures images as another process would, told by one JSON argument what to do; it says what happens in
 * lines of JSON. It is bundled before it is run, because start-up is most of its life.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Host, ImageManager, Registry } from "../../../src/index.js"
import { Locking, none } from "../../../src/internal/lock.js"
import { NodeHasher, NodeHost, NodeHttpClient, type NodeImageManager } from "../../../src/node/index.js"
import { MemoryFileSystem } from "../../../src/testing/index.js"
import { makeJumpingClock } from "./jumpingClock.js"
import type { Line, Task } from "./protocol.js"

const task: Task = JSON.parse(process.argv[2] ?? "")
const say = (line: Line): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

/** Kill this process before its k-th operation on the file system, counted from 1. */
const countdown = (killAt: number): MemoryFileSystem.Fault => {
  let count = 0
  return ({ method, path }) =>
    Effect.sync(() => {
      count++
      if (count !== killAt) return
      // Written at once: nothing else of this process is heard afterwards.
      process.stderr.write(`${method} ${path}\n`)
      process.kill(process.pid, "SIGKILL")
    })
}

let operations = 0

const fileSystem =
  task.killAt === undefined
    ? NodeFileSystem.layer
    : MemoryFileSystem.layerFaulty(
        NodeFileSystem.layer,
        task.killAt === 0 ? () => Effect.sync(() => void operations++) : countdown(task.killAt)
      )

/** A process that nobody here can ask after: as on another machine. */
const elsewhere = Layer.effect(
  Host.Host,
  Effect.map(Host.Host, (host) => ({
    ...host,
    process: { ...host.process, id: `elsewhere-${process.pid}-0`, hostname: "elsewhere" },
    isAlive: () => Effect.succeedNone
  }))
).pipe(Layer.provide(NodeHost.layer))

const settings: NodeImageManager.Options = {
  responseTimeout: "5 seconds",
  stallWindow: "60 seconds",
  retry: Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(5)),
  ...task.settings
}

const manager = ImageManager.layer({ ...settings, cacheDir: task.cacheDir }).pipe(
  Layer.provide([
    Registry.layer(task.registry),
    NodeHasher.layer,
    task.elsewhere === true ? elsewhere : NodeHost.layer,
    fileSystem,
    NodePath.layer,
    NodeHttpClient.layer(settings),
    task.withoutLock === true ? Layer.succeed(Locking, { make: () => Effect.succeed(none) }) : Layer.empty
  ])
)

const logger = Logger.make(({ logLevel, message }) =>
  say({ _tag: "Log", level: logLevel.label, message: [message].flat().map(String).join(" ") })
)

const digestOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex")

const ensureOne = (name: string) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(ImageManager.ensureImage(name))
    if (Exit.isSuccess(exit)) {
      const { kernelPath, rootfsPath } = exit.value
      return say({ _tag: "Image", kernel: digestOf(kernelPath), rootfs: digestOf(rootfsPath) })
    }
    const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (failure !== undefined) {
      const { _tag, message, ...fields } = failure
      return say({ _tag: "Failure", error: { ...fields, message, name: _tag } })
    }
    say({ _tag: "Defect", text: Cause.pretty(exit.cause) })
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => say({ _tag: "Interrupted" }))))

const waiting = Effect.flatMap(ImageManager.ImageManager, ({ events }) =>
  Stream.runForEach(events, (event) => Effect.sync(() => event._tag === "Waiting" && say({ _tag: "Event", event })))
)

const program = Effect.gen(function* () {
  yield* Effect.fork(waiting)
  yield* Effect.yieldNow()
  say({ _tag: "Ready" })
  if (task.startAt !== undefined) yield* Effect.sleep(Math.max(0, task.startAt - Date.now()))
  for (let round = 0; round < (task.rounds ?? 1); round++) {
    yield* Effect.forEach(task.images, ensureOne, { concurrency: "unbounded", discard: true })
  }
  if (task.killAt === 0) say({ _tag: "Operations", count: operations })
}).pipe(
  Effect.provide(manager),
  Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
  Logger.withMinimumLogLevel(LogLevel.Debug),
  task.jumps === undefined ? (effect) => effect : Effect.withClock(makeJumpingClock(Clock.make(), task.jumps))
)

if (task.umask !== undefined) process.umask(task.umask)
if (task.abort === undefined) {
  NodeRuntime.runMain(program, { disablePrettyLogger: true })
} else {
  const controller = new AbortController()
  process.once(task.abort, () => controller.abort())
  await Effect.runPromise(program, { signal: controller.signal }).catch(() => undefined)
}

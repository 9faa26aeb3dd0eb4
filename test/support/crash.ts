/** The crash campaign: child processes that are killed at chosen steps or moments, and what must hold afterwards. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { quietly } from "./ensure.js"
import * as FaultServer from "./FaultServer.js"
import * as Processes from "./processes.js"

/** What the cache holds when the process that will be killed starts. */
export const scenarios = ["cold", "half-filled", "corrupt", "updated", "left by the dead"] as const
export type Scenario = (typeof scenarios)[number]

/** Before its k-th operation on the file system, or so long after it was ready. */
export type Moment = { readonly killAt: number } | { readonly afterMillis: number }

export interface Case {
  readonly scenario: Scenario
  readonly moment: Moment
}

export interface Outcome {
  readonly scenario: Scenario
  /** The operation it died before, or `at random`; `ended` when it was too late to kill it. */
  readonly step: string
  /** What the killed process left. */
  readonly left: string
  /** The next run went on with bytes that were there. */
  readonly resumed: boolean
}

/** Long enough that it is written in several pieces. */
const lengths = { kernel: 50_000, rootfs: 2_500_000 }

export interface Campaign {
  /** How many operations on the file system a run in this scenario makes. */
  readonly operations: (scenario: Scenario) => Effect.Effect<number>
  /** Kill one process, check the invariants, let the next runs repair it. Dies with an assertion where one is broken. */
  readonly crash: (one: Case) => Effect.Effect<Outcome>
}

export const make: Effect.Effect<Campaign, never, Scope.Scope> = Effect.gen(function* () {
  const server = yield* FaultServer.make
  const directory = yield* Processes.temporaryDirectory
  const program = Processes.bundle(directory)
  const before = { kernel: Processes.someBytes(lengths.kernel), rootfs: Processes.someBytes(lengths.rootfs) }
  const after = { kernel: Processes.someBytes(lengths.kernel), rootfs: Processes.someBytes(lengths.rootfs) }
  let count = 0

  /** A cache in that state, and an image of its own on the server, so that its requests can be told from others. */
  const setUp = (scenario: Scenario) => {
    const name = `image-${++count}`
    const cacheDir = join(directory, name)
    const put = (path: string, bytes: Uint8Array) => {
      fs.mkdirSync(join(path, ".."), { recursive: true })
      fs.writeFileSync(path, bytes)
    }
    const kernel = join(cacheDir, name, "vmlinux.bin")
    const rootfs = join(cacheDir, name, "rootfs.ext4")
    switch (scenario) {
      case "cold":
        break
      case "half-filled":
        put(kernel, after.kernel)
        break
      case "corrupt":
        put(kernel, after.kernel)
        put(rootfs, Buffer.concat([after.rootfs.subarray(0, -1), Buffer.from([0])]))
        break
      case "updated":
        put(kernel, before.kernel)
        put(rootfs, before.rootfs)
        break
      case "left by the dead": {
        // A process number that nobody has, in the realm of this machine, is known from a killed process only.
        const dead = join(cacheDir, ".smolvm-images", "staging", `${deadProcess}.0123456789abcdef0123`)
        put(join(dead, `rootfs.${Processes.sha256(after.rootfs)}.part`), after.rootfs.subarray(0, 2_000_000))
        put(join(dead, `kernel.${Processes.sha256(after.kernel)}.part`), after.kernel)
      }
    }
    return { name, cacheDir, initial: Processes.look(cacheDir, name), task: taskOf(cacheDir, name) }
  }

  const taskOf = (cacheDir: string, name: string): Processes.Task => ({
    cacheDir,
    images: [name],
    registry: Processes.serve(server, name, after, FaultServer.Fault.Trickle({ bytes: 256 * 1024, ms: 5, times: 1 }))
  })

  const deadProcess = yield* identityOfDead(program, directory)

  const operations = (scenario: Scenario) =>
    Effect.map(Processes.run(program, { ...setUp(scenario).task, killAt: 0 }), (child) => {
      Processes.expectImage(child)
      const counted = child.lines.find((line) => line._tag === "Operations")
      return counted?._tag === "Operations" ? counted.count : assert.fail("it said no number")
    })

  const crash = Effect.fnUntraced(function* ({ moment, scenario }: Case) {
    const { cacheDir, initial, name, task } = setUp(scenario)
    const child = yield* kill(program, task, moment)
    const killed = child.signal === "SIGKILL"
    const step = !killed ? "ended" : "killAt" in moment ? stepOf(child.stderr(), cacheDir, name) : "at random"
    const context = `${scenario}, ${JSON.stringify(moment)}, ${step}`

    // From outside: every file is absent only if it was, and otherwise as it was or as it should be, never in between.
    const found = Processes.look(cacheDir, name)
    const wanted = { kernel: Processes.sha256(after.kernel), rootfs: Processes.sha256(after.rootfs) }
    for (const role of ["kernel", "rootfs"] as const) {
      assert.oneOf(found[role], [initial[role], wanted[role]], `${context}: the ${role}`)
    }
    const left = `${Processes.stagingOf(cacheDir).length} staging, ${Processes.locksOf(cacheDir).length} locks`

    const requests = server.requests.length
    const ensure = ImageManager.ensureImage(name).pipe(
      Effect.provide(NodeImageManager.layer({ cacheDir, registry: task.registry })),
      quietly,
      Effect.mapError((error) => new Error(`${context}: ${error.message}`)),
      Effect.orDie
    )
    yield* ensure
    assert.deepStrictEqual(Processes.look(cacheDir, name), wanted, context)
    const resumed = server.requests
      .slice(requests)
      .some(({ headers, path }) => path.startsWith(`/${name}/`) && headers["range"] !== undefined)

    // A hit has nothing to do with what the dead left; the next run that fetches has.
    fs.rmSync(join(cacheDir, name, "vmlinux.bin"))
    yield* ensure
    assert.deepStrictEqual(Processes.look(cacheDir, name), wanted, context)
    Processes.expectTidy(cacheDir)
    fs.rmSync(cacheDir, { recursive: true })
    return { scenario, step, left, resumed } satisfies Outcome
  })

  return { operations, crash }
})

const kill = (program: string, task: Processes.Task, moment: Moment) =>
  "killAt" in moment
    ? Processes.run(program, { ...task, killAt: moment.killAt })
    : Effect.scoped(
        Effect.gen(function* () {
          const child = yield* Processes.start(program, task)
          yield* child.said(Processes.isLine("Ready"))
          yield* Effect.sleep(moment.afterMillis)
          child.kill("SIGKILL")
          return { ...child, ...(yield* child.exit) }
        })
      )

/** The name by which a process that has been killed is known to others on this machine. */
const identityOfDead = (program: string, directory: string) =>
  Effect.gen(function* () {
    const server = yield* FaultServer.make
    const cacheDir = join(directory, "dead")
    const registry = Processes.serve(server, "x", before(), FaultServer.Fault.Stall({ after: 100 }))
    const child = yield* Processes.start(program, { cacheDir, registry, images: ["x"] })
    yield* server.until(() => server.requests.length === 2)
    child.kill("SIGKILL")
    yield* child.exit
    const [name = assert.fail("it left nothing")] = Processes.stagingOf(cacheDir)
    return name.slice(0, name.indexOf("."))
  }).pipe(Effect.scoped)

const before = () => ({ kernel: Processes.someBytes(1000), rootfs: Processes.someBytes(1000) })

/** `rename staging/kernel.part` for what the child said it died before. */
const stepOf = (said: string, cacheDir: string, image: string): string =>
  said
    .trim()
    .split("\n")
    .slice(-1)
    .join("")
    .replaceAll(cacheDir, "cache")
    .replaceAll(image, "IMAGE")
    .replaceAll(/[0-9a-f]{64}/g, "SHA256")
    .replaceAll(/[0-9a-f]{12}-\d+-\d+\.[0-9a-f]{20}/g, "PROCESS")

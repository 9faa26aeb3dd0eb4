import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as FaultServer from "../support/FaultServer.js"
import * as Processes from "../support/processes.js"

const scope = Effect.runSync(Scope.make())
let program = ""
beforeAll(async () => {
  program = Processes.bundle(await Effect.runPromise(Scope.extend(Processes.temporaryDirectory, scope)))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const files = { kernel: Processes.someBytes(100_000), rootfs: Processes.someBytes(3_000_000) }

describe.concurrent("a program that is asked to stop cleans up", () => {
  const runners = [
    { how: "run by NodeRuntime.runMain", abort: false },
    { how: "run by Effect.runPromise with an AbortSignal", abort: true }
  ]
  for (const { abort, how } of runners) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      it.scopedLive(`${how}, by ${signal}`, () =>
        Effect.gen(function* () {
          const server = yield* FaultServer.make
          const cacheDir = join(yield* Processes.temporaryDirectory, "cache")
          const registry = Processes.serve(server, "x", files, FaultServer.Fault.Stall({ after: 2_500_000, times: 1 }))
          const task: Processes.Task = { cacheDir, registry, images: ["x"], ...(abort ? { abort: signal } : {}) }
          const child = yield* Processes.start(program, task)
          yield* server.until(() => server.bytesSent("/x/rootfs") === 2_500_000)
          assert.strictEqual(Processes.stagingOf(cacheDir).length, 1)
          assert.deepStrictEqual(Processes.locksOf(cacheDir), ["x.lock"])

          child.kill(signal)
          const exit = yield* child.exit
          assert.isNull(exit.signal, "it ended by itself")
          assert.isTrue(child.lines.some(Processes.isLine("Interrupted")))
          Processes.expectTidy(cacheDir)
          assert.deepStrictEqual(Processes.look(cacheDir, "x"), {})
        })
      )
    }
  }
})

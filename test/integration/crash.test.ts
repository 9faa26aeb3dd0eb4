import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Crash from "../support/crash.js"
import { say } from "../tools/run.js"

/** How many processes to kill; `npm run test:crash` sets it, for every step of every scenario and many moments. */
const kills = Number(process.env["CRASH_KILLS"] ?? "25")
const isCampaign = process.env["CRASH_KILLS"] !== undefined

/** Steps that are spread over the whole run, another choice each time: in time all of them come up. */
const someSteps = (count: number, operations: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => 1 + Math.floor(((index + Math.random()) * operations) / count))

const casesOf = (scenario: Crash.Scenario, operations: number): ReadonlyArray<Crash.Case> => {
  const share = Math.ceil(kills / Crash.scenarios.length)
  const steps = someSteps(Math.min(operations, Math.ceil(share * 0.8)), operations)
  const moments = Array.from({ length: share - steps.length }, () => Math.random() * 150)
  return [
    ...steps.map((killAt) => ({ scenario, moment: { killAt } })),
    ...moments.map((afterMillis) => ({ scenario, moment: { afterMillis } }))
  ]
}

const report = (outcomes: ReadonlyArray<Crash.Outcome>): void => {
  const table = new Map<string, number>()
  for (const { step } of outcomes) table.set(step, (table.get(step) ?? 0) + 1)
  for (const [step, count] of [...table].sort(([one], [other]) => one.localeCompare(other))) {
    say(`${String(count).padStart(6)}  ${step}`)
  }
  for (const scenario of Crash.scenarios) {
    const some = outcomes.filter((outcome) => outcome.scenario === scenario)
    say(`${scenario}: ${some.length} runs, ${some.filter(({ resumed }) => resumed).length} of them resumed afterwards`)
  }
}

describe("a process that is killed", () => {
  it.scopedLive(
    "at any step leaves a cache that holds, and that the next run repairs and tidies",
    () =>
      Effect.gen(function* () {
        const campaign = yield* Crash.make
        const cases = yield* Effect.forEach(Crash.scenarios, (scenario) =>
          Effect.map(campaign.operations(scenario), (operations) => {
            assert.isAbove(operations, 20)
            return casesOf(scenario, operations)
          })
        )
        const outcomes = yield* Effect.forEach(cases.flat(), campaign.crash, { concurrency: 4 })
        const killed = outcomes.filter(({ step }) => step !== "ended")
        assert.isAtLeast(killed.length, kills * 0.75)
        assert.isTrue(killed.some(({ left }) => left !== "0 staging, 0 locks"))
        if (!isCampaign) return
        report(outcomes)
        say(`${killed.length} processes killed, every invariant held`)
      }),
    isCampaign ? 3_600_000 : 60_000
  )
})

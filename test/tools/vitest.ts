// The vitest step of `npm test`: the numbers of one run, from vitest's JSON report.
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { run, say } from "./run.js"

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const Report = Schema.parseJson(
  Schema.Struct({
    testResults: Schema.Array(
      Schema.Struct({
        name: Schema.String,
        status: Schema.Literal("passed", "failed"),
        assertionResults: Schema.Array(Schema.Struct({ status: Schema.String }))
      })
    )
  })
)

/** Runs every vitest test. What fails outside a test (a file that cannot be loaded, a stray rejection) is a failure too. */
export const runVitest = async (temp: string): Promise<Counts> => {
  const reportFile = join(temp, "vitest.json")
  const ok = await run("vitest", [
    "run",
    "--config=test/config/vitest.config.ts",
    "--reporter=default",
    "--reporter=json",
    "--reporter=./test/tools/skips.ts",
    `--outputFile.json=${reportFile}`
  ])
  const text = await readFile(reportFile, "utf8").catch(() => undefined)
  if (text === undefined) {
    say("vitest wrote no report")
    return { passed: 0, failed: 1, skipped: 0 }
  }
  const files = Schema.decodeUnknownSync(Report)(text).testResults
  const tests = files.flatMap((file) => file.assertionResults)
  const passed = tests.filter((test) => test.status === "passed").length
  const failedTests = tests.filter((test) => test.status === "failed").length
  const failedFiles = files.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")
  )
  for (const file of failedFiles) say(`failed as a whole: ${file.name}`)
  const failed = failedTests + failedFiles.length
  if (passed + failed === 0) say("vitest ran no test")
  return {
    passed,
    failed: failed === 0 && (!ok || passed === 0) ? 1 : failed,
    skipped: tests.length - passed - failedTests
  }
}

// A vitest reporter that says of each skipped test why: the default one keeps it to itself.
import type { Reporter, TestCase } from "vitest/node"
import { say } from "./run.js"

export default class Skips implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const result = test.result()
    if (result.state === "skipped") say(`skipped: ${test.fullName}: ${result.note ?? "no reason given"}`)
  }
}

// `npm run test:crash`: the tests of crashes and races, with hundreds of kills and twenty processes instead of a few.
import { run } from "./run.js"

const ok = await run(
  "vitest",
  ["run", "--config=test/config/vitest.config.ts", "test/integration/crash", "test/integration/race"],
  {
    env: { CRASH_KILLS: process.env["CRASH_KILLS"] ?? "650" }
  }
)
process.exitCode = ok ? 0 : 1

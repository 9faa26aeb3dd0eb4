import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("../..", import.meta.url)),
    include: ["test/{unit,integration}/**/*.test.ts"],
    // Worker processes, not threads: some tests change the umask or the working directory, which a thread may not.
    pool: "forks",
    maxWorkers: 2,
    minWorkers: 1,
    testTimeout: 30_000,
    // Real sockets and processes on a machine that does other things too: in CI a test may try again, and the report says so.
    retry: process.env["CI"] === undefined ? 0 : 2,
    hookTimeout: 60_000
  }
})

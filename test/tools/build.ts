// `npm run build`: src -> dist (JavaScript, declarations, source maps).
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { root, run } from "./run.js"

await rm(join(root, "dist"), { recursive: true, force: true })
process.exitCode = (await run("tsc", ["-p", "test/config/tsconfig.build.json"])) ? 0 : 1

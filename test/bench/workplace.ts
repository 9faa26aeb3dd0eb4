// A temporary place to measure in: generated files, nginx before them, and the compiled processes.
import { spawn, spawnSync } from "node:child_process"
import { createCipheriv, createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { root } from "../tools/run.js"
import type { File } from "./processes/protocol.js"

export const MiB = 1024 * 1024

export interface Generated extends File {
  readonly path: string
  readonly size: number
  /** The same file from a server that gives 20 MB/s to each connection. */
  readonly slowUrl: string
}

export interface Workplace {
  readonly directory: string
  /** A file of that many MiB, the same for the same name. */
  readonly generate: (name: string, mebibytes: number) => Promise<Generated>
  /** The path of a compiled process. */
  readonly process: (name: string) => string
  /** How many requests for a part of a file the server has had. */
  readonly rangeRequests: () => Promise<number>
  readonly close: () => Promise<void>
}

export const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0

const processes = fileURLToPath(new URL("processes", import.meta.url))

/** `library` is the checkout whose `dist` is measured. */
export const prepare = async (library: string): Promise<Workplace> => {
  const directory = await mkdtemp(join(tmpdir(), "smolvm-images-bench-"))
  const www = join(directory, "www")
  await mkdir(www)
  await compile(directory, library)
  const port = await freePort()
  const stop = await startNginx(directory, port)
  return {
    directory,
    generate: async (name, mebibytes) => {
      const path = join(www, name)
      const sha256 = await writeNoise(path, name, mebibytes)
      const url = `http://127.0.0.1:${port}/${name}`
      return { path, size: mebibytes * MiB, sha256, url, slowUrl: `http://127.0.0.1:${port}/slow/${name}` }
    },
    process: (name) => join(directory, `${name}.js`),
    rangeRequests: async () => (await readFile(join(directory, "access.log"), "utf8")).split(" 206\n").length - 1,
    close: async () => {
      await stop()
      await rm(directory, { recursive: true, force: true })
    }
  }
}

/** Noise that is the same each time and that nothing on the way can compress. */
const writeNoise = async (path: string, seed: string, mebibytes: number): Promise<string> => {
  const hash = createHash("sha256")
  const key = createHash("sha256").update(seed).digest()
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16))
  const zeros = Buffer.alloc(MiB)
  const file = await open(path, "w")
  for (let written = 0; written < mebibytes; written++) {
    const noise = cipher.update(zeros)
    hash.update(noise)
    await file.write(noise)
  }
  await file.sync()
  await file.close()
  return hash.digest("hex")
}

/** The processes as plain JavaScript, with the library installed beside them: a loader would be measured with them. */
const compile = async (directory: string, library: string): Promise<void> => {
  for (const name of await readdir(processes)) {
    const source = await readFile(join(processes, name), "utf8")
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
    })
    await writeFile(join(directory, `${basename(name, ".ts")}.js`), outputText)
  }
  await writeFile(join(directory, "package.json"), `{ "type": "module" }`)
  const modules = join(directory, "node_modules")
  await mkdir(modules)
  await symlink(library, join(modules, "smolvm-images"))
  const installed = (await readdir(join(root, "node_modules"))).filter((name) => !name.startsWith("."))
  await Promise.all(installed.map((name) => symlink(join(root, "node_modules", name), join(modules, name))))
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

const startNginx = async (directory: string, port: number): Promise<() => Promise<void>> => {
  const config = join(directory, "nginx.conf")
  await writeFile(
    config,
    `daemon off; master_process off; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
events { worker_connections 256; }
http {
  log_format status "$request_uri $status";
  access_log ${directory}/access.log status;
  client_body_temp_path ${directory}/t1; proxy_temp_path ${directory}/t2; fastcgi_temp_path ${directory}/t3;
  uwsgi_temp_path ${directory}/t4; scgi_temp_path ${directory}/t5;
  sendfile on; tcp_nopush on; default_type application/octet-stream; root ${directory}/www;
  server {
    listen 127.0.0.1:${port};
    location /slow/ { alias ${directory}/www/; limit_rate 20000000; }
  }
}
`
  )
  const nginx = ["nginx", "/usr/sbin/nginx"].find((program) => has(program))
  if (nginx === undefined) throw new Error("nginx is not installed (Debian: nginx-light)")
  const child = spawn(nginx, ["-c", config, "-p", directory], { stdio: "ignore" })
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()))
  for (let tries = 0; !(await answers(port)); tries++) {
    if (tries === 100) {
      const log = join(directory, "error.log")
      throw new Error(`nginx does not answer: ${existsSync(log) ? await readFile(log, "utf8") : "no log"}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return async () => {
    child.kill("SIGTERM")
    await closed
  }
}

const answers = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/`).then(
    async (response) => {
      await response.arrayBuffer()
      return true
    },
    () => false
  )

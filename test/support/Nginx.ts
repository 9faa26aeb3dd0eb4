/** nginx from Debian on the loopback, with a configuration and a directory of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

const program = "/usr/sbin/nginx"

/** Whether there is one on this machine. */
export const isInstalled = (): boolean => existsSync(program)

/** A server that can be killed and started again on the same port. */
export interface Nginx {
  readonly origin: string
  /** Its document root. */
  readonly root: string
  readonly start: Effect.Effect<void, Error>
  /** End it at once, as a crash would, in the middle of its answers. */
  readonly kill: Effect.Effect<void>
  /** The answered requests, in the order in which they ended. */
  readonly log: () => ReadonlyArray<Answered>
}

export interface Answered {
  readonly path: string
  readonly status: number
  readonly bodyBytes: number
  /** The Range header, `-` without one. */
  readonly range: string
}

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = address !== null && typeof address === "object" ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

const answers = (port: number): Effect.Effect<void, Error> =>
  Effect.async((resume) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.once("error", (error) => resume(Effect.fail(error)))
  })

const configuration = (dir: string, port: number, server: string) => `
daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log warn;
events { worker_connections 64; }
http {
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  log_format plain '$uri $status $body_bytes_sent $http_range';
  access_log ${dir}/access.log plain;
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port};
    root ${dir}/root;
    ${server}
  }
}
`

/** Start one; `server` is what its server block says. It ends with the Scope. */
export const make = Effect.fnUntraced(function* (
  dir: string,
  server: string
): Effect.fn.Return<Nginx, Error, Scope.Scope> {
  const port = yield* freePort
  const file = join(dir, "nginx.conf")
  mkdirSync(join(dir, "root"))
  writeFileSync(file, configuration(dir, port, server))
  let running: ChildProcess | undefined

  const kill = Effect.async<void>((resume) => {
    const child = running
    running = undefined
    if (child === undefined || child.exitCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
  const start = Effect.sync(() => {
    running = spawn(program, ["-p", dir, "-e", join(dir, "error.log"), "-c", file], { stdio: "ignore" })
  }).pipe(
    Effect.zipRight(
      Effect.retry(answers(port), Schedule.spaced("20 millis").pipe(Schedule.intersect(Schedule.recurs(250))))
    ),
    Effect.uninterruptible
  )
  yield* Effect.addFinalizer(() => kill)
  yield* start
  return {
    origin: `http://127.0.0.1:${port}`,
    root: join(dir, "root"),
    start,
    kill,
    log: () =>
      readFileSync(join(dir, "access.log"), "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => {
          const [path = "", status, bodyBytes, range = ""] = line.split(" ")
          return { path, status: Number(status), bodyBytes: Number(bodyBytes), range }
        })
  }
})

/** A throw-away certificate authority and a certificate for the loopback, made with the openssl command. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"

/** PEM texts: the authority's certificate, and key and certificate of `localhost` and `127.0.0.1`. */
export interface Certificates {
  readonly ca: string
  readonly key: string
  readonly cert: string
}

const config = `[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[leaf]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
`

const run = promisify(execFile)

const makeIn = async (dir: string): Promise<Certificates> => {
  await writeFile(join(dir, "openssl.cnf"), config)
  const issue = (section: string, name: string, ...more: ReadonlyArray<string>) =>
    run(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"].concat(
        ["-config", "openssl.cnf", "-extensions", section, "-subj", `/CN=fault server ${section}`],
        ["-keyout", `${name}.key`, "-out", `${name}.pem`],
        more
      ),
      { cwd: dir, timeout: 20_000 }
    )
  await issue("ca", "ca")
  await issue("leaf", "leaf", "-CA", "ca.pem", "-CAkey", "ca.key")
  const read = (name: string) => readFile(join(dir, name), "utf8")
  return { ca: await read("ca.pem"), key: await read("leaf.key"), cert: await read("leaf.pem") }
}

/** New certificates, valid for two days; dies where openssl is missing. */
export const make: Effect.Effect<Certificates> = Effect.acquireUseRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "fault-server-"))),
  (dir) => Effect.promise(() => makeIn(dir)),
  (dir) => Effect.promise(() => rm(dir, { recursive: true, force: true }))
)

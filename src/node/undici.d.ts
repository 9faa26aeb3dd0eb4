// All of undici takes 50 ms to load, these parts of it 20. They have no types of their own.

declare module "undici/lib/core/connect.js" {
  import type { buildConnector } from "undici"

  const build: typeof buildConnector
  export default build
}

declare module "undici/lib/dispatcher/pool.js" {
  import type { Pool } from "undici"

  const pool: typeof Pool
  export default pool
}

declare module "undici/lib/dispatcher/env-http-proxy-agent.js" {
  import type { EnvHttpProxyAgent } from "undici"

  const agent: typeof EnvHttpProxyAgent
  export default agent
}

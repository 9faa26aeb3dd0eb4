import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"

/** Process-wide: the clients of those who wait for a download, first come first. */
const lent = globalValue("smolvm-images/lent", () => new Map<string, ReadonlyArray<HttpClient.HttpClient>>())

/**
 * A shared download belongs to all who wait for it, but the client it began with ends with the manager that brought it. So
 * all lend theirs while they wait ...
 */
export const lend =
  (key: string, client: HttpClient.HttpClient) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => void lent.set(key, [...(lent.get(key) ?? []), client])),
      () => effect,
      () =>
        Effect.sync(() => {
          const all = lent.get(key) ?? []
          const rest = all.filter((_, index) => index !== all.indexOf(client))
          if (rest.length === 0) lent.delete(key)
          else lent.set(key, rest)
        })
    )

/** ... and each request is made by whoever is there. */
export const borrowed = (key: string, own: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.makeWith<never, never, HttpClientError, never>(
    Effect.flatMap((request) => (lent.get(key)?.[0] ?? own).execute(request)),
    Effect.succeed
  )

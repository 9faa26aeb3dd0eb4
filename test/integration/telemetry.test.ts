import { NodeSdk } from "@effect/opentelemetry"
import { assert, describe, it } from "@effect/vitest"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import { ImageManager } from "../../src/index.js"
import { NodeImageManager } from "../../src/node/index.js"
import { impatient, quietly, sha256, temporaryDirectory } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const { Fault } = FaultServer
const kernel = new TextEncoder().encode("kernel")
const rootfs = FaultServer.toBytes(FaultServer.pattern(300_000))
const secret = "s3cret-token"

/** Spans as a tree of names, siblings in alphabetical order. */
const treeOf = (spans: ReadonlyArray<ReadableSpan>, parent?: string): ReadonlyArray<unknown> =>
  spans
    .filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)
    .map((span) => [span.name, ...treeOf(spans, span.spanContext().spanId)])
    .sort((one, other) => JSON.stringify(one).localeCompare(JSON.stringify(other)))

const run = Effect.gen(function* () {
  const server = yield* FaultServer.make
  const cacheDir = yield* temporaryDirectory
  const registry = {
    x: {
      kernel: { url: server.serve("/kernel", kernel), sha256: sha256(kernel) },
      rootfs: {
        url: {
          url: `${server
            .serve("/rootfs", rootfs, Fault.Cut({ after: 100_000, how: "fin", times: 1 }))
            .replace("http://", "http://user:passw0rd@")}?token=${secret}`,
          headers: { authorization: `Bearer ${secret}` }
        },
        sha256: sha256(rootfs)
      }
    }
  }
  const manager = NodeImageManager.layer({ ...impatient, cacheDir, registry })
  /** The spans of one call; the exporter forgets them when its layer ends. */
  const traced = (name: string) => {
    const exporter = new InMemorySpanExporter()
    const tracing = NodeSdk.layer(() => ({
      resource: { serviceName: "test" },
      spanProcessor: new SimpleSpanProcessor(exporter)
    }))
    return ImageManager.ensureImage(name).pipe(
      Effect.either,
      Effect.provide(manager),
      Effect.map(() => [...exporter.getFinishedSpans()]),
      Effect.provide(tracing),
      quietly
    )
  }
  return {
    host: new URL(server.origin).host,
    miss: yield* traced("x"),
    hit: yield* traced("x"),
    unknown: yield* traced("y")
  }
})

describe("telemetry", () => {
  it.scopedLive("the spans of a miss, a hit and a failure, without secrets", () =>
    Effect.gen(function* () {
      const { hit, host, miss, unknown } = yield* run
      assert.deepStrictEqual(treeOf(miss), [
        [
          "ImageManager.ensureImage",
          ["ImageManager.commit"],
          ["ImageManager.fetchAsset", ["ImageManager.attempt"], ["ImageManager.attempt"]],
          ["ImageManager.fetchAsset", ["ImageManager.attempt"]],
          ["ImageManager.lookup"],
          ["ImageManager.verify"]
        ]
      ])
      assert.deepStrictEqual(treeOf(hit), [["ImageManager.ensureImage", ["ImageManager.lookup"]]])
      const outcomeOf = (spans: ReadonlyArray<ReadableSpan>) =>
        spans.find(({ name }) => name === "ImageManager.ensureImage")?.attributes["smolvm_images.outcome"]
      assert.strictEqual(outcomeOf(miss), "fetched")
      assert.strictEqual(outcomeOf(hit), "hit")
      const attempts = miss.filter(({ name }) => name === "ImageManager.attempt")
      assert.isTrue(attempts.every(({ attributes }) => attributes["server.address"] === host))
      assert.isTrue(attempts.every(({ attributes }) => attributes["http.request.method"] === "GET"))
      assert.deepStrictEqual(
        attempts.map(({ attributes }) => attributes["http.response.status_code"]).sort(),
        [200, 200, 206]
      )
      assert.deepStrictEqual(
        attempts.flatMap(({ attributes }) => attributes["error.type"] ?? []),
        ["DownloadFailed"]
      )
      const bytes = attempts.reduce((sum, { attributes }) => sum + Number(attributes["smolvm_images.bytes"]), 0)
      assert.strictEqual(bytes, kernel.length + rootfs.length)
      const assets = miss
        .filter(({ name }) => name === "ImageManager.fetchAsset")
        .map(({ attributes }) => attributes["asset"])
      assert.deepStrictEqual(assets.sort(), ["kernel", "rootfs"])
      assert.deepStrictEqual(
        unknown.map(({ attributes, name }) => [name, attributes["error.type"]]),
        [["ImageManager.ensureImage", "UnknownImage"]]
      )
      const all = JSON.stringify(
        [...miss, ...hit, ...unknown].map(({ attributes, events, name, status }) => ({
          attributes,
          events,
          name,
          status
        }))
      )
      assert.notInclude(all, secret)
      assert.notInclude(all, "passw0rd")
    })
  )

  it.scopedLive("the metrics count hits, misses, bytes and retries", () =>
    Effect.gen(function* () {
      const read = Effect.map(Metric.snapshot, (pairs) =>
        Object.fromEntries(
          pairs.flatMap(({ metricKey, metricState }) =>
            metricKey.name.startsWith("smolvm_images_")
              ? [[metricKey.name, MetricState.isCounterState(metricState) ? Number(metricState.count) : metricState]]
              : []
          )
        )
      )
      const before = yield* read
      yield* run
      const after = yield* read
      const grown = (name: string) =>
        Number(after[`smolvm_images_${name}`]) - Number(before[`smolvm_images_${name}`] ?? 0)
      assert.strictEqual(grown("hits"), 1)
      assert.strictEqual(grown("misses"), 1)
      assert.strictEqual(grown("retries"), 1)
      assert.strictEqual(grown("bytes_received"), kernel.length + rootfs.length)
      assert.property(after, "smolvm_images_ensure_seconds")
      assert.property(after, "smolvm_images_attempt_seconds")
    })
  )
})

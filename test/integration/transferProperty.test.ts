/** Whatever a server does, in whatever order: the exact bytes, or a typed error, and nothing left behind. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { ImageError } from "../../src/index.js"
import { ensure, readFile, sha256, temporaryDirectory } from "../support/ensure.js"
import * as FaultServer from "../support/FaultServer.js"

const size = 20_000
const files = {
  kernel: FaultServer.toBytes(FaultServer.pattern(size)),
  rootfs: FaultServer.toBytes(FaultServer.pattern(size)).map((byte) => byte ^ 0x55)
}
const names = { kernel: "vmlinux.bin", rootfs: "rootfs.ext4" }

const script = (waits: boolean) => FaultServer.arbitraryScript({ size, maxSteps: 4, waits })

/** Two files under one ETag are a lie that only a digest brings to light. */
const truthful = ({ steps }: FaultServer.Script): FaultServer.Script =>
  FaultServer.script(...steps.map((step) => step.filter(({ _tag }) => _tag !== "NewETag")))

/** Each asset has one source or two, each with its own faults, and more or less that is known about it. */
const world = (waits: boolean) => {
  const scripts = FastCheck.array(script(waits), { minLength: 1, maxLength: 2 })
  const sized = FastCheck.boolean()
  const asset = FastCheck.oneof(
    FastCheck.record({ pinned: FastCheck.constant(true), sized, scripts }),
    FastCheck.record({ pinned: FastCheck.constant(false), sized, scripts: scripts.map((all) => all.map(truthful)) })
  )
  return FastCheck.record({ kernel: asset, rootfs: asset })
}

type World = ReturnType<typeof world> extends FastCheck.Arbitrary<infer A> ? A : never

const check = Effect.fnUntraced(function* (given: World) {
  const server = yield* FaultServer.make
  const cacheDir = yield* temporaryDirectory
  const assetOf = (role: "kernel" | "rootfs") => {
    const { pinned, scripts, sized } = given[role]
    const [first = "", ...mirrors] = scripts.map((script, i) => server.serve(`/${role}/${i}`, files[role], script))
    return {
      url: [first, ...mirrors] as const,
      ...(pinned ? { sha256: sha256(files[role]) } : {}),
      ...(sized ? { size } : {})
    }
  }
  const registry = { x: { kernel: assetOf("kernel"), rootfs: assetOf("rootfs") } }
  const result = yield* ensure({
    cacheDir,
    registry,
    maxSize: 100_000,
    maxRetryAfter: "1 second",
    responseTimeout: "300 millis",
    stallWindow: "300 millis"
  })
  const present = (role: "kernel" | "rootfs") =>
    Effect.option(readFile(join(cacheDir, "x", names[role])).pipe(Effect.sandbox))
  for (const role of ["kernel", "rootfs"] as const) {
    const found = yield* present(role)
    if (Either.isLeft(result)) {
      assert.isTrue(Option.isNone(found), "all or nothing")
    } else if (given[role].pinned) {
      assert.isTrue(Option.isSome(found) && sha256(found.value) === sha256(files[role]), `the exact ${role}`)
    } else {
      assert.isTrue(Option.isSome(found) && known(role, found.value), `a whole ${role} that the server had`)
    }
  }
  if (Either.isLeft(result)) {
    assert.instanceOf(result.left, ImageError.ImageError)
    assert.include(["DownloadFailed", "UnexpectedContent", "ChecksumMismatch"], result.left.reason)
    assert.isDefined(result.left.asset)
    assert.isDefined(result.left.url)
    assert.isAbove(result.left.attempts ?? 0, 0)
  }
})

/** Without a digest, any one file of the server's will do, but never a mixture of two. */
const known = (role: "kernel" | "rootfs", found: Uint8Array): boolean => {
  const honest = Buffer.from(files[role])
  const inverted = honest.map((byte) => byte ^ 0xff)
  const like = (whole: Uint8Array) => {
    let different = 0
    for (let i = 0; i < Math.min(whole.length, found.length); i++) if (!holds(found[i], whole[i])) different++
    return different
  }
  /** Where a file was made shorter and longer again, there are zeros, or inverted ones. */
  const holds = (byte: number | undefined, wanted: number | undefined) => byte === wanted || byte === 0 || byte === 0xff
  // One byte may be flipped in each response, and a file may be shortened, or lengthened by zeros.
  return like(honest) <= 8 || like(inverted) <= 8
}

describe("any sequence of faults", () => {
  it.effect.prop(
    "ends in the exact bytes or in a typed error, with no temp file left",
    [world(false)],
    ([given]) => check(given).pipe(Effect.scoped, Effect.withClock(Clock.make())),
    { fastCheck: { numRuns: 60, interruptAfterTimeLimit: 20_000 }, timeout: 60_000 }
  )

  it.effect.prop(
    "also where it keeps one waiting",
    [world(true)],
    ([given]) => check(given).pipe(Effect.scoped, Effect.withClock(Clock.make())),
    { fastCheck: { numRuns: 15, interruptAfterTimeLimit: 10_000 }, timeout: 60_000 }
  )
})

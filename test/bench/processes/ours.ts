// Our side: the built package, its Node layer, its public API.
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { ImageManager } from "smolvm-images"
import { NodeImageManager } from "smolvm-images/node"
import { answer, job, median, peakRss, timed } from "./protocol.js"

const loaded = performance.now()
const { before, directory, kernel, mode, monitor = false, options = {}, rootfs, times = 1 } = job()
const registry = { image: { kernel, rootfs }, ...(before === undefined ? {} : { before }) }
const layer = () => NodeImageManager.layer({ ...options, cacheDir: directory, registry })

switch (mode) {
  case "idle":
    answer({ wall: 0, loaded, peakRss: peakRss() })
    break
  case "ensure": {
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    if (monitor) histogram.enable()
    const cost = await timed(() =>
      Effect.runPromise(ImageManager.ensureImage("image").pipe(Effect.provide(layer()), Effect.asVoid))
    )
    histogram.disable()
    const loop = { p99: histogram.percentile(99) / 1e6, max: histogram.max / 1e6 }
    answer({ ...cost, loaded, peakRss: peakRss(), ...(monitor ? { loop } : {}) })
    break
  }
  case "later": {
    const runtime = ManagedRuntime.make(layer())
    await runtime.runPromise(ImageManager.ensureImage("before"))
    const cost = await timed(() => runtime.runPromise(ImageManager.ensureImage("image")))
    answer({ ...cost, loaded, peakRss: peakRss() })
    await runtime.dispose()
    break
  }
  default: {
    const runtime = ManagedRuntime.make(layer())
    const once = () => runtime.runPromise(ImageManager.ensureImage("image"))
    const singles: Array<number> = []
    const together: Array<number> = []
    for (let round = 0; round < times; round++) {
      singles.push((await timed(once)).wall)
      if (mode === "concurrent") together.push((await timed(() => Promise.all(Array.from({ length: 20 }, once)))).wall)
    }
    // The first rounds warm the compiler up.
    const settled = (values: ReadonlyArray<number>) => median(values.slice(Math.floor(values.length / 3)))
    answer({
      wall: settled(singles),
      loaded,
      peakRss: peakRss(),
      ...(mode === "concurrent" ? { together: settled(together) } : {})
    })
    await runtime.dispose()
  }
}

// What a case is given, and what it gives.
import type { Samples } from "./comparison.js"
import type { Panel, Row } from "./report.js"
import type { Image, Sides } from "./sides.js"
import type { Workplace } from "./workplace.js"

export interface Settings {
  readonly library: string
  readonly rootfs: number
  readonly kernel: number
  readonly pairs: number
  readonly quick: boolean
  readonly wanted: (name: string) => boolean
}

export interface Outcome {
  readonly rows: ReadonlyArray<Row>
  readonly panels?: ReadonlyArray<Panel>
}

export interface Bench {
  readonly place: Workplace
  readonly settings: Settings
  readonly sides: Sides
  /** What most cases are about, and its size in words. */
  readonly image: Image
  readonly size: string
  /** 1 + 1 MiB. */
  readonly small: Image
  /** Cold runs of everybody, which two cases look at. */
  readonly coldRuns: () => Promise<Samples>
  readonly progress: (text: string) => void
}

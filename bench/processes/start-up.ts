import { monitorEventLoopDelay } from 'node:perf_hooks'
import { build } from '../contenders/build.ts'
import type { Build } from '../contenders/contender.ts'
import { serve } from '../support/child.ts'

/* Starts one application and watches the event loop meanwhile. */

export interface StartUpResult {
  /** Until the application is ready, in milliseconds. */
  ready: number
  /** Until it held every entry, in milliseconds. */
  complete: number
  /** The longest block, as a timer of 1 ms saw it. */
  delay: number
  /** The longest block, as setImmediate saw it, which was called in each turn of the event loop; 0 where it was not. */
  gap: number
  /** The longest by the CPU that this process used meanwhile: on a busy machine others have had the rest. */
  gapCpu: number
}

/** The application goes on for so long before the watching ends. */
const AFTERWARDS = 1000
const PATIENCE = 60_000

const handlers = {
  async run ({ what, immediates }: { what: Build, immediates: boolean }): Promise<StartUpResult> {
    // To load modules, and to start Fastify for the first time, blocks as well: that is not what is measured.
    await build({ ...what, contender: { ...what.contender, mode: 'strict' } })
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    const gaps = immediates ? watchGaps() : undefined
    histogram.enable()
    const started = performance.now()
    const running = await build(what)
    const ready = performance.now() - started
    while (running.revocation!.status().entries !== what.contender.entries) {
      if (performance.now() - started > PATIENCE) throw new Error(`of ${what.contender.entries} entries a replica holds ${running.revocation!.status().entries}`)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const complete = performance.now() - started
    await new Promise((resolve) => setTimeout(resolve, AFTERWARDS))
    histogram.disable()
    return { ready, complete, delay: histogram.max / 1e6, ...gaps?.() ?? { gap: 0, gapCpu: 0 } }
  }
}

function watchGaps () {
  let gap = 0
  let gapCpu = 0
  let last = performance.now()
  let cpu = process.cpuUsage()
  let immediate = setImmediate(function turn () {
    const now = performance.now()
    const { user, system } = process.cpuUsage(cpu)
    gap = Math.max(gap, now - last)
    gapCpu = Math.max(gapCpu, (user + system) / 1000)
    last = now
    cpu = process.cpuUsage()
    immediate = setImmediate(turn)
  })
  return () => {
    clearImmediate(immediate)
    return { gap, gapCpu }
  }
}

export type StartUpHandlers = typeof handlers
serve(handlers)

import { randomUUID } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Build } from '../contenders/contender.ts'
import { build, whenComplete } from '../contenders/fastify.ts'
import { serve } from '../support/serve.ts'

/* Starts one application, watches the event loop meanwhile, and weighs what it holds. Needs --expose-gc. */

export interface StartResult {
  /** Until the application is ready, in milliseconds. */
  ready: number
  /** Until it held every entry, in milliseconds. */
  complete: number
  /** The longest block of the event loop, in milliseconds. */
  block: number
  /** What the process holds then, in bytes. */
  bytes: number
}

/** The application goes on for so long before the watching ends. */
const AFTERWARDS = 1000
const LIFETIME = 7200

const handlers = {
  async run (what: Build): Promise<StartResult> {
    // To load modules, and to start Fastify for the first time, blocks as well: that is not what is measured.
    await build({ ...what, contender: { ...what.contender, mode: 'strict' } })
    await bytes()
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    histogram.enable()
    const started = performance.now()
    const running = await build(what)
    const ready = performance.now() - started
    await whenComplete(running, what.contender)
    const complete = performance.now() - started
    await new Promise((resolve) => setTimeout(resolve, AFTERWARDS))
    histogram.disable()
    return { ready, complete, block: histogram.max / 1e6, bytes: await bytes() }
  },

  /** What a Map of so many names grows by, in bytes. */
  async map (entries: number): Promise<number> {
    const before = await bytes()
    const map = new Map<string, number>()
    const until = Math.floor(Date.now() / 1000) + LIFETIME
    // As JSON.parse gives them, like the claims of a token: strings of their own, not pieces of a larger one.
    for (let i = 0; i < entries; i++) map.set(JSON.parse(`"${randomUUID()}"`), until)
    const after = await bytes()
    if (map.size !== entries) throw new Error(`a Map holds ${map.size} entries`)
    return after - before
  }
}

/** When everything is collected that can be. */
async function bytes (): Promise<number> {
  for (let i = 0; i < 4; i++) {
    global.gc!()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export type StartHandlers = typeof handlers
serve(handlers)

import { randomUUID } from 'node:crypto'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { serve } from '../support/child.ts'
import { builtDenylist } from '../support/plugin.ts'

/* Fills one container with revoked tokens. Needs --expose-gc. */

export type Container = 'Denylist' | 'Map<string, number>' | 'Set<string>'

export interface MemoryResult {
  /** What the heap, external memory and array buffers grew by, in bytes. */
  bytes: number
  rss: number
  /** Seconds that inserting took, without making the names. */
  seconds: number
  /** The rest in milliseconds. */
  slowestInsert: number
  longestMinor: number
  longestMajor: number
  fullCollection: number
}

interface Filled {
  insert (name: string): void
  has (name: string): boolean
  readonly size: number
}

/** As the observer of 'gc' tells. */
interface Collection {
  duration: number
  detail: { kind: number }
}

const CHUNK = 10_000
const LIFETIME = 7200
/** Short-lived objects, made when the container is full: what a request leaves behind. */
const LITTER = 2_000_000

const handlers = {
  async run ({ container, entries }: { container: Container, entries: number }): Promise<MemoryResult> {
    const filled = await FACTORIES[container]()
    const collections: Collection[] = []
    const observer = new PerformanceObserver((list) => { collections.push(...list.getEntries() as unknown as Collection[]) })
    await quiet()
    const before = process.memoryUsage()
    observer.observe({ entryTypes: ['gc'] })

    let seconds = 0
    let slowestInsert = 0
    let sample = ''
    for (let done = 0; done < entries; done += CHUNK) {
      const names = flatNames(Math.min(CHUNK, entries - done))
      for (const name of names) {
        const started = performance.now()
        filled.insert(name)
        const took = performance.now() - started
        seconds += took / 1000
        if (took > slowestInsert) slowestInsert = took
      }
      sample = names[0]!
      // Lets the observer be told.
      await new Promise((resolve) => setImmediate(resolve))
    }
    litter()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const longest = (kind: number) => Math.max(0, ...collections
      .filter(({ detail }) => detail.kind === kind).map(({ duration }) => duration))
    const [longestMinor, longestMajor] = [longest(constants.NODE_PERFORMANCE_GC_MINOR), longest(constants.NODE_PERFORMANCE_GC_MAJOR)]
    observer.disconnect()

    const fullCollection = await quiet()
    const after = process.memoryUsage()
    if (filled.size !== entries || !filled.has(sample) || filled.has(randomUUID())) throw new Error(`${container} does not hold what it should`)
    return {
      bytes: total(after) - total(before), rss: after.rss - before.rss, seconds, slowestInsert, longestMinor, longestMajor, fullCollection
    }
  }
}

const FACTORIES: Record<Container, () => Filled | Promise<Filled>> = {
  async Denylist () {
    const Denylist = await builtDenylist()
    const at = Math.floor(Date.now() / 1000)
    const list = new Denylist(() => Date.now() / 1000)
    const exp = at + LIFETIME
    return {
      insert: (name) => list.add({ kind: 'revoked', name, at, exp, until: exp + 10 }, true),
      has: (name) => list.isRevoked(name),
      get size () { return list.size }
    }
  },
  'Map<string, number>' () {
    const map = new Map<string, number>()
    const until = Math.floor(Date.now() / 1000) + LIFETIME
    return { insert: (name) => map.set(name, until), has: (name) => map.has(name), get size () { return map.size } }
  },
  'Set<string>' () {
    const set = new Set<string>()
    return { insert: (name) => set.add(name), has: (name) => set.has(name), get size () { return set.size } }
  }
}

/** As JSON.parse gives them, like the claims of a token: strings of their own, not pieces of a larger one. */
function flatNames (count: number): string[] {
  return JSON.parse(JSON.stringify(Array.from({ length: count }, () => randomUUID())))
}

function litter () {
  let kept: object[] = []
  for (let i = 0; i < LITTER; i++) {
    kept.push({ i, headers: { authorization: i } })
    if (kept.length === 1000) kept = []
  }
}

/** Everything that can be collected is. Gives what the last of the collections took: a heap at rest. */
async function quiet (): Promise<number> {
  let took = 0
  for (let i = 0; i < 4; i++) {
    const started = performance.now()
    global.gc!()
    took = performance.now() - started
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return took
}

const total = ({ heapUsed, external }: NodeJS.MemoryUsage) => heapUsed + external

export type MemoryHandlers = typeof handlers
serve(handlers)

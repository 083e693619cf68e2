import { replica } from '../contenders/contender.ts'
import type { StartHandlers, StartResult } from '../processes/start.ts'
import type { Bench } from '../support/bench.ts'
import { inSession } from '../support/owner.ts'
import { median } from '../support/stats.ts'
import { keysFor } from '../support/tokens.ts'

export interface Starts {
  entries: number
  /** Of processes that begin with a log of none, and with one of `entries`. */
  empty: StartResult[]
  full: StartResult[]
  /** What a Map<string, number> of as many names takes, in bytes. */
  map: number[]
}

const NODE_ARGS = ['--expose-gc']

export async function measureStarts (bench: Bench): Promise<Starts> {
  const { entries, processes } = bench.settings.start
  const keys = await keysFor('HS256')
  const found: Starts = { entries, empty: [], full: [], map: [] }
  for (let i = 0; i < processes; i++) {
    found.empty.push(await start(0))
    found.full.push(await start(entries))
    found.map.push(await inSession((session) => bench.start<StartHandlers>(session, 'start', NODE_ARGS).call('map', entries)))
  }
  return found

  async function start (entries: number): Promise<StartResult> {
    const { database: { url: redisUrl } } = await bench.filled(entries)
    return await inSession((session) =>
      bench.start<StartHandlers>(session, 'start', NODE_ARGS).call('run', { contender: replica(false, entries), keys, redisUrl }))
  }
}

/** What a process holds more than one without entries. */
export function bytesPerEntry ({ entries, empty, full }: Starts): number {
  const bytes = (results: StartResult[]) => median(results.map(({ bytes }) => bytes))
  return (bytes(full) - bytes(empty)) / entries
}

import { AGAIN, ALONE, ASKING, bothWays, BY_HAND, OPEN, replica, strict, type Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Bench } from '../support/bench.ts'
import type { Child } from '../support/child.ts'
import { inSession } from '../support/owner.ts'
import { checksBetween } from '../support/redis.ts'
import { shuffled } from '../support/stats.ts'
import { keysFor, tokensOf, type Keys } from '../support/tokens.ts'
import { isSettled, type Sample } from './comparison.ts'
import { tryOut } from './trial.ts'

/** One run of one of the three in a process. */
export interface SocketSample extends Sample {
  perSecond: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** What Redis executed per request, for checks. */
  commands: number
  /** Requests that the server found in one turn of its event loop. */
  perTurn: number
}

export interface Sockets {
  samples: SocketSample[]
  /** So many processes of each row. */
  generations: number
  /** Requests per second of the steady load, in each process. */
  rates: number[]
}

export type SocketLoad = 'steady' | 'saturated'

export const CONNECTIONS = 64
const TOKENS = 1250
/** After a run: what is still on its way arrives. */
const SETTLING = 10

const rowsOf = (entries: number[]): Contender[] => [
  OPEN, ...ASKING, BY_HAND, ...bothWays(strict), ...[entries[0]!, entries.at(-1)!].flatMap((count) => bothWays((jwt) => replica(jwt, count)))
]

/** Two processes of the same code differ by a fifth: each row has one of its own, with the two equals that it is compared with. */
export function measureSockets (bench: Bench, load: SocketLoad, save: (found: Sockets) => unknown): Promise<Sockets> {
  return inSession(async (session) => {
    const { generations, most } = bench.settings.sockets
    const least = generations[load]
    const keys = await keysFor('HS256')
    const generator = bench.start<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, TOKENS)).map(({ token }) => token))
    const rows = rowsOf(bench.settings.entries).filter(({ name }) => bench.rows.test(name))
    const found: Sockets = { samples: [], generations: 0, rates: [] }
    while (found.generations < most && (found.generations < least || !isSettled(found.samples))) {
      for (const row of rows) await measureProcess(bench, { row, keys, generator, load }, found)
      found.generations++
      await save(found)
    }
    return found
  })
}

interface ProcessOptions {
  row: Contender
  keys: Keys
  generator: Child<LoadHandlers>
  load: SocketLoad
}

/** Its three ports are asked one at a time, so that what the process uses meanwhile belongs to that one. */
function measureProcess (bench: Bench, { row, keys, generator, load }: ProcessOptions, { samples, rates }: Sockets) {
  return inSession(async (session) => {
    const { rounds, warmUp, steadyWarmUp, leadIn, seconds } = bench.settings.sockets
    const { database, seeded } = await bench.filled(row.entries)
    const server = bench.start<ServerHandlers>(session, 'server')
    const three = [ALONE, AGAIN, row]
    const ports = new Map<Contender, number>()
    for (const contender of shuffled(three)) {
      const port = await server.call('start', { contender, keys, redisUrl: database.url })
      await tryOut(contender, port, keys, database, seeded)
      ports.set(contender, port)
    }

    let rate: number | undefined
    const ask = (port: number, seconds: number) =>
      generator.call('run', { ports: [port], connections: CONNECTIONS, seconds, ...(rate !== undefined && { rate }) })
    // The rate comes from here: one run more of one of two equals made them differ by 9 %.
    let perSecond = 0
    for (const [contender, port] of shuffled([...ports])) {
      const warm = await ask(port, warmUp / 2)
      if (contender === ALONE) perSecond = warm.perSecond
    }
    // What V8 compiles while the server is saturated does not fit a turn with one request.
    if (load === 'steady') rates.push(rate = Math.round(perSecond / 3))
    for (const [, port] of shuffled([...ports])) await ask(port, rate === undefined ? warmUp / 2 : steadyWarmUp)

    const first = samples.length === 0 ? 0 : samples.at(-1)!.round + 1
    for (let round = first; round < first + rounds; round++) {
      const found = new Map<Contender, SocketSample>()
      for (const [contender, port] of shuffled([...ports])) found.set(contender, { row: contender.name, round, ...await run(port) })
      samples.push(...three.map((contender) => found.get(contender)!))
    }

    async function run (port: number) {
      // What the neighbours left in the caches of the processor goes, and what V8 dropped meanwhile is made again.
      await ask(port, leadIn)
      const callsBefore = await database.calls()
      const before = await server.call('usage')
      const { perSecond, p50, p99 } = await ask(port, seconds)
      await new Promise((resolve) => setTimeout(resolve, SETTLING))
      const after = await server.call('usage')
      const requests = after.handled - before.handled
      return {
        cpu: (after.cpu - before.cpu) / requests,
        perSecond,
        p50,
        p99,
        commands: checksBetween(callsBefore, await database.calls()) / requests,
        perTurn: requests / (after.turns - before.turns)
      }
    }
  })
}

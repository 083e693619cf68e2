import { AGAIN, ALONE, bothWays, BY_HAND, OPEN, replica, strict, type Build, type Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Bench } from '../support/bench.ts'
import type { Child } from '../support/child.ts'
import { inSession, type Session } from '../support/owner.ts'
import { checksBetween } from '../support/redis.ts'
import { shuffled } from '../support/stats.ts'
import { keysFor, tokensOf } from '../support/tokens.ts'
import { isSettled, type Sample } from './comparison.ts'
import { tryOut } from './trial.ts'

/** One run of one contender over sockets. */
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
  /** Requests per second, of each generation. */
  rates: number[]
}

interface Server {
  contender: Contender
  port: number
  process: Child<ServerHandlers>
}

export const CONNECTIONS = 64
const TOKENS = 1250
/** After a run: what is still on its way arrives. */
const SETTLING = 30

const rowsOf = (entries: number[]): Contender[] => [
  OPEN, BY_HAND, ...bothWays(strict), ...[entries[0]!, entries.at(-1)!].flatMap((count) => bothWays((jwt) => replica(jwt, count)))
]

/** Contenders are processes of their own, asked one at a time. V8 does not optimise two processes alike: so several of each. */
export async function measureSockets (bench: Bench, load: 'steady' | 'saturated', save: (found: Sockets) => unknown): Promise<Sockets> {
  const { generations, most } = bench.settings.sockets
  const found: Sockets = { samples: [], rates: [] }
  for (let done = 0; done < most && (done < generations || !isSettled(found.samples)); done++) {
    await inSession((session) => measureGeneration(session, bench, load, found))
    await save(found)
  }
  return found
}

async function measureGeneration (session: Session, bench: Bench, load: 'steady' | 'saturated', { samples, rates }: Sockets) {
  const { rounds, warmUp, leadIn, seconds } = bench.settings.sockets
  const keys = await keysFor('HS256')
  const generator = bench.start<LoadHandlers>(session, 'load')
  await generator.call('tokens', (await tokensOf(keys, TOKENS)).map(({ token }) => token))
  const chosen = rowsOf(bench.settings.entries).filter(({ name }) => bench.rows.test(name))
  const servers: Server[] = []
  for (const contender of [ALONE, AGAIN, ...chosen]) servers.push(await start(contender))

  const saturate = (port: number, seconds: number) => generator.call('run', { ports: [port], connections: CONNECTIONS, seconds })
  for (const { port } of servers) await saturate(port, warmUp)
  const rate = load === 'saturated' ? undefined : Math.round((await saturate(servers[0]!.port, seconds)).perSecond / 3)
  if (rate !== undefined) rates.push(rate)

  const before = samples.length === 0 ? 0 : samples.at(-1)!.round + 1
  for (let round = before; round < before + rounds; round++) {
    const found = new Map<Server, SocketSample>()
    for (const server of shuffled(servers)) found.set(server, { row: server.contender.name, round, ...await run(server) })
    samples.push(...servers.map((server) => found.get(server)!))
  }

  async function start (contender: Contender): Promise<Server> {
    const { database, seeded } = await bench.filled(contender.entries)
    const process = bench.start<ServerHandlers>(session, 'server')
    const what: Build = { contender, keys, redisUrl: database.url }
    const port = await process.call('start', what)
    await tryOut(contender, port, keys, database, seeded)
    return { contender, port, process }
  }

  async function run ({ contender, port, process }: Server) {
    const ask = (seconds: number) =>
      rate === undefined ? saturate(port, seconds) : generator.call('run', { ports: [port], connections: CONNECTIONS, seconds, rate })
    const { database } = await bench.filled(contender.entries)
    // V8 drops the code of a process that has had nothing to do for a while.
    await ask(leadIn)
    const callsBefore = await database.calls()
    const usedBefore = await process.call('usage')
    const { perSecond, p50, p99 } = await ask(seconds)
    await new Promise((resolve) => setTimeout(resolve, SETTLING))
    const used = await process.call('usage')
    const requests = used.handled - usedBefore.handled
    return {
      cpu: (used.cpu - usedBefore.cpu) / requests,
      perSecond,
      p50,
      p99,
      commands: checksBetween(callsBefore, await database.calls()) / requests,
      perTurn: requests / (used.turns - usedBefore.turns)
    }
  }
}

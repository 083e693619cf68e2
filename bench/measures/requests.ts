import { contendersWith, type Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Load, Settings } from '../settings.ts'
import { startChild, type Child } from '../support/child.ts'
import { inSession, type Session } from '../support/owner.ts'
import { between, type Calls } from '../support/redis.ts'
import { shuffled } from '../support/stats.ts'
import { keysFor, tokensOf, type Algorithm } from '../support/tokens.ts'
import type { Databases } from './databases.ts'
import { tryOut } from './trial.ts'

/** One run of one contender. */
export interface Sample {
  contender: string
  algorithm: Algorithm
  connections: number
  round: number
  perSecond: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** Microseconds of the server's CPU per request. */
  cpu: number
  /** What Redis executed per request, for checks. */
  commands: number
  /** What it executed besides, per second. */
  background: number
  calls: Calls
}

interface Started {
  contender: Contender
  port: number
  server: Child<ServerHandlers>
}

/** After a run: what is still on its way arrives. */
const SETTLING = 30

export async function measureRequests (settings: Settings, databases: Databases): Promise<Sample[]> {
  return [
    ...await measureAlgorithm('HS256', settings.hs256, settings, databases),
    ...await measureAlgorithm('ES256', settings.es256, settings, databases)
  ]
}

function measureAlgorithm (algorithm: Algorithm, loads: Load[], settings: Settings, databases: Databases): Promise<Sample[]> {
  return inSession(async (session) => {
    const keys = await keysFor(algorithm)
    const generator = startChild<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, settings.tokens)).map(({ token }) => token))
    const all: Started[] = []
    for (const contender of contendersWith(settings.entries)) all.push(await start(session, contender))

    for (const { port } of all) await generator.call('run', { ports: [port], ...settings.warmUp })

    const samples: Sample[] = []
    for (let round = 0; round < Math.max(...loads.map(({ rounds }) => rounds)); round++) {
      for (const load of loads.filter(({ rounds }) => round < rounds)) {
        for (const one of shuffled(all)) samples.push({ algorithm, round, ...await run(one, load) })
      }
      console.log(`${algorithm}: round ${round + 1} is done`)
    }
    return samples

    async function start (session: Session, contender: Contender): Promise<Started> {
      const { database, seeded } = databases.of(contender)
      const server = startChild<ServerHandlers>(session, 'server')
      const port = await server.call('start', { contender, keys, redisUrl: database.url })
      await tryOut(contender, port, keys, database, seeded)
      return { contender, port, server }
    }

    async function run ({ contender, port, server }: Started, { connections, seconds }: Load) {
      const { database } = databases.of(contender)
      const callsBefore = await database.calls()
      const before = await server.call('usage')
      const { perSecond, p50, p99 } = await generator.call('run', { ports: [port], connections, seconds })
      await new Promise((resolve) => setTimeout(resolve, SETTLING))
      const after = await server.call('usage')
      const { checks, background, names } = between(callsBefore, await database.calls())
      const handled = after.handled - before.handled
      return {
        contender: contender.name,
        connections,
        perSecond,
        p50,
        p99,
        cpu: (after.cpu - before.cpu) / handled,
        commands: checks / handled,
        background: background / seconds,
        calls: names
      }
    }
  })
}

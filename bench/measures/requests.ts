import { contendersWith } from '../contenders/contender.ts'
import type { Load, Settings } from '../settings.ts'
import { inSession } from '../support/owner.ts'
import { between, type Calls } from '../support/redis.ts'
import { shuffled } from '../support/stats.ts'
import type { Algorithm } from '../support/tokens.ts'
import type { Databases } from './databases.ts'
import { ask, startServers, type Server } from './servers.ts'

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

export async function measureRequests (settings: Settings, databases: Databases): Promise<Sample[]> {
  return [
    ...await measureAlgorithm('HS256', settings.hs256, settings, databases),
    ...await measureAlgorithm('ES256', settings.es256, settings, databases)
  ]
}

function measureAlgorithm (algorithm: Algorithm, loads: Load[], settings: Settings, databases: Databases): Promise<Sample[]> {
  return inSession(async (session) => {
    const servers = await startServers(session, contendersWith(settings.entries), algorithm, settings, databases)
    const samples: Sample[] = []
    for (let round = 0; round < Math.max(...loads.map(({ rounds }) => rounds)); round++) {
      for (const load of loads.filter(({ rounds }) => round < rounds)) {
        for (const one of shuffled(servers.all)) samples.push({ algorithm, round, ...await run(one, load) })
      }
      console.log(`${algorithm}: round ${round + 1} is done`)
    }
    return samples

    async function run (server: Server, { connections, seconds }: Load) {
      const { contender } = server
      const { database } = databases.of(contender)
      // V8 drops the code of a process that has had nothing to do for a while.
      await ask(servers, [server], connections, settings.leadIn)
      const callsBefore = await database.calls()
      const { result: { perSecond, p50, p99 }, used: [used] } = await ask(servers, [server], connections, seconds)
      const { checks, background, names } = between(callsBefore, await database.calls())
      return {
        contender: contender.name,
        connections,
        perSecond,
        p50,
        p99,
        cpu: used!.cpu,
        commands: checks / used!.requests,
        background: background / seconds,
        calls: names
      }
    }
  })
}

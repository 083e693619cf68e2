import { replicaName, STRICT, type Contender } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Settings } from '../settings.ts'
import { startChild } from '../support/child.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { keysFor, tokensOf } from '../support/tokens.ts'

export interface RevocationSample {
  contender: string
  round: number
  door: 'app.revocation.revoke()' | 'DELETE'
  perSecond: number
  /** Microseconds of the server's CPU per revocation. */
  cpu: number
}

export const REVOKERS: Contender[] = [
  { name: STRICT, kind: 'ours', mode: 'strict' },
  { name: replicaName(0), kind: 'ours', mode: 'replica' }
]

export function measureRevocations (settings: Settings): Promise<RevocationSample[]> {
  return inSession(async (session) => {
    const { rounds, seconds, concurrency } = settings.revocations
    const keys = await keysFor('HS256')
    const generator = startChild<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, 100)).map(({ token }) => token))
    const servers = []
    for (const contender of REVOKERS) {
      const server = startChild<ServerHandlers>(session, 'server')
      const { url } = await Database.start(session)
      servers.push({ contender, server, port: await server.call('start', { contender, keys, redisUrl: url }) })
    }

    const samples: RevocationSample[] = []
    // The first round warms up.
    for (let round = -1; round < rounds; round++) {
      for (const { contender, server, port } of servers) {
        for (const door of ['app.revocation.revoke()', 'DELETE'] as const) {
          const before = await server.call('usage')
          const { count, perSecond } = door === 'DELETE' ? await deleteAll(port) : await revokeAll()
          const after = await server.call('usage')
          if (round >= 0) samples.push({ contender: contender.name, round, door, perSecond, cpu: (after.cpu - before.cpu) / count })
        }

        async function revokeAll () {
          const { count, milliseconds } = await server.call('revokeFor', { seconds, concurrency })
          return { count, perSecond: count / milliseconds * 1000 }
        }
      }
    }
    return samples

    async function deleteAll (port: number) {
      const { responses, perSecond } = await generator.call('run', { ports: [port], connections: concurrency, seconds, deletes: true })
      return { count: responses, perSecond }
    }
  })
}

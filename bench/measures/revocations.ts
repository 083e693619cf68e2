import { replica, strict } from '../contenders/contender.ts'
import type { LoadHandlers } from '../processes/load.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Bench } from '../support/bench.ts'
import type { Child } from '../support/child.ts'
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

export function measureRevocations (bench: Bench): Promise<RevocationSample[]> {
  return inSession(async (session) => {
    const { rounds, seconds, concurrency } = bench.settings.revocations
    const keys = await keysFor('HS256')
    const generator = bench.start<LoadHandlers>(session, 'load')
    await generator.call('tokens', (await tokensOf(keys, 100)).map(({ token }) => token))
    const servers = []
    for (const contender of [strict(false), replica(false, 0)]) {
      const server = bench.start<ServerHandlers>(session, 'server')
      const { url } = await Database.start(session)
      servers.push({ contender, server, port: await server.call('start', { contender, keys, redisUrl: url }) })
    }

    const samples: RevocationSample[] = []
    // The first round warms up.
    for (let round = -1; round < rounds; round++) {
      for (const { contender, server, port } of servers) {
        for (const door of ['app.revocation.revoke()', 'DELETE'] as const) {
          const before = await server.call('usage')
          const { count, perSecond } = door === 'DELETE' ? await deleteAll(port) : await revokeAll(server)
          const after = await server.call('usage')
          if (round >= 0) samples.push({ contender: contender.name, round, door, perSecond, cpu: (after.cpu - before.cpu) / count })
        }
      }
    }
    return samples

    async function revokeAll (server: Child<ServerHandlers>) {
      const { count, milliseconds } = await server.call('revokeFor', { seconds, concurrency })
      return { count, perSecond: count / milliseconds * 1000 }
    }

    async function deleteAll (port: number) {
      const { responses, perSecond } = await generator.call('run', { ports: [port], connections: concurrency, seconds, deletes: true })
      return { count: responses, perSecond }
    }
  })
}

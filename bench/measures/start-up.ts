import { replicaName } from '../contenders/contender.ts'
import type { StartUpHandlers, StartUpResult } from '../processes/start-up.ts'
import type { Settings } from '../settings.ts'
import { startChild } from '../support/child.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { seed } from '../support/seed.ts'
import { keysFor } from '../support/tokens.ts'

export interface StartUpSample extends StartUpResult {
  entries: number
  immediates: boolean
}

/** A replica that begins with a log of many entries, and one that begins with none. */
export function measureStartUp ({ startUp }: Settings): Promise<StartUpSample[]> {
  return inSession(async (session) => {
    const keys = await keysFor('HS256')
    const samples: StartUpSample[] = []
    for (const entries of [0, startUp.entries]) {
      const { url: redisUrl, redis } = await Database.start(session)
      await seed(redis, entries)
      const contender = { name: replicaName(entries), kind: 'ours', mode: 'replica', entries } as const
      for (let i = 0; i < startUp.processes; i++) {
        for (const immediates of [false, true]) {
          const result = await inSession((own) =>
            startChild<StartUpHandlers>(own, 'start-up').call('run', { what: { contender, keys, redisUrl }, immediates }))
          samples.push({ entries, immediates, ...result })
        }
      }
    }
    return samples
  })
}

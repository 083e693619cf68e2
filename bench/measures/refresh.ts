import { refreshing } from '../contenders/contender.ts'
import type { RefreshRun, ServerHandlers } from '../processes/server.ts'
import type { Bench } from '../support/bench.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { keysFor } from '../support/tokens.ts'

/** What sessions cost that are refreshed every quarter of an hour for a month. */
export interface RefreshCost {
  sessions: number
  refreshes: number
  /** By what was called: microseconds of the process's CPU, and of Redis's, and milliseconds of one call at a time. */
  calls: Record<RefreshRun['call'], { cpu: number, redisCpu: number, milliseconds: number[] }>
  /** Bytes of Redis' memory for one session: after its login, and after all its refreshes, once its access tokens have ended. */
  begun: number
  refreshed: number
  /** The key of one spent refresh token, as MEMORY USAGE says. */
  spent: number
}

export function measureRefresh (bench: Bench): Promise<RefreshCost> {
  const { sessions, refreshes } = bench.settings.refresh
  return inSession(async (session) => {
    const database = await Database.start(session)
    const server = bench.start<ServerHandlers>(session, 'server')
    await server.call('start', { contender: refreshing(), keys: await keysFor('HS256'), redisUrl: database.url })
    await server.call('refreshAll', { call: 'issue() with refresh', sessions: 20, times: 1 })
    await server.call('refreshAll', { call: 'refresh()', sessions: 20, times: 20 })
    const calls: Partial<RefreshCost['calls']> = {}
    const measured = async (run: RefreshRun) => {
      const [before, redisBefore] = [await server.call('usage'), await database.cpu()]
      const milliseconds = await server.call('refreshAll', run)
      const [after, redisAfter] = [await server.call('usage'), await database.cpu()]
      const count = run.sessions * run.times
      calls[run.call] = { cpu: (after.cpu - before.cpu) / count, redisCpu: (redisAfter - redisBefore) / count, milliseconds }
    }
    await measured({ call: 'issue()', sessions, times: 50 })
    await database.forget('jwt:*')
    const empty = await database.usedMemory()
    await measured({ call: 'issue() with refresh', sessions, times: 1 })
    const begun = await database.usedMemory()
    await measured({ call: 'refresh()', sessions, times: refreshes })
    const lasting = await server.call('lastIdentities')
    await database.forget('jwt:id:*', (key) => lasting.includes(key.slice('jwt:id:'.length)))
    const refreshed = await database.usedMemory()
    return {
      sessions,
      refreshes,
      calls: calls as RefreshCost['calls'],
      begun: (begun - empty) / sessions,
      refreshed: (refreshed - empty) / sessions,
      spent: await database.usageOf('jwt:refresh:*', (value) => value.startsWith('{"used":'))
    }
  })
}

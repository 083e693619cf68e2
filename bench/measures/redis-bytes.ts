import { strict } from '../contenders/contender.ts'
import type { ServerHandlers } from '../processes/server.ts'
import type { Bench } from '../support/bench.ts'
import { inSession } from '../support/owner.ts'
import { Database } from '../support/redis.ts'
import { keysFor } from '../support/tokens.ts'

/** What one revocation takes in Redis, in bytes. */
export interface RedisBytes {
  revocations: number
  /** What Redis' memory grew by, all told. */
  grown: number
  /** The key of one, as MEMORY USAGE says. */
  key: number
  /** Its part of the log, as MEMORY USAGE says. */
  log: number
}

export function measureRedisBytes (bench: Bench): Promise<RedisBytes> {
  const { revocations } = bench.settings.redisBytes
  return inSession(async (session) => {
    const database = await Database.start(session)
    const { url: redisUrl, redis } = database
    const server = bench.start<ServerHandlers>(session, 'server')
    await server.call('start', { contender: strict(false), keys: await keysFor('HS256'), redisUrl })
    // What a connection and a first revocation take is not what one more takes.
    await server.call('revokeMany', { count: 500 })
    const before = await database.usedMemory()
    await server.call('revokeMany', { count: revocations })
    const after = await database.usedMemory()
    const [, [key]] = await redis.scan('0', 'MATCH', 'jwt:revoked:*', 'COUNT', 100)
    const length = await redis.xlen('jwt:log')
    return {
      revocations,
      grown: (after - before) / revocations,
      key: Number(await redis.memory('USAGE', key!)),
      log: length === 0 ? 0 : Number(await redis.memory('USAGE', 'jwt:log', 'SAMPLES', 0)) / length
    }
  })
}

import { Redis } from 'ioredis'
import { startRedis, type Owner, type RedisServer } from '../../test/support/redis.ts'

/** Commands that answer checks. The rest is a follower's reading, and pings. */
const CHECKS = ['get', 'mget']

type Calls = Record<string, number>

/** A redis-server of one's own, and a connection to look at it. */
export class Database {
  readonly server: RedisServer
  readonly redis: Redis

  private constructor (server: RedisServer) {
    this.server = server
    this.redis = new Redis(server.url, { disableClientInfo: true })
  }

  static async start (owner: Owner): Promise<Database> {
    const database = new Database(await startRedis(owner))
    owner.after(() => database.redis.disconnect())
    return database
  }

  get url () {
    return this.server.url
  }

  /** How often each command has run. */
  async calls (): Promise<Calls> {
    const calls: Calls = {}
    for (const [, name, count] of (await this.redis.info('commandstats')).matchAll(/^cmdstat_([^:|]+)[^:]*:calls=(\d+)/gm)) {
      calls[name!] = (calls[name!] ?? 0) + Number(count)
    }
    return calls
  }

  async usedMemory (): Promise<number> {
    return Number(/^used_memory:(\d+)/m.exec(await this.redis.info('memory'))![1])
  }
}

/** Commands that answered checks, between two readings. */
export function checksBetween (before: Calls, after: Calls): number {
  return CHECKS.reduce((sum, name) => sum + (after[name] ?? 0) - (before[name] ?? 0), 0)
}

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

  /** CPU that Redis used, in microseconds. */
  async cpu (): Promise<number> {
    const info = await this.redis.info('cpu')
    return ['sys', 'user'].reduce((sum, name) => sum + Number(new RegExp(`^used_cpu_${name}:([\\d.]+)`, 'm').exec(info)![1]) * 1e6, 0)
  }

  /** Deletes the keys that match, but for those to keep. */
  async forget (pattern: string, isKept: (key: string) => boolean = () => false) {
    for await (const keys of this.redis.scanStream({ match: pattern, count: 1000 }) as AsyncIterable<string[]>) {
      const over = keys.filter((key) => !isKept(key))
      if (over.length > 0) await this.redis.del(...over)
    }
  }

  /** What MEMORY USAGE says of the first key that matches and has such a value. */
  async usageOf (pattern: string, isMeant: (value: string) => boolean): Promise<number> {
    for await (const keys of this.redis.scanStream({ match: pattern, count: 1000 }) as AsyncIterable<string[]>) {
      for (const key of keys) {
        if (isMeant(await this.redis.get(key) ?? '')) return Number(await this.redis.memory('USAGE', key))
      }
    }
    throw new Error(`no key ${pattern} is such a one`)
  }

  async usedMemory (): Promise<number> {
    return Number(/^used_memory:(\d+)/m.exec(await this.redis.info('memory'))![1])
  }
}

/** Commands that answered checks, between two readings. */
export function checksBetween (before: Calls, after: Calls): number {
  return CHECKS.reduce((sum, name) => sum + (after[name] ?? 0) - (before[name] ?? 0), 0)
}

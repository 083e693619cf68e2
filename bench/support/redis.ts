import { Redis } from 'ioredis'
import { startRedis, type Owner, type RedisServer } from '../../test/support/redis.ts'

/** Commands that answer checks. The rest is background: a follower's reading with all that its script calls, its pings. */
const CHECKS = ['get', 'mget']
/** What Database sends itself. */
const OURS = ['info', 'memory', 'replicaof']

export type Calls = Record<string, number>

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
      if (!OURS.includes(name!)) calls[name!] = (calls[name!] ?? 0) + Number(count)
    }
    return calls
  }

  async usedMemory (): Promise<number> {
    return Number(/^used_memory:(\d+)/m.exec(await this.redis.info('memory'))![1])
  }

  /** Takes over all that another one holds. */
  async copy (from: Database) {
    await this.redis.replicaof(from.server.host, from.server.port)
    for (;;) {
      const replication = await this.redis.info('replication')
      if (/^master_link_status:up/m.test(replication) && /^master_sync_in_progress:0/m.test(replication)) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await this.redis.replicaof('NO', 'ONE')
  }
}

/** What ran between two readings: for checks, and for anything else. */
export function between (before: Calls, after: Calls): { checks: number, background: number, names: Calls } {
  const names: Calls = {}
  let checks = 0
  let background = 0
  for (const [name, count] of Object.entries(after)) {
    const more = count - (before[name] ?? 0)
    if (more === 0) continue
    names[name] = more
    if (CHECKS.includes(name)) checks += more
    else background += more
  }
  return { checks, background, names }
}

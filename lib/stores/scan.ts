import type { RedisClient } from '../types.ts'
import type { Commands } from './commands.ts'
import type { DenylistEntry } from './denylist.ts'

/** What a cluster's client has beside what we ask of every client. */
interface Nodes {
  nodes (role: 'master'): RedisClient[]
  options?: { keyPrefix?: string }
}

const COUNT = 1000
const KINDS = ['revoked', 'cutoff'] as const

/**
 * Reads the denylist from its keys, which takes a walk over everything that Redis holds: for when the log turned out to
 * be incomplete. `within` gives a call its time, `parse` makes an entry of a value and of the milliseconds that its key has left (-1: for ever).
 */
export async function * scanDenylist (
  client: RedisClient, redis: Commands, keyPrefix: string, within: <T>(call: () => Promise<T>) => Promise<T>,
  parse: (kind: DenylistEntry['kind'], name: string, value: unknown, left: number) => DenylistEntry | null
): AsyncGenerator<DenylistEntry[]> {
  const clientPrefix = (client as Partial<Nodes>).options?.keyPrefix ?? ''
  const masters = client.isCluster ? (client as RedisClient & Nodes).nodes('master') : [client]
  for (const kind of KINDS) {
    const start = `${clientPrefix}${keyPrefix}${kind}:`
    for (const master of masters) {
      let cursor = '0'
      do {
        const [next, keys] = await within(() => master.call('scan', cursor, 'MATCH', `${escaped(start)}?*`, 'COUNT', COUNT, 'TYPE', 'string')) as [string, string[]]
        cursor = String(next)
        const found = await within(() => redis.all(keys.flatMap((key) => {
          const own = key.slice(clientPrefix.length)
          return [['get', own], ['pttl', own]] as Array<[string, string]>
        })))
        yield keys.map((key, i) => parse(kind, key.slice(start.length), found[2 * i], Number(found[2 * i + 1]))).filter((entry) => entry !== null)
      } while (cursor !== '0')
    }
  }
}

/** As a glob that matches nothing but the text. */
function escaped (text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

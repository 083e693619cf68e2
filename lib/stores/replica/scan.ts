import type { Milliseconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { keyOf, KINDS, type Entry } from '../entry.ts'
import type { Commands } from '../redis/commands.ts'
import { SlotsMove, slotsOf } from './slots.ts'

/** What a client of ioredis has beyond what we demand of every client. */
interface Scanned extends RedisClient {
  options?: { keyPrefix?: string }
  on (event: 'close', listener: () => void): unknown
  off (event: 'close', listener: () => void): unknown
}

export interface Scan {
  redis: Commands
  keyPrefix: string
  /** Limits the time of a call. */
  within: <T>(call: () => Promise<T>) => Promise<T>
  /** The clock of Redis. It may be ahead, so that no end comes too early. */
  now: () => Milliseconds
}

const COUNT = 1000

/**
 * Reads the denylist from its keys. This walks over everything that Redis holds. It rejects unless it has
 * certainly come by every key, because its caller takes the result as complete.
 */
export async function * scanDenylist ({ redis, keyPrefix, within, now }: Scan): AsyncGenerator<Entry[]> {
  const masters = redis.masters() as Scanned[]
  const clientPrefix = (redis.client as Scanned).options?.keyPrefix ?? ''
  // A new connection may lead to another server, where the cursor means something else.
  let isCut = false
  const onClose = () => { isCut = true }
  for (const master of masters) master.on('close', onClose)
  try {
    const slots = redis.isApart ? await slotsOf(masters, within) : ''
    for (const kind of Object.keys(KINDS) as Array<Entry['kind']>) {
      const start = `${clientPrefix}${keyPrefix}${keyOf({ kind, name: '' })}`
      for (const master of masters) {
        let cursor = '0'
        do {
          const pattern = ['MATCH', `${escaped(start)}?*`, 'COUNT', COUNT, 'TYPE', 'string']
          const answer = await within(() => master.call('scan', cursor, ...pattern))
          const [next, keys] = answer as [string, string[]]
          cursor = String(next)
          const found = await within(() => redis.all(keys.flatMap((key) => {
            const own = key.slice(clientPrefix.length)
            return [['get', own], ['pttl', own]] as Array<[string, string]>
          })))
          if (isCut) throw new Error('the connection was lost while keys were read')
          const entries = keys.map((key, i) => {
            const [value, left] = [found[2 * i], Number(found[2 * i + 1])]
            return entryOf(kind, key.slice(start.length), value, left, now())
          })
          yield entries.filter((entry) => entry !== null)
        } while (cursor !== '0')
      }
    }
    if (redis.isApart && await slotsOf(masters, within) !== slots) {
      throw new SlotsMove('slots of the cluster have moved while keys were read')
    }
  } finally {
    for (const master of masters) master.off('close', onClose)
  }
}

/** Reads a key's value. `left`: milliseconds, -1: for ever. null: the key is gone, or another program's. */
export function entryOf (
  kind: Entry['kind'], name: string, value: unknown, left: number, now: Milliseconds
): Entry | null {
  if (typeof value !== 'string' || left < -1) return null
  const until = left < 0 ? null : Math.round((now + left) / 1000)
  try {
    const { at, exp } = KINDS[kind].parse(value, { at: now / 1000, exp: null })
    return Number.isFinite(at) ? { kind, name, at, exp, until } : null
  } catch {
    // The value of a cutoff is no number.
    return null
  }
}

/** A glob that matches only `text`. */
function escaped (text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

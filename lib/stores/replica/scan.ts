import type { Milliseconds } from '../../domain/retention.ts'
import type { RedisClient } from '../../types.ts'
import type { Commands } from '../redis/commands.ts'
import type { DenylistEntry } from './denylist.ts'
import { SlotsMove, slotsOf } from './slots.ts'
import { parseDenial } from '../redis/values.ts'

/** What clients of ioredis have beside what we ask of every client. */
interface Connection extends RedisClient {
  options?: { keyPrefix?: string }
  on (event: 'close', listener: () => void): unknown
  off (event: 'close', listener: () => void): unknown
  /** Of a cluster's. */
  nodes (role: 'master'): Connection[]
}

const COUNT = 1000
const KINDS = ['revoked', 'cutoff'] as const

/**
 * Reads the denylist from its keys, which takes a walk over everything that Redis holds. It rejects where it can't tell
 * that it came by every key, because what it gives counts as complete. `within` gives a call its time; `clock` is Redis',
 * and may be ahead, so that no end comes too early.
 */
export async function * scanDenylist (
  client: RedisClient, redis: Commands, keyPrefix: string, within: <T>(call: () => Promise<T>) => Promise<T>, clock: () => Milliseconds
): AsyncGenerator<DenylistEntry[]> {
  const { isCluster, options } = client as Connection
  const clientPrefix = options?.keyPrefix ?? ''
  const masters = isCluster ? (client as Connection).nodes('master') : [client as Connection]
  // A cursor of another connection may be one of another server, where it means something else.
  let isCut = false
  const onClose = () => { isCut = true }
  for (const master of masters) master.on('close', onClose)
  try {
    const slots = isCluster ? await slotsOf(masters, within) : ''
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
          if (isCut) throw new Error('the connection was lost while keys were read')
          yield keys.map((key, i) => entryOf(kind, key.slice(start.length), found[2 * i], Number(found[2 * i + 1]), clock())).filter((entry) => entry !== null)
        } while (cursor !== '0')
      }
    }
    if (isCluster && await slotsOf(masters, within) !== slots) throw new SlotsMove('slots of the cluster have moved while keys were read')
  } finally {
    for (const master of masters) master.off('close', onClose)
  }
}

/** Of a value, and of the milliseconds that its key has left (-1: for ever); null where it is gone, or not ours. */
export function entryOf (kind: DenylistEntry['kind'], name: string, value: unknown, left: number, now: Milliseconds): DenylistEntry | null {
  if (typeof value !== 'string' || left < -1) return null
  const until = left < 0 ? null : Math.round((now + left) / 1000)
  const { at, exp } = kind === 'cutoff' ? { at: value.trim() === '' ? NaN : Number(value), exp: null } : parseDenial(value) ?? { at: now / 1000, exp: null }
  return Number.isFinite(at) ? { kind, name, at, exp, until } : null
}

/** As a glob that matches nothing but the text. */
function escaped (text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

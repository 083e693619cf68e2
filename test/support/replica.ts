import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { toWords } from '../../lib/stores/redis/log.ts'
import { openStore, type StoreSettings } from '../../lib/stores/open.ts'
import type { ReplicaStore } from '../../lib/stores/replica/replica.ts'
import { APPEND } from '../../lib/stores/redis/scripts.ts'
import type { StoreContext } from '../../lib/stores/store.ts'
import { eventually, type RedisServer } from './redis.ts'
import type { Entry } from '../../lib/stores/entry.ts'
import { on } from './stores.ts'
import { systemClock } from '../../lib/time.ts'

export const HOUR = 3600

/** One process in replica mode, without an application: its store, and what it said. */
export interface Node {
  store: ReplicaStore
  heard: Entry[]
  events: Array<'lost' | 'back'>
  close: () => void
  revoke: (name: string, fields?: { at?: number, exp?: number | null, until?: number | null }) => Promise<unknown>
  /** 'refused', 'accepted', or 'failed' where it could not be told. */
  ask: (name: string, subject?: string) => Promise<'refused' | 'accepted' | 'failed'>
}

export const soon = (seconds: number) => Math.ceil(Date.now() / 1000) + seconds

/** As plugin.ts opens it. Not started. */
export async function openNode (
  t: Test, redis: NonNullable<StoreSettings['redis']>, { onWarning, ...settings }: Partial<StoreSettings> & Pick<StoreContext, 'onWarning'> = {}
): Promise<Node> {
  const heard: Entry[] = []
  const events: Node['events'] = []
  const { store, close } = await openStore(
    { redis, mode: 'replica', keyPrefix: 'r:', storeTimeout: 5000, maxStaleness: 5000, logSpan: 30 * 24 * HOUR + 70, minReplicas: 0, ...settings },
    { clock: systemClock, onLost: () => events.push('lost'), onBack: () => events.push('back'), onEntry: (entry) => heard.push(entry), ...(onWarning && { onWarning }) }
  )
  t.teardown(close)
  return {
    store: store as ReplicaStore,
    heard,
    events,
    close,
    revoke: (name, { at = soon(0), exp = soon(900), until = soon(910) } = {}) => on(store).revoke(name, { at, exp }, until),
    ask: (name, subject) => new Promise((resolve) => {
      on(store).check(name, subject, (error, revoked, cutoff) => resolve(revoked || cutoff !== null ? 'refused' : error ? 'failed' : 'accepted'))
    })
  }
}

/** Started, and in step. */
export async function startNode (t: Test, redis: NonNullable<StoreSettings['redis']>, settings: Partial<StoreSettings> = {}): Promise<Node> {
  const node = await openNode(t, redis, settings)
  await node.store.start()
  await eventually('the replica has read the log', async () => inStep(node))
  return node
}

const inStep = ({ store }: Node) => store.status.copy.stalenessMs !== undefined && store.status.copy.stalenessMs < 2000

const byKey = (a: Entry, b: Entry) => a.kind + a.name < b.kind + b.name ? -1 : 1

export const held = ({ store }: Pick<Node, 'store'>) => [...store.denials.copy.entries()].flat().sort(byKey)

/** The denylist as the keys of one server have it. */
export async function keysOf (server: RedisServer, keyPrefix = 'r:'): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const kind of ['revoked', 'cutoff'] as const) {
    const keys = await server.keys(`${keyPrefix}${kind}:?*`)
    for (let i = 0; i < keys.length; i += 500) {
      const part = keys.slice(i, i + 500)
      const script = "local all = {} for i, key in ipairs(KEYS) do all[2 * i - 1] = redis.call('GET', key) or '' all[2 * i] = redis.call('PTTL', key) end return all"
      const now = Date.now()
      const answer = (await server.cli('EVAL', script, part.length, ...part)).split('\n')
      for (const [j, key] of part.entries()) {
        const value = answer[2 * j]!
        const left = Number(answer[2 * j + 1])
        if (value === '' || left === -2) continue
        const { at, exp } = kind === 'cutoff' ? { at: Number(value), exp: null } : JSON.parse(value) as { at: number, exp: number | null }
        entries.push({ kind, name: key.slice(keyPrefix.length + kind.length + 1), at, exp, until: left < 0 ? null : (now + left) / 1000 })
      }
    }
  }
  return entries.sort(byKey)
}

/** What of the one the other has not, to ten seconds of its end; the ends of entries that are about to end do not count. */
export function differences (one: Entry[], other: Entry[]): string[] {
  const others = new Map(other.map((entry) => [`${entry.kind}:${entry.name}`, entry]))
  const near = (a: number | null, b: number | null) => a === b || (a !== null && b !== null && Math.abs(a - b) <= 10)
  const ending = soon(2)
  return one.filter(({ kind, name, at, exp, until }) => {
    if (until !== null && until < ending) return false
    const match = others.get(`${kind}:${name}`)
    return match === undefined || match.at !== at || match.exp !== exp || !near(match.until, until)
  }).map((entry) => `${JSON.stringify(entry)} but ${JSON.stringify(others.get(`${entry.kind}:${entry.name}`))}`)
}

/** Each replica holds what Redis holds, entry by entry, as soon as it can; and the log alone gives the same to one that starts now. */
export async function allEqual (t: Test, what: string, nodes: Node[], server: RedisServer, count?: number) {
  const differing = async () => {
    const keys = await keysOf(server)
    return nodes.map((node) => ({ keys, missing: differences(keys, held(node)), tooMany: differences(held(node), keys) }))
  }
  await eventually(`${what}: the replicas equal Redis`, async () => {
    const all = await differing()
    return all.every(({ keys, missing, tooMany }) => missing.length + tooMany.length === 0 && (count === undefined || keys.length === count))
  }).catch(() => {})
  for (const { keys, missing, tooMany } of await differing()) {
    t.same(missing.slice(0, 3), [], `${what}: all that Redis holds is known`)
    t.same(tooMany.slice(0, 3), [], `${what}: all that is known is in Redis`)
    if (count !== undefined) t.equal(keys.length, count, `${what}: nothing is lost`)
  }
}

/** A replica that starts now knows what the keys say. */
export async function newcomerEquals (t: Test, what: string, server: RedisServer, count?: number) {
  const newcomer = await startNode(t, server.url)
  await allEqual(t, `${what}, a newcomer`, [newcomer], server, count)
  newcomer.close()
}

/** Denials as a store writes them, many at once; without `keys` or `log` only half of each. */
export async function fill (server: RedisServer, count: number, { name = 'n', keys = true, log = true } = {}) {
  const client = new Redis(server.url)
  try {
    const denial = { at: soon(0), exp: soon(900) }
    for (let i = 0; i < count; i += 1000) {
      const pipeline = client.pipeline()
      for (let j = i; j < Math.min(count, i + 1000); j++) {
        if (keys) pipeline.set(`r:revoked:${name}${j}`, JSON.stringify(denial), 'EXAT', denial.exp + 10)
        if (log) pipeline.eval(APPEND, 1, 'r:log', ...written({ kind: 'revoked', name: `${name}${j}`, ...denial, until: denial.exp + 10 }), '')
      }
      await pipeline.exec()
    }
  } finally {
    client.disconnect()
  }
}

/** What the scripts make of an entry, for APPEND. */
function written (entry: Entry): [before: string, after: string] {
  const [before, after] = toWords(entry)
  return [`${before} ${entry.until ?? ''}`, after]
}

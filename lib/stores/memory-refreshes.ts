import type { Milliseconds, Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import { ExpiringMap } from './expiring-map.ts'
import {
  MAX_USES, withoutClaims, type Found, type Refresh, type RefreshState, type SpentRefresh
} from './refresh.ts'
import type { RecordEntry, Records, Refreshes, SessionEntry, SpendOptions } from './store.ts'

/** The records of this process. */
interface RecordsHere extends Records {
  readonly records: ExpiringMap<TokenRecord>
}

/** Refresh tokens in this process. */
export class MemoryRefreshes implements Refreshes {
  readonly kept: ExpiringMap<Refresh | SpentRefresh>
  readonly #now: () => Seconds
  readonly #records: RecordsHere

  constructor (now: () => Seconds, records: RecordsHere) {
    this.kept = new ExpiringMap(now)
    this.#now = now
    this.#records = records
  }

  keep ({ hash, refresh }: SessionEntry) {
    this.kept.set(hash, structuredClone(refresh), refresh.end)
  }

  async look (hash: string, options: SpendOptions): Promise<Found<Refresh> | null> {
    return this.#look(hash, options)
  }

  async spend (hash: string, key: string, options: SpendOptions): Promise<Found<SpentRefresh> | null> {
    const found = this.#look(hash, options)
    if (found === null) return null
    const { state, refresh, now } = found
    const { used = this.#now(), uses = 0, key: standing = key } = refresh as Partial<SpentRefresh>
    const spent = { ...refresh, used, uses, key: standing }
    if (state === 'fresh' || state === 'again') {
      spent.uses++
      this.kept.set(hash, structuredClone(spent), spent.end)
    }
    return { state, refresh: spent, now }
  }

  async renew (entry: RecordEntry & { session: SessionEntry }): Promise<boolean> {
    const { session, record } = entry
    const { endedAt, refreshedAt = '' } = this.#records.records.get(record.id)?.value ?? {}
    if (endedAt !== undefined) return false
    // Of two refreshes at once, the one whose clock is ahead may come first.
    const latest = refreshedAt > (record.refreshedAt ?? refreshedAt) ? { ...record, refreshedAt } : record
    const refresh = this.kept.get(session.hash)?.value ?? session.refresh
    await this.#records.save({ ...entry, record: latest, session: { ...session, refresh } })
    return true
  }

  async settle (hash: string, spent: SpentRefresh) {
    const standing = this.kept.get(hash)
    if (standing === undefined || !('used' in standing.value)) return
    this.kept.set(hash, withoutClaims(standing.value), spent.end)
  }

  async end (id: string, endedAt: string) {
    const standing = this.#records.records.get(id)
    if (standing !== undefined) standing.value.endedAt ??= endedAt
  }

  #look (hash: string, options: SpendOptions): Found<Refresh> | null {
    const refresh = this.kept.get(hash)?.value
    if (refresh === undefined) return null
    const now = this.#now() * 1000
    return { state: stateOf(refresh, options, now), refresh: structuredClone(refresh), now }
  }
}

function stateOf (
  refresh: Refresh | SpentRefresh, { grace, since }: SpendOptions, now: Milliseconds
): RefreshState {
  if (!('used' in refresh)) return 'fresh'
  if ((since ?? now) - Math.round(refresh.used * 1000) >= grace) return 'reused'
  return refresh.uses < MAX_USES ? 'again' : 'exhausted'
}

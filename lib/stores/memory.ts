import type { Names } from '../domain/names.ts'
import type { Clock, Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import { EVERY_IAT, LEAD, latestCutoff, type Entry } from './entry.ts'
import { ExpiringMap, type Expiring } from './expiring-map.ts'
import { MemoryRefreshes } from './memory-refreshes.ts'
import type {
  CheckCallback, Denials, RecordEntry, Records, SessionEntry, Store, StoreContext, WriteOptions, Written
} from './store.ts'

const SWEEP_INTERVAL = 1000
const SWEPT_PER_INTERVAL = 1000

class MemoryDenials implements Denials {
  readonly mayFindHalf = false
  readonly revocations: ExpiringMap<Entry>
  readonly cutoffs: ExpiringMap<Entry>

  constructor (now: () => Seconds) {
    this.revocations = new ExpiringMap(now)
    this.cutoffs = new ExpiringMap(now)
  }

  check (names: Names, done: CheckCallback) {
    const { identity } = names
    const revoked = identity !== undefined && this.revocations.get(identity) !== undefined
    done(null, revoked, this.cutoffOf(names))
  }

  checkShared (names: Names, done: CheckCallback) {
    this.check(names, done)
  }

  checkEither (names: Names, done: CheckCallback) {
    this.check(names, done)
  }

  /** The latest cutoff of these names. */
  cutoffOf ({ subject, others }: Names): Seconds | null {
    let cutoff = subject === undefined ? null : this.#cutoff(subject)
    if (others !== undefined) for (const name of others) cutoff = latestCutoff(cutoff, this.#cutoff(name))
    return cutoff
  }

  #cutoff (name: string): Seconds | null {
    return this.cutoffs.get(name)?.value.at ?? null
  }

  async write (entry: Entry, options: WriteOptions = {}): Promise<Written> {
    return entry.kind === 'revoked' ? this.#revoke(entry, options) : this.#cutOff(entry, options)
  }

  #revoke (entry: Entry, { made }: WriteOptions): Written {
    const standing = this.revocations.get(entry.name)
    if (standing !== undefined) {
      standing.keptUntil = Math.max(standing.keptUntil, entry.until ?? Infinity)
      return { standing: standing.value, first: false, before: null }
    }
    this.revocations.set(entry.name, entry, entry.until)
    made?.(entry, false)
    return { standing: entry, first: true, before: null }
  }

  #cutOff (asked: Entry, { unlessFrom, made }: WriteOptions): Written {
    const kept = this.cutoffs.get(asked.name)
    const before = kept?.value.at ?? null
    const at = raised(before, asked.at, unlessFrom)
    const end = asked.until === null ? Infinity : Math.max(asked.until + at - asked.at, kept?.keptUntil ?? 0)
    if (kept !== undefined && at === before) {
      kept.keptUntil = end
      return { standing: kept.value, first: false, before }
    }
    const standing = { ...asked, at }
    this.cutoffs.set(asked.name, standing, end)
    made?.(standing, false)
    return { standing, first: true, before }
  }
}

class MemoryRecords implements Records {
  readonly records: ExpiringMap<TokenRecord>
  readonly ids: ExpiringMap<string>
  /** By subject, the ids of its records. Each id stays until its token ends. */
  readonly subjects: ExpiringMap<ExpiringMap<null>>
  readonly refreshes: MemoryRefreshes
  readonly #now: () => Seconds
  readonly #denials: MemoryDenials

  constructor (now: () => Seconds, denials: MemoryDenials) {
    this.#now = now
    this.#denials = denials
    this.refreshes = new MemoryRefreshes(now, this)
    this.records = new ExpiringMap(now)
    this.ids = new ExpiringMap(now)
    this.subjects = new ExpiringMap(now)
  }

  async save (entry: RecordEntry) {
    const { record, identity, subject, others, exp, keptUntil, session } = entry
    // A copy, because the caller may change its `meta` later. Redis keeps a copy, too.
    this.records.set(record.id, structuredClone(record), keptUntil)
    const named = this.ids.get(identity)
    const endsLatest = named === undefined || named.keptUntil <= (keptUntil ?? Infinity)
    if (session !== undefined) this.#keepSession(record.id, identity, session, keptUntil)
    else if (endsLatest) this.ids.set(identity, record.id, keptUntil)
    if (subject === undefined) return this.#denials.cutoffOf({ others })
    const standing = this.subjects.get(subject)
    const ids = standing?.value ?? new ExpiringMap(this.#now)
    ids.set(record.id, null, exp)
    this.subjects.set(subject, ids, Math.max(standing?.keptUntil ?? 0, keptUntil ?? Infinity))
    return this.#denials.cutoffOf({ subject, others })
  }

  #keepSession (id: string, identity: string, session: SessionEntry, keptUntil: Seconds | null) {
    this.ids.set(identity, id, session.identityKeptUntil)
    this.ids.set(session.name, id, keptUntil)
    this.refreshes.keep(session)
  }

  async add (entry: RecordEntry) {
    const named = this.ids.get(entry.identity)
    if (named === undefined || named.keptUntil < (entry.keptUntil ?? Infinity)) await this.save(entry)
  }

  async byId (id: string) {
    return structuredClone(this.records.get(id)?.value ?? null)
  }

  async of (identity: string) {
    const id = this.ids.get(identity)?.value
    return id === undefined ? null : this.byId(id)
  }

  async page (subject: string, limit: number, after?: string) {
    const sorted = [...this.subjects.get(subject)?.value.entries() ?? []].sort(latestFirst).map(([id]) => id)
    const first = after === undefined ? 0 : sorted.indexOf(after) + 1
    const ids = after !== undefined && first === 0 ? [] : sorted.slice(first, first + limit)
    const records = await Promise.all(ids.map((id) => this.byId(id)))
    return {
      records: records.filter((record) => record !== null),
      ...(first + limit < sorted.length && ids.length > 0 && { after: ids.at(-1)! })
    }
  }
}

/**
 * Keeps everything in this process. This is for development, for tests, and for an application of one process
 * that may forget everything when it restarts.
 */
export class MemoryStore implements Store {
  readonly generation = 0
  readonly status = { kind: 'memory', available: true, warnings: [] } as const
  readonly denials: MemoryDenials
  readonly records: MemoryRecords
  readonly refreshes: MemoryRefreshes
  readonly #maps: ReadonlyArray<ExpiringMap<unknown>>
  readonly #clock: Clock
  #stopSweeping = () => {}

  constructor ({ clock }: Pick<StoreContext, 'clock'>) {
    const now = () => clock.wall() / 1000
    this.#clock = clock
    this.denials = new MemoryDenials(now)
    this.records = new MemoryRecords(now, this.denials)
    const { revocations, cutoffs } = this.denials
    const { records, ids, subjects } = this.records
    this.refreshes = this.records.refreshes
    this.#maps = [revocations, cutoffs, records, ids, subjects, this.refreshes.kept]
  }

  budget () {
    return { left: Infinity }
  }

  within<T> (calls: () => Promise<T>) {
    return calls()
  }

  /** How many entries the store holds. It counts ended entries until they are swept. */
  get size () {
    let size = 0
    for (const map of this.#maps) size += map.size
    for (const [, { value }] of this.records.subjects.entries()) size += value.size
    return size
  }

  async start () {
    this.#stopSweeping = this.#clock.every(() => this.sweep(), SWEEP_INTERVAL)
  }

  async close () {
    this.#stopSweeping()
  }

  sweep () {
    for (const map of this.#maps) map.sweep(SWEPT_PER_INTERVAL)
  }
}

/** The order in which Redis reads a sorted set from its end: by expiry, then by id. */
function latestFirst ([a, keptA]: [string, Expiring<null>], [b, keptB]: [string, Expiring<null>]) {
  return keptB.keptUntil === keptA.keptUntil ? (a < b ? 1 : -1) : keptB.keptUntil - keptA.keptUntil
}

/**
 * Gives the cutoff that stands once `asked` is written. Where `before` reaches it, `before` rises by a
 * second.
 */
function raised (before: Seconds | null, asked: Seconds, unlessFrom = Infinity): Seconds {
  if (before === null) return asked
  if (before >= unlessFrom || before >= Math.min(asked + LEAD, EVERY_IAT)) return before
  return before < asked ? asked : before + 1
}

import { LEAD, type Seconds } from '../domain/retention.ts'
import { cancel, every } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import type { CheckCallback, CutoffOptions, Denial, RecordEntry, Store, StoreContext, WriteOptions } from './store.ts'

interface Entry<V> {
  value: V
  /** Infinity: for ever. */
  keptUntil: Seconds
}

const SWEEP_INTERVAL = 1000
const SWEPT_PER_INTERVAL = 1000
/** More than one, so that a map that is written to is gone through before it can double. */
const SWEPT_PER_WRITE = 2

/** A map whose entries leave when their time is up, a bounded number of them looked at each time. */
class ExpiringMap<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #now: () => Seconds
  #cursor = this.#entries.entries()

  constructor (now: () => Seconds) {
    this.#now = now
  }

  get size () {
    return this.#entries.size
  }

  * entries (): Generator<[key: string, entry: Entry<V>]> {
    const now = this.#now()
    for (const [key, entry] of this.#entries) {
      if (entry.keptUntil > now) yield [key, entry]
    }
  }

  get (key: string): Entry<V> | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.keptUntil > this.#now() ? entry : undefined
  }

  set (key: string, value: V, keptUntil: Seconds | null) {
    this.#entries.set(key, { value, keptUntil: keptUntil ?? Infinity })
    this.sweep(SWEPT_PER_WRITE)
  }

  sweep (count: number) {
    const now = this.#now()
    for (; count > 0; count--) {
      const { value: pair, done } = this.#cursor.next()
      if (done) {
        this.#cursor = this.#entries.entries()
        return
      }
      if (pair[1].keptUntil <= now) this.#entries.delete(pair[0])
    }
  }
}

/** Keeps everything in this process: for development, tests, and applications of one process that may forget at a restart. */
export class MemoryStore implements Store {
  readonly kind = 'memory'
  readonly available = true
  readonly generation = 0
  readonly warnings: readonly string[] = []
  readonly #now: () => Seconds
  readonly #denials: ExpiringMap<Denial>
  readonly #cutoffs: ExpiringMap<Seconds>
  readonly #records: ExpiringMap<TokenRecord>
  readonly #ids: ExpiringMap<string>
  /** The ids of each subject's records, until the token of each ends. */
  readonly #subjects: ExpiringMap<ExpiringMap<null>>
  #sweeper: NodeJS.Timeout | undefined

  constructor ({ clock }: Pick<StoreContext, 'clock'>) {
    this.#now = () => clock() / 1000
    this.#denials = new ExpiringMap(this.#now)
    this.#cutoffs = new ExpiringMap(this.#now)
    this.#records = new ExpiringMap(this.#now)
    this.#ids = new ExpiringMap(this.#now)
    this.#subjects = new ExpiringMap(this.#now)
  }

  budget () {
    return { left: Infinity }
  }

  within<T> (calls: () => Promise<T>) {
    return calls()
  }

  /** How many entries it holds, those not yet swept included. */
  get size () {
    let size = 0
    for (const map of this.#maps()) size += map.size
    for (const [, { value }] of this.#subjects.entries()) size += value.size
    return size
  }

  async start () {
    this.#sweeper = every(() => this.sweep(), SWEEP_INTERVAL).unref()
  }

  close () {
    cancel(this.#sweeper)
  }

  sweep () {
    for (const map of this.#maps()) map.sweep(SWEPT_PER_INTERVAL)
  }

  check (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    const revoked = identity !== undefined && this.#denials.get(identity) !== undefined
    done(null, revoked, subject === undefined ? null : this.#cutoffOf(subject))
  }

  checkShared (...check: Parameters<Store['checkShared']>) {
    this.check(...check)
  }

  async revoke (identity: string, denial: Denial, keptUntil: Seconds | null, { made }: WriteOptions<Denial> = {}) {
    const standing = this.#denials.get(identity)
    if (standing === undefined) {
      this.#denials.set(identity, denial, keptUntil)
      made?.(denial, false)
      return { ...denial, first: true }
    }
    standing.keptUntil = Math.max(standing.keptUntil, keptUntil ?? Infinity)
    return { ...standing.value, first: false }
  }

  async cutOff (subject: string, asked: Seconds, keptUntil: Seconds | null, { enough, made }: CutoffOptions = {}) {
    const standing = this.#cutoffs.get(subject)
    const before = standing?.value ?? null
    const cutoff = raised(before, asked, enough)
    if (cutoff === before) return { cutoff, before }
    const end = keptUntil === null ? Infinity : Math.max(keptUntil + cutoff - asked, standing?.keptUntil ?? 0)
    this.#cutoffs.set(subject, cutoff, end)
    made?.(cutoff, false)
    return { cutoff, before }
  }

  async saveRecord ({ record, identity, subject, exp, keptUntil }: RecordEntry) {
    // A copy: the caller's meta stays the caller's, as it does with Redis.
    this.#records.set(record.id, structuredClone(record), keptUntil)
    const named = this.#ids.get(identity)
    if (named === undefined || named.keptUntil <= (keptUntil ?? Infinity)) this.#ids.set(identity, record.id, keptUntil)
    if (subject === undefined) return null
    const standing = this.#subjects.get(subject)
    const ids = standing?.value ?? new ExpiringMap(this.#now)
    ids.set(record.id, null, exp)
    this.#subjects.set(subject, ids, Math.max(standing?.keptUntil ?? 0, keptUntil ?? Infinity))
    return this.#cutoffOf(subject)
  }

  async addRecord (entry: RecordEntry) {
    const named = this.#ids.get(entry.identity)
    if (named === undefined || named.keptUntil < (entry.keptUntil ?? Infinity)) await this.saveRecord(entry)
  }

  async record (id: string) {
    return structuredClone(this.#records.get(id)?.value ?? null)
  }

  async recordOf (identity: string) {
    const id = this.#ids.get(identity)?.value
    return id === undefined ? null : this.record(id)
  }

  async records (subject: string, limit: number, after?: string) {
    // As Redis orders a sorted set from its end: by expiry, then by id.
    const sorted = [...this.#subjects.get(subject)?.value.entries() ?? []]
      .sort(([a, { keptUntil: endOfA }], [b, { keptUntil: endOfB }]) => endOfB === endOfA ? (a < b ? 1 : -1) : endOfB - endOfA)
      .map(([id]) => id)
    const first = after === undefined ? 0 : sorted.indexOf(after) + 1
    const ids = after !== undefined && first === 0 ? [] : sorted.slice(first, first + limit)
    const records = await Promise.all(ids.map((id) => this.record(id)))
    return {
      records: records.filter((record) => record !== null),
      ...(first + limit < sorted.length && ids.length > 0 && { after: ids.at(-1)! })
    }
  }

  #cutoffOf (subject: string) {
    return this.#cutoffs.get(subject)?.value ?? null
  }

  #maps (): Array<ExpiringMap<unknown>> {
    return [this.#denials, this.#cutoffs, this.#records, this.#ids, this.#subjects]
  }
}

/** The cutoff that stands when one is asked for. Where it is there already, it rises by a second. */
function raised (before: Seconds | null, asked: Seconds, enough = Infinity): Seconds {
  if (before === null) return asked
  if (before >= enough || before >= asked + LEAD) return before
  return before < asked ? asked : before + 1
}

import type { Seconds } from '../expiry.ts'
import type { TokenRecord } from '../types.ts'
import type { CheckCallback, Denial, Store, StoreContext } from './store.ts'

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
  readonly #denials: ExpiringMap<Denial>
  readonly #records: ExpiringMap<TokenRecord>
  readonly #ids: ExpiringMap<string>
  #sweeper: NodeJS.Timeout | undefined

  constructor ({ clock }: Pick<StoreContext, 'clock'>) {
    const now = () => clock() / 1000
    this.#denials = new ExpiringMap(now)
    this.#records = new ExpiringMap(now)
    this.#ids = new ExpiringMap(now)
  }

  /** How many entries it holds, those not yet swept included. */
  get size () {
    return this.#denials.size + this.#records.size + this.#ids.size
  }

  async start () {
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL).unref()
  }

  close () {
    clearInterval(this.#sweeper)
  }

  sweep () {
    for (const map of [this.#denials, this.#records, this.#ids]) map.sweep(SWEPT_PER_INTERVAL)
  }

  check (identity: string, done: CheckCallback) {
    done(null, this.#denials.get(identity) !== undefined)
  }

  async revoke (identity: string, denial: Denial, keptUntil: Seconds | null) {
    const standing = this.#denials.get(identity)
    if (standing === undefined) {
      this.#denials.set(identity, denial, keptUntil)
      return { ...denial, first: true }
    }
    standing.keptUntil = Math.max(standing.keptUntil, keptUntil ?? Infinity)
    return { ...standing.value, first: false }
  }

  async saveRecord (record: TokenRecord, identity: string, keptUntil: Seconds | null) {
    // A copy: the caller's meta stays the caller's, as it does with Redis.
    this.#records.set(record.id, structuredClone(record), keptUntil)
    this.#ids.set(identity, record.id, keptUntil)
  }

  async record (id: string) {
    return structuredClone(this.#records.get(id)?.value ?? null)
  }

  async recordOf (identity: string) {
    const id = this.#ids.get(identity)?.value
    return id === undefined ? null : this.record(id)
  }
}

import type { Seconds } from '../time.ts'

export interface Expiring<V> {
  value: V
  /** Infinity means for ever. */
  keptUntil: Seconds
}

/** More than one, so that writing sweeps a map completely before the map can double. */
const SWEPT_PER_WRITE = 2

/** A map that drops the entries that have ended. Each sweep looks at a bounded number of them. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, Expiring<V>>()
  readonly #now: () => Seconds
  #cursor = this.#entries.entries()

  constructor (now: () => Seconds) {
    this.#now = now
  }

  get size () {
    return this.#entries.size
  }

  * entries (): Generator<[key: string, entry: Expiring<V>]> {
    const now = this.#now()
    for (const [key, entry] of this.#entries) {
      if (entry.keptUntil > now) yield [key, entry]
    }
  }

  get (key: string): Expiring<V> | undefined {
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

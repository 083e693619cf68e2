import type { Seconds } from '../../time.ts'
import { keyOf, type Entry } from '../entry.ts'

/** Remembers what this process told its listeners of, of `most` keys. */
export class Told {
  /** By key, the `at` of the last entry. */
  readonly #ats = new Map<string, Seconds>()
  readonly #most: number

  constructor (most: number) {
    this.#most = most
  }

  /** Whether this process has told nobody of what stands. Remembers that the caller will tell. */
  isNews (standing: Entry): boolean {
    const key = keyOf(standing)
    const isNews = this.#ats.get(key) !== standing.at
    this.#ats.delete(key)
    this.#ats.set(key, standing.at)
    if (this.#ats.size > this.#most) this.#ats.delete(this.#ats.keys().next().value!)
    return isNews
  }
}

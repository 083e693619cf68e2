import type { Seconds } from '../../time.ts'
import { keyOf, type Entry } from '../entry.ts'

export interface ToldOptions {
  /** Whether this attempt made what stands, which may have ended since it was told. */
  isAnew: boolean
  /** The `count` when the attempt began. What was told since then was told of this very attempt. */
  since: number
}

/** Remembers what this process told its listeners of, of `most` keys. */
export class Told {
  /** How many entries were told. */
  count = 0
  /** By key, the `at` of the last entry, and the `count` with it. */
  readonly #last = new Map<string, { at: Seconds, count: number }>()
  readonly #most: number

  constructor (most: number) {
    this.#most = most
  }

  /** Whether nobody was told of what stands. Remembers that the caller will tell. */
  isNews (standing: Entry, { isAnew, since }: ToldOptions): boolean {
    const key = keyOf(standing)
    const { at } = standing
    const last = this.#last.get(key)
    this.#last.delete(key)
    if (last?.at === at && !(isAnew && last.count <= since)) {
      this.#last.set(key, last)
      return false
    }
    this.#last.set(key, { at, count: ++this.count })
    if (this.#last.size > this.#most) this.#last.delete(this.#last.keys().next().value!)
    return true
  }
}

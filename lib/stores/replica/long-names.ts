import type { Seconds } from '../../time.ts'
import type { Kept } from './segment.ts'

/** How many names one step looks at. A part of the table takes about as long. */
const AT_ONCE = 500

/** Names that are too long for the table. They are rare, so each may be an object. */
export class LongNames {
  readonly #kept = new Map<string, Kept>()
  /** Where the next sweep begins. */
  #sweeping = this.#kept.entries()

  get size () {
    return this.#kept.size
  }

  get (name: string): Kept | null {
    return this.#kept.get(name) ?? null
  }

  set (name: string, kept: Kept) {
    this.#kept.set(name, kept)
  }

  /** Forgets what has ended among the next few. */
  sweep (now: Seconds) {
    for (let left = Math.min(AT_ONCE, this.size); left > 0; left--) {
      let next = this.#sweeping.next()
      if (next.done) {
        this.#sweeping = this.#kept.entries()
        next = this.#sweeping.next()
      }
      const [name, { until }] = next.value!
      if (until <= now) this.#kept.delete(name)
    }
  }

  /** Gives all names, a few at a time. A name that is added or swept meanwhile may be among them or not. */
  * parts (): Generator<Array<[name: string, kept: Kept]>> {
    let part: Array<[name: string, kept: Kept]> = []
    for (const entry of this.#kept) {
      if (part.push(entry) < AT_ONCE) continue
      yield part
      part = []
    }
    if (part.length > 0) yield part
  }
}

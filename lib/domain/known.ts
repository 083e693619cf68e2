import type { Clock, Milliseconds } from '../time.ts'

/** How many names are kept. */
const MAX_KNOWN = 10_000
/** How long a token counts as recorded. Then the store is asked again: it may have lost the record without a word. */
const KNOWN_FOR: Milliseconds = 60_000

/** The tokens that were recorded lately. */
export class Known {
  readonly #clock: Clock
  readonly #generationOf: () => number
  /** With the moment, the oldest first. */
  readonly #since = new Map<string, Milliseconds>()
  /** Of the store, when the first of them was recorded. */
  #generation = 0

  /** `generationOf`: of the store, which may have lost what was recorded before. */
  constructor (clock: Clock, generationOf: () => number) {
    this.#clock = clock
    this.#generationOf = generationOf
  }

  has (name: string): boolean {
    this.#keepUp()
    const since = this.#since.get(name)
    if (since === undefined) return false
    const age = this.#clock.wall() - since
    // Less than nothing where the clock was set back.
    return age >= 0 && age < KNOWN_FOR
  }

  add (name: string) {
    this.#keepUp()
    // To the end of the order in which they are dropped.
    this.#since.delete(name)
    this.#since.set(name, this.#clock.wall())
    if (this.#since.size > MAX_KNOWN) this.#since.delete(this.#since.keys().next().value!)
  }

  delete (name: string) {
    this.#since.delete(name)
  }

  clear () {
    this.#since.clear()
  }

  #keepUp () {
    const generation = this.#generationOf()
    if (generation === this.#generation) return
    this.#generation = generation
    this.#since.clear()
  }
}

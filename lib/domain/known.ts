import type { Clock, Milliseconds } from '../time.ts'

/** How many names are kept. */
const MAX_KNOWN = 10_000
/**
 * How long a token counts as recorded. Later the store is asked again, because it may have lost the record.
 */
const KNOWN_FOR: Milliseconds = 60_000

/** Remembers the tokens that were recorded lately. */
export class Known {
  readonly #clock: Clock
  readonly #generationOf: () => number
  /** By name, when the token was recorded, the oldest first. */
  readonly #since = new Map<string, Milliseconds>()
  /** The generation of the store that holds them. */
  #generation = 0

  /** `generationOf`: gives the store's generation. A new one means that the store may have lost records. */
  constructor (clock: Clock, generationOf: () => number) {
    this.#clock = clock
    this.#generationOf = generationOf
  }

  has (name: string): boolean {
    this.#keepUp()
    const since = this.#since.get(name)
    if (since === undefined) return false
    const age = this.#clock.wall() - since
    // The age is negative after the clock was set back.
    return age >= 0 && age < KNOWN_FOR
  }

  add (name: string) {
    this.#keepUp()
    // This moves the name to the end of the order in which names are dropped.
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

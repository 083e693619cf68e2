/** So many checks wait for no others: each has but an eighth of the question to pay. */
const ENOUGH = 8
/**
 * One batch in so many waits its whole pause, to learn how many checks come in one. In such a batch a few
 * clients who each ask again once they are answered wait in vain, but these are fewer than one in a hundred.
 */
const LEARNS_EVERY = 200
/** After so many pauses in a row in vain, what was learned was chance, or is over. */
const MAX_VAIN = 4

/**
 * How many checks a batch waits for: as many as came in a pause. A few clients who each ask again once they
 * are answered would wait for more in vain.
 */
export class Pace {
  #learned = ENOUGH
  #learns = false
  /** After how many batches one learns. */
  #learnsIn = 0
  /** How many whole pauses in a row brought fewer than were waited for, and the most that one brought. */
  #vain = 0
  #most = 0

  /** How many checks the batch waits for that began last. */
  get enough (): number {
    return this.#learns ? ENOUGH : this.#learned
  }

  /** A batch begins that may wait. One that is cut short teaches nothing, and the next one learns instead. */
  begin () {
    this.#learns = this.#learnsIn === 0
    if (!this.#learns) this.#learnsIn--
  }

  /** As many checks have come as it waits for. */
  filled () {
    this.#learn(ENOUGH)
  }

  /** Its whole pause is over, and brought so many checks. */
  paused (checks: number) {
    if (this.#learns) return this.#learn(checks)
    this.#most = Math.max(this.#most, checks)
    if (++this.#vain < MAX_VAIN) return
    this.#learned = this.#most
    this.#vain = this.#most = 0
  }

  #learn (checks: number) {
    this.#vain = this.#most = 0
    if (!this.#learns) return
    this.#learned = checks
    this.#learnsIn = LEARNS_EVERY - 1
  }
}

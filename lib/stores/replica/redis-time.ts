import type { Clock, Milliseconds, Seconds } from '../../time.ts'

/**
 * The clock of Redis, as its answers tell it, counted on by the monotonic clock. An answer says what that clock was at
 * some moment between the question and its arrival: hence two readings.
 */
export class RedisTime {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** Redis' clock less the monotonic one: the lowest ever heard, and the last. */
  #lowest = Infinity
  #last = -Infinity

  constructor (clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** `time` is what Redis' clock was at some moment between `since`, of the monotonic clock, and now. */
  hear (time: Milliseconds, since: Milliseconds) {
    this.#lowest = Math.min(this.#lowest, time - this.#clock.monotonic())
    this.#last = time - since
  }

  /**
   * For what is over: never ahead of Redis' clock. It stays behind after Redis' clock was set ahead, because nobody can
   * tell an error from its correction, and what is forgotten too early is accepted. Before any answer nothing is over.
   */
  get earliest (): Milliseconds {
    return this.#lowest === Infinity ? -Infinity : this.#clock.monotonic() + this.#lowest
  }

  /** For how long to keep something: never behind the clock of the last answer. */
  get latest (): Milliseconds {
    return this.#clock.monotonic() + this.#last
  }

  /**
   * Until when Redis keeps what a process wrote whose own clock is `now`. As in the scripts: until then by Redis' clock,
   * or for so long, whichever is longer.
   */
  endOf (keptUntil: Seconds | null, now: Milliseconds): Seconds | null {
    return keptUntil === null ? null : Math.max(keptUntil, keptUntil + (this.latest - now) / 1000)
  }
}

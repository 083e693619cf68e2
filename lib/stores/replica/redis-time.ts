import type { Clock, Milliseconds, Seconds } from '../../time.ts'

/**
 * The clock of Redis, as its answers tell it and the monotonic clock counts it on. An answer tells that clock
 * at some moment between the question and the answer's arrival, so there are two readings.
 */
export class RedisTime {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** The clock of Redis minus the monotonic clock: the lowest ever heard, and the last. */
  #lowest = Infinity
  #last = -Infinity

  constructor (clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** `time`: the clock of Redis at some moment between `since`, by the monotonic clock, and now. */
  hear (time: Milliseconds, since: Milliseconds) {
    this.#lowest = Math.min(this.#lowest, time - this.#clock.monotonic())
    this.#last = time - since
  }

  /**
   * Tells what is over, and is never ahead of the clock of Redis. It stays behind once that clock was set
   * ahead: nobody can tell an error from its correction, and a revocation that is forgotten too early lets
   * its token in. Before the first answer nothing is over.
   */
  get earliest (): Milliseconds {
    return this.#lowest === Infinity ? -Infinity : this.#clock.monotonic() + this.#lowest
  }

  /** Tells how long to keep an entry, and is never behind the clock of the last answer. */
  get latest (): Milliseconds {
    return this.#clock.monotonic() + this.#last
  }

  /**
   * Until when Redis keeps an entry that a process with the clock `now` wrote. As in the scripts, the later
   * of two ends counts: `keptUntil` by the clock of Redis, and the time left until then by the clock of the
   * process.
   */
  endOf (keptUntil: Seconds | null, now: Milliseconds): Seconds | null {
    return keptUntil === null ? null : Math.max(keptUntil, keptUntil + (this.latest - now) / 1000)
  }
}

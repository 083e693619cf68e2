import { TooMuch } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { StoreContext } from '../store.ts'

const PROBE_INTERVAL: Milliseconds = 1000
const START_INTERVAL: Milliseconds = 50
/** Within Fastify's pluginTimeout, whatever storeTimeout is. */
const MAX_START: Milliseconds = 5000

/** Tries what failed once more. */
export type Probe = () => Promise<void>

export interface HealthContext extends Pick<StoreContext, 'onLost' | 'onBack' | 'onStuck'> {
  clock: Clock
  /** Shows whether the store answers at all. */
  probe: Probe
  /** Gives the known reason when the store does not answer. */
  why?: () => Error | undefined
}

/**
 * Whether the store answers. The first failure loses the store. It is back when every failed operation works
 * again and a second has passed without a failure. So a store that fails now and then is reported once, not
 * once a request.
 */
export class Health {
  available = true
  readonly #probe: Probe
  readonly #why: (() => Error | undefined) | undefined
  /** The probes of all that has failed since the store was lost. */
  readonly #broken = new Set<Probe>()
  readonly #onLost: StoreContext['onLost']
  readonly #onBack: StoreContext['onBack']
  readonly #onStuck: StoreContext['onStuck']
  #lastFailure: unknown
  #trying = false
  #failures = 0
  #failuresSeen = 0
  readonly #clock: Clock
  #stopTrying = () => {}
  #closed = false

  constructor ({ clock, probe, why, onLost, onBack, onStuck }: HealthContext) {
    this.#clock = clock
    this.#why = why
    this.#probe = probe
    this.#onLost = onLost
    this.#onBack = onBack
    this.#onStuck = onStuck
  }

  /**
   * Waits for the first answer. Polls, because a client without an offline queue rejects until it is
   * connected.
   */
  async start (timeout: Milliseconds) {
    const patience = Math.min(timeout, MAX_START)
    const end = this.#clock.monotonic() + patience
    try {
      const deadline = new Deadline({ timeout: patience, clock: this.#clock, why: this.#why })
      await deadline.run(() => this.#answers(end))
    } catch (error) {
      // The last failure says more than that the time is up.
      const cause = this.#lastFailure
      if (error !== cause && error instanceof Error && cause) error.cause = cause
      this.failed(error)
    }
  }

  async #answers (end: Milliseconds) {
    for (;;) {
      try {
        await this.#probe()
        return
      } catch (error) {
        this.#lastFailure = error
        if (this.#clock.monotonic() + START_INTERVAL > end) throw error
      }
      await this.#clock.sleep(START_INTERVAL)
    }
  }

  close () {
    this.#closed = true
    this.#stopTrying()
  }

  /** The error of a bound of ours. While the store is lost, the store is to blame, and not the bound. */
  refusal (sentence: string): Error {
    return this.available ? new TooMuch(sentence) : new Error(sentence)
  }

  /** Reports a failure. `probe` tries again what failed. */
  failed (error: unknown, probe = this.#probe) {
    this.#failures++
    this.#broken.add(probe)
    if (!this.available || this.#closed) return
    this.available = false
    this.#stopTrying = this.#clock.every(() => this.#tryAgain(), PROBE_INTERVAL)
    this.#onLost(error)
    this.#failuresSeen = this.#failures
  }

  async #tryAgain () {
    if (this.#trying) return
    const failures = this.#failures
    const quiet = failures === this.#failuresSeen
    this.#failuresSeen = failures
    this.#trying = true
    let tried = this.#probe
    try {
      for (tried of [...this.#broken]) await tried()
    } catch {
      if (tried === this.#probe || !await this.#answersAtAll()) this.#stuck()
      return
    } finally {
      this.#trying = false
    }
    if (!quiet || this.#closed || failures !== this.#failures) return
    this.available = true
    this.#broken.clear()
    this.#stopTrying()
    this.#onBack()
  }

  #answersAtAll (): Promise<boolean> {
    return this.#probe().then(() => true, () => false)
  }

  #stuck () {
    if (!this.#closed) this.#onStuck?.()
  }
}

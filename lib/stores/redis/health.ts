import { TooMuch } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { StoreContext } from '../store.ts'

const PROBE_INTERVAL: Milliseconds = 1000
const START_INTERVAL: Milliseconds = 50
/** Within Fastify's pluginTimeout, whatever storeTimeout is. */
const MAX_START: Milliseconds = 5000

/** Tries again what failed. */
export type Probe = () => Promise<void>

export interface HealthContext extends Pick<StoreContext, 'onLost' | 'onBack' | 'onStuck'> {
  clock: Clock
  /** What shows that the store answers at all. */
  probe: Probe
  /** What is known of the reason when it does not answer. */
  why?: () => Error | undefined
}

/**
 * Whether the store answers. The first failure loses it. It is back after a second without failures, when what failed
 * has been tried again and works, so that a store that fails now and then is reported once, not once a request.
 */
export class Health {
  available = true
  readonly #probe: Probe
  readonly #why: (() => Error | undefined) | undefined
  /** What failed since the store was lost. */
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

  /** Waits for the first answer. Polls, because a client without an offline queue rejects until it is connected. */
  async start (timeout: Milliseconds) {
    const patience = Math.min(timeout, MAX_START)
    const end = this.#clock.monotonic() + patience
    try {
      await new Deadline(patience, this.#why).run(() => this.#answers(end))
    } catch (error) {
      // What was tried says more than that the time is up.
      if (error !== this.#lastFailure && error instanceof Error && this.#lastFailure) error.cause = this.#lastFailure
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

  /** What a bound of ours answers: while the store is lost it is the store that owes, and no fault of ours. */
  refusal (sentence: string): Error {
    return this.available ? new TooMuch(sentence) : new Error(sentence)
  }

  /** `probe` tries what failed again. */
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

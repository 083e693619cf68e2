import type { Milliseconds } from '../../domain/retention.ts'
import { cancel, every, monotonic, sleep } from '../../time.ts'
import { Deadline, TooMuch } from './deadline.ts'
import type { StoreContext } from '../store.ts'

const PROBE_INTERVAL: Milliseconds = 1000
const START_INTERVAL: Milliseconds = 50
/** Within Fastify's pluginTimeout, whatever storeTimeout is. */
const MAX_START: Milliseconds = 5000

type Probe = () => Promise<void>

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
  /** What has to work as well before it is back. */
  readonly #needed: Probe[] = []
  #lastFailure: unknown
  #trying = false
  #failures = 0
  #failuresSeen = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (probe: Probe, { onLost, onBack, onStuck }: Pick<StoreContext, 'onLost' | 'onBack' | 'onStuck'>, why?: () => Error | undefined) {
    this.#why = why
    this.#probe = probe
    this.#onLost = onLost
    this.#onBack = onBack
    this.#onStuck = onStuck
  }

  need (probe: Probe) {
    this.#needed.push(probe)
  }

  /** Waits for the first answer. A client that does not queue refuses everything until it has connected: hence again and again. */
  async start (timeout: Milliseconds) {
    const patience = Math.min(timeout, MAX_START)
    const end = monotonic() + patience
    try {
      await new Promise<void>((resolve, reject) => {
        const stop = new Deadline(patience, this.#why).start(reject)
        this.#answers(end).then(resolve, reject).finally(stop)
      })
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
        if (monotonic() + START_INTERVAL > end) throw error
      }
      await sleep(START_INTERVAL)
    }
  }

  close () {
    this.#closed = true
    cancel(this.#timer)
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
    this.#failuresSeen = this.#failures
    this.#timer = every(() => { this.#tryAgain() }, PROBE_INTERVAL).unref()
    this.#onLost(error)
  }

  async #tryAgain () {
    if (this.#trying) return
    const failures = this.#failures
    const quiet = failures === this.#failuresSeen
    this.#failuresSeen = failures
    this.#trying = true
    let tried = this.#probe
    try {
      for (tried of [...this.#broken, ...this.#needed]) await tried()
    } catch {
      if (tried === this.#probe || !await this.#answersAtAll()) this.#stuck()
      return
    } finally {
      this.#trying = false
    }
    if (!quiet || this.#closed || failures !== this.#failures) return
    this.available = true
    this.#broken.clear()
    cancel(this.#timer)
    this.#onBack()
  }

  #answersAtAll (): Promise<boolean> {
    return this.#probe().then(() => true, () => false)
  }

  #stuck () {
    if (!this.#closed) this.#onStuck?.()
  }
}

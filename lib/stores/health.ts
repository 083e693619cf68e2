import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds } from '../expiry.ts'
import type { StoreContext } from './store.ts'

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
  /** What failed since the store was lost. */
  readonly #broken = new Set<Probe>()
  readonly #onLost: StoreContext['onLost']
  readonly #onBack: StoreContext['onBack']
  #failures = 0
  #failuresSeen = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (probe: Probe, { onLost, onBack }: Pick<StoreContext, 'onLost' | 'onBack'>) {
    this.#probe = probe
    this.#onLost = onLost
    this.#onBack = onBack
  }

  /** Waits for the first answer. A client that does not queue refuses everything until it has connected: hence again and again. */
  async start (timeout: Milliseconds) {
    const patience = Math.min(timeout, MAX_START)
    const end = performance.now() + patience
    const late = new AbortController()
    const givesUp = sleep(patience, undefined, { signal: late.signal }).then(() => {
      throw new Error(`Redis gave no answer within ${patience} ms of the start`)
    })
    try {
      await Promise.race([this.#answers(end), givesUp])
    } catch (error) {
      this.failed(error)
    } finally {
      late.abort()
    }
  }

  async #answers (end: Milliseconds) {
    for (;;) {
      try {
        await this.#probe()
        return
      } catch (error) {
        if (performance.now() + START_INTERVAL > end) throw error
      }
      await sleep(START_INTERVAL)
    }
  }

  close () {
    this.#closed = true
    clearInterval(this.#timer)
  }

  /** `probe` tries what failed again. */
  failed (error: unknown, probe = this.#probe) {
    this.#failures++
    this.#broken.add(probe)
    if (!this.available || this.#closed) return
    this.available = false
    this.#failuresSeen = this.#failures
    this.#timer = setInterval(() => { this.#tryAgain() }, PROBE_INTERVAL).unref()
    this.#onLost(error)
  }

  async #tryAgain () {
    const failures = this.#failures
    const quiet = failures === this.#failuresSeen
    this.#failuresSeen = failures
    if (!quiet) return
    try {
      for (const probe of this.#broken) await probe()
    } catch {
      return
    }
    if (this.available || this.#closed || failures !== this.#failures) return
    this.available = true
    this.#broken.clear()
    clearInterval(this.#timer)
    this.#onBack()
  }
}

import { isOfOneKey, TooMuch } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { Budget } from '../store.ts'
import { Health, type HealthContext, type Probe } from './health.ts'

/** How many operations of a kind may be outstanding: a client queues without bound while Redis is away. */
const MAX_OUTSTANDING = { reads: 1000, operations: 2000 }

export interface RunOptions {
  /** What has to work again before the store is back, if this fails. */
  needs: Probe
  /** Default: the whole time. */
  budget?: Budget | undefined
  /** What it counts as. Default: `'operations'`. */
  as?: keyof typeof MAX_OUTSTANDING
}

/** The way to Redis: each operation within its time, so many at once, and its failure reported. */
export class Link {
  readonly health: Health
  readonly deadline: Deadline
  readonly #clock: Clock
  readonly #outstanding = { reads: 0, operations: 0 }
  /** One key that failed is being looked into. */
  #isSuspected = false

  constructor ({ timeout, ...context }: HealthContext & { timeout: Milliseconds }) {
    this.deadline = new Deadline(timeout, context.why)
    this.health = new Health(context)
    this.#clock = context.clock
  }

  budget (): Budget {
    return { left: this.deadline.timeout }
  }

  /** Several calls in the time of one. */
  within<T> (calls: () => Promise<T>): Promise<T> {
    return this.deadline.run(calls)
  }

  /** @throws TooMuch where too many are outstanding, NoAnswer, and what the operation throws */
  async run<T> (operation: () => Promise<T>, { needs, budget = this.budget(), as = 'operations' }: RunOptions): Promise<T> {
    const refusal = this.refusal(as)
    if (refusal !== undefined) throw refusal
    const started = this.#clock.monotonic()
    try {
      return await this.deadline.run(() => this.#counted(operation, as), budget.left)
    } catch (error) {
      this.failed(error, needs)
      throw error
    } finally {
      budget.left = Math.max(budget.left - (this.#clock.monotonic() - started), 1)
    }
  }

  /** Why no more can be taken; undefined: it can. */
  refusal (as: keyof typeof MAX_OUTSTANDING): Error | undefined {
    const most = MAX_OUTSTANDING[as]
    return this.#outstanding[as] < most ? undefined : this.health.refusal(`Redis owes answers to ${most} ${as}`)
  }

  /** Reports a failure. One of a single key alone is no loss, unless that is the log. */
  failed (error: unknown, needs?: Probe) {
    if (isOfOneKey(error)) {
      if (needs !== undefined) this.#suspect(error, needs)
    } else if (!(error instanceof TooMuch)) this.health.failed(error, needs)
  }

  /** One key is in somebody else's use, or every key that is needed: the log is one. */
  async #suspect (error: unknown, needs: Probe) {
    if (this.#isSuspected) return
    this.#isSuspected = true
    await needs().catch(() => this.health.failed(error, needs))
    this.#isSuspected = false
  }

  async #counted<T> (operation: () => Promise<T>, as: keyof typeof MAX_OUTSTANDING): Promise<T> {
    this.#outstanding[as]++
    try {
      return await operation()
    } finally {
      this.#outstanding[as]--
    }
  }
}

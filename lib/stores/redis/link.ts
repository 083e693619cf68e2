import { isOfOneKey, TooMuch } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { Budget } from '../store.ts'
import { Health, type HealthContext, type Probe } from './health.ts'

/** How many operations of each kind may be outstanding. A client queues without bound while Redis is away. */
const MAX_OUTSTANDING = { reads: 1000, operations: 2000 }

export interface RunOptions {
  /** What must work again before the store is back, if the operation fails. */
  needs: Probe
  /** Default: the whole time of one operation. */
  budget?: Budget | undefined
}

export interface LinkContext extends HealthContext {
  timeout: Milliseconds
  /** Whether a connection is another one than when this was asked last. */
  wereRenewed: () => boolean
}

/**
 * Runs operations on Redis. It limits the time of each and their number, and reports failures to `Health`.
 */
export class Link {
  readonly health: Health
  readonly deadline: Deadline
  readonly #clock: Clock
  #outstanding = { reads: 0, operations: 0 }
  /** A probe is finding out whether a failure of one key concerns every key. */
  #isSuspected = false

  constructor ({ timeout, wereRenewed, ...context }: LinkContext) {
    this.deadline = new Deadline({ ...context, timeout })
    this.health = new Health({
      ...context,
      onBack: () => {
        // A client may drop what a broken connection owed it, and never say so. One that stands owes it.
        if (wereRenewed()) this.#outstanding = { reads: 0, operations: 0 }
        context.onBack()
      }
    })
    this.#clock = context.clock
  }

  budget (): Budget {
    return { left: this.deadline.timeout }
  }

  /** Gives several calls together the time of one, or what is left of it. */
  within<T> (calls: () => Promise<T>, budget = this.budget()): Promise<T> {
    return this.deadline.run(calls, budget.left)
  }

  /** @throws TooMuch where too many are outstanding, NoAnswer, and what the operation throws */
  async run<T> (operation: () => Promise<T>, { needs, budget = this.budget() }: RunOptions): Promise<T> {
    const refusal = this.refusal('operations')
    if (refusal !== undefined) throw refusal
    const started = this.#clock.monotonic()
    return this.deadline.run(() => this.#counted(operation), budget.left).finally(() => {
      budget.left = Math.max(budget.left - (this.#clock.monotonic() - started), 1)
    }).catch((error) => {
      this.failed(error, needs)
      throw error
    })
  }

  /**
   * Begins a read, and gives what ends it. Calls `fail` where its time is up before. Every request waits for
   * a read, and the promises of `run` would add a fifth to the CPU that it takes.
   */
  beginRead (needs: Probe, fail: (error: unknown) => void): () => void {
    const outstanding = this.#outstanding
    outstanding.reads++
    const running = this.deadline.begin((error) => {
      this.failed(error, needs)
      fail(error)
    })
    return () => {
      outstanding.reads--
      this.deadline.end(running)
    }
  }

  /** Why the link can not take another operation; undefined: it can. */
  refusal (as: keyof typeof MAX_OUTSTANDING): Error | undefined {
    const most = MAX_OUTSTANDING[as]
    if (this.#outstanding[as] < most) return undefined
    return this.health.refusal(`Redis owes answers to ${most} ${as}`)
  }

  /** Reports a failure. A failure that concerns one key loses the store only if `needs` fails as well. */
  failed (error: unknown, needs?: Probe) {
    if (isOfOneKey(error)) {
      if (needs !== undefined) this.#suspect(error, needs)
    } else if (!(error instanceof TooMuch)) this.health.failed(error, needs)
  }

  /**
   * Finds out whether another program uses only that key, or a key that every operation needs, like the log.
   */
  async #suspect (error: unknown, needs: Probe) {
    if (this.#isSuspected) return
    this.#isSuspected = true
    await needs().catch(() => this.health.failed(error, needs))
    this.#isSuspected = false
  }

  async #counted<T> (operation: () => Promise<T>): Promise<T> {
    const outstanding = this.#outstanding
    outstanding.operations++
    try {
      return await operation()
    } finally {
      outstanding.operations--
    }
  }
}

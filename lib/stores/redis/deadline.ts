import type { Milliseconds } from '../../domain/retention.ts'
import { after, afterTurn, cancel, cancelTurn } from '../../time.ts'

export class NoAnswer extends Error {}

/** So much is under way that the plugin refuses more, while the store answers: a limit of ours, and no failure of the store (P4). */
export class TooMuch extends Error {}

/** What is under one key is not what belongs there. The store answers, and other keys are well. */
export class BadValue extends TypeError {}

/** Whether an error is about one key alone. */
export function isOfOneKey (error: unknown): boolean {
  return error instanceof BadValue || (error instanceof Error && /\b(?:WRONGTYPE|BADVALUE) /.test(error.message))
}

const MAX_TIMER: Milliseconds = 2 ** 31 - 1

/** The store's own deadline: a client's limits do not hold for a cluster that never connected, or are off. */
export class Deadline {
  readonly timeout: Milliseconds
  readonly #why: () => Error | undefined

  /** `why`: what is known of the reason when the time is up. */
  constructor (timeout: Milliseconds, why: () => Error | undefined = () => undefined) {
    this.timeout = timeout
    this.#why = why
  }

  /** Calls `expired` when the time is up, unless the function it returns was called before. */
  start (expired: (error: Error) => void, left = this.timeout): () => void {
    let immediate: NodeJS.Immediate | undefined
    const timer = after(() => {
      // After a stall of the event loop the timer runs before the answer that lies in the socket: let that be read first.
      immediate = afterTurn(() => expired(this.#noAnswer()))
    }, Math.min(left, MAX_TIMER))
    return () => {
      cancel(timer)
      cancelTurn(immediate)
    }
  }

  #noAnswer () {
    let cause: Error | undefined
    try {
      cause = this.#why()
    } catch {
      // It looks at a client of somebody else's, which may be of another kind.
    }
    return new NoAnswer(`Redis gave no answer within ${this.timeout} ms`, cause && { cause })
  }
}

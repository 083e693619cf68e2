import type { Milliseconds } from '../expiry.ts'

export class NoAnswer extends Error {}

const MAX_TIMER: Milliseconds = 2 ** 31 - 1

/** The store's own deadline: a client's limits do not hold for a cluster that never connected, or are off. */
export class Deadline {
  readonly timeout: Milliseconds

  constructor (timeout: Milliseconds) {
    this.timeout = timeout
  }

  /** Calls `expired` when the time is up, unless the function it returns was called before. */
  start (expired: (error: Error) => void, left = this.timeout): () => void {
    let immediate: NodeJS.Immediate | undefined
    const timer = setTimeout(() => {
      // After a stall of the event loop the timer runs before the answer that lies in the socket: let that be read first.
      immediate = setImmediate(() => expired(new NoAnswer(`Redis gave no answer within ${this.timeout} ms`)))
    }, Math.min(left, MAX_TIMER))
    return () => {
      clearTimeout(timer)
      clearImmediate(immediate)
    }
  }
}

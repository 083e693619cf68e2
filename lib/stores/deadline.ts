import { NoAnswer } from '../errors.ts'
import { afterTurn, cancelTurn, type Clock, type Milliseconds } from '../time.ts'

const MAX_TIMER: Milliseconds = 2 ** 31 - 1

export interface DeadlineContext {
  timeout: Milliseconds
  clock: Clock
  /** Gives the reason that is known when the time is up. */
  why?: (() => Error | undefined) | undefined
}

/**
 * The plugin's own time limit. A client's limit may be off, and does not bind a cluster that never connected.
 */
export class Deadline {
  readonly timeout: Milliseconds
  readonly #clock: Clock
  readonly #why: () => Error | undefined

  constructor ({ timeout, clock, why = () => undefined }: DeadlineContext) {
    this.timeout = timeout
    this.#clock = clock
    this.#why = why
  }

  /** Gives what the operation gives, within `left`. @throws NoAnswer */
  run<T> (operation: () => Promise<T>, left = this.timeout): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = this.#start(reject, left)
      operation().then((result) => {
        stop()
        resolve(result)
      }, (error) => {
        stop()
        reject(error)
      })
    })
  }

  /** Calls `expired` when the time is up, unless the function it returns was called before. */
  #start (expired: (error: Error) => void, left: Milliseconds): () => void {
    let immediate: NodeJS.Immediate | undefined
    const stop = this.#clock.after(() => {
      // After a stall of the event loop the timer runs before Node.js reads the answer that lies in the
      // socket.
      immediate = afterTurn(() => expired(this.#noAnswer()))
    }, Math.min(left, MAX_TIMER))
    return () => {
      stop()
      cancelTurn(immediate)
    }
  }

  #noAnswer () {
    let cause: Error | undefined
    try {
      cause = this.#why()
    } catch {
      // `why` looks into a client that may be of a kind which we do not know.
    }
    return new NoAnswer(`Redis gave no answer within ${this.timeout} ms`, cause && { cause })
  }
}

import { NoAnswer } from '../errors.ts'
import { afterTurn, type Clock, type Milliseconds } from '../time.ts'

const MAX_TIMER: Milliseconds = 2 ** 31 - 1

/** An operation that has no answer yet. */
interface Running {
  until: Milliseconds
  fail: (error: Error) => void
}

export interface DeadlineContext {
  timeout: Milliseconds
  clock: Clock
  /** Gives the reason that is known when the time is up. */
  why?: (() => Error | undefined) | undefined
  /** Called when the time is up, before the operation fails. */
  onNoAnswer?: (() => void) | undefined
}

/**
 * The plugin's own time limit. A client's limit may be off, and does not bind a cluster that never connected.
 */
export class Deadline {
  readonly timeout: Milliseconds
  readonly #clock: Clock
  readonly #why: () => Error | undefined
  readonly #onNoAnswer: (() => void) | undefined
  readonly #running = new Set<Running>()
  /** When the timer goes off; Infinity: there is none. */
  #wakesAt = Infinity
  #stop = () => {}

  constructor ({ timeout, clock, why = () => undefined, onNoAnswer }: DeadlineContext) {
    this.timeout = timeout
    this.#clock = clock
    this.#why = why
    this.#onNoAnswer = onNoAnswer
  }

  /** Gives what the operation gives, within `left`. @throws NoAnswer */
  run<T> (operation: () => Promise<T>, left = this.timeout): Promise<T> {
    return new Promise((resolve, reject) => {
      const running = { until: this.#clock.monotonic() + left, fail: reject }
      this.#running.add(running)
      if (running.until < this.#wakesAt) this.#wakeAt(running.until, left)
      operation().then((result) => {
        this.#running.delete(running)
        resolve(result)
      }, (error) => {
        this.#running.delete(running)
        reject(error)
      })
    })
  }

  /** One timer serves all: an operation that is answered in time, as nearly all are, leaves it alone. */
  #wakeAt (moment: Milliseconds, left: Milliseconds) {
    this.#stop()
    this.#wakesAt = moment
    this.#stop = this.#clock.after(() => {
      // After a stall of the event loop the timer runs before Node.js reads the answer that lies in the
      // socket.
      afterTurn(() => this.#wake())
    }, Math.min(left, MAX_TIMER))
  }

  #wake () {
    const now = this.#clock.monotonic()
    let next = Infinity
    for (const running of this.#running) {
      if (running.until > now) {
        next = Math.min(next, running.until)
        continue
      }
      this.#running.delete(running)
      const error = this.#noAnswer()
      this.#onNoAnswer?.()
      running.fail(error)
    }
    this.#wakesAt = Infinity
    if (next < Infinity) this.#wakeAt(next, next - now)
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

import { NoAnswer } from '../errors.ts'
import { afterTurn, type Clock, type Milliseconds, type Timer } from '../time.ts'

const MAX_TIMER: Milliseconds = 2 ** 31 - 1

/** An operation that has no answer yet. */
export interface Running {
  until: Milliseconds
  fail: (error: NoAnswer) => void
  /** Called once it has its answer, or has failed. */
  ended: (() => void) | undefined
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
  #timer: Timer | undefined

  constructor ({ timeout, clock, why = () => undefined, onNoAnswer }: DeadlineContext) {
    this.timeout = timeout
    this.#clock = clock
    this.#why = why
    this.#onNoAnswer = onNoAnswer
  }

  get isRunning (): boolean {
    return this.#running.size > 0
  }

  /** Gives what the operation gives, within `left`. @throws NoAnswer */
  run<T> (operation: () => Promise<T>, left = this.timeout): Promise<T> {
    return new Promise((resolve, reject) => {
      const running = this.begin(reject, left)
      operation().then((result) => {
        this.end(running)
        resolve(result)
      }, (error) => {
        this.end(running)
        reject(error)
      })
    })
  }

  /** Begins an operation: calls `fail` with NoAnswer, unless it ends within `left`. */
  begin (fail: (error: NoAnswer) => void, left = this.timeout): Running {
    const running: Running = { until: this.#clock.monotonic() + left, fail, ended: undefined }
    this.#running.add(running)
    if (running.until < this.#wakesAt) this.#wakeAt(running.until, left)
    else this.#timer?.ref()
    return running
  }

  /** The timer goes on, which takes less than to clear it, and keeps no process alive for nothing. */
  end (running: Running) {
    this.#running.delete(running)
    if (this.#running.size === 0) this.#timer?.unref()
    running.ended?.()
  }

  /** Resolves once each operation that runs now has its answer, or has failed. */
  async settled () {
    await Promise.all(Array.from(this.#running, (running) => new Promise<void>((resolve) => {
      const { ended } = running
      running.ended = () => {
        ended?.()
        resolve()
      }
    })))
  }

  /** One timer serves all: nearly every operation is answered in time. */
  #wakeAt (moment: Milliseconds, left: Milliseconds) {
    this.#timer?.stop()
    this.#wakesAt = moment
    this.#timer = this.#clock.after(() => {
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
      this.#fail(running)
      running.ended?.()
    }
    this.#wakesAt = Infinity
    if (next < Infinity) this.#wakeAt(next, next - now)
  }

  #fail ({ fail }: Running) {
    try {
      const error = this.#noAnswer()
      this.#onNoAnswer?.()
      fail(error)
    } catch (thrown) {
      // That stays uncaught. The time of the others must end all the same.
      process.nextTick(() => { throw thrown })
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

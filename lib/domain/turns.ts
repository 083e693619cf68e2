import { TooMuch } from '../errors.ts'
import { Deadline } from '../stores/deadline.ts'
import type { Clock, Milliseconds } from '../time.ts'

/** Lets callers of one name act one at a time, in the order in which they came. */
export class Turns {
  readonly #clock: Clock
  readonly #last = new Map<string, Promise<void>>()

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** `patience`: how long the caller waits for its turn. @throws TooMuch where the turn comes later */
  async take<T> (name: string, patience: Milliseconds, act: (hasWaited: boolean) => Promise<T>): Promise<T> {
    const before = this.#last.get(name)
    const { promise: turn, resolve: end } = withResolvers()
    const last = before === undefined ? turn : before.then(() => turn)
    this.#last.set(name, last)
    try {
      if (before !== undefined) await this.#inTime(before, patience)
      return await act(before !== undefined)
    } finally {
      end()
      if (this.#last.get(name) === last) this.#last.delete(name)
    }
  }

  #inTime (turn: Promise<void>, patience: Milliseconds): Promise<void> {
    return new Deadline({ timeout: patience, clock: this.#clock }).run(() => turn)
      .catch(() => { throw new TooMuch(`others kept the turn for ${patience} ms`) })
  }
}

function withResolvers () {
  let resolve!: () => void
  const promise = new Promise<void>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

import { turn, type Clock, type Milliseconds } from '../../time.ts'
import type { Entry } from '../entry.ts'
import type { Denylist } from './denylist.ts'

/** Many processes notice a loss at once. Each waits a part of this, and skips what others have put back by then. */
const SPREAD: Milliseconds = 500
const BATCH = 100

export interface RepairContext {
  denylist: Denylist
  putBack: (entries: Entry[]) => Promise<void>
  clock: Clock
}

/** What Redis has lost and this process knows: it is written again, entry by entry, until the log has it. */
export class Repair {
  readonly #denylist: Denylist
  readonly #putBack: (entries: Entry[]) => Promise<void>
  readonly #clock: Clock
  /** The log did not go on where it was left, and has not been read to its end since. */
  #isBroken = false
  /** What the log does not have is to be put back. */
  #mustPutBack = false
  #isRunning = false
  #closed = false

  constructor ({ denylist, putBack, clock }: RepairContext) {
    this.#denylist = denylist
    this.#putBack = putBack
    this.#clock = clock
  }

  /** The log does not go on: nothing of what is known counts as logged until it is read again. */
  async begin () {
    this.#isBroken = true
    const parts = this.#denylist.unlog()
    while (!parts.next().done) await turn()
  }

  /** The log has been read to its end; `withKeys`: and the keys, which may say more. */
  ready (withKeys: boolean) {
    if (this.#isBroken || withKeys) this.#mustPutBack = true
    this.#isBroken = false
  }

  /** Called again and again, while this process is in step with Redis. */
  tick () {
    if (this.#mustPutBack && !this.#isRunning) this.#run()
  }

  close () {
    this.#closed = true
  }

  async #run () {
    this.#isRunning = true
    await this.#clock.sleep(Math.random() * SPREAD, { ref: false })
    this.#mustPutBack = false
    for (const part of this.#denylist.entries(true)) {
      await turn()
      // Others begin elsewhere.
      const first = Math.floor(Math.random() * part.length)
      const entries = [...part.slice(first), ...part.slice(0, first)]
      for (let i = 0; i < entries.length && !this.#closed; i += BATCH) {
        const missing = entries.slice(i, i + BATCH).filter((entry) => !this.#denylist.isLogged(entry))
        try {
          if (missing.length > 0) await this.#putBack(missing)
        } catch {
          // The next tick tries again.
          this.#mustPutBack = true
        }
      }
    }
    this.#isRunning = false
  }
}

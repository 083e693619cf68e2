import { turn, type Clock, type Milliseconds } from '../../time.ts'
import type { Entry } from '../entry.ts'
import type { Denylist } from './denylist.ts'

/** Many processes notice a loss at once. Each waits a random part of this, and skips what others put back. */
const SPREAD: Milliseconds = 500
const BATCH = 100

export interface RepairContext {
  denylist: Denylist
  putBack: (entries: Entry[]) => Promise<void>
  clock: Clock
}

/** Writes again what Redis has lost and this process knows, entry by entry, until the log has it. */
export class Repair {
  readonly #denylist: Denylist
  readonly #putBack: (entries: Entry[]) => Promise<void>
  readonly #clock: Clock
  /** Whether the log did not go on where it was left, and has not been read to its end since. */
  #isBroken = false
  /** Whether the next tick must put back what the log does not have. */
  #mustPutBack = false
  #generation: number | undefined
  #isRunning = false
  #closed = false

  constructor ({ denylist, putBack, clock }: RepairContext) {
    this.#denylist = denylist
    this.#putBack = putBack
    this.#clock = clock
  }

  /** The log does not go on. No known entry counts as logged until the log is read again. */
  async begin () {
    this.#isBroken = true
    const parts = this.#denylist.unlog()
    while (!parts.next().done) await turn()
  }

  /**
   * The log has been read to its end. `withKeys`: so have the keys, which may tell more. `generation`: the
   * store's, by which this process goes from the first time on.
   */
  ready (withKeys: boolean, generation: number) {
    this.#generation ??= generation
    if (this.#isBroken || withKeys) this.#mustPutBack = true
    this.#isBroken = false
  }

  /**
   * Called again and again, while this process is in step with Redis. Of another generation may be another
   * server, whose log goes on where this process has read, and lacks what it wrote to the last server.
   */
  tick (generation: number) {
    if (this.#generation !== generation) this.#mustPutBack = true
    this.#generation = generation
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
      // Each process begins at another entry.
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

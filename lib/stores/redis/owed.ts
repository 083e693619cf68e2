import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import type { Deadline } from '../deadline.ts'
import { keyOf, KINDS, merged, type Entry } from '../entry.ts'
import type { Written } from '../store.ts'

/** A write whose outcome this process does not know. */
export interface OwedWrite {
  entry: Entry
  /** The `at` of each attempt. It tells whether one of them made what stands. */
  ats: Set<Seconds>
  made: ((written: Written) => void) | undefined
  /** Nobody asks for it again. */
  mustStand: boolean
}

/** One attempt at a write. */
export interface Attempt {
  owed: OwedWrite | undefined
  /** The connection broke, so the client may have sent the write twice and found its own. */
  wasRenewed: boolean
  /**
   * How much this process had told when the attempt began. A late answer to a caller and a write of what is
   * owed may both find that they made what stands, in any order.
   */
  since: number
}

const INTERVAL: Milliseconds = 1000
const AT_ONCE = 100

/** Tries writes again, and gives the outcome of each in their order. Never rejects. */
export type Rewrite = (some: OwedWrite[]) => Promise<Array<'acknowledged' | 'refused' | 'unknown'>>

export interface OwedContext {
  clock: Clock
  rewrite: Rewrite
  /** Limits the time of one rewrite. */
  deadline: Deadline
  /** Called when a write is given up, because too many others are owed. */
  onDisowned: () => void
  /** How many writes are remembered. */
  most: number
  /** How many writes one rewrite takes. Default: 100. */
  atOnce?: number
}

/**
 * Writes whose outcome is unknown: a connection broke before the answer, or a cluster took one of two
 * commands. Each may stand, and nobody was told. So this writes each again, every second, until Redis
 * acknowledges it.
 */
export class Owed {
  readonly #writes = new Map<string, OwedWrite>()
  readonly #clock: Clock
  readonly #rewrite: Rewrite
  readonly #deadline: Deadline
  readonly #most: number
  readonly #atOnce: number
  readonly #onDisowned: () => void
  #working: Promise<void> | undefined
  #isFull = false
  #closed = false

  constructor ({ clock, rewrite, deadline, onDisowned, most, atOnce = AT_ONCE }: OwedContext) {
    this.#clock = clock
    this.#rewrite = rewrite
    this.#deadline = deadline
    this.#onDisowned = onDisowned
    this.#most = most
    this.#atOnce = atOnce
  }

  of (entry: Entry): OwedWrite | undefined {
    return this.#writes.get(keyOf(entry))
  }

  /** A second attempt at the same entry joins the first, and both are told once. */
  add (entry: Entry, made: OwedWrite['made'], mustStand = false) {
    const key = keyOf(entry)
    const standing = this.#writes.get(key)
    if (standing !== undefined) {
      standing.ats.add(entry.at)
      standing.entry = merged(standing.entry, entry)
      standing.mustStand ||= mustStand
      return
    }
    if (this.#writes.size >= this.#most) {
      if (!this.#isFull) this.#onDisowned()
      this.#isFull = true
      if (!mustStand || !this.#giveUpOne()) return
    }
    this.#writes.set(key, { entry, ats: new Set([entry.at]), made, mustStand })
    this.#working ??= this.#work()
  }

  /** `standing`: what stands now. A later cutoff is still owed. */
  settle (standing: Entry) {
    const owed = this.of(standing)
    if (owed !== undefined && KINDS[standing.kind].rises && owed.entry.at > standing.at) return
    this.#writes.delete(keyOf(standing))
  }

  /** Gives up the oldest write whose caller may ask again. Gives whether there was one. */
  #giveUpOne (): boolean {
    for (const [key, { mustStand }] of this.#writes) if (!mustStand) return this.#writes.delete(key)
    return false
  }

  close () {
    this.#closed = true
  }

  async #work () {
    while (this.#writes.size > 0) {
      await this.#clock.sleep(INTERVAL, { ref: false })
      if (this.#closed) return
      await this.#rewriteAll()
    }
    this.#isFull = false
    this.#working = undefined
  }

  async #rewriteAll () {
    const all = [...this.#writes.values()]
    for (let i = 0; i < all.length && !this.#closed; i += this.#atOnce) {
      const some = all.slice(i, i + this.#atOnce).filter((owed) => this.of(owed.entry) === owed)
      const outcomes = await this.#inTime(some)
      for (const [j, owed] of some.entries()) {
        if (outcomes[j] !== 'unknown' && this.of(owed.entry) === owed) this.settle(owed.entry)
      }
      // Redis is still away: the next second tries again.
      if (outcomes.length > 0 && outcomes.every((outcome) => outcome === 'unknown')) return
    }
  }

  /** One rewrite within its time: a connection that swallowed an answer must not delay the other writes. */
  #inTime (some: OwedWrite[]): ReturnType<Rewrite> {
    return this.#deadline.run(() => this.#rewrite(some)).catch(() => some.map(() => 'unknown'))
  }
}

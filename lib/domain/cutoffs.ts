import { EVERY_IAT, type Entry } from '../stores/entry.ts'
import type { Budget, Store, Written } from '../stores/store.ts'
import type { Clock, Milliseconds, Seconds } from '../time.ts'
import type { CutoffEvent } from '../types.ts'
import type { By } from './audit.ts'
import type { Rules } from './claims.ts'
import { cutoffNameOf, type CutoffNames } from './names.ts'
import { cutoffKeptUntil, isoTime, SESSION_SPAN } from './retention.ts'
import { orUnavailable } from './unavailable.ts'

export interface CutoffsContext {
  store: Store
  rules: Rules
  clock: Clock
  /** Called after each write: an earlier check may be wrong now. */
  onChange: () => void
  /** Called with a cutoff that stands. `isHeard`: the listeners of this process have already heard of it. */
  onMade: (cutoff: CutoffEvent, by: By | undefined, isHeard: boolean) => void
}

export interface CutoffOptions {
  by?: By | undefined
  /** A ban: tokens that are issued until then are ended as well. */
  until?: Seconds | undefined
  /** A cutoff that stands at this second or later is not raised. */
  unlessFrom?: Seconds | undefined
  /** Nobody asks again: where the write fails, the store owes it. */
  mustStand?: boolean | undefined
  /** Default: the time of one revocation. */
  budget?: Budget | undefined
  /** Called once if this call made what stands, also where that is known later. */
  made?: (() => void) | undefined
}

/** Writes cutoffs of whatever has them. */
export class Cutoffs {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #onChange: CutoffsContext['onChange']
  readonly #onMade: CutoffsContext['onMade']

  constructor ({ store, rules, clock, onChange, onMade }: CutoffsContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#onChange = onChange
    this.#onMade = onMade
  }

  /** A session is always ended for ever: whoever signs its tokens may sign another one after the log-out. */
  async write (names: CutoffNames, options: CutoffOptions = {}): Promise<Written> {
    const { by, until, unlessFrom, mustStand, made, budget = this.#store.budget() } = options
    const now = this.#clock.wall()
    const isSession = 'sid' in names
    const last = isSession ? Infinity : until
    const at = Math.min(Math.floor(last ?? now / 1000), EVERY_IAT)
    const kept = isSession
      ? cutoffKeptUntil(0, this.#rules, now, SESSION_SPAN)
      : cutoffKeptUntil(at, this.#rules, now)
    const entry: Entry = { kind: 'cutoff', name: cutoffNameOf(names), at, exp: null, until: kept }
    const writing = this.#store.denials.write(entry, {
      made: (standing, isHeard) => {
        this.#onMade({ ...names, cutoff: standing.at }, by, isHeard)
        made?.()
      },
      budget,
      // Whoever says until when means that second, and no later one.
      unlessFrom: last === undefined ? unlessFrom : at,
      mustStand
    })
    // A write that fails may stand.
    const written = await orUnavailable(writing).finally(() => this.#onChange())
    if (isSession && this.#rules.refreshLifetime !== undefined) await this.#noteEnd(entry.name, now, budget)
    return written
  }

  /** The record only tells when the session ended: that it did does not depend on this. */
  async #noteEnd (name: string, now: Milliseconds, budget: Budget) {
    try {
      const record = await this.#store.records.of(name, budget)
      if (record === null) return
      await this.#store.refreshes.end(record.id, isoTime(now / 1000, Math.floor)!, budget)
    } catch {}
  }
}

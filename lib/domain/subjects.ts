import { FST_JWT_REVOKED } from '../errors.ts'
import type { Entry } from '../stores/entry.ts'
import type { Store } from '../stores/store.ts'
import type { Clock, Seconds } from '../time.ts'
import type { CutoffEvent, CutoffResult, TokenRecord } from '../types.ts'
import type { By } from './audit.ts'
import { isJti, type Rules } from './claims.ts'
import { isCutOff, latestIat } from './cutoff.ts'
import type { History } from './history.ts'
import { identityOf } from './names.ts'
import { endOf, iatOf } from './records.ts'
import { keptUntil } from './retention.ts'
import { Turns } from './turns.ts'
import { orUnavailable } from './unavailable.ts'

export interface SubjectsContext {
  store: Store
  rules: Rules
  clock: Clock
  history: History
  /** Revokes one token. Gives whether this call made the revocation. */
  revoke: (record: TokenRecord, by: By | undefined) => Promise<boolean>
  /** Called after each cutoff: an earlier check may be wrong now. */
  onChange: () => void
  /** Called with a cutoff that stands. `isHeard`: the listeners of this process have already heard of it. */
  onMade: (cutoff: CutoffEvent, by: By | undefined, isHeard: boolean) => void
}

/** How many records of a subject one page has. */
export const SUBJECT_PAGE = 500
/**
 * How many tokens of a subject are revoked at once: checks and log-ins of all others share the connection.
 */
const AT_ONCE = 10

/** Ends all tokens of a subject, or all but one. */
export class Subjects {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #history: History
  readonly #revoke: SubjectsContext['revoke']
  readonly #onChange: SubjectsContext['onChange']
  readonly #onMade: SubjectsContext['onMade']
  readonly #sparing: Turns

  constructor ({ store, rules, clock, history, revoke, onChange, onMade }: SubjectsContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#history = history
    this.#revoke = revoke
    this.#onChange = onChange
    this.#onMade = onMade
    this.#sparing = new Turns(clock)
  }

  async cutOff (
    sub: string, iss: string | undefined, by: By | undefined, unlessFrom: Seconds | undefined
  ): Promise<CutoffResult> {
    const subject = identityOf(iss, sub)
    const names = { sub, ...(iss && { iss }) }
    const now = this.#clock.wall()
    const seconds = Math.floor(now / 1000)
    // A token may have been recorded more than once.
    const ended = new Set<string>()
    let cutoff = seconds
    let before: Seconds | null = null
    const made = ({ at }: Entry, isHeard: boolean) => this.#onMade({ ...names, cutoff: at }, by, isHeard)
    const older = new Set<string>()
    const cutOff = async () => {
      // The cutoff does not depend on the records: it is written even if they can not be read.
      const { records } = await this.#store.records.page(subject, SUBJECT_PAGE).catch(() => ({ records: [] }))
      for (const { id } of records) older.add(id)
      const until = keptUntil(undefined, this.#rules, now)
      const asked: Entry = { kind: 'cutoff', name: subject, at: seconds, exp: null, until }
      const written = await this.#store.denials.write(asked, { unlessFrom, made })
      cutoff = written.standing.at
      before = written.before
      this.#onChange()
    }
    const ahead: TokenRecord[] = []
    const pages = this.#pages(sub, iss, async (record) => {
      const claims = iatOf(record)
      if (isCutOff(claims, before)) return
      // The cutoff does not reach a token that was signed by a clock that is ahead. It does not mean what
      // issue() signed since.
      const isAhead = !isCutOff(claims, cutoff)
      if (isAhead && !older.has(record.id) && claims.iat! <= latestIat(this.#clock.wall())) return
      const { revoked } = await this.#history.lookUp({ identity: identityOf(iss, record.jti) }, 'checkShared')
      if (revoked) return
      if (this.#counts(record)) ended.add(record.jti)
      if (isAhead) ahead.push(record)
    }, cutOff)
    while (!(await pages.next()).done) {
      await eachOf(ahead.splice(0), AT_ONCE, async (record) => { await this.#revoke(record, by) })
    }
    return { ...names, cutoff, revoked: ended.size }
  }

  /**
   * Revokes tokens one by one, because no cutoff can leave one out. Only one call at a time acts on a
   * subject.
   */
  async revokeOthers (
    sub: string, iss: string | undefined, except: string, by: By | undefined
  ): Promise<CutoffResult> {
    const { left } = this.#store.budget()
    return orUnavailable(this.#sparing.take(identityOf(iss, sub), left, async (hasWaited) => {
      // The call before may have revoked the token that this call spares: two devices must not end each
      // other.
      if (hasWaited && isJti(except)) {
        const spared = await this.#history.lookUp({ identity: identityOf(iss, except) })
        if (spared.revoked) throw new FST_JWT_REVOKED()
      }
      let revoked = 0
      const pages = this.#pages(sub, iss, async (record) => {
        return (await this.#history.withStatus(record, 'checkShared')).status
      })
      for await (const page of pages) {
        const others = page.filter(({ record, seen }) => seen === 'active' && record.jti !== except)
        await eachOf(others, AT_ONCE, async ({ record }) => {
          if (await this.#revoke(record, by) && this.#counts(record)) revoked++
        })
      }
      return { sub, ...(iss && { iss }), cutoff: null, revoked }
    }))
  }

  /** Whether a revoked token counts. A token that has ended by the clock of this process does not. */
  #counts (record: TokenRecord): boolean {
    return endOf(record)! > this.#clock.wall() / 1000
  }

  /**
   * Gives the records of a subject, page by page, each with what `see` gives of it. Each page has the time of
   * one revocation; the first page shares its time with `first`, which runs before it.
   */
  async * #pages<T> (
    sub: string, iss: string | undefined,
    see: (record: TokenRecord) => Promise<T>, first?: () => Promise<void>
  ) {
    let after: string | undefined
    do {
      const page = await orUnavailable(this.#store.within(async () => {
        if (after === undefined) await first?.()
        const subject = identityOf(iss, sub)
        const { records, after: next } = await this.#store.records.page(subject, SUBJECT_PAGE, after)
        const seen = await Promise.all(records.map(async (record) => ({ record, seen: await see(record) })))
        return { seen, next }
      }))
      yield page.seen
      after = page.next
    } while (after !== undefined)
  }
}

/** Calls `act` for all, `atOnce` at a time. */
async function eachOf<T> (all: T[], atOnce: number, act: (one: T) => Promise<void>) {
  for (let i = 0; i < all.length; i += atOnce) await Promise.all(all.slice(i, i + atOnce).map(act))
}

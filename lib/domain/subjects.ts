import { FST_JWT_REVOKED } from '../errors.ts'
import type { Store } from '../stores/store.ts'
import type { Clock, Seconds } from '../time.ts'
import type { CutoffResult, TokenRecord } from '../types.ts'
import type { By } from './audit.ts'
import { isJti, type Rules } from './claims.ts'
import { isCutOff, latestIat, reachOf } from './cutoff.ts'
import type { CutoffOptions, Cutoffs } from './cutoffs.ts'
import type { History } from './history.ts'
import { areNone, cutoffNameOf, identityOf, namesOf, recordNameOf } from './names.ts'
import { endOf, iatOf } from './records.ts'
import { Turns } from './turns.ts'
import { orUnavailable } from './unavailable.ts'

export interface SubjectsContext {
  store: Store
  rules: Rules
  clock: Clock
  history: History
  cutoffs: Cutoffs
  /** Revokes one token, by its session where it has no jti. Gives whether this call made the revocation. */
  revoke: (record: TokenRecord, by: By | undefined) => Promise<boolean>
  /** Makes sure of what has ended a token. Gives the same, or undefined where nothing has. */
  confirm: (record: TokenRecord, by: By | undefined) => Promise<boolean | undefined>
}

/** A token that is left out. An empty one leaves out none. */
export interface Spared {
  jti?: string | undefined
  sid?: string | undefined
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
  readonly #cutoffs: Cutoffs
  readonly #revoke: SubjectsContext['revoke']
  readonly #confirm: SubjectsContext['confirm']
  readonly #sparing: Turns

  constructor ({ store, rules, clock, history, cutoffs, revoke, confirm }: SubjectsContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#history = history
    this.#cutoffs = cutoffs
    this.#revoke = revoke
    this.#confirm = confirm
    this.#sparing = new Turns(clock)
  }

  async cutOff (sub: string, iss: string | undefined, options: CutoffOptions): Promise<CutoffResult> {
    const names = { sub, ...(iss && { iss }) }
    const subject = cutoffNameOf(names)
    // A token may have been recorded more than once.
    const counted = new Set<string>()
    let cutoff: Seconds = 0
    let before: Seconds | null = null
    /** The latest `iat` of a token that only a later cutoff ends. */
    let furthest: Seconds = 0
    const older = new Set<string>()
    const cutOff = async () => {
      // The cutoff does not depend on the records: it is written even if they can not be read.
      const { records } = await this.#store.records.page(subject, SUBJECT_PAGE).catch(() => ({ records: [] }))
      for (const { id } of records) older.add(id)
      const written = await this.#cutoffs.write(names, options)
      cutoff = written.standing.at
      before = written.before
    }
    const ahead: TokenRecord[] = []
    const ended: TokenRecord[] = []
    const pages = this.#pages(sub, iss, async (record) => {
      const claims = iatOf(record)
      if (isCutOff(claims, before)) return
      // The cutoff does not reach a token that was signed by a clock that is ahead. It does not mean what
      // issue() signed since.
      const isAhead = !isCutOff(claims, cutoff)
      const now = this.#clock.wall()
      if (isAhead && !older.has(record.id) && claims.iat! <= latestIat(now)) return
      const hasOwnEnd = record.jti !== undefined || record.sid !== undefined
      const reach = isAhead && !hasOwnEnd ? reachOf(claims, this.#rules, now) : cutoff
      if (reach === undefined) return
      const names = { ...namesOf(record, this.#rules.sidless), subject: undefined }
      if (!areNone(names)) {
        const others = await this.#history.lookUp(names, 'checkShared')
        if (others.revoked || isCutOff(claims, others.cutoff)) {
          if (isAhead) ended.push(record)
          return
        }
      }
      if (this.#counts(record)) counted.add(recordNameOf(record))
      if (isAhead && hasOwnEnd) ahead.push(record)
      furthest = Math.max(furthest, reach)
    }, cutOff)
    while (!(await pages.next()).done) {
      await eachOf(ahead.splice(0), AT_ONCE, async (record) => { await this.#revoke(record, options.by) })
      await eachOf(ended.splice(0), AT_ONCE, async (record) => { await this.#confirm(record, options.by) })
    }
    if (furthest > cutoff) {
      const { standing } = await this.#cutoffs.write(names, { by: options.by, until: furthest })
      cutoff = standing.at
    }
    return { ...names, cutoff, revoked: counted.size }
  }

  /**
   * Revokes tokens one by one, because no cutoff can leave one out. Only one call at a time acts on a
   * subject. What has neither a jti nor a session stays: its subject would end the spared token, too.
   */
  async revokeOthers (
    sub: string, iss: string | undefined, except: Spared, by: By | undefined
  ): Promise<CutoffResult> {
    const { left } = this.#store.budget()
    return orUnavailable(this.#sparing.take(identityOf(iss, sub), left, async (hasWaited) => {
      const { jti, sid } = await this.#withSession(iss, except)
      // The call before may have revoked the token that this call spares: two devices must not end each
      // other.
      const names = namesOf({ iss, jti, sid })
      if (hasWaited && !areNone(names)) {
        const spared = await this.#history.lookUp(names)
        if (spared.revoked || spared.cutoff !== null) throw new FST_JWT_REVOKED()
      }
      let revoked = 0
      const pages = this.#pages(sub, iss, async (record) => {
        return (await this.#history.withStatus(record, 'checkShared')).status
      })
      for await (const page of pages) {
        const others = page.filter(({ record }) => !isSpared(record, { jti, sid }))
        await eachOf(others, AT_ONCE, async ({ record, seen }) => {
          const confirmed = seen === 'active' ? undefined : await this.#confirm(record, by)
          // Several records of one session end at once.
          const isFirst = confirmed ?? (await this.#revoke(record, by) || record.jti === undefined)
          if (isFirst && this.#counts(record)) revoked++
        })
      }
      return { sub, ...(iss && { iss }), cutoff: null, revoked }
    }))
  }

  /** A session ends with any token of it that is revoked by it. So the spared token's session counts. */
  async #withSession (iss: string | undefined, { jti, sid }: Spared): Promise<Spared> {
    if (!isJti(jti)) return { sid }
    if (sid !== undefined || this.#rules.claims.sid === undefined) return { jti, sid }
    return { jti, sid: (await this.#history.tokenOf(iss, jti))?.sid }
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
        const subject = cutoffNameOf({ sub, ...(iss && { iss }) })
        const { records, after: next } = await this.#store.records.page(subject, SUBJECT_PAGE, after)
        const seen = await Promise.all(records.map(async (record) => ({ record, seen: await see(record) })))
        return { seen, next }
      }))
      yield page.seen
      after = page.next
    } while (after !== undefined)
  }
}

function isSpared (record: TokenRecord, { jti, sid }: Spared): boolean {
  if (record.session && sid !== undefined) return record.sid === sid
  return record.jti === undefined ? record.sid === undefined || record.sid === sid : record.jti === jti
}

/** Calls `act` for all, `atOnce` at a time. */
async function eachOf<T> (all: T[], atOnce: number, act: (one: T) => Promise<void>) {
  for (let i = 0; i < all.length; i += atOnce) await Promise.all(all.slice(i, i + atOnce).map(act))
}

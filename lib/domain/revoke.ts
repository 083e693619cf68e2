import { FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_NOT_FOUND } from '../errors.ts'
import type { Entry } from '../stores/entry.ts'
import type { Budget, Store } from '../stores/store.ts'
import type { Clock, Seconds } from '../time.ts'
import type {
  ClaimResult, CutoffEvent, CutoffResult, RevocationResult, SessionResult, TokenRecord
} from '../types.ts'
import { byOf, type By } from './audit.ts'
import { type CheckedClaims, type Rules } from './claims.ts'
import { isCutOff, reachOf } from './cutoff.ts'
import { Cutoffs, type CutoffOptions } from './cutoffs.ts'
import type { History } from './history.ts'
import { cutoffNamesOf, identityOf, namesOf } from './names.ts'
import { endOf, iatOf } from './records.ts'
import { keptUntil } from './retention.ts'
import { revocationOf, type Made, type RevokedNames } from './revocation.ts'
import { Subjects, type Spared } from './subjects.ts'
import { orUnavailable } from './unavailable.ts'

export interface RevokerContext {
  store: Store
  rules: Rules
  clock: Clock
  history: History
  /** Called after each write: an earlier check may be wrong now. */
  onChange: () => void
  /** Called with what stands now. `isHeard`: the listeners of this process have already heard of it. */
  onMade: (revocation: RevocationResult | CutoffEvent, by: By | undefined, isHeard: boolean) => void
}

export interface Target {
  jti: string
  iss?: string | undefined
  exp?: number
}

export interface EndOptions extends CutoffOptions {
  /** A token to leave out. */
  except?: Spared | undefined
}

interface RevokeOptions {
  /** When the token ends; Infinity: never, undefined: unknown. */
  end: Seconds | undefined
  budget?: Budget | undefined
  by: By | undefined
}

/** Revokes one token, a subject, all tokens of a subject but one, a session, or by a listed claim. */
export class Revoker {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #history: History
  readonly #onChange: RevokerContext['onChange']
  readonly #onMade: RevokerContext['onMade']
  readonly cutoffs: Cutoffs
  readonly #subjects: Subjects

  constructor ({ store, rules, clock, history, onChange, onMade }: RevokerContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#history = history
    this.#onChange = onChange
    this.#onMade = onMade
    this.cutoffs = new Cutoffs({ store, rules, clock, onChange, onMade })
    this.#subjects = new Subjects({
      store,
      rules,
      clock,
      history,
      cutoffs: this.cutoffs,
      revoke: async (record, by) => (await this.revokeRecord(record, record, undefined, by)).first,
      confirm: (record, by) => this.#confirm(record, by)
    })
  }

  /** Revokes the token that asks; without a jti its session. A token without an exp has no end. */
  async revokeOwn (claims: CheckedClaims): Promise<Made> {
    const { jti, iss, sid, exp = Infinity } = claims
    if (jti === undefined) {
      if (sid !== undefined) return this.#revokeSession({ ...claims, sid }, claims.exp ?? null, byOf(claims))
      throw new FST_JWT_NOT_REVOCABLE('it has no jti to revoke it by, sign it with issue, which adds one')
    }
    const budget = this.#store.budget()
    const record = await this.#history.tokenOf(iss, jti, budget, sid)
    return this.revokeKnown({ jti, iss, exp }, record, budget, byOf(claims))
  }

  /**
   * Revokes a token whose records the caller has read. The latest of all known ends counts (P2). A session
   * that can be refreshed ends with each of its tokens.
   */
  async revokeKnown (
    target: Target, record: TokenRecord | null, budget?: Budget, by?: By, latest = record
  ): Promise<Made> {
    const end = latestOf(target.exp, endOf(record), endOf(latest))
    const { session, sid, iss } = record ?? {}
    if (session === undefined || sid === undefined) return this.#revoke(target, record, { end, budget, by })
    // First: if the second write fails, a caller whose own token this is may not ask again.
    const ended = await this.cutoffs.write({ sid, ...(iss && { iss }) }, { by, budget })
    const made = await this.#revoke(target, record, { end, budget, by })
    return { ...made, first: made.first || ended.first }
  }

  /**
   * Revokes the token of a record. Without a jti it ends the session, or else the subject: never all tokens
   * of a listed claim's value, which may be everybody's. `latest`: its identity's record that ends latest.
   */
  async revokeRecord (
    record: TokenRecord, latest: TokenRecord | null, budget?: Budget, by?: By
  ): Promise<Made> {
    const { jti, iss, sub, sid } = record
    if (jti !== undefined) return this.revokeKnown({ jti, iss }, record, budget, by, latest)
    const end = endOf(record)!
    const exp = end === Infinity ? null : end
    if (sid !== undefined) return this.#revokeSession({ ...record, sid }, exp, by)
    if (sub === undefined) {
      const sentence = 'The token has no jti, no session and no subject to revoke it by'
      throw new FST_JWT_REVOCATION_NOT_FOUND(sentence)
    }
    const claims = iatOf(record)
    // What another name has ended is revoked already: there is no need to end the subject for it.
    const names = namesOf(record, this.#rules.sidless)
    const { cutoff } = await this.#history.lookUp(names, 'checkShared')
    const isCut = isCutOff(claims, cutoff)
    const until = reachOf(claims, this.#rules, this.#clock.wall())
    if (!isCut && until === undefined && !isCutOff(claims, this.#now())) {
      const sentence = 'The token has no jti and no session, and its iat is too far ahead for a cutoff'
      throw new FST_JWT_REVOCATION_NOT_FOUND(sentence)
    }
    if (isCut) await this.#confirm(record, by)
    const at = isCut ? cutoff! : (await this.#subjects.cutOff(sub, iss, { by, until })).cutoff!
    return { revocation: revocationOf(record, Math.min(at, this.#now()), exp), first: !isCut }
  }

  /**
   * Writes again what has ended a token, where a call that failed may have left it on one node alone: who is
   * told that it stands relies on it (P3). Gives whether this call made it; undefined where nothing has ended
   * the token. The record has a subject.
   */
  async #confirm (record: TokenRecord, by: By | undefined): Promise<boolean | undefined> {
    if (!this.#store.denials.mayFindHalf) return false
    const { jti, iss } = record
    const claims = iatOf(record)
    const { identity, subject, others = [] } = namesOf(record, this.#rules.sidless)
    let isFirst: boolean | undefined
    if (jti !== undefined && (await this.#history.lookUp({ identity }, 'checkShared')).revoked) {
      isFirst = (await this.#revoke({ jti, iss }, record, { end: endOf(record), by })).first
    }
    for (const name of [subject!, ...others]) {
      const { cutoff } = await this.#history.lookUp({ subject: name }, 'checkShared')
      if (!isCutOff(claims, cutoff)) continue
      // At this very second: a later one could end a token that is to be spared.
      const { first } = await this.cutoffs.write(cutoffNamesOf(name)!, { by, until: cutoff! })
      isFirst ||= first
    }
    return isFirst
  }

  /** Ends a session: its tokens that are issued later as well. */
  async endSession (sid: string, iss: string | undefined, by?: By): Promise<SessionResult> {
    const names = { sid, ...(iss && { iss }) }
    await this.cutoffs.write(names, { by })
    return names
  }

  /** Ends the session of the token that asks. */
  async endOwnSession (claims: CheckedClaims): Promise<SessionResult> {
    if (claims.sid === undefined) {
      throw new FST_JWT_NOT_REVOCABLE('it has no session to end, sign it with a sid')
    }
    return this.endSession(claims.sid, claims.iss, byOf(claims))
  }

  /** Ends the tokens that have this value in a listed claim. */
  async endClaim (
    claim: string, value: string, iss: string | undefined, options: CutoffOptions
  ): Promise<ClaimResult> {
    const names = { claim, value, ...(iss && { iss }) }
    const { standing } = await this.cutoffs.write(names, options)
    return { ...names, cutoff: standing.at }
  }

  /** Ends the subject of the token that asks, and that token with it. */
  async endOwnSubject (claims: CheckedClaims, options: EndOptions = {}): Promise<CutoffResult> {
    const { sub, sid, iss, jti, iat } = claims
    const hasOwnEnd = (jti ?? sid) !== undefined
    if (sub === undefined) {
      throw new FST_JWT_NOT_REVOCABLE('it has no sub to revoke all tokens of, sign it with one')
    }
    // The cutoff does not reach a token that was signed by a clock that is ahead.
    const reach = hasOwnEnd ? undefined : reachOf(claims, this.#rules, this.#clock.wall())
    const until = reach === undefined ? options.until : Math.max(reach, options.until ?? 0)
    // Concurrent requests with one token share one cutoff; otherwise each would raise it by a second.
    const result = await this.endSubject(sub, iss, { ...options, until, by: byOf(claims), unlessFrom: iat })
    const isLeft = result.cutoff !== null && !isCutOff(claims, result.cutoff)
    if (isLeft && hasOwnEnd) await this.revokeOwn(claims)
    return result
  }

  endSubject (sub: string, iss: string | undefined, options: EndOptions = {}): Promise<CutoffResult> {
    const { except, by } = options
    return except === undefined
      ? this.#subjects.cutOff(sub, iss, options)
      : this.#subjects.revokeOthers(sub, iss, except, by)
  }

  /** Revokes a token that has no jti with its session. Nobody keeps when a session was ended first. */
  async #revokeSession (names: RevokedNames & { sid: string }, exp: Seconds | null, by?: By): Promise<Made> {
    const { iss, sid } = names
    const { first } = await this.cutoffs.write({ sid, ...(iss && { iss }) }, { by })
    return { revocation: revocationOf(names, this.#now(), exp), first }
  }

  #now (): Seconds {
    return Math.floor(this.#clock.wall() / 1000)
  }

  async #revoke (target: Target, record: TokenRecord | null, options: RevokeOptions): Promise<Made> {
    const { jti, iss } = target
    const { end, budget, by } = options
    const now = this.#clock.wall()
    const exp = end === undefined || end === Infinity ? null : end
    const { id, sub, sid } = record ?? {}
    const names = { jti, iss, id, sub, sid }
    const revocation = (standing: Entry) => revocationOf(names, standing.at, exp ?? standing.exp)
    const entry: Entry = {
      kind: 'revoked',
      name: identityOf(iss, jti),
      at: Math.floor(now / 1000),
      exp,
      until: keptUntil(end, this.#rules, now),
      ...(record && { id: record.id }),
      ...(record?.sub && { sub: record.sub })
    }
    const made = (standing: Entry, isHeard: boolean) => this.#onMade(revocation(standing), by, isHeard)
    const { standing, first } = await orUnavailable(this.#store.denials.write(entry, { made, budget }))
    this.#onChange()
    return { revocation: revocation(standing), first }
  }
}

function latestOf (...ends: Array<Seconds | undefined>): Seconds | undefined {
  const known = ends.filter((end) => end !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

import { FST_JWT_NOT_REVOCABLE } from '../errors.ts'
import type { Entry } from '../stores/entry.ts'
import type { Budget, Store } from '../stores/store.ts'
import type { Clock, Seconds } from '../time.ts'
import type { CutoffEvent, CutoffResult, RevocationResult, RevokeResult, TokenRecord } from '../types.ts'
import { byOf, type By } from './audit.ts'
import { type CheckedClaims, type Rules } from './claims.ts'
import { isCutOff } from './cutoff.ts'
import type { History } from './history.ts'
import { identityOf } from './names.ts'
import { endOf } from './records.ts'
import { isoTime, keptUntil } from './retention.ts'
import { Subjects } from './subjects.ts'
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

/** The revocation that stands, and whether this call made it. */
export interface Made {
  revocation: RevocationResult
  first: boolean
}

export interface EndOptions {
  /** The jti of a token to leave out. */
  except?: string | undefined
  by?: By
  /** The call does not raise a cutoff that stands at this second or later. */
  unlessFrom?: Seconds | undefined
}

interface RevokeOptions {
  /** When the token ends; Infinity: never, undefined: unknown. */
  end: Seconds | undefined
  budget?: Budget | undefined
  by: By | undefined
}

/** Revokes one token, a subject, or all tokens of a subject but one. */
export class Revoker {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #history: History
  readonly #onChange: RevokerContext['onChange']
  readonly #onMade: RevokerContext['onMade']
  readonly #subjects: Subjects

  constructor ({ store, rules, clock, history, onChange, onMade }: RevokerContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#history = history
    this.#onChange = onChange
    this.#onMade = onMade
    this.#subjects = new Subjects({
      store,
      rules,
      clock,
      history,
      onChange,
      onMade,
      revoke: async (record, by) => (await this.#revoke(record, record, { end: endOf(record), by })).first
    })
  }

  /** Revokes the token that asks. A token without an exp has no end. */
  async revokeOwn (claims: CheckedClaims): Promise<Made> {
    const { jti, iss, exp = Infinity } = claims
    if (jti === undefined) {
      throw new FST_JWT_NOT_REVOCABLE('it has no jti to revoke it by, sign it with issue, which adds one')
    }
    const budget = this.#store.budget()
    const record = await this.#history.tokenOf(iss, jti, budget)
    return this.revokeKnown({ jti, iss, exp }, record, budget, byOf(claims))
  }

  /** Revokes a token whose records the caller has read. The latest of all known ends counts (P2). */
  revokeKnown (
    target: Target, record: TokenRecord | null, budget?: Budget, by?: By, latest = record
  ): Promise<Made> {
    const end = latestOf(target.exp, endOf(record), endOf(latest))
    return this.#revoke(target, record, { end, budget, by })
  }

  /** Ends the subject of the token that asks, and that token with it. */
  async endOwnSubject (claims: CheckedClaims, except?: string): Promise<CutoffResult> {
    const { sub, iss, jti, iat } = claims
    if (sub === undefined) {
      throw new FST_JWT_NOT_REVOCABLE('it has no sub to revoke all tokens of, sign it with one')
    }
    // Concurrent requests with one token share one cutoff; otherwise each would raise it by a second.
    const result = await this.endSubject(sub, iss, { except, by: byOf(claims), unlessFrom: iat })
    // The cutoff does not reach a token that was signed by a clock that is ahead.
    const isLeft = result.cutoff !== null && !isCutOff(claims, result.cutoff)
    if (isLeft && jti !== undefined) await this.revokeOwn(claims)
    return result
  }

  endSubject (sub: string, iss: string | undefined, options: EndOptions = {}): Promise<CutoffResult> {
    const { except, by, unlessFrom } = options
    return except === undefined
      ? this.#subjects.cutOff(sub, iss, by, unlessFrom)
      : this.#subjects.revokeOthers(sub, iss, except, by)
  }

  async #revoke (target: Target, record: TokenRecord | null, options: RevokeOptions): Promise<Made> {
    const { jti, iss } = target
    const { end, budget, by } = options
    const now = this.#clock.wall()
    const exp = end === undefined || end === Infinity ? null : end
    const names = { jti, iss, id: record?.id, sub: record?.sub }
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

type Names = { jti: string } & Record<'id' | 'iss' | 'sub', string | undefined>

export function revocationOf (names: Names, at: Seconds, exp: Seconds | null): RevocationResult {
  const { jti, id, iss, sub } = names
  return {
    jti,
    ...(id && { id }),
    ...(iss && { iss }),
    ...(sub && { sub }),
    status: 'revoked',
    revokedAt: isoTime(at, Math.floor)!,
    expiresAt: isoTime(exp ?? undefined, Math.ceil)
  }
}

function latestOf (...ends: Array<Seconds | undefined>): Seconds | undefined {
  const known = ends.filter((end) => end !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

export function withFirst ({ revocation, first }: Made): RevokeResult {
  return { ...revocation, first }
}

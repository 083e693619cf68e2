import {
  FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED, TooMuch
} from '../errors.ts'
import type { Denials } from '../stores/store.ts'
import type { Clock } from '../time.ts'
import type { Audit } from './audit.ts'
import {
  BROKEN, brokenTimeRule, checkClaims, claimsOf, selectClaims,
  type CheckedClaims, type Rules, type TokenClaims
} from './claims.ts'
import { isCutOff } from './cutoff.ts'
import { areNone, namesOf } from './names.ts'
import type { Notices } from './notices.ts'

/** Who asks for a check. */
export interface Asker {
  /**
   * Called once. `refusal`: the error that refuses the token, or null. `unchecked`: why an accepted token
   * went unchecked, or null. It must not throw.
   */
  checked (refusal: Error | null, unchecked: Error | null): void
}

export interface CheckContext {
  denials: Denials
  rules: Rules
  clock: Clock
  onStoreFailure: 'reject' | 'accept'
  audit: Audit
  notices: Notices
  /** Called for each token that was checked and is accepted. */
  onUse?: ((claims: CheckedClaims) => void) | undefined
}

/** Is this token refused? */
export class Check {
  readonly #denials: Denials
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #acceptsUnchecked: boolean
  readonly #audit: Audit
  readonly #notices: Notices
  readonly #onUse: CheckContext['onUse']

  constructor ({ denials, rules, clock, onStoreFailure, audit, notices, onUse }: CheckContext) {
    this.#denials = denials
    this.#rules = rules
    this.#clock = clock
    this.#acceptsUnchecked = onStoreFailure === 'accept'
    this.#audit = audit
    this.#notices = notices
    this.#onUse = onUse
  }

  /**
   * Checks a verified token by its claims. It looks up a token that is not revocable as well: "revoked" goes
   * before "not revocable".
   */
  token (verified: TokenClaims, asker: Asker) {
    const { claims, broken } = selectClaims(verified, this.#rules)
    const rule = broken ?? brokenTimeRule(claims, this.#rules, this.#clock.wall())
    if (rule === BROKEN.noExp) this.#notices.tokenWithoutExp()
    this.#notices.jti(claims.jti)
    const names = namesOf(claims, this.#rules.sidless)
    if (areNone(names)) return asker.checked(refusalBy(rule), null)
    this.#denials.check(names, (error, revoked, cutoff) => {
      if (revoked || isCutOff(claims, cutoff)) {
        this.#audit.reused(names.identity ?? `${names.subject ?? names.others![0]}?`, claims)
        return asker.checked(new FST_JWT_REVOKED(), null)
      }
      if (error) return this.#unchecked(error, rule, asker)
      if (rule === undefined) this.#onUse?.(claims)
      asker.checked(refusalBy(rule), null)
    })
  }

  /**
   * The claims of a verified token that may act on other tokens, because it is certainly not revoked (P6).
   */
  async acting (verifiedToken: string): Promise<CheckedClaims> {
    const verified = claimsOf(verifiedToken)
    await new Promise<void>((resolve, reject) => {
      this.token(verified, {
        checked (refusal, unchecked) {
          const error = refusal ?? unchecked
          if (error === null) resolve()
          else reject(error)
        }
      })
    })
    return this.claims(verified)
  }

  /** Whether a token of these claims is revoked. @throws FST_JWT_REVOCATION_UNAVAILABLE */
  isRevoked (claims: CheckedClaims): Promise<boolean> {
    const names = namesOf(claims, this.#rules.sidless)
    return new Promise((resolve, reject) => {
      if (areNone(names)) return resolve(false)
      this.#denials.check(names, (cause, revoked, cutoff) => {
        if (revoked || isCutOff(claims, cutoff)) resolve(true)
        else if (cause) reject(new FST_JWT_REVOCATION_UNAVAILABLE({ cause }))
        else resolve(false)
      })
    })
  }

  /** Checks claims. @throws FST_JWT_NOT_REVOCABLE */
  claims (claims: TokenClaims): CheckedClaims {
    const checked = checkClaims(claims, this.#rules, this.#clock.wall())
    if (typeof checked === 'string') throw new FST_JWT_NOT_REVOCABLE(checked)
    this.#notices.jti(checked.jti)
    return checked
  }

  #unchecked (cause: unknown, rule: string | undefined, asker: Asker) {
    const unavailable = new FST_JWT_REVOCATION_UNAVAILABLE({ cause })
    // Otherwise an attacker who provokes a limit of ours could get a revoked token accepted.
    if (!this.#acceptsUnchecked || cause instanceof TooMuch) return asker.checked(unavailable, null)
    if (rule === undefined) asker.checked(null, unavailable)
    else asker.checked(refusalBy(rule), null)
  }
}

function refusalBy (rule: string | undefined): Error | null {
  return rule === undefined ? null : new FST_JWT_NOT_REVOCABLE(rule)
}

import type { Clock, Milliseconds } from '../time.ts'
import type { AuditLog } from './audit.ts'
import type { Cutoffs } from './cutoffs.ts'
import type { Logout, LogoutRule } from './logout-token.ts'

/** An identity provider that tells of log-outs, as option `backchannelLogout` has it. */
export interface Provider {
  issuer: string
  audiences: string[]
  path: string
  /** undefined: the first one that is guarded. */
  namespace: string | undefined
  /** The iss of the tokens that a log-out ends; '': they have none. */
  tokenIssuer: string
}

/** `keys`: the token may be good, but nobody could read the provider's keys. */
export type LogoutRefusal = LogoutRule | 'keys'

/** How long the log stays silent of further tokens that are refused for the same reason. */
const REFUSED_INTERVAL: Milliseconds = 60_000

export interface LogoutsContext {
  cutoffs: Cutoffs
  log: Pick<AuditLog, 'warn'>
  clock: Clock
}

/** Ends what one provider says is logged out, and tells the log of what it refuses. */
export class Logouts {
  readonly #provider: Provider
  readonly #cutoffs: Cutoffs
  readonly #log: LogoutsContext['log']
  readonly #clock: Clock
  /** By reason, when the log last told of it. */
  readonly #told = new Map<LogoutRefusal, Milliseconds>()

  constructor (provider: Provider, { cutoffs, log, clock }: LogoutsContext) {
    this.#provider = provider
    this.#cutoffs = cutoffs
    this.#log = log
    this.#clock = clock
  }

  /**
   * Ends the session for ever, and the subject's older tokens that have no sid. Where the log-out names no
   * session, it ends all older tokens of the subject. They end at the iat of the logout token: however often
   * and late it comes, it spares no old token and ends no later login. Most providers never send it again, so
   * what fails is owed.
   * @throws FST_JWT_REVOCATION_UNAVAILABLE
   */
  async end ({ jti, sid, sub, iat }: Logout) {
    const { issuer, tokenIssuer } = this.#provider
    const iss = tokenIssuer === '' ? {} : { iss: tokenIssuer }
    const all = { by: { provider: issuer, jti }, mustStand: true }
    const before = { ...all, until: Math.max(iat, 0) }
    await Promise.all([
      sid !== undefined && this.#cutoffs.write({ sid, ...iss }, all),
      sub !== undefined && this.#cutoffs.write(
        sid === undefined ? { sub, ...iss } : { subWithoutSid: sub, ...iss }, before
      )
    ])
  }

  /** Tells the log at most once a minute of each reason, because anybody can provoke it. */
  refused (reason: LogoutRefusal) {
    const now = this.#clock.monotonic()
    const last = this.#told.get(reason)
    if (last !== undefined && now - last < REFUSED_INTERVAL) return
    this.#told.set(reason, now)
    const fields = { event: 'authn_logout_refused', provider: this.#provider.issuer, reason }
    this.#log.warn(fields, 'jwt revocation: a logout token was refused')
  }
}

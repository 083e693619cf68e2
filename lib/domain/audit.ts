import { channel } from 'node:diagnostics_channel'
import type { Refresh, SpentRefresh } from '../stores/refresh.ts'
import type { Clock, Milliseconds } from '../time.ts'
import type { CutoffEvent, RevocationResult } from '../types.ts'
import type { CheckedClaims } from './claims.ts'
import { isoTime } from './retention.ts'

/**
 * Who revoked something: the names of their token, or none where the application itself called
 * `app.revocation`.
 */
export interface By {
  jti?: string
  iss?: string
  sub?: string
  sid?: string
  /** The issuer that told of a log-out. The jti is then its logout token's. */
  provider?: string
}

/**
 * Why a refresh token was refused. `exhausted`: it was used too often within its grace; `reused`: it was used
 * before; `lost`: the store has not the claims of its session.
 */
export type RefreshRefusal =
  'malformed' | 'unknown' | 'expired' | 'exhausted' | 'reused' | 'revoked' | 'lost'

/** The names that a token has. */
export function byOf ({ jti, iss, sub, sid }: CheckedClaims): By {
  return { ...(jti && { jti }), ...(iss && { iss }), ...(sub && { sub }), ...(sid && { sid }) }
}

export interface AuditLog {
  fatal (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
}

/** Carries `{ revocation, by }` for each revocation that this process made. */
export const revokedChannel = channel('fastify-jwt-revocation:revoked')
/** Carries `{ id?, jti?, iss?, sub?, sid? }` for each use of a revoked token, or again of a refresh token. */
export const reuseChannel = channel('fastify-jwt-revocation:reuse')

/** How long the log stays silent of further uses of one revoked token. */
const REUSE_INTERVAL: Milliseconds = 60_000
const MAX_REPORTED = 10_000

/**
 * Tells a security team what it wants to know, in the words of the OWASP logging vocabulary. Logs no token.
 */
export class Audit {
  readonly #log: AuditLog
  readonly #clock: Clock
  /** When the log last told of a use of each revoked token, the oldest first. */
  readonly #reported = new Map<string, Milliseconds>()

  constructor (log: AuditLog, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  revoked (revocation: RevocationResult | CutoffEvent, by: By = {}) {
    if (revokedChannel.hasSubscribers) revokedChannel.publish({ revocation, by })
    this.#log.info({ event: 'authn_token_revoked', ...revocation, by }, 'jwt revocation: revoked')
  }

  /** `name`: what the log tells at most once a minute of. */
  reused (name: string, claims: CheckedClaims) {
    const token = byOf(claims)
    if (reuseChannel.hasSubscribers) reuseChannel.publish(token)
    if (!this.#isNews(name)) return
    this.#log.warn({ event: 'authn_token_reuse', ...token }, 'jwt revocation: a revoked token was used')
  }

  refreshed (refresh: Refresh, jti: string) {
    const fields = { event: 'authn_token_refreshed', ...sessionOf(refresh), jti }
    this.#log.info(fields, 'jwt revocation: a session was refreshed')
  }

  /** Either its owner or a thief used a refresh token after the other: nobody can tell who. */
  refreshReused (refresh: SpentRefresh) {
    const { used, uses } = refresh
    const session = sessionOf(refresh)
    if (reuseChannel.hasSubscribers) reuseChannel.publish(session)
    this.#log.fatal({
      event: 'authn_refresh_reuse',
      ...session,
      firstUsedAt: isoTime(used, Math.floor),
      usesBefore: uses,
      usedAt: isoTime(this.#clock.wall() / 1000, Math.floor)
    }, 'jwt revocation: a refresh token was used again, so its session was ended; it may be stolen')
  }

  /** Tells at most once a minute of each reason and session, because anybody can provoke it. */
  refreshRefused (reason: RefreshRefusal, refresh?: Refresh) {
    const session = refresh && sessionOf(refresh)
    // No name of a token has a space.
    if (!this.#isNews(`${reason} ${refresh?.id}`)) return
    const fields = { event: 'authn_refresh_refused', reason, ...session }
    this.#log.warn(fields, 'jwt revocation: a refresh token was refused')
  }

  /** Whether the log has not told of it within the last minute. */
  #isNews (name: string): boolean {
    const now = this.#clock.wall()
    const last = this.#reported.get(name)
    if (last !== undefined && now - last < REUSE_INTERVAL) {
      // Somebody set the clock back.
      if (now < last) this.#reported.set(name, now)
      return false
    }
    this.#reported.delete(name)
    this.#reported.set(name, now)
    if (this.#reported.size > MAX_REPORTED) this.#reported.delete(this.#reported.keys().next().value!)
    return true
  }
}

function sessionOf ({ id, sid, iss, sub }: Refresh) {
  return { id, sid, ...(iss && { iss }), ...(sub && { sub }) }
}

import { randomUUID } from 'node:crypto'
import type { Refresh } from '../stores/refresh.ts'
import type { RecordEntry, SessionEntry } from '../stores/store.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { TokenPair, TokenRecord } from '../types.ts'
import { presentOf, subOf, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { cutoffNameOf, identityOf, namesOf } from './names.ts'
import { randomSecret, refreshHashOf } from './refresh-token.ts'
import { isoTime, keptUntil, sessionKeptUntil } from './retention.ts'
import type { Signed } from './signing.ts'

const MAX_CLAIMS_BYTES = 4096

/** A session as it goes on: what the next refresh token is kept with, and the token itself. */
export interface Session {
  /** The id of its record. */
  id: string
  sid: string
  end: Seconds
  namespace?: string | undefined
  /** The claims of the next access token. */
  claims: TokenClaims
  refreshToken: string
}

/** Begins a session. `claims`: those of its access tokens, with the sid if they are to have a certain one. */
export function beginSession (
  id: string, claims: TokenClaims, namespace: string | undefined, rules: Rules, now: Milliseconds
): Session {
  if (rules.refreshLifetime === undefined) {
    throw new TypeError('issue() gives refresh tokens where the plugin has option "refresh"; ' +
      "set it, for example to { expiresIn: '30d' }")
  }
  return {
    id,
    // Of a sid that can't be one the signing says so.
    sid: presentOf(claims[rules.claims.sid!]) as string | undefined ?? randomUUID(),
    end: Math.floor(now / 1000) + rules.refreshLifetime,
    namespace,
    claims: keptClaims('issue', claims, rules),
    refreshToken: randomSecret()
  }
}

/** The claims with their session, unless they name it. */
export function withSession (claims: TokenClaims, { sid }: Session, { claims: names }: Rules): TokenClaims {
  return presentOf(claims[names.sid!]) === undefined ? { ...claims, [names.sid!]: sid } : claims
}

/**
 * The claims that the next access token has as well, as JSON gives them back.
 * @throws TypeError where they are too many
 */
export function keptClaims (method: string, claims: TokenClaims, rules: Rules): TokenClaims {
  const json = JSON.stringify(withoutOwn(claims, rules))
  if (Buffer.byteLength(json) <= MAX_CLAIMS_BYTES) return JSON.parse(json)
  throw new TypeError(`${method}() keeps the claims of a session for its next access token: ` +
    `at most ${MAX_CLAIMS_BYTES} bytes as JSON`)
}

/** Without the claims that each token has of its own. */
function withoutOwn (claims: TokenClaims, { claims: names }: Rules): TokenClaims {
  const { jti: _jti, iat: _iat, exp: _exp, [names.jti]: _own, ...others } = claims
  return others
}

/** The next claims of a session. @throws TypeError where they are of another one */
export function nextClaims (given: TokenClaims, refresh: Refresh, rules: Rules): TokenClaims {
  const { sub, sid } = rules.claims
  const others = { ...given }
  const missing: TokenClaims = {}
  for (const [name, value] of [['iss', refresh.iss], [sub, refresh.sub], [sid!, refresh.sid]] as const) {
    if (presentOf(given[name]) !== undefined) {
      if (subOf(given[name]) !== value) throw changed(name)
    } else if (value !== undefined) missing[name] = value
    delete others[name]
  }
  // Without the names, which are filled in: claims that were kept once must not be too many the next time.
  keptClaims('refresh', others, rules)
  return { ...JSON.parse(JSON.stringify(withoutOwn(given, rules))), ...missing }
}

/** @throws TypeError where sign options made the token one of another session */
export function checkSession (signed: CheckedClaims, refresh: Refresh) {
  for (const name of ['iss', 'sub', 'sid'] as const) if (signed[name] !== refresh[name]) throw changed(name)
}

function changed (name: string): Error {
  return new TypeError(`refresh() can not change the ${name} of a session; ` +
    'leave it as it is, or begin a new session with issue()')
}

/**
 * The record of a session, and what leads to it, as a store keeps it. `standing`: the record so far; null:
 * the session begins, or its record was lost.
 */
export function entryOfSession (
  session: Session, signed: CheckedClaims, standing: TokenRecord | null,
  meta: Record<string, unknown> | undefined, rules: Rules, now: Milliseconds
): RecordEntry & { session: SessionEntry } {
  const { id, end, refreshToken, namespace, claims } = session
  const { jti, iss, sub, sid, claims: listed, exp, iat } = signed
  const began = standing?.issuedAt
  const issuedAt = isoTime(iat, Math.floor)!
  const kept = meta ?? standing?.meta
  const names = { ...(iss && { iss }), ...(sub && { sub }) }
  const record: TokenRecord = {
    // First, where the store finds it.
    ...(began && { refreshedAt: issuedAt }),
    id,
    session: true,
    jti: jti!,
    ...names,
    sid: sid!,
    ...(listed && { claims: listed }),
    issuedAt: began ?? issuedAt,
    expiresAt: isoTime(end, Math.ceil),
    ...(kept && { meta: kept })
  }
  const { subject, others } = namesOf(signed)
  return {
    record,
    identity: identityOf(iss, jti!),
    subject,
    others,
    exp: end + rules.clockTolerance,
    keptUntil: sessionKeptUntil(end, rules, now),
    session: {
      name: cutoffNameOf({ sid: sid!, ...(iss && { iss }) }),
      identityKeptUntil: keptUntil(exp, rules, now),
      hash: refreshHashOf(refreshToken),
      refresh: {
        sid: sid!,
        ...names,
        id,
        iat: iat!,
        end,
        ...(namespace && { namespace }),
        claims: withNames(claims, signed, rules)
      }
    }
  }
}

/** The claims with the names of the token, which sign options may have set. */
function withNames (claims: TokenClaims, { iss, sub, sid }: CheckedClaims, rules: Rules): TokenClaims {
  const named = { ...claims }
  for (const [name, value] of [['iss', iss], [rules.claims.sub, sub], [rules.claims.sid!, sid]] as const) {
    if (value !== undefined && subOf(named[name]) !== value) named[name] = value
  }
  return named
}

export function pairOf ({ token, claims }: Signed, { id, sid, refreshToken, end }: Session): TokenPair {
  const { jti, iss, exp } = claims
  return {
    token,
    id,
    jti,
    ...(iss && { iss }),
    expiresAt: isoTime(exp, Math.ceil),
    sid,
    refreshToken,
    refreshExpiresAt: isoTime(end, Math.ceil)!
  }
}

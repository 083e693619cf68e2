import type { Milliseconds, Seconds } from '../time.ts'
import { isJti, isName, LOGOUT_EVENT, subOf } from './claims.ts'
import { IAT_AHEAD } from './retention.ts'

/*
 * Logout tokens (OpenID Connect Back-Channel Logout 1.0 with errata set 1, §2.4 and §2.6): all that can be
 * said of one before anybody looks at its signature. Nothing is fetched for a token that these rules refuse.
 */

export const MAX_LOGOUT_TOKEN = 8192
/** How old a token without an exp may be. Some providers still send none, though the errata demand one. */
const MAX_AGE: Seconds = 600
const TYPES = /^(?:application\/)?(?:JWT|logout\+jwt)$/i

/** By rule, what the answer says. Nothing of the token is in it. */
export const LOGOUT_RULES = {
  form: 'The body must be a form of at most 16 KiB that has exactly one logout_token',
  token: `The logout token must be a signed JWT of at most ${MAX_LOGOUT_TOKEN} characters`,
  alg: 'The alg of the logout token is not accepted',
  typ: 'The typ of the logout token must be logout+jwt or JWT',
  iss: 'The iss of the logout token is not the provider',
  aud: 'The aud of the logout token does not have this client',
  events: 'The events of the logout token do not have a back-channel logout',
  nonce: 'The logout token must not have a nonce',
  jti: 'The logout token needs a jti of 1 to 255 characters',
  names: 'The logout token needs a sid or a sub of at most 1024 characters',
  iat: 'The iat of the logout token must be a number that is not ahead of the clock',
  exp: 'The logout token needs an exp as a number, or an iat of the last 10 minutes',
  signature: 'The logout token does not verify, or has expired',
  application: 'The application has no key for the logout token, or does not take it'
} as const

export type LogoutRule = keyof typeof LOGOUT_RULES

/** What a logout token must be. */
export interface LogoutExpectation {
  issuer: string
  audiences: readonly string[]
  /** undefined: any but none. */
  algorithms: readonly unknown[] | undefined
  clockTolerance: Seconds
}

/** Whose log-out a token tells. It has a sid, a sub or both. */
export interface Logout {
  jti: string
  sid: string | undefined
  sub: string | undefined
  iat: Seconds
}

type Part = Record<string, unknown>

/** The log-out that an unverified token tells, or the rule that the token breaks. */
export function readLogoutToken (
  token: string, expected: LogoutExpectation, now: Milliseconds
): Logout | LogoutRule {
  const parts = token.split('.')
  if (token.length > MAX_LOGOUT_TOKEN || parts.length !== 3) return 'token'
  const [header, payload] = [parsed(parts[0]!), parsed(parts[1]!)]
  if (header === undefined || payload === undefined) return 'token'
  return brokenHeader(header, expected) ?? brokenPayload(payload, expected) ??
    brokenTime(payload, expected, now) ?? logoutOf(payload)
}

function parsed (part: string): Part | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function brokenHeader ({ alg, typ }: Part, { algorithms }: LogoutExpectation): LogoutRule | undefined {
  const isSigned = typeof alg === 'string' && alg.toLowerCase() !== 'none'
  if (!isSigned || algorithms?.includes(alg) === false) return 'alg'
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.test(typ))) return 'typ'
}

function brokenPayload (payload: Part, { issuer, audiences }: LogoutExpectation): LogoutRule | undefined {
  const { iss, aud, events, jti } = payload
  if (iss !== issuer) return 'iss'
  const all: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!all.some((one) => audiences.includes(one as string))) return 'aud'
  // Other members are ignored: Keycloak sends one.
  const event = isObject(events) && Object.hasOwn(events, LOGOUT_EVENT) ? events[LOGOUT_EVENT] : undefined
  if (!isObject(event)) return 'events'
  if (Object.hasOwn(payload, 'nonce')) return 'nonce'
  if (!isJti(jti)) return 'jti'
}

function brokenTime (
  { iat, exp }: Part, { clockTolerance }: LogoutExpectation, now: Milliseconds
): LogoutRule | undefined {
  const seconds = now / 1000
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return 'iat'
  if (iat > seconds + Math.max(clockTolerance, IAT_AHEAD)) return 'iat'
  const isTimely = exp === undefined ? iat >= seconds - MAX_AGE : Number.isFinite(exp)
  if (!isTimely) return 'exp'
}

function logoutOf ({ jti, sid: givenSid, sub: givenSub, iat }: Part): Logout | LogoutRule {
  const [sid, sub] = [nameIn(givenSid), nameIn(givenSub)]
  // A sid that names nothing must not make it a log-out of all sessions.
  if (sid === null || sub === null || (sid ?? sub) === undefined) return 'names'
  return { jti: jti as string, sid, sub, iat: iat as number }
}

/** undefined: there is none; null: it names nothing that a token could have. */
function nameIn (claim: unknown): string | undefined | null {
  if (claim === undefined || claim === null || claim === '') return undefined
  const name = subOf(claim)
  return isName(name) ? name : null
}

function isObject (value: unknown): value is Part {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

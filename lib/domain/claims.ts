import type { FastifyJWT } from '@fastify/jwt'
import type { Milliseconds } from '../time.ts'
import { hasOwnName } from './names.ts'
import { EXPIRY_MARGIN, IAT_AHEAD, type Lifetimes } from './retention.ts'

/**
 * The claims of a token, as they were signed. Only the signature has been checked.
 * @example
 * const verified: TokenClaims = await request.jwtVerify()
 * const isRevoked = await app.revocation.isRevoked(verified)
 */
export interface TokenClaims {
  jti?: unknown
  iss?: unknown
  sub?: unknown
  sid?: unknown
  exp?: unknown
  iat?: unknown
  [claim: string]: unknown
}

/** The claims that `issue` or the signing fills in. A caller need not give them. */
type FilledIn = 'jti' | 'iat' | 'exp'
type Issuable<Payload> = Payload extends object
  ? FilledIn & keyof Payload extends never
    ? Payload
    : Omit<Payload, FilledIn> & Partial<Pick<Payload, FilledIn & keyof Payload>>
  : never

/**
 * The claims to sign: `FastifyJWT['payload']` where the application declares one, else any object.
 * @example
 * const user: IssueClaims = { sub: 'alice', role: 'editor' }
 * const { token } = await app.revocation.issue(user)
 */
export type IssueClaims = FastifyJWT extends { payload: infer Payload extends object }
  ? Issuable<Payload>
  : object

/** The claims that this plugin relies on, checked. */
export interface CheckedClaims {
  /** Absent when the token has no usable jti and such tokens are accepted. */
  jti?: string
  /** Absent when the token has none, or an empty one. */
  iss?: string
  /** Absent when the token has none, or an empty one. */
  sub?: string
  /** Absent when the token has none, or sessions are not looked at. */
  sid?: string
  /** The listed claims that the token has. Absent when it has none. */
  claims?: Record<string, string>
  exp?: number
  iat?: number
}

/** The claims in which a token's names are found. */
export interface ClaimNames {
  jti: string
  sub: string
  /** undefined: sessions are not looked at. */
  sid?: string | undefined
}

/**
 * The usable claims of a token. `broken`: the rule by which the token is never accepted, whatever the time.
 */
export interface SelectedClaims {
  claims: CheckedClaims
  broken: string | undefined
}

export interface Rules extends Lifetimes {
  tokensWithoutJti: 'reject' | 'accept'
  claims: ClaimNames
  /** The listed claims. */
  revocableBy: readonly string[]
  /** Whether a log-out of a session at a provider ends the subject's tokens without a sid. Default false. */
  sidless?: boolean | undefined
}

/** The member of `events` that makes a token a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4). */
export const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/** Shared scratch space: decoding allocates no buffer per request. */
const SCRATCH = Buffer.alloc(4096)

/**
 * The rules by which a token is not accepted, each with what to do (P5). They end up in a response header, so
 * they hold no quote, no backslash, and nothing that the token's holder chose.
 */
export const BROKEN = {
  logout: 'it is a logout token of a provider, present an access token instead',
  iss: 'its iss is no well-formed string of at most 1024 characters, sign it with another or with none',
  sub: 'its sub is neither a well-formed string of at most 1024 characters nor a safe integer, ' +
    'sign it with another or with none',
  sid: 'its session is neither a well-formed string of at most 1024 characters nor a safe integer, ' +
    'sign it with another or with none',
  claims: 'a claim of option revocableBy is neither a well-formed string of at most 1024 characters ' +
    'nor a safe integer, sign it with another or with none',
  noJti: 'it has no jti, sign it with issue, which adds one, or set tokensWithoutJti to accept',
  jti: 'its jti is no well-formed string of 1 to 255 characters, ' +
    'sign it with one or set tokensWithoutJti to accept',
  noExp: 'it has no exp, sign it with expiresIn or set maxTokenLifetime to unbounded',
  noIat: 'it has no iat as a number, sign it with one, not with noTimestamp, ' +
    'or set maxTokenLifetime to unbounded',
  expired: 'it has expired, and revocations are not kept beyond that, get a new one',
  ahead: 'its iat is ahead of the clock, set the clocks right or sign it with an iat of now in seconds',
  tooFar: 'its exp is further away than maxTokenLifetime, ' +
    'sign it for a shorter time or set maxTokenLifetime to a longer one',
  tooLong: 'it lives longer than maxTokenLifetime, ' +
    'sign it for a shorter time or set maxTokenLifetime to a longer one'
} as const

const MAX_JTI_LENGTH = 255
const MAX_NAME_LENGTH = 1024

/** A jti (RFC 7519 §4.1.7) of 1 to 255 well-formed characters. Any other value counts as no jti. */
export function isJti (value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0) return false
  return value.length <= MAX_JTI_LENGTH && value.isWellFormed()
}

/** The name of an issuer or a subject: a well-formed string of at most 1,024 characters. */
export function isName (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_NAME_LENGTH && value.isWellFormed()
}

/** Gives a safe integer as its decimal string, because many tables of users have integer keys. */
export function subOf (value: unknown): unknown {
  return Number.isSafeInteger(value) ? String(value) : value
}

/**
 * The claims of a token whose signature has been verified. This reads the token itself, because `formatUser`
 * and `complete` change what `jwtVerify()` resolves to.
 */
export function claimsOf (verifiedToken: string): TokenClaims {
  const start = verifiedToken.indexOf('.') + 1
  const payload = verifiedToken.slice(start, verifiedToken.lastIndexOf('.'))
  if (payload.length > SCRATCH.length) return JSON.parse(Buffer.from(payload, 'base64url').toString())
  return JSON.parse(SCRATCH.toString('utf8', 0, SCRATCH.write(payload, 'base64url')))
}

/**
 * The checked claims, or, as a string, the rule by which a token with these claims is not accepted (P5). The
 * string ends up in a response header, so it holds nothing that the token's holder chose.
 */
export function checkClaims (claims: TokenClaims, rules: Rules, now: Milliseconds): CheckedClaims | string {
  const { claims: checked, broken } = selectClaims(claims, rules)
  return broken ?? brokenTimeRule(checked, rules, now) ?? checked
}

/** The part of `checkClaims` that does not depend on the time. */
export function selectClaims (claims: TokenClaims, rules: Rules): SelectedClaims {
  const { claims: names, revocableBy } = rules
  const { iss, exp, iat, events } = claims
  const jti = claims[names.jti]
  const sub = subOf(claims[names.sub])
  const sid = names.sid === undefined ? undefined : presentOf(claims[names.sid])
  const checked: CheckedClaims = {}
  let broken: string | undefined
  // Without a usable issuer, no other claim names anybody.
  if (iss === undefined || isName(iss)) {
    if (isJti(jti)) checked.jti = jti
    if (iss) checked.iss = iss
    // An empty sub names nobody. If it did, all tokens that have it could revoke each other.
    if (sub && isName(sub)) checked.sub = sub
    if (sid !== undefined && isName(sid)) checked.sid = sid
    if (revocableBy.length > 0 && !selectListed(claims, revocableBy, checked)) broken = BROKEN.claims
  }
  // No option relaxes this: a provider signs such tokens with the key of its access tokens.
  if (typeof events === 'object' && events !== null && LOGOUT_EVENT in events) broken = BROKEN.logout
  if (Number.isFinite(iat)) checked.iat = iat as number
  if (typeof exp === 'number' && !Number.isNaN(exp)) checked.exp = exp
  return { claims: checked, broken: brokenRule(checked, { jti, iss, sub, sid }, rules, broken) }
}

/** Takes the listed claims that a token has. Gives false where one of them names nothing. */
function selectListed (claims: TokenClaims, listed: readonly string[], checked: CheckedClaims): boolean {
  let areNames = true
  for (const claim of listed) {
    const value = presentOf(claims[claim])
    if (value === undefined) continue
    if (!isName(value)) areNames = false
    else if (checked.claims === undefined) checked.claims = { [claim]: value }
    else checked.claims[claim] = value
  }
  return areNames
}

/** The value of a sid or of a listed claim. null and an empty string count as absent. */
export function presentOf (value: unknown): unknown {
  return value === null || value === '' ? undefined : subOf(value)
}

/** The rule by which a token with these claims is never accepted, whatever the time. */
function brokenRule (
  checked: CheckedClaims, { jti, iss, sub, sid }: TokenClaims, rules: Rules, broken: string | undefined
): string | undefined {
  if (iss !== undefined && !isName(iss)) return BROKEN.iss
  if (sub !== undefined && !isName(sub)) return BROKEN.sub
  if (sid !== undefined && !isName(sid)) return BROKEN.sid
  if (broken !== undefined) return broken
  if (!hasOwnName(checked) && rules.tokensWithoutJti === 'reject') {
    return (jti ?? undefined) === undefined ? BROKEN.noJti : BROKEN.jti
  }
  if (rules.maxTokenLifetime === null) return
  if (checked.exp === undefined) return BROKEN.noExp
  // Without an iat nothing bounds the life of the token, which could outlive the cutoff that ended it.
  if (checked.iat === undefined) return BROKEN.noIat
}

/** The rule by which a token with these claims is not accepted now. */
export function brokenTimeRule (claims: CheckedClaims, rules: Rules, now: Milliseconds): string | undefined {
  const { exp, iat } = claims
  const { clockTolerance, maxTokenLifetime } = rules
  if (exp === undefined) return
  const seconds = now / 1000
  // After this moment the store may have dropped a revocation of the token. A verifier gets here with
  // ignoreExpiration, or with a clockTolerance of its own that is larger than the one @fastify/jwt was
  // registered with.
  if (seconds > Math.ceil(exp) + clockTolerance) return BROKEN.expired
  if (maxTokenLifetime === null || iat === undefined) return
  // A cutoff of today does not end a token that says it was issued tomorrow.
  if (iat > seconds + clockTolerance + IAT_AHEAD) return BROKEN.ahead
  if (exp > seconds + maxTokenLifetime + EXPIRY_MARGIN) return BROKEN.tooFar
  // A cutoff, and a revocation with an unknown exp, are kept for maxTokenLifetime. A token that lives longer
  // from its iat would outlive them, and pass the bound above once they are gone.
  if (exp - iat > maxTokenLifetime + EXPIRY_MARGIN) return BROKEN.tooLong
}

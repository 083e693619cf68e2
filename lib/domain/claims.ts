import type { FastifyJWT } from '@fastify/jwt'
import type { Milliseconds } from '../time.ts'
import { EXPIRY_MARGIN, IAT_AHEAD, type Lifetimes } from './retention.ts'

/** What a token says, as it was signed: nothing here has been checked but the signature. */
export interface TokenClaims {
  jti?: unknown
  iss?: unknown
  sub?: unknown
  exp?: unknown
  iat?: unknown
  [claim: string]: unknown
}

/** What `issue` or the signing fills in need not be given. */
type FilledIn = 'jti' | 'iat' | 'exp'
type Issuable<Payload> = Payload extends object
  ? FilledIn & keyof Payload extends never ? Payload : Omit<Payload, FilledIn> & Partial<Pick<Payload, FilledIn & keyof Payload>>
  : never

/** The claims to sign: `FastifyJWT['payload']` where the application declares one, else any object. */
export type IssueClaims = FastifyJWT extends { payload: infer Payload extends object } ? Issuable<Payload> : object

/** What of a token's claims this plugin relies on, checked. */
export interface CheckedClaims {
  /** Absent when the token has no usable jti and such tokens are accepted. */
  jti?: string
  /** Absent when the token has none, or an empty one. */
  iss?: string
  /** Absent when the token has none, or an empty one. */
  sub?: string
  exp?: number
  iat?: number
}

/** What of a token's claims can be used, whatever it lacks, and the rule for which it is not accepted at any time. */
export interface SelectedClaims {
  claims: CheckedClaims
  broken: string | undefined
}

export interface Rules extends Lifetimes {
  tokensWithoutJti: 'reject' | 'accept'
}

/** No request has to have a buffer of its own for its payload. */
const SCRATCH = Buffer.alloc(4096)

/**
 * The rules for which a token is not accepted, each with what to do (P5). They end up in a response header: they hold
 * no quote, no backslash, and nothing that the token's holder chose.
 */
export const BROKEN = {
  iss: 'its iss is no well-formed string of at most 1024 characters, sign it with another or with none',
  sub: 'its sub is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none',
  noJti: 'it has no jti, sign it with issue, which adds one, or set tokensWithoutJti to accept',
  jti: 'its jti is no well-formed string of 1 to 255 characters, sign it with one or set tokensWithoutJti to accept',
  noExp: 'it has no exp, sign it with expiresIn or set maxTokenLifetime to unbounded',
  noIat: 'it has no iat as a number, sign it with one, not with noTimestamp, or set maxTokenLifetime to unbounded',
  expired: 'it has expired, and revocations are not kept beyond that, get a new one',
  ahead: 'its iat is ahead of the clock, set the clocks right or sign it with an iat of now in seconds',
  tooFar: 'its exp is further away than maxTokenLifetime, sign it for a shorter time or set maxTokenLifetime to a longer one',
  tooLong: 'it lives longer than maxTokenLifetime, sign it for a shorter time or set maxTokenLifetime to a longer one'
} as const

const MAX_JTI_LENGTH = 255
const MAX_NAME_LENGTH = 1024

/** RFC 7519 §4.1.7, narrowed: a well-formed string of 1 to 255 characters. Anything else counts as no jti. */
export function isJti (value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_JTI_LENGTH && value.isWellFormed()
}

/** An issuer or a subject: a well-formed string of at most 1,024 characters. */
export function isName (value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_NAME_LENGTH && value.isWellFormed()
}

/** A safe integer counts as its decimal string: many a users table has one as its key. Anything else stays what it is. */
export function subOf (value: unknown): unknown {
  return Number.isSafeInteger(value) ? String(value) : value
}

/**
 * The claims of a token whose signature has been verified. Read from the token itself, because what `jwtVerify()`
 * resolves to is whatever `formatUser` or `complete` made of them.
 */
export function claimsOf (verifiedToken: string): TokenClaims {
  const start = verifiedToken.indexOf('.') + 1
  const payload = verifiedToken.slice(start, verifiedToken.lastIndexOf('.'))
  if (payload.length > SCRATCH.length) return JSON.parse(Buffer.from(payload, 'base64url').toString())
  return JSON.parse(SCRATCH.toString('utf8', 0, SCRATCH.write(payload, 'base64url')))
}

/**
 * The checked claims, or, as a string, the rule for which a token with these claims is not accepted (P5).
 * The string ends up in a response header: it holds nothing that the token's holder chose.
 */
export function checkClaims (claims: TokenClaims, rules: Rules, now: Milliseconds): CheckedClaims | string {
  const { claims: checked, broken } = selectClaims(claims, rules)
  return broken ?? brokenTimeRule(checked, rules, now) ?? checked
}

/** The part of `checkClaims` that gives the same at any time. */
export function selectClaims (claims: TokenClaims, rules: Rules): SelectedClaims {
  const { jti, iss, exp, iat } = claims
  const sub = subOf(claims.sub)
  const checked: CheckedClaims = {}
  // A name of an issuer that can't be told is nobody's.
  if (iss === undefined || isName(iss)) {
    if (isJti(jti)) checked.jti = jti
    if (iss) checked.iss = iss
    // An empty sub names nobody: were it a subject, all tokens that have it could revoke each other.
    if (sub && isName(sub)) checked.sub = sub
  }
  if (Number.isFinite(iat)) checked.iat = iat as number
  if (typeof exp === 'number' && !Number.isNaN(exp)) checked.exp = exp
  return { claims: checked, broken: brokenRule(checked, { jti, iss, sub }, rules) }
}

/** The rule for which a token with these claims is not accepted at any time. */
function brokenRule (checked: CheckedClaims, { jti, iss, sub }: TokenClaims, rules: Rules): string | undefined {
  if (iss !== undefined && !isName(iss)) return BROKEN.iss
  if (sub !== undefined && !isName(sub)) return BROKEN.sub
  if (checked.jti === undefined && rules.tokensWithoutJti === 'reject') return (jti ?? undefined) === undefined ? BROKEN.noJti : BROKEN.jti
  if (rules.maxTokenLifetime === null) return
  if (checked.exp === undefined) return BROKEN.noExp
  // Without iat nothing bounds how long the token lives: it could outlive the cutoff that ended it.
  if (checked.iat === undefined) return BROKEN.noIat
}

/** The rule for which a token with these claims is not accepted now. */
export function brokenTimeRule ({ exp, iat }: CheckedClaims, rules: Rules, now: Milliseconds): string | undefined {
  const { clockTolerance, maxTokenLifetime } = rules
  if (exp === undefined) return
  const seconds = now / 1000
  // Past this moment a revocation of the token may already have been forgotten. A verifier gets here with
  // ignoreExpiration, or with a clockTolerance of its own that is larger than the one @fastify/jwt was registered with.
  if (seconds > Math.ceil(exp) + clockTolerance) return BROKEN.expired
  if (maxTokenLifetime === null || iat === undefined) return
  // No cutoff of today ends a token that says it was issued tomorrow.
  if (iat > seconds + clockTolerance + IAT_AHEAD) return BROKEN.ahead
  if (exp > seconds + maxTokenLifetime + EXPIRY_MARGIN) return BROKEN.tooFar
  // A revocation of an unknown exp, and a cutoff, are kept for maxTokenLifetime: a token that lives longer from its
  // iat would outlive them, and come within the bound above when they are gone.
  if (exp - iat > maxTokenLifetime + EXPIRY_MARGIN) return BROKEN.tooLong
}

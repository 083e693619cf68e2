import type { ClaimNames } from './domain/claims.ts'

/* How options `claims` and `revocableBy` are read. */

export const DEFAULT_CLAIMS: ClaimNames = { jti: 'jti', sub: 'sub' }
const WORDS = ['jti', 'sub', 'sid']
/** The claims that mean the same to everybody (RFC 7519 §4.1), except those that a word may be found in. */
const FIXED = ['iss', 'aud', 'exp', 'iat', 'nbf']
const TAKEN = [...WORDS, ...FIXED]
const MAX_LISTED = 4

/** A claim that a token may have. What every object has is none. */
const isClaim = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.isWellFormed() && !(value in {})

const areDifferent = (values: unknown[]) => new Set(values).size === values.length

/** Gives undefined where the value has not the wanted shape. */
export function readClaims (value: unknown): ClaimNames | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const given = Object.entries(value)
  if (!given.every(([word]) => WORDS.includes(word))) return undefined
  const names = { ...DEFAULT_CLAIMS, ...Object.fromEntries(given.filter(([, claim]) => claim !== undefined)) }
  const claims = Object.values(names)
  const areClaims = claims.every((claim) => isClaim(claim) && !FIXED.includes(claim))
  return areClaims && areDifferent(claims) ? names : undefined
}

/** The same with sessions, which are in `sid` by default; undefined where another name is found there. */
export function withSessions (names: ClaimNames): ClaimNames | undefined {
  const all = { ...names, sid: names.sid ?? 'sid' }
  return areDifferent(Object.values(all)) ? all : undefined
}

export const CLAIMS_WANTED = '{ jti, sub, sid }, each the name of another claim, ' +
  `and none of ${FIXED.join(', ')}; without "sid" no claim counts as a session`

const isListable = (claim: unknown) => isClaim(claim) && !claim.startsWith('!') && !TAKEN.includes(claim)

/** Gives undefined where the value has not the wanted shape. */
export function readRevocableBy (value: unknown): string[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_LISTED || !areDifferent(value)) return undefined
  return value.every(isListable) ? [...value] : undefined
}

export const REVOCABLE_BY_WANTED = `an array of at most ${MAX_LISTED} different claims, ` +
  `none of ${TAKEN.join(', ')} or of option "claims", and none that begins with '!'`

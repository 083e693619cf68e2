import { isRegExp } from 'node:util/types'
import type { TokenClaims } from './claims.ts'

export type VerifyOptions = Record<string, unknown>

/** Options that bind a claim's value, but for `allowedIss` and `allowedAud`: a token may be meant for another service. */
const ALLOWED = { allowedSub: 'sub', allowedJti: 'jti', allowedNonce: 'nonce' }

const notAllowed = (option: string, claim: string) => `its ${claim} is none that verify: { ${option} } of @fastify/jwt lets pass`

/** By the sentence that `unverifiable` gives: the claim that it is about. */
export const ALLOWED_CLAIMS: ReadonlyMap<string, string> = new Map(Object.entries(ALLOWED).map(([option, claim]) => [notAllowed(option, claim), claim]))

/**
 * Why `@fastify/jwt`, with these verify options, would not accept claims that it has just signed; undefined where it would.
 * The token itself is not verified: the key may be a function that wants a request, and its answer may be kept in a cache.
 */
export function unverifiable (signed: TokenClaims, options: VerifyOptions): string | undefined {
  const { requiredClaims } = options as { requiredClaims?: string[] }
  const missing = requiredClaims?.find((claim) => !(claim in signed))
  if (missing !== undefined) return `it has no ${missing}, which verify: { requiredClaims } of @fastify/jwt asks for`
  for (const [option, claim] of Object.entries(ALLOWED)) {
    if (options[option] && claim in signed && !matches(signed[claim], options[option])) return notAllowed(option, claim)
  }
}

/** As fast-jwt matches: strings, regular expressions, whatever has `test`, or several of them. */
function matches (value: unknown, allowed: unknown): boolean {
  if (typeof value !== 'string') return false
  return [allowed].flat().filter(Boolean).some((one) => {
    // Unlike test(), it leaves lastIndex of an expression with g or y as it is.
    if (isRegExp(one)) return value.search(one) >= 0
    const { test } = one as { test?: unknown }
    return typeof test === 'function' ? Boolean(test.call(one, value)) : one === value
  })
}

import { isRegExp } from 'node:util/types'
import type { TokenClaims } from './claims.ts'

export type VerifyRules = Record<string, unknown>

/**
 * Options that bind a claim's value, except `allowedIss` and `allowedAud`: a token may be for another
 * service.
 */
const ALLOWED = { allowedSub: 'sub', allowedJti: 'jti', allowedNonce: 'nonce' }

function notAllowed (option: string, claim: string) {
  return `its ${claim} is none that verify: { ${option} } of @fastify/jwt lets pass`
}

/** By the sentence that `unverifiable` gives, the claim that the sentence is about. */
export const ALLOWED_CLAIMS: ReadonlyMap<string, string> = new Map(
  Object.entries(ALLOWED).map(([option, claim]) => [notAllowed(option, claim), claim])
)

/**
 * Why `@fastify/jwt`, with these verify options, would not accept claims that it has just signed; undefined
 * where it would. This does not verify the token: the key may be a function that needs a request, and a cache
 * may keep the answer.
 */
export function unverifiable (signed: TokenClaims, options: VerifyRules): string | undefined {
  const { requiredClaims } = options as { requiredClaims?: string[] }
  const missing = requiredClaims?.find((claim) => !(claim in signed))
  if (missing !== undefined) {
    return `it has no ${missing}, which verify: { requiredClaims } of @fastify/jwt asks for`
  }
  for (const [option, claim] of Object.entries(ALLOWED)) {
    const allowed = options[option]
    if (allowed && claim in signed && !matches(signed[claim], allowed)) return notAllowed(option, claim)
  }
}

/** Matches as fast-jwt does: by strings, regular expressions, objects with `test`, or several of them. */
function matches (value: unknown, allowed: unknown): boolean {
  if (typeof value !== 'string') return false
  return [allowed].flat().filter(Boolean).some((one) => {
    // search() does not change the lastIndex of an expression with g or y, as test() would.
    if (isRegExp(one)) return value.search(one) >= 0
    const { test } = one as { test?: unknown }
    return typeof test === 'function' ? Boolean(test.call(one, value)) : one === value
  })
}

import { BROKEN, type TokenClaims } from './claims.ts'
import type { SignOptions } from './signers.ts'
import { ALLOWED_CLAIMS } from './verifiable.ts'

type Cause = [option: string | undefined, claim: string | undefined]

/**
 * What decides each rule: the sign options that set a claim, and the claim itself; the likeliest cause first.
 */
const CAUSES: Record<string, Cause[]> = {
  [BROKEN.iss]: [['iss', 'iss']],
  [BROKEN.sub]: [['sub', 'sub']],
  [BROKEN.noJti]: [['jti', 'jti']],
  [BROKEN.jti]: [['jti', 'jti']],
  [BROKEN.noIat]: [['noTimestamp', 'iat']],
  // @fastify/jwt counts an exp from the iat, given or not.
  [BROKEN.noExp]: [[undefined, 'iat'], ['expiresIn', 'exp']],
  [BROKEN.expired]: [[undefined, 'iat'], ['expiresIn', 'exp']],
  [BROKEN.ahead]: [['clockTimestamp', 'iat']],
  [BROKEN.tooFar]: [['expiresIn', 'exp']],
  [BROKEN.tooLong]: [['expiresIn', 'exp']],
  ...Object.fromEntries([...ALLOWED_CLAIMS].map(([rule, claim]) => [rule, [[claim, claim]]]))
}

/**
 * Says what makes `method` sign a token that breaks `rule`; empty where nothing that it was given does.
 * `@fastify/jwt` takes an option of the call before one that it was registered with, and that before a claim.
 */
export function culpritOf (
  method: string, rule: string, claims: TokenClaims, options: SignOptions, registered: SignOptions
): string {
  for (const [option, claim] of CAUSES[rule] ?? []) {
    if (option !== undefined && isGiven(options[option])) return `option ${option} of ${method}()`
    if (option !== undefined && isGiven(registered[option])) return `sign: { ${option} } of @fastify/jwt`
    if (claim !== undefined && claims[claim] !== undefined) return `${claim} in the claims`
  }
  return ''
}

function isGiven (option: unknown): boolean {
  return option !== undefined && option !== null && option !== false
}

import { BROKEN, type TokenClaims } from './claims.ts'
import type { SignOptions } from './signers.ts'
import { ALLOWED_CLAIMS } from './verifiable.ts'

/** What decides each rule: claims as they are named in a token, and the sign options that set them, the likeliest first. */
const CAUSES: Record<string, Array<[option: string | undefined, claim: string | undefined]>> = {
  [BROKEN.iss]: [['iss', 'iss']],
  [BROKEN.sub]: [['sub', 'sub']],
  [BROKEN.noJti]: [['jti', 'jti']],
  [BROKEN.jti]: [['jti', 'jti']],
  [BROKEN.noIat]: [['noTimestamp', 'iat']],
  // An exp is counted from the iat, whichever that is.
  [BROKEN.noExp]: [[undefined, 'iat'], ['expiresIn', 'exp']],
  [BROKEN.expired]: [[undefined, 'iat'], ['expiresIn', 'exp']],
  [BROKEN.ahead]: [['clockTimestamp', 'iat']],
  [BROKEN.tooFar]: [['expiresIn', 'exp']],
  [BROKEN.tooLong]: [['expiresIn', 'exp']],
  ...Object.fromEntries([...ALLOWED_CLAIMS].map(([rule, claim]) => [rule, [[claim, claim]]]))
}

/**
 * Who gave `issue()` what makes it sign a token that breaks a rule; empty where nobody did. As `@fastify/jwt` signs: an
 * option of the call goes before one that it was registered with, and that before a claim.
 */
export function culpritOf (rule: string, claims: TokenClaims, options: SignOptions, registered: SignOptions): string {
  for (const [option, claim] of CAUSES[rule] ?? []) {
    if (option !== undefined && isGiven(options[option])) return `option ${option} of issue()`
    if (option !== undefined && isGiven(registered[option])) return `sign: { ${option} } of @fastify/jwt`
    if (claim !== undefined && claims[claim] !== undefined) return `${claim} in the claims`
  }
  return ''
}

function isGiven (option: unknown): boolean {
  return option !== undefined && option !== null && option !== false
}

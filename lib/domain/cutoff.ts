import { EVERY_IAT, LEAD } from '../stores/entry.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { CheckedClaims, Rules } from './claims.ts'
import { IAT_AHEAD } from './retention.ts'

/**
 * Whether a cutoff ends a token. Most signers write `iat` in whole seconds, so a token of the cutoff's own
 * second may be older than the cutoff, and is refused. A token without an iat may be of any age, and is
 * refused, too.
 */
export function isCutOff ({ iat }: CheckedClaims, cutoff: Seconds | null): boolean {
  return cutoff !== null && (iat === undefined || Math.floor(iat) <= cutoff || cutoff >= EVERY_IAT)
}

/** The latest `iat` that may be signed now. A cutoff rises by itself up to the same second. */
export function latestIat (now: Milliseconds): Seconds {
  return Math.floor(now / 1000) + LEAD
}

/**
 * The cutoff that ends a token of a clock that is ahead, where only its subject ends it; undefined: the token
 * is not ahead. An `iat` beyond the margin of P5 has none either: such a cutoff would be a ban.
 */
export function reachOf (
  { iat }: CheckedClaims, { clockTolerance }: Rules, now: Milliseconds
): Seconds | undefined {
  if (iat === undefined) return undefined
  const ahead = Math.floor(iat) - Math.floor(now / 1000)
  return ahead > 0 && ahead <= clockTolerance + IAT_AHEAD ? Math.floor(iat) : undefined
}

import { EVERY_IAT, LEAD } from '../stores/entry.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { CheckedClaims } from './claims.ts'

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

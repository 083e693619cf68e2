import { LEAD } from '../stores/entry.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { CheckedClaims } from './claims.ts'

/**
 * Whether a cutoff ends a token. `iat` has whole seconds with most signers: a token of the cutoff's own second may be
 * from before it, and is refused. So is one without iat, which may be from any time.
 */
export function isCutOff ({ iat }: CheckedClaims, cutoff: Seconds | null): boolean {
  return cutoff !== null && (iat === undefined || Math.floor(iat) <= cutoff)
}

/** How far ahead an `iat` may be signed, and a cutoff may rise by itself. */
export function latestIat (now: Milliseconds): Seconds {
  return Math.floor(now / 1000) + LEAD
}

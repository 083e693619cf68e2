import type { Milliseconds, Seconds } from '../time.ts'

/** How often a refresh token gives its successor within its grace: two tabs, and an answer that was lost. */
export const MAX_USES = 3

/** What is kept of a refresh token that was not used yet. It is dropped at `end`. */
export interface Refresh {
  sid: string
  iss?: string
  sub?: string
  /** The id of the session's record. */
  id: string
  /** The iat of the access token that came with it: a cutoff ends both. */
  iat: Seconds
  /** When the session ends. Nothing moves this. */
  end: Seconds
  /** The namespace that signs. Absent where the login named none. */
  namespace?: string
  /** The claims of the next access token. They are dropped once the successor is kept. */
  claims?: Record<string, unknown>
}

/** What is kept of a refresh token that was used. */
export interface SpentRefresh extends Refresh {
  /** When it was used first. */
  used: Seconds
  uses: number
  /** The secret from which its successor follows: random bytes in base64url. */
  key: string
}

/**
 * What use of a refresh token means: it is fresh; or it was used a moment ago, and gives the same successor
 * again; or it was used so too often; or it was used longer ago.
 */
export type RefreshState = 'fresh' | 'again' | 'exhausted' | 'reused'

export interface Found<R extends Refresh> {
  state: RefreshState
  refresh: R
  /** The time of the store. */
  now: Milliseconds
}

/** A refresh token whose claims are dropped. */
export function withoutClaims<R extends Refresh> (refresh: R): R {
  const { claims, ...others } = refresh
  return others as R
}

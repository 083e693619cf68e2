import { LEAD } from '../stores/entry.ts'
import type { Milliseconds, Seconds } from '../time.ts'

export interface Lifetimes {
  /** null means unbounded. */
  maxTokenLifetime: Seconds | null
  clockTolerance: Seconds
  /** How long a session can be refreshed at most. Default: no session can. */
  refreshLifetime?: Seconds | undefined
}

/**
 * How long a revocation outlives the last moment at which a verifier accepts the token, for clocks that
 * differ.
 */
export const EXPIRY_MARGIN: Seconds = 10

/** How far an `iat` may be ahead, beyond the clock tolerance. A later `iat` could escape every cutoff. */
export const IAT_AHEAD: Seconds = 60

/**
 * The last moment that a Date can tell. A later end counts as "for ever", which keeps TTLs in the range of
 * Redis.
 */
const END_OF_TIME: Seconds = 8.64e12

/** How long a session that was ended stays ended at least: whoever signs its tokens may go on for so long. */
export const SESSION_SPAN: Seconds = 30 * 24 * 3600

/** Room for differences between the clocks of processes that write the log and read it. */
const LOG_MARGIN: Seconds = 60

/**
 * How far from now the `exp` of a token can be, if the token exists and a verifier accepts it now or later.
 * `brokenTimeRule` bounds how far its `iat` may be ahead, and how long it may live from there.
 */
function furthestExp (maxTokenLifetime: Seconds, clockTolerance: Seconds): Seconds {
  return clockTolerance + IAT_AHEAD + maxTokenLifetime + EXPIRY_MARGIN
}

/**
 * Until when a revocation or a record of a token must be kept (P2), in whole seconds since the epoch; null:
 * for ever. This is never in the past, so that Redis writes what it acknowledges. It is never after the end
 * of the furthest token that is accepted, so that the log can be trimmed. An unknown `exp` counts as the
 * furthest.
 */
export function keptUntil (exp: number | undefined, lifetimes: Lifetimes, now: Milliseconds): Seconds | null {
  const { maxTokenLifetime, clockTolerance } = lifetimes
  const seconds = Math.ceil(now / 1000)
  const furthest = maxTokenLifetime === null
    ? Infinity
    : seconds + furthestExp(maxTokenLifetime, clockTolerance)
  const last = Math.min(Math.max(Math.ceil(exp ?? Infinity), seconds), furthest)
  const end = last + clockTolerance + EXPIRY_MARGIN
  return end < END_OF_TIME ? end : null
}

/**
 * Until when a cutoff must be kept. It ends tokens that are issued until `at`, which may be later than now.
 * `atLeast`: how long it is kept at least, from now.
 */
export function cutoffKeptUntil (
  at: Seconds, lifetimes: Lifetimes, now: Milliseconds, atLeast: Seconds = 0
): Seconds | null {
  return keptUntil(undefined, longestOf(lifetimes, atLeast), Math.max(now, at * 1000))
}

/** Until when a session's record must be kept. It may end long after the furthest access token. */
export function sessionKeptUntil (end: Seconds, lifetimes: Lifetimes, now: Milliseconds): Seconds | null {
  return keptUntil(end, longestOf(lifetimes), now)
}

/** Lifetimes under which refresh tokens count as tokens. A cutoff ends them as well. */
function longestOf (lifetimes: Lifetimes, atLeast: Seconds = 0): Lifetimes {
  const { maxTokenLifetime: longest, refreshLifetime = 0 } = lifetimes
  const maxTokenLifetime = longest === null ? null : Math.max(longest, refreshLifetime, atLeast)
  return { ...lifetimes, maxTokenLifetime }
}

/** How long a key is kept at most; null: for ever. */
export function longestKept (lifetimes: Lifetimes): Seconds | null {
  return logSpan(longestOf(lifetimes))
}

/** How long an entry of the log matters; null: for ever. A cutoff that is kept longer is named elsewhere. */
export function logSpan ({ maxTokenLifetime, clockTolerance }: Lifetimes): Seconds | null {
  if (maxTokenLifetime === null) return null
  return LEAD + furthestExp(maxTokenLifetime, clockTolerance) + clockTolerance + EXPIRY_MARGIN + LOG_MARGIN
}

/**
 * ISO 8601; null where the moment is unknown or no Date can tell it. `round` makes whole milliseconds: an end
 * that is read back from a record must not be earlier, and an iat must not be in a later second.
 */
export function isoTime (seconds: Seconds | undefined, round: (ms: Milliseconds) => number): string | null {
  if (seconds === undefined) return null
  const date = new Date(round(seconds * 1000))
  return Number.isNaN(date.getTime()) ? null : date.toISOString()
}

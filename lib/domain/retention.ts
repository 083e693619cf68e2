import { LEAD } from '../stores/entry.ts'
import type { Milliseconds, Seconds } from '../time.ts'

export interface Lifetimes {
  /** null: unbounded. */
  maxTokenLifetime: Seconds | null
  clockTolerance: Seconds
}

/** How long a revocation outlives the last moment at which a verifier accepts the token: room for clocks that differ. */
export const EXPIRY_MARGIN: Seconds = 10

/** How far ahead of the clock an `iat` may be, beside the clock tolerance. What is further ahead could escape every cutoff. */
export const IAT_AHEAD: Seconds = 60

/** The last moment a JavaScript Date can tell. Past it "until" means "for ever": it also keeps TTLs within Redis' range. */
const END_OF_TIME: Seconds = 8.64e12

/** Room for the clocks of those who write to the log and those who read it. */
const LOG_MARGIN: Seconds = 60

/**
 * How far from now the `exp` of a token is at most, if the token exists and some verifier accepts it, now or later. Its
 * `iat` may be ahead by as much as `brokenTimeRule` allows, and it may live from there for as long as `brokenTimeRule` allows.
 */
function furthestExp (maxTokenLifetime: Seconds, clockTolerance: Seconds): Seconds {
  return clockTolerance + IAT_AHEAD + maxTokenLifetime + EXPIRY_MARGIN
}

/**
 * Until when a revocation or a record of a token must be kept (P2), in whole seconds since the epoch; null: for ever.
 * Never in the past, so that what is acknowledged is also written. Never past the end of the furthest token that is
 * accepted, so that the log can be trimmed. An unknown `exp` may be the furthest.
 */
export function keptUntil (exp: number | undefined, lifetimes: Lifetimes, now: Milliseconds): Seconds | null {
  const { maxTokenLifetime, clockTolerance } = lifetimes
  const seconds = Math.ceil(now / 1000)
  const furthest = maxTokenLifetime === null ? Infinity : seconds + furthestExp(maxTokenLifetime, clockTolerance)
  const last = Math.min(Math.max(Math.ceil(exp ?? Infinity), seconds), furthest)
  const end = last + clockTolerance + EXPIRY_MARGIN
  return end < END_OF_TIME ? end : null
}

/** How long an entry of the log matters: longer than any key is kept. null: for ever. */
export function logSpan ({ maxTokenLifetime, clockTolerance }: Lifetimes): Seconds | null {
  if (maxTokenLifetime === null) return null
  return LEAD + furthestExp(maxTokenLifetime, clockTolerance) + clockTolerance + EXPIRY_MARGIN + LOG_MARGIN
}

/**
 * ISO 8601, or null where the moment is unknown or beyond what a Date can tell. `round` makes it milliseconds: what is
 * read back from a record must end no earlier, and be issued in no later second.
 */
export function isoTime (seconds: number | undefined, round: (milliseconds: number) => number): string | null {
  if (seconds === undefined) return null
  const date = new Date(round(seconds * 1000))
  return Number.isNaN(date.getTime()) ? null : date.toISOString()
}

export type Seconds = number
export type Milliseconds = number

export interface Lifetimes {
  /** null: unbounded. */
  maxTokenLifetime: Seconds | null
  clockTolerance: Seconds
}

/** How long a revocation outlives the last moment at which a verifier accepts the token: room for clocks that differ. */
export const EXPIRY_MARGIN: Seconds = 10

/** The last moment a JavaScript Date can tell. Past it "until" means "for ever": it also keeps TTLs within Redis' range. */
const END_OF_TIME: Seconds = 8.64e12

/**
 * Until when a revocation or a record of a token must be kept (P2), in whole seconds since the epoch; null: for ever.
 * Never in the past, so that what is acknowledged is also written.
 */
export function keptUntil (exp: number | undefined, lifetimes: Lifetimes, now: Milliseconds): Seconds | null {
  const { maxTokenLifetime, clockTolerance } = lifetimes
  const seconds = Math.ceil(now / 1000)
  let end: Seconds
  if (exp !== undefined) end = Math.max(Math.ceil(exp), seconds) + clockTolerance + EXPIRY_MARGIN
  else if (maxTokenLifetime !== null) end = seconds + maxTokenLifetime + clockTolerance + EXPIRY_MARGIN
  else return null
  return end < END_OF_TIME ? end : null
}

/** Room for the clocks of those who write to the log and those who read it. */
const LOG_MARGIN: Seconds = 60

/** How long an entry of the log matters: as long as a revocation is kept at most. null: for ever. */
export function logSpan ({ maxTokenLifetime, clockTolerance }: Lifetimes): Seconds | null {
  return maxTokenLifetime === null ? null : maxTokenLifetime + clockTolerance + EXPIRY_MARGIN + LOG_MARGIN
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

import { parse as parseDuration } from '@lukeed/ms'
import { isObject } from './route-options.ts'
import type { Milliseconds, Seconds } from './time.ts'

/* How lifetimes and option `refresh` are read. */

/** Option `refresh`, with defaults. */
export interface Refreshing {
  expiresIn: Seconds
  grace: Milliseconds
}

/** 30 years: the end of such a session is still a date. */
const MAX_LIFETIME: Seconds = 30 * 365.25 * 24 * 3600
const DEFAULTS = { expiresIn: '30d', grace: '10s' }

/**
 * Gives NaN where the value is no duration. The parser takes a string of digits for milliseconds, and a
 * reader for seconds: such a string needs a unit.
 */
function secondsOf (value: unknown): Seconds {
  if (typeof value === 'number') return value
  const hasUnit = typeof value === 'string' && !/\d\s*$/.test(value)
  return hasUnit ? (parseDuration(value) ?? NaN) / 1000 : NaN
}

/** Gives null for 'unbounded', and undefined where the value has not the wanted shape. */
export function readLifetime (value: unknown): Seconds | null | undefined {
  if (value === 'unbounded') return null
  const seconds = secondsOf(value)
  return seconds > 0 && Number.isFinite(seconds) ? Math.ceil(seconds) : undefined
}

/** Gives undefined where the value has not the wanted shape. */
export function readRefresh (value: unknown): Refreshing | undefined {
  if (!isObject(value)) return undefined
  const { expiresIn = DEFAULTS.expiresIn, grace = DEFAULTS.grace, ...others } = value
  const lifetime = readLifetime(expiresIn) ?? undefined
  const seconds = secondsOf(grace)
  // A grace as long as the session would never find that a refresh token was stolen.
  const isGrace = lifetime !== undefined && lifetime <= MAX_LIFETIME && seconds >= 0 && seconds < lifetime
  if (Object.keys(others).length > 0 || !isGrace) return undefined
  return { expiresIn: lifetime, grace: Math.round(seconds * 1000) }
}

export const REFRESH_WANTED = '{ expiresIn, grace }, each a number of seconds or a duration with a unit, ' +
  "such as { expiresIn: '30d', grace: '10s' }; expiresIn is at most '30y', and grace is shorter"

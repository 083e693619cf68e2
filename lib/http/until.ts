import { systemClock, type Seconds } from '../time.ts'

/** For ever, or a moment with its offset: a time without one would mean another moment on each server. */
export const UNTIL = '^(forever|\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?(Z|[+-]\\d{2}:\\d{2}))$'

/** The second that a valid `until` means; Infinity: for ever. */
export function readUntil (until: string | undefined): Seconds | undefined {
  if (until === undefined) return undefined
  return until === 'forever' ? Infinity : Date.parse(until) / 1000
}

/** What is wrong with a query that may have an `until` of the right form; undefined: nothing. */
export function mistakeInUntil (query: unknown): string | undefined {
  const { until, except } = query as { until?: string, except?: unknown }
  if (until === undefined) return undefined
  const seconds = readUntil(until)!
  if (Number.isNaN(seconds)) return '/until is no date'
  if (seconds < Math.floor(systemClock.wall() / 1000)) return '/until is in the past'
  return except === undefined ? undefined : '/until does not go with except: a ban spares no token'
}

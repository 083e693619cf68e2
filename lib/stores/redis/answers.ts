import { nonsense } from '../../errors.ts'
import type { Milliseconds, Seconds } from '../../time.ts'
import { KINDS, type Entry } from '../entry.ts'
import type { Written } from '../store.ts'

/* The arguments and answers of the scripts that write revocations and cutoffs. */

/** What stands, more about it, and the words for the log. */
export type Answer = [standing: unknown, more: unknown, words: string]

/** @throws TypeError */
export function toAnswer (answer: unknown): Answer {
  if (Array.isArray(answer) && answer.length === 3 && typeof answer[2] === 'string') return answer as Answer
  throw nonsense('to a revocation')
}

/** Reads what a script answered to an entry that was asked for. @throws TypeError */
export function writtenOf (asked: Entry, answer: Answer, unlessFrom = Infinity): Written {
  if (!KINDS[asked.kind].rises) return revokedOf(asked, answer)
  const written = raisedOf(asked, answer)
  // The script never gives a cutoff that is lower than the caller asked for.
  if (!(written.standing.at >= Math.min(asked.at, unlessFrom))) throw nonsense('to a cutoff')
  return written
}

function revokedOf (asked: Entry, [first, value]: Answer): Written {
  if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw nonsense('to a revocation')
  const standing = { ...asked, ...KINDS.revoked.parse(value, asked) }
  return { standing, first: Number(first) === 1, before: null }
}

function raisedOf (asked: Entry, [value, was]: Answer): Written {
  const at = parseCutoff(value)
  const before = parseCutoff(was === '' ? null : was)
  if (at === null) throw nonsense('to a cutoff')
  return { standing: { ...asked, at }, first: at !== before, before }
}

/** Whether Redis may hold this under a key of ours. */
export function isValue (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

/** Reads the value of a cutoff's key; null: there is no key. @throws BadValue */
export function parseCutoff (value: unknown): Seconds | null {
  if (value === null) return null
  return KINDS.cutoff.parse(isValue(value) ? value : '').at
}

type OrNone = Milliseconds | ''

/** How long to keep a key, in the scripts' words. */
export function ttlArguments (until: Seconds | null, now: Milliseconds): [till: OrNone, lifetime: OrNone] {
  return until === null ? ['', ''] : [until * 1000, Math.ceil(until * 1000 - now)]
}

/** Whether a key that ends then outlives its entry of the log. Both are in the scripts' words. */
export function outlives (ends: string, span: Seconds | null, now: Milliseconds): boolean {
  return span !== null && (ends === '' || Number(ends) > now / 1000 + span)
}

/** How long a key is kept at most, in the scripts' words. */
export function longestOf (seconds: Seconds | null | undefined): Milliseconds | '' {
  return seconds == null ? '' : seconds * 1000
}

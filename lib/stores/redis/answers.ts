import { nonsense } from '../../errors.ts'
import type { Milliseconds, Seconds } from '../../time.ts'
import { KINDS, type Entry } from '../entry.ts'
import type { Written } from '../store.ts'
import { isValue } from './batcher.ts'

/* What the scripts that write revocations take, and what they answer. */

/** Of such a script: what stands, more about it, and the words that the log is to have. */
export type Answer = [standing: unknown, more: unknown, words: string]

/** @throws TypeError */
export function toAnswer (answer: unknown): Answer {
  if (Array.isArray(answer) && answer.length === 3 && typeof answer[2] === 'string') return answer as Answer
  throw nonsense('to a revocation')
}

/** What a script says of an entry that was asked for. @throws TypeError */
export function writtenOf (asked: Entry, answer: Answer, unlessFrom = Infinity): Written {
  if (!KINDS[asked.kind].rises) return revokedOf(asked, answer)
  const written = raisedOf(asked, answer)
  // Lower than what was asked for: nothing that the script gives.
  if (!(written.standing.at >= Math.min(asked.at, unlessFrom))) throw nonsense('to a cutoff')
  return written
}

function revokedOf (asked: Entry, [first, value]: Answer): Written {
  if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw nonsense('to a revocation')
  return { standing: { ...asked, ...KINDS.revoked.parse(value, asked) }, first: Number(first) === 1, before: null }
}

function raisedOf (asked: Entry, [value, was]: Answer): Written {
  const at = parseCutoff(value)
  const before = parseCutoff(was === '' ? null : was)
  if (at === null) throw nonsense('to a cutoff')
  return { standing: { ...asked, at }, first: at !== before, before }
}

/** What is under the key of a cutoff; null: nothing. @throws BadValue */
export function parseCutoff (value: unknown): Seconds | null {
  if (value === null) return null
  return KINDS.cutoff.parse(isValue(value) ? value : '').at
}

/** How long to keep something, as the scripts take it. */
export function ttlArguments (keptUntil: Seconds | null, now: Milliseconds): [until: number | '', span: number | ''] {
  return keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - now)]
}

/** How long anything is kept at most, as the scripts take it. */
export function longestOf (seconds: Seconds | null | undefined): Milliseconds | '' {
  return seconds == null ? '' : seconds * 1000
}

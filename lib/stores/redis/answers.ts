import type { Milliseconds, Seconds } from '../../domain/retention.ts'
import type { Denial } from '../store.ts'
import { parseCutoff, parseDenial } from './values.ts'

/* What the scripts that write revocations answer, and what they take. */

export interface Cutoff {
  cutoff: Seconds
  before: Seconds | null
}

/** What each script that writes a revocation answers. Last comes what is to be in the log. */
export function isAnswer (answer: unknown): answer is unknown[] {
  return Array.isArray(answer) && answer.length === 3 && typeof answer[2] === 'string'
}

export function nonsense () {
  return new TypeError('Redis answered nonsense to a revocation')
}

export function standingOf (answer: unknown, asked: Denial): Denial {
  const [first, value] = answer as unknown[]
  if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw nonsense()
  return parseDenial(value) ?? { at: asked.at, exp: asked.exp }
}

export function cutoffOf (answer: unknown): Cutoff {
  const [value, before] = answer as unknown[]
  const cutoff = parseCutoff(value)
  if (cutoff === null) throw new TypeError('Redis answered nonsense to a cutoff')
  return { cutoff, before: parseCutoff(before === '' ? null : before) }
}

/** How long to keep something, as the scripts take it. */
export function lasting (keptUntil: Seconds | null, now: Milliseconds): [until: number | '', span: number | ''] {
  return keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - now)]
}

/** How long anything is kept at most, as the scripts take it. */
export function longestOf (seconds: Seconds | null | undefined): Milliseconds | '' {
  return seconds == null ? '' : seconds * 1000
}

import type { Seconds } from '../expiry.ts'
import type { DenylistEntry } from './denylist.ts'

/** One revocation, or one cutoff, as the log has it. */
export interface LogEntry extends DenylistEntry {
  /** The id of its record, where it has one. */
  id?: string
  sub?: string
}

/** Before the first entry of a log. */
export const START = '0-0'

/**
 * The value of an entry's one field, in two parts: the script that appends puts the id of the entry before it between
 * them. Words are separated by one space: `key at exp until prev id sub`, what is not known is empty.
 */
export function toWords ({ kind, name, at, exp, until, id, sub }: LogEntry): [before: string, after: string] {
  return [`${kind}:${name} ${at} ${exp ?? ''} ${until ?? ''}`, `${id ?? ''} ${sub === undefined ? '' : encodeURIComponent(sub)}`]
}

/** null where it is no entry of ours. */
export function fromWords (words: unknown): { entry: LogEntry, prev: string } | null {
  const [key = '', at, exp, until, prev, id, sub, ...more] = String(words).split(' ')
  const colon = key.indexOf(':')
  const kind = key.slice(0, colon)
  const name = key.slice(colon + 1)
  if ((kind !== 'revoked' && kind !== 'cutoff') || name === '' || sub === undefined || more.length > 0) return null
  const entry: LogEntry = { kind, name, at: secondsOf(at) ?? NaN, exp: secondsOf(exp), until: secondsOf(until) }
  if (!Number.isFinite(entry.at + (entry.exp ?? 0) + (entry.until ?? 0))) return null
  if (id) entry.id = id
  try {
    if (sub) entry.sub = decodeURIComponent(sub)
  } catch {
    return null
  }
  return { entry, prev: prev! }
}

function secondsOf (word: string | undefined): Seconds | null {
  return word ? Number(word) : null
}

/** The moment of an entry's id, by the clock of Redis. */
export function secondOf (id: string): Seconds {
  return Number(id.slice(0, id.indexOf('-'))) / 1000
}

export function isLater (id: string, than: string): boolean {
  const [ms = '', sequence = ''] = id.split('-')
  const [msOfOther = '', sequenceOfOther = ''] = than.split('-')
  return Number(ms) > Number(msOfOther) || (ms === msOfOther && Number(sequence) > Number(sequenceOfOther))
}

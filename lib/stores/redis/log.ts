import type { Seconds } from '../../time.ts'
import { keyOf, kindOfKey, KINDS, type Entry } from '../entry.ts'

/** Before the first entry of a log. */
export const START = '0-0'

/**
 * What the scripts make the value of an entry's one field of: what comes before what only they know, and what after it.
 * Words are separated by one space: `key at exp until prev id sub`, what is not known is empty. Further words are a newer
 * version's, and so are keys of other kinds.
 */
export function toWords (entry: Entry): [before: string, after: string] {
  const { kind, at, exp, id = '', sub = '' } = entry
  // What a cutoff rises to only the script knows.
  const before = KINDS[kind].rises ? keyOf(entry) : `${keyOf(entry)} ${at} ${exp ?? ''}`
  return [before, `${id} ${encodeURIComponent(sub)}`]
}

/**
 * An entry, or null where it is of a kind that is unknown here, and the id of the one before it. null: it is none, or
 * one that can't be read. A million of these are read at a start, of which nobody is told: without `withNames`, what only
 * listeners want to know is left out.
 */
export function fromWords (words: string, withNames: boolean): { entry: Entry | null, prev: string } | null {
  const atKey = words.indexOf(' ')
  const atAt = words.indexOf(' ', atKey + 1)
  const atExp = words.indexOf(' ', atAt + 1)
  const atUntil = words.indexOf(' ', atExp + 1)
  // Where there is no further space, the search begins anew and finds an earlier one.
  if (!(atKey > 0 && atAt > atKey && atExp > atAt && atUntil > atExp)) return null
  const kind = kindOfKey(words)
  const atPrev = words.indexOf(' ', atUntil + 1)
  const prev = words.slice(atUntil + 1, atPrev < 0 ? undefined : atPrev)
  if (kind === null) return isId(prev) ? { entry: null, prev } : null
  const atId = words.indexOf(' ', atPrev + 1)
  if (!(atPrev > atUntil && atId > atPrev) || atKey === kind.length + 1) return null
  const at = secondsOf(words, atKey, atAt)
  const exp = secondsOf(words, atAt, atExp)
  const until = secondsOf(words, atExp, atUntil)
  if (at === null || !Number.isFinite(at + (exp ?? 0) + (until ?? 0))) return null
  const entry: Entry = { kind, name: words.slice(kind.length + 1, atKey), at, exp, until }
  if (withNames) {
    const id = words.slice(atPrev + 1, atId)
    const atSub = words.indexOf(' ', atId + 1)
    const sub = decoded(words.slice(atId + 1, atSub < 0 ? undefined : atSub))
    if (id) entry.id = id
    if (sub) entry.sub = sub
  }
  return { entry, prev }
}

/** Of the word between two spaces; null where there is none. */
function secondsOf (words: string, before: number, after: number): Seconds | null {
  return after === before + 1 ? null : Number(words.slice(before + 1, after))
}

function decoded (name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return ''
  }
}

export function isId (value: unknown): value is string {
  return typeof value === 'string' && /^\d+-\d+$/.test(value)
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

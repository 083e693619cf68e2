import type { Seconds } from '../../time.ts'
import { keyOf, kindOfKey, KINDS, type Entry } from '../entry.ts'

/** The id before the first entry of a log. */
export const START = '0-0'

/**
 * The words of an entry's one field, `key at exp until prev id sub`, without those that only the scripts
 * know. One space separates two words, and an unknown word is empty. Further words, and keys of other kinds,
 * are from a newer version.
 */
export function toWords (entry: Entry): [before: string, after: string] {
  const { kind, at, exp, id = '', sub = '' } = entry
  // Only the script knows to what second a cutoff rises.
  const before = KINDS[kind].rises ? keyOf(entry) : `${keyOf(entry)} ${at} ${exp ?? ''}`
  return [before, `${id} ${encodeURIComponent(sub)}`]
}

/**
 * Reads an entry and the id of its predecessor; null where the words can not be read. `entry` is null where
 * this version does not know its kind. A start reads a million entries that no listener hears of: without
 * `withNames` this leaves out the id and the sub, which only listeners need.
 */
export function fromWords (words: string, withNames: boolean): { entry: Entry | null, prev: string } | null {
  const atKey = words.indexOf(' ')
  const atAt = words.indexOf(' ', atKey + 1)
  const atExp = words.indexOf(' ', atAt + 1)
  const atUntil = words.indexOf(' ', atExp + 1)
  // Where there is no further space, indexOf gives -1, and the next search finds an earlier space.
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

/** Reads the word between two spaces; null where the word is empty. */
function secondsOf (words: string, before: number, after: number): Seconds | null {
  return after === before + 1 ? null : Number(words.slice(before + 1, after))
}

/** Most names are as they were, which is told sooner than decoded where the caches hold other code. */
function decoded (name: string): string {
  if (!name.includes('%')) return name
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

import { BadValue } from '../errors.ts'
import type { Seconds } from '../time.ts'

/** A revocation or a cutoff. Stores ask for it, keep it, log it and copy it in this form. */
export interface Entry {
  kind: 'revoked' | 'cutoff'
  /** The identity of a token, or what a cutoff is of: a subject, a session, a claim's value. */
  name: string
  /** When the token was revoked, or the second of the cutoff. */
  at: Seconds
  /** When the token itself ends; null: unknown. A cutoff always has null. */
  exp: Seconds | null
  /** When the store may drop the entry; null: never. */
  until: Seconds | null
  /** The id of the token's record and its sub, for listeners. Absent where unknown. */
  id?: string
  sub?: string
}

/** How far ahead of the clock a cutoff may rise by itself. */
export const LEAD: Seconds = 5

/** The cutoff that ends tokens that are issued later, too. A replica can keep no later one. */
export const EVERY_IAT: Seconds = 2 ** 32 - 1

interface Kind {
  /** Whether a later `at` replaces a standing one: a token is revoked once, a cutoff rises. */
  rises: boolean
  /** The value of the entry's key. It is public: other services read it. */
  value: (entry: Pick<Entry, 'at' | 'exp'>) => string
  /**
   * Reads the value of a key; gives `otherwise` where another service wrote it in its own form. @throws
   * BadValue
   */
  parse: (value: string, otherwise?: Pick<Entry, 'at' | 'exp'>) => Pick<Entry, 'at' | 'exp'>
}

export const KINDS: Record<Entry['kind'], Kind> = {
  revoked: {
    rises: false,
    value: ({ at, exp }) => JSON.stringify({ at, exp }),
    // Any value under the key of an identity means that the token is revoked.
    parse: (value, { at, exp } = { at: 0, exp: null }) => parseRevocation(value) ?? { at, exp }
  },
  cutoff: {
    rises: true,
    value: ({ at }) => String(at),
    parse: (value) => ({ at: cutoffOf(value), exp: null })
  }
}

/**
 * Names an entry among all entries: the end of its key in Redis, and the first word of its line in the log.
 */
export function keyOf ({ kind, name }: Pick<Entry, 'kind' | 'name'>): string {
  return `${kind}:${name}`
}

/** The kind of a key that begins like this, without the prefix; null: of neither kind. */
export function kindOfKey (key: string): Entry['kind'] | null {
  return key.startsWith('revoked:') ? 'revoked' : key.startsWith('cutoff:') ? 'cutoff' : null
}

/** Gives what stands once `fresh` is written over `standing`, an entry of the same key. */
export function merged (standing: Entry, fresh: Entry): Entry {
  return {
    ...standing,
    at: KINDS[fresh.kind].rises ? Math.max(standing.at, fresh.at) : standing.at,
    exp: standing.exp ?? fresh.exp,
    until: laterOf(standing.until, fresh.until)
  }
}

/** The cutoff that counts of two names' cutoffs; null: there is none. */
export function latestCutoff (a: Seconds | null, b: Seconds | null): Seconds | null {
  return a === null || b === null ? a ?? b : Math.max(a, b)
}

/** null means for ever. */
function laterOf (a: Seconds | null, b: Seconds | null): Seconds | null {
  return a === null || b === null ? null : Math.max(a, b)
}

function parseRevocation (value: string): Pick<Entry, 'at' | 'exp'> | null {
  try {
    const { at, exp } = JSON.parse(value)
    return typeof at === 'number' ? { at, exp: typeof exp === 'number' ? exp : null } : null
  } catch {
    return null
  }
}

function cutoffOf (value: string): Seconds {
  const cutoff = value.trim() === '' ? NaN : Number(value)
  if (Number.isNaN(cutoff)) throw new BadValue('Redis holds no number under the key of a cutoff')
  return cutoff
}

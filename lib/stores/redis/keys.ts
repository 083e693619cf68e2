import { keyOf, type Entry } from '../entry.ts'

/** The plugin's keys in Redis. They are public: other services may read them. */
export function keysUnder (prefix: string) {
  return {
    /** The key of a revocation or a cutoff. */
    of: (entry: Pick<Entry, 'kind' | 'name'>) => `${prefix}${keyOf(entry)}`,
    token: (id: string) => `${prefix}token:${id}`,
    id: (identity: string) => `${prefix}id:${identity}`,
    tokens: (subject: string) => `${prefix}tokens:${subject}`,
    log: `${prefix}log`,
    same: `${prefix}same`
  }
}

export type Keys = ReturnType<typeof keysUnder>

import { keyOf, type Entry } from '../entry.ts'

/** The plugin's keys in Redis. They are public: other services may read them. */
export function keysUnder (prefix: string) {
  // A check in strict mode makes two keys: one concatenation each.
  const revoked = `${prefix}${keyOf({ kind: 'revoked', name: '' })}`
  const cutoff = `${prefix}${keyOf({ kind: 'cutoff', name: '' })}`
  return {
    /** The key of a revocation or a cutoff. */
    of: ({ kind, name }: Pick<Entry, 'kind' | 'name'>) => `${kind === 'revoked' ? revoked : cutoff}${name}`,
    token: (id: string) => `${prefix}token:${id}`,
    id: (identity: string) => `${prefix}id:${identity}`,
    tokens: (subject: string) => `${prefix}tokens:${subject}`,
    refresh: (hash: string) => `${prefix}refresh:${hash}`,
    log: `${prefix}log`,
    standing: `${prefix}standing`,
    same: `${prefix}same`
  }
}

export type Keys = ReturnType<typeof keysUnder>

import { KINDS, type Entry } from '../../lib/stores/entry.ts'
import type { Connection } from '../../lib/stores/redis/connection.ts'
import { RedisStore, type RedisOptions } from '../../lib/stores/redis/store.ts'
import type { CheckCallback, Store, StoreContext, WriteOptions } from '../../lib/stores/store.ts'
import type { RedisClient } from '../../lib/types.ts'

export type Revoked = Pick<Entry, 'at' | 'exp' | 'id' | 'sub'>

/** A store over a client, as the plugin makes it. */
export function redisStore (client: RedisClient, options: RedisOptions, context: StoreContext, writing?: Connection): RedisStore {
  return new RedisStore({ connection: { client }, writing, options, context })
}

/** The calls of a store, with the parts of an entry as arguments. */
export function on ({ denials }: Pick<Store, 'denials'>) {
  return {
    check (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
      denials.check({ identity, subject }, done)
    },
    checkShared (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
      denials.checkShared({ identity, subject }, done)
    },
    async revoke (identity: string, revoked: Revoked, until: number | null, options?: WriteOptions) {
      const { standing: { at, exp }, first } = await denials.write({ kind: 'revoked', name: identity, ...revoked, until }, options)
      return { at, exp, first }
    },
    async cutOff (subject: string, cutoff: number, until: number | null, options?: WriteOptions) {
      const { standing: { at }, before } = await denials.write({ kind: 'cutoff', name: subject, at: cutoff, exp: null, until }, options)
      return { cutoff: at, before }
    }
  }
}

export const kinds = Object.keys(KINDS) as Array<Entry['kind']>

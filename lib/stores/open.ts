import type { RedisOptions } from 'ioredis'
import type { RedisClient } from '../types.ts'
import { MemoryStore } from './memory.ts'
import { isRedisClient, leave, type Connection } from './redis/connection.ts'
import { placeOf } from './redis/diagnosis.ts'
import { connect, connectionBeside, refuseReplicaReads, type ReadOptions } from './redis/open.ts'
import { RedisStore } from './redis/store.ts'
import { ReplicaStore, type ReplicaOptions } from './replica/replica.ts'
import type { Store, StoreContext } from './store.ts'

export interface StoreSettings extends ReplicaOptions {
  redis: string | RedisOptions | RedisClient | undefined
  mode: 'strict' | 'replica'
}

export interface OpenedStore {
  store: Store
  /**
   * Closes the connections that we made, once they owe no more answers: a check whose connection is closed
   * would fail, and `onStoreFailure: 'accept'` accept its token. A client that was given to us stays open
   * (P7).
   */
  close: () => Promise<void>
  /** Where Redis is; undefined where the client does not show it. */
  place: string | undefined
}

/** Opens the store that the settings ask for, with the connections that it needs. */
export function openStore (settings: StoreSettings, context: StoreContext): OpenedStore {
  const { redis } = settings
  if (redis === undefined || redis === 'memory') {
    const store = new MemoryStore(context)
    return { store, close: () => store.close(), place: undefined }
  }
  if (isRedisClient(redis)) {
    refuseReplicaReads((redis as { options?: ReadOptions }).options)
    return storeOver(redis, settings, context)
  }
  if (typeof redis === 'object') refuseReplicaReads(redis)
  const client = connect(redis, settings.storeTimeout, context.clock)
  const { store, close, place } = storeOver(client, settings, { ...context, onStuck: () => leave(client) })
  return {
    store,
    place,
    async close () {
      await close()
      client.disconnect()
    }
  }
}

function storeOver (client: RedisClient, settings: StoreSettings, context: StoreContext): OpenedStore {
  const made: Array<{ close: () => void }> = []
  const beside = (purpose: 'log' | 'minReplicas'): Connection => {
    const connection = connectionBeside(client, purpose, { ...settings, clock: context.clock })
    made.push(connection)
    return connection
  }
  // WAIT blocks its connection, and counts only what that connection wrote.
  const writing = settings.minReplicas > 0 ? beside('minReplicas') : undefined
  const common = { connection: { client }, writing, options: settings, context }
  const store = settings.mode === 'replica'
    ? new ReplicaStore({ ...common, log: beside('log') })
    : new RedisStore(common)
  return {
    store,
    place: placeOf(client),
    async close () {
      await store.close()
      for (const connection of made) connection.close()
    }
  }
}

import type { RedisOptions } from 'ioredis'
import { FST_JWT_REVOCATION_BAD_OPTION } from '../errors.ts'
import type { Milliseconds } from '../expiry.ts'
import type { RedisClient } from '../types.ts'
import { MemoryStore } from './memory.ts'
import { RedisStore } from './redis.ts'
import type { Store, StoreContext } from './store.ts'

export interface StoreSettings {
  redis: string | RedisOptions | RedisClient | undefined
  keyPrefix: string
  storeTimeout: Milliseconds
}

export function isRedisClient (value: unknown): value is RedisClient {
  return typeof value === 'object' && value !== null &&
    typeof (value as RedisClient).call === 'function' && typeof (value as RedisClient).pipeline === 'function'
}

/** The store for these settings, and how to close it: a client that was given stays open (P7). */
export async function openStore (settings: StoreSettings, context: StoreContext): Promise<{ store: Store, close: () => void }> {
  const { redis } = settings
  if (redis === undefined) {
    const store = new MemoryStore(context)
    return { store, close: () => store.close() }
  }
  refuseReplicaReads(typeof redis === 'string' ? undefined : isRedisClient(redis) ? (redis as { options?: ReadOptions }).options : redis)
  if (isRedisClient(redis)) {
    const store = new RedisStore(redis, settings, context)
    return { store, close: () => store.close() }
  }
  const client = await connect(redis, settings.storeTimeout)
  // A peer that takes commands and never answers: the operating system notices after many minutes.
  const onStuck = () => {
    if (client.status === 'ready' || client.status === 'connect') client.disconnect(true)
  }
  const store = new RedisStore(client, settings, { ...context, onStuck })
  return {
    store,
    close () {
      store.close()
      client.disconnect()
    }
  }
}

/** After a failover behind one address the old master answers READONLY: leave it, once for many answers. */
function leavesReplica () {
  let left = -Infinity
  return (error: Error) => {
    if (!error.message.startsWith('READONLY') || performance.now() - left < 1000) return false
    left = performance.now()
    return true
  }
}

/** Where a client reads, as far as it says so: `scaleReads` of a cluster's, `role` of one that asks Sentinel. */
interface ReadOptions {
  scaleReads?: unknown
  role?: unknown
}

function refuseReplicaReads ({ scaleReads = 'master', role = 'master' }: ReadOptions = {}) {
  if (scaleReads === 'master' && role === 'master') return
  throw new FST_JWT_REVOCATION_BAD_OPTION(
    'option "redis" must read from masters, because a replica may not know of a revocation yet; give it a client without "scaleReads" and "role"'
  )
}

async function connect (redis: string | RedisOptions, storeTimeout: Milliseconds) {
  const { Redis } = await import('ioredis')
  const defaults = {
    connectionName: 'fastify-jwt-revocation',
    // Nobody waits longer than storeTimeout: what could not be sent by the second connection attempt is dropped.
    maxRetriesPerRequest: 1,
    reconnectOnError: leavesReplica(),
    connectTimeout: Math.max(2 * storeTimeout, 1000),
    // It keeps the process for so long where there is no connection to end.
    disconnectTimeout: 250,
    retryStrategy: (attempt: number) => Math.min(attempt * 50, 1000)
  }
  const client = typeof redis === 'string' ? new Redis(redis, defaults) : new Redis({ ...defaults, ...redis, replyMapping: 'legacy' })
  // Without a listener ioredis prints each failed attempt to connect. The store's health reports the loss, once.
  client.on('error', () => {})
  return client
}

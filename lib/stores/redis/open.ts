import { Redis, type RedisOptions } from 'ioredis'
import { badOption } from '../../errors.ts'
import { systemClock, type Clock, type Milliseconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { databaseOf, type Connection } from './connection.ts'
import { rememberErrors } from './diagnosis.ts'
import { keysUnder } from './keys.ts'
import { Proof } from './proof.ts'

/** What every client of ioredis and iovalkey has, for a second connection. */
interface Duplicable extends RedisClient {
  options?: { redisOptions?: object }
  readonly status: string
  /** Of a cluster: nodes and options. */
  duplicate (...args: unknown[]): Duplicable
  on (event: 'error', listener: (error: Error) => void): void
  on (event: '+node', listener: (node: Duplicable) => void): void
  disconnect (reconnect?: boolean): void
}

interface Leavable {
  readonly status: string
  disconnect (reconnect: boolean): void
}

export interface ConnectionSettings {
  keyPrefix: string
  storeTimeout: Milliseconds
}

/** A connection of our own, for commands that wait, with the proof that it sees what the client sees. */
export function connectionBeside (client: RedisClient, purpose: 'log' | 'minReplicas', { keyPrefix, storeTimeout, clock }: ConnectionSettings & { clock: Clock }): Connection & { close: () => void } {
  const own = ownConnection(client, purpose, storeTimeout)
  return {
    client: own,
    proof: new Proof({ client, own, key: keysUnder(keyPrefix).same, clock }),
    renew: () => leave(own),
    close: () => own.disconnect()
  }
}

/**
 * Leaves a peer that takes commands and never answers for a new connection: the operating system notices after many
 * minutes. A client that is told to while it asks Sentinel ends for good, so one that is connecting goes on.
 */
export function leave (own: Leavable) {
  if (own.status === 'ready' || own.status === 'connect') own.disconnect(true)
}

/** A connection for commands that wait: nobody else's queue behind them. */
function ownConnection (client: RedisClient, purpose: string, storeTimeout: Milliseconds): Duplicable {
  if (typeof (client as Partial<Duplicable>).duplicate !== 'function') {
    throw badOption('mode "replica" and option "minReplicas" need a connection of their own; give option "redis" a URL, ioredis options, or a client with duplicate()')
  }
  const options = {
    ...ownLimits(storeTimeout),
    // Nothing is sent again over the next connection: a WAIT would then count nothing, and be content.
    maxRetriesPerRequest: 0,
    connectionName: `fastify-jwt-revocation:${purpose}`,
    enableAutoPipelining: false,
    // Those that wait do so longer than others may take.
    commandTimeout: undefined,
    socketTimeout: undefined,
    // Replies are arrays, whatever the client's own are.
    protocol: 2,
    replyMapping: 'legacy'
  }
  const alive = { lazyConnect: false, enableOfflineQueue: true }
  const { duplicate, options: given } = client as Duplicable
  const own = client.isCluster
    ? duplicate.call(client, [], { ...alive, clusterRetryStrategy: options.retryStrategy, redisOptions: { ...given?.redisOptions, ...options } })
    : duplicate.call(client, { ...options, ...alive, db: databaseOf(client) })
  rememberErrors(own)
  if (own.isCluster) own.on('+node', rememberErrors)
  else leaveOtherDatabase(own)
  return own
}

/** Where SELECT fails the client would go on in database 0: whatever it was told, other data (P7). */
function leaveOtherDatabase (own: Leavable & { on (event: 'error', listener: (error: Error) => void): void }) {
  own.on('error', (error: Error & { command?: { name?: string } }) => {
    if (error.command?.name === 'select') leave(own)
  })
}

/** After a failover behind one address the old master answers READONLY: leave it, once for many answers. */
function leavesReplica () {
  let left = -Infinity
  return (error: Error) => {
    if (!error.message.startsWith('READONLY') || systemClock.monotonic() - left < 1000) return false
    left = systemClock.monotonic()
    return true
  }
}

/** Where a client reads, as far as it says so: `scaleReads` of a cluster's, `role` of one that asks Sentinel. */
export interface ReadOptions {
  scaleReads?: unknown
  role?: unknown
}

export function refuseReplicaReads ({ scaleReads = 'master', role = 'master' }: ReadOptions = {}) {
  if (scaleReads === 'master' && role === 'master') return
  throw badOption(
    'option "redis" must read from masters, because a replica may not know of a revocation yet; give it a client without "scaleReads" and "role"'
  )
}

/** Of every connection that we make. */
function ownLimits (storeTimeout: Milliseconds) {
  const patience = Math.max(2 * storeTimeout, 1000)
  return {
    // Nobody waits longer than storeTimeout: what could not be sent by the second connection attempt is dropped.
    maxRetriesPerRequest: 1,
    reconnectOnError: leavesReplica(),
    connectTimeout: patience,
    // A Sentinel that takes the question and never answers: the next one is asked.
    sentinelCommandTimeout: patience,
    // It keeps the process for so long where there is no connection to end.
    disconnectTimeout: 250,
    retryStrategy: (attempt: number) => Math.min(attempt * 50, 1000)
  }
}

/** The client of a URL, or of options of ioredis. */
export function connect (redis: string | RedisOptions, storeTimeout: Milliseconds) {
  const defaults = { ...ownLimits(storeTimeout), connectionName: 'fastify-jwt-revocation' }
  const client = clientOf(() => typeof redis === 'string' ? new Redis(redis, defaults) : new Redis({ ...defaults, ...redis, replyMapping: 'legacy' }))
  // Without a listener ioredis prints each failed attempt to connect. The store's health reports the loss, once.
  rememberErrors(client)
  leaveOtherDatabase(client)
  return client
}

/** What no check of ours foresees: a class of the application as Connector, say. */
function clientOf (make: () => Redis): Redis {
  try {
    return make()
  } catch (cause) {
    throw badOption('option "redis" must be what ioredis can make a client of; the cause says why it can not', { cause })
  }
}

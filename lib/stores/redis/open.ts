import { Redis, type RedisOptions } from 'ioredis'
import { badOption } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { leave, leaveOtherDatabase, type Connection, type Duplicable } from './connection.ts'
import { rememberErrors } from './diagnosis.ts'
import { keysUnder } from './keys.ts'
import { Proof } from './proof.ts'
import { commandsOf } from './topology.ts'

export interface ConnectionSettings {
  keyPrefix: string
  storeTimeout: Milliseconds
}

/** Opens our own connection for commands that wait, with the proof that it sees the data of `client`. */
export function connectionBeside (
  client: RedisClient, purpose: 'log' | 'minReplicas',
  { keyPrefix, storeTimeout, clock }: ConnectionSettings & { clock: Clock }
): Connection & { close: () => void } {
  const own = ownConnection(client, purpose, storeTimeout, clock)
  return {
    client: own,
    // Longer than a command of the log may take: whoever finds the connection silent leaves it first.
    proof: new Proof({ client, own, key: keysUnder(keyPrefix).same, clock, timeout: 2 * storeTimeout }),
    renew: () => leave(own),
    close: () => own.disconnect()
  }
}

/** Opens a connection for commands that wait, so that no other command queues behind them. */
function ownConnection (
  client: RedisClient, purpose: string, storeTimeout: Milliseconds, clock: Clock
): Duplicable {
  if (typeof (client as Partial<Duplicable>).duplicate !== 'function') {
    throw badOption(
      'mode "replica" and option "minReplicas" need a connection of their own; ' +
      'give option "redis" a URL, ioredis options, or a client with duplicate()'
    )
  }
  return commandsOf({ client }).duplicate({
    ...ownLimits(storeTimeout, clock),
    // A WAIT that the next connection repeats would count none of this connection's writes, and succeed.
    maxRetriesPerRequest: 0,
    connectionName: `fastify-jwt-revocation:${purpose}`,
    enableAutoPipelining: false,
    // Commands that wait may take longer than the client's limits allow.
    commandTimeout: undefined,
    socketTimeout: undefined,
    // We read replies as arrays; the given client may be set to another form.
    protocol: 2,
    replyMapping: 'legacy'
  }, clock)
}

/** After a failover behind one address the old master answers READONLY: leave it, once for many answers. */
function leavesReplica (clock: Clock) {
  let left = -Infinity
  return (error: Error) => {
    if (!error.message.startsWith('READONLY') || clock.monotonic() - left < 1000) return false
    left = clock.monotonic()
    return true
  }
}

/**
 * Where a client reads: a cluster's client says it in `scaleReads`, a client that asks Sentinel in `role`.
 */
export interface ReadOptions {
  scaleReads?: unknown
  role?: unknown
}

export function refuseReplicaReads ({ scaleReads = 'master', role = 'master' }: ReadOptions = {}) {
  if (scaleReads === 'master' && role === 'master') return
  throw badOption(
    'option "redis" must read from masters, because a replica may not know of a revocation yet; ' +
    'give it a client without "scaleReads" and "role"'
  )
}

/** The options of every connection that we make. */
function ownLimits (storeTimeout: Milliseconds, clock: Clock) {
  const patience = Math.max(2 * storeTimeout, 1000)
  return {
    // No caller waits longer than storeTimeout, so ioredis drops what two connection attempts could not send.
    maxRetriesPerRequest: 1,
    reconnectOnError: leavesReplica(clock),
    connectTimeout: patience,
    // ioredis asks the next Sentinel when one takes the question and never answers.
    sentinelCommandTimeout: patience,
    // ioredis keeps the process alive for this long when it has no connection to end.
    disconnectTimeout: 250,
    retryStrategy: (attempt: number) => Math.min(attempt * 50, 1000)
  }
}

/** The client of a URL, or of options of ioredis. */
export function connect (redis: string | RedisOptions, storeTimeout: Milliseconds, clock: Clock) {
  const defaults = { ...ownLimits(storeTimeout, clock), connectionName: 'fastify-jwt-revocation' }
  const client = clientOf(() => typeof redis === 'string'
    ? new Redis(redis, defaults)
    : new Redis({ ...defaults, ...redis, replyMapping: 'legacy' }))
  // Without a listener ioredis prints each failed attempt to connect. `Health` reports the loss once.
  rememberErrors(client, clock)
  leaveOtherDatabase(client)
  return client
}

/** Rejects what our checks of the option can not foresee, for example a broken class as `Connector`. */
function clientOf (make: () => Redis): Redis {
  try {
    return make()
  } catch (cause) {
    const sentence = 'option "redis" must be what ioredis can make a client of; the cause says why it can not'
    throw badOption(sentence, { cause })
  }
}

import type { FastifyInstance } from 'fastify'
import { inspect } from 'node:util'
import { badOption } from './errors.ts'
import { isRedisClient } from './stores/redis/connection.ts'
import { openClient, readRedis, WANTED, type RedisOption } from './stores/redis/option.ts'

/**
 * Which Redis is meant: option `redis`, or else the client that `@fastify/redis` put at `app.redis`. Gives
 * undefined where there is neither.
 * @throws FST_JWT_REVOCATION_BAD_OPTION
 */
export function whichRedis (app: FastifyInstance, given: unknown): RedisOption | undefined {
  return given === undefined ? redisOf(app) : readOption(given)
}

function readOption (given: unknown): RedisOption {
  const meant = readRedis(given)
  if (meant === undefined) throw badOption(`option "redis" must be ${WANTED}; got ${shown(given)}`)
  return meant
}

/** What a message may show of the value: a URL or client options hold a password. */
function shown (given: unknown): string {
  if (typeof given === 'string') return 'another string'
  return typeof given === 'object' && given !== null ? 'another object' : inspect(given)
}

/**
 * Of several clients we choose none: whoever registered them meant one, and memory in its place would forget.
 */
function redisOf (app: FastifyInstance): RedisOption | undefined {
  if (!app.hasDecorator('redis')) return undefined
  const { redis } = app as unknown as { redis: unknown }
  if (isRedisClient(redis)) return openClient(redis)
  throw badOption('app.redis is no client (was @fastify/redis registered with a namespace?); ' +
    'set option "redis" to the client to use')
}

import Fastify from 'fastify'
import type { RevocationOptions } from '../../lib/index.ts'
import { resolveOptions } from '../../lib/options.ts'
import { whichRedis } from '../../lib/which-redis.ts'

const withoutRedis = Fastify()

/** What options mean to the plugin in an application that has no `@fastify/redis`. */
export function settingsOf (options: RevocationOptions) {
  const settings = resolveOptions(options)
  return { ...settings, redis: whichRedis(withoutRedis, settings.redis) }
}

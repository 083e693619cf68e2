import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import type { AddressInfo } from 'node:net'
import { builtPlugin } from '../support/plugin.ts'
import type { Keys } from '../support/tokens.ts'
import { denialKey, type Build, type Running } from './contender.ts'

export async function buildFastify ({ contender, keys, redisUrl }: Build): Promise<Running> {
  const { kind, cache = false, autoPipelining = false, mode = 'strict' } = contender
  const app = Fastify()
  let handled = 0

  if (kind === 'open') {
    app.get('/me', async () => {
      handled++
      return { sub: 'user-1' }
    })
  } else {
    await app.register(fastifyJwt, {
      ...jwtOptions(keys),
      ...(cache && { verify: { cache: true } }),
      ...(kind === 'trusted' && { trusted: trusted(new Redis(redisUrl, { enableAutoPipelining: autoPipelining })) })
    })
    if (kind === 'ours') {
      await app.register(await builtPlugin(), { redis: redisUrl, mode, authorize: () => true })
    }
    app.get('/me', { onRequest: (request) => request.jwtVerify() }, async (request) => {
      handled++
      return { sub: (request.user as { sub: string }).sub }
    })
  }
  await app.ready()
  return {
    handled: () => handled,
    dispatch: (request, response) => app.routing(request, response),
    listen: () => listen(app),
    ...(kind === 'ours' && { revocation: app.revocation })
  }
}

function jwtOptions (keys: Keys): FastifyJWTOptions {
  if (keys.algorithm === 'HS256') return { secret: keys.public, sign: { expiresIn: '15m' } }
  return { secret: { private: keys.private, public: keys.public }, sign: { algorithm: keys.algorithm, expiresIn: '15m' } }
}

/** Any token without a usable jti is not trusted, and none is while Redis does not answer: then this rejects. */
function trusted (redis: Redis): NonNullable<FastifyJWTOptions['trusted']> {
  return async (_request, token) => {
    const { jti } = token as { jti?: unknown }
    return typeof jti === 'string' && await redis.get(denialKey(jti)) === null
  }
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

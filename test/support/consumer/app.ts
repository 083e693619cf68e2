import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import { createRequire } from 'node:module'
import * as errors from '../../../lib/index.ts'
import plugin, { revocationPlugin, type RevocationOptions } from '../../../lib/index.ts'

// What a user writes. test/package.slow.ts compiles and runs it against the package, in place of lib.

async function cycle (options: RevocationOptions) {
  const app = Fastify({ routerOptions: { maxParamLength: 255 } })
  await app.register(fastifyJwt, { secret: 'a secret of more than 32 characters', sign: { expiresIn: '15m' } })
  await app.register(plugin, options)
  app.get('/me', { onRequest: (request) => request.jwtVerify() }, async (request) => request.user)
  const { token, jti } = await app.revocation.issue({ sub: 'alice', role: 'user' })
  const headers = { authorization: `Bearer ${token}` }
  const statuses: number[] = []
  for (const [method, url] of [['GET', '/me'], ['DELETE', `/v1/jwt/history/${jti}`], ['GET', '/me']] as const) {
    statuses.push((await app.inject({ method, url, headers })).statusCode)
  }
  const { store } = app.revocation.status()
  await app.close()
  return { statuses, store }
}

const required = createRequire(import.meta.url)('fastify-jwt-revocation')
const redis = process.argv[2]!

console.log(JSON.stringify({
  names: Object.keys(errors).sort(),
  sameDefault: plugin === revocationPlugin,
  sameRequired: required.default === plugin && required.revocationPlugin === plugin && required.FST_JWT_REVOKED === errors.FST_JWT_REVOKED,
  memory: await cycle({}),
  redis: await cycle({ redis, keyPrefix: process.argv[3]! })
}))

import express from 'express'
import { expressjwt, type Request } from 'express-jwt'
import { Redis } from 'ioredis'
import { createPublicKey, createSecretKey } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { denialKey, type Build, type Running } from './contender.ts'

export async function buildExpress ({ keys, redisUrl }: Build): Promise<Running> {
  const redis = new Redis(redisUrl)
  // Of a string jsonwebtoken makes a key for every request.
  const secret = keys.algorithm === 'HS256' ? createSecretKey(Buffer.from(keys.public)) : createPublicKey(keys.public)
  const app = express()
  // Fastify sends neither.
  app.disable('x-powered-by')
  app.disable('etag')
  let handled = 0

  const authenticated = expressjwt({
    secret,
    algorithms: [keys.algorithm],
    async isRevoked (_request, token) {
      const jti = typeof token?.payload === 'object' ? token.payload.jti : undefined
      return jti === undefined || await redis.get(denialKey(jti)) !== null
    }
  })
  app.get('/me', authenticated, (request: Request, response) => {
    handled++
    response.json({ sub: request.auth!.sub })
  })
  app.use((error: { status?: number, code?: string }, _request: express.Request, response: express.Response, _next: express.NextFunction) => {
    response.status(error.status ?? 500).json({ code: error.code })
  })
  return {
    handled: () => handled,
    dispatch: (request, response) => app(request as express.Request, response as express.Response),
    async listen () {
      const server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    }
  }
}

import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { IncomingMessage, ServerResponse } from 'node:http'
import { connect, Socket, type AddressInfo } from 'node:net'
import type { RevocationDecorator } from '../../lib/index.ts'
import type { Keys } from '../support/tokens.ts'
import { denialKey, type Build, type Contender } from './contender.ts'

export interface Running {
  /** Requests that reached a route's handler. */
  handled (): number
  /** One request without a connection; gives the status. */
  ask (path: string, token: string): Promise<number>
  listen (): Promise<number>
  revocation: RevocationDecorator | undefined
}

const PATIENCE = 60_000
/** A replica makes its filter once it has read the log, one part a turn of the event loop. */
const SETTLING = 2000
/** The packed one, and no type of it: a checkout need not be built to be checked. */
const PACKAGE: string = 'fastify-jwt-revocation'

export async function build ({ contender: { kind, cache = false, jwt = false, mode = 'strict', refresh = false }, keys, redisUrl }: Build): Promise<Running> {
  const app = Fastify()
  let handled = 0
  const options: FastifyJWTOptions = { ...signing(keys), ...(cache && { verify: { cache: true } }) }

  if (kind === 'trusted') options.trusted = trusted(new Redis(redisUrl))
  if (kind !== 'open' && !jwt) await app.register(fastifyJwt, options)
  if (kind === 'ours') {
    const { revocationPlugin } = await import(PACKAGE) as typeof import('../../lib/index.ts')
    await app.register(revocationPlugin, { redis: redisUrl, mode, authorize: () => true, ...(jwt && { jwt: options }), ...(refresh && { refresh: {} }) })
  }
  if (kind === 'floor') {
    app.addHook('onRequest', (request, _reply, done) => {
      request.user = app.jwt.verify(request.headers.authorization!.slice('Bearer '.length))
      done()
    })
  }

  if (kind === 'bare GET' || kind === 'GET') {
    const isThere = kind === 'GET' ? getOf(new Redis(redisUrl)) : bareGet(redisUrl)
    app.addHook('onRequest', (request, _reply, done) => {
      let claims: { jti: string, sub: string, role: string }
      try {
        request.user = claims = app.jwt.verify(request.headers.authorization!.slice('Bearer '.length))
      } catch (error) {
        return done(Object.assign(error as Error, { statusCode: 401 }))
      }
      isThere(denialKey(claims.jti), (isRevoked) => {
        done(isRevoked ? Object.assign(new Error('revoked'), { statusCode: 401 }) : undefined)
      })
    })
  }

  const verifies = ['verified', 'trusted', 'ours'].includes(kind)
  app.get('/me', verifies ? { onRequest: (request) => request.jwtVerify() } : {}, async (request) => {
    handled++
    return { sub: kind === 'open' ? 'user-1' : (request.user as { sub: string }).sub }
  })
  app.get('/public', async () => {
    handled++
    return { sub: 'user-1' }
  })
  await app.ready()
  return {
    handled: () => handled,
    ask: (path, token) => ask(app, path, token),
    listen: () => listen(app),
    revocation: kind === 'ours' ? app.revocation : undefined
  }
}

/** A replica is measured as it goes on, and it does so a moment after it holds a long log. */
export async function whenSettled (running: Running, contender: Contender) {
  await whenComplete(running, contender)
  if (contender.mode === 'replica' && contender.entries) await new Promise((resolve) => setTimeout(resolve, SETTLING))
}

/** A replica is ready before it holds a long log: until then it asks Redis, and reads. */
export async function whenComplete ({ revocation }: Running, { mode, entries = 0 }: Contender) {
  if (mode !== 'replica') return
  for (const end = performance.now() + PATIENCE; revocation!.status().entries! < entries;) {
    if (performance.now() > end) throw new Error(`a replica holds ${revocation!.status().entries} entries`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Never connected. */
const socket = new Socket()

/**
 * Node's own request and response, from the header to the bytes of the answer. Fastify's `inject()` would parse that answer
 * again, and keep what belongs to a request until the event loop turns: both cost more than all that is compared.
 */
function ask (app: FastifyInstance, path: string, token: string): Promise<number> {
  return new Promise((resolve) => {
    const request = new IncomingMessage(socket)
    request.method = 'GET'
    request.url = path
    request.headers = { host: 'localhost', authorization: `Bearer ${token}` }
    const response = new ServerResponse(request)
    const end = response.end.bind(response) as (...given: unknown[]) => ServerResponse
    response.end = (...given: unknown[]) => {
      end(...given)
      response.emit('finish')
      resolve(response.statusCode)
      return response
    }
    app.routing(request, response)
  })
}

function signing (keys: Keys): FastifyJWTOptions {
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

/** Tells whether Redis has a key. */
function getOf (redis: Redis) {
  return (key: string, done: (isThere: boolean) => void) => {
    redis.get(key, (error, value) => { done(Boolean(error) || value !== null) })
  }
}

/** The same over a socket of its own, which must last. */
function bareGet (redisUrl: string) {
  const { hostname, port } = new URL(redisUrl)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true }).setEncoding('latin1')
  const waiting: Array<(isThere: boolean) => void> = []
  let received = ''
  socket.on('data', (data: string) => {
    received += data
    for (;;) {
      const end = received.indexOf('\r\n')
      const length = Number(received.slice(1, end))
      const whole = end + 2 + (length < 0 ? 0 : length + 2)
      if (end < 0 || received.length < whole) return
      received = received.slice(whole)
      waiting.shift()!(length >= 0)
    }
  })
  return (key: string, done: (isThere: boolean) => void) => {
    waiting.push(done)
    socket.write(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`)
  }
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

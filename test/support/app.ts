import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SignJWT } from 'jose'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'

export const SECRET = 'a secret of the tests, of more than 32 bytes'

/** Time in which Redis answers on a busy machine, in milliseconds. */
export const PATIENCE = 3000

/** Something with tap's teardown. */
interface Scope { teardown: (fn: () => unknown) => void }

export interface BuildOptions {
  fastify?: FastifyServerOptions
  jwt?: Partial<FastifyJWTOptions>
  revocation?: RevocationOptions
  /** What is registered between @fastify/jwt and the plugin. */
  before?: (app: FastifyInstance) => unknown
  /** Routes and whatever else, after the plugin. */
  after?: (app: FastifyInstance) => unknown
}

/** An application with `GET /me` (verifies) and `GET /public` (does not), closed when the test ends. */
export async function buildApp (t: Scope, { fastify = {}, jwt = {}, revocation = {}, before, after }: BuildOptions = {}) {
  const app = Fastify({ routerOptions: { maxParamLength: 255 }, ...fastify })
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' }, ...jwt } as FastifyJWTOptions)
  await before?.(app)
  await app.register(revocationPlugin, revocation.redis === undefined ? revocation : { storeTimeout: PATIENCE, ...revocation })
  app.get('/me', { onRequest: async (request) => { await request.jwtVerify() } }, async (request) => ({ user: request.user }))
  app.get('/public', async (request) => ({ user: request.user ?? null }))
  await after?.(app)
  await app.ready()
  return app
}

/** A key prefix of a test's own, where tests share a Redis. */
export const ownPrefix = () => `test-${randomUUID()}:`

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** A token that nobody here made: signed by `jose` with HS256, with an iat of now unless `claims` say otherwise. */
export function signed (claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  return new SignJWT({ iat: inSeconds(0), ...claims }).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(new TextEncoder().encode(secret))
}

export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

/** The whole answer to a revoked token. */
export const REVOKED = {
  statusCode: 401,
  challenge: 'Bearer error="invalid_token", error_description="The token has been revoked"',
  body: { statusCode: 401, code: 'FST_JWT_REVOKED', error: 'Unauthorized', message: 'Token has been revoked' }
}

/** Status, challenge and body of an answer, to be compared as a whole. */
export function answerOf (response: LightMyRequestResponse) {
  const challenge = response.headers['www-authenticate']
  return { statusCode: response.statusCode, ...(challenge !== undefined && { challenge }), body: response.body === '' ? '' : response.json() }
}

/** A genuine token of its own jti, as another service would sign it. */
export async function genuine (claims: Record<string, unknown> = {}) {
  const jti = randomUUID()
  return { jti, token: await signed({ jti, sub: 'alice', iat: inSeconds(0), exp: inSeconds(900), ...claims }) }
}

export async function revoked (app: FastifyInstance, claims: Record<string, unknown> = {}): Promise<string> {
  const { jti, token } = await genuine(claims)
  await app.revocation.revoke({ jti, ...(typeof claims.iss === 'string' && { iss: claims.iss }) })
  return token
}

/** The port of an application that has been made to listen on one of its own. */
export async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

export interface RawRequest {
  method?: string
  path: string
  /** A flat array sends a header twice. */
  headers?: Record<string, string> | string[]
  body?: string | Buffer
}

/** A request over a real socket, its path as it is: most clients resolve `..` before they send it. */
export async function rawRequest (port: number, { method = 'GET', path, headers = {}, body }: RawRequest) {
  const all = Array.isArray(headers) ? ['Host', '127.0.0.1', ...headers] : headers
  const client = request({ host: '127.0.0.1', port, method, path, headers: all, agent: false })
  // Of a DELETE Node would send the body without saying how long it is.
  if (body !== undefined && !client.hasHeader('transfer-encoding')) client.setHeader('content-length', Buffer.byteLength(body))
  client.end(body)
  const [response] = await once(client, 'response') as [IncomingMessage]
  const received = await text(response)
  const challenge = response.headers['www-authenticate']
  return {
    statusCode: response.statusCode!,
    ...(challenge !== undefined && { challenge }),
    body: received === '' ? '' : JSON.parse(received)
  }
}

/** The time that applications see which are built after this call. It goes on by itself until it is held. */
export function ownClock (t: Scope) {
  const { now } = Date
  let held: number | undefined
  let ahead = 0
  Date.now = () => (held ?? now()) + ahead
  t.teardown(() => { Date.now = now })
  return {
    advance (milliseconds: number) { ahead += milliseconds },
    /** Gives the second at which it stops, as it stands in a revocation. */
    hold (): string {
      held ??= now()
      return new Date(Math.floor(Date.now() / 1000) * 1000).toISOString()
    }
  }
}

import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyPluginAsync, type FastifyPluginCallback, type FastifyRequest } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import plugin, {
  FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_BAD_OPTION, FST_JWT_REVOCATION_FORBIDDEN, FST_JWT_REVOCATION_NOT_FOUND,
  FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED, revocationPlugin, type Authorize, type AuthorizeTarget, type IssuedToken,
  type IssueOptions, type RedisClient, type RevocationDecorator, type RevocationEvents, type RevocationOptions, type RevocationResult, type RevokeResult,
  type RevocationStatus, type TokenClaims, type TokenRecord, type ClaimResult, type SessionResult
} from '../../../lib/index.ts'

// What the types promise. test/package.slow.ts compiles it against the package, in place of lib; nobody runs it.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(_same: Same<A, B>) => {}

export const clients: RedisClient[] = [
  new Redis(), new Cluster([{}]), new Redis5(), new Cluster5([{}]), new Valkey(), new ValkeyCluster([{}])
]

export const options: RevocationOptions[] = [
  {},
  { redis: 'redis://127.0.0.1:6379' },
  { redis: { host: '127.0.0.1', tls: {} } },
  { redis: new Redis() },
  { redis: new Cluster([{}]) },
  { redis: new Redis5() },
  { redis: new Cluster5([{}]) },
  { redis: new Valkey() },
  { redis: new ValkeyCluster([{}]) },
  {
    mode: 'strict',
    enforce: 'verified',
    keyPrefix: 'mine:',
    maxTokenLifetime: '12h',
    tokensWithoutJti: 'accept',
    onStoreFailure: 'accept',
    storeTimeout: 200,
    routes: { security: [{ bearerAuth: [] }], hide: true },
    namespace: ['access', 'refresh']
  },
  { maxTokenLifetime: 3600, routes: { prefix: '/tokens' }, namespace: 'access', jwtVerify: 'verifyAccess' },
  { authorize: () => true },
  { claims: { jti: 'uti', sub: 'oid', sid: 'sid' }, revocableBy: ['tenant'] },
  {
    async authorize (request, target) {
      same<typeof request, FastifyRequest>(true)
      same<typeof target, AuthorizeTarget>(true)
      same<typeof target.action, 'revoke' | 'revokeSubject' | 'revokeSession' | 'revokeBy' | 'read'>(true)
      same<typeof target.jti, string | undefined>(true)
      return request.method === 'DELETE' && target.sub === 'alice'
    }
  }
]

export const wrong: RevocationOptions[] = [
  // @ts-expect-error
  { redis: 6379 },
  // @ts-expect-error
  { redis: { hots: '127.0.0.1' } },
  // @ts-expect-error
  { mode: 'loose' },
  // @ts-expect-error
  { enforce: 'never' },
  // @ts-expect-error
  { onStoreFailure: 'ignore' },
  // @ts-expect-error
  { storeTimeout: '1s' },
  // @ts-expect-error
  { routes: '/tokens' },
  // @ts-expect-error
  { routes: { prefx: '/tokens' } },
  // @ts-expect-error
  { routes: { security: 'bearerAuth' } },
  // @ts-expect-error
  { authorize: 'admin' },
  // @ts-expect-error
  { authorize: () => 'yes' },
  // @ts-expect-error
  { authorise: () => true }
]

export const authorize: Authorize = (request, target) => request.ip === target.sub

export async function use () {
  const app = Fastify()
  await app.register(fastifyJwt, { secret: 'secret' })
  await app.register(plugin)
  await app.register(revocationPlugin, { redis: new Redis5() })
  await app.register(plugin, { mode: 'strict', logLevel: 'warn', logSerializers: { req: () => '' } })
  await app.register(plugin, () => ({ mode: 'replica' }))
  await app.register(plugin, { authorize: (request, target) => request.ip === target.sub })
  const asAsync: FastifyPluginAsync<RevocationOptions> = plugin
  const asCallback: FastifyPluginCallback<RevocationOptions> = plugin
  await app.register(asAsync, {})
  await app.register(asCallback, {})
  await Fastify({ http2: true }).register(plugin, { mode: 'strict' })
  // @ts-expect-error
  await app.register(plugin, { redis: 6379 })
  // @ts-expect-error
  await app.register(plugin, { mode: 'loose' })
  // @ts-expect-error
  await app.register(plugin, { keyprefix: 'a:' })
  // @ts-expect-error
  await app.register(plugin, { mode: 'strict', keyprefix: 'a:' })
  // @ts-expect-error
  await app.register(plugin, { mode: 'strict', authorise: () => true })

  app.get('/login', { config: { revocation: false } }, async () => app.revocation.issue({ sub: 'alice' }))
  // @ts-expect-error
  app.get('/wrong', { config: { revocation: 'off' } }, async () => {})

  same<typeof app.revocation, RevocationDecorator>(true)
  const issueOptions: IssueOptions = { expiresIn: '15m', meta: { device: 'a phone' }, iss: 'https://issuer.example' }
  const issued = await app.revocation.issue({ sub: 'alice' }, issueOptions)
  await app.revocation.issue({ anything: ['goes'], where: { no: 'payload' }, is: 'declared' }, { algorithm: 'HS512', header: { x: 1 } })
  // @ts-expect-error
  await app.revocation.issue('alice')
  // @ts-expect-error
  await app.revocation.issue({ sub: 'alice' }, { expriesIn: '15m' })
  same<typeof issued, IssuedToken>(true)
  same<typeof issued.expiresAt, string | null>(true)
  const claims: TokenClaims = { jti: issued.jti, exp: 1, role: 'admin' }
  same<Awaited<ReturnType<RevocationDecorator['record']>>, TokenRecord>(true)
  await app.revocation.record(claims, { device: 'a phone' })
  const revoked = await app.revocation.revoke({ jti: issued.jti, iss: 'https://issuer.example', exp: 1 })
  same<typeof revoked, RevokeResult>(true)
  same<typeof revoked.first, boolean>(true)
  const revocation: Omit<RevocationResult, 'jti'> = revoked
  same<typeof revoked.jti, string | undefined>(true)
  same<typeof issued.iss, string | undefined>(true)
  same<typeof revoked.status, 'revoked'>(true)
  // @ts-expect-error
  await app.revocation.revoke({ id: issued.id })
  same<Awaited<ReturnType<RevocationDecorator['revokeById']>>, RevokeResult>(true)
  await app.revocation.revokeById(issued.id)
  const isRevoked: boolean = await app.revocation.isRevoked(claims)
  const record: TokenRecord | null = await app.revocation.token(issued.id)
  const status: RevocationStatus = app.revocation.status()
  same<typeof status.store, 'memory' | 'redis'>(true)
  app.revocation
    .on('revoked', (revocation) => 'jti' in revocation ? `${revocation.jti} ${revocation.revokedAt}` : `${revocation.sub} ${revocation.cutoff}`)
    .on('storeLost', (error) => { same<typeof error, unknown>(true) })
    .off('storeBack', () => {})
  // @ts-expect-error
  app.revocation.on('lost', () => {})
  same<keyof RevocationEvents, 'revoked' | 'storeLost' | 'storeBack'>(true)
  app.post<{ Body: { all: boolean } }>('/logout', async (request) => request.body.all ? app.revocation.revokeSubject(request) : app.revocation.revoke(request))
  await app.revocation.revokeSubject(42)
  // @ts-expect-error
  await app.revocation.revokeSubject({ sub: 'alice' })
  await app.revocation.revokeSubject('alice', { until: new Date() })
  // @ts-expect-error
  await app.revocation.revokeSubject('alice', { until: 'forever' })
  same<Awaited<ReturnType<RevocationDecorator['revokeSession']>>, SessionResult>(true)
  same<Awaited<ReturnType<RevocationDecorator['revokeBy']>>, ClaimResult>(true)
  await app.revocation.revokeSession('s1', { iss: '' })
  await app.revocation.revokeBy('tenant', 42, { until: Infinity })
  return { revocation, isRevoked, record, status }
}

// Where an error class has lost its types, `any` would pass for each of these: hence `same`.
export function read (error: unknown) {
  if (error instanceof FST_JWT_REVOKED) {
    same<typeof error.statusCode, 401>(true)
    same<typeof error.code, 'FST_JWT_REVOKED'>(true)
    return error.headers['www-authenticate']
  }
  if (error instanceof FST_JWT_NOT_REVOCABLE) {
    same<typeof error.statusCode, 401>(true)
    same<typeof error.code, 'FST_JWT_NOT_REVOCABLE'>(true)
    return error.headers
  }
  if (error instanceof FST_JWT_REVOCATION_UNAVAILABLE) {
    same<typeof error.statusCode, 503>(true)
    same<typeof error.code, 'FST_JWT_REVOCATION_UNAVAILABLE'>(true)
    return { retryAfter: error.headers['retry-after'], cause: error.cause }
  }
  if (error instanceof FST_JWT_REVOCATION_FORBIDDEN) {
    same<typeof error.statusCode, 403>(true)
    same<typeof error.code, 'FST_JWT_REVOCATION_FORBIDDEN'>(true)
    return error.message
  }
  if (error instanceof FST_JWT_REVOCATION_NOT_FOUND) {
    same<typeof error.statusCode, 404>(true)
    same<typeof error.code, 'FST_JWT_REVOCATION_NOT_FOUND'>(true)
    return error.message
  }
  if (error instanceof FST_JWT_REVOCATION_BAD_OPTION) {
    same<typeof error.statusCode, 500>(true)
    same<typeof error.code, 'FST_JWT_REVOCATION_BAD_OPTION'>(true)
    return error.message
  }
}

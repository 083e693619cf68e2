import cookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { BROKEN } from '../../lib/domain/claims.ts'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, SECRET, signed, type BuildOptions } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

/* revoke(request) and revokeSubject(request): the token is the one that the request presents, and that verifies. */

const server = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: server.url, keyPrefix: ownPrefix() })
}
const OTHER_SECRET = 'another secret of the tests, of more than 32 bytes'
const verifying = { onRequest: async (request: FastifyRequest) => { await request.jwtVerify() } }
const left = { config: { revocation: false } }

/** Log-outs as the README has them, and without a jwtVerify() of their own. */
function logOuts (app: FastifyInstance) {
  app.post('/logout', verifying, async (request) => app.revocation.revoke(request))
  app.post('/logout/everywhere', verifying, async (request) => app.revocation.revokeSubject(request))
  app.post('/unverified', left, async (request) => {
    const revocation = await app.revocation.revoke(request)
    return { ...revocation, user: request.user }
  })
  app.post('/unverified/everywhere', left, async (request) => app.revocation.revokeSubject(request))
}

const build = (scope: { teardown: (fn: () => unknown) => void }, options: BuildOptions = {}) => buildApp(scope, { ...options, after: logOuts })
const post = async (app: FastifyInstance, url: string, headers: Record<string, string>) => answerOf(await app.inject({ method: 'POST', url, headers }))
const me = async (app: FastifyInstance, headers: Record<string, string>) => answerOf(await app.inject({ url: '/me', headers }))

for (const [name, store] of Object.entries(STORES)) {
  const setUps: Record<string, BuildOptions['jwt']> = {
    'nothing else': {},
    'decode.complete': { decode: { complete: true } },
    'verify.complete': { verify: { complete: true } as never },
    formatUser: { formatUser: () => ({ name: 'somebody' }) as never },
    'an issuer': { sign: { expiresIn: '15m', iss: 'https://api.example' } },
    'a decoratorName': { decoratorName: 'principal' },
    'an extractToken': { verify: { extractToken: (request) => request.headers.authorization?.split(' ')[1] } }
  }
  for (const [label, jwt] of Object.entries(setUps)) {
    t.test(`P1 a request logs its token out, and its subject, with ${label}, on ${name}`, async (t) => {
      const app = await build(t, { jwt: jwt!, revocation: store() })
      for (const path of ['/logout', '/unverified']) {
        const { token, jti, id, iss } = await app.revocation.issue({ sub: 'alice' })
        t.match(await post(app, path, bearer(token)), { statusCode: 200, body: { jti, id, iss, sub: 'alice', status: 'revoked', first: true } }, path)
        t.strictSame(await me(app, bearer(token)), REVOKED)
      }
      for (const path of ['/logout/everywhere', '/unverified/everywhere']) {
        const [asking, other] = [await app.revocation.issue({ sub: 'bob' }), await app.revocation.issue({ sub: 'bob' })]
        t.match(await post(app, path, bearer(asking.token)), { statusCode: 200, body: { sub: 'bob', iss: asking.iss, revoked: 2 } }, path)
        for (const { token } of [asking, other]) t.strictSame(await me(app, bearer(token)), REVOKED)
      }
    })
  }

  t.test(`P6 a revoked token revokes itself again and nobody else, on ${name}`, async (t) => {
    const app = await build(t, { revocation: store() })
    const { token } = await app.revocation.issue({ sub: 'alice' })
    const other = await app.revocation.issue({ sub: 'alice' })
    const first = await post(app, '/unverified', bearer(token))
    const again = await post(app, '/unverified', bearer(token))
    t.strictSame({ ...again.body, first: true }, first.body, 'the first revocation')
    t.equal(again.body.first, false)
    t.strictSame(await post(app, '/unverified/everywhere', bearer(token)), REVOKED)
    t.equal((await me(app, bearer(other.token))).statusCode, 200)
    const raced = await app.revocation.issue({ sub: 'alice' })
    const answers = await Promise.all(Array.from({ length: 5 }, () => post(app, '/unverified', bearer(raced.token))))
    t.strictSame(answers.map(({ statusCode, body }) => [statusCode, body.first]).sort(), [[200, false], [200, false], [200, false], [200, false], [200, true]])
  })

  t.test(`a token that asks for the end of its subject ends too where a clock ahead has signed it, on ${name}`, async (t) => {
    const app = await build(t, { revocation: store() })
    const { token, jti } = await genuine({ iat: inSeconds(40) })
    t.match(await post(app, '/logout/everywhere', bearer(token)), { statusCode: 200, body: { sub: 'alice' } })
    t.strictSame(await me(app, bearer(token)), REVOKED)
    t.equal(await app.revocation.isRevoked({ jti, exp: inSeconds(60), iat: inSeconds(0) }), true, 'by its jti')
  })

  t.test(`many requests of one token share one cutoff, on ${name}`, async (t) => {
    const app = await build(t, { revocation: store() })
    const { token } = await genuine({ iat: inSeconds(-1) })
    const answers = await Promise.all(Array.from({ length: 5 }, () => post(app, '/logout/everywhere', bearer(token))))
    const cutoffs = new Set(answers.filter(({ statusCode }) => statusCode === 200).map(({ body }) => body.cutoff))
    t.equal(cutoffs.size, 1)
  })
}

t.test('a request whose token does not verify gets the error of @fastify/jwt, and one that can not be revoked ours', async (t) => {
  const app = await build(t)
  const stock = Fastify()
  t.teardown(() => stock.close())
  await stock.register(fastifyJwt, { secret: SECRET })
  stock.post('/', async (request) => request.jwtVerify())
  const bad = {
    none: {},
    'no bearer': { authorization: 'Basic x' },
    malformed: bearer('x'),
    forged: bearer(await signed({ jti: 'x', sub: 'alice', exp: inSeconds(60) }, OTHER_SECRET)),
    expired: bearer(await signed({ jti: 'x', sub: 'alice', exp: inSeconds(-60) }))
  }
  for (const [label, headers] of Object.entries(bad)) {
    const theirs = await post(stock, '/', headers)
    const plain = ({ statusCode, body: { code } }: typeof theirs) => ({ statusCode, code })
    for (const path of ['/unverified', '/unverified/everywhere']) t.strictSame(plain(await post(app, path, headers)), plain(theirs), `${label} ${path}`)
  }
  const broken = async (claims: object) => bearer(await signed({ exp: inSeconds(60), ...claims }))
  const message = (rule: string) => `Token cannot be revoked and is therefore not accepted: ${rule}`
  const refused = (rule: string) => ({ statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message: message(rule) } })
  for (const path of ['/unverified', '/unverified/everywhere']) t.match(await post(app, path, await broken({ sub: 'alice' })), refused(BROKEN.noJti), path)
  t.match(await post(app, '/logout/everywhere', await broken({ jti: 'x' })), refused('it has no sub to revoke all tokens of, sign it with one'))
  const lenient = await build(t, { revocation: { tokensWithoutJti: 'accept' } })
  t.match(await post(lenient, '/logout', await broken({ sub: 'alice' })), refused('it has no jti to revoke it by, sign it with issue, which adds one'))
  t.match(await post(lenient, '/logout/everywhere', await broken({ sub: 'alice' })), { statusCode: 200, body: { sub: 'alice' } })
})

t.test('the token is the one that the application verified last, wherever that was', async (t) => {
  const app = await buildApp(t, {
    jwt: { cookie: { cookieName: 'token', signed: false } },
    before: (app) => app.register(cookie),
    after (app) {
      app.post('/cookie', async (request) => {
        await request.jwtVerify({ onlyCookie: true })
        return app.revocation.revoke(request)
      })
      app.post('/key', left, async (request) => {
        await request.jwtVerify({ key: OTHER_SECRET } as never)
        // Long enough that nothing is shared.
        await sleep(150)
        return app.revocation.revoke(request)
      })
      app.post('/plain', left, async (request) => app.revocation.revoke(request))
    }
  })
  const [a, b] = [await genuine(), await genuine()]
  const both = { ...bearer(a.token), cookie: `token=${b.token}` }
  t.match(await post(app, '/cookie', both), { statusCode: 200, body: { jti: b.jti } })
  t.equal((await me(app, bearer(a.token))).statusCode, 200)
  t.match(await post(app, '/plain', { ...bearer(a.token), cookie: `token=${b.token}` }), { statusCode: 200, body: { jti: a.jti } })
  const keyed = await signed({ jti: 'keyed', exp: inSeconds(60) }, OTHER_SECRET)
  t.match(await post(app, '/key', bearer(keyed)), { statusCode: 200, body: { jti: 'keyed' } })
})

t.test('of several namespaces it is the one that was verified, else the first that verifies', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  const secrets = { a: SECRET, b: OTHER_SECRET }
  await app.register(fastifyJwt, { secret: secrets.a, namespace: 'a' })
  await app.register(fastifyJwt, { secret: secrets.b, namespace: 'b', cookie: { cookieName: 'b', signed: false } })
  await app.register(revocationPlugin, { namespace: ['a', 'b'] })
  app.post('/b', left, async (request) => {
    await (request as unknown as { bJwtVerify: (options: object) => Promise<unknown> }).bJwtVerify({ onlyCookie: true })
    return app.revocation.revoke(request)
  })
  app.post('/', left, async (request) => app.revocation.revoke(request))
  await app.ready()
  const of = async (namespace: keyof typeof secrets, jti: string) => signed({ jti, exp: inSeconds(60) }, secrets[namespace])
  const both = { ...bearer(await of('a', 'a1')), cookie: `b=${await of('b', 'b1')}` }
  t.match(await post(app, '/b', both), { statusCode: 200, body: { jti: 'b1' } })
  t.match(await post(app, '/', both), { statusCode: 200, body: { jti: 'a1' } })
  t.match(await post(app, '/', bearer(await of('b', 'b2'))), { statusCode: 200, body: { jti: 'b2' } }, 'a header that only the second verifies')
  t.match(await post(app, '/', { cookie: `b=${await of('b', 'b3')}` }), { statusCode: 200, body: { jti: 'b3' } }, 'a cookie that only the second looks for')
  t.match(await post(app, '/', { cookie: `b=${await signed({ jti: 'x', exp: 1 }, secrets.b)}` }), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' } }, 'of what is there')
  t.match(await post(app, '/', {}), { statusCode: 401, body: { code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER' } })
})

t.test('of several namespaces that accepted a token it is the last one, whichever that is', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie)
  await app.register(fastifyJwt, { secret: SECRET, namespace: 'device' })
  await app.register(fastifyJwt, { secret: OTHER_SECRET, namespace: 'user', cookie: { cookieName: 't', signed: false } })
  await app.register(revocationPlugin, { namespace: ['device', 'user'] })
  type Verify = (options?: object) => Promise<unknown>
  const verify = async (request: FastifyRequest, ...namespaces: string[]) => {
    const verifiers = request as unknown as Record<string, Verify>
    for (const namespace of namespaces) await verifiers[`${namespace}JwtVerify`]!(namespace === 'user' ? { onlyCookie: true } : {})
  }
  for (const order of [['device', 'user'], ['user', 'device'], ['device', 'user', 'device']]) {
    app.post(`/${order.join('-')}`, left, async (request) => {
      await verify(request, ...order)
      return app.revocation.revoke(request)
    })
  }
  await app.ready()
  for (const [path, jti] of [['/device-user', 'u'], ['/user-device', 'd'], ['/device-user-device', 'd']] as const) {
    const both = { ...bearer(await signed({ jti: `d${path}`, exp: inSeconds(60) })), cookie: `t=${await signed({ jti: `u${path}`, exp: inSeconds(60) }, OTHER_SECRET)}` }
    t.match(await post(app, path, both), { statusCode: 200, body: { jti: `${jti}${path}` } }, path)
  }
})

t.test('a scope that was registered before the plugin logs out as well', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
  await app.register(async (scope) => {
    scope.post('/early', left, async (request) => (app as FastifyInstance).revocation.revoke(request))
  })
  await app.register(revocationPlugin)
  await app.ready()
  const { token, jti } = await genuine()
  t.match(await post(app, '/early', bearer(token)), { statusCode: 200, body: { jti, status: 'revoked' } })
})

t.test('P10 to log a request out leaves its user', async (t) => {
  const app = await build(t, { before: (app) => app.addHook('onRequest', async (request) => { request.user = 'of a session' as never }) })
  const { token } = await genuine()
  t.match(await post(app, '/unverified', bearer(token)), { statusCode: 200, body: { user: 'of a session' } })
})

t.test('P4 P6 where the store does not answer, a token that may be revoked ends nothing, though it is accepted elsewhere', async (t) => {
  const own = await startRedis(t)
  const app = await build(t, { revocation: { redis: own.url, storeTimeout: 200, onStoreFailure: 'accept' } })
  const { token } = await genuine()
  await own.stop()
  t.equal((await me(app, bearer(token))).statusCode, 200)
  for (const path of ['/logout', '/logout/everywhere']) {
    t.match(await post(app, path, bearer(token)), { statusCode: 503, body: { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' } }, path)
  }
})

t.test('a request of a scope without the plugin, JSON that looks like one, and an iss beside one are refused', async (t) => {
  const app = await buildApp(t, {
    after (app) {
      app.post('/body', left, async (request) => app.revocation.revoke(request.body as never))
      app.post('/iss', async (request) => app.revocation.revokeSubject(request, { iss: 'a' }))
    }
  })
  const stranger = Fastify()
  t.teardown(() => stranger.close())
  stranger.post('/', async (request) => app.revocation.revoke(request))
  const needs = { statusCode: 500, body: { message: 'revoke() needs a jti: a well-formed string of 1 to 255 characters, or a request of a scope that the plugin guards' } }
  const { token } = await genuine()
  t.match(await post(stranger, '/', bearer(token)), needs)
  const payload = { raw: {}, headers: bearer(token), server: {} }
  t.match(answerOf(await app.inject({ method: 'POST', url: '/body', payload })), needs)
  t.match(await post(app, '/iss', bearer(token)), { statusCode: 500, body: { message: 'revokeSubject() takes no iss beside a request: its token says the issuer' } })
})

for (const [name, store] of Object.entries(STORES)) {
  t.test(`of log-outs of a token that a cutoff has ended already one is the first, and is told once, on the store ${name}`, async (t) => {
    const app = await build(t, { revocation: store() })
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    await app.revocation.revokeSubject('alice')
    t.strictSame(await me(app, bearer(token)), REVOKED)
    const told: unknown[] = []
    app.revocation.on('revoked', (revocation) => told.push(revocation))
    const answers = await Promise.all(Array.from({ length: 5 }, () => post(app, '/unverified', bearer(token))))
    for (const { statusCode, body } of answers) t.match([statusCode, body], [200, { jti, status: 'revoked' }])
    t.equal(answers.filter(({ body }) => body.first).length, 1)
    t.match(told, [{ jti, sub: 'alice', status: 'revoked' }])
    t.equal(told.length, 1)
    t.match(await app.revocation.revoke({ jti }), { jti, first: false })
  })
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import { BROKEN } from '../../lib/domain/claims.ts'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, revoked, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

/* What the hook leaves alone, so that a browser with an old cookie gets the page on which it logs in. */

const server = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: server.url, keyPrefix: ownPrefix() })
}
const UNAVAILABLE = { statusCode: 503, body: { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', error: 'Service Unavailable', message: 'Token revocation is unavailable, try again' } }

const notRevocable = (rule: string) => ({
  statusCode: 401,
  challenge: `Bearer error="invalid_token", error_description="The token cannot be revoked: ${rule}"`,
  body: { statusCode: 401, code: 'FST_JWT_NOT_REVOCABLE', error: 'Unauthorized', message: `Token cannot be revoked and is therefore not accepted: ${rule}` }
})

const get = async (app: FastifyInstance, url: string, token: string) => answerOf(await app.inject({ url, headers: bearer(token) }))

for (const [name, store] of Object.entries(STORES)) {
  t.test(`P1 a request that option "skip" leaves out is not looked at, and its jwtVerify() is guarded, on ${name}`, async (t) => {
    const asked: string[] = []
    const app = await buildApp(t, {
      revocation: {
        ...store(),
        skip (request) {
          asked.push(request.url)
          return request.url.startsWith('/assets/') || request.is404
        }
      },
      after (app) {
        app.get('/assets/app.js', async (request) => ({ user: request.user }))
        app.get('/assets/private', async (request) => ({ user: await request.jwtVerify() }))
        app.get('/login', { config: { revocation: false } }, async () => 'login')
      }
    })
    const token = await revoked(app)
    t.strictSame(await get(app, '/assets/app.js', token), { statusCode: 200, body: { user: null } })
    t.equal((await get(app, '/favicon.ico', token)).statusCode, 404)
    t.strictSame(await get(app, '/assets/private', token), REVOKED)
    t.strictSame(await get(app, '/public', token), REVOKED)
    t.strictSame(await get(app, '/v1/jwt/history', token), REVOKED)
    t.equal((await app.inject({ url: '/login', headers: bearer(token) })).statusCode, 200)
    t.strictSame(asked, ['/assets/app.js', '/favicon.ico', '/assets/private', '/public', '/v1/jwt/history'], 'who is left out by the route is not asked about')
  })
}

t.test('nothing but true skips', async (t) => {
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => process.off('unhandledRejection', onUnhandled))
  const answers: Record<string, () => unknown> = {
    'a promise of true': async () => true,
    'a promise that rejects': async () => { throw new Error('of the application') },
    'a thenable': () => ({ then: (resolve: (value: unknown) => void) => resolve(true) }),
    "'true'": () => 'true',
    1: () => 1,
    'an object': () => ({}),
    'new Boolean(true)': () => Object(true),
    null: () => null,
    undefined: () => undefined,
    false: () => false
  }
  for (const [label, skip] of Object.entries(answers)) {
    const app = await buildApp(t, { revocation: { skip: skip as (request: FastifyRequest) => boolean } })
    t.strictSame(await get(app, '/public', await revoked(app)), REVOKED, label)
    t.strictSame(await get(app, '/public', (await genuine()).token), { statusCode: 200, body: { user: null } }, label)
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('what option "skip" throws is the answer, whatever it is', async (t) => {
  const thrown: Array<[error: unknown, statusCode: number]> = [
    [Object.assign(new Error('of the application'), { statusCode: 418 }), 418], [new TypeError('of the application'), 500],
    [undefined, 500], [null, 500], [0, 500], ['', 500], [false, 500]
  ]
  for (const [error, statusCode] of thrown) {
    const app = await buildApp(t, { revocation: { skip () { throw error } } })
    const message = error instanceof Error ? 'of the application' : 'option "skip" threw nothing'
    t.match(await get(app, '/public', await revoked(app)), { statusCode, body: { message } }, String(error))
    t.match(answerOf(await app.inject('/public')), { statusCode, body: { message } }, 'without a token as well')
  }
})

for (const [name, store] of Object.entries(STORES)) {
  t.test(`a token that is not revocable is left to the route's own jwtVerify(), on ${name}`, async (t) => {
    const app = await buildApp(t, {
      revocation: store(),
      before: (app) => app.addHook('onRequest', async (request) => { request.user = 'of a session' as never })
    })
    const good = { jti: 'good', sub: 'alice', iat: inSeconds(0), exp: inSeconds(60) }
    const kinds: Array<[claims: object, rule: string]> = [
      [{ jti: undefined }, BROKEN.noJti], [{ jti: 5 }, BROKEN.jti], [{ exp: undefined }, BROKEN.noExp], [{ iat: undefined }, BROKEN.noIat],
      [{ iss: 5 }, BROKEN.iss], [{ sub: {} }, BROKEN.sub], [{ iat: inSeconds(600), exp: inSeconds(700) }, BROKEN.ahead],
      [{ exp: inSeconds(90 * 24 * 3600) }, BROKEN.tooFar], [{ iat: inSeconds(-90 * 24 * 3600) }, BROKEN.tooLong]
    ]
    for (const [claims, rule] of kinds) {
      const token = await signed({ ...good, ...claims })
      t.strictSame(await get(app, '/public', token), { statusCode: 200, body: { user: 'of a session' } }, rule)
      t.equal((await get(app, '/nowhere', token)).statusCode, 404, rule)
      t.strictSame(await get(app, '/me', token), notRevocable(rule))
      t.strictSame(await get(app, '/v1/jwt/history', token), notRevocable(rule))
    }
  })

  t.test(`P1 what a token that is not revocable has of names is looked up: revoked by one, it is refused everywhere, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    await app.revocation.revoke({ jti: 'gone' })
    await app.revocation.revoke({ jti: 'gone', iss: 'a' })
    await app.revocation.revokeSubject('mallory')
    await app.revocation.revokeSubject('42')
    const times = { iat: inSeconds(0), exp: inSeconds(60) }
    const kinds: Record<string, object> = {
      'its jti, without exp': { jti: 'gone', iat: times.iat },
      'its jti, without iat': { jti: 'gone', exp: times.exp },
      'its jti, without both': { jti: 'gone' },
      'its jti and issuer, without exp': { jti: 'gone', iss: 'a', iat: times.iat },
      'its jti, of a sub that is none': { ...times, jti: 'gone', sub: {} },
      'its jti, from tomorrow': { jti: 'gone', iat: inSeconds(86_400), exp: inSeconds(90_000) },
      'its jti, for years': { jti: 'gone', iat: times.iat, exp: inSeconds(1e9) },
      'its sub, without jti': { ...times, iat: inSeconds(-5), sub: 'mallory' },
      'its sub, with a jti that is none': { ...times, iat: inSeconds(-5), jti: {}, sub: 'mallory' },
      'its sub, without iat': { exp: times.exp, jti: 'x', sub: 'mallory' },
      'its sub, a number': { ...times, iat: inSeconds(-5), sub: 42 }
    }
    for (const [label, claims] of Object.entries(kinds)) {
      // jose would add an iat.
      const token = await signed({ iat: undefined, ...claims })
      for (const url of ['/public', '/me', '/nowhere']) t.strictSame(await get(app, url, token), REVOKED, `${label}, ${url}`)
    }
    const strangers = [{ ...times, jti: 'gone', iss: 5 }, { ...times, jti: ['gone'] }, { jti: 'gone', iss: 'b', iat: times.iat }]
    for (const claims of strangers) t.equal((await get(app, '/public', await signed(claims))).statusCode, 200, 'another name')
  })
}

t.test('P4 where the store is lost, a token that is not revocable is refused as one that can not be checked', async (t) => {
  const own = await startRedis(t)
  const options = { redis: own.url, storeTimeout: 200 }
  const rejecting = await buildApp(t, { revocation: options })
  const accepting = await buildApp(t, { revocation: { ...options, onStoreFailure: 'accept' } })
  await own.stop()
  const named = await signed({ jti: 'x', iat: inSeconds(0) })
  for (const url of ['/public', '/me']) t.strictSame(await get(rejecting, url, named), UNAVAILABLE, url)
  t.equal((await get(accepting, '/public', named)).statusCode, 200)
  t.strictSame(await get(accepting, '/me', named), notRevocable(BROKEN.noExp), 'onStoreFailure is about tokens that could be revoked')
  const nameless = await signed({ iat: inSeconds(0), exp: inSeconds(60) })
  t.equal((await get(rejecting, '/public', nameless)).statusCode, 200, 'there is nothing to ask about')
  t.strictSame(await get(rejecting, '/me', nameless), notRevocable(BROKEN.noJti))
})

t.test("P1 config.revocation puts a route into the hook where enforce is 'verified'", async (t) => {
  const app = await buildApp(t, {
    revocation: { enforce: 'verified' },
    before (app) { app.get('/early', { config: { revocation: true } }, async () => 'early') },
    after (app) {
      app.get('/in', { config: { revocation: true } }, async () => ({}))
      app.get('/out', { config: { revocation: false } }, async () => ({}))
    }
  })
  const token = await revoked(app)
  for (const url of ['/in', '/early']) t.strictSame(await get(app, url, token), REVOKED, url)
  for (const url of ['/out', '/public']) t.equal((await get(app, url, token)).statusCode, 200, url)
  t.strictSame(await get(app, '/me', token), REVOKED)
  t.equal((await get(app, '/in', (await genuine()).token)).statusCode, 200)
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

import { setImmediate as turn } from 'node:timers/promises'
import cookie from '@fastify/cookie'
import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, genuine, inSeconds, ownPrefix, PATIENCE, REVOKED, SECRET, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

/*
 * Goal: with option `jwt` an application answers as with @fastify/jwt alone, whatever shape its options have and whatever
 * its functions do. Method: both are asked the same, in the same order. short-way.test.ts asks more of plain options.
 */

const server = await startRedis(t)
const strict = () => ({ redis: server.url, keyPrefix: ownPrefix(), storeTimeout: PATIENCE })

type Given = Record<string, unknown>

/** What a call gets before its callback. */
const BEFORE_CALLBACK = [[], [{}], [undefined], [null]]

/** What a callback gets, and whether the call returns a promise, and one that settles. */
async function calledBack (request: FastifyRequest, before: unknown[]) {
  let isSettled = false
  let returned: unknown
  const args = await new Promise<unknown[]>((resolve) => {
    returned = (request.jwtVerify as (...args: unknown[]) => unknown)(...before, (...args: unknown[]) => resolve(args))
  })
  const settled = () => { isSettled = true }
  if (returned instanceof Promise) returned.then(settled, settled)
  await turn()
  const [error, user] = args as [Error & { code?: string } | null, unknown]
  return { count: args.length, error: error && { code: error.code, message: error.message }, user, isPromise: returned instanceof Promise, isSettled }
}

function routes (app: FastifyInstance) {
  app.get('/me', async (request) => ({ result: await request.jwtVerify(), user: request.user }))
  app.get('/options', async (request) => ({ result: await request.jwtVerify({}), user: request.user }))
  app.get('/own', { config: { revocation: false } }, async (request) => ({ result: await request.jwtVerify({}), user: request.user }))
  app.get<{ Params: { which: number } }>('/callback/:which', async (request) => calledBack(request, BEFORE_CALLBACK[request.params.which]!))
}

/** An application with @fastify/jwt alone, and one with option `jwt`. `given` makes the options of each. */
async function both (
  t: Test, given: () => object, revocation: RevocationOptions = {}, before: (app: FastifyInstance) => unknown = () => {}
): Promise<[FastifyInstance, FastifyInstance]> {
  const [alone, ours] = [Fastify(), Fastify()]
  for (const app of [alone, ours]) await before(app)
  t.teardown(() => Promise.all([alone.close(), ours.close()]))
  await alone.register(fastifyJwt, given() as FastifyJWTOptions)
  await ours.register(revocationPlugin, { ...revocation, jwt: given() as FastifyJWTOptions })
  for (const app of [alone, ours]) {
    routes(app)
    await app.ready()
  }
  return [alone, ours]
}

const ask = async (app: FastifyInstance, token: string, url = '/me') => answerOf(await app.inject({ url, headers: bearer(token) }))

const hidden = (value: string, name: string): object => Object.defineProperty({}, name, { value })

class WithTrusted { secret = SECRET; trusted () { return false } }
class WithFormatUser { secret = SECRET; formatUser ({ sub }: { sub: string }) { return { name: sub } } }
class WithVerify { secret = SECRET; get verify () { return { allowedSub: 'bob' } } }
class AnswersOnce {
  asked = 0
  secret = SECRET
  get trusted () { return ++this.asked % 2 === 1 ? undefined : () => false }
  get verify () { return this.asked % 2 === 1 ? { allowedSub: 'bob' } : {} }
}
class Matchers { get allowedSub () { return 'bob' } }

const SHAPES: Record<string, () => object> = {
  'a method "trusted"': () => new WithTrusted(),
  'a method "formatUser"': () => new WithFormatUser(),
  'a getter "verify"': () => new WithVerify(),
  'getters that answer otherwise each time': () => new AnswersOnce(),
  'an inherited "trusted"': () => Object.assign(Object.create({ trusted: () => false }), { secret: SECRET }),
  'an inherited secret': () => Object.create({ secret: SECRET }),
  'a secret that is not enumerable': () => hidden(SECRET, 'secret'),
  'inherited messages, which do not count': () => Object.assign(Object.create({ messages: { authorizationTokenExpiredMessage: 'no' } }), { secret: SECRET }),
  'matchers that are inherited, which do not count': () => ({ secret: SECRET, verify: new Matchers() }),
  'decode that is inherited': () => ({ secret: SECRET, decode: Object.create({ checkTyp: 'at+jwt' }) }),
  'decode that is not enumerable': () => ({ secret: SECRET, decode: hidden('at+jwt', 'checkTyp') }),
  'an empty decode': () => ({ secret: SECRET, decode: {} }),
  'verify.decode': () => ({ secret: SECRET, verify: { decode: { checkTyp: 'at+jwt' } } }),
  'verify and sign of null': () => ({ secret: SECRET, verify: null, sign: null })
}

for (const [name, given] of Object.entries(SHAPES)) {
  t.test(`options of any shape mean what they mean to @fastify/jwt: ${name}`, async (t) => {
    const [alone, ours] = await both(t, given)
    const tokens = [
      (await genuine()).token,
      (await genuine({ sub: 'bob' })).token,
      await signed({ jti: 'a', iat: inSeconds(-900), exp: inSeconds(-300) })
    ]
    for (const token of tokens) {
      for (const url of ['/me', '/options', '/own']) {
        t.strictSame(await ask(ours, token, url), await ask(alone, token, url), url)
      }
    }
  })
}

t.test('options that @fastify/jwt reads in two ways, for the token and for the rest, are refused', async (t) => {
  await t.rejects(both(t, () => ({ secret: SECRET, verify: { verify: { allowedSub: 'alice' } } })), {
    code: 'FST_JWT_REVOCATION_BAD_OPTION', message: /"jwtVerify" is no verify decorator of @fastify\/jwt/
  })
})

t.test('@fastify/jwt with options of null can be registered before the plugin', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: SECRET, sign: null, verify: null } as unknown as FastifyJWTOptions)
  await app.register(revocationPlugin, {})
  routes(app)
  const { token, jti } = await genuine()
  t.match(await ask(app, token), { statusCode: 200, body: { user: { jti } } })
  await app.revocation.revoke({ jti })
  t.strictSame(await ask(app, token), REVOKED)
})

t.test('a callback gets the arguments that @fastify/jwt gives it, and the caller what that returns', async (t) => {
  const [alone, ours] = await both(t, () => ({ secret: SECRET }))
  const tokens = [(await genuine()).token, await signed({ jti: 'a', exp: inSeconds(60) }, 'a secret of somebody else, also of 32 bytes'), 'a.b.c', '']
  for (const token of tokens) {
    for (const which of BEFORE_CALLBACK.keys()) {
      t.strictSame(await ask(ours, token, `/callback/${which}`), await ask(alone, token, `/callback/${which}`), `${token}, after ${JSON.stringify(BEFORE_CALLBACK[which])}`)
    }
  }
  t.match(await ask(ours, tokens[0]!, '/callback/0'), { body: { count: 2, error: null, user: { sub: 'alice' }, isPromise: true, isSettled: false } })
})

t.test('an empty token in a signed cookie is what it is to @fastify/jwt', async (t) => {
  const [alone, ours] = await both(t, () => ({ secret: SECRET, cookie: { cookieName: 'token', signed: true } }), {}, (app) => app.register(cookie, { secret: 'of the cookies' }))
  for (const url of ['/me', '/options', '/own']) {
    const get = async (app: FastifyInstance) => answerOf(await app.inject({ url, headers: { cookie: `token=${encodeURIComponent(app.signCookie(''))}` } }))
    t.strictSame(await get(ours), await get(alone), url)
    t.match(await get(ours), { statusCode: 500, body: { message: 'missing token' } })
  }
})

t.test('a call with options is verified without the cache', async (t) => {
  const allowed = new Set<string>()
  const allowedSub = { test: (sub: string) => allowed.has(sub) }
  const [alone, ours] = await both(t, () => ({ secret: SECRET, verify: { cache: true, errorCacheTTL: 60_000, allowedSub } }))
  const { token, jti } = await genuine()
  for (const app of [alone, ours]) t.match(await ask(app, token), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' } })
  allowed.add('alice')
  for (const url of ['/me', '/options', '/own']) {
    const answer = await ask(ours, token, url)
    t.equal(answer.statusCode, url === '/me' ? 401 : 200, url)
    t.strictSame(answer, await ask(alone, token, url), url)
  }
  await ours.revocation.revoke({ jti })
  for (const url of ['/options', '/own']) t.strictSame(await ask(ours, token, url), REVOKED, url)
})

t.test('what a formatUser throws for one token is not said of another', async (t) => {
  class NoSuchUser extends Error {
    statusCode = 404
    constructor () {
      super('no such user')
    }
  }
  const allowed = new Set<string>()
  const [alone, ours] = await both(t, () => ({
    secret: SECRET,
    formatUser () { throw new NoSuchUser() },
    verify: {
      cache: true,
      errorCacheTTL: 60_000,
      allowedSub: { test: (sub: string) => allowed.has(sub) },
      extractToken: ({ headers }: FastifyRequest) => headers.authorization!.slice('Bearer '.length)
    }
  }))
  const { token } = await genuine({ sub: 'ghost' })
  await ours.inject({ url: '/no-such-route', headers: bearer(token) })
  allowed.add('ghost')
  t.match(await ask(ours, token), { statusCode: 404, body: { message: 'no such user' } })
  const { token: other } = await genuine({ sub: 'mallory' })
  t.match(await ask(ours, other), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' } })
  t.strictSame(await ask(ours, other), await ask(alone, other))
})

const THROWN: Record<string, Given> = {
  'an error': {},
  'an error with a status': { statusCode: 403, code: 'NO_SUCH_USER' },
  'what fast-jwt calls expired': { code: 'FAST_JWT_EXPIRED' },
  'what fast-jwt calls forged': { code: 'FAST_JWT_INVALID_SIGNATURE' },
  'what fast-jwt calls unsigned': { code: 'FAST_JWT_MISSING_SIGNATURE' },
  'what fast-jwt calls not yet valid': { code: 'FAST_JWT_INACTIVE' }
}
for (const [name, properties] of Object.entries(THROWN)) {
  t.test(`a formatUser that throws is called once, and answered as alone: ${name}`, async (t) => {
    let called = 0
    const formatUser = (user: unknown) => {
      if (called++ % 2 === 0) throw Object.assign(new Error('of formatUser'), properties)
      return user
    }
    const [alone, ours] = await both(t, () => ({ secret: SECRET, formatUser }))
    const { token, jti } = await genuine()
    for (let i = 0; i < 4; i++) {
      called = i
      const wanted = await ask(alone, token)
      called = i
      t.strictSame(await ask(ours, token), wanted)
      t.equal(called, i + 1)
    }
    await ours.revocation.revoke({ jti })
    t.strictSame(await ask(ours, token), REVOKED)
    t.equal(called, 4, 'it is not called for a revoked token')
  })
}

for (const way of ['with option jwt', 'with @fastify/jwt before it']) {
  t.test(`an async formatUser that rejects ends no process, ${way}`, async (t) => {
    let called = 0
    const jwt = { secret: SECRET, sign: { expiresIn: '15m' }, formatUser: (async () => { called++; throw new Error('no such user') }) as never }
    const app = Fastify()
    t.teardown(() => app.close())
    if (way === 'with option jwt') {
      await app.register(revocationPlugin, { ...strict(), jwt })
    } else {
      await app.register(fastifyJwt, jwt)
      await app.register(revocationPlugin, strict())
    }
    routes(app)
    app.get('/revoke', { config: { revocation: false } }, async (request) => app.revocation.revoke(request))
    const { token } = await genuine()
    for (const url of ['/me', '/options', '/own', '/v1/jwt/history']) {
      t.match(await ask(app, token, url), { statusCode: 500, body: { message: 'no such user' } }, url)
    }
    t.equal((await ask(app, token, '/revoke')).statusCode, 200)
    called = 0
    for (const url of ['/me', '/options', '/own', '/v1/jwt/history']) t.strictSame(await ask(app, token, url), REVOKED, url)
    if (way === 'with option jwt') t.equal(called, 1, 'only a call with options has it called by @fastify/jwt')
  })
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

import cookie, { type FastifyCookieOptions } from '@fastify/cookie'
import type { FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { answerOf, buildApp, genuine, inSeconds, REVOKED, SECRET, signed, type BuildOptions } from '../support/app.ts'

/* The hook sees what is in a cookie before @fastify/cookie has parsed it, and the application sees what it would see. */

const COOKIE_SECRET = 'a secret of cookies, of more than 32 bytes'
const plain = { cookieName: 'token', signed: false }
const HOOKS: Array<NonNullable<FastifyCookieOptions['hook']>> = ['onRequest', 'preParsing', 'preValidation', 'preHandler', false]

interface SetUp {
  jwt?: Partial<FastifyJWTOptions>
  options: FastifyCookieOptions
  isLate?: boolean
  /** What a browser sends for a token. */
  value?: (app: FastifyInstance, token: string) => string
}

async function start (scope: { teardown: (fn: () => unknown) => void }, { jwt = { cookie: plain }, options, isLate }: SetUp) {
  const seen: unknown[] = []
  const register = (app: FastifyInstance) => app.register(cookie, options)
  const build: BuildOptions = {
    jwt,
    async before (app) {
      if (!isLate) await register(app)
    },
    async after (app) {
      app.addHook('onRequest', async (request) => { seen.push(request.cookies === null ? null : { ...request.cookies }) })
      if (isLate) await register(app)
      app.get('/late', { preHandler: async (request) => { await request.jwtVerify() } }, async (request) => ({ cookies: request.cookies, user: request.user }))
    }
  }
  return { app: await buildApp(scope, build), seen }
}

for (const hook of HOOKS) {
  for (const isLate of [false, true]) {
    const setUps: Record<string, SetUp> = {
      'a plain cookie': { options: { hook } },
      'a signed cookie': {
        jwt: { cookie: { cookieName: 'token', signed: true } },
        options: { hook, secret: COOKIE_SECRET },
        value: (app, token) => app.signCookie(token)
      },
      'a decoder of its own': { options: { hook, parseOptions: { decode: (value: string) => decodeURIComponent(value).replace('mine:', '') } as object }, value: (_app, token) => `mine:${token}` },
      'an extractToken': { jwt: { verify: { extractToken: (request) => request.cookies.token } }, options: { hook } }
    }
    for (const [label, setUp] of Object.entries(setUps)) {
      t.test(`P1 ${label} that @fastify/cookie parses ${hook === false ? 'never' : `in ${hook}`}${isLate ? ', registered late,' : ''} is seen by the hook`, async (t) => {
        const { app, seen } = await start(t, { ...setUp, isLate })
        const value = setUp.value ?? ((_app: FastifyInstance, token: string) => token)
        const get = async (url: string, token: string) => answerOf(await app.inject({ url, headers: { cookie: `other=1; token=${encodeURIComponent(value(app, token))}` } }))
        const { jti, token } = await genuine()
        t.equal((await get('/public', token)).statusCode, 200)
        const before = await get('/late', token)
        if (hook !== false) t.match(before, { statusCode: 200, body: { cookies: { other: '1' }, user: { jti } } })
        else t.ok(before.statusCode >= 400, 'what @fastify/jwt does not see, it refuses')
        t.equal((await app.inject({ url: '/public', headers: { cookie: 'other=token' } })).statusCode, 200)
        if (hook !== 'onRequest') t.strictSame([...new Set(seen)], [null], 'a later hook sees cookies that are not parsed')

        await app.revocation.revoke({ jti })
        for (const url of ['/public', '/nowhere', '/late']) t.strictSame(await get(url, token), REVOKED, url)
        t.equal((await get('/public', await signed({ jti, exp: inSeconds(60) }, `${SECRET} of somebody else`))).statusCode, 200, 'forged')
      })
    }
  }
}

t.test('a signed cookie that was tampered with is no token, and one that the application made itself counts as it is', async (t) => {
  const { app } = await start(t, { jwt: { cookie: { cookieName: 'token', signed: true } }, options: { hook: 'preHandler', secret: COOKIE_SECRET } })
  const { jti, token } = await genuine()
  await app.revocation.revoke({ jti })
  t.equal((await app.inject({ url: '/public', headers: { cookie: `token=${token}.x` } })).statusCode, 200)

  const own = await buildApp(t, {
    jwt: { cookie: plain },
    async before (app) {
      await app.register(cookie, { hook: 'preHandler' })
      app.addHook('onRequest', async (request) => { request.cookies = { token: request.headers['x-token'] as string } })
    }
  })
  await own.revocation.revoke({ jti })
  const other = (await genuine()).token
  t.strictSame(answerOf(await own.inject({ url: '/public', headers: { 'x-token': token, cookie: `token=${other}` } })), REVOKED)
  t.equal((await own.inject({ url: '/public', headers: { 'x-token': other, cookie: `token=${token}` } })).statusCode, 200)
})

t.test('a request is logged out by a cookie that is not parsed', async (t) => {
  const app = await buildApp(t, {
    jwt: { cookie: plain },
    before: (app) => app.register(cookie, { hook: false }),
    after (app) { app.post('/logout', { config: { revocation: false } }, async (request) => app.revocation.revoke(request)) }
  })
  const { jti, token } = await genuine()
  t.match(answerOf(await app.inject({ method: 'POST', url: '/logout', headers: { cookie: `token=${token}` } })), { statusCode: 200, body: { jti, first: true } })
  t.strictSame(answerOf(await app.inject({ url: '/public', headers: { cookie: `token=${token}` } })), REVOKED)
})

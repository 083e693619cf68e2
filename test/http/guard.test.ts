import { advanceMonotonic, holdMonotonic } from '../support/monotonic.ts'
import cookie from '@fastify/cookie'
import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest, type InjectOptions } from 'fastify'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { BROKEN } from '../../lib/domain/claims.ts'
import { revocationPlugin } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, type BuildOptions, genuine, inSeconds, listen, ownPrefix, REVOKED, revoked, SECRET, signed } from '../support/app.ts'
import { eventually, startRedis } from '../support/redis.ts'

const redis = await startRedis(t)
const STORES = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}

const OTHER_SECRET = 'another secret of the tests, of more than 32 bytes'

type Carry = (app: FastifyInstance, token: string) => NonNullable<InjectOptions['headers']>

/** The ways in which a request carries a token. */
const CARRIERS: Record<string, BuildOptions & { carry: Carry }> = {
  'the Authorization header': { carry: (_app, token) => bearer(token) },
  'a cookie': {
    jwt: { cookie: { cookieName: 'token', signed: false } },
    before: (app) => app.register(cookie),
    carry: (_app, token) => ({ cookie: `token=${token}` })
  },
  'a signed cookie': {
    jwt: { cookie: { cookieName: 'token', signed: true } },
    before: (app) => app.register(cookie, { secret: 'of the cookies' }),
    carry: (app, token) => ({ cookie: `token=${encodeURIComponent(app.signCookie(token))}` })
  },
  extractToken: {
    jwt: { verify: { extractToken: (request) => request.headers['x-token'] as string | undefined } },
    carry: (_app, token) => ({ 'x-token': token })
  }
}

type AnyVerify = (...args: unknown[]) => unknown
const verifyOf = (request: FastifyRequest, name = 'jwtVerify') =>
  (request as unknown as Record<string, AnyVerify>)[name]!.bind(request)

/** The two styles in which a verify decorator is called; without options its callback may come first. */
const STYLES: Record<string, (request: FastifyRequest, options?: unknown) => unknown> = {
  awaited: (request, ...options) => verifyOf(request)(...options),
  'called back': (request, ...options) => new Promise((resolve, reject) => {
    verifyOf(request)(...options, (error: unknown, user: unknown) => error ? reject(error) : resolve(user))
  })
}

/** `request.user` has the type that an application gives it. */
const jtiOf = (user: unknown) => (user as { jti: string }).jti

/** What came of a verification, and the user that the request has afterwards. */
async function outcome (request: FastifyRequest, verify: () => unknown = () => request.jwtVerify()) {
  try {
    const result = await verify()
    return { result, user: request.user }
  } catch (error) {
    const { code, message, statusCode, headers } = error as Error & { code?: string, statusCode?: number, headers?: unknown }
    return { code, message, statusCode, headers, user: request.user }
  }
}

const REFUSED = {
  code: REVOKED.body.code,
  message: REVOKED.body.message,
  statusCode: 401,
  headers: { 'www-authenticate': REVOKED.challenge },
  user: null
}

/** An application whose `GET /probe` answers what `probe` gives, and which the hook does not look at. */
async function buildProbe (t: Test, probe: (request: FastifyRequest) => unknown, { after, ...options }: BuildOptions = {}) {
  const app = await buildApp(t, {
    ...options,
    after: async (app) => {
      app.get('/probe', { config: { revocation: false } }, async (request) => probe(request))
      await after?.(app)
    }
  })
  const ask = async (headers: InjectOptions['headers'] = {}) => (await app.inject({ url: '/probe', headers })).json()
  return { app, ask }
}

for (const [name, store] of Object.entries(STORES)) {
  for (const [carrier, { carry, ...options }] of Object.entries(CARRIERS)) {
    t.test(`P1 a revoked token in ${carrier} is refused, on the store ${name}`, async (t) => {
      const { app, ask } = await buildProbe(t, (request) => outcome(request), { ...options, revocation: store() })
      const good = await genuine()
      const headers = carry(app, good.token)

      t.match((await app.inject({ url: '/me', headers })).json(), { user: { jti: good.jti, sub: 'alice' } })
      t.equal((await app.inject({ url: '/public', headers })).statusCode, 200)
      t.match(await ask(headers), { result: { jti: good.jti }, user: { jti: good.jti } })

      await app.revocation.revoke({ jti: good.jti })
      for (const url of ['/me', '/public']) t.strictSame(answerOf(await app.inject({ url, headers })), REVOKED, url)
      t.strictSame(await ask(headers), REFUSED, 'by its own jwtVerify(), where the hook is skipped')
      t.equal((await app.inject('/public')).statusCode, 200, 'nobody without a token is refused')
      t.equal((await app.inject({ url: '/me', headers: carry(app, (await genuine()).token) })).statusCode, 200, 'nor another token')
    })
  }
}

t.test("P1 'verified' leaves public routes alone and refuses where a route verifies", async (t) => {
  const app = await buildApp(t, { revocation: { enforce: 'verified' } })
  const headers = bearer(await revoked(app))
  t.strictSame(answerOf(await app.inject({ url: '/public', headers })), { statusCode: 200, body: { user: null } })
  t.strictSame(answerOf(await app.inject({ url: '/nowhere', headers })).statusCode, 404)
  t.strictSame(answerOf(await app.inject({ url: '/me', headers })), REVOKED)
  t.strictSame(answerOf(await app.inject({ method: 'DELETE', url: '/v1/jwt/history/x', headers })), REVOKED)
})

/** Options that say no more than where the token is, and options that change how it is verified. */
const VERIFY_OPTIONS: Array<[label: string, options: unknown, resolvesToAll?: true]> = [
  ['undefined', undefined],
  ['null', null],
  ['{}', {}],
  ['{ verify: {} }', { verify: {} }],
  ['{ verify: undefined }', { verify: undefined }],
  ['{ decode: {} }', { decode: {} }],
  ['{ onlyCookie: true }', { onlyCookie: true }],
  ['{ onlyCookie: undefined }', { onlyCookie: undefined }],
  ['{ verify: { onlyCookie: true } }', { verify: { onlyCookie: true } }],
  ['{ extractToken }', { extractToken: (request: FastifyRequest) => request.cookies.token }],
  ['{ verify: { extractToken } }', { verify: { extractToken: (request: FastifyRequest) => request.cookies.token } }],
  ['{ decode: { complete: true } }', { decode: { complete: true } }],
  ['{ decode: { complete: true }, verify: {} }', { decode: { complete: true }, verify: {} }],
  ['{ decode, verify: { complete: true } }', { decode: { complete: true }, verify: { complete: true } }, true],
  ['{ complete: true }', { complete: true }, true],
  ['{ verify: { complete: true } }', { verify: { complete: true } }, true],
  ['{ maxAge: 3600 }', { maxAge: 3600 }],
  ["{ verify: { maxAge: '1h' } }", { verify: { maxAge: '1h' } }],
  ['{ ignoreExpiration: true }', { ignoreExpiration: true }],
  ['{ allowedSub }', { allowedSub: ['alice'] }],
  ['{ cache: true }', { cache: true }],
  ['{ key }', { key: SECRET }],
  ['{ key: async }', { key: async () => SECRET }],
  ['{ sign: {} }', { sign: {} }],
  ['true', true],
  ['0', 0],
  ["''", '']
]

for (const [style, verify] of Object.entries(STYLES)) {
  t.test(`P1 options don't let a revoked token pass, ${style}`, async (t) => {
    const { app, ask } = await buildProbe(t, async (request) => {
      const outcomes = []
      for (const [, options] of VERIFY_OPTIONS) outcomes.push(await outcome(request, () => verify(request, options)))
      outcomes.push(await outcome(request, () => verify(request)))
      return outcomes
    }, { jwt: { cookie: { cookieName: 'token', signed: false } }, before: (app) => app.register(cookie) })
    const { jti, token } = await genuine()
    const both = { ...bearer(token), cookie: `token=${token}` }
    const labels = [...VERIFY_OPTIONS, ['none', undefined, undefined] as const]

    const accepted = await ask(both)
    t.equal(accepted.length, labels.length)
    for (const [i, [label, , complete]] of labels.entries()) {
      t.match(accepted[i], complete ? { result: { header: {}, payload: { jti } }, user: { payload: { jti } } } : { result: { jti }, user: { jti } }, label)
    }
    await app.revocation.revoke({ jti })
    const refused = await ask(both)
    for (const [i, [label]] of labels.entries()) t.strictSame(refused[i], REFUSED, label)
  })
}

t.test("P1 whatever is asked for, the answer is @fastify/jwt's own, but for a revoked token", async (t) => {
  const MALFORMED: unknown[] = [
    { verify: {}, onlyCookie: true },
    { decode: {}, maxAge: 1 },
    { verify: {}, sign: {}, extra: 1 },
    { maxAge: 'nonsense' },
    { verify: { maxAge: 'nonsense' } },
    { maxAge: NaN },
    { verify: { maxAge: {} } },
    { complete: true, maxAge: '' },
    { algorithms: ['none'] },
    { algorithms: ['RS256'] },
    { verify: { algorithms: ['nonsense'] } },
    { clockTolerance: -1 },
    { verify: 'nonsense' },
    { allowedSub: 'bob' },
    { verify: { allowedIss: ['other'] } },
    { requiredClaims: ['tenant'] },
    { checkTyp: 'at+jwt' },
    { key: OTHER_SECRET },
    { verify: { key: OTHER_SECRET } },
    { onlyCookie: true }
  ]
  // An expired token that is accepted nevertheless can't be revoked: P5.
  const all = [...VERIFY_OPTIONS.map(([, options]) => options), ...MALFORMED].filter((options) => !(options as { ignoreExpiration?: true } | null)?.ignoreExpiration)
  const probe = async (request: FastifyRequest) => {
    const outcomes = []
    for (const options of all) {
      for (const verify of Object.values(STYLES)) {
        request.user = null as never
        outcomes.push(await outcome(request, () => verify(request, options)))
      }
    }
    return outcomes
  }
  const jwt = { secret: SECRET, cookie: { cookieName: 'token', signed: false } }
  const { ask } = await buildProbe(t, probe, { jwt, before: (app) => app.register(cookie) })

  const stock = Fastify()
  t.teardown(() => stock.close())
  await stock.register(fastifyJwt, jwt)
  await stock.register(cookie)
  stock.get('/probe', async (request) => probe(request))

  const { token } = await genuine()
  const expired = await signed({ jti: 'expired', iat: 1, exp: 2 })
  const forged = await signed({ jti: 'forged', exp: inSeconds(60) }, OTHER_SECRET)
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${token.split('.')[1]}.`
  const carried: Record<string, InjectOptions['headers']> = {
    'no token': {},
    'a good token': bearer(token),
    'a good token in both places': { ...bearer(token), cookie: `token=${token}` },
    'a good token in the cookie': { cookie: `token=${token}` },
    'good in the header, expired in the cookie': { ...bearer(token), cookie: `token=${expired}` },
    'an expired token': bearer(expired),
    'a forged token': bearer(forged),
    'an unsigned token': bearer(unsigned),
    'a malformed token': bearer('nonsense'),
    'an empty one': { authorization: 'Bearer ' },
    'one with a space in it': { authorization: `Bearer ${token} ${token}` },
    'another scheme': { authorization: 'Basic eDp5' }
  }
  for (const [label, headers] of Object.entries(carried)) {
    const expected = (await stock.inject({ url: '/probe', headers: headers! })).json()
    const given = await ask(headers)
    const differences: string[] = []
    for (const [i, options] of all.entries()) {
      for (const [j, style] of Object.keys(STYLES).entries()) {
        const [ours, theirs] = [given, expected].map((outcomes) => JSON.stringify(outcomes[i * 2 + j]))
        if (ours !== theirs) differences.push(`${JSON.stringify(options)}, ${style}: ${ours} instead of ${theirs}`)
      }
    }
    t.equal(expected.length, 2 * all.length)
    t.strictSame(differences, [], label)
  }
})

t.test('P5 a token that is accepted although it has expired could not be revoked any more', async (t) => {
  const { ask } = await buildProbe(t, (request) => outcome(request, () => verifyOf(request)({ ignoreExpiration: true })))
  const rule = BROKEN.expired
  t.strictSame(await ask(bearer(await signed({ jti: 'expired', exp: inSeconds(-2) }))), {
    code: 'FST_JWT_NOT_REVOCABLE',
    message: `Token cannot be revoked and is therefore not accepted: ${rule}`,
    statusCode: 401,
    headers: { 'www-authenticate': `Bearer error="invalid_token", error_description="The token cannot be revoked: ${rule}"` },
    user: null
  })
})

t.test('P1 the claims that count are those of the token, whatever jwtVerify() resolves to', async (t) => {
  const configurations: Record<string, Partial<FastifyJWTOptions>> = {
    'complete: true': { verify: { complete: true } },
    'a formatUser that drops every claim': { formatUser: () => ({}) as never },
    'a formatUser that gives the claims of another': { formatUser: () => ({ jti: 'another', sub: 'mallory' }) as never },
    'a formatUser that gives nothing': { formatUser: () => undefined as never },
    'a trusted that empties the claims': {
      trusted: (_request, claims) => {
        for (const claim of Object.keys(claims)) delete claims[claim]
        return true
      }
    },
    "@fastify/jwt's cache": { verify: { cache: true } },
    "its cache, with a callback's secret": { verify: { cache: true }, secret: async () => SECRET }
  }
  for (const [name, jwt] of Object.entries(configurations)) {
    for (const store of Object.values(STORES)) {
      const { app, ask } = await buildProbe(t, (request) => outcome(request), { jwt, revocation: store() })
      const { jti, token } = await genuine()
      for (let i = 0; i < 2; i++) t.notOk('code' in await ask(bearer(token)), `${name}: accepted`)
      await app.revocation.revoke({ jti })
      t.strictSame(await ask(bearer(token)), REFUSED, name)
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED, name)
      t.strictSame(answerOf(await app.inject({ url: '/public', headers: bearer(token) })), REVOKED, name)
    }
  }
})

t.test('P1 with another decoratorName a refused request has no user under that name', async (t) => {
  const users: unknown[] = []
  const app = await buildApp(t, {
    jwt: { decoratorName: 'account' },
    after (app) {
      app.get('/account', { config: { revocation: false } }, async (request) => {
        const { account } = request as unknown as { account: unknown }
        users.push(account)
        try {
          await request.jwtVerify()
        } finally {
          users.push((request as unknown as { account: unknown }).account)
        }
        return 'ok'
      })
    }
  })
  const { jti, token } = await genuine()
  t.equal((await app.inject({ url: '/account', headers: bearer(token) })).statusCode, 200)
  t.match(users.splice(0), [null, { jti }])
  await app.revocation.revoke({ jti })
  t.strictSame(answerOf(await app.inject({ url: '/account', headers: bearer(token) })), REVOKED)
  t.strictSame(users, [null, null])
})

for (const [name, store] of Object.entries(STORES)) {
  t.test(`P1 a verify in any hook refuses a revoked token, on the store ${name}`, async (t) => {
    const hooks = ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'preSerialization', 'onSend'] as const
    for (const enforce of ['presented', 'verified'] as const) {
      for (const [style, verify] of Object.entries(STYLES)) {
        const seen: string[] = []
        const app = await buildApp(t, {
          revocation: { ...store(), enforce },
          after (app) {
            for (const hook of hooks) {
              for (const method of ['GET', 'POST']) {
                app.route({
                  method,
                  url: `/${hook}`,
                  // Fastify runs onSend again for the answer to its own error.
                  [hook]: async (request: FastifyRequest) => {
                    const { code } = await outcome(request, () => verify(request)) as { code?: string }
                    seen.push(`${hook} ${code ?? 'accepted'}`)
                    if (code && hook !== 'onSend') throw Object.assign(new Error(code), { statusCode: 401 })
                  },
                  handler: async () => {
                    seen.push('handler')
                    return { ok: true }
                  }
                })
              }
            }
            app.get('/handler', async (request) => {
              await verify(request)
              seen.push('handler')
            })
          }
        })
        const { jti, token } = await genuine()
        const asked = [...hooks.flatMap((hook) => [{ method: 'GET', url: `/${hook}` }, { method: 'POST', url: `/${hook}` }]), { method: 'GET', url: '/handler' }] as const
        for (const { method, url } of asked) {
          await app.inject({ method: method as 'GET', url, headers: bearer(token) })
          const hook = url.slice(1)
          const order = hook === 'handler' ? ['handler'] : [`${hook} accepted`, 'handler']
          t.strictSame(seen.splice(0).sort(), order.sort(), `${method} ${hook}, good`)
        }
        await app.revocation.revoke({ jti })
        for (const { method, url } of asked) {
          const response = await app.inject({ method: method as 'GET', url, headers: bearer(token) })
          const hook = url.slice(1)
          if (enforce === 'presented' || hook === 'handler') t.strictSame(answerOf(response), REVOKED, `${method} ${hook}`)
          else if (hook !== 'onSend') t.equal(response.statusCode, 401, `${method} ${hook}`)
          const late = hook === 'onSend' || hook === 'preSerialization'
          const order = hook === 'handler'
            ? []
            : enforce === 'verified'
              ? [...(late ? ['handler'] : []), `${hook} FST_JWT_REVOKED`]
              : [...(hook === 'onRequest' || hook === 'onSend' ? [`${hook} FST_JWT_REVOKED`] : [])]
          // The plugin's hook comes first: a route's own onRequest is not reached.
          t.strictSame(seen.splice(0), enforce === 'presented' && hook === 'onRequest' ? [] : order, `${method} ${hook}, ${enforce}, ${style}`)
        }
      }
    }
  })

  t.test(`P1 a request verifies one token once, however often jwtVerify() is called, on the store ${name}`, async (t) => {
    holdMonotonic(t)
    let secrets = 0
    let trusts = 0
    let lookups = 0
    const jwt: Partial<FastifyJWTOptions> = {
      secret: (_request: FastifyRequest, _token: unknown, callback: (error: null, secret: string) => void) => {
        secrets++
        // Later, so that those who ask meanwhile find a verification under way.
        setImmediate(() => callback(null, SECRET))
      },
      trusted: async () => {
        trusts++
        return true
      }
    }
    const app = await buildApp(t, {
      jwt,
      revocation: store(),
      after (app) {
        const several = async (request: FastifyRequest) => {
          const results = await Promise.all([
            request.jwtVerify(), request.jwtVerify(), STYLES.awaited!(request, {}), STYLES['called back']!(request),
            STYLES['called back']!(request, { onlyCookie: false }), STYLES.awaited!(request, { verify: { extractToken: tokenOf } })
          ])
          return results
        }
        const tokenOf = (request: FastifyRequest) => {
          lookups++
          return request.headers.authorization!.slice('Bearer '.length)
        }
        const options = { onRequest: several, preHandler: several, preParsing: async (request: FastifyRequest) => { await several(request) } }
        app.get('/several', options, async (request) => new Set((await several(request)).map((user) => JSON.stringify(user))).size)
        app.get('/several-unhooked', { ...options, config: { revocation: false } }, async (request) => new Set((await several(request)).map((user) => JSON.stringify(user))).size)
        app.get('/refused', { config: { revocation: false } }, async (request) =>
          Promise.all(Array.from({ length: 5 }, () => outcome(request))))
      }
    })
    const { jti, token } = await genuine()
    for (const url of ['/several', '/several-unhooked', '/me', '/public']) {
      secrets = trusts = lookups = 0
      const response = await app.inject({ url, headers: bearer(token) })
      t.equal(response.statusCode, 200, url)
      t.strictSame({ secrets, trusts }, { secrets: 1, trusts: 1 }, url)
      if (url.startsWith('/several')) {
        t.equal(response.body, '1', 'and all get the same')
        t.equal(lookups, 4, 'the token is looked for as often as it is asked for')
      }
    }
    await app.revocation.revoke({ jti })
    secrets = trusts = 0
    const outcomes = (await app.inject({ url: '/refused', headers: bearer(token) })).json()
    t.strictSame(outcomes, Array(5).fill(REFUSED))
    t.strictSame({ secrets, trusts }, { secrets: 1, trusts: 1 })
    secrets = trusts = 0
    t.strictSame(answerOf(await app.inject({ url: '/several', headers: bearer(token) })), REVOKED)
    t.strictSame({ secrets, trusts }, { secrets: 1, trusts: 1 })
  })

  t.test(`P1 a handler that revokes its own token is refused from then on, on the store ${name}`, async (t) => {
    const { app, ask } = await buildProbe(t, async (request) => {
      const first = await outcome(request)
      await app.revocation.revoke({ jti: jtiOf(first.user) })
      return [first, await outcome(request), await outcome(request, () => verifyOf(request)({})), await outcome(request, () => verifyOf(request)({ complete: true }))]
    }, { revocation: store() })
    const { jti, token } = await genuine()
    const [first, ...others] = await ask(bearer(token))
    t.match(first, { result: { jti }, user: { jti } })
    t.strictSame(others, [REFUSED, REFUSED, REFUSED], 'and the user that the request had is unset')
  })

  t.test(`P1 of two tokens in one request the one that is verified counts, on the store ${name}`, async (t) => {
    const { app, ask } = await buildProbe(t, async (request) => {
      const header = await outcome(request)
      const fromCookie = await outcome(request, () => verifyOf(request)({ onlyCookie: true }))
      const again = await outcome(request)
      await outcome(request, () => verifyOf(request)({ onlyCookie: true, complete: true }))
      const afterAll = await outcome(request)
      const together = await Promise.all([outcome(request), outcome(request, () => verifyOf(request)({ verify: { onlyCookie: true } }))])
      return { header, fromCookie, again, afterAll, together: together.map((one) => 'code' in one ? one.code : 'accepted') }
    }, {
      revocation: store(),
      jwt: { cookie: { cookieName: 'token', signed: false } },
      before: (app) => app.register(cookie)
    })
    const [good, other] = [await genuine(), await genuine({ sub: 'bob' })]
    const bad = await revoked(app)

    t.match(await ask({ ...bearer(good.token), cookie: `token=${other.token}` }), {
      header: { user: { jti: good.jti } }, fromCookie: { user: { jti: other.jti } }, again: { user: { jti: good.jti } }, afterAll: { user: { jti: good.jti } }, together: ['accepted', 'accepted']
    })
    const badCookie = await ask({ ...bearer(good.token), cookie: `token=${bad}` })
    t.match(badCookie, { header: { user: { jti: good.jti } }, again: { user: { jti: good.jti } }, afterAll: { user: { jti: good.jti } }, together: ['accepted', REFUSED.code] })
    t.strictSame(badCookie.fromCookie, REFUSED, 'the user of the good one is unset')
    const badHeader = await ask({ ...bearer(bad), cookie: `token=${good.token}` })
    t.match(badHeader, { fromCookie: { user: { jti: good.jti } }, together: [REFUSED.code, 'accepted'] })
    t.strictSame([badHeader.header, badHeader.again, badHeader.afterAll], [REFUSED, REFUSED, REFUSED])
  })
}

t.test('P1 of calls that overlap the last one sets the user, as with @fastify/jwt, whichever ends first', async (t) => {
  for (const store of Object.values(STORES)) {
    let release: (secret: string) => void
    const late = { extractToken: (request: FastifyRequest) => request.headers['x-device'] }
    const { app, ask } = await buildProbe(t, async (request) => {
      const first = outcome(request, () => verifyOf(request)(late))
      const last = await outcome(request)
      release(SECRET)
      return [last, await first]
    }, {
      jwt: {
        secret: async (_request: FastifyRequest, claims: unknown) => (claims as { sub: string }).sub === 'late'
          ? new Promise<string>((resolve) => { release = resolve })
          : SECRET
      } as Partial<FastifyJWTOptions>,
      revocation: store()
    })
    const [first, last] = [await genuine({ sub: 'late' }), await genuine()]
    const headers = { ...bearer(last.token), 'x-device': first.token }
    t.match(await ask(headers), [{ user: { jti: last.jti } }, { result: { jti: first.jti }, user: { jti: last.jti } }])
    await app.revocation.revoke({ jti: first.jti })
    t.match(await ask(headers), [{ user: { jti: last.jti } }, { code: 'FST_JWT_REVOKED', user: { jti: last.jti } }])
  }
})

for (const [name, store] of Object.entries(STORES)) {
  t.test(`P1 a call is about the token that it finds itself, not about one that a call before it was told to find, on the store ${name}`, async (t) => {
    const fromDevice = { extractToken: (request: FastifyRequest) => request.headers['x-device'] }
    for (const enforce of ['presented', 'verified'] as const) {
      const { app, ask } = await buildProbe(t, async (request) => {
        const [device, bearer] = [await outcome(request, () => verifyOf(request)(fromDevice)), await outcome(request)]
        const again = await Promise.all([outcome(request, () => verifyOf(request)({ verify: fromDevice })), outcome(request)])
        return [device, bearer, ...again].map((one) => 'code' in one ? one.code : jtiOf(one.result))
      }, { revocation: { ...store(), enforce } })
      const [device, other] = [await genuine({ sub: 'device' }), await genuine()]
      const forged = await signed({ jti: 'forged', exp: inSeconds(60) }, OTHER_SECRET)
      const bearers: Array<[token: string, answer: string]> = [
        [other.token, other.jti], [await revoked(app), 'FST_JWT_REVOKED'], [forged, 'FST_JWT_AUTHORIZATION_TOKEN_INVALID'],
        ['x.y.z', 'FST_JWT_AUTHORIZATION_TOKEN_INVALID'], ['', 'FST_JWT_BAD_REQUEST']
      ]
      for (const [token, answer] of bearers) {
        const found = await ask({ authorization: `Bearer ${token}`, 'x-device': device.token })
        t.strictSame(found, [device.jti, answer, device.jti, answer], `${enforce}, ${answer}`)
      }
    }
  })

  t.test(`P10 the hook leaves the user that a request has, unless it refuses, on the store ${name}`, async (t) => {
    const app = await buildApp(t, {
      revocation: store(),
      before: (app) => app.addHook('onRequest', async (request) => { request.user = 'of a session' as never }),
      after (app) {
        app.setErrorHandler(async (_error, request, reply) => reply.code(401).send({ user: request.user }))
      }
    })
    const user = async (headers: InjectOptions['headers'] = {}) => (await app.inject({ url: '/public', headers })).json().user
    t.equal(await user(), 'of a session')
    t.equal(await user(bearer((await genuine()).token)), 'of a session')
    t.equal(await user(bearer(await signed({ jti: 'x', exp: inSeconds(60) }, OTHER_SECRET))), 'of a session')
    t.equal(await user(bearer(await revoked(app))), null)
  })
}

t.test('P1 every route is guarded, registered before the plugin or after, in its scope or below', async (t) => {
  const urls: string[] = []
  const guarded = (app: FastifyInstance, url: string) => {
    urls.push(`${app.prefix}${url}`)
    app.get(url, { config: { revocation: false } }, async (request) => request.jwtVerify())
    urls.push(`${app.prefix}${url}/public`)
    app.get(`${url}/public`, async () => 'public')
  }
  const nested = (depth: number) => async (scope: FastifyInstance) => {
    guarded(scope, '/route')
    if (depth > 1) await scope.register(nested(depth - 1), { prefix: '/deep' })
  }
  const app = await buildApp(t, {
    async before (app) {
      guarded(app, '/before')
      await app.register(nested(3), { prefix: '/child-before' })
      app.register(nested(1), { prefix: '/child-before-not-awaited' })
      await app.register(async (scope) => {
        scope.decorateRequest('ofTheScope', null)
        guarded(scope, '/route')
      }, { prefix: '/child-with-decorator' })
    },
    async after (app) {
      guarded(app, '/after')
      await app.register(nested(3), { prefix: '/child-after' })
      await app.register(async (scope) => {
        scope.decorateRequest('ofTheScope', null)
        guarded(scope, '/route')
      }, { prefix: '/child-after-with-decorator' })
    }
  })
  const { token, jti } = await genuine()
  t.equal(urls.length, 2 * (2 + 3 + 1 + 1 + 3 + 1))
  for (const url of urls) t.equal((await app.inject({ url, headers: bearer(token) })).statusCode, 200, url)
  await app.revocation.revoke({ jti })
  for (const url of urls) t.strictSame(answerOf(await app.inject({ url, headers: bearer(token) })), REVOKED, url)
})

t.test('P1 config.revocation leaves a route out of the hook, not out of the guard', async (t) => {
  const app = await buildApp(t, {
    after (app) {
      app.get('/login', { config: { revocation: false } }, async (request) => ({ user: request.user }))
      app.get('/included', { config: { revocation: true } }, async () => 'included')
      app.get('/verifying', { config: { revocation: false }, preHandler: async (request) => { await request.jwtVerify() } }, async () => 'verified')
    }
  })
  const headers = bearer(await revoked(app))
  t.strictSame(answerOf(await app.inject({ url: '/login', headers })), { statusCode: 200, body: { user: null } })
  t.strictSame(answerOf(await app.inject({ url: '/included', headers })), REVOKED)
  t.strictSame(answerOf(await app.inject({ url: '/verifying', headers })), REVOKED)
})

t.test('P1 an unknown route and a HEAD refuse a revoked token like any other', async (t) => {
  for (const own of [false, true]) {
    const app = await buildApp(t, {
      before (app) { if (own) app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ mine: true })) }
    })
    const good = bearer((await genuine()).token)
    const bad = bearer(await revoked(app))
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      t.strictSame(answerOf(await app.inject({ method, url: '/nowhere', headers: bad })), REVOKED)
      t.equal((await app.inject({ method, url: '/nowhere', headers: good })).statusCode, 404)
      t.equal((await app.inject({ method, url: '/nowhere' })).statusCode, 404)
    }
    for (const url of ['/me', '/public']) {
      t.strictSame(answerOf(await app.inject({ method: 'HEAD', url, headers: bad })), { ...REVOKED, body: '' })
      t.equal((await app.inject({ method: 'HEAD', url, headers: good })).statusCode, 200)
    }
  }
})

t.test('P1 a public route has no user, though its good token has been verified', async (t) => {
  for (const store of Object.values(STORES)) {
    const app = await buildApp(t, { revocation: store() })
    const { token } = await genuine()
    t.strictSame(answerOf(await app.inject({ url: '/public', headers: bearer(token) })), { statusCode: 200, body: { user: null } })
  }
})

t.test('P1 an error handler of the application answers a refusal, and the challenge stays', async (t) => {
  const app = await buildApp(t, {
    before (app) {
      app.setErrorHandler(async (error: Error & { code: string }, _request, reply) => reply.code(418).send({ mine: error.code, text: error.message }))
    }
  })
  const headers = bearer(await revoked(app))
  for (const url of ['/me', '/public', '/nowhere']) {
    t.strictSame(answerOf(await app.inject({ url, headers })), {
      statusCode: 418, challenge: REVOKED.challenge, body: { mine: 'FST_JWT_REVOKED', text: 'Token has been revoked' }
    }, url)
  }
})

t.test('a secret or a trusted that needs what a later hook puts on the request accepts the route\'s own call', async (t) => {
  const ready = (request: unknown) => (request as { tenant?: string }).tenant === 'a'
  const late: Record<string, object> = {
    'a secret': { secret: (request: unknown, _token: unknown, done: (error: Error | null, secret?: string) => void) => { done(ready(request) ? null : new Error('of no tenant'), SECRET) } },
    'a secret that rejects': { secret: async (request: unknown) => { if (!ready(request)) throw new Error('of no tenant'); return SECRET } },
    'a trusted': { trusted: ready }
  }
  for (const [name, jwt] of Object.entries(late)) {
    const app = await buildApp(t, {
      jwt,
      after (app) {
        app.addHook('preHandler', async (request) => { Object.assign(request, { tenant: 'a' }) })
        app.get('/late', async (request) => {
          await request.jwtVerify()
          return request.user
        })
      }
    })
    const { token, jti } = await genuine()
    const get = async () => (await app.inject({ url: '/late', headers: bearer(token) }))
    t.match((await get()).json(), { jti }, name)
    await app.revocation.revoke({ jti })
    t.match((await get()).json(), { code: 'FST_JWT_REVOKED' }, name)
  }
})

t.test("P1 a secret or a trusted that fails gives @fastify/jwt's own error, and public routes don't care", async (t) => {
  const thrown = Object.assign(new Error('from the application'), { statusCode: 418, code: 'MINE' })
  const configurations: Record<string, Partial<FastifyJWTOptions>> = {
    'a secret that throws': { secret: () => { throw thrown } },
    'a secret that rejects': { secret: async () => { throw thrown } },
    'a secret that calls back with an error': { secret: (_request: unknown, _token: unknown, callback: (error: Error, secret: undefined) => void) => callback(thrown, undefined) },
    'a secret that is another': { secret: async () => OTHER_SECRET },
    'a secret that is none': { secret: async () => undefined as unknown as string },
    'a trusted that says no': { trusted: () => false },
    'a trusted that says no later': { trusted: async () => false },
    'a trusted that rejects': { trusted: async () => { throw thrown } }
  }
  for (const [label, jwt] of Object.entries(configurations)) {
    const stock = Fastify()
    t.teardown(() => stock.close())
    await stock.register(fastifyJwt, { secret: SECRET, ...jwt } as FastifyJWTOptions)
    stock.get('/me', async (request) => outcome(request))
    const { token } = await genuine()
    const expected = (await stock.inject({ url: '/me', headers: bearer(token) })).json()
    t.ok(expected.message, label)

    for (const store of Object.values(STORES)) {
      const { app, ask } = await buildProbe(t, (request) => outcome(request), { jwt, revocation: store() })
      for (const headers of [bearer(token), bearer(await revoked(app))]) {
        t.strictSame(await ask(headers), expected, label)
        const { statusCode, body } = answerOf(await app.inject({ url: '/me', headers }))
        t.equal(statusCode, expected.statusCode ?? 500, label)
        t.equal(body.message, expected.message, label)
        t.strictSame(answerOf(await app.inject({ url: '/public', headers })), { statusCode: 200, body: { user: null } }, label)
      }
    }
  }
})

t.test('P1 a secret that comes late, or by promise, guards as well', async (t) => {
  for (const secret of [
    async () => SECRET,
    (_request: unknown, _token: unknown, callback: (error: null, secret: string) => void) => callback(null, SECRET),
    (_request: unknown, _token: unknown, callback: (error: null, secret: string) => void) => setImmediate(() => callback(null, SECRET)),
    { public: async () => SECRET, private: SECRET }
  ]) {
    const { app, ask } = await buildProbe(t, (request) => outcome(request), { jwt: { secret } as Partial<FastifyJWTOptions> })
    const { jti, token } = await genuine()
    t.match(await ask(bearer(token)), { result: { jti }, user: { jti } })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
    await app.revocation.revoke({ jti })
    t.strictSame(await ask(bearer(token)), REFUSED)
    t.strictSame(answerOf(await app.inject({ url: '/public', headers: bearer(token) })), REVOKED)
  }
})

t.test('P1 an extractToken that gives another token each time it is asked does not smuggle a revoked one in', async (t) => {
  for (const store of Object.values(STORES)) {
    const queues = new WeakMap<FastifyRequest, string[]>()
    const extractToken = (request: FastifyRequest) => {
      const queue = queues.get(request) ?? String(request.headers['x-tokens']).split(',')
      queues.set(request, queue)
      return queue.length > 1 ? queue.shift()! : queue[0]!
    }
    const { app, ask } = await buildProbe(t, (request) => outcome(request), { jwt: { verify: { extractToken } }, revocation: store() })
    const good = await genuine()
    const bad = await genuine({ sub: 'mallory' })
    await app.revocation.revoke({ jti: bad.jti })
    for (const order of [[good, bad], [bad, good], [good, good, bad], [good, bad, good]]) {
      const { user } = await ask({ 'x-tokens': order.map(({ token }) => token).join(',') })
      t.not(user?.jti, bad.jti, order.map((one) => one === good ? 'good' : 'bad').join(', '))
    }
  }
})

t.test('P1 a header that the application replaces within a request counts from then on', async (t) => {
  for (const [name, store] of Object.entries(STORES)) {
    const { app, ask } = await buildProbe(t, async (request) => {
      const presented = request.headers.authorization!
      const found: unknown[] = []
      for (const header of [presented, `Bearer ${request.headers['x-token']}`, presented, `${presented}x`]) {
        request.headers.authorization = header
        found.push(await outcome(request))
      }
      return found
    }, { revocation: store() })
    const good = await genuine()
    const bad = await genuine({ sub: 'mallory' })
    await app.revocation.revoke({ jti: bad.jti })
    const [first, replaced, again, forged] = await ask({ ...bearer(good.token), 'x-token': bad.token })
    t.match([first, again], [{ user: { jti: good.jti } }, { user: { jti: good.jti } }], name)
    t.strictSame(replaced, REFUSED, name)
    t.match(forged, { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' }, name)
  }
})

/** What an `extractToken` may give for a token, and whether `@fastify/jwt` takes it for one. */
const EXTRACTED: Array<[label: string, of: (token: string) => unknown, isToken?: true]> = [
  ['the token', (token) => token, true],
  ['a Buffer', (token) => Buffer.from(token), true],
  ['a Buffer of another class', (token) => Object.setPrototypeOf(Buffer.from(token), class extends Buffer {}.prototype), true],
  ['an empty Buffer', () => Buffer.alloc(0)],
  ['a Buffer of no token', () => Buffer.from([0xff, 0xfe])],
  ['a Uint8Array', (token) => new Uint8Array(Buffer.from(token))],
  ['a String', (token) => new String(token)], // eslint-disable-line no-new-wrappers
  ['what becomes the token', (token) => ({ toString: () => token })],
  ['an array', (token) => [token]],
  ['a promise', async (token) => token],
  ['a function', (token) => () => token],
  ['a symbol', (token) => Symbol(token)],
  ['an object', () => ({})],
  ['a number', () => 5],
  ['zero', () => 0],
  ['a bigint', () => 5n],
  ['true', () => true],
  ['false', () => false],
  ['null', () => null],
  ['undefined', () => undefined],
  ['an empty string', () => ''],
  ['a space', () => ' '],
  ['no token', () => 'nonsense']
]

t.test("P1 whatever an extractToken gives, the answer is @fastify/jwt's own, but for a revoked token", async (t) => {
  for (const [label, of, isToken] of EXTRACTED) {
    const extractToken = (request: FastifyRequest) => of(String(request.headers['x-token'])) as string
    const jwt = { secret: SECRET, verify: { extractToken } }
    const probe = async (request: FastifyRequest) => [
      await outcome(request), await outcome(request, () => STYLES['called back']!(request)),
      await outcome(request, () => verifyOf(request)({ extractToken })), await outcome(request, () => verifyOf(request)({ verify: { extractToken }, decode: {} }))
    ]
    const stock = Fastify()
    t.teardown(() => stock.close())
    await stock.register(fastifyJwt, jwt)
    stock.get('/probe', async (request) => probe(request))
    stock.get('/me', { onRequest: async (request) => { await request.jwtVerify() } }, async (request) => ({ user: request.user }))
    const { app, ask } = await buildProbe(t, probe, { jwt })

    const headers = { 'x-token': (await genuine()).token }
    const expected = (await stock.inject({ url: '/probe', headers })).json()
    t.equal('result' in expected[0], isToken === true, label)
    t.strictSame(await ask(headers), expected, label)
    t.strictSame(answerOf(await app.inject({ url: '/me', headers })), answerOf(await stock.inject({ url: '/me', headers })), label)
    t.equal((await app.inject({ url: '/public', headers })).statusCode, 200, label)

    const taken = { 'x-token': await revoked(app) }
    t.strictSame(await ask(taken), isToken ? Array(4).fill(REFUSED) : expected, label)
    for (const url of isToken ? ['/me', '/public'] : []) t.strictSame(answerOf(await app.inject({ url, headers: taken })), REVOKED, label)
  }
})

t.test("P1 cookies and headers that a hook of the application made something else get @fastify/jwt's own answer", async (t) => {
  const jwt = { secret: SECRET, cookie: { cookieName: 'token', signed: false } }
  const odd: Array<[place: string, value: (token: string) => unknown, isToken?: true]> = [
    ...EXTRACTED.map(([label, of, isToken]) => [`cookie: ${label}`, of, isToken] as [string, typeof of, true?]),
    ['cookies: none', () => undefined], ['cookies: a string', (token) => token],
    ['authorization: twice', (token) => [`Bearer ${token}`, `Bearer ${token}`]], ['authorization: once, in an array', (token) => [`Bearer ${token}`]],
    ['authorization: a number', () => 5], ['authorization: an object', (token) => ({ toString: () => `Bearer ${token}` })],
    ['authorization: joined', (token) => `Bearer ${token}, Bearer ${token}`], ['authorization: a tab', (token) => `Bearer\t${token}`],
    ['authorization: of any case', (token) => `bEARER ${token}`, true], ['authorization: a String', (token) => new String(`Bearer ${token}`), true] // eslint-disable-line no-new-wrappers
  ]
  for (const [place, of, isToken] of odd) {
    const before = (app: FastifyInstance) => app.addHook('onRequest', async (request) => {
      const value = of(request.headers['x-token'] as string)
      if (place.startsWith('authorization')) request.headers.authorization = value as string
      else (request as { cookies: unknown }).cookies = place.startsWith('cookies') ? value : { token: value }
    })
    const probe = async (request: FastifyRequest) => [
      await outcome(request), await outcome(request, () => verifyOf(request)({})), await outcome(request, () => verifyOf(request)({ complete: true }))
    ]
    const stock = Fastify()
    t.teardown(() => stock.close())
    await stock.register(fastifyJwt, jwt)
    before(stock)
    stock.get('/probe', async (request) => probe(request))
    const { app, ask } = await buildProbe(t, probe, { jwt, before })

    const headers = { 'x-token': (await genuine()).token }
    const expected = (await stock.inject({ url: '/probe', headers })).json()
    t.equal('result' in expected[0], isToken === true, place)
    t.strictSame(await ask(headers), expected, place)
    t.equal((await app.inject({ url: '/public', headers })).statusCode, 200, place)
    const taken = { 'x-token': await revoked(app) }
    if (isToken) t.strictSame(await ask(taken), [REFUSED, REFUSED, REFUSED], place)
    if (isToken) t.strictSame(answerOf(await app.inject({ url: '/public', headers: taken })), REVOKED, place)
  }
})

t.test('P1 a Buffer that is written to after it was read stays the token that it was', async (t) => {
  for (const store of Object.values(STORES)) {
    const buffers = new WeakMap<FastifyRequest, Buffer>()
    const extractToken = (request: FastifyRequest) => {
      const buffer = buffers.get(request) ?? Buffer.from(String(request.headers['x-token']))
      buffers.set(request, buffer)
      return buffer as unknown as string
    }
    const write = (request: FastifyRequest) => { buffers.get(request)!.write(String(request.headers['x-other'])) }
    const { app, ask } = await buildProbe(t, (request) => outcome(request), {
      jwt: {
        verify: { extractToken },
        secret: async (request: FastifyRequest) => {
          write(request)
          return SECRET
        }
      } as Partial<FastifyJWTOptions>,
      revocation: store()
    })
    const [good, bad] = [await genuine(), await genuine()]
    await app.revocation.revoke({ jti: bad.jti })
    t.match(await ask({ 'x-token': good.token, 'x-other': bad.token }), { user: { jti: good.jti } })
    t.strictSame(await ask({ 'x-token': bad.token, 'x-other': good.token }), REFUSED)
  }
})

t.test('P1 one namespace, several, and a verify decorator of another name', async (t) => {
  for (const store of Object.values(STORES)) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyJwt, { secret: SECRET, namespace: 'one', sign: { expiresIn: '15m' } })
    await app.register(fastifyJwt, { secret: OTHER_SECRET, namespace: 'two', jwtVerify: 'verifyTwo', decoratorName: 'user' })
    await app.register(fastifyJwt, { secret: OTHER_SECRET, namespace: 'three' })
    await t.rejects(Promise.resolve(app.register(revocationPlugin, { namespace: ['one', 'two'] })), {
      code: 'FST_JWT_REVOCATION_BAD_OPTION', message: /no request decorator "twoJwtVerify"; set option "jwtVerify"/
    })

    const fresh = Fastify()
    t.teardown(() => fresh.close())
    await fresh.register(fastifyJwt, { secret: SECRET, namespace: 'one', sign: { expiresIn: '15m' } })
    await fresh.register(fastifyJwt, { secret: OTHER_SECRET, namespace: 'three' })
    await fresh.register(revocationPlugin, { ...store(), namespace: ['one', 'three'] })
    const names = ['oneJwtVerify', 'threeJwtVerify']
    for (const name of names) {
      fresh.get(`/${name}`, async (request) => verifyOf(request, name)())
      fresh.get(`/unhooked/${name}`, { config: { revocation: false } }, async (request) => verifyOf(request, name)())
    }
    fresh.get('/public', async () => 'public')
    await fresh.ready()

    const tokens = {
      oneJwtVerify: await signed({ jti: 'of one', exp: inSeconds(60) }),
      threeJwtVerify: await signed({ jti: 'of three', exp: inSeconds(60) }, OTHER_SECRET)
    }
    for (const [name, token] of Object.entries(tokens)) {
      const other = names.find((one) => one !== name)!
      for (const scope of ['', '/unhooked']) {
        t.equal((await fresh.inject({ url: `${scope}/${name}`, headers: bearer(token) })).statusCode, 200)
        t.match(answerOf(await fresh.inject({ url: `${scope}/${other}`, headers: bearer(token) })), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' } })
      }
    }
    await fresh.revocation.revoke({ jti: 'of three' })
    t.equal((await fresh.inject({ url: '/oneJwtVerify', headers: bearer(tokens.oneJwtVerify) })).statusCode, 200)
    await fresh.revocation.revoke({ jti: 'of one' })
    for (const [name, token] of Object.entries(tokens)) {
      for (const url of [`/${name}`, `/unhooked/${name}`, '/public']) {
        t.strictSame(answerOf(await fresh.inject({ url, headers: bearer(token) })), REVOKED, `${name} ${url}`)
      }
    }
  }

  const named = Fastify()
  t.teardown(() => named.close())
  await named.register(fastifyJwt, { secret: SECRET, namespace: 'two', jwtVerify: 'verifyTwo' })
  await named.register(revocationPlugin, { namespace: 'two', jwtVerify: 'verifyTwo' })
  named.get('/', { config: { revocation: false } }, async (request) => verifyOf(request, 'verifyTwo')())
  await named.ready()
  const { jti, token } = await genuine()
  t.equal((await named.inject({ url: '/', headers: bearer(token) })).statusCode, 200)
  await named.revocation.revoke({ jti })
  t.strictSame(answerOf(await named.inject({ url: '/', headers: bearer(token) })), REVOKED)
})

t.test('P1 scopes side by side are guarded each for itself', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const scopes: Record<string, FastifyInstance> = {}
  const scope = (name: string, secret: string | undefined, guarded: boolean) => app.register(async (scope) => {
    scopes[name] = scope
    if (secret) await scope.register(fastifyJwt, { secret, sign: { expiresIn: '15m' } })
    if (guarded) await scope.register(revocationPlugin, {})
    scope.get('/verifying', async (request) => request.jwtVerify())
    scope.get('/public', async () => 'public')
  }, { prefix: `/${name}` })
  await scope('a', SECRET, true)
  await scope('b', OTHER_SECRET, true)
  await scope('unguarded', SECRET, false)
  app.get('/public', async () => 'public')
  await app.ready()

  const ofA = await signed({ jti: 'shared', exp: inSeconds(60) })
  const ofB = await signed({ jti: 'shared', exp: inSeconds(60) }, OTHER_SECRET)
  await scopes.a!.revocation.revoke({ jti: 'shared' })
  const status = async (url: string, token: string) => (await app.inject({ url, headers: bearer(token) })).statusCode
  for (const url of ['/a/verifying', '/a/public']) t.strictSame(answerOf(await app.inject({ url, headers: bearer(ofA) })), REVOKED)
  for (const url of ['/b/verifying', '/b/public']) t.equal(await status(url, ofB), 200, url)
  for (const url of ['/unguarded/verifying', '/unguarded/public', '/public', '/b/public']) t.equal(await status(url, ofA), 200, `${url} has nothing to do with it`)
  await scopes.b!.revocation.revoke({ jti: 'shared' })
  for (const url of ['/b/verifying', '/b/public']) t.strictSame(answerOf(await app.inject({ url, headers: bearer(ofB) })), REVOKED)
})

t.test('P1 the plugin in a child scope guards that one, and its parent stays as it was', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
  app.get('/above', async (request) => request.jwtVerify())
  let inner: FastifyInstance | undefined
  await app.register(async (scope) => {
    inner = scope
    await scope.register(revocationPlugin, {})
    scope.get('/inside', { config: { revocation: false } }, async (request) => request.jwtVerify())
    await scope.register(async (below) => {
      below.get('/below', { config: { revocation: false } }, async (request) => request.jwtVerify())
    })
  })
  await app.register(async (scope) => { scope.get('/beside', async (request) => request.jwtVerify()) })
  await app.ready()
  const headers = bearer(await revoked(inner!))
  for (const url of ['/inside', '/below']) t.strictSame(answerOf(await app.inject({ url, headers })), REVOKED, url)
  for (const url of ['/above', '/beside']) t.equal((await app.inject({ url, headers })).statusCode, 200, url)
})

t.test('P1 a scope below with a @fastify/jwt of its own is guarded by a plugin of its own, or does not start', async (t) => {
  const build = async (guarded: boolean) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyJwt, { secret: SECRET, namespace: 'outer', jwtVerify: 'jwtVerify', sign: { expiresIn: '15m' } })
    await app.register(revocationPlugin, { namespace: 'outer', jwtVerify: 'jwtVerify' })
    let scope: FastifyInstance | undefined
    app.register(async (below) => {
      scope = below
      await below.register(fastifyJwt, { secret: OTHER_SECRET, namespace: 'inner', sign: { expiresIn: '15m' } })
      if (guarded) await below.register(revocationPlugin, { namespace: 'inner' })
      below.get('/below', { config: { revocation: false } }, async (request) => verifyOf(request, 'innerJwtVerify')())
      below.get('/outer', { config: { revocation: false } }, async (request) => request.jwtVerify())
    }, { prefix: '/below' })
    await app.ready()
    return { app, scope: scope! }
  }
  const { app, scope } = await build(true)
  const ofInner = await signed({ jti: 'x', exp: inSeconds(60) }, OTHER_SECRET)
  const ofOuter = await signed({ jti: 'x', exp: inSeconds(60) })
  await scope.revocation.revoke({ jti: 'x' })
  t.strictSame(answerOf(await app.inject({ url: '/below/below', headers: bearer(ofInner) })), REVOKED)
  t.equal((await app.inject({ url: '/below/outer', headers: bearer(ofOuter) })).statusCode, 200)
  await app.revocation.revoke({ jti: 'x' })
  t.strictSame(answerOf(await app.inject({ url: '/below/outer', headers: bearer(ofOuter) })), REVOKED)

  const ownJwt = async (scope: FastifyInstance) => {
    await scope.register(fastifyJwt, { secret: OTHER_SECRET, decoratorName: 'other' })
  }
  const below: Record<string, (scope: FastifyInstance) => Promise<void>> = {
    'a child': ownJwt,
    'a grandchild': async (scope) => { scope.register(ownJwt) },
    'by hand': async (scope) => { scope.decorateRequest('jwtVerify', async () => ({})) }
  }
  for (const [label, child] of Object.entries(below)) {
    for (const when of ['before', 'after']) {
      const unguarded = Fastify()
      t.teardown(() => unguarded.close())
      await unguarded.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
      if (when === 'before') await unguarded.register(child)
      await unguarded.register(revocationPlugin, {})
      if (when === 'after') unguarded.register(child)
      await t.rejects(Promise.resolve(unguarded.ready()), {
        code: 'FST_JWT_REVOCATION_BAD_OPTION', message: /^fastify-jwt-revocation: "jwtVerify" was decorated again in a scope below, /
      }, `${label}, ${when} the plugin`)
    }
  }
})

t.test('P1 cookies that are parsed after the hook are verified by the route, and refused there', async (t) => {
  const app = await buildApp(t, {
    jwt: { cookie: { cookieName: 'token', signed: false } },
    before: (app) => app.register(cookie, { hook: 'preValidation' }),
    after (app) { app.get('/late', { preHandler: async (request) => { await request.jwtVerify() } }, async () => 'late') }
  })
  const { jti, token } = await genuine()
  const headers = { cookie: `token=${token}` }
  t.equal((await app.inject({ url: '/late', headers })).statusCode, 200)
  await app.revocation.revoke({ jti })
  t.strictSame(answerOf(await app.inject({ url: '/late', headers })), REVOKED)
})

t.test('P1 a request that lasts sees a revocation that another process made, though the wall clock is set back', async (t) => {
  holdMonotonic(t)
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const store = STORES.redis()
  const other = await buildApp(t, { revocation: store })
  const { ask } = await buildProbe(t, async (request) => {
    const first = await outcome(request)
    await other.revocation.revoke({ jti: jtiOf(first.user) })
    advanceMonotonic(99)
    const shared = await outcome(request)
    Date.now = () => now() - 1000
    advanceMonotonic(1)
    return [first, shared, await outcome(request), await outcome(request)]
  }, { revocation: store })
  const { jti, token } = await genuine({ exp: inSeconds(600) })
  const [first, shared, ...others] = await ask(bearer(token))
  t.match(first, { result: { jti } })
  t.strictSame(shared, first, 'for 100 ms an outcome counts')
  t.strictSame(others, [REFUSED, REFUSED])
})

t.test('P1 a WebSocket', async (t) => {
  const store = STORES.redis()
  const other = await buildApp(t, { revocation: store })
  let opened = 0
  const app = await buildApp(t, {
    revocation: store,
    before: (app) => app.register(websocket),
    after (app) {
      app.get('/ws', { websocket: true }, (socket, request) => {
        opened++
        socket.on('message', async () => socket.send(JSON.stringify(await outcome(request))))
      })
      app.get('/guarded', { websocket: true, config: { revocation: false }, preValidation: async (request) => { await request.jwtVerify() } }, (socket) => {
        opened++
        socket.close()
      })
    }
  })
  const port = await listen(app)
  const connect = (url: string, token?: string) => {
    const client = new WebSocket(`ws://127.0.0.1:${port}${url}`, token === undefined ? {} : { headers: bearer(token) })
    // One that was refused is not open yet, and says so when it is closed.
    t.teardown(() => client.on('error', () => {}).terminate())
    return client
  }

  await t.test('what is refused leaves no connection behind, in whatever order the plugins were registered', async (t) => {
    const late = await buildApp(t, {
      revocation: store,
      async after (app) {
        await app.register(websocket)
        app.get('/late', { websocket: true }, () => { opened++ })
      }
    })
    const connections = (app: FastifyInstance) => new Promise<number>((resolve) => app.server.getConnections((_error, count) => resolve(count)))
    const token = await revoked(late)
    const port = await listen(late)
    for (let i = 0; i < 5; i++) {
      const client = new WebSocket(`ws://127.0.0.1:${port}/late`, { headers: bearer(token) })
      client.on('error', () => {})
      const [, response] = await once(client, 'unexpected-response') as [unknown, IncomingMessage]
      t.equal(response.statusCode, 401)
      t.equal(response.headers.connection, 'close')
      client.terminate()
    }
    await eventually('all are closed', async () => await connections(late) === 0)
  })

  await t.test('a revoked token is refused before the upgrade', async (t) => {
    const token = await revoked(app)
    for (const url of ['/ws', '/guarded', '/nowhere']) {
      const client = connect(url, token)
      const [, response] = await once(client, 'unexpected-response') as [unknown, IncomingMessage]
      t.strictSame({
        statusCode: response.statusCode, challenge: response.headers['www-authenticate'], body: JSON.parse(await text(response))
      }, REVOKED, url)
    }
    t.equal(opened, 0)
  })

  await t.test('a good token and none are accepted', async (t) => {
    const { token } = await genuine()
    await once(connect('/ws', token), 'open')
    await once(connect('/guarded', token), 'open')
    await once(connect('/ws'), 'open')
    t.equal(opened, 3)
  })

  await t.test('one that stays open sees a later revocation, by another process as well', async (t) => {
    const { jti, token } = await genuine()
    const client = connect('/ws', token)
    await once(client, 'open')
    const ask = async () => {
      client.send('?')
      const [message] = await once(client, 'message')
      return JSON.parse(String(message))
    }
    t.match(await ask(), { result: { jti }, user: { jti } })
    advanceMonotonic(100)
    t.match(await ask(), { result: { jti }, user: { jti } })
    await other.revocation.revoke({ jti })
    advanceMonotonic(100)
    t.strictSame(await ask(), REFUSED)
    t.strictSame(await ask(), REFUSED)
  })
})

// The server of this file keeps the process, and so tap, from an end of its own.

t.test('where only cookies count, a header is no token', async (t) => {
  const app = await buildApp(t, { jwt: { verify: { onlyCookie: true } } })
  const token = await revoked(app)
  t.equal((await app.inject({ url: '/public', headers: bearer(token) })).statusCode, 200)
  t.match((await app.inject({ url: '/me', headers: bearer(token) })).json(), { statusCode: 401, code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER' })
})

t.end()

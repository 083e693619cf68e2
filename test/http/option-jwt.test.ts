import type { FastifyJWTOptions } from '@fastify/jwt'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, genuine, inSeconds, ownPrefix, PATIENCE, REVOKED, SECRET, signed } from '../support/app.ts'
import { eventually, startRedis } from '../support/redis.ts'

const server = await startRedis(t)
const OTHER_SECRET = 'another secret of the tests, of more than 32 bytes'

const MODES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: server.url, keyPrefix: ownPrefix(), storeTimeout: PATIENCE }),
  replica: () => ({ redis: server.url, keyPrefix: ownPrefix(), storeTimeout: PATIENCE, mode: 'replica' })
}

type Jwt = NonNullable<RevocationOptions['jwt']>

interface BuildOptions {
  jwt?: Jwt | Partial<FastifyJWTOptions>
  revocation?: RevocationOptions
  after?: (app: FastifyInstance) => unknown
}

/** An application whose only registration is the plugin's. */
async function build (t: Test, { jwt = {}, revocation = {}, after }: BuildOptions = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  const options = Array.isArray(jwt) ? jwt as Jwt : { secret: SECRET, sign: { expiresIn: '15m' }, ...jwt } as Jwt
  await app.register(revocationPlugin, { ...revocation, jwt: options })
  app.get('/me', { onRequest: (request) => request.jwtVerify() }, async (request) => ({ user: request.user }))
  app.get('/public', async (request) => ({ user: request.user ?? null }))
  await after?.(app)
  await app.ready()
  return app
}

/** Rejects where an application with these options of the plugin does not start. */
async function start (options: unknown, app = Fastify()) {
  await app.register(revocationPlugin, options as RevocationOptions)
  await app.close()
}

const badOption = (message: string | RegExp) => ({ code: 'FST_JWT_REVOCATION_BAD_OPTION', message })
const FORGED = { statusCode: 401, code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID', error: 'Unauthorized', message: 'Authorization token is invalid: The token signature is invalid.' }

for (const [name, mode] of Object.entries(MODES)) {
  t.test(`P1 one registration is enough: tokens are issued, verified and revoked, on ${name}`, async (t) => {
    const app = await build(t, { revocation: mode() })
    t.ok(app.hasPlugin('@fastify/jwt'))
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    const headers = bearer(token)
    t.match(answerOf(await app.inject({ url: '/me', headers })), { statusCode: 200, body: { user: { jti, sub: 'alice' } } })
    t.strictSame(answerOf(await app.inject({ url: '/public', headers })), { statusCode: 200, body: { user: null } })
    t.equal((await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers })).statusCode, 200)
    for (const url of ['/me', '/public']) t.strictSame(answerOf(await app.inject({ url, headers })), REVOKED, url)
  })

  t.test(`hook and route verify a token once between them, good, forged or revoked, on ${name}`, async (t) => {
    let verified = 0
    const count = { test: (sub: string) => { verified++; return sub === 'alice' } }
    const app = await build(t, { jwt: { verify: { allowedSub: count as never } }, revocation: mode() })
    const ask = async (token: string, url = '/me') => {
      verified = 0
      const { statusCode } = await app.inject({ url, headers: bearer(token) })
      return { statusCode, verified }
    }
    const good = await genuine()
    t.strictSame(await ask(good.token), { statusCode: 200, verified: 1 })
    t.strictSame(await ask(good.token, '/public'), { statusCode: 200, verified: 1 })
    await app.revocation.revoke({ jti: good.jti })
    t.strictSame(await ask(good.token), { statusCode: 401, verified: 1 })
    const { token } = await genuine({ sub: 'mallory' })
    t.strictSame(await ask(token), { statusCode: 401, verified: 2 }, '@fastify/jwt is asked for its words, once for all')
    for (let i = 0; i < 2; i++) t.strictSame(await ask(token), { statusCode: 401, verified: 1 })
    t.strictSame(await ask(token, '/public'), { statusCode: 200, verified: 1 })
  })

  t.test(`P1 a payload that requests share, and that an application changes, lets no revoked token pass, on ${name}`, async (t) => {
    for (const verify of [{ cache: true }, { cache: true, complete: true }]) {
      const app = await build(t, {
        jwt: { verify },
        revocation: mode(),
        after (app) {
          app.get('/change', { config: { revocation: false } }, async (request) => {
            const user = await request.jwtVerify<Record<string, Record<string, unknown>>>()
            for (const claims of [user, user.payload ?? {}]) Object.assign(claims, { jti: 'another', sub: 'another', iat: inSeconds(1), payload: { jti: 'another' } })
            return 'changed'
          })
        }
      })
      const { jti, token } = await genuine()
      // It may also be changed before any request comes.
      Object.assign(app.jwt.verify<object>(token), { iat: inSeconds(1) })
      t.equal((await app.inject({ url: '/change', headers: bearer(token) })).body, 'changed')
      t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: { jti: 'another' } } }, 'as with @fastify/jwt alone')
      await app.revocation.revoke({ jti })
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
      const subject = await genuine({ sub: 'bob' })
      Object.assign(app.jwt.verify<object>(subject.token), { sub: 'another', iat: inSeconds(60), payload: { sub: 'another' } })
      await app.revocation.revokeSubject('bob')
      t.strictSame(answerOf(await app.inject({ url: '/public', headers: bearer(subject.token) })), REVOKED)
    }
  })

  t.test(`P1 what an application does to the user between hook and route changes no outcome, on ${name}`, async (t) => {
    let between: (request: FastifyRequest, app: FastifyInstance) => unknown = () => {}
    const app = await build(t, {
      revocation: mode(),
      after (app) {
        app.get('/between', {
          onRequest: async (request) => { await request.jwtVerify() },
          preHandler: async (request) => {
            const claims = request.user as unknown as Record<string, unknown>
            Object.assign(claims, { jti: 'another', sub: 'another' })
            await between(request, app)
            request.user = { jti: 'replaced' } as never
          }
        }, async (request) => ({ result: await request.jwtVerify(), user: request.user }))
      }
    })
    const { jti, token } = await genuine()
    t.equal((await app.inject({ url: '/between', headers: bearer(token) })).statusCode, 200)
    between = (_request, app) => app.revocation.revoke({ jti })
    t.strictSame(answerOf(await app.inject({ url: '/between', headers: bearer(token) })), REVOKED)
  })

  t.test(`P1 namespaces are guarded one by one, on ${name}`, async (t) => {
    const app = await build(t, {
      jwt: [
        { namespace: 'people', secret: SECRET, sign: { expiresIn: '15m', iss: 'people' } },
        { namespace: 'robots', secret: OTHER_SECRET, jwtVerify: 'robotVerify', sign: { expiresIn: '15m', iss: 'robots' } }
      ],
      revocation: mode(),
      after (app) {
        for (const verifyName of ['peopleJwtVerify', 'robotVerify']) {
          app.get(`/${verifyName}`, async (request) => (request as unknown as Record<string, () => unknown>)[verifyName]!())
        }
      }
    })
    const people = await app.revocation.issue({ sub: 'a' })
    const robots = await app.revocation.issue({ sub: 'a' }, { namespace: 'robots' })
    t.strictSame([people.iss, robots.iss], ['people', 'robots'])
    const ask = async (token: string, url: string) => answerOf(await app.inject({ url, headers: bearer(token) }))
    t.match(await ask(people.token, '/peopleJwtVerify'), { statusCode: 200, body: { iss: 'people' } })
    t.match(await ask(robots.token, '/robotVerify'), { statusCode: 200, body: { iss: 'robots' } })
    t.strictSame(await ask(people.token, '/robotVerify'), { statusCode: 401, body: FORGED }, 'the secret of another namespace verifies nothing')
    t.strictSame(await ask(robots.token, '/peopleJwtVerify'), { statusCode: 401, body: FORGED })
    await app.revocation.revoke({ jti: robots.jti, iss: 'robots' })
    for (const url of ['/robotVerify', '/public']) t.strictSame(await ask(robots.token, url), REVOKED, url)
    t.match(await ask(people.token, '/peopleJwtVerify'), { statusCode: 200 })
  })
}

t.test('formatUser makes the user of a call, once, and nobody else has it called', async (t) => {
  let formatted = 0
  const app = await build(t, {
    jwt: { formatUser: (payload) => { formatted++; return { name: (payload as { sub: string }).sub } as never } },
    after (app) {
      app.get('/own', { config: { revocation: false } }, async (request) => request.jwtVerify())
      app.get('/twice', async (request) => [await request.jwtVerify(), await request.jwtVerify()])
    }
  })
  const { token, jti } = await genuine()
  const ask = async (url: string) => {
    formatted = 0
    const { statusCode, body } = answerOf(await app.inject({ url, headers: bearer(token) }))
    return { statusCode, body, formatted }
  }
  t.strictSame(await ask('/me'), { statusCode: 200, body: { user: { name: 'alice' } }, formatted: 1 })
  t.strictSame(await ask('/twice'), { statusCode: 200, body: [{ name: 'alice' }, { name: 'alice' }], formatted: 1 })
  t.strictSame(await ask('/public'), { statusCode: 200, body: { user: null }, formatted: 0 })
  await app.revocation.revoke({ jti })
  for (const url of ['/me', '/own']) t.strictSame(await ask(url), { statusCode: 401, body: REVOKED.body, formatted: 0 }, url)
})

t.test('each call gives a promise of its own for the user of an async formatUser, as @fastify/jwt does', async (t) => {
  const app = await build(t, {
    jwt: { formatUser: (async () => ({ name: 'alice' })) as never },
    after (app) {
      app.get('/calls', async (request) => {
        const [one, other] = [request.jwtVerify(), request.jwtVerify()]
        await one
        const kinds = [one, other].map((call) => [call instanceof Promise, call === other, call === (request.user as unknown)])
        return { kinds, users: await Promise.all([one, other, request.user]) }
      })
    }
  })
  const { token } = await genuine()
  const user = { name: 'alice' }
  t.strictSame((await app.inject({ url: '/calls', headers: bearer(token) })).json(), {
    kinds: [[true, false, false], [true, true, false]], users: [user, user, user]
  })
})

t.test('a user of a subclass of Promise is awaited as any other promise, whatever its then() gives', async (t) => {
  class Own extends Promise<unknown> {
    // @ts-expect-error: it gives no promise.
    override then (tell?: (user: unknown) => void) { tell?.({ name: 'alice' }) }
  }
  const app = await build(t, {
    jwt: { formatUser: (() => new Own(() => {})) as never },
    after (app) {
      app.get('/own', async (request) => [await request.jwtVerify(), await request.jwtVerify()])
    }
  })
  const { token } = await genuine()
  t.strictSame((await app.inject({ url: '/own', headers: bearer(token) })).json(), [{ name: 'alice' }, { name: 'alice' }])
})

t.test('options that throw once the token is found reject the call, and throw nothing', async (t) => {
  const { token } = await genuine()
  const app = await build(t, {
    after (app) {
      app.get('/hostile', async (request) => {
        let isFound = false
        const extractToken = () => { isFound = true; return token }
        const hostile = new Proxy({ extractToken }, {
          ownKeys (options) {
            if (isFound) throw new Error('no keys')
            return Reflect.ownKeys(options)
          }
        })
        const call: unknown = request.jwtVerify(hostile as never)
        return { isPromise: call instanceof Promise, message: await (call as Promise<unknown>).catch(({ message }) => message) }
      })
    }
  })
  t.strictSame((await app.inject({ url: '/hostile', headers: bearer(token) })).json(), { isPromise: true, message: 'no keys' })
})

t.test('a formatUser that is late for a strict check still makes the user', async (t) => {
  const app = await build(t, {
    jwt: { formatUser: (payload) => ({ name: (payload as { sub: string }).sub }) as never },
    revocation: { ...MODES.strict!(), enforce: 'verified' },
    after (app) {
      app.get('/both', async (request) => Promise.all([request.jwtVerify(), request.jwtVerify()]))
    }
  })
  const { token } = await genuine()
  t.strictSame((await app.inject({ url: '/both', headers: bearer(token) })).json(), [{ name: 'alice' }, { name: 'alice' }])
})

t.test('a token that verifies only when it is asked for a second time is checked as well', async (t) => {
  let asked = 0
  const late = { test: () => ++asked % 2 === 0 }
  const app = await build(t, { jwt: { verify: { allowedSub: late as never } } })
  const { token, jti } = await genuine()
  t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: { jti } } })
  await app.revocation.revoke({ jti })
  asked = 0
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
})

t.test('a secret that only a request knows is asked for by each call', async (t) => {
  const app = await build(t, {
    jwt: { secret: async (request: FastifyRequest) => request.headers['x-tenant'] === 'b' ? OTHER_SECRET : SECRET, sign: {} }
  })
  const ofB = await signed({ jti: 'b', exp: inSeconds(60) }, OTHER_SECRET)
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(ofB) })), { statusCode: 401, body: FORGED })
  t.match(answerOf(await app.inject({ url: '/me', headers: { ...bearer(ofB), 'x-tenant': 'b' } })), { statusCode: 200, body: { user: { jti: 'b' } } })
})

t.test('in replica mode another process refuses the token, too', async (t) => {
  const keyPrefix = ownPrefix()
  const [one, two] = await Promise.all([1, 2].map(() => build(t, { revocation: { redis: server.url, keyPrefix, mode: 'replica' } })))
  const { token, jti } = await one!.revocation.issue({ sub: 'alice' })
  t.equal((await two!.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
  await one!.revocation.revoke({ jti })
  await eventually('the other process refuses it', async () => (await two!.inject({ url: '/me', headers: bearer(token) })).statusCode === 401)
})

t.test('the guard reaches every scope, registered before or after, and ends with the plugin\'s own', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const me = async (scope: FastifyInstance) => { scope.get('/me', async (request) => request.jwtVerify()) }
  app.register(me, { prefix: '/before' })
  app.register(async (scope) => {
    await scope.register(revocationPlugin, { jwt: { secret: SECRET, sign: { expiresIn: '15m' } } })
    scope.register(me, { prefix: '/below' })
    scope.get('/revoke', async (request) => scope.revocation.revoke(request))
  }, { prefix: '/scope' })
  await app.ready()
  t.notOk(app.hasDecorator('jwt'))
  const { token } = await genuine()
  t.equal((await app.inject({ url: '/scope/below/me', headers: bearer(token) })).statusCode, 200)
  t.equal((await app.inject({ url: '/scope/revoke', headers: bearer(token) })).statusCode, 200)
  t.strictSame(answerOf(await app.inject({ url: '/scope/below/me', headers: bearer(token) })), REVOKED)
})

t.test('options of another shape are refused, and no message quotes a secret', async (t) => {
  const wanted = 'fastify-jwt-revocation: option "jwt" must be options of @fastify/jwt, or an array of them with a different "namespace" each; got '
  const given: Array<[jwt: unknown, got: string]> = [
    [SECRET, 'string'],
    [null, 'object'],
    [[], '[]'],
    [[{ secret: SECRET }], '[{ secret }]'],
    [[{ secret: SECRET, namespace: 'a' }, { secret: SECRET, namespace: 'a' }], '[{ secret, namespace }, { secret, namespace }]'],
    [[{ secret: SECRET, namespace: '' }, SECRET], '[{ secret, namespace }, string]']
  ]
  for (const [jwt, got] of given) {
    await t.rejects(start({ jwt }), badOption(`${wanted}${got}`), got)
  }
})

t.test('options "namespace" and "jwtVerify" belong into option "jwt"', async (t) => {
  for (const name of ['namespace', 'jwtVerify']) {
    await t.rejects(start({ jwt: { secret: SECRET }, [name]: 'a' }),
      badOption(`fastify-jwt-revocation: option "${name}" can not go with option "jwt"; give "${name}" as an option of @fastify/jwt, inside "jwt"`))
  }
})

t.test('a @fastify/jwt that is there already is none to register', async (t) => {
  for (const namespace of [undefined, 'a']) {
    const app = Fastify()
    await app.register(fastifyJwt, { secret: SECRET, ...(namespace && { namespace }) })
    await t.rejects(start({ jwt: { secret: SECRET } }, app), badOption(
      'fastify-jwt-revocation: option "jwt" registers @fastify/jwt, which is registered already; leave out that registration, or option "jwt"'))
  }
})

t.test('what @fastify/jwt refuses is refused in its words', async (t) => {
  const refused: unknown[] = [
    {},
    { secret: '' },
    { secret: { private: SECRET } },
    { secret: SECRET, sign: { algorithm: 'RS256' } },
    { secret: SECRET, sign: { expiresIn: 'nonsense' } },
    { secret: SECRET, verify: { clockTolerance: -1 } },
    { secret: SECRET, verify: { algorithms: ['RS256'] } },
    { secret: SECRET, jwtVerify: 5 },
    { secret: SECRET, decode: null }
  ]
  for (const jwt of refused) {
    const own = await Fastify().register(fastifyJwt, jwt as never).ready().then(() => undefined, (error) => error as Error & { code?: string })
    const ours = await start({ jwt }).then(() => undefined, (error) => error as Error & { code?: string })
    t.ok(own)
    t.strictSame([ours?.message, ours?.code, ours?.name], [own?.message, own?.code, own?.name], JSON.stringify(jwt))
  }
})

t.test('whoever changes the options after the start changes nothing', async (t) => {
  const jwt: Record<string, unknown> = { secret: SECRET, verify: { allowedSub: 'alice' } }
  const app = await build(t, { jwt })
  Object.assign(jwt, { formatUser: () => 'nobody', trusted: () => false })
  Object.assign(jwt.verify as object, { complete: true, cache: true })
  const { token, jti } = await genuine()
  t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: { jti } } })
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

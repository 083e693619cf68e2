import t from 'tap'
import { claimsOf } from '../../lib/domain/claims.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import Fastify, { type FastifyRequest } from 'fastify'
import { requestPrototype, routeConfigs } from '../../lib/http/fastify-internals.ts'
import type { RedisClient } from '../../lib/types.ts'
import { buildDomain, Clock, NAMES, presented, RULES, tokenOf } from '../support/domain.ts'
import { on, redisStore } from '../support/stores.ts'
import { systemClock } from '../../lib/time.ts'

const context = { clock: systemClock, onLost () {}, onBack () {} }

function storeOver (t: Test, client: Partial<RedisClient>) {
  const store = redisStore({ isCluster: false, call: async () => null, pipeline: () => ({ exec: async () => null }), ...client }, { keyPrefix: 'x:', storeTimeout: 100, logSpan: 3600, minReplicas: 0 }, context)
  t.teardown(() => store.close())
  return store
}

type Test = typeof t

t.test('P3 a client whose pipeline gives nothing, or too little, has acknowledged nothing', async (t) => {
  for (const results of [null, []]) {
    const store = storeOver(t as Test, { pipeline: () => ({ exec: async () => results }) })
    await t.rejects(on(store).revoke('a', { at: 1, exp: null }, null), { name: 'TypeError', message: 'Redis answered nonsense to a pipeline' })
  }
})

t.test('P4 a client that rejects with something that is no error, or with nothing, is a store that failed', async (t) => {
  for (const reason of ['down', undefined]) {
    const store = storeOver(t as Test, { call: () => Promise.reject(reason) })
    t.ok(await new Promise((resolve) => on(store).check('a', undefined, resolve)))
    t.equal(store.status.available, false)
  }
})

t.test('P4 a count that fails after the cutoff is an answer of 503', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const domain = buildDomain({ clock, store })
  const { token } = await domain.issue({ sub: 'alice' })
  t.intercept(store.denials, 'check', { value: (_names: unknown, done: (error: Error) => void) => done(new Error('down')) })
  const unavailable = { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: { message: 'down' } }
  await t.rejects(domain.revokeSubject('alice'), unavailable)
  await t.rejects(domain.isRevoked(claimsOf(token)), unavailable)
})

t.test('a token that never ends is issued after the cutoff that lies ahead of it', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const domain = buildDomain({
    clock,
    store,
    rules: { maxTokenLifetime: null, clockTolerance: 0, tokensWithoutJti: 'reject', ...NAMES },
    sign: (claims) => tokenOf({ iat: clock.seconds, ...claims })
  })
  await domain.revokeSubject('alice')
  const { token, expiresAt } = await domain.issue({ sub: 'alice' })
  t.equal(expiresAt, null)
  t.equal(await presented(domain, claimsOf(token)), 'accepted')
  await t.rejects(domain.revokeSubject('alice', { except: null as never }), {
    name: 'TypeError', message: 'revokeSubject() takes as except the jti of a token'
  })
})

t.test('a Fastify that keeps its requests elsewhere stops the start', async (t) => {
  t.throws(() => requestPrototype({} as never), {
    code: 'FST_JWT_REVOCATION_BAD_OPTION',
    message: 'fastify-jwt-revocation: this version of Fastify keeps no "fastify.Request" where the plugin looks for it; use Fastify 5'
  })
})

t.test("the config of a request's route is what Fastify says it is, wherever it keeps that", async (t) => {
  const configOf = routeConfigs()
  const asked: string[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/early', { config: { revocation: true } }, async () => null)
  app.addHook('onRequest', async (request) => {
    const { url, method, routeOptions: { config } } = request
    t.equal(configOf(request), config, `${method} ${url}`)
    asked.push(`${method} ${url} ${config?.revocation}`)
  })
  app.get('/without', async () => null)
  app.register(async (app) => {
    app.get('/:id', { config: { revocation: false } }, async () => null)
    app.setNotFoundHandler(async () => null)
  }, { prefix: '/below' })
  for (const url of ['/early', '/without', '/below/1', '/below/nothing/here', '/nowhere']) await app.inject(url)
  await app.inject({ method: 'HEAD', url: '/below/1' })
  t.strictSame(asked, [
    'GET /early true', 'GET /without undefined', 'GET /below/1 false', 'GET /below/nothing/here undefined', 'GET /nowhere undefined', 'HEAD /below/1 false'
  ])
  const elsewhere = { routeOptions: { config: { revocation: false } } } as unknown as FastifyRequest
  t.strictSame([configOf(elsewhere), routeConfigs()(elsewhere)], [{ revocation: false }, { revocation: false }])
})

t.test('a token without iat is issued where no cutoff can be meant for it, and where it is known that there is none', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const rules = { ...RULES, maxTokenLifetime: null }
  const domain = buildDomain({ clock, store, rules, sign: (claims) => tokenOf({ exp: clock.seconds + 900, ...claims }) })
  for (const claims of [{}, { sub: 'alice' }]) {
    const { token } = await domain.issue(claims)
    t.equal(await presented(domain, claimsOf(token)), 'accepted')
  }
  t.intercept(store.denials, 'check', { value: (_names: unknown, done: (error: Error) => void) => done(new Error('down')) })
  await t.rejects(domain.issue({ sub: 'alice' }), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: { message: 'down' } })
  await t.rejects(domain.tokens('alice'), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: { message: 'down' } })
})

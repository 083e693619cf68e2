import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, SECRET, signed } from '../support/app.ts'
import { eventually, startRedis } from '../support/redis.ts'

/* P10: an application's own hook runs first. What it gave the request is there after ours, however long it took. */

const server = await startRedis(t)
const OTHER_SECRET = 'another secret of the tests, of more than 32 bytes'
const MODES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  replica: () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

type Verifying = Record<string, () => Promise<unknown>>

/** An application of one namespace, or of several, whose own hook does something before ours comes. */
async function build (t: Test, namespaces: Array<Partial<FastifyJWTOptions>>, revocation: RevocationOptions, hook: (request: Verifying, app: FastifyInstance) => Promise<void>) {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const options of namespaces) await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' }, ...options } as FastifyJWTOptions)
  app.addHook('onRequest', async (request) => hook(request as unknown as Verifying, app))
  const names = namespaces.flatMap(({ namespace }) => namespace ?? [])
  await app.register(revocationPlugin, { ...revocation, ...(names.length > 0 && { namespace: names }) })
  app.get('/', async (request) => {
    const { user, principal } = request as unknown as { user: unknown, principal: unknown }
    return { user, ...(principal !== undefined && { principal }) }
  })
  await app.ready()
  return app
}

for (const [name, mode] of Object.entries(MODES)) {
  const waits: Record<string, (app: FastifyInstance) => Promise<unknown>> = {
    'waited longer than an outcome is shared': () => sleep(150),
    'waited while this process revoked something': (app) => app.revocation.revoke({ jti: String(Math.random()) })
  }
  for (const [label, wait] of Object.entries(waits)) {
    t.test(`P10 a user that the application's own hook verified is there after ours, though it ${label}, on ${name}`, async (t) => {
      const app = await build(t, [{}], mode(), async (request, app) => {
        await request.jwtVerify!()
        await wait(app)
      })
      const { jti, token } = await genuine()
      t.match(answerOf(await app.inject({ url: '/', headers: bearer(token) })), { statusCode: 200, body: { user: { jti } } })
      await app.revocation.revoke({ jti })
      t.strictSame(answerOf(await app.inject({ url: '/', headers: bearer(token) })), REVOKED)
    })

    t.test(`P10 what another namespace, or an API key, made the user of is there after ours, though it ${label}, on ${name}`, async (t) => {
      const namespaces = [{ namespace: 'a' }, { namespace: 'b', secret: OTHER_SECRET }, { namespace: 'c', decoratorName: 'principal' }] as Array<Partial<FastifyJWTOptions>>
      const app = await build(t, namespaces, mode(), async (request, app) => {
        await request.bJwtVerify!().catch(() => { (request as unknown as { user: unknown }).user = { key: 'of the API' } })
        await request.cJwtVerify!().catch(() => {})
        await wait(app)
      })
      const ofB = await signed({ jti: 'b', exp: inSeconds(60) }, OTHER_SECRET)
      t.match(answerOf(await app.inject({ url: '/', headers: bearer(ofB) })), { statusCode: 200, body: { user: { jti: 'b' }, principal: null } })
      const { jti, token } = await genuine()
      t.match(answerOf(await app.inject({ url: '/', headers: bearer(token) })), { statusCode: 200, body: { user: { key: 'of the API' }, principal: { jti } } })
      await app.revocation.revoke({ jti })
      t.strictSame(answerOf(await app.inject({ url: '/', headers: bearer(token) })), REVOKED)
    })
  }
}

t.test('P10 the user stays though another process revokes something while the application waits, in replica mode', async (t) => {
  const keyPrefix = ownPrefix()
  const other = await buildApp(t, { revocation: { redis: server.url, keyPrefix } })
  let heard = 0
  const app = await build(t, [{}], { redis: server.url, keyPrefix, mode: 'replica' }, async (request) => {
    await request.jwtVerify!()
    const before = heard
    await other.revocation.revoke({ jti: String(Math.random()) })
    await eventually('the replica has heard of it', async () => heard > before)
  })
  app.revocation.on('revoked', () => { heard++ })
  const { jti, token } = await genuine()
  t.match(answerOf(await app.inject({ url: '/', headers: bearer(token) })), { statusCode: 200, body: { user: { jti } } })
})

t.test('P10 the user stays where the secret and trusted come late', async (t) => {
  const late = { secret: async () => { await sleep(5); return SECRET }, trusted: async () => { await sleep(5); return true } }
  const app = await build(t, [late], {}, async (request) => {
    ;(request as unknown as { user: unknown }).user = { key: 'of the API' }
  })
  const { jti, token } = await genuine()
  t.match(answerOf(await app.inject({ url: '/', headers: bearer(token) })), { statusCode: 200, body: { user: { key: 'of the API' } } })
  await app.revocation.revoke({ jti })
  t.strictSame(answerOf(await app.inject({ url: '/', headers: bearer(token) })), REVOKED)
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

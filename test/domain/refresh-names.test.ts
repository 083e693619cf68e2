import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import t from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { buildApp, ownPrefix, REVOKED, SECRET } from '../support/app.ts'
import { claimsOf } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { REFRESH_INVALID, statusOf } from '../support/sessions.ts'

/* Sessions whose names are unusual: other claims, numbers, namespaces, a session of the caller's own. */

const redis = await startRedis(t)
t.teardown(() => {})
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: redis.url, keyPrefix: ownPrefix() }),
  replica: () => ({ redis: redis.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

for (const [store, options] of Object.entries(STORES)) {
  t.test(`sid and jti in other claims: ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: { ...options(), refresh: {}, claims: { sid: 'session_id', jti: 'uti' } } })
    // sid is a claim like any other here: the shop.
    const first = await app.revocation.issue({ sub: 'alice', sid: 'a shop', jti: 'a thing' }, { refresh: true })
    const second = await app.revocation.refresh(first.refreshToken)
    const [before, after] = [claimsOf(first.token), claimsOf(second.token)]
    t.match(after, { sub: 'alice', sid: 'a shop', session_id: first.sid, uti: second.jti })
    t.not(after.uti, before.uti)
    t.equal(before.session_id, first.sid)
    await app.revocation.revoke({ jti: first.jti })
    for (const { token } of [first, second]) t.strictSame(await statusOf(app, token), REVOKED)
    await t.rejects(app.revocation.refresh(second.refreshToken), REFRESH_INVALID)
    t.match((await app.revocation.tokens('alice')).tokens, [{ id: first.id, sid: first.sid, status: 'revoked' }])
  })

  t.test(`a sub and a sid that are numbers stay numbers: ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: { ...options(), refresh: {} } })
    const first = await app.revocation.issue({ sub: 7, sid: 42 }, { refresh: true })
    t.equal(first.sid, '42')
    const second = await app.revocation.refresh(first.refreshToken)
    t.match(claimsOf(second.token), { sub: 7, sid: 42 })
    const third = await app.revocation.refresh(second.refreshToken, { claims: (old) => ({ ...old, role: 'admin' }) })
    t.match(claimsOf(third.token), { sub: 7, sid: 42, role: 'admin' })
    for (const claims of [{ sub: 8 }, { sub: 7, sid: 43 }, { iss: 'x' }]) {
      await t.rejects(app.revocation.refresh(third.refreshToken, { claims }), TypeError)
    }
    t.equal((await app.revocation.tokens(7)).tokens.length, 1)
    await app.revocation.revokeSubject(7)
    for (const { token } of [first, second, third]) t.strictSame(await statusOf(app, token), REVOKED)
    await t.rejects(app.revocation.refresh(third.refreshToken), REFRESH_INVALID)
  })

  t.test(`the namespace of the login signs, and what claims() gives stays for the next one: ${store}`, async (t) => {
    const other: FastifyJWTOptions = { secret: `${SECRET} of another`, namespace: 'other', sign: { expiresIn: '10m' } }
    const app = await buildApp(t, {
      jwt: { namespace: 'own' },
      before: (app) => app.register(fastifyJwt, other),
      revocation: { ...options(), refresh: {}, namespace: ['own', 'other'] },
      after (app) {
        app.get('/other', async (request) => (request as unknown as { otherJwtVerify: () => Promise<object> }).otherJwtVerify())
      }
    })
    const first = await app.revocation.issue({ sub: 'alice', role: 'user' }, { refresh: true, namespace: 'other' })
    const second = await app.revocation.refresh(first.refreshToken, { claims: (old) => ({ ...old, role: 'admin' }) })
    const third = await app.revocation.refresh(second.refreshToken)
    t.match(claimsOf(third.token), { role: 'admin' })
    const verify = (token: string) => app.inject({ url: '/other', headers: { authorization: `Bearer ${token}` } })
    t.equal((await verify(third.token)).statusCode, 200)
    await app.revocation.revokeById(first.id)
    t.equal((await verify(third.token)).statusCode, 401)
  })
}

t.test('two deployments with other claims() answer one storm with one successor, whose claims are the first one\'s', async (t) => {
  const options = { ...STORES.strict!(), refresh: {} }
  const [old, young] = [await buildApp(t, { revocation: options }), await buildApp(t, { revocation: options })]
  const first = await old.revocation.issue({ sub: 'alice' }, { refresh: true })
  const one = await old.revocation.refresh(first.refreshToken, { claims: (before) => ({ ...before, version: 1 }) })
  const two = await young.revocation.refresh(first.refreshToken, { claims: (before) => ({ ...before, version: 2 }) })
  t.equal(two.refreshToken, one.refreshToken)
  t.match([claimsOf(one.token), claimsOf(two.token)], [{ version: 1 }, { version: 2 }])
  t.match(claimsOf((await old.revocation.refresh(one.refreshToken)).token), { version: 1 })
  await young.revocation.revokeSession(first.sid)
  for (const { token } of [one, two]) t.strictSame(await statusOf(old, token), REVOKED)
})

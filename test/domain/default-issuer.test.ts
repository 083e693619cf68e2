import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify from 'fastify'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, SECRET } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

/*
 * Most applications have one issuer and name it once, where they register @fastify/jwt. What they end by name must be
 * what they issued.
 */

const server = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: server.url, keyPrefix: ownPrefix() })
}
const expiring = { expiresIn: '15m' }
const ISSUER = 'https://api.example'

/** Each way in which an application names one issuer. */
const ONE: Record<string, Partial<FastifyJWTOptions>> = {
  'sign.iss': { sign: { ...expiring, iss: ISSUER } },
  'sign.iss, and another that is allowed': { sign: { ...expiring, iss: ISSUER }, verify: { allowedIss: [ISSUER, 'other'] } },
  'verify.allowedIss': { sign: expiring, verify: { allowedIss: ISSUER } },
  'verify.allowedIss of one': { sign: expiring, verify: { allowedIss: [ISSUER] } }
}

for (const [name, store] of Object.entries(STORES)) {
  for (const [label, jwt] of Object.entries(ONE)) {
    t.test(`P1 what is revoked by name is what was issued: the default issuer is that of ${label}, on ${name}`, async (t) => {
      const app = await buildApp(t, { jwt, revocation: store() })
      const me = async (token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))

      const first = await app.revocation.issue({ sub: 'alice' })
      t.equal(first.iss, ISSUER, 'issue() says so')
      t.equal((await me(first.token)).statusCode, 200)
      t.match(await app.revocation.revoke({ jti: first.jti }), { jti: first.jti, iss: ISSUER, id: first.id, first: true })
      t.strictSame(await me(first.token), REVOKED)

      const second = await app.revocation.issue({ sub: 'alice' })
      const foreign = await genuine({ iss: ISSUER })
      t.strictSame((await app.revocation.tokens('alice')).tokens.map(({ id }) => id).sort(), [first.id, second.id].sort())
      t.match(await app.revocation.revokeSubject('alice'), { sub: 'alice', iss: ISSUER, revoked: 1 })
      for (const { token } of [second, foreign]) t.strictSame(await me(token), REVOKED)
    })
  }

  t.test(`an iss that is given counts, '' is none, and claims are taken as they are, on ${name}`, async (t) => {
    const app = await buildApp(t, { jwt: ONE['sign.iss']!, revocation: store() })
    const { revocation } = app
    const claims = (iss?: string) => ({ jti: 'x', sub: 'bob', ...(iss !== undefined && { iss }), iat: inSeconds(-60), exp: inSeconds(60) })
    const revoked = async () => Promise.all([undefined, ISSUER, 'other'].map((iss) => revocation.isRevoked(claims(iss))))

    t.match(await revocation.revoke(claims()), { jti: 'x', iss: undefined }, 'with an iat they are claims')
    t.strictSame(await revoked(), [true, false, false])
    t.match(await revocation.revoke({ jti: 'x', iss: 'other' }), { iss: 'other' })
    t.strictSame(await revoked(), [true, false, true])
    t.match(await revocation.revoke({ jti: 'x' }), { iss: ISSUER })
    t.strictSame(await revoked(), [true, true, true])
    t.match(await revocation.revoke({ jti: 'y', iss: '' }), { iss: undefined })
    t.equal(await revocation.isRevoked({ ...claims(), jti: 'y' }), true)

    const record = await revocation.record({ ...claims(), jti: 'z' })
    t.equal(record.iss, undefined)
    t.strictSame(await revocation.tokens('bob'), { tokens: [] })
    t.match(await revocation.tokens('bob', { iss: '' }), { tokens: [{ id: record.id }] })
    t.match(await revocation.revokeSubject('bob', { iss: '' }), { sub: 'bob', iss: undefined, revoked: 1 })
    t.equal(await revocation.isRevoked({ ...claims(), jti: 'z' }), true)
  })
}

/** Several namespaces, each registered with these options. */
async function several (t: Test, ...namespaces: Array<Partial<FastifyJWTOptions>>) {
  const app = Fastify()
  t.teardown(() => app.close())
  const names = namespaces.map((_, i) => `n${i}`)
  for (const [i, options] of namespaces.entries()) await app.register(fastifyJwt, { secret: SECRET, sign: expiring, ...options, namespace: names[i]! })
  await app.register(revocationPlugin, { namespace: names })
  await app.ready()
  return app.revocation
}

t.test('where tokens may be of several issuers, a name needs one', async (t) => {
  const of = (iss: string) => ({ sign: { ...expiring, iss } })
  const allowing = (allowedIss: unknown) => ({ verify: { allowedIss } as NonNullable<FastifyJWTOptions['verify']> })
  const setUps: Record<string, Array<Partial<FastifyJWTOptions>>> = {
    'two issuers': [of('a'), of('b')],
    'one issuer, and none': [of('a'), {}],
    'one that signs, one that allows another': [of('a'), allowing('b')],
    'several are allowed': [allowing(['a', 'b'])],
    'a pattern is allowed': [allowing(/^a/)],
    'any is allowed, and one is required': [{ verify: { requiredClaims: ['sub', 'iss'] } as NonNullable<FastifyJWTOptions['verify']> }]
  }
  for (const [label, namespaces] of Object.entries(setUps)) {
    const revocation = await several(t, ...namespaces)
    const jti = randomUUID()
    const calls: Record<string, (options: { iss?: string }) => Promise<unknown>> = {
      revoke: (options) => revocation.revoke({ jti, ...options }),
      revokeSubject: (options) => revocation.revokeSubject('alice', options),
      tokens: (options) => revocation.tokens('alice', options)
    }
    for (const [method, call] of Object.entries(calls)) {
      await t.rejects(call({}), {
        name: 'TypeError', message: `${method}() needs iss, because tokens may be of several issuers here: give { iss }, '' for tokens without one`
      }, label)
      for (const iss of ['a', '']) await t.resolves(call({ iss }), label)
    }
    await t.resolves(revocation.revoke({ jti, iat: inSeconds(0) }), 'claims are taken as they are')
  }
})

t.test('namespaces that have one issuer have a default, and without any issuer there is none', async (t) => {
  const shared = await several(t, { sign: { ...expiring, iss: 'a' } }, { verify: { allowedIss: ['a'] } })
  t.match(await shared.revokeSubject('alice'), { iss: 'a' })
  t.equal((await shared.issue({ sub: 'alice' })).iss, 'a')
  const none = await several(t, {}, { verify: { allowedIss: [] } })
  t.match(await none.revokeSubject('alice'), { iss: undefined })
  const { iss, token } = await none.issue({ sub: 'alice' })
  t.equal(iss, undefined)
  t.notMatch(Buffer.from(token.split('.')[1]!, 'base64url').toString(), 'iss')
})

t.test('issue() gives a token the issuer that is asked for, before the default one', async (t) => {
  const app = await buildApp(t, { jwt: { sign: expiring, verify: { allowedIss: 'a' } } })
  t.equal((await app.revocation.issue({ sub: 'alice' })).iss, 'a')
  t.equal((await app.revocation.issue({ sub: 'alice', iss: 'b' })).iss, 'b')
  t.equal((await app.revocation.issue({ sub: 'alice' }, { iss: 'c' })).iss, 'c')
  t.equal((await app.revocation.issue({ sub: 'alice', iss: '' })).iss, undefined)
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

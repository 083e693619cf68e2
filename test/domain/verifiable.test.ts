import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify from 'fastify'
import t from 'tap'
import { revocationPlugin, type IssueOptions } from '../../lib/index.ts'
import { bearer, buildApp, SECRET } from '../support/app.ts'

/* issue() and the verify options of @fastify/jwt: no token that its own namespace would not accept. */

const expiring = { expiresIn: '15m' }
const refusal = (sentence: string) => ({ name: 'TypeError', message: `issue() signed a token that would not be accepted: ${sentence}` })
const lacks = (claim: string) => `it has no ${claim}, which verify: { requiredClaims } of @fastify/jwt asks for`
const none = (claim: string, option: string, culprit?: string) => `its ${claim} is none that verify: { ${option} } of @fastify/jwt lets pass${culprit ? `; that comes from ${culprit}` : ''}`
/** Whatever tells them apart, as fast-jwt takes it. */
const starting = { test: (value: string) => value.startsWith('a') }

type Row = [verify: object, claims: object, options: IssueOptions | undefined, refused: string | undefined, sign?: object]

const ROWS: Row[] = [
  [{ requiredClaims: ['role'] }, {}, undefined, lacks('role')],
  [{ requiredClaims: ['role'] }, { role: undefined }, undefined, lacks('role')],
  [{ requiredClaims: ['role'] }, { role: null }, undefined, undefined],
  [{ requiredClaims: ['toString'] }, {}, undefined, undefined],
  [{ requiredClaims: ['jti', 'iat', 'exp', 'sub'] }, {}, undefined, undefined],
  [{ requiredClaims: ['sub', 'aud', 'iss'] }, {}, undefined, lacks('aud')],
  [{ requiredClaims: ['aud'] }, {}, { aud: 'us' }, undefined],
  [{ requiredClaims: ['aud'] }, {}, undefined, undefined, { aud: 'us' }],
  [{ requiredClaims: [] }, {}, undefined, undefined],
  [{ allowedNonce: 'a' }, {}, undefined, none('nonce', 'allowedNonce', 'sign: { nonce } of @fastify/jwt'), { nonce: 'b' }],
  [{ allowedNonce: ['a', 'c'] }, { nonce: 'b' }, undefined, none('nonce', 'allowedNonce', 'nonce in the claims')],
  [{ allowedNonce: 'a' }, {}, { nonce: 'b' }, none('nonce', 'allowedNonce', 'option nonce of issue()')],
  [{ allowedNonce: ['b', /^a/] }, { nonce: 'ab' }, undefined, undefined],
  [{ allowedNonce: 'a' }, {}, undefined, undefined],
  [{ allowedNonce: [] }, { nonce: 'a' }, undefined, none('nonce', 'allowedNonce', 'nonce in the claims')],
  [{ allowedNonce: '' }, { nonce: 'a' }, undefined, undefined],
  [{ allowedNonce: [null, 'b'] }, { nonce: 'a' }, undefined, none('nonce', 'allowedNonce', 'nonce in the claims')],
  [{ allowedSub: 'alic' }, {}, undefined, none('sub', 'allowedSub', 'sub in the claims')],
  [{ allowedSub: /^alice$/gy }, {}, undefined, undefined],
  [{ allowedSub: starting }, {}, undefined, undefined],
  [{ allowedSub: starting }, { sub: 'bob' }, undefined, none('sub', 'allowedSub', 'sub in the claims')],
  [{ allowedSub: '42' }, { sub: 42 }, undefined, none('sub', 'allowedSub', 'sub in the claims')],
  [{ allowedJti: /^api-/ }, {}, undefined, none('jti', 'allowedJti')],
  [{ allowedJti: /^api-/ }, { jti: 'api-1' }, undefined, undefined],
  [{ allowedNonce: 'n' }, { nonce: 'm' }, undefined, none('nonce', 'allowedNonce', 'nonce in the claims')],
  [{ allowedNonce: 'n' }, {}, { nonce: 'n' }, undefined]
]

t.test('issue() records and hands out what its verify options accept, and refuses the rest by the claim and the option', async (t) => {
  for (const [verify, claims, options, refused, sign = {}] of ROWS) {
    const label = JSON.stringify([verify, claims, options, sign])
    const app = await buildApp(t, { jwt: { sign: { ...expiring, ...sign }, verify: verify as NonNullable<FastifyJWTOptions['verify']> } })
    const me = async (token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
    const asked = { sub: 'alice', ...claims }
    const error = await app.revocation.issue(asked, options).then(async ({ token }) => {
      t.equal(await me(token), 200, label)
    }, (error) => error)
    if (refused === undefined) {
      t.equal(error, undefined, label)
      continue
    }
    t.strictSame({ name: error?.name, message: error?.message }, refusal(refused), label)
    // Of a claim of another type it makes a 500.
    t.match(await me(app.jwt.sign({ jti: 'x', ...asked, ...options })), 'sub' in claims && claims.sub === 42 ? 500 : 401, `${label}: @fastify/jwt says the same`)
    t.strictSame(await app.revocation.tokens(asked.sub, { iss: '' }), { tokens: [] }, `${label}: nothing is recorded`)
  }
})

t.test('a token for another service is issued, and one that is not valid yet', async (t) => {
  const app = await buildApp(t, { jwt: { sign: expiring, verify: { allowedAud: 'us', allowedIss: 'a', cache: true, errorCacheTTL: 60_000 } } })
  for (const options of [{ aud: 'them' }, { iss: 'b' }, { notBefore: 60 }]) {
    const { id } = await app.revocation.issue({ sub: 'alice' }, options)
    t.match(await app.revocation.token(id), { sub: 'alice' })
  }
})

t.test('each namespace has its own verify options', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const common = { secret: SECRET, sign: expiring }
  await app.register(fastifyJwt, { ...common, namespace: 'user', verify: { requiredClaims: ['role'] } as NonNullable<FastifyJWTOptions['verify']> })
  await app.register(fastifyJwt, { ...common, namespace: 'service' })
  await app.register(revocationPlugin, { namespace: ['user', 'service'] })
  for (const options of [undefined, { namespace: 'user' }]) {
    await t.rejects(app.revocation.issue({ sub: 'alice' }, options), refusal(lacks('role')))
    t.match(await app.revocation.issue({ sub: 'alice', role: 'admin' }, options), { token: String })
  }
  t.match(await app.revocation.issue({ sub: 'alice' }, { namespace: 'service' }), { token: String })
})

t.test('a secret that is a function is not asked for it', async (t) => {
  let asked = 0
  const secret = {
    private: SECRET,
    public: async () => {
      asked++
      return SECRET
    }
  }
  const app = await buildApp(t, { jwt: { secret: secret as never, verify: { requiredClaims: ['role'] } as NonNullable<FastifyJWTOptions['verify']> } })
  const { token } = await app.revocation.issue({ role: 'admin' })
  await t.rejects(app.revocation.issue({}), refusal(lacks('role')))
  t.equal(asked, 0)
  t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
})

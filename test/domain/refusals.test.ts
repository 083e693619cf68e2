import t from 'tap'
import { BROKEN } from '../../lib/domain/claims.ts'
import type { IssueOptions, RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

/* A users table whose key is a number, and refusals that say what to do. */

const server = await startRedis(t)
const HISTORY = '/v1/jwt/history'

for (const [name, store] of Object.entries({ memory: (): RevocationOptions => ({}), redis: (): RevocationOptions => ({ redis: server.url, keyPrefix: ownPrefix() }) })) {
  t.test(`a sub that is a safe integer counts as its decimal string, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    for (const [sub, string] of [[42, '42'], [0, '0'], [-7, '-7'], [2 ** 53 - 1, '9007199254740991']] as const) {
      const me = async (token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
      const issued = await app.revocation.issue({ sub })
      t.match(await me(issued.token), { statusCode: 200, body: { user: { sub } } }, 'the claim itself stays a number')
      t.match(await app.revocation.token(issued.id), { sub: string })
      const listed = [(await app.revocation.tokens(sub)).tokens, (await app.revocation.tokens(string)).tokens]
      t.strictSame(listed.map(([first]) => first?.id), [issued.id, issued.id])
      const asText = await signed({ jti: `text ${string}`, sub: string, iat: inSeconds(-5), exp: inSeconds(60) })
      t.match(answerOf(await app.inject({ url: HISTORY, headers: bearer(asText) })), { statusCode: 200, body: { tokens: [{ id: issued.id, sub: string }] } })
      t.match(await app.revocation.revokeSubject(sub), { sub: string, revoked: 1 })
      for (const token of [issued.token, asText]) t.strictSame(await me(token), REVOKED)
      t.equal(await app.revocation.isRevoked({ jti: 'x', sub, iat: inSeconds(-5), exp: inSeconds(60) }), true)
    }
    const caller = await app.revocation.issue({ sub: 1 })
    t.match(answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/1`, headers: bearer(caller.token) })), { statusCode: 200, body: { sub: '1', revoked: 1 } })
  })
}

t.test('a sub that is another number, and a jti that is one, are none', async (t) => {
  const app = await buildApp(t)
  for (const [claims, rule] of [[{ sub: 1.5 }, BROKEN.sub], [{ sub: 2 ** 53 }, BROKEN.sub], [{ sub: null }, BROKEN.sub], [{ jti: 42 }, BROKEN.jti], [{ iss: 42 }, BROKEN.iss]] as const) {
    const token = await signed({ jti: 'x', exp: inSeconds(60), ...claims })
    const message = `Token cannot be revoked and is therefore not accepted: ${rule}`
    t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message } })
  }
})

t.test('issue() blames who gave what makes the token one that is not accepted', async (t) => {
  const plain = { sign: {} }
  const rows: Array<[jwt: object, claims: object, options: IssueOptions, rule: string, culprit: string]> = [
    [plain, { sub: 'a' }, {}, BROKEN.noExp, ''],
    [plain, { iat: 'now' }, { expiresIn: '15m' }, BROKEN.noExp, 'iat in the claims'],
    [plain, { iat: null }, { expiresIn: '15m' }, BROKEN.expired, 'iat in the claims'],
    [plain, { iat: inSeconds(-7200) }, { expiresIn: '15m' }, BROKEN.expired, 'iat in the claims'],
    [plain, { exp: inSeconds(-60) }, {}, BROKEN.expired, 'exp in the claims'],
    [plain, { exp: Date.now() }, {}, BROKEN.tooFar, 'exp in the claims'],
    [plain, { exp: inSeconds(60) }, { expiresIn: '2h' }, BROKEN.tooFar, 'option expiresIn of issue()'],
    [{ sign: { expiresIn: '2h' } }, { exp: inSeconds(60) }, {}, BROKEN.tooFar, 'sign: { expiresIn } of @fastify/jwt'],
    [{ sign: { expiresIn: '15m' } }, {}, { noTimestamp: true }, BROKEN.noIat, 'option noTimestamp of issue()'],
    [{ sign: { expiresIn: '15m', noTimestamp: true } }, {}, {}, BROKEN.noIat, 'sign: { noTimestamp } of @fastify/jwt'],
    [{ sign: { expiresIn: '15m', noTimestamp: false } }, { iat: Date.now() }, {}, BROKEN.ahead, 'iat in the claims'],
    [{ sign: { expiresIn: '15m' } }, { sub: 1.5 }, {}, BROKEN.sub, 'sub in the claims'],
    [{ sign: { expiresIn: '15m' } }, { sub: 'a' }, { sub: 'x'.repeat(1025) }, BROKEN.sub, 'option sub of issue()'],
    [{ sign: { expiresIn: '15m', iss: 'x'.repeat(1025) } }, { iss: 'a' }, {}, BROKEN.iss, 'sign: { iss } of @fastify/jwt'],
    [{ sign: { expiresIn: '15m' } }, { jti: '' }, {}, BROKEN.jti, 'jti in the claims'],
    [{ sign: { expiresIn: '15m' } }, {}, { jti: 'x'.repeat(256) }, BROKEN.jti, 'option jti of issue()']
  ]
  for (const [jwt, claims, options, rule, culprit] of rows) {
    const app = await buildApp(t, { jwt, revocation: { maxTokenLifetime: '1h' } })
    const message = `issue() signed a token that would not be accepted: ${rule}${culprit && `; that comes from ${culprit}`}`
    const error = await app.revocation.issue(claims, options).then(() => undefined, (error) => error)
    t.strictSame({ name: error?.name, message: error?.message }, { name: 'TypeError', message }, JSON.stringify([jwt, claims, options]).slice(0, 90))
  }
  const app = await buildApp(t)
  for (const claims of ['alice', null, 42]) {
    await t.rejects(app.revocation.issue(claims as never), { name: 'TypeError', message: 'issue() takes as claims an object, such as { sub }' })
  }
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

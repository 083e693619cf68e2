import t from 'tap'
import { answerOf, bearer, buildApp, inSeconds, REVOKED, signed } from '../support/app.ts'

const HISTORY = '/v1/jwt/history'
const claims = () => ({ iat: inSeconds(-10), exp: inSeconds(600) })

t.test('a token without jti passes where that was chosen, and has nothing but its subject', async (t) => {
  const app = await buildApp(t, { revocation: { tokensWithoutJti: 'accept' } })
  const headers = bearer(await signed({ ...claims(), sub: 'alice' }))
  t.match(answerOf(await app.inject({ url: '/me', headers })), { statusCode: 200, body: { user: { sub: 'alice' } } })

  const other = await app.revocation.issue({ sub: 'alice' })
  t.match(answerOf(await app.inject({ url: HISTORY, headers })), { statusCode: 200, body: { tokens: [{ id: other.id, current: false }] } })
  t.match(answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice?except=current`, headers })), {
    statusCode: 200, body: { sub: 'alice', cutoff: null, revoked: 1 }
  }, 'there is no jti to spare')
  t.match(answerOf(await app.inject({ url: '/me', headers })), { statusCode: 200 })

  t.match(answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice`, headers })), { statusCode: 200, body: { revoked: 0 } })
  t.strictSame(answerOf(await app.inject({ url: '/me', headers })), REVOKED, 'its subject can be cut off')
  t.equal(await app.revocation.isRevoked({ ...claims(), sub: 'alice' }), true)
})

t.test('one without jti and sub passes unchecked, and has no history', async (t) => {
  const app = await buildApp(t, { revocation: { tokensWithoutJti: 'accept', recordOnUse: true } })
  const headers = bearer(await signed(claims()))
  t.match(answerOf(await app.inject({ url: '/me', headers })), { statusCode: 200 })
  t.strictSame(answerOf(await app.inject({ url: HISTORY, headers })).body, { tokens: [] })
  t.equal(await app.revocation.isRevoked(claims()), false)
})

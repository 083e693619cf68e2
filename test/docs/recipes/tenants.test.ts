import t, { type Test } from 'tap'
import { answerOf, bearer, REVOKED } from '../../support/app.ts'
import { startRedis } from '../../support/redis.ts'
import { recipe } from '../../support/snippets.ts'

async function tenants (t: Test, name: string) {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'tenants.md', { name })
  return {
    app,
    server,
    logIn: async (tenant: string): Promise<{ token: string, jti: string, id: string }> =>
      (await app.inject({ method: 'POST', url: `/${tenant}/login` })).json(),
    ask: async (url: string, token: string, method: 'GET' | 'DELETE' = 'GET') => answerOf(await app.inject({ method, url, headers: bearer(token) }))
  }
}

const FORBIDDEN = { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } }

t.test('tenants with an issuer each: nobody reaches another one\'s users', async (t) => {
  const { app, logIn, ask } = await tenants(t, 'issuers.ts')
  const [acme, globex] = [await logIn('acme'), await logIn('globex')]
  t.match(await ask('/acme/me', acme.token), { statusCode: 200, body: { sub: 'alice', iss: 'https://acme.example' } })
  t.match(await ask('/globex/me', acme.token), { statusCode: 403, body: { message: 'Not of this tenant' } })
  t.match(await ask('/acme/me', app.jwt.sign({ sub: 'alice', jti: 'a' })), { statusCode: 401 }, 'of no tenant')

  const admin = (await app.revocation.issue({ sub: 'root', role: 'admin' }, { iss: 'https://acme.example' })).token
  for (const url of [`/v1/jwt/history/id/${globex.id}`, `/v1/jwt/history/${globex.jti}?iss=https://globex.example`, '/v1/jwt/history/sub/alice?iss=https://globex.example']) {
    for (const token of [acme.token, admin]) t.match(await ask(url, token, 'DELETE'), FORBIDDEN, url)
  }
  t.match(await ask('/globex/users/alice', admin, 'DELETE'), { statusCode: 403 })
  t.equal((await ask('/globex/me', globex.token)).statusCode, 200)
  t.match(await ask('/acme/users/alice', admin, 'DELETE'), { statusCode: 200, body: { iss: 'https://acme.example', revoked: 1 } })
  t.strictSame(await ask('/acme/me', acme.token), REVOKED)
  t.equal((await ask('/globex/me', globex.token)).statusCode, 200)
  await t.rejects(app.revocation.revokeSubject('alice'), { name: 'TypeError', message: /iss/ })
})

t.test('tenants with a scope each: no token of one verifies for another, and no key is shared', async (t) => {
  const { server, logIn, ask } = await tenants(t, 'scopes.ts')
  const [acme, globex] = [await logIn('acme'), await logIn('globex')]
  t.match(await ask('/acme/me', acme.token), { statusCode: 200, body: { sub: 'alice' } })
  t.match(await ask('/globex/me', acme.token), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' } })
  t.match(await ask('/globex/v1/jwt/history/sub/alice', acme.token, 'DELETE'), { statusCode: 401 })
  t.match(await ask('/acme/v1/jwt/history/sub/alice', acme.token, 'DELETE'), { statusCode: 200, body: { revoked: 1 } })
  t.strictSame(await ask('/acme/me', acme.token), REVOKED)
  t.equal((await ask('/globex/me', globex.token)).statusCode, 200)
  t.strictSame(await server.keys('*cutoff*'), ['jwt:acme:cutoff:alice'])
})

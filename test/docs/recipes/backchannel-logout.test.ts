import t from 'tap'
import { answerOf, bearer, REVOKED } from '../../support/app.ts'
import { postLogout, startProvider } from '../../support/provider.ts'
import { startRedis } from '../../support/redis.ts'
import { recipe, type Edit } from '../../support/snippets.ts'

t.test('a provider posts a log-out, and the access tokens of that session are refused', async (t) => {
  const [server, provider] = [await startRedis(t), await startProvider(t)]
  const edits: Edit[] = [['https://login.example/realms/acme', provider.issuer]]
  const app = await recipe(t, server, 'backchannel-logout.md', { edits })
  const me = async (token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
  const [ended, other] = [
    await provider.accessToken({ sid: 's1', aud: 'https://api.example' }), await provider.accessToken({ sid: 's2', aud: 'https://api.example' })
  ]
  for (const token of [ended, other]) t.match(await me(token), { statusCode: 200 })
  const { statusCode, body } = await postLogout(app, await provider.logoutToken({ sid: 's1', sub: 'alice', aud: 'the-client-id' }))
  t.strictSame([statusCode, body], [200, ''])
  t.strictSame(await me(ended), REVOKED)
  t.match(await me(other), { statusCode: 200 })
  t.match(await me(await provider.logoutToken({ sub: 'alice', aud: 'https://api.example' })), { statusCode: 401 })
})

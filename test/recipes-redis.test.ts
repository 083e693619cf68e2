import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { answerOf, bearer, REVOKED } from './support/app.ts'
import { startProxy } from './support/proxy.ts'
import { eventually, startRedis } from './support/redis.ts'
import { run, type Snippets } from './support/snippets.ts'

/* The recipes about Redis, run as in recipes.test.ts. */

const PAGE = 'docs/recipes/redis-connections.md'
const UNAVAILABLE = { statusCode: 503, body: { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' } }

interface Line { msg: string, err?: { message: string } }

/** The application of a recipe, and what it logs. */
async function recipe (t: Test, snippets: Snippets & { name?: string }) {
  const { edit = (code) => code } = snippets
  const lines: Line[] = []
  const name = `log of ${t.fullname}`
  const sink = globalThis as unknown as Record<string, unknown>
  sink[name] = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  t.teardown(() => { delete sink[name] })
  const { app } = await run<{ app: FastifyInstance }>(t, PAGE, ['app'], {
    ...snippets, edit: (code) => edit(code).replace("level: 'warn'", `level: 'warn', stream: (globalThis as any)[${JSON.stringify(name)}]`)
  })
  t.teardown(() => app.close())
  const token = app.jwt.sign({ sub: 'alice', jti: 'a' })
  return {
    app,
    lost: () => lines.filter(({ msg }) => msg.startsWith('jwt revocation: the store is lost')),
    me: async () => answerOf(await app.inject({ url: '/me', headers: bearer(token) })),
    revoke: async () => answerOf(await app.inject({ method: 'DELETE', url: '/v1/jwt/history/a', headers: bearer(token) }))
  }
}

t.test('a connection that was forgotten on its way is left, by socketTimeout or by a client of the plugin, and otherwise is not', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  const sooner = (code: string) => code.replace('5_000', '1_000')
  const given = await recipe(t, { redis: proxy.url, edit: sooner })
  const own = await recipe(t, { redis: proxy.url, edit: (code) => code.replace('{ redis })', `{ redis: '${proxy.url}' })`) })
  const bare = await recipe(t, { redis: proxy.url, edit: (code) => code.replace(/^ *socketTimeout: .*\n/m, '') })
  const all = [given, own, bare]
  for (const { me } of all) t.equal((await me()).statusCode, 200)

  proxy.forget()
  for (const { me } of all) t.match(await me(), UNAVAILABLE)
  for (const { me } of [given, own]) await eventually('it has a new connection', async () => (await me()).statusCode === 200)
  t.match(await bare.me(), UNAVAILABLE)
  for (const { lost } of all) {
    t.match(lost(), [{ msg: /the connection is open, and Redis does not answer/ }])
    t.equal(lost().length, 1)
  }
})

t.test('a Redis that has renamed INFO serves a client that does not ask for it', async (t) => {
  const server = await startRedis(t, { args: ['--rename-command', 'INFO', 'other-info'] })
  const at = (code: string) => code.replace('port: 6379', `port: ${server.port}`)
  const { me, revoke } = await recipe(t, { name: 'hardened.ts', edit: at })
  t.equal((await me()).statusCode, 200)
  t.match(await revoke(), { statusCode: 200, body: { status: 'revoked' } })
  t.strictSame(await me(), REVOKED)

  const asks = await recipe(t, { name: 'hardened.ts', edit: (code) => at(code).replace(', enableReadyCheck: false', '') })
  t.match(await asks.me(), UNAVAILABLE)
  t.match(await asks.revoke(), UNAVAILABLE)
  t.match(asks.lost(), [{ err: { message: /ERR unknown command 'info'/ } }])
})

for (const { command, checks } of [{ command: 'EVAL', checks: true }, { command: 'MGET', checks: false }]) {
  t.test(`a Redis that has renamed ${command} takes no revocation, and the log says which command`, async (t) => {
    const server = await startRedis(t, { args: ['--rename-command', command, `other-${command}`] })
    const { me, revoke, lost } = await recipe(t, { name: 'hardened.ts', edit: (code) => code.replace('port: 6379', `port: ${server.port}`) })
    t.match(await revoke(), UNAVAILABLE)
    t.match(await me(), checks ? { statusCode: 200 } : UNAVAILABLE)
    t.match(lost(), [{ err: { message: new RegExp(`ERR unknown command '${command.toLowerCase()}'`) } }])
  })
}

const TENANTS = 'docs/recipes/tenants.md'

async function tenants (t: Test, name: string) {
  const { url, keys } = await startRedis(t).then((server) => ({ url: server.url, keys: (pattern: string) => server.keys(pattern) }))
  const { app } = await run<{ app: FastifyInstance }>(t, TENANTS, ['app'], { name, redis: url })
  t.teardown(() => app.close())
  return {
    app,
    keys,
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
  const { logIn, ask, keys } = await tenants(t, 'scopes.ts')
  const [acme, globex] = [await logIn('acme'), await logIn('globex')]
  t.match(await ask('/acme/me', acme.token), { statusCode: 200, body: { sub: 'alice' } })
  t.match(await ask('/globex/me', acme.token), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' } })
  t.match(await ask('/globex/v1/jwt/history/sub/alice', acme.token, 'DELETE'), { statusCode: 401 })
  t.match(await ask('/acme/v1/jwt/history/sub/alice', acme.token, 'DELETE'), { statusCode: 200, body: { revoked: 1 } })
  t.strictSame(await ask('/acme/me', acme.token), REVOKED)
  t.equal((await ask('/globex/me', globex.token)).statusCode, 200)
  t.strictSame(await keys('*cutoff*'), ['jwt:acme:cutoff:alice'])
})

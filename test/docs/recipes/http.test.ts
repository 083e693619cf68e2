import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { answerOf, bearer, listen, REVOKED } from '../../support/app.ts'
import { startRedis } from '../../support/redis.ts'
import { recipe, type Edit } from '../../support/snippets.ts'

t.test('CORS: a page of another origin reads a 401, and may send DELETE', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'cors.md')
  const headers = { origin: 'https://app.example' }
  const preflight = (app: FastifyInstance, method: string) => app.inject({
    method: 'OPTIONS', url: '/v1/jwt/history/x', headers: { ...headers, 'access-control-request-method': method, 'access-control-request-headers': 'authorization' }
  })
  const allowed = await preflight(app, 'DELETE')
  t.equal(allowed.statusCode, 204)
  t.match(allowed.headers, {
    'access-control-allow-origin': 'https://app.example', 'access-control-allow-methods': /\bDELETE\b/, 'access-control-allow-headers': 'authorization'
  })

  const { token, jti } = await app.revocation.issue({ sub: 'alice' })
  const revoked = await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: { ...headers, ...bearer(token) } })
  t.equal(revoked.statusCode, 200)
  for (const url of ['/me', '/nowhere']) {
    const refused = await app.inject({ url, headers: { ...headers, ...bearer(token) } })
    t.strictSame(answerOf(refused), REVOKED, url)
    t.equal(refused.headers['access-control-allow-origin'], 'https://app.example')
    t.match(refused.headers['access-control-expose-headers'], /WWW-Authenticate/)
  }

  const late = await recipe(t, server, 'cors.md', { edits: [[/(^await app\.register\(cors, [^]*?^\}\)\n)([^]*?register\(revocation, .*\n)/m, '$2$1']] })
  const issued = await late.revocation.issue({ sub: 'alice' })
  await late.revocation.revoke({ jti: issued.jti })
  const hidden = await late.inject({ url: '/me', headers: { ...headers, ...bearer(issued.token) } })
  t.strictSame(answerOf(hidden), REVOKED)
  t.notOk('access-control-allow-origin' in hidden.headers, 'registered later, the browser hides the 401')

  const byDefault = await recipe(t, server, 'cors.md', { edits: [[/^ *methods: .*\n/m, '']] })
  t.equal((await preflight(byDefault, 'DELETE')).headers['access-control-allow-methods'], 'GET,HEAD,POST')
})

t.test('rate limits: whoever repeats a revoked token is limited as well', async (t) => {
  const server = await startRedis(t)
  const fewer: Edit = ['max: 100', 'max: 7']
  const app = await recipe(t, server, 'rate-limit.md', { edits: [fewer] })
  const statuses = async (app: FastifyInstance, times: number, url: string, method: 'GET' | 'POST' = 'GET') => {
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    await app.revocation.revoke({ jti })
    const found: number[] = []
    for (let i = 0; i < times; i++) found.push((await app.inject({ method, url, headers: bearer(token) })).statusCode)
    return found
  }
  t.strictSame(await statuses(app, 8, '/me'), [401, 401, 401, 401, 401, 401, 401, 429])
  t.strictSame(await statuses(app, 1, '/nowhere'), [429])
  t.strictSame(await statuses(app, 6, '/login', 'POST'), [200, 200, 200, 200, 200, 429], 'a limit of its own')

  const counted = await recipe(t, server, 'rate-limit.md', { edits: [fewer] })
  const { token } = await counted.revocation.issue({ sub: 'alice' })
  const remaining = await counted.inject({ url: '/me', headers: bearer(token) })
  t.match(remaining.headers, { 'x-ratelimit-remaining': '6' }, 'each request counts once')

  const alone = await recipe(t, server, 'rate-limit.md', { edits: [fewer, [/^app\.addHook\('onRequest'[^]*?^\}\)\n/m, '']] })
  t.strictSame(await statuses(alone, 9, '/me'), Array(9).fill(401), 'without the hook nobody is limited')
  t.strictSame(await statuses(alone, 9, '/nowhere'), Array(9).fill(401))
})

t.test('Zod: its schemas and those of the routes stand in one document, and both validate', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'zod.md')
  await app.ready()
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, { security?: unknown, requestBody?: unknown }>> }
  t.strictSame(Object.keys(paths).sort(), [
    '/users', '/v1/jwt/history', '/v1/jwt/history/by/{claim}/{value}', '/v1/jwt/history/id/{id}', '/v1/jwt/history/sid/{sid}',
    '/v1/jwt/history/sub/{sub}', '/v1/jwt/history/{jti}'
  ])
  t.strictSame(paths['/v1/jwt/history/{jti}']!.delete!.security, [{ bearerAuth: [] }])
  t.ok(paths['/users']!.post!.requestBody)

  t.equal((await app.inject({ method: 'POST', url: '/users', body: { name: 'Alice' } })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/users', body: { name: 1 } })).statusCode, 400)
  const { token, jti } = await app.revocation.issue({ sub: 'zoe' })
  const ask = (url: string, method: 'GET' | 'DELETE' = 'GET') => app.inject({ method, url, headers: bearer(token) })
  t.equal((await ask('/v1/jwt/history?limit=0')).statusCode, 400)
  t.match(answerOf(await ask('/v1/jwt/history?limit=1')), { statusCode: 200, body: { tokens: [{ jti, current: true }] } })
  t.match(answerOf(await ask(`/v1/jwt/history/${jti}`, 'DELETE')), { statusCode: 200, body: { jti, status: 'revoked' } })

  const plain: Edit = [/transform: [^]*?: jsonSchemaTransform\(document\)/, 'transform: jsonSchemaTransform']
  const throws = await recipe(t, server, 'zod.md', { edits: [plain] })
  await throws.ready()
  t.throws(() => throws.swagger(), { message: "Cannot read properties of undefined (reading 'parent')" })
  const hidden = await recipe(t, server, 'zod.md', { edits: [plain, ['security: [{ bearerAuth: [] }]', 'hide: true']] })
  await hidden.ready()
  t.strictSame(Object.keys(hidden.swagger().paths!), ['/users'])
})

t.test('a gateway checks for the services behind it', async (t) => {
  const server = await startRedis(t)
  const service = Fastify()
  t.teardown(() => service.close())
  const seen: unknown[] = []
  service.all('/*', async ({ url, headers: { authorization, cookie, 'x-user': user } }) => {
    seen.push([url, authorization, cookie, user])
    return { user }
  })
  const port = await listen(service)
  const at: Edit = ['127.0.0.1:4000', `127.0.0.1:${port}`]
  const app = await recipe(t, server, 'gateway.md', { edits: [at] })

  const { token, jti } = await app.revocation.issue({ sub: 'älice' })
  const headers = { ...bearer(token), 'x-user': 'root', cookie: 'a=b' }
  t.match(answerOf(await app.inject({ url: '/orders/7?x=1', headers })), { statusCode: 200, body: { user: '%C3%A4lice' } })
  t.strictSame(seen, [['/7?x=1', undefined, undefined, '%C3%A4lice']])
  t.match(answerOf(await app.inject('/orders/7')), { statusCode: 401, body: { code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER' } })
  t.equal((await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers })).statusCode, 200)
  for (const method of ['GET', 'POST'] as const) t.strictSame(answerOf(await app.inject({ method, url: '/orders/7', headers })), REVOKED)
  t.equal(seen.length, 1, 'none of them has reached the service')

  const open = await recipe(t, server, 'gateway.md', { edits: [at, [/^ *preHandler: .*\n/m, ''], [/const \{ sub \}.*/, "const sub = ''"]] })
  t.equal((await open.inject('/orders/7')).statusCode, 200, 'without preHandler requests without a token pass')

  const upgrades = await recipe(t, server, 'gateway.md', { edits: [at, ["prefix: '/orders',", "prefix: '/orders', websocket: true,"]] })
  const address = `ws://127.0.0.1:${await listen(upgrades)}/orders/live`
  const second = await upgrades.revocation.issue({ sub: 'alice' })
  await upgrades.revocation.revoke({ jti: second.jti })
  const socket = new WebSocket(address, { headers: bearer(second.token) })
  socket.on('error', () => {})
  const [, response] = await once(socket, 'unexpected-response')
  t.equal(response.statusCode, 401)
  socket.terminate()
})

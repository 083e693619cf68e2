import { holdMonotonic } from '../../support/monotonic.ts'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { bearer, buildApp, inSeconds, ownPrefix, signed } from '../../support/app.ts'
import { commandsOf } from '../../support/domain.ts'
import { startApp } from '../../support/process.ts'
import { startRedis, type RedisServer } from '../../support/redis.ts'

const CONCURRENT = 64
const WAVES = 10

const token = (claims: object = {}) => signed({ sub: 'alice', jti: randomUUID(), exp: inSeconds(60), ...claims })

t.test('P9 checks of concurrent requests share round trips, over real sockets', async (t) => {
  const server = await startRedis(t)
  const app = await startApp(t, { REDIS_URL: server.url, KEY_PREFIX: ownPrefix() })
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT })
  t.teardown(() => agent.destroy())

  const statuses = new Set<number>()
  const wave = async () => {
    const tokens = await Promise.all(Array.from({ length: CONCURRENT }, () => token()))
    const answers = await Promise.all(tokens.map((token) => status(agent, `${app.url}/me`, token)))
    for (const answer of answers) statuses.add(answer)
  }
  // Opens the sockets.
  await wave()
  const before = await server.commandCalls('mget')
  for (let i = 0; i < WAVES; i++) await wave()
  const reads = await server.commandCalls('mget') - before
  t.same([...statuses], [200])
  t.comment(`${WAVES * CONCURRENT} requests in waves of ${CONCURRENT} took ${reads} MGET`)
  t.ok(reads >= WAVES, 'each wave asks', { found: reads })
  t.ok(reads < WAVES * CONCURRENT / 2, 'and shares', { found: reads })
})

t.test('P9 checks of one turn of the event loop are one round trip, and one token is read once', async (t) => {
  holdMonotonic(t)
  const { app, commands } = await setUp(t)
  const [a, b] = await Promise.all([token(), token()])
  const took = await commands(async () => {
    const responses = await Promise.all([a, b, a, b, a].map((token) => app.inject({ url: '/me', headers: bearer(token) })))
    t.same(responses.map(({ statusCode }) => statusCode), [200, 200, 200, 200, 200])
  })
  t.same(took, { mget: 1 })
})

t.test('one request costs one lookup, although both the hook and the route verify', async (t) => {
  holdMonotonic(t)
  const { app, commands } = await setUp(t)
  for (const path of ['/me', '/public', '/thrice']) {
    const headers = bearer(await token())
    const took = await commands(async () => {
      t.equal((await app.inject({ url: path, headers })).statusCode, 200)
    })
    t.same(took, { mget: 1 }, path)
  }
})

t.test('to log out a request asks nothing about the token that it revokes', async (t) => {
  const { app, commands } = await setUp(t)
  const took = await commands(async () => {
    const response = await app.inject({ method: 'POST', url: '/logout', headers: bearer(await token()) })
    t.match(response.json(), { status: 'revoked', first: true })
  })
  t.notOk(took.mget, 'a check that hangs would take the time of the revocation', { took })
})

t.test('a request without a token of ours costs Redis nothing', async (t) => {
  const { app, commands } = await setUp(t)
  const foreign = await signed({ jti: randomUUID(), exp: inSeconds(60) }, 'a secret of somebody else, of more than 32 bytes')
  const expired = await token({ exp: inSeconds(-60) })
  const took = await commands(async () => {
    for (const headers of [{}, ...[foreign, expired, (await token()) + 'x', 'x.y.z', ''].map(bearer), { authorization: 'Basic eDp5' }]) {
      t.equal((await app.inject({ url: '/public', headers })).statusCode, 200)
      t.match((await app.inject({ url: '/me', headers })).statusCode, /40[01]/)
    }
  })
  t.same(took, {})
})

t.test('a token that is refused for its claims costs Redis nothing', async (t) => {
  const { app, commands } = await setUp(t)
  const headers = bearer(await signed({ exp: inSeconds(60) }))
  const took = await commands(async () => {
    t.match((await app.inject({ url: '/me', headers })).json(), { statusCode: 401, code: 'FST_JWT_NOT_REVOCABLE' })
  })
  t.same(took, {})
})

t.test('issue() is one flush to the socket, with two SETs', async (t) => {
  const server = await startRedis(t)
  const relay = await startRelay(t, server)
  const { app, commands } = await setUp(t, { server, url: relay.url })
  for (const claims of [{}, { sub: 'alice' }, { iss: 'https://issuer.example', sub: 'alice' }]) {
    await app.revocation.issue(claims)
    const before = relay.chunks.length
    const took = await commands(() => app.revocation.issue(claims, { meta: { device: 'a phone' } }))
    t.equal(took.set, 2)
    const chunks = relay.chunks.slice(before)
    t.equal(chunks.length, 1, 'one chunk', { found: chunks })
    t.equal(chunks[0]!.match(/\bset\r\n/gi)?.length, 2)
  }
})

async function setUp (t: Test, { server: given, url }: { server?: RedisServer, url?: string } = {}) {
  const server = given ?? await startRedis(t)
  const app = await buildApp(t, {
    revocation: { redis: url ?? server.url, keyPrefix: ownPrefix() },
    after (app) {
      app.get('/thrice', { onRequest: (request) => request.jwtVerify() }, async (request) => {
        await request.jwtVerify()
        return request.jwtVerify()
      })
      app.post('/logout', { config: { revocation: false } }, async (request) => app.revocation.revoke(request))
    }
  })
  return { app, commands: (act: () => Promise<unknown>) => commandsOf(server, act) }
}

/** Hands on everything, and keeps each chunk that came from the client. */
async function startRelay (t: Test, target: { host: string, port: number }) {
  const chunks: string[] = []
  const server = createServer((client) => {
    const upstream = connect(target).setNoDelay()
    client.on('data', (chunk) => chunks.push(String(chunk)))
    client.pipe(upstream).pipe(client)
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return { chunks, url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

async function status (agent: Agent, url: string, token: string): Promise<number> {
  const [response] = await once(get(url, { agent, headers: bearer(token) }), 'response')
  await once(response.resume(), 'end')
  return response.statusCode
}

import { Cluster, Redis as Redis6 } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { Cluster as ClusterValkey, Redis as Valkey } from 'iovalkey'
import t, { type Test } from 'tap'
import type { RedisClient, RevocationOptions } from '../../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, signed } from '../../support/app.ts'
import { NAMES, commandsOf } from '../../support/domain.ts'
import { livedWith } from '../../support/lived.ts'
import { eventually, startCluster, startRedis } from '../../support/redis.ts'
import { allEqual, fill, openNode, soon, startNode } from '../../support/replica.ts'
import { on } from '../../support/stores.ts'

t.jobs = 3

const server = await startRedis(t)

/** Applications on one prefix, each in step, with what each is told. */
async function startApps (t: Test, count: number, options: RevocationOptions = {}) {
  const keyPrefix = ownPrefix()
  return Promise.all(Array.from({ length: count }, async () => {
    const app = await buildApp(t, { revocation: { redis: server.url, mode: 'replica', keyPrefix, storeTimeout: 10_000, ...options } })
    const events: unknown[] = []
    app.revocation.on('revoked', (event) => events.push(event))
    await eventually('it is in step', async () => app.revocation.status().stalenessMs !== undefined)
    return { app, events, get: async (token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) })) }
  }))
}

t.test('what was revoked before a process starts is refused from its first request on', async (t) => {
  const server = await startRedis(t)
  await fill(server, 2500)
  const one = await startNode(t, server.url)
  await on(one.store).cutOff('alice', soon(0), soon(900))
  await eventually('it is read', async () => (await server.cli('XLEN', 'r:log')) === '2501')
  const other = await openNode(t, server.url)
  t.equal(other.store.status.copy.stalenessMs, undefined, 'it is not complete before it has started')
  await other.store.start()
  t.equal(other.store.status.copy.entries, 2501)
  for (const name of ['n0', 'n999', 'n1000', 'n2499']) t.equal(await other.ask(name), 'refused')
  t.equal(await other.ask('n2500'), 'accepted')
  t.equal(await other.ask('n2500', 'alice'), 'refused')
  await allEqual(t, 'started', [one, other], server, 2501)
  t.same([one.heard, other.heard], [[], []], 'and nobody is told of it again')
})

t.test('a revocation made elsewhere is refused here and told of, once on every node', async (t) => {
  const nodes = await startApps(t, 3)
  const [one, other] = [nodes[0]!, nodes[1]!]
  const exp = inSeconds(600)
  for (const claims of [{ sub: 'alice' }, { sub: 'Ä/😀 ?#%', iss: 'https://a.example/?b=c&d' }]) {
    const issued = await one.app.revocation.issue(claims)
    const foreign = await genuine({ ...claims, exp })
    for (const { get } of nodes) for (const { token } of [issued, foreign]) t.equal((await get(token)).statusCode, 200)

    const byRecord = await other.app.revocation.revokeById(issued.id)
    t.match(byRecord, { jti: issued.jti, id: issued.id, ...claims, status: 'revoked' })
    const { sub, ...issuer } = claims as { sub: string, iss?: string }
    const byExp = await one.app.revocation.revoke({ jti: foreign.jti, exp, ...issuer })
    t.match(byExp, { jti: foreign.jti, ...issuer, status: 'revoked', expiresAt: new Date(exp * 1000).toISOString() })
    const unknown = await one.app.revocation.revoke({ jti: `${sub} of an unknown end`, ...issuer })
    const again = await other.app.revocation.revoke({ jti: foreign.jti, exp, ...issuer })
    t.strictSame(again, { ...byExp, first: false })
    const cutOff = await other.app.revocation.revokeSubject(sub, issuer)
    const last = await one.app.revocation.revoke({ jti: `last of ${sub}` })
    const { revoked: _, ...cutoff } = cutOff
    const made = [byRecord, byExp, unknown, last].map(({ first, ...revocation }) => {
      t.equal(first, true)
      return revocation
    })
    for (const { app, events, get } of nodes) {
      await eventually('it has heard of the last', async () => events.length >= 5)
      t.strictSame(sorted(events), sorted([...made, cutoff]), 'exactly as where it was done')
      events.length = 0
      for (const { token } of [issued, foreign, await genuine({ ...claims, iat: inSeconds(-60) })]) t.strictSame(await get(token), REVOKED)
      t.equal((await get((await genuine({ sub: 'bob' })).token)).statusCode, 200)
      t.match(app.revocation.status(), { mode: 'replica', store: 'redis', available: true })
    }
  }
})

const sorted = (events: unknown[]) => events.map((event) => JSON.stringify(Object.entries(event as object).sort())).sort()

t.test('the process that revokes knows at once, through HTTP as well', async (t) => {
  const [{ app, get, events }] = await startApps(t, 1) as [Awaited<ReturnType<typeof startApps>>[0]]
  for (let i = 0; i < 20; i++) {
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    t.equal((await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) })).statusCode, 200)
    t.strictSame(await get(token), REVOKED)
    const { token: next } = await app.revocation.issue({ sub: `bob ${i}` })
    await app.revocation.revokeSubject(`bob ${i}`)
    t.strictSame(await get(next), REVOKED)
  }
  await eventually('its own words have come back', async () => app.revocation.status().stalenessMs! < 100)
  t.equal(events.length, 40, 'it is told once of each')
})

t.test('two processes that revoke at once, also the same token: every node is told once', async (t) => {
  const nodes = await startApps(t, 3)
  const jtis = Array.from({ length: 20 }, (_, i) => `jti ${i}`)
  for (const jti of jtis) await Promise.all(nodes.slice(0, 2).map(({ app }) => app.revocation.revoke({ jti, exp: inSeconds(600) })))
  const last = nodes.map(({ app }, i) => app.revocation.revoke({ jti: `last ${i}` }))
  await Promise.all(last)
  for (const { events } of nodes) {
    await eventually('it has heard of the last ones', async () => [0, 1, 2].every((i) => events.some((event) => (event as { jti: string }).jti === `last ${i}`)))
    t.strictSame(events.map((event) => (event as { jti: string }).jti).filter((jti) => jti.startsWith('jti')).sort(), [...jtis].sort())
  }
})

t.test('processes that end one subject at once agree in its cutoff', async (t) => {
  const nodes = await startApps(t, 2)
  const results = await Promise.all([...nodes, ...nodes].map(({ app }) => app.revocation.revokeSubject('alice')))
  const cutoff = Math.max(...results.map(({ cutoff }) => cutoff!))
  const claims = { jti: 'a', sub: 'alice', exp: inSeconds(60) }
  for (const { app, events } of nodes) {
    await eventually('it knows the last one', async () => events.some((event) => (event as { cutoff: number }).cutoff === cutoff))
    t.ok(await app.revocation.isRevoked({ ...claims, iat: cutoff }))
    t.notOk(await app.revocation.isRevoked({ ...claims, iat: cutoff + 1 }))
    t.equal(new Set(events.map((event) => (event as { cutoff: number }).cutoff)).size, events.length, 'nothing is told twice')
  }
})

t.test('a request costs Redis nothing', async (t) => {
  const server = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: server.url, mode: 'replica', maxStaleness: 60_000 } })
  const known = await genuine()
  await app.revocation.revoke({ jti: known.jti })
  await eventually('it is in step', async () => app.revocation.status().stalenessMs !== undefined)
  const tokens = await Promise.all(Array.from({ length: 300 }, () => genuine().then(({ token }) => token)))
  const commands = await commandsOf(server, async () => {
    for (const token of tokens) for (const url of ['/me', '/public']) t.equal((await app.inject({ url, headers: bearer(token) })).statusCode, 200)
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(known.token) })), REVOKED)
  })
  // The script that reads it uses XRANGE and TIME.
  const { eval: scripts = 0, xrange = 0, xread = 0, exists = 0, time = 0, 'xinfo|stream': info = 0, xinfo = 0, ...others } = commands
  t.strictSame(others, {}, 'but for the log, that is read')
  t.ok(scripts < 20 && xrange < 20 && xread < 20 && exists < 20 && time < 20 && info + xinfo < 20, 'now and then', commands)
})

t.test('status() tells what a replica holds, and how old it is', async (t) => {
  const [{ app }] = await startApps(t, 1) as [Awaited<ReturnType<typeof startApps>>[0]]
  t.match(app.revocation.status(), { mode: 'replica', store: 'redis', available: true, entries: 0 })
  await app.revocation.revoke({ jti: 'a' })
  await app.revocation.revoke({ jti: 'a' })
  await app.revocation.revokeSubject('alice')
  const { stalenessMs, warnings, ...status } = app.revocation.status()
  t.strictSame(status, { mode: 'replica', store: 'redis', available: true, entries: 2, ...NAMES })
  t.ok(stalenessMs! >= 0 && stalenessMs! < 5000)
  const strict = await buildApp(t, { revocation: { redis: server.url, keyPrefix: ownPrefix() } })
  t.strictSame(strict.revocation.status(), { mode: 'strict', store: 'redis', available: true, ...NAMES, warnings })
})

t.test('the store in memory is its own replica', async (t) => {
  const app = await buildApp(t, { revocation: { mode: 'replica' } })
  const { token, jti } = await app.revocation.issue({ sub: 'alice' })
  t.strictSame(app.revocation.status(), { mode: 'replica', store: 'memory', available: true, ...NAMES })
  await app.revocation.revoke({ jti })
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
})

type Client = RedisClient & { disconnect: () => void, on: (event: 'error', listener: () => void) => unknown, ping: () => Promise<string>, status: string, options: object }

const prefixed = { keyPrefix: 'theirs:{x}*' }
const CLIENTS: Record<string, (url: string) => unknown> = {
  'ioredis 6': (url) => new Redis6(url),
  'ioredis 5': (url) => new Redis5(url),
  iovalkey: (url) => new Valkey(url),
  'ioredis 6 with a keyPrefix': (url) => new Redis6(url, prefixed),
  'ioredis 5 with a keyPrefix': (url) => new Redis5(url, prefixed),
  'iovalkey with a keyPrefix': (url) => new Valkey(url, prefixed),
  'ioredis 6 with auto-pipelining, another database and short limits': (url) => new Redis6(`${url}/3`, { enableAutoPipelining: true, commandTimeout: 900, maxRetriesPerRequest: 0 }),
  'ioredis 6 that does not queue': (url) => new Redis6(url, { enableOfflineQueue: false }),
  'ioredis 6 with other replies': (url) => new Redis6(url, { protocol: 3, replyMapping: 'resp3' } as object),
  'ioredis 6 that connects late': (url) => new Redis6(url, { lazyConnect: true })
}

for (const [name, make] of Object.entries(CLIENTS)) {
  t.test(`P7 a given client is followed by a connection of our own: ${name}`, async (t) => {
    const server = await startRedis(t)
    const client = make(server.url) as Client
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    await follows(t, client, { ping: () => client.ping() })
    t.equal(client.status, 'ready')
    const clients = (await server.cli('CLIENT', 'LIST')).split('\n')
    t.equal(clients.filter((line) => line.includes('fastify-jwt-revocation')).length, 0, 'our own connections are closed')
  })
}

/** Two applications, one of them on the client that was given: what each does, the other knows; then both are closed. */
async function follows (t: Test, client: Client, { ping }: { ping: () => Promise<string> }) {
  const beside = new Redis6(server.url)
  t.teardown(() => beside.disconnect())
  const options = JSON.stringify(client.options)
  const keyPrefix = ownPrefix()
  const [one, other] = await Promise.all([1, 2].map(() => buildApp(t, { revocation: { redis: client, mode: 'replica', keyPrefix, storeTimeout: 10_000 } })))
  const listeners = JSON.stringify((client as unknown as { eventNames: () => unknown[] }).eventNames())
  for (const app of [one!, other!]) await eventually('it is in step', async () => app.revocation.status().stalenessMs !== undefined)
  for (const [app, neighbour] of [[one!, other!], [other!, one!]] as const) {
    const { token, jti } = await app.revocation.issue({ sub: 'alice', iss: 'i' })
    await app.revocation.revoke({ jti, iss: 'i' })
    const refused = async () => (await neighbour.inject({ url: '/me', headers: bearer(token) })).json().code === 'FST_JWT_REVOKED'
    await eventually('the neighbour refuses it', refused)
    // The log is read with XREAD, which blocks for a second: twenty answers behind it would take as many.
    const waited = livedWith(beside)
    for (let i = 0; i < 20; i++) t.equal(await ping(), 'PONG')
    t.ok(waited.stop() < 800, 'what waits is not the client that was given')
    await app.revocation.revokeSubject('alice', { iss: 'i' })
    const cut = await signed({ sub: 'alice', iss: 'i', jti: 'x', iat: inSeconds(-30), exp: inSeconds(60) })
    await eventually('the neighbour refuses the subject', async () => (await neighbour.inject({ url: '/me', headers: bearer(cut) })).statusCode === 401)
    t.equal((await neighbour.inject({ url: '/me', headers: bearer((await genuine({ sub: 'bob' })).token) })).statusCode, 200)
  }
  const entries = one!.revocation.status().entries
  await client.call('xtrim', `${keyPrefix}log`, 'MAXLEN', 0)
  const late = await buildApp(t, { revocation: { redis: client, mode: 'replica', keyPrefix, storeTimeout: 10_000 } })
  await eventually('one that starts without a log finds the keys', async () => late.revocation.status().entries === entries)
  await Promise.all([one!.close(), other!.close(), late.close()])
  t.equal(JSON.stringify(client.options), options)
  t.equal(JSON.stringify((client as unknown as { eventNames: () => unknown[] }).eventNames()), listeners)
  t.equal(await ping(), 'PONG')
}

t.test('P7 P8 a given client of a cluster is followed by a connection of our own', async (t) => {
  const cluster = await startCluster(t)
  for (const [name, client] of Object.entries({
    'ioredis 6': new Cluster(cluster.nodes),
    'ioredis 5': new Cluster5(cluster.nodes),
    iovalkey: new ClusterValkey(cluster.nodes),
    'ioredis 6 with a keyPrefix': new Cluster(cluster.nodes, { keyPrefix: 'theirs:' }),
    'ioredis 6 with auto-pipelining': new Cluster(cluster.nodes, { enableAutoPipelining: true })
  })) {
    await t.test(name, async (t) => {
      client.on('error', () => {})
      t.teardown(() => client.disconnect())
      await follows(t, client as unknown as Client, { ping: () => client.ping() })
      t.equal(client.status, 'ready')
    })
  }
})

t.test('a client that can not be duplicated stops the start with a sentence', async (t) => {
  const client = { isCluster: false, call: async () => [null], pipeline: () => ({ exec: async () => [] }) }
  await t.rejects(buildApp(t, { revocation: { redis: client, mode: 'replica' } }), {
    code: 'FST_JWT_REVOCATION_BAD_OPTION',
    statusCode: 500,
    message: 'fastify-jwt-revocation: mode "replica" and option "minReplicas" need a connection of their own; give option "redis" a URL, ioredis options, or a client with duplicate()'
  })
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

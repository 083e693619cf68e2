import { Cluster, Redis } from 'ioredis'
import { createHash, createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { refreshHashOf, successorOf } from '../../../lib/domain/refresh-token.ts'
import type { RedisClient, RevocationOptions, TokenPair } from '../../../lib/types.ts'
import { REVOKED, buildApp, ownPrefix } from '../../support/app.ts'
import { WatchedClient } from '../../support/domain.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'
import { keptOf, REFRESH_INVALID, statusOf } from '../../support/sessions.ts'

/* What Redis holds of sessions: for how long, what a thief of it can do, and how often it is asked. */

const server = await startRedis(t)
t.teardown(() => {})
const DAY = 24 * 3600

t.test('whoever steals all keys and values of Redis, or the log, has no refresh token', async (t) => {
  const keyPrefix = ownPrefix()
  let log = ''
  const app = await buildApp(t, {
    fastify: { logger: { level: 'trace', stream: { write (line: string) { log += line } } } },
    revocation: { redis: server.url, keyPrefix, refresh: { grace: '10m' } },
    after (app) {
      app.post('/refresh', async (request) => app.revocation.refresh((request.body as { refreshToken: string }).refreshToken))
    }
  })
  // Each state of a refresh token: unused, used, used in vain, of a session that ended, and used too often.
  const pairs: TokenPair[] = []
  const post = async (refreshToken: string) => {
    const response = await app.inject({ method: 'POST', url: '/refresh', payload: { refreshToken } })
    if (response.statusCode === 200) pairs.push(response.json())
    return response.statusCode
  }
  const logIn = async (claims: object = {}) => {
    const pair = await app.revocation.issue({ sub: 'alice', ...claims }, { refresh: true, meta: { device: 'phone' } })
    pairs.push(pair)
    return pair
  }
  await logIn({ role: 'admin' })
  const used = await logIn()
  for (let i = 0; i < 5; i++) await post(used.refreshToken)
  await post(pairs.at(-1)!.refreshToken)
  const ended = await logIn()
  await post(ended.refreshToken)
  await app.revocation.revokeSession(ended.sid)
  await post(ended.refreshToken)
  const reused = await logIn()
  await post(reused.refreshToken)
  // As if its grace were over.
  const key = `${keyPrefix}refresh:${refreshHashOf(reused.refreshToken)}`
  await server.cli('SET', key, (await server.cli('GET', key)).replace(/"used":[\d.]+/, '"used":1'), 'KEEPTTL')
  t.equal(await post(reused.refreshToken), 401)
  await post('x'.repeat(43))

  const stolen: string[] = []
  for (const key of await server.keys(`${keyPrefix}*`)) {
    const type = await server.cli('TYPE', key)
    const value = type === 'zset'
      ? await server.cli('ZRANGE', key, 0, -1, 'WITHSCORES')
      : type === 'stream' ? await server.cli('XRANGE', key, '-', '+') : await server.cli('GET', key)
    stolen.push(`${key} ${value}`)
  }
  const dump = stolen.join('\n')
  t.match(log, 'authn_refresh_reuse')
  t.match(log, 'authn_token_refreshed')
  const hashes = new Set(pairs.map(({ refreshToken }) => refreshHashOf(refreshToken)))
  t.equal(new Set(pairs.map(({ refreshToken }) => refreshToken)).size, hashes.size)
  const keys: string[] = []
  for (const { refreshToken, token } of pairs) {
    const secret = (await keptOf(server, keyPrefix, refreshToken))?.key
    if (secret !== undefined) keys.push(secret)
    for (const [what, text] of Object.entries({ dump, log })) {
      t.notOk(text.includes(refreshToken), `the ${what} has no refresh token`)
      t.notOk(text.includes(Buffer.from(refreshToken, 'base64url').toString('hex')), `the ${what} has none in hex`)
      t.notOk(text.includes(token.split('.')[2]!), `the ${what} has no access token`)
    }
    t.notOk(log.includes(refreshHashOf(refreshToken)), 'the log has no hash')
  }
  t.ok(keys.length >= 4)
  for (const key of keys) t.notOk(log.includes(key), 'the log has no key of a successor')

  // Everything in it of the length of a refresh token, and all that can be made of two such.
  const parts = [...new Set(dump.match(/[\w-]{43}/g))]
  t.ok(parts.length >= hashes.size + new Set(keys).size, `${parts.length} strings of 43 characters`)
  const raw = (part: string) => Buffer.from(part, 'base64url')
  const made = new Set(parts)
  for (const a of parts) {
    made.add(refreshHashOf(a))
    made.add(createHash('sha256').update(raw(a)).digest('base64url'))
    for (const b of parts) {
      made.add(successorOf(a, b))
      made.add(createHmac('sha256', b).update(a).digest('base64url'))
      made.add(createHmac('sha256', raw(b)).update(raw(a)).digest('base64url'))
    }
  }
  // A refresh token is one whose hash is a key.
  const usable = [...made].filter((candidate) => hashes.has(refreshHashOf(candidate)))
  t.strictSame(usable, [], `none of ${made.size} is a refresh token`)
  for (const part of parts) await t.rejects(app.revocation.refresh(part), REFRESH_INVALID)
  // Who has the spent token as well is who it was given to: that is how a retry gets its successor.
  t.ok(made.size > parts.length)
})

/** The keys of cutoffs, and how long they are kept at least, in seconds. */
async function keepsCutoffs (t: Test, left: (key: string) => Promise<number>, keyPrefix: string, names: string[], seconds: number) {
  for (const name of names) {
    const milliseconds = await left(`${keyPrefix}cutoff:${name}`)
    t.ok(milliseconds > seconds * 1000, `cutoff:${name} is kept for ${Math.round(milliseconds / DAY / 100) / 10} days`)
    t.ok(milliseconds < (seconds + 3600) * 1000, 'and not for much longer')
  }
}

const SESSIONS: RevocationOptions = {
  maxTokenLifetime: '15m',
  storeTimeout: 10_000,
  revocableBy: ['tenant'],
  refresh: { expiresIn: '30d' }
}

for (const topology of ['one node', 'a cluster'] as const) {
  t.test(`each cutoff is kept as long as refresh tokens live, and a replica that starts later knows it, on ${topology}`, async (t) => {
    const keyPrefix = ownPrefix()
    const servers: RedisServer[] = topology === 'one node' ? [server] : (await startCluster(t)).servers
    const client = topology === 'one node'
      ? new Redis(server.url)
      : new Cluster(servers.map(({ host, port }) => ({ host, port })))
    t.teardown(() => client.disconnect())
    const redis = client as RedisClient
    const app = await buildApp(t, { revocation: { ...SESSIONS, redis, keyPrefix } })
    const session = await app.revocation.issue({ sub: 'alice', tenant: 't1' }, { refresh: true })
    const tokens = await Promise.all(['bob', 'carol'].map(async (sub) => {
      return [sub, await app.revocation.issue({ sub, tenant: `of ${sub}` }, { refresh: true })] as const
    }))
    const [[, bob], [, carol]] = tokens as [[string, TokenPair], [string, TokenPair]]
    await app.revocation.revokeById(session.id)
    await app.revocation.revokeSubject('bob')
    await app.revocation.revokeBy('tenant', 'of carol')
    const names = [`sid:${session.sid}`, 'bob', 'tenant:of%20carol']
    const left = (key: string): Promise<number> => client.pttl(key)
    await keepsCutoffs(t, left, keyPrefix, names, 30 * DAY)
    t.strictSame((await client.zrange(`${keyPrefix}standing`, '0', '-1')).sort(), [...names].sort(), 'a replica that starts later finds them')
    t.ok(await left(`${keyPrefix}standing`) > 30 * DAY * 1000)
    for (const { refreshToken, id, refreshExpiresAt } of [session, bob, carol]) {
      const ends = Date.parse(refreshExpiresAt)
      const kept = Date.now() + await left(`${keyPrefix}refresh:${refreshHashOf(refreshToken)}`)
      t.ok(Math.abs(kept - ends) < 5000, 'a refresh token is kept until its session ends')
      t.ok(Date.now() + await left(`${keyPrefix}token:${id}`) > ends, 'and its record for longer')
    }

    // The entries of the log matter for as long as access tokens: they are gone by then.
    await client.del(`${keyPrefix}log`)
    const late = await buildApp(t, { revocation: { ...SESSIONS, redis, keyPrefix, mode: 'replica' } })
    await eventually('it has read what stands', async () => late.revocation.status().entries! >= names.length)
    for (const [name, { refreshToken, token }] of Object.entries({ session, bob, carol })) {
      t.match(await statusOf(late, token), REVOKED, name)
      for (const process of [app, late]) await t.rejects(process.revocation.refresh(refreshToken), REFRESH_INVALID, name)
    }
  })
}

/** How many times a refresh waits for Redis: what is sent while answers are outstanding shares their time. */
async function roundTrips (client: RedisClient & { isCluster: boolean }, act: (redis: RedisClient) => Promise<() => Promise<unknown>>) {
  const released: Array<() => void> = []
  let isCounting = false
  const held = <T>(answer: Promise<T>) => isCounting
    ? answer.finally(() => new Promise<void>((resolve) => { released.push(resolve) }))
    : answer
  const watched = new WatchedClient(client)
  const stepped = {
    isCluster: client.isCluster,
    nodes: (client as unknown as { nodes?: (role: string) => unknown[] }).nodes?.bind(client),
    call: (...command: Parameters<RedisClient['call']>) => held(watched.call(...command)),
    pipeline (commands: unknown[][]) {
      const pipeline = watched.pipeline(commands)
      return { exec: () => held(pipeline.exec()) }
    }
  } as unknown as RedisClient
  const measured = await act(stepped)
  isCounting = true
  const from = watched.flushes.length
  const state = { isDone: false }
  const done = measured().finally(() => { state.isDone = true })
  let trips = 0
  while (!state.isDone) {
    // All that goes out at once has gone out, and is answered.
    await watched.idle()
    await watched.idle()
    if (released.length > 0) trips++
    for (const release of released.splice(0)) release()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await done
  isCounting = false
  return { trips, commands: watched.flushes.slice(from).flat() }
}

/** The commands of one refresh of a session that has a subject. */
const OF_REFRESH = ['eval', 'eval', 'get', 'eval', 'set', 'set', 'eval', 'set', 'eval']

for (const topology of ['one node', 'a cluster'] as const) {
  t.test(`a refresh takes four round trips, on ${topology}`, async (t) => {
    const client = topology === 'one node'
      ? new Redis(server.url)
      : new Cluster((await startCluster(t)).servers.map(({ host, port }) => ({ host, port })))
    t.teardown(() => client.disconnect())
    let app!: Awaited<ReturnType<typeof buildApp>>
    const measure = async (what: (pair: TokenPair) => Promise<() => Promise<unknown>>) => roundTrips(client as never, async (redis) => {
      app = await buildApp(t, { revocation: { redis, keyPrefix: ownPrefix(), storeTimeout: 20_000, refresh: {} } })
      const pair = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
      return what(pair)
    })
    const first = await measure(async ({ refreshToken }) => () => app.revocation.refresh(refreshToken))
    t.equal(first.trips, 4)
    const reads = topology === 'one node' ? ['mget', 'mget'] : ['get', 'get', 'get', 'get']
    t.strictSame([...first.commands].sort(), [...OF_REFRESH, ...reads].sort())
    // The claims are with the successor, which is one more look.
    const again = await measure(async ({ refreshToken }) => {
      await app.revocation.refresh(refreshToken)
      return () => app.revocation.refresh(refreshToken)
    })
    t.equal(again.trips, 5, 'the same token again')
    const refused = await measure(async () => () => t.rejects(app.revocation.refresh('x'.repeat(43)), REFRESH_INVALID))
    t.strictSame(refused, { trips: 1, commands: ['eval'] }, 'an unknown one')
    const malformed = await measure(async () => () => t.rejects(app.revocation.refresh('x'), REFRESH_INVALID))
    t.strictSame(malformed, { trips: 0, commands: [] }, 'a malformed one')
  })
}

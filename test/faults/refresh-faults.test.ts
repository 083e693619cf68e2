import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { successorOf } from '../../lib/domain/refresh-token.ts'
import type { TokenPair } from '../../lib/types.ts'
import { buildApp, ownPrefix } from '../support/app.ts'
import { UNAVAILABLE } from '../support/domain.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { eventually, startRedis, type RedisServer } from '../support/redis.ts'
import { MASTER, startReplica } from '../support/replicas.ts'
import { isThorough } from '../support/runs.ts'
import { keptOf, REFRESH_INVALID, statusOf } from '../support/sessions.ts'

/*
 * Goal: whatever fails while a refresh is under way, the client asks again with the token that it has, and gets a pair that
 * works. Nothing is left that an operator must mend.
 * Method: a proxy breaks the connection at each command, before Redis hears it and after Redis has run it; and Redis is killed
 * at each command, and started on the data that it has.
 */

// Most of them wait.
t.jobs = 3

/** Nothing here is about its end. */
const GRACE = '10m'

/** What a client does with commands whose connection broke before the answer. */
const CLIENTS: Record<string, { maxRetriesPerRequest?: number }> = { 'gives up': { maxRetriesPerRequest: 0 }, 'sends again': {} }

interface Rig { app: FastifyInstance, server: RedisServer, proxy: Proxy, keyPrefix: string }

async function setUp (t: Test, server: RedisServer, options: object = {}): Promise<Rig> {
  const proxy = await startProxy(t, server)
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, {
    revocation: { redis: { host: '127.0.0.1', port: proxy.port, ...options }, keyPrefix, storeTimeout: 3000, refresh: { grace: GRACE } }
  })
  return { app, server, proxy, keyPrefix }
}

/** The commands of one refresh, in the order in which they are sent. */
async function commandsOfRefresh ({ app, proxy }: Rig): Promise<string[]> {
  const sent: string[] = []
  const { refreshToken } = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
  await proxy.set({ breakAt: (command) => { sent.push(command) } })
  await app.revocation.refresh(refreshToken)
  await proxy.set('pass')
  return sent
}

/** What a client does that was answered 503, or not at all. */
async function retried (app: FastifyInstance, refreshToken: string): Promise<TokenPair> {
  let pair: TokenPair | undefined
  await eventually('a retry is answered', async () => {
    pair = await app.revocation.refresh(refreshToken).catch((error) => {
      if (error.statusCode !== 503) throw error
      return undefined
    })
    return pair !== undefined
  })
  return pair!
}

/** The retry gets the pair that the first attempt would have given, and all goes on. */
async function goesOn (t: Test, { app, server, keyPrefix }: Rig, what: string, first: TokenPair, given: TokenPair | undefined) {
  const pair = await retried(app, first.refreshToken)
  if (given !== undefined) t.equal(pair.refreshToken, given.refreshToken, `${what}: the same successor`)
  t.equal((await statusOf(app, pair.token)).statusCode, 200, `${what}: the access token works`)
  const next = await app.revocation.refresh(pair.refreshToken)
  t.match(next, { id: first.id, sid: first.sid, refreshExpiresAt: first.refreshExpiresAt })
  t.equal((await statusOf(app, next.token)).statusCode, 200, `${what}: and the one after`)
  await hasEnds(t, server, keyPrefix, what)
}

/** Whatever is left ends by itself. */
async function hasEnds (t: Test, server: RedisServer, keyPrefix: string, what: string) {
  for (const key of await server.keys(`${keyPrefix}*`)) {
    // The log is trimmed as entries come.
    if (key === `${keyPrefix}log`) continue
    const left = Number(await server.cli('PTTL', key))
    t.ok(left > 0 || left === -2, `${what}: ${key.slice(keyPrefix.length)} ends by itself`, { left })
  }
}

for (const [client, options] of Object.entries(CLIENTS)) {
  for (const where of ['before', 'after'] as const) {
    t.test(`a connection that breaks ${where} each command of a refresh, of a client that ${client}`, { buffered: true }, async (t) => {
      const rig = await setUp(t, await startRedis(t), options)
      const { app, proxy } = rig
      const commands = await commandsOfRefresh(rig)
      t.ok(commands.length >= 10, `${commands.length} commands`)
      const outcomes: string[] = []
      for (let n = 1; n <= commands.length; n++) {
        const first = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
        let seen = 0
        await proxy.set({ breakAt: () => ++seen === n ? where : undefined })
        const outcome = await app.revocation.refresh(first.refreshToken).then((pair) => ({ pair }), (error) => ({ error }))
        await proxy.set('pass')
        if ('error' in outcome) t.match(outcome.error, UNAVAILABLE, `${n}: 503`)
        outcomes.push('error' in outcome ? '503' : '200')
        await goesOn(t, rig, `command ${n}`, first, 'pair' in outcome ? outcome.pair : undefined)
      }
      t.comment(outcomes.join(' '))
      if (client === 'gives up') t.ok(outcomes.includes('503'), 'it did break')
      const { tokens } = await app.revocation.tokens('alice', { limit: 100 })
      t.equal(tokens.length, commands.length + 1, 'the list has each session once')
      t.notOk(tokens.some(({ status }) => status !== 'active'))
    })
  }
}

t.test('Redis is killed after each command of a refresh, and started again', { buffered: true }, async (t) => {
  const server = await startRedis(t, { persist: true })
  const rig = await setUp(t, server, { maxRetriesPerRequest: 0 })
  const { app, proxy } = rig
  const commands = await commandsOfRefresh(rig)
  // Those that write, and one that reads.
  const all = commands.map((_, i) => i + 1)
  for (const n of isThorough ? all : all.filter((n) => n % 3 === 2)) {
    const first = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
    let seen = 0
    let killed: Promise<void> | undefined
    await proxy.set({ breakAt: () => ++seen === n ? 'after' : undefined, broken: () => { killed = server.kill() } })
    await t.rejects(app.revocation.refresh(first.refreshToken), UNAVAILABLE).catch(() => {})
    await eventually('it was killed', async () => killed !== undefined && !server.running)
    await server.start()
    await goesOn(t, rig, `command ${n}`, first, undefined)
  }
})

t.test('a refresh counts where enough replicas hold it, and is good again when they are back', { buffered: true }, async (t) => {
  const master = await startRedis(t, { args: MASTER })
  const replica = await startReplica(t, master)
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, {
    revocation: { redis: master.url, keyPrefix, minReplicas: 1, storeTimeout: 3000, refresh: { grace: GRACE } }
  })
  const first = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
  const second = await app.revocation.refresh(first.refreshToken)
  for (const key of await master.keys(`${keyPrefix}{refresh,token,id}:*`)) t.equal(await replica.cli('EXISTS', key), '1', 'the replica holds it')
  for (const { refreshToken } of [first, second]) {
    t.strictSame(await keptOf(replica, keyPrefix, refreshToken), await keptOf(master, keyPrefix, refreshToken), 'the replica holds the tokens')
  }

  replica.pause()
  await t.rejects(app.revocation.refresh(second.refreshToken), UNAVAILABLE)
  const { key } = (await keptOf(master, keyPrefix, second.refreshToken))!
  t.equal(await keptOf(master, keyPrefix, successorOf(second.refreshToken, key)), null, 'no successor that a failover may lose')
  replica.resume()
  const third = await retried(app, second.refreshToken)
  t.equal(third.refreshToken, successorOf(second.refreshToken, key))
  t.equal((await statusOf(app, third.token)).statusCode, 200)
  t.ok(await keptOf(replica, keyPrefix, third.refreshToken), 'the replica holds it')

  await replica.kill()
  await t.rejects(app.revocation.refresh(third.refreshToken), UNAVAILABLE, 'while it is gone')
  await replica.start()
  const fourth = await retried(app, third.refreshToken)
  t.equal((await statusOf(app, fourth.token)).statusCode, 200)
  t.match(await app.revocation.refresh(fourth.refreshToken), { id: first.id })
  await app.revocation.revokeSession(first.sid)
  await t.rejects(app.revocation.refresh(fourth.refreshToken), REFRESH_INVALID)
  await hasEnds(t, master, keyPrefix, 'after all')
})

import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import { APPEND, REVOKE } from '../../../lib/stores/redis/scripts.ts'
import { bearer, buildApp, ownPrefix, signed, inSeconds } from '../../support/app.ts'
import { WatchedClient } from '../../support/domain.ts'
import { startProxy } from '../../support/proxy.ts'
import { eventually, startRedis, type RedisServer } from '../../support/redis.ts'
import { MASTER, startReplica } from '../../support/replicas.ts'

/*
 * A revocation is two writes, its key and its entry in the log. What becomes of one of which only the key was written,
 * or of which Redis lost the key alone.
 */

const MAX_STALENESS = 500

/** An application on a client of which the test can make commands fail. */
async function onWatched (t: Test, server: RedisServer, options: RevocationOptions = {}) {
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  // Key and log are two writes only on a cluster, of which this is a small one.
  const client = Object.assign(new WatchedClient(redis), { isCluster: true, duplicate: () => redis.duplicate(), nodes: () => [redis] })
  const app = await buildApp(t, { revocation: { redis: client, ...options } })
  const status = async (token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
  return { app, client, redis, status }
}

const replica = (t: Test, server: RedisServer) => onWatched(t, server, { mode: 'replica', maxStaleness: MAX_STALENESS })

const isEval = (command: unknown[], script: string) => command[0] === 'eval' && command[1] === script

/** Resolves to what it is in the end. */
async function settles (status: () => Promise<number>): Promise<number> {
  await eventually('it is refused', async () => await status() === 401).catch(() => {})
  return status()
}

for (const mode of ['strict', 'replica'] as const) {
  t.test(`revoking all others acknowledges no token of which the replicas never heard, on a ${mode}`, async (t) => {
    const server = await startRedis(t)
    const { app, client, status } = mode === 'strict' ? await onWatched(t, server) : await replica(t, server)
    const other = await replica(t, server)
    const [speaker, ended] = [await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' })]
    client.intercept = (command) => isEval(command, APPEND) ? Promise.reject(new Error('OOM command not allowed')) : undefined
    await t.rejects(app.revocation.revoke({ jti: ended.jti }), { code: 'FST_JWT_REVOCATION_UNAVAILABLE' }, 'the key is written, and no entry')
    client.intercept = () => undefined
    await app.revocation.revokeSubject('alice', { except: speaker.jti })
    t.equal(await status(ended.token), 401, 'where it was made')
    t.equal(await settles(() => other.status(ended.token)), 401, 'on a replica')
  })
}

for (const [name, { iat, revokeAgain }] of Object.entries<{ iat: number, revokeAgain: (app: FastifyInstance, speaker: string) => Promise<unknown> }>({
  'all others': { iat: 0, revokeAgain: ({ revocation }, except) => revocation.revokeSubject('alice', { except }) },
  // No cutoff reaches a token of a clock that is ahead.
  'a subject': { iat: 30, revokeAgain: ({ revocation }) => revocation.revokeSubject('alice') }
})) {
  t.test(`P3 revoking ${name} acknowledges no token that another process revoked halfway`, async (t) => {
    const server = await startRedis(t)
    const [{ app, client }, second, listener] = [await onWatched(t, server), await onWatched(t, server), await replica(t, server)]
    const { jti: speaker } = await app.revocation.issue({ sub: 'alice' })
    const ended = { sub: 'alice', jti: randomUUID(), iat: inSeconds(iat), exp: inSeconds(900) }
    await app.revocation.record(ended)
    client.intercept = (command) => isEval(command, APPEND) ? Promise.reject(new Error('OOM command not allowed')) : undefined
    await t.rejects(app.revocation.revoke({ jti: ended.jti }), { code: 'FST_JWT_REVOCATION_UNAVAILABLE' }, 'the key is written, and never its entry')
    await revokeAgain(second.app, speaker)
    t.equal(await settles(async () => listener.status(await signed(ended))), 401)
  })
}

t.test('what could not be put back for the moment is put back later', async (t) => {
  const server = await startRedis(t)
  const { app, client } = await replica(t, server)
  const strict = await onWatched(t, server)
  const tokens = await Promise.all(Array.from({ length: 3 }, async () => {
    const jti = randomUUID()
    return { jti, token: await signed({ jti, iat: inSeconds(0), exp: inSeconds(900) }) }
  }))
  for (const { jti } of tokens) await app.revocation.revoke({ jti, exp: inSeconds(900) })
  await eventually('the replica is in step', async () => app.revocation.status().stalenessMs! < MAX_STALENESS / 2)
  let failures = 0
  client.intercept = (command) => {
    if (!isEval(command, REVOKE) || !String(command[3]).endsWith(tokens[1]!.jti) || failures++ > 0) return undefined
    return Promise.reject(new Error('OOM command not allowed when used memory > \'maxmemory\'.'))
  }
  await strict.redis.flushall()
  t.equal(await settles(() => strict.status(tokens[0]!.token)), 401, 'one that did not fail')
  t.ok(failures > 0, 'one did')
  t.equal(await settles(() => strict.status(tokens[1]!.token)), 401, 'nor is it forgotten')
})

t.test('what Redis loses between the two writes of a revocation is put back as well', async (t) => {
  const server = await startRedis(t)
  await replica(t, server)
  const { app, client, redis, status } = await onWatched(t, server)
  const [before, ended] = [await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' })]
  await app.revocation.revoke({ jti: before.jti })
  await new Promise((resolve) => setTimeout(resolve, MAX_STALENESS))
  let flushed: Promise<unknown> | undefined
  client.intercept = (command) => {
    if (!isEval(command, APPEND) || flushed !== undefined) return undefined
    flushed = redis.flushall()
    return flushed.then(() => redis.call(...command as [string, ...string[]]))
  }
  await app.revocation.revoke({ jti: ended.jti })
  t.equal(await settles(() => status(before.token)), 401, 'what was revoked before')
  t.equal(await settles(() => status(ended.token)), 401, 'what was acknowledged after it')
})

t.test('what a master took after another one was promoted is put back there, though the log goes on where it was read', async (t) => {
  const old = await startRedis(t, { args: MASTER })
  const promoted = await startReplica(t, old)
  const target = { host: old.host, port: old.port }
  const way = await startProxy(t, target)
  const client = new Redis(way.url)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  // The connection for the log is the first to find the new master.
  const redis = Object.assign(client, { duplicate: (options: object) => new Redis(promoted.url, options) })
  const keyPrefix = ownPrefix()
  const revoke = async ({ revocation }: FastifyInstance) => {
    const jti = randomUUID()
    await revocation.revoke({ jti, exp: inSeconds(900) })
    return `${keyPrefix}revoked:${jti}`
  }
  // Without a log, a process puts back what it knows as soon as it has started.
  const before = await revoke(await buildApp(t, { revocation: { redis: old.url, keyPrefix } }))
  await eventually('it is replicated', async () => await promoted.cli('EXISTS', before) === '1')
  const app = await buildApp(t, { revocation: { redis, keyPrefix, mode: 'replica', maxStaleness: MAX_STALENESS, storeTimeout: 10_000 } })
  await eventually('the log is followed', async () => app.revocation.status().stalenessMs! < MAX_STALENESS / 2)
  await promoted.cli('REPLICAOF', 'NO', 'ONE')
  const lost = await revoke(app)
  t.equal(await promoted.cli('EXISTS', lost), '0')
  target.port = promoted.port
  way.cut()
  await eventually('it is put back', async () => await promoted.cli('EXISTS', lost) === '1')
  t.equal(await promoted.cli('XLEN', `${keyPrefix}log`), '2', 'for the replicas as well')
})

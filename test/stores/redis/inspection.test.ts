import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import { inspect } from '../../../lib/stores/redis/inspection.ts'
import { NAMES } from '../../support/domain.ts'
import { buildApp, genuine, bearer, ownPrefix } from '../../support/app.ts'
import { startProxy } from '../../support/proxy.ts'
import { eventually, startRedis, type Owner } from '../../support/redis.ts'

t.jobs = 4

const EVICTS = (policy: string) => `Redis may evict revocations when its memory is full (maxmemory-policy ${policy}), and their tokens work again; set maxmemory-policy noeviction`
const NO_FILE = 'Redis keeps no append-only file: what was revoked since its last snapshot, if it makes any, is lost when it ends; set appendonly yes'
const REPLICA = 'Redis is a replica: it takes no revocations, and may not know of the latest; connect to its master'
const OLD = (version: string) => `Redis ${version} lacks commands that the plugin needs; run 6.2 or newer, or Valkey`
const FEW = (found: number, wanted: number) =>
  `Redis has ${found} replicas, fewer than option "minReplicas" asks for (${wanted}): revocations are answered 503`

const GOOD = {
  redis_version: '7.2.4', maxmemory_policy: 'noeviction', aof_enabled: '1', role: 'master', connected_slaves: '2', slave0: 'ip=10.0.0.1,port=6379,state=online,offset=1,lag=0'
}

const infoOf = (fields: Record<string, string>, end = '\r\n') =>
  ['# Server', ...Object.entries(fields).map(([name, value]) => `${name}:${value}`), ''].join(end)

const without = (...names: string[]) => Object.fromEntries(Object.entries(GOOD).filter(([name]) => !names.includes(name)))

const TEXTS: Record<string, [info: string, warnings: string[], minReplicas?: number]> = {
  'Redis 7.2, as it should be': [infoOf(GOOD), [], 2],
  'Redis 6.2': [infoOf({ ...GOOD, redis_version: '6.2.14' }), []],
  'Redis 8': [infoOf({ ...GOOD, redis_version: '8.0.1' }), []],
  'Redis 10': [infoOf({ ...GOOD, redis_version: '10.0.0' }), []],
  'Redis 6.10': [infoOf({ ...GOOD, redis_version: '6.10.0' }), []],
  'Redis 6.0': [infoOf({ ...GOOD, redis_version: '6.0.16' }), [OLD('6.0.16')]],
  'Redis 5': [infoOf({ ...GOOD, redis_version: '5.0.7' }), [OLD('5.0.7')]],
  'Valkey 8, which says 7.2.4 of Redis': [infoOf({ server_name: 'valkey', valkey_version: '8.1.0', ...GOOD }), []],
  'a version that is none': [infoOf({ ...GOOD, redis_version: 'unstable' }), []],
  'a service that hides what it keeps on disk and where it is': [infoOf(without('aof_enabled', 'role', 'connected_slaves', 'slave0')), [], 1],
  'a service that hides its version': [infoOf(without('redis_version')), []],
  'a service that hides its policy': [infoOf(without('maxmemory_policy')), []],
  nothing: ['', [], 3],
  'the text of something else': ['<html>\r\n<h1>role:slave aof_enabled:0</h1>\r\n', [], 1],
  'what is no text': [String(null), [], 1],
  'lines that end in a line feed alone': [infoOf({ ...GOOD, aof_enabled: '0' }, '\n'), [NO_FILE]],
  'one replica of two': [infoOf({ ...GOOD, connected_slaves: '1' }), [FEW(1, 2)], 2],
  'no replica, and none asked for': [infoOf({ ...GOOD, connected_slaves: '0' }), []],
  'ten replicas of nine': [infoOf({ ...GOOD, connected_slaves: '10' }), [], 9],
  'a field of a name that ends alike': [infoOf({ ...GOOD, other_role: 'slave', last_aof_enabled: '0' }), []],
  'everything at once': [
    infoOf({ redis_version: '4.0.14', maxmemory_policy: 'volatile-ttl', aof_enabled: '0', role: 'slave', connected_slaves: '0' }),
    [EVICTS('volatile-ttl'), NO_FILE, REPLICA, OLD('4.0.14'), FEW(0, 1)], 1
  ]
}
for (const policy of ['allkeys-lru', 'allkeys-lfu', 'allkeys-random', 'volatile-lru', 'volatile-lfu', 'volatile-random', 'volatile-ttl']) {
  TEXTS[`maxmemory-policy ${policy}`] = [infoOf({ ...GOOD, maxmemory_policy: policy }), [EVICTS(policy)]]
}

for (const [name, [info, warnings, minReplicas = 0]] of Object.entries(TEXTS)) {
  t.test(`what INFO says: ${name}`, async (t) => {
    t.strictSame(inspect(info, minReplicas), warnings)
  })
}

/** An application, and each line of its log at the level of a warning. */
async function build (t: Test, revocation: RevocationOptions) {
  const warned: string[] = []
  const app = await buildApp(t, {
    fastify: {
      logger: {
        stream: {
          write (line: string) {
            const { level, msg } = JSON.parse(line)
            if (level === 40) warned.push(msg)
          }
        }
      }
    },
    revocation: { keyPrefix: ownPrefix(), storeTimeout: 3000, ...revocation }
  })
  return { app, warned }
}

const lines = (warnings: string[]) => warnings.map((sentence) => `jwt revocation: ${sentence}`)

async function warns (t: Test, revocation: RevocationOptions, warnings: string[]) {
  const { app, warned } = await build(t, revocation)
  t.strictSame(warned, lines(warnings), 'a line each')
  t.strictSame(app.revocation.status(), { mode: 'strict', store: 'redis', available: true, ...NAMES, ...(warnings.length > 0 && { warnings }) })
  return { app, warned }
}

t.test('nothing is said of a server that keeps everything', { buffered: true }, async (t) => {
  await warns(t, { redis: (await startRedis(t, { persist: true })).url }, [])
})

t.test('a server that evicts, one without an append-only file, one that is both', { buffered: true }, async (t) => {
  const evicts = await startRedis(t, { persist: true, args: ['--maxmemory-policy', 'allkeys-lru'] })
  const forgets = await startRedis(t)
  const both = await startRedis(t, { args: ['--maxmemory-policy', 'volatile-lru'] })
  await warns(t, { redis: evicts.url }, [EVICTS('allkeys-lru')])
  await warns(t, { redis: forgets.url }, [NO_FILE])
  await warns(t, { redis: both.url }, [EVICTS('volatile-lru'), NO_FILE])
})

t.test('a replica, and a master with fewer of them than minReplicas', { buffered: true }, async (t) => {
  const master = await startRedis(t, { persist: true, args: ['--repl-diskless-sync-delay', '0'] })
  await warns(t, { redis: master.url, minReplicas: 1 }, [FEW(0, 1)])
  const replica = await replicaOf(t, master)
  await warns(t, { redis: replica.url }, [REPLICA])
  await warns(t, { redis: master.url, minReplicas: 1 }, [])
  await warns(t, { redis: master.url, minReplicas: 2 }, [FEW(1, 2)])
})

t.test('a client that was given is asked in the same way, and mode replica too', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  await warns(t, { redis: client }, [NO_FILE])
  const { app, warned } = await build(t, { redis: client, mode: 'replica' })
  t.strictSame(warned, lines([NO_FILE]))
  t.match(app.revocation.status(), { mode: 'replica', warnings: [NO_FILE] })
})

t.test('what status() gives is the caller\'s to change', { buffered: true }, async (t) => {
  const { app } = await build(t, { redis: (await startRedis(t)).url })
  app.revocation.status().warnings!.length = 0
  t.strictSame(app.revocation.status().warnings, [NO_FILE])
})

t.test('it is asked once, also where the store is lost and comes back', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  const { app, warned } = await build(t, { redis: server.url, storeTimeout: 1500 })
  t.strictSame(warned, lines([NO_FILE]))
  for (let i = 0; i < 2; i++) {
    await server.kill()
    const { token } = await genuine()
    await eventually('the store is lost', async () => {
      await app.inject({ url: '/me', headers: bearer(token) })
      return !app.revocation.status().available
    })
    await server.start()
    await eventually('the store is back', async () => app.revocation.status().available)
  }
  t.strictSame(warned.filter((line) => line !== 'jwt revocation: the store is back'), lines([NO_FILE]))
  t.strictSame(app.revocation.status().warnings, [NO_FILE])
})

t.test('a Redis that is down at the start is asked when it answers first', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  await proxy.set('refuse')
  const { app, warned } = await build(t, { redis: proxy.url, storeTimeout: 1000 })
  t.strictSame(app.revocation.status(), { mode: 'strict', store: 'redis', available: false, ...NAMES })
  await proxy.set('pass')
  await eventually('it has been asked', async () => app.revocation.status().warnings !== undefined)
  t.strictSame(app.revocation.status(), { mode: 'strict', store: 'redis', available: true, ...NAMES, warnings: [NO_FILE] })
  t.strictSame(warned, ['jwt revocation: the store is back', ...lines([NO_FILE])])
})

t.test('a user that may not ask gets no warnings, and everything else', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  for (const [name, forbidden] of Object.entries({ mute: ['-info'], usual: ['-config'] })) {
    await server.cli('ACL', 'SETUSER', name, 'on', '>secret', '~*', '+@all', ...forbidden)
    const redis = { host: server.host, port: server.port, username: name, password: 'secret', enableReadyCheck: false }
    const { app } = await warns(t, { redis }, name === 'mute' ? [] : [NO_FILE])
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
    t.match(await app.revocation.revoke({ jti }), { status: 'revoked' })
    t.match((await app.inject({ url: '/me', headers: bearer(token) })).json(), { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  }
})

async function replicaOf (t: Owner, master: { host: string, port: number }) {
  const replica = await startRedis(t, { persist: true, args: ['--replicaof', `${master.host} ${master.port}`] })
  await eventually('the replica is in step', async () => /^master_link_status:up/m.test(await replica.cli('INFO', 'replication')))
  return replica
}

import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { identityOf } from '../../lib/domain/names.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { openStore } from '../../lib/stores/open.ts'
import type { RedisClient } from '../../lib/types.ts'
import { check, cutoffOf, denial, recordOf, storeContract, type Subject } from './contract.ts'
import { bearer, buildApp, inSeconds, ownPrefix } from '../support/app.ts'
import { startCluster, startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { on, redisStore, type Revoked } from '../support/stores.ts'
import { systemClock } from '../../lib/time.ts'

/** Long enough for two busy cores: what a deadline does is another test's. */
const PATIENCE = 10_000

const cluster = await startCluster(t)
const server = await startRedis(t)

type Client = RedisClient & { status: string, options: object, disconnect (): void }
type Connect = (options?: object) => Client

const nodes = cluster.nodes
const single: Record<string, Connect> = {
  'Redis of ioredis 6': (options = {}) => new Redis(server.url, options),
  'Redis of ioredis 5': (options = {}) => new Redis5(server.url, options),
  'Redis of iovalkey': (options = {}) => new Valkey(server.url, options)
}
const clustered: Record<string, Connect> = {
  'Cluster of ioredis 6': (options = {}) => new Cluster(nodes, options),
  'Cluster of ioredis 5': (options = {}) => new Cluster5(nodes, options),
  'Cluster of iovalkey': (options = {}) => new ValkeyCluster(nodes, options)
}
const clients = { ...single, ...clustered }

function connected (t: Test, connect: Connect, options?: object) {
  const client = connect(options)
  t.teardown(() => client.disconnect())
  return client
}

function storeOf (client: RedisClient, keyPrefix: string) {
  return redisStore(client, { keyPrefix, storeTimeout: PATIENCE, logSpan: 3600, minReplicas: 0 }, {
    clock: systemClock,
    onLost (error) { throw error },
    onBack () {}
  })
}

function redisSubject (t: Test, connect: Connect): Subject {
  const client = connected(t, connect)
  const keyPrefix = ownPrefix()
  const store = storeOf(client, keyPrefix)
  t.teardown(() => store.close())
  const until = (key: string) => expiryOf(client, key)
  return {
    store,
    revokedUntil: (identity) => until(`${keyPrefix}revoked:${identity}`),
    recordUntil: (id) => until(`${keyPrefix}token:${id}`),
    cutoffUntil: (name) => until(`${keyPrefix}cutoff:${name}`)
  }
}

/** The same over a copy in this process, which follows the log. */
function replicaSubject (t: Test, connect: Connect): Subject {
  const client = connected(t, connect)
  const keyPrefix = ownPrefix()
  const { store, close } = openStore(
    { redis: client, mode: 'replica', keyPrefix, storeTimeout: PATIENCE, maxStaleness: PATIENCE, logSpan: 3600, minReplicas: 0 },
    { clock: systemClock, onLost (error) { throw error }, onBack () {} }
  )
  t.teardown(close)
  return {
    store,
    revokedUntil: (identity) => expiryOf(client, `${keyPrefix}revoked:${identity}`),
    recordUntil: (id) => expiryOf(client, `${keyPrefix}token:${id}`),
    cutoffUntil: (name) => expiryOf(client, `${keyPrefix}cutoff:${name}`)
  }
}

/** EXPIRETIME came with Redis 7. Late by what the revocation was under way is not wrong, early is: the second it falls in counts. */
async function expiryOf (client: RedisClient, key: string) {
  const script = "local now = redis.call('TIME') return {redis.call('PTTL', KEYS[1]), now[1] * 1000 + math.floor(now[2] / 1000)}"
  const [left, now] = await client.call('eval', script, 1, key) as [number, number]
  if (left === -2) return undefined
  return left === -1 ? null : Math.floor((now + left + BETWEEN) / 1000)
}

/** Milliseconds that a busy machine may let pass between the two commands of a script, each with a clock of its own. */
const BETWEEN = 100

/** Memory is asked at the last moment and the one after: its clock is a variable. */
function memorySubject (t: Test): Subject {
  let now = Date.now()
  const store = new MemoryStore({ clock: { ...systemClock, wall: () => now } })
  t.teardown(() => store.close())
  const lastSecond = async (kept: () => Promise<boolean>) => {
    const present = now
    try {
      if (!await kept()) return undefined
      now = 8.64e15
      if (await kept()) return null
      let [low, high] = [Math.floor(present / 1000), 8.64e12]
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2)
        now = middle * 1000
        if (await kept()) low = middle
        else high = middle
      }
      now = high * 1000 - 1
      return await kept() ? high : NaN
    } finally {
      now = present
    }
  }
  return {
    store,
    revokedUntil: (identity) => lastSecond(() => check(store, identity)),
    recordUntil: (id) => lastSecond(async () => await store.records.byId(id) !== null),
    cutoffUntil: (name) => lastSecond(async () => await cutoffOf(store, name) !== null)
  }
}

storeContract(t, 'memory', memorySubject)
for (const name of ['Redis of ioredis 6', 'Redis of iovalkey', 'Cluster of ioredis 6']) {
  storeContract(t, `a replica over ${name}`, (t) => replicaSubject(t, clients[name]!))
}
for (const [name, connect] of Object.entries(clients)) {
  storeContract(t, name, (t) => redisSubject(t, connect))
  // The others pipeline in the same way.
  if (!isThorough && !name.endsWith('ioredis 6')) continue
  storeContract(t, `${name} with enableAutoPipelining`, (t) => redisSubject(t, () => connect({ enableAutoPipelining: true })))
}
storeContract(t, 'Redis of ioredis 6 with RESP2', (t) => redisSubject(t, () => single['Redis of ioredis 6']!({ protocol: 2 })))

t.test('memory lets go of what has expired, with its writes and with its sweeps', async (t) => {
  let now = 0
  const store = new MemoryStore({ clock: { ...systemClock, wall: () => now } })
  const write = async (keptUntil: number | null) => {
    await on(store).revoke(randomUUID(), denial(1), keptUntil)
    await store.records.save({ record: recordOf('a'), identity: randomUUID(), exp: null, keptUntil })
  }
  for (let i = 0; i < 1500; i++) await write(10)
  await write(null)
  t.equal(store.size, 4503)
  now = 9999
  for (let i = 0; i < 10; i++) store.sweep()
  t.equal(store.size, 4503, 'nothing goes early')
  now = 10_000
  for (let i = 0; i < 10; i++) store.sweep()
  t.equal(store.size, 3, 'what is for ever stays')

  for (let i = 0; i < 2000; i++) {
    now += 1000
    await write(now / 1000 + 10)
  }
  t.ok(store.size < 3 * 50, `without a sweep, ${store.size} are left where 33 are alive`)
})

/** What the plugin might leave on a client: listeners, options, commands, a state. */
function traces (client: Client) {
  const emitter = client as unknown as NodeJS.EventEmitter & { scriptsSet?: object }
  return {
    listeners: Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listeners(name)])),
    options: { ...client.options },
    scripts: Object.keys(emitter.scriptsSet ?? {}),
    properties: Reflect.ownKeys(client).map(String).sort(),
    prototype: Reflect.ownKeys(Object.getPrototypeOf(client)).map(String).sort(),
    status: client.status
  }
}

for (const [name, connect] of Object.entries(clients)) {
  t.test(`P7 a client stays as it was given: ${name}`, async (t) => {
    const client = connected(t, connect)
    await client.call('get', ownPrefix())
    const before = traces(client)
    t.equal(before.status, 'ready')

    const keyPrefix = ownPrefix()
    const app = await buildApp(t, { revocation: { redis: client, keyPrefix, storeTimeout: PATIENCE } })
    const { jti, token } = await app.revocation.issue({ sub: 'a' })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
    await app.revocation.revoke({ jti })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 401)
    t.strictSame(traces(client), before, 'while it is used')

    await app.close()
    t.strictSame(traces(client), before, 'and after')
    t.type(await client.call('get', `${keyPrefix}revoked:${jti}`), 'string', 'it is open')
  })

  t.test(`the keys and what they hold are those that other services read: ${name}`, async (t) => {
    const client = connected(t, connect)
    const keyPrefix = ownPrefix()
    const store = storeOf(client, keyPrefix)
    const soon = inSeconds(600)
    const get = (key: string) => client.call('get', keyPrefix + key)
    const isCounted = async (value: string, first: Revoked & { first: boolean }) => {
      const identity = randomUUID()
      await client.call('set', `${keyPrefix}revoked:${identity}`, value)
      t.equal(await check(store, identity), true, `${JSON.stringify(value)} counts as revoked`)
      t.strictSame(await on(store).revoke(identity, denial(7, 8), soon), first)
      t.equal(await get(`revoked:${identity}`), value, 'and stays')
      t.equal(await expiryOf(client, `${keyPrefix}revoked:${identity}`), null, 'as long as it was to')
    }

    await on(store).revoke(identityOf('https://i/', 'a/b😀'), denial(1000, 2000), soon)
    t.equal(await get('revoked:https%3A%2F%2Fi%2F/a%2Fb%F0%9F%98%80'), '{"at":1000,"exp":2000}')
    await on(store).revoke(identityOf(undefined, 'a/b'), denial(1000), soon)
    t.equal(await get('revoked:a%2Fb'), '{"at":1000,"exp":null}')

    const record = recordOf('a/b', { iss: 'i', sub: 's', meta: { a: 'é' } })
    await store.records.save({ record, identity: identityOf('i', 'a/b'), exp: null, keptUntil: soon })
    t.strictSame(JSON.parse(String(await get(`token:${record.id}`))), record)
    t.equal(await get('id:i/a%2Fb'), record.id)
    for (const key of [`token:${record.id}`, 'id:i/a%2Fb']) t.equal(await expiryOf(client, keyPrefix + key), soon, 'both go together')
    for (const key of ['revoked:a%2Fb', `token:${record.id}`, 'id:i/a%2Fb']) t.equal(await client.call('type', keyPrefix + key), 'string')

    await isCounted('{"at":1,"exp":2}', { at: 1, exp: 2, first: false })
    await isCounted('{ "exp": null, "at": 1, "by": "them" }', { at: 1, exp: null, first: false })
    await isCounted('{"at":1}', { at: 1, exp: null, first: false })
    await isCounted('{"at":1,"exp":"2"}', { at: 1, exp: null, first: false })
    for (const value of ['', '0', '1', 'false', 'true', 'null', '[]', '{}', '"x"', '{"at":"1"}', '{"at":', 'x', '\u0000', '😀']) {
      await isCounted(value, { at: 7, exp: 8, first: false })
    }
  })

  t.test(`P3 a key of another type is nobody's to write, and revoking it fails: ${name}`, async (t) => {
    const client = connected(t, connect)
    const keyPrefix = ownPrefix()
    const lost: unknown[] = []
    const store = redisStore(client, { keyPrefix, storeTimeout: PATIENCE, logSpan: 3600, minReplicas: 0 }, { clock: systemClock, onLost: (error) => lost.push(error), onBack () {} })
    t.teardown(() => store.close())
    const key = `${keyPrefix}revoked:a`
    await client.call('rpush', key, 'x', 'y')
    for (const keptUntil of [inSeconds(600), null]) {
      await t.rejects(on(store).revoke('a', denial(1), keptUntil), { message: /WRONGTYPE/ })
      t.strictSame(await client.call('lrange', key, 0, -1), ['x', 'y'])
      t.equal(await expiryOf(client, key), null)
    }
    t.strictSame(lost, [], 'it is the fault of this key alone: the store is not lost')

    const identity = randomUUID()
    await client.call('rpush', `${keyPrefix}id:${identity}`, 'x')
    await t.rejects(store.records.of(identity), { message: /WRONGTYPE/ })
    await client.call('set', `${keyPrefix}token:x`, '[]')
    await t.rejects(store.records.byId('x'), { message: 'Redis holds no record under the key of a record' })
    await client.call('set', `${keyPrefix}token:x`, '{')
    await t.rejects(store.records.byId('x'))
  })

  t.test(`a prefix of the client's own comes before ours: ${name}`, async (t) => {
    const theirs = ownPrefix()
    const plain = connected(t, connect)
    for (const enableAutoPipelining of [false, true]) {
      const store = storeOf(connected(t, connect, { keyPrefix: theirs, enableAutoPipelining }), 'jwt:')
      const record = recordOf('a')
      await store.start()
      await on(store).revoke('a', denial(1), inSeconds(600))
      await store.records.save({ record, identity: 'a', exp: null, keptUntil: null })
      t.equal(await check(store, 'a'), true)
      t.equal(await check(store, 'b'), false)
      t.strictSame(await store.records.of('a'), record)
      t.equal(await plain.call('get', `${theirs}jwt:revoked:a`), '{"at":1,"exp":null}')
      t.equal(await plain.call('get', `${theirs}jwt:id:a`), record.id)
      t.type(await plain.call('get', `${theirs}jwt:token:${record.id}`), 'string')
      t.strictSame([...await server.keys('jwt:*'), ...await cluster.keys('jwt:*')], [])
    }
  })

  t.test(`a client that does not queue is waited for at the start: ${name}`, async (t) => {
    const client = connected(t, connect, { enableOfflineQueue: false })
    const store = storeOf(client, ownPrefix())
    await store.start()
    t.ok(store.status.available)
    t.equal(await check(store, 'a'), false)
    await on(store).revoke('a', denial(1), inSeconds(600))
    t.equal(await check(store, 'a'), true)
  })
}

// The root test would otherwise wait for the servers to end, and they for it.
t.end()

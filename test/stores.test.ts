import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { identityOf } from '../lib/domain/names.ts'
import { MemoryStore } from '../lib/stores/memory.ts'
import type { Store } from '../lib/stores/store.ts'
import type { RedisClient, TokenRecord } from '../lib/types.ts'
import { bearer, buildApp, inSeconds, ownPrefix } from './support/app.ts'
import { startCluster, startRedis } from './support/redis.ts'
import { on, redisStore, type Revoked } from './support/stores.ts'
import { systemClock } from '../lib/time.ts'

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

interface Subject {
  store: Store
  /** Until when Redis or memory keeps a revocation, in seconds; null: for ever; undefined: it does not. */
  revokedUntil: (identity: string) => Promise<number | null | undefined>
  recordUntil: (id: string) => Promise<number | null | undefined>
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
    recordUntil: (id) => until(`${keyPrefix}token:${id}`)
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
    recordUntil: (id) => lastSecond(async () => await store.records.byId(id) !== null)
  }
}

function check (store: Store, identity: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    on(store).check(identity, undefined, (error, revoked) => {
      if (error) reject(error)
      else resolve(revoked)
    })
  })
}

const denial = (at: number, exp: number | null = null): Revoked => ({ at, exp })

const recordOf = (jti: string, more: Partial<TokenRecord> = {}): TokenRecord =>
  ({ id: randomUUID(), jti, issuedAt: '2026-11-01T00:00:00.000Z', expiresAt: '2026-11-01T00:15:00.000Z', ...more })

const ODD = [
  'a', 'A', ' ', '*', '?', '[a]', 'a:b', 'a/b', 'a%2Fb', '%', '..', '__proto__', 'constructor', 'toString', '{a}b', '}{', '\u0000', '\r\n', '"', "'", '\\',
  '😀', 'é', 'e\u0301', '\ufeff', 'a'.repeat(255), '😀'.repeat(127), '0', 'null', '-1', 'revoked:a'
]

function conformance (name: string, subjectOf: (t: Test) => Subject) {
  t.test(`every store keeps revocations and records alike: ${name}`, async (t) => {
    const { store, revokedUntil, recordUntil } = subjectOf(t)
    await store.start()
    t.ok(store.status.available)
    const soon = inSeconds(600)

    await t.test('P3 a revocation is found once it has been acknowledged, and not before', async (t) => {
      const identity = randomUUID()
      t.equal(await check(store, identity), false)
      t.strictSame(await on(store).revoke(identity, denial(1000, 2000), soon), { at: 1000, exp: 2000, first: true })
      t.equal(await check(store, identity), true)
      t.equal(await check(store, randomUUID()), false, 'and no other')
    })

    await t.test('revoking again gives the first revocation', async (t) => {
      const identity = randomUUID()
      t.strictSame(await on(store).revoke(identity, denial(1000), soon), { at: 1000, exp: null, first: true })
      t.strictSame(await on(store).revoke(identity, denial(1001, 2000), soon + 1), { at: 1000, exp: null, first: false })
      t.strictSame(await on(store).revoke(identity, denial(999, 3000), null), { at: 1000, exp: null, first: false })
      t.equal(await check(store, identity), true)
    })

    await t.test('P2 a revocation is kept until the given second, and longer but never shorter by another', async (t) => {
      const identity = randomUUID()
      t.equal(await revokedUntil(identity), undefined)
      await on(store).revoke(identity, denial(1), soon)
      t.equal(await revokedUntil(identity), soon)
      await on(store).revoke(identity, denial(2), soon + 100)
      t.equal(await revokedUntil(identity), soon + 100, 'longer')
      await on(store).revoke(identity, denial(3), soon)
      t.equal(await revokedUntil(identity), soon + 100, 'not shorter')
      await on(store).revoke(identity, denial(4), soon + 100)
      t.equal(await revokedUntil(identity), soon + 100, 'the same')
      await on(store).revoke(identity, denial(5), null)
      t.equal(await revokedUntil(identity), null, 'for ever')
      await on(store).revoke(identity, denial(6), soon + 200)
      t.equal(await revokedUntil(identity), null, 'still for ever')
    })

    await t.test('P2 a revocation is kept for ever, or as far away as a date can tell', async (t) => {
      const [forEver, far] = [randomUUID(), randomUUID()]
      await on(store).revoke(forEver, denial(1), null)
      t.equal(await revokedUntil(forEver), null)
      await on(store).revoke(far, denial(1), 8.64e12 - 1)
      t.equal(await revokedUntil(far), 8.64e12 - 1)
    })

    await t.test('of many that revoke one identity at once, exactly one is the first', async (t) => {
      const identity = randomUUID()
      const given = await Promise.all(Array.from({ length: 50 }, (_, i) => on(store).revoke(identity, denial(1000 + i), soon + i)))
      const first = given.filter(({ first }) => first)
      t.equal(first.length, 1)
      for (const { at, exp } of given) t.strictSame({ at, exp }, { at: first[0]!.at, exp: null })
      t.equal(await revokedUntil(identity), soon + 49, 'and the longest time is kept')
    })

    await t.test('of many identities that are revoked at once, each is', async (t) => {
      const identities = Array.from({ length: 50 }, () => randomUUID())
      const given = await Promise.all(identities.map((identity, i) => on(store).revoke(identity, denial(i), soon)))
      t.strictSame(given, identities.map((_, i) => ({ at: i, exp: null, first: true })))
      for (const identity of identities) t.equal(await check(store, identity), true)
    })

    await t.test('600 checks at once are each answered for their own identity', async (t) => {
      const identities = Array.from({ length: 600 }, () => randomUUID())
      for (const [i, identity] of identities.entries()) {
        if (i % 3 === 0) await on(store).revoke(identity, denial(1), soon)
      }
      const answers = await Promise.all(identities.map((identity) => check(store, identity)))
      t.strictSame(answers, identities.map((_, i) => i % 3 === 0))
    })

    await t.test('identities of odd characters are kept apart', async (t) => {
      const own = randomUUID()
      // With an issuer and without, and each as an issuer: none may be found for another's sake.
      const identities = ODD.flatMap((odd) => [identityOf(undefined, own + odd), identityOf(own, odd), identityOf(own + odd, 'a')])
      t.equal(new Set(identities).size, identities.length)
      for (const [i, identity] of identities.entries()) {
        if (i % 2) t.strictSame(await on(store).revoke(identity, denial(i), soon), { at: i, exp: null, first: true })
      }
      t.strictSame(await Promise.all(identities.map((identity) => check(store, identity))), identities.map((_, i) => i % 2 === 1))
    })

    await t.test('a record comes back as it was saved, by its id and by its identity', async (t) => {
      const meta = {
        device: 'Gerät 😀 \u0000 "\\', nested: { list: [1, 0.5, null, true, ''], __proto: {} }, empty: {}, 'a.b/c': -1e300
      }
      for (const record of [
        recordOf('a'),
        recordOf('ä/😀', { iss: 'https://issuer.example/é', sub: '😀 "\\', expiresAt: null }),
        recordOf('a', { meta }),
        recordOf('a', { meta: JSON.parse('{"__proto__":{"a":1},"constructor":1}') }),
        recordOf('a', { iss: randomUUID(), meta: {} }),
        ...ODD.map((jti) => recordOf(jti, { sub: jti }))
      ]) {
        const identity = identityOf(record.iss, randomUUID() + record.jti)
        t.equal(await store.records.byId(record.id), null)
        t.equal(await store.records.of(identity), null)
        await store.records.save({ record, identity, exp: null, keptUntil: soon })
        t.strictSame(await store.records.byId(record.id), record)
        t.strictSame(await store.records.of(identity), record)
        t.equal(await check(store, identity), false, 'a record is no revocation')
        t.equal(await recordUntil(record.id), soon)
      }
    })

    await t.test('a record is the store\'s own copy', async (t) => {
      const record = recordOf('a', { meta: { list: [1] } })
      const saved = structuredClone(record)
      const identity = randomUUID()
      await store.records.save({ record, identity, exp: null, keptUntil: soon })
      ;(record.meta!.list as number[]).push(2)
      record.jti = 'b'
      t.strictSame(await store.records.byId(record.id), saved)
      const given = await store.records.of(identity)
      given!.meta!.list = []
      t.strictSame(await store.records.of(identity), saved)
    })

    await t.test('a record is kept until the given second or for ever, and the last one of an identity counts', async (t) => {
      const identity = randomUUID()
      const [first, second] = [recordOf('a'), recordOf('a', { expiresAt: null })]
      t.equal(await recordUntil(first.id), undefined)
      await store.records.save({ record: first, identity, exp: null, keptUntil: soon })
      t.equal(await recordUntil(first.id), soon)
      await store.records.save({ record: second, identity, exp: null, keptUntil: null })
      t.equal(await recordUntil(second.id), null)
      t.strictSame(await store.records.of(identity), second)
      t.strictSame(await store.records.byId(first.id), first)
    })

    await t.test('a record that is added stands for its identity as long as the one before, or longer', async (t) => {
      const identity = randomUUID()
      const [first, shorter, endless, last] = [recordOf('a'), recordOf('a'), recordOf('a', { expiresAt: null }), recordOf('a')]
      const later = soon + 60
      const lasting = (record: TokenRecord, keptUntil: number | null) => ({ ...record, expiresAt: keptUntil === null ? null : new Date(keptUntil * 1000).toISOString() })
      const add = (record: TokenRecord, keptUntil: number | null) => store.records.add({ record: lasting(record, keptUntil), identity, exp: keptUntil, keptUntil })
      await add(first, later)
      t.equal((await store.records.of(identity))?.id, first.id)
      await add(shorter, soon)
      t.strictSame(await store.records.of(identity), lasting(first, later))
      await add(endless, null)
      t.match(await store.records.of(identity), { expiresAt: null })
      await add(last, later)
      t.match(await store.records.of(identity), { expiresAt: null })
    })

    await t.test('a page after no record is empty', async (t) => {
      const record = recordOf('a', { sub: randomUUID() })
      await store.records.save({ record, identity: randomUUID(), subject: record.sub!, exp: soon, keptUntil: soon })
      t.strictSame(await store.records.page(record.sub!, 10), { records: [record] })
      t.strictSame(await store.records.page(record.sub!, 10, ''), { records: [] })
    })

    await t.test('an id that is none gives no record', async (t) => {
      for (const id of ['', ' ', 'none', '__proto__', '*', '../a', '😀', '\u0000', 'a'.repeat(255)]) t.equal(await store.records.byId(id), null, id.slice(0, 9))
      t.equal(await store.records.of(''), null)
    })
  })
}

conformance('memory', memorySubject)
for (const [name, connect] of Object.entries(clients)) {
  conformance(name, (t) => redisSubject(t, connect))
  conformance(`${name} with enableAutoPipelining`, (t) => redisSubject(t, () => connect({ enableAutoPipelining: true })))
}
conformance('Redis of ioredis 6 with RESP2', (t) => redisSubject(t, () => single['Redis of ioredis 6']!({ protocol: 2 })))

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

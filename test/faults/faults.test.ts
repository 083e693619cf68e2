import { Cluster, Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { inSeconds, ownPrefix } from '../support/app.ts'
import { lived, livedWith } from '../support/lived.ts'
import { freePort } from '../support/ports.ts'
import {
  areUnavailable, asRedis, CALLS, CHECKS, GIVEN_CLIENTS, givenClient, isInTime, isUnavailable, listenersOf, OPERATIONS, READ_CALLS,
  REVOKE_CALLS, REVOKE_ROUTES, Rig, STORE_TIMEOUT, type GivenClient, type Outcome
} from '../support/outage.ts'
import { startProxy, type Proxy, type ProxyMode } from '../support/proxy.ts'
import { eventually, startRedis, type RedisServer } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { answering } from '../support/resp.ts'

// Most of them wait.
t.jobs = 12

const unhandled: unknown[] = []
for (const event of ['unhandledRejection', 'uncaughtException'] as const) process.on(event, (error) => unhandled.push(error))

/** Until a client has connected again and the store's health has asked, twice at most. */
const RECOVERY = 10_000
/** Where what is answered matters, and not how soon. */
const PATIENT = { storeTimeout: 20_000 }

interface Fault {
  /** Before the application starts, not under way. */
  atBoot?: true
  persist?: true
  /** Operations for which such an answer is no nonsense. */
  except?: string[]
  begin (fault: { server: RedisServer, proxy: Proxy, admin: Redis }): unknown
  end (fault: { server: RedisServer, proxy: Proxy, admin: Redis }): unknown
}

const proxied = (mode: ProxyMode): Fault => ({
  begin: ({ proxy }) => proxy.set(mode),
  end: ({ proxy }) => proxy.set('pass')
})

const answered = (reply: string, except: string[] = []): Fault => ({ ...proxied({ replace: answering(reply) }), except })

const refused = proxied('refuse')

const blackholed: Fault = {
  begin: ({ proxy }) => proxy.set('blackhole'),
  async end ({ proxy }) {
    // What was swallowed never comes: TCP would reset these connections, or deliver.
    proxy.cut()
    await proxy.set('pass')
  }
}

const killed: Fault = {
  begin: ({ server }) => server.kill(),
  end: ({ server }) => server.start()
}

const paused: Fault = {
  begin: ({ server }) => server.pause(),
  end: ({ server }) => server.resume()
}

const slow = proxied({ delayMs: STORE_TIMEOUT })

/** In each of them nothing that asks the store gets anything but 503. */
const FAULTS: Record<string, Fault> = {
  'refused at boot': { ...refused, atBoot: true },
  'black-holed at boot': { ...blackholed, atBoot: true },
  refused,
  'black-holed': blackholed,
  'too slow': slow,
  paused,
  'restarted without its data': killed,
  'restarted with its data': { ...killed, persist: true },
  'answering bytes that are no RESP': proxied('garbage'),
  'answering an integer to everything': answered(':1\r\n'),
  // To SET it is the right answer.
  'answering OK to everything': answered('+OK\r\n', ['issue()', 'record()']),
  'answering an array of the wrong length': answered('*3\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n'),
  'answering an empty array': answered('*0\r\n'),
  'answering an array of integers': answered('*1\r\n:1\r\n'),
  // To GET it says: no such record.
  'answering nil to everything': answered('$-1\r\n', ['revokeById()', 'token()']),
  'answering READONLY': answered("-READONLY You can't write against a read only replica.\r\n"),
  'answering LOADING': answered('-LOADING Redis is loading the dataset in memory\r\n'),
  'asking for a password': {
    async begin ({ admin, proxy }) {
      await admin.config('SET', 'requirepass', 'secret')
      // Those that are connected stay authenticated.
      proxy.cut()
    },
    end: ({ admin }) => admin.config('SET', 'requirepass', '')
  },
  'a replica without its master': {
    async begin ({ admin }) {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.replicaof('127.0.0.1', await freePort())
    },
    end: ({ admin }) => admin.replicaof('NO', 'ONE')
  }
}

const FAULTS_OF_GIVEN: Record<string, Fault> = Object.fromEntries(Object.entries(FAULTS).filter(([name]) => [
  'refused at boot', 'black-holed at boot', 'refused', 'black-holed', 'paused', 'restarted without its data',
  'answering bytes that are no RESP', 'answering an integer to everything', 'asking for a password'
].includes(name)))

/** Whatever client is given. */
const FAULTS_OF_EACH = ['black-holed at boot', 'refused', 'restarted without its data']

/** The others fail and end in the same way. */
const SOME_CLIENTS = isThorough ? GIVEN_CLIENTS : { 'ioredis 6': GIVEN_CLIENTS['ioredis 6']! }

for (const [name, fault] of Object.entries(FAULTS)) {
  t.test(`P4 Redis ${name}, with a client of the plugin's own`, { buffered: true }, (t) => outage(t, fault))
}

for (const [client, make] of Object.entries(GIVEN_CLIENTS)) {
  for (const [name, fault] of Object.entries(FAULTS_OF_GIVEN)) {
    if (!isThorough && client !== 'ioredis 6' && !FAULTS_OF_EACH.includes(name)) continue
    t.test(`P4 Redis ${name}, with a given client of ${client}`, { buffered: true }, (t) => outage(t, fault, make))
  }
}

for (const [name, fault] of Object.entries({ refused, blackholed, paused, garbage: proxied('garbage'), slow })) {
  if (!isThorough && fault !== blackholed && fault !== slow && name !== 'garbage') continue
  t.test(`P4 onStoreFailure: 'accept' lets tokens pass and revokes nothing: ${name}`, { buffered: true }, (t) => acceptance(t, fault))
}

async function setUp (t: Test, { persist = false }: { persist?: boolean | undefined } = {}) {
  const server = await startRedis(t, { persist })
  const proxy = await startProxy(t, server)
  const admin = new Redis(server.url)
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  return { server, proxy, admin }
}

/** Does what comes before a fault, in the same place, with all the time that it may take. */
async function before (t: Test, { url }: RedisServer) {
  const keyPrefix = ownPrefix()
  const { app: { revocation } } = await Rig.startWell(t, { redis: url, keyPrefix, ...PATIENT })
  return { keyPrefix, revocation }
}

async function outage (t: Test, { atBoot, persist, except = [], begin, end }: Fault, make?: (url: string) => GivenClient) {
  const scene = await setUp(t, { persist })
  const { proxy } = scene
  if (atBoot) await begin(scene)
  const client = make && givenClient(t, make, proxy.url)
  const listeners = client && listenersOf(client)

  const booting = lived()
  const start = atBoot ? Rig.start : Rig.startWell
  const rig = await start(t, { redis: client ? asRedis(client) : proxy.url })
  if (atBoot) {
    t.ok(lived() - booting < 5 * STORE_TIMEOUT, 'an application starts without its store')
  } else {
    await begin(scene)
  }

  await areUnavailable(t, rig, Object.fromEntries(Object.entries(OPERATIONS).filter(([name]) => !except.includes(name))))
  t.notOk(rig.available)
  await anonymousIsUnaffected(t, rig)
  t.equal(rig.lines.length, 1)
  t.match(rig.lines, [{ level: 50, msg: /the store is lost; requests with a token are answered 503/, err: { message: String } }])
  t.same(rig.events, ['storeLost'])

  await end(scene)
  await recovers(t, rig, scene)

  if (client) {
    await rig.app.close()
    t.same(listenersOf(client), listeners, 'P7 its listeners are as before')
    t.equal(await client.set('after', 'close'), 'OK', 'P7 it is open')
  }
}

async function anonymousIsUnaffected (t: Test, rig: Rig) {
  const forged = rig.sign() + 'x'
  for (const [what, path, token, answer] of [
    ['no token', '/public', undefined, { status: 200 }],
    ['no token', '/me', undefined, { status: 401, code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER', message: 'No Authorization was found in request.headers' }],
    ['a forged token', '/public', forged, { status: 200 }],
    ['a forged token', '/me', forged, { status: 401, code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' }]
  ] as const) {
    const { elapsed, cause, ...outcome } = await rig.http('GET', path, token)
    t.match(outcome, answer, `${what} on ${path}`)
    t.ok(elapsed < STORE_TIMEOUT, `${what} on ${path} waits for no store`, { found: elapsed })
  }
}

/** Everything works, in the application that went through the outage. */
async function recovers (t: Test, rig: Rig, { admin }: { admin: Redis }) {
  const healed = livedWith(admin)
  await eventually('a token is checked', async () => (await rig.http('GET', '/me', rig.sign())).cause === undefined)
  await eventually('the store is back', async () => rig.available)
  const took = healed.stop()
  t.ok(took < RECOVERY, 'within seconds', { found: took })

  // A machine that is busy enough makes of an answer another outage: that one is over soon, and has lines of its own.
  let late = 0
  const settled = async <T extends object>(what: string, ask: () => Promise<T>): Promise<T> => {
    for (;;) {
      const outcome = await ask()
      if (!('status' in outcome) || outcome.status !== 503) return outcome
      if (late++ > 10) throw new Error(`${what} is answered 503 again and again`)
      await eventually('the store is back', async () => rig.available)
    }
  }
  const http = (...request: Parameters<Rig['http']>) => settled(request.join(' '), () => rig.http(...request))
  const issue = () => settled('issue()', () => rig.app.revocation.issue({ sub: 'alice' }).catch(({ statusCode }) => ({ status: statusCode as number }))) as
    Promise<Awaited<ReturnType<Rig['app']['revocation']['issue']>>>

  const { token, jti } = await issue()
  t.match(await http('GET', '/me', token), { status: 200 })
  t.match(await http('DELETE', `/v1/jwt/history/${jti}`, rig.sign()), { status: 200 })
  for (const path of ['/me', '/public']) {
    t.match(await http('GET', path, token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  }
  const other = await issue()
  const before = late
  const { status } = await http('DELETE', `/v1/jwt/history/id/${other.id}`, other.token)
  // The first of two attempts may have ended it.
  t.ok(status === 200 || (status === 401 && late > before), 'it ends itself', { status })
  t.match(await http('GET', '/me', other.token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })

  await eventually('the store is back', async () => rig.available)
  const outages = rig.events.length / 2
  t.ok(outages >= 1 && outages <= 1 + late, 'one outage, and no other that nobody saw', { outages, late })
  t.same(rig.lines.map(({ level }) => level), Array.from({ length: outages }, () => [50, 40]).flat(), 'one line when it is lost, one when it is back')
  t.match(rig.lines[1]!.msg, /^jwt revocation: the store is back$/)
  t.same(rig.events, Array.from({ length: outages }, () => ['storeLost', 'storeBack']).flat())
}

async function acceptance (t: Test, { begin, end }: Fault) {
  const scene = await setUp(t)
  const { keyPrefix, revocation } = await before(t, scene.server)
  const revoked = await revocation.issue({ sub: 'alice' })
  await revocation.revoke({ jti: revoked.jti })
  const rig = await Rig.startWell(t, { redis: scene.proxy.url, keyPrefix, onStoreFailure: 'accept' })
  await begin(scene)

  for (const [what, outcomes] of await rig.measure({ ...CHECKS, 'GET /me, revoked': (rig) => rig.http('GET', '/me', revoked.token) })) {
    t.same(outcomes.map(({ status }) => status), [200, 200], what)
    isInTime(t, outcomes, what)
  }
  await areUnavailable(t, rig, { ...REVOKE_ROUTES, ...CALLS })
  await anonymousIsUnaffected(t, rig)
  t.notOk(rig.available)
  t.equal(rig.lines.length, 1)
  t.match(rig.lines, [{ level: 50, msg: /the store is lost; tokens are accepted unchecked/ }])

  await end(scene)
  await eventually('the store is back', async () => rig.available)
  t.match(await rig.http('GET', '/me', revoked.token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  await recovers(t, rig, scene)
}

t.test('P4 a store that is slow, but not too slow, answers as it always does', { buffered: true }, async (t) => {
  const { proxy } = await setUp(t)
  const rig = await Rig.startWell(t, { redis: proxy.url, ...PATIENT })
  await proxy.set({ delayMs: 10 })
  const { token, jti, id } = await rig.app.revocation.issue({ sub: 'alice' })
  t.match(await rig.http('GET', '/me', token), { status: 200 })
  t.match(await rig.http('GET', '/public', token), { status: 200 })
  t.match(await rig.http('DELETE', `/v1/jwt/history/id/${id}`, rig.sign()), { status: 200 })
  t.match(await rig.http('DELETE', `/v1/jwt/history/${jti}`, rig.sign()), { status: 200 })
  t.match(await rig.http('GET', '/public', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  t.ok(rig.available)
  t.same(rig.lines, [])
})

t.test('P4 a revoke of several commands, each within storeTimeout, is within it as a whole', { buffered: true }, async (t) => {
  const { server, proxy } = await setUp(t)
  const storeTimeout = 1000
  const { keyPrefix, revocation } = await before(t, server)
  const issued = await Promise.all(Array.from({ length: 3 }, () => revocation.issue({ sub: 'alice' })))
  const rig = await Rig.startWell(t, { redis: proxy.url, keyPrefix, storeTimeout })
  await proxy.set({ delayMs: 0.23 * storeTimeout })
  const revokeById = () => rig.call(() => rig.app.revocation.revokeById(issued.pop()!.id))
  for (const [what, outcomes] of await rig.measure({ ...REVOKE_CALLS, 'revokeById() of a record': revokeById })) {
    isInTime(t, outcomes, what, storeTimeout)
  }
})

t.test('P4 connections that are cut under way never let a revoked token pass', { buffered: true }, async (t) => {
  for (const make of [undefined, ...Object.values(SOME_CLIENTS)]) {
    const { server, proxy } = await setUp(t)
    const { keyPrefix, revocation } = await before(t, server)
    const jti = randomUUID()
    await revocation.revoke({ jti })
    const rig = await Rig.startWell(t, { redis: make ? asRedis(givenClient(t, make, proxy.url)) : proxy.url, keyPrefix })
    const [good, revoked] = [rig.sign(), rig.sign({ jti })]
    await proxy.set({ delayMs: 20 })

    for (let round = 0; round < 5; round++) {
      const checks = [good, revoked, good, revoked].map((token) => rig.http('GET', '/me', token))
      const calls = Object.values(CALLS).map((operation) => operation(rig))
      await sleep(10 * round)
      proxy.cut()
      const outcomes = await Promise.all(checks)
      outcomes.forEach((outcome, i) => {
        if (outcome.status === 503) isUnavailable(t, outcome, 'the check')
        else t.equal(outcome.status, i % 2 === 0 ? 200 : 401)
      })
      isInTime(t, outcomes, 'each check')
      for (const outcome of await Promise.all(calls)) {
        if (![200, 404].includes(outcome.status)) isUnavailable(t, outcome, 'the call')
      }
    }
    await proxy.set('pass')
    await eventually('a token is checked', async () => (await rig.http('GET', '/me', good)).status === 200)
    t.match(await rig.http('GET', '/me', revoked), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  }
})

const REFUSED_WRITES: Record<string, Fault> = {
  'a demoted master': {
    begin: async ({ admin }) => admin.replicaof('127.0.0.1', await freePort()),
    end: ({ admin }) => admin.replicaof('NO', 'ONE')
  },
  'out of memory': {
    begin: ({ admin }) => admin.config('SET', 'maxmemory', '1'),
    end: ({ admin }) => admin.config('SET', 'maxmemory', '0')
  },
  'without the replicas it must have': {
    begin: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '1'),
    end: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '0')
  }
}

for (const [name, { begin, end }] of Object.entries(REFUSED_WRITES)) {
  t.test(`P3 Redis that refuses writes (${name}) acknowledges no revocation, and still answers checks`, { buffered: true }, async (t) => {
    const scene = await setUp(t)
    const rig = await Rig.startWell(t, { redis: scene.proxy.url, ...PATIENT })
    const { token, jti, id } = await rig.app.revocation.issue({ sub: 'alice' })
    await begin(scene)
    for (let i = 0; i < 3; i++) {
      isUnavailable(t, await rig.http('DELETE', `/v1/jwt/history/${jti}`, token), 'DELETE by jti')
      isUnavailable(t, await rig.http('DELETE', `/v1/jwt/history/id/${id}`, token), 'DELETE by id')
      isUnavailable(t, await rig.call(() => rig.app.revocation.revoke({ jti })), 'revoke()')
      isUnavailable(t, await rig.call(() => rig.app.revocation.issue({ sub: 'alice' })), 'issue()')
      t.match(await rig.http('GET', '/me', token), { status: 200 })
    }
    await end(scene)
    t.match(await rig.http('DELETE', `/v1/jwt/history/${jti}`, token), { status: 200 })
    t.match(await rig.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  })
}

t.test('P4 writes that are refused for long are reported once, however rare the revocations', { buffered: true }, async (t) => {
  const scene = await setUp(t)
  const rig = await Rig.startWell(t, { redis: scene.proxy.url, ...PATIENT })
  await REFUSED_WRITES['a demoted master']!.begin(scene)
  for (let i = 0; i < 3; i++) {
    isUnavailable(t, await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })), 'revoke()')
    await quietSeconds(2)
  }
  t.same(rig.events, ['storeLost'])
  t.equal(rig.lines.length, 1)
})

t.test('P4 checks that Redis does not permit are reported once, however rare the requests', { buffered: true }, async (t) => {
  const { proxy, admin } = await setUp(t)
  const rig = await Rig.startWell(t, { redis: proxy.url, ...PATIENT })
  await admin.call('ACL', 'SETUSER', 'default', '-mget')
  for (let i = 0; i < 3; i++) {
    isUnavailable(t, await rig.http('GET', '/me', rig.sign()), 'the check')
    await quietSeconds(2)
  }
  t.notOk(rig.available)
  t.same(rig.events, ['storeLost'])
  t.equal(rig.lines.length, 1)
  await admin.call('ACL', 'SETUSER', 'default', '+mget')
  await recovers(t, rig, { admin })
})

/** So long that the store's health, which waits for a second without failures, has asked Redis again. */
const quietSeconds = (seconds: number) => sleep(seconds * 1000 + 200)

t.test('P3 P4 nonsense for an answer to the write alone is no acknowledgement, and is reported', { buffered: true }, async (t) => {
  const { proxy } = await setUp(t)
  for (const nonsense of [':1\r\n', '+OK\r\n', '$-1\r\n', '*0\r\n', '*2\r\n$1\r\nx\r\n$1\r\ny\r\n', '*3\r\n:1\r\n$2\r\n{}\r\n:1\r\n']) {
    const rig = await Rig.startWell(t, { redis: proxy.url, ...PATIENT })
    // Of what a revocation asks, only the write is answered with an array.
    await proxy.set({ replace: (chunk) => String(chunk).startsWith('*') ? answering(nonsense)(chunk) : chunk })
    isUnavailable(t, await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })), JSON.stringify(nonsense))
    t.same(rig.events, ['storeLost'], JSON.stringify(nonsense))
    await proxy.set('pass')
  }
})

t.test("P6 a token that can't be checked revokes nothing, also where such tokens are accepted", { buffered: true }, async (t) => {
  const { proxy, admin } = await setUp(t)
  const rig = await Rig.startWell(t, { redis: proxy.url, onStoreFailure: 'accept', ...PATIENT })
  const [revoked, target] = await Promise.all([rig.app.revocation.issue({ sub: 'alice' }), rig.app.revocation.issue({ sub: 'alice' })])
  await rig.app.revocation.revoke({ jti: revoked.jti })
  await admin.call('ACL', 'SETUSER', 'default', '-mget')
  isUnavailable(t, await rig.http('DELETE', `/v1/jwt/history/${target.jti}`, revoked.token), 'DELETE by jti')
  isUnavailable(t, await rig.http('DELETE', `/v1/jwt/history/id/${target.id}`, revoked.token), 'DELETE by id')
  await admin.call('ACL', 'SETUSER', 'default', '+mget')
  t.match(await rig.http('GET', '/me', target.token), { status: 200 })
})

t.test('P4 a failover behind one address: a client of our own leaves the demoted server', { buffered: true }, async (t) => {
  const [old, promoted] = await Promise.all([startRedis(t), startRedis(t)])
  const target = { host: old.host, port: old.port }
  const proxy = await startProxy(t, target)
  const rig = await Rig.startWell(t, { redis: proxy.url })

  target.port = promoted.port
  await old.cli('REPLICAOF', promoted.host, promoted.port)
  const admin = new Redis(promoted.url)
  t.teardown(() => admin.disconnect())
  const waited = livedWith(admin)
  const jti = randomUUID()
  await eventually('a revocation is written', async () => {
    const { status } = await rig.call(() => rig.app.revocation.revoke({ jti }))
    return status === 200
  })
  t.ok(waited.stop() < RECOVERY, 'within seconds')
  t.match(await rig.http('GET', '/me', rig.sign({ jti })), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
})

for (const [name, make] of [["the plugin's own", undefined], ...Object.entries(SOME_CLIENTS)] as const) {
  t.test(`P4 a flood in an outage is answered, and over with it: a client of ${name}`, { buffered: true }, async (t) => {
    const { proxy, admin } = await setUp(t)
    const rig = await Rig.startWell(t, { redis: make ? asRedis(givenClient(t, make, proxy.url)) : proxy.url })
    await proxy.set('blackhole')
    const flood: Array<Promise<Outcome>> = []
    for (let turn = 0; turn < 1500; turn++) {
      flood.push(rig.call(() => rig.app.revocation.isRevoked({ jti: randomUUID(), iat: inSeconds(0), exp: inSeconds(60) })))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const outcomes = await Promise.all(flood)
    t.same([...new Set(outcomes.map(({ status }) => status))], [503])
    isInTime(t, outcomes, 'the flood')
    await blackholed.end({ proxy } as never)
    await recovers(t, rig, { admin })
  })
}

t.test('P4 a cluster that never connected', { buffered: true }, async (t) => {
  const cluster = new Cluster([{ host: '127.0.0.1', port: await freePort() }])
  cluster.on('error', () => {})
  t.teardown(() => cluster.disconnect())
  const rig = await Rig.start(t, { redis: cluster })
  await areUnavailable(t, rig, OPERATIONS)
  await anonymousIsUnaffected(t, rig)
  t.same(rig.lines.map(({ level }) => level), [50])
  const started = lived()
  await rig.app.close()
  t.ok(lived() - started < 1000)
})

const CLOSED = { "the plugin's own": undefined, ...SOME_CLIENTS }

for (const [name, make] of Object.entries({ "the plugin's own": undefined, ...GIVEN_CLIENTS })) {
  for (const outage of ['refused', 'black-holed', 'paused', 'refused at boot', 'black-holed at boot']) {
    if (!isThorough && !(name in CLOSED) && outage !== 'black-holed') continue
    t.test(`P4 P7 close() while Redis is ${outage} is prompt, whatever is under way: a client of ${name}`, { buffered: true }, (t) => closing(t, outage, make))
  }
}

async function closing (t: Test, name: string, make?: (url: string) => GivenClient) {
  const { atBoot, begin, end } = FAULTS[name]!
  const scene = await setUp(t)
  if (atBoot) await begin(scene)
  const client = make && givenClient(t, make, scene.proxy.url)
  const rig = await (atBoot ? Rig.start : Rig.startWell)(t, { redis: client ? asRedis(client) : scene.proxy.url })
  if (!atBoot) await begin(scene)

  const calls = Object.entries({ ...REVOKE_CALLS, ...READ_CALLS }).map(async ([what, operation]) => ({ what, outcome: await operation(rig) }))
  const started = lived()
  await rig.app.close()
  t.ok(lived() - started < 1000, `${name}: it is prompt`)
  for (const { what, outcome } of await Promise.all(calls)) {
    isUnavailable(t, outcome, `${name}: ${what}`)
    t.ok(outcome.elapsed < 2 * STORE_TIMEOUT, `${name}: ${what} is answered`)
  }
  t.same(rig.lines.map(({ level }) => level), atBoot ? [50] : [], `${name}: the end is no outage`)

  await end(scene)
  if (client) t.equal(await client.set('after', 'close'), 'OK', `${name}: P7 the given client is open`)
  else await eventually('the connection is gone', async () => scene.proxy.connections === 0)
}

t.test('P4 nothing was left unhandled in any of these', async (t) => {
  t.same(unhandled, [])
})

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import { buildApp, genuine, inSeconds } from '../../support/app.ts'
import {
  asRedis, CHECKS, GIVEN_CLIENTS, givenClient, isInTime, isUnavailable, listenersOf, MARGIN, READ_CALLS, RECORD_CALLS, REVOKE_CALLS, Rig,
  type Outcome
} from '../../support/outage.ts'
import { lived, livedWith } from '../../support/lived.ts'
import { startProxy } from '../../support/proxy.ts'
import { eventually, startRedis, type Owner, type RedisServer } from '../../support/redis.ts'
import { MASTER, startReplica } from '../../support/replicas.ts'
import { isThorough } from '../../support/runs.ts'

// Most of them wait.
t.jobs = 6

const HISTORY = '/v1/jwt/history'
const TOO_FEW = '0 of the 1 replicas that option "minReplicas" asks for hold the write'

/** Each way to revoke a token, and what it leaves behind. */
const REVOCATIONS: Record<string, (rig: Rig) => Promise<{ outcome: Outcome, kept: string }>> = {
  'DELETE by jti': async (rig) => {
    const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
    return { outcome: await rig.http('DELETE', `${HISTORY}/${jti}`, token), kept: `revoked:${jti}` }
  },
  'DELETE by id': async (rig) => {
    const { token, jti, id } = await rig.app.revocation.issue({ sub: 'alice' })
    return { outcome: await rig.http('DELETE', `${HISTORY}/id/${id}`, token), kept: `revoked:${jti}` }
  },
  'DELETE by subject': async (rig) => {
    const sub = randomUUID()
    const { token } = await rig.app.revocation.issue({ sub })
    return { outcome: await rig.http('DELETE', `${HISTORY}/sub/${sub}`, token), kept: `cutoff:${sub}` }
  },
  'DELETE all but one': async (rig) => {
    const sub = randomUUID()
    const [{ token }, { jti }] = [await rig.app.revocation.issue({ sub }), await rig.app.revocation.issue({ sub })]
    return { outcome: await rig.http('DELETE', `${HISTORY}/sub/${sub}?except=current`, token), kept: `revoked:${jti}` }
  },
  'revoke()': async (rig) => {
    const { jti } = await genuine()
    return { outcome: await rig.call(() => rig.app.revocation.revoke({ jti })), kept: `revoked:${jti}` }
  },
  'revokeSubject()': async (rig) => {
    const sub = randomUUID()
    return { outcome: await rig.call(() => rig.app.revocation.revokeSubject(sub)), kept: `cutoff:${sub}` }
  }
}

const PREFIX = 'jwt:'
/** A third of it is the time for WAIT, within which a busy machine must get the replica to answer. */
const STORE_TIMEOUT = 3000

async function pair (t: Owner) {
  const master = await startRedis(t, { args: MASTER })
  return { master, replica: await startReplica(t, master) }
}

const start = (t: Test, redis: RevocationOptions['redis'] & {}, revocation: RevocationOptions = {}) =>
  Rig.startWell(t, { redis, minReplicas: 1, keyPrefix: PREFIX, storeTimeout: STORE_TIMEOUT, ...revocation })

t.test('P3 what is acknowledged is on the replica, however far away that is', { buffered: true }, async (t) => {
  const master = await startRedis(t, { args: MASTER })
  const far = await startProxy(t, master)
  const replica = await startReplica(t, master, { port: far.port })
  await far.set({ delayMs: 20 })
  for (const mode of ['strict', 'replica'] as const) {
    const rig = await start(t, master.url, { mode, storeTimeout: 20_000 })
    for (const [name, revoke] of Object.entries(REVOCATIONS)) {
      const { outcome, kept } = await revoke(rig)
      // On a connection that is there already nothing takes as long as the replication.
      const [held, entries] = [await replica.cli('EXISTS', PREFIX + kept), Number(await replica.cli('XLEN', `${PREFIX}log`))]
      t.match(outcome, { status: 200 }, `${name} in mode ${mode}`)
      t.equal(held, '1', 'its key')
      t.equal(entries, Number(await master.cli('XLEN', `${PREFIX}log`)), 'its entry of the log')
    }
  }
})

t.test('P3 what a master acknowledged that dies at once, its replica knows', { buffered: true }, async (t) => {
  const { master, replica } = await pair(t)
  const rig = await start(t, master.url)
  const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
  await rig.app.revocation.revoke({ jti })
  await master.kill()
  await replica.cli('REPLICAOF', 'NO', 'ONE')
  const after = await Rig.startWell(t, { redis: replica.url, keyPrefix: PREFIX })
  t.match(await after.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
})

const ABSENCES: Record<string, { begin: (replica: RedisServer) => unknown, end: (replica: RedisServer) => unknown }> = {
  paused: { begin: (replica) => replica.pause(), end: (replica) => replica.resume() },
  gone: { begin: (replica) => replica.kill(), end: (replica) => replica.start() }
}

for (const [absence, { begin, end }] of Object.entries(ABSENCES)) {
  // To who writes a replica is away in either way.
  for (const mode of isThorough || absence === 'paused' ? ['strict', 'replica'] as const : ['strict'] as const) {
    t.test(`P3 P4 the replica is ${absence}, in mode ${mode}: revocations are answered 503, all else goes on`, { buffered: true }, async (t) => {
      const { master, replica } = await pair(t)
      const rig = await start(t, master.url, { mode })
      await begin(replica)
      const issued = await rig.app.revocation.issue({ sub: 'alice' })

      for (const [name, revoke] of Object.entries(REVOCATIONS)) {
        const { outcome } = await revoke(rig)
        isUnavailable(t, outcome, name)
        // On a machine that many share the deadline may come first, and then the connection is left.
        t.match(outcome.cause, { message: new RegExp(`^${TOO_FEW}$|^Redis gave no answer|^Reached the max retries|^Command aborted`) }, name)
      }
      const outcomes: Outcome[] = []
      for (let i = 0; i < 5; i++) outcomes.push(await rig.http('DELETE', `${HISTORY}/${randomUUID()}`, issued.token))
      isInTime(t, outcomes, 'a revocation', STORE_TIMEOUT)

      let answered = false
      const revoking = rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })).finally(() => { answered = true })
      await Promise.all(Object.entries({ ...CHECKS, ...READ_CALLS, ...RECORD_CALLS }).map(async ([name, operation]) => {
        t.match(await operation(rig), { status: 200 }, name)
        t.notOk(answered, `${name} does not wait behind a revocation that waits`)
      }))
      isUnavailable(t, await revoking, 'revoke()')
      t.match(rig.lines, [{ level: 50, msg: /^jwt revocation: the store is lost; .*revocations that it does not acknowledge are answered 503/, err: { message: TOO_FEW } }])
      t.equal(rig.lines.length, 1)

      await end(replica)
      await eventually('the store is back', async () => rig.available)
      t.match(await rig.http('DELETE', `${HISTORY}/${issued.jti}`, issued.token), { status: 200 })
      t.match(await rig.http('GET', '/me', issued.token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
      t.same(rig.events, ['storeLost', 'storeBack'])
    })
  }
}

t.test('P4 while the replica is away for seconds no check fails, and their connection stays', { buffered: true }, async (t) => {
  const { master, replica } = await pair(t)
  const rig = await start(t, master.url)
  const named = async () => [...(await master.cli('CLIENT', 'LIST')).matchAll(/^id=(\d+) .* name=fastify-jwt-revocation /gm)].map(([, id]) => id)
  const before = await named()
  replica.pause()
  isUnavailable(t, await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })), 'revoke()')
  const end = performance.now() + 3500
  const failed = []
  while (performance.now() < end) {
    const outcome = await rig.http('GET', '/me', rig.sign())
    if (outcome.status !== 200) failed.push(outcome)
    await sleep(10)
  }
  t.same(failed, [])
  t.same(await named(), before)
})

/** Each way to revoke what a call before has revoked. */
const AGAIN: Record<string, (rig: Rig) => Promise<{ revoke: (rig: Rig) => Promise<Outcome>, kept: string, revokeFirst?: (rig: Rig) => Promise<Outcome> }>> = {
  async 'revoke()' () {
    const target = { jti: randomUUID(), exp: inSeconds(900) }
    return { revoke: (rig) => rig.call(() => rig.app.revocation.revoke(target)), kept: `revoked:${target.jti}` }
  },
  async 'revokeSubject()' () {
    const sub = randomUUID()
    return { revoke: (rig) => rig.call(() => rig.app.revocation.revokeSubject(sub)), kept: `cutoff:${sub}` }
  },
  async 'DELETE all but one' ({ app }) {
    const sub = randomUUID()
    const [{ token }, { jti }] = [await app.revocation.issue({ sub }), await app.revocation.issue({ sub })]
    return { revoke: (rig) => rig.http('DELETE', `${HISTORY}/sub/${sub}?except=current`, token), kept: `revoked:${jti}` }
  },
  async 'DELETE all but one, of which a cutoff ended the others' ({ app }) {
    const sub = randomUUID()
    await app.revocation.record({ sub, tenant: sub, jti: randomUUID(), iat: inSeconds(-60), exp: inSeconds(900) })
    const { token } = await app.revocation.issue({ sub })
    return {
      revokeFirst: (rig) => rig.call(() => rig.app.revocation.revokeBy('tenant', sub)),
      revoke: (rig) => rig.http('DELETE', `${HISTORY}/sub/${sub}?except=current`, token),
      kept: `cutoff:tenant:${sub}`
    }
  },
  async 'revokeById() of a token without a jti' ({ app }) {
    const sub = randomUUID()
    const { id } = await app.revocation.record({ sub, iat: inSeconds(-60), exp: inSeconds(900) })
    return { revoke: (rig) => rig.call(() => rig.app.revocation.revokeById(id)), kept: `cutoff:${sub}` }
  }
}

for (const [name, prepare] of Object.entries(AGAIN)) {
  t.test(`P3 who revokes again what stands on the master alone is not told that the replica holds it: ${name}`, { buffered: true }, async (t) => {
    const { master, replica } = await pair(t)
    const options: RevocationOptions = { tokensWithoutJti: 'accept', revocableBy: ['tenant'] }
    const [first, second] = [await start(t, master.url, options), await start(t, master.url, options)]
    const { revoke, kept, revokeFirst = revoke } = await prepare(first)
    replica.pause()
    isUnavailable(t, await revokeFirst(first), 'the first time')
    t.equal(await master.cli('EXISTS', PREFIX + kept), '1', 'it stands on the master')
    for (const rig of [first, second]) isUnavailable(t, await revoke(rig), 'again')
    replica.resume()
    await eventually('it is acknowledged', async () => (await revoke(second)).status === 200)
    t.equal(await replica.cli('EXISTS', PREFIX + kept), '1', 'then the replica holds it')
  })
}

t.test('P4 a flood of revocations meanwhile is bounded', { buffered: true }, async (t) => {
  const { master, replica } = await pair(t)
  const rig = await start(t, master.url)
  replica.pause()
  const started = lived()
  const settled = await Promise.all(Array.from({ length: 4000 }, () => rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() }))))
  const took = lived() - started
  for (const outcome of settled) if (outcome.status !== 503) t.match(outcome, { status: 503 })
  const refused = settled.filter(({ cause }) => (cause as Error).message === 'Redis owes answers to 2000 operations')
  t.ok(refused.length >= 1000, 'many are refused at once', { found: refused.length })
  t.ok(took < 10 * STORE_TIMEOUT, 'and none waits for those before it', { found: took })
  t.match(await rig.http('GET', '/me', rig.sign()), { status: 200 }, 'checks go on')

  replica.resume()
  const admin = new Redis(master.url)
  t.teardown(() => admin.disconnect())
  const resumed = livedWith(admin)
  await eventually('the store is back', async () => rig.available)
  const found = resumed.stop()
  t.ok(found < 10_000, 'soon', { found })
  t.match(await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })), { status: 200 })
})

for (const [name, make] of Object.entries(GIVEN_CLIENTS)) {
  t.test(`P7 a given client of ${name} stays as it is: what waits has a connection of its own`, { buffered: true }, async (t) => {
    const { master, replica } = await pair(t)
    const client = givenClient(t, make, master.url)
    const [listeners, options] = [listenersOf(client), JSON.stringify(client.options)]
    // The time for WAIT is a third of this, and must be over before all of it is, on a busy machine as well.
    const rig = await start(t, asRedis(client), { storeTimeout: 6000 })
    const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
    t.match(await rig.http('DELETE', `${HISTORY}/${jti}`, token), { status: 200 })
    t.equal(await replica.cli('EXISTS', `${PREFIX}revoked:${jti}`), '1')
    t.match(await rig.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })

    const names = [...(await master.cli('CLIENT', 'LIST')).matchAll(/ name=(\S*) .* cmd=(wait|mget) /gm)].map(([, name, command]) => [command, name])
    t.strictSame(names.sort(), [['mget', ''], ['wait', 'fastify-jwt-revocation:minReplicas']])
    replica.pause()
    for (const [name, revoke] of Object.entries(REVOKE_CALLS).filter(([name]) => name === 'revoke()')) {
      const outcome = await revoke(rig)
      isUnavailable(t, outcome, name)
      t.match(outcome.cause, { message: TOO_FEW })
    }
    let answered = false
    const revoking = rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })).finally(() => { answered = true })
    t.equal(await client.set('its owner', 'goes on'), 'OK')
    t.notOk(answered)
    await revoking

    t.equal(JSON.stringify(client.options), options)
    await rig.app.close()
    t.same(listenersOf(client), listeners)
    t.equal(await client.get('its owner'), 'goes on', 'it is open')
    await eventually('the connection of ours is gone', async () => !(await master.cli('CLIENT', 'LIST')).includes('fastify-jwt-revocation'))
  })
}

t.test('a client without duplicate() is refused at the start', { buffered: true }, async (t) => {
  const client = { isCluster: false, call: async () => null, pipeline: () => ({ exec: async () => [] }) }
  for (const revocation of [{ minReplicas: 1 }, { mode: 'replica' as const }]) {
    await t.rejects(buildApp(t, { revocation: { redis: client, ...revocation } }), {
      code: 'FST_JWT_REVOCATION_BAD_OPTION',
      statusCode: 500,
      message: 'fastify-jwt-revocation: mode "replica" and option "minReplicas" need a connection of their own; give option "redis" a URL, ioredis options, or a client with duplicate()'
    })
  }
})

t.test('two replicas: as many as asked for', { buffered: true }, async (t) => {
  const { master, replica } = await pair(t)
  await startReplica(t, master)
  const [one, two] = [await start(t, master.url), await start(t, master.url, { minReplicas: 2 })]
  for (const rig of [one, two]) t.match(await REVOCATIONS['DELETE by jti']!(rig), { outcome: { status: 200 } })
  replica.pause()
  t.match(await REVOCATIONS['DELETE by jti']!(one), { outcome: { status: 200 } })
  const { outcome } = await REVOCATIONS['DELETE by jti']!(two)
  isUnavailable(t, outcome, 'DELETE by jti')
  t.match(outcome.cause, { message: '1 of the 2 replicas that option "minReplicas" asks for hold the write' })
  t.ok(outcome.elapsed < 5 * (STORE_TIMEOUT + MARGIN))
})

t.test('P4 the connection of the revocations alone goes silent: it is left for a new one', { buffered: true }, async (t) => {
  const { master } = await pair(t)
  const { port, silence } = await silencer(t, master, 'wait')
  const rig = await start(t, `redis://127.0.0.1:${port}`)
  const revoke = () => rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() }))
  t.match(await revoke(), { status: 200 })
  silence()
  isUnavailable(t, await revoke(), 'revoke()')
  t.match(await rig.http('GET', '/me', rig.sign()), { status: 200 }, 'checks go on')
  await eventually('revocations work again', async () => (await revoke()).status === 200)
})

/** A way to a server on which connections that have sent a word can be made to swallow everything, and new ones are not. */
async function silencer (t: Test, target: RedisServer, word: string) {
  const speaking = new Set<() => void>()
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(target.port, target.host)
    let silent = false
    for (const socket of [client, upstream]) socket.on('error', () => {}).on('close', () => [client, upstream].forEach((one) => one.destroy()))
    for (const socket of [client, upstream]) sockets.add(socket)
    client.on('data', (chunk) => {
      if (chunk.includes(word)) speaking.add(() => { silent = true })
      if (!silent) upstream.write(chunk)
    })
    upstream.on('data', (chunk) => { if (!silent) client.write(chunk) })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, silence: () => { for (const act of speaking) act() } }
}

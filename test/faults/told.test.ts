import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { bearer, buildApp, ownPrefix } from '../support/app.ts'
import { UNAVAILABLE } from '../support/domain.ts'
import { startProxy } from '../support/proxy.ts'
import { eventually, startCluster, startRedis } from '../support/redis.ts'
import { MASTER, startReplica } from '../support/replicas.ts'
import { on, redisStore } from '../support/stores.ts'
import type { RedisOptions } from '../../lib/stores/redis/store.ts'
import { systemClock } from '../../lib/time.ts'

/*
 * Goal: each revocation is told once (P11), also where nobody knew at first what became of its write.
 * Method: a proxy swallows what a process sends, or holds back what it is answered, at one moment.
 */

const server = await startRedis(t)
t.teardown(() => {})

// Most of them wait.
t.jobs = 10

/** So long that a busy machine answers within it. */
const STORE_TIMEOUT = 1500
const REVOKED = 'fastify-jwt-revocation:revoked'

interface Told { lines: object[], events: object[], published: object[] }

/** A process, and all that it tells. */
async function build (t: Test, revocation: RevocationOptions) {
  const told: Told = { lines: [], events: [], published: [] }
  const write = (line: string) => {
    const { event, ...fields } = JSON.parse(line)
    if (event === 'authn_token_revoked') told.lines.push(fields)
  }
  const app = await buildApp(t, { fastify: { logger: { stream: { write } } }, revocation: { storeTimeout: STORE_TIMEOUT, ...revocation } })
  app.revocation.on('revoked', (event) => { told.events.push(event) })
  const status = async (token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
  return { app, told, status }
}

const counts = ({ lines, events }: Told) => ({ lines: lines.length, events: events.length })
const ONCE = { lines: 1, events: 1 }
const NEVER = { lines: 0, events: 0 }

/** A client behind a proxy. From the moment that it writes a revocation, what Redis answers is held back. */
async function clientOf (t: Test, options: { maxRetriesPerRequest?: number } = {}) {
  const proxy = await startProxy(t, server)
  const client = new Redis(proxy.url, options)
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  const held: Buffer[] = []
  const { pipeline } = client
  let isArmed = false
  client.pipeline = function (...args: Parameters<typeof pipeline>) {
    if (isArmed) proxy.set({ replace: (chunk) => { held.push(chunk); return Buffer.alloc(0) } })
    isArmed = false
    return pipeline.apply(client, args)
  }
  return {
    client,
    proxy,
    hold () { isArmed = true },
    /** The answer comes late. */
    async release () {
      await proxy.set({ replace: (chunk) => Buffer.concat([...held.splice(0), chunk]) })
      await client.ping()
    },
    /** The answer never comes. */
    async lose () {
      await eventually('Redis has answered', async () => held.length > 0)
      await proxy.set('pass')
      proxy.cut()
      held.length = 0
    }
  }
}

/** Has the log come past the proxy. */
function passLogBy (client: Redis) {
  const { duplicate } = client
  client.duplicate = (options) => duplicate.call(client, { ...options, port: server.port })
}

/** What a client does with commands whose connection broke before the answer. */
const CLIENTS: Record<string, { maxRetriesPerRequest?: number }> = { 'gives up': { maxRetriesPerRequest: 0 }, 'sends again': {} }

for (const mode of ['strict', 'replica'] as const) {
  for (const [what, options] of Object.entries(CLIENTS)) {
    t.test(`P11 a revocation whose answer is lost is told once, and a retry settles it, on a ${mode} whose client ${what}`, async (t) => {
      const { client, hold, lose } = await clientOf(t, options)
      const { app, told, status } = await build(t, { redis: client, keyPrefix: ownPrefix(), mode })
      const { jti, token } = await app.revocation.issue({ sub: 'alice' })
      hold()
      await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
      await lose()
      await eventually('the retry is acknowledged', () => app.revocation.revoke({ jti }).then(() => true, () => false))
      t.equal(await status(token), 401)
      t.match(told.lines, [{ jti, by: {} }])
      await app.revocation.revoke({ jti })
      await eventually('everything has settled', async () => counts(told).events >= 1)
      t.strictSame(counts(told), ONCE)
    })

    t.test(`P11 a revocation whose answer is lost is told without a retry, on a ${mode} whose client ${what}`, async (t) => {
      const { client, hold, lose } = await clientOf(t, options)
      const { app, told, status } = await build(t, { redis: client, keyPrefix: ownPrefix(), mode })
      const { jti, token } = await app.revocation.issue({ sub: 'alice' })
      hold()
      await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
      t.strictSame(told.lines, [])
      await lose()
      await eventually('it is told', async () => told.lines.length > 0)
      await eventually('the event as well', async () => told.events.length > 0)
      await eventually('the store is back', async () => app.revocation.status().available)
      t.equal(await status(token), 401)
      t.strictSame(counts(told), ONCE)
    })
  }

  t.test(`P11 a revocation that another process made after all is told by that process, on a ${mode}`, async (t) => {
    const { client, proxy } = await clientOf(t, CLIENTS['gives up'])
    passLogBy(client)
    const keyPrefix = ownPrefix()
    const first = await build(t, { redis: client, keyPrefix, mode, storeTimeout: 2000 })
    const second = await build(t, { redis: server.url, keyPrefix, mode, storeTimeout: 10_000 })
    const { jti, token } = await first.app.revocation.issue({ sub: 'alice' })
    const { pipeline } = client
    let writes = 0
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      const commands = pipeline.apply(client, args)
      const { exec } = commands
      if (JSON.stringify(args).includes(':revoked:') && ++writes <= 2) {
        commands.exec = async () => {
          await eventually('both are about to be written', async () => writes === 2)
          await proxy.set('blackhole')
          return exec.call(commands)
        }
      }
      return commands
    }
    const failures = [jti, 'another'].map((jti) => t.rejects(first.app.revocation.revoke({ jti }), UNAVAILABLE))
    await eventually('both were written', async () => proxy.mode === 'blackhole')
    await new Promise((resolve) => setImmediate(resolve))
    proxy.cut()
    await Promise.all(failures)
    // The moments of the two differ: they are told apart by it.
    const moment = Math.floor(Date.now() / 1000)
    await eventually('it is another second', async () => Math.floor(Date.now() / 1000) > moment)
    await second.app.revocation.revoke({ jti })
    await proxy.set('pass')
    proxy.cut()
    await eventually('the first one refuses it', async () => await first.status(token) === 401)
    await eventually('what was owed later is told', async () => first.told.lines.length > 0)
    t.strictSame(counts(second.told).lines, 1)
    t.match(first.told.lines, [{ jti: 'another' }], 'the first one did not make it')
    t.equal(first.told.lines.length, 1)
  })
}

t.test('P11 a revocation whose answer is late is told when it comes', async (t) => {
  const { client, hold, release } = await clientOf(t)
  const { app, told, status } = await build(t, { redis: client, keyPrefix: ownPrefix() })
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  hold()
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  t.strictSame(counts(told), NEVER)
  await release()
  await eventually('it is told', async () => told.lines.length > 0)
  await eventually('the store is back', async () => app.revocation.status().available)
  t.match(await app.revocation.revoke({ jti }), { jti, status: 'revoked' })
  t.equal(await status(token), 401)
  t.strictSame(counts(told), ONCE)
})

t.test('P11 a cutoff is told when it stands, also where the records of its subject can not be read', async (t) => {
  const keyPrefix = ownPrefix()
  const { app, told, status } = await build(t, { redis: server.url, keyPrefix })
  const { token } = await app.revocation.issue({ sub: 'alice' })
  await server.cli('DEL', `${keyPrefix}tokens:alice`)
  await server.cli('SET', `${keyPrefix}tokens:alice`, 'in use by somebody else')
  await t.rejects(app.revocation.revokeSubject('alice'), { ...UNAVAILABLE, cause: { message: /WRONGTYPE/ } })
  t.equal(await status(token), 401, 'it stands')
  t.match(told.lines, [{ sub: 'alice', by: {} }])
  t.strictSame(counts(told), ONCE)
  t.ok(app.revocation.status().available, 'and the store is not lost')
})

for (const [what, options] of Object.entries(CLIENTS)) {
  t.test(`P11 a cutoff whose answer is lost is told once, by a client that ${what}`, async (t) => {
    const { client, hold, lose } = await clientOf(t, options)
    const { app, told, status } = await build(t, { redis: client, keyPrefix: ownPrefix() })
    const { token } = await app.revocation.issue({ sub: 'alice' })
    // The list of its records is read first.
    await app.revocation.tokens('alice')
    const { pipeline } = client
    let isHeld = false
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      if (!isHeld && JSON.stringify(args).includes(':cutoff:alice')) {
        hold()
        isHeld = true
      }
      return pipeline.apply(client, args)
    }
    await t.rejects(app.revocation.revokeSubject('alice'), UNAVAILABLE)
    await lose()
    await eventually('it is told', async () => told.lines.length > 0)
    await eventually('the store is back', async () => app.revocation.status().available)
    t.equal(await status(token), 401)
    t.strictSame(counts(told), ONCE)
    await app.revocation.revokeSubject('alice')
    t.strictSame(counts(told), { lines: 2, events: 2 }, 'the next one is another')
  })
}

for (const kind of ['revoked', 'cutoff'] as const) {
  const end = ({ revocation }: FastifyInstance): Promise<unknown> => kind === 'revoked' ? revocation.revoke({ jti: 'alice' }) : revocation.revokeSubject('alice')

  t.test(`P11 what a client sends again by itself, and finds made, is told once: ${kind}`, async (t) => {
    const { client, hold, lose } = await clientOf(t, CLIENTS['sends again'])
    const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
    const { pipeline } = client
    const { token } = await app.revocation.issue({ sub: 'alice' })
    let isHeld = false
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      if (!isHeld && JSON.stringify(args).includes(`:${kind}:alice`)) {
        hold()
        isHeld = true
      }
      return pipeline.apply(client, args)
    }
    // With a token that asks for it, a cutoff that stands after it was issued is not raised.
    const ended = kind === 'revoked' ? end(app) : app.inject({ method: 'DELETE', url: '/v1/jwt/history/sub/alice', headers: bearer(token) })
    await lose()
    await ended
    t.strictSame(counts(told), ONCE)
  })

  t.test(`P11 a revocation whose answer is nonsense is told when it is known to stand: ${kind}`, async (t) => {
    const client = new Redis(server.url)
    t.teardown(() => client.disconnect())
    const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
    const { pipeline } = client
    let isFirst = true
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      const commands = pipeline.apply(client, args)
      if (isFirst && JSON.stringify(args).includes(`:${kind}:alice`)) {
        isFirst = false
        const { exec } = commands
        commands.exec = async () => {
          await exec.call(commands)
          return [[null, ['x', '', 'w']]]
        }
      }
      return commands
    }
    await t.rejects(end(app), UNAVAILABLE)
    t.strictSame(counts(told), NEVER)
    await eventually('it is told', async () => told.lines.length > 0)
    t.strictSame(counts(told), ONCE)
  })
}

t.test('P11 a revocation that the log brought between a failure and its retry is one event', async (t) => {
  const { client, hold, lose } = await clientOf(t, CLIENTS['gives up'])
  passLogBy(client)
  const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix(), mode: 'replica' })
  const { jti } = await app.revocation.issue({ sub: 'alice' })
  hold()
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  await eventually('the log has brought it', async () => told.events.length > 0)
  await lose()
  await eventually('the retry is acknowledged', () => app.revocation.revoke({ jti }).then(() => true, () => false))
  await eventually('it is told', async () => told.lines.length > 0)
  t.strictSame(counts(told), ONCE)
})

for (const mode of ['strict', 'replica'] as const) {
  t.test(`P11 a cutoff that a retry settles while it is written again is told once, on a ${mode}`, async (t) => {
    const { client, hold, lose, release } = await clientOf(t, CLIENTS['gives up'])
    passLogBy(client)
    const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix(), mode, storeTimeout: 10_000 })
    const { pipeline } = client
    let sent = 0
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      // What was asked for, and its retry.
      if (JSON.stringify(args).includes(':cutoff:alice') && ++sent <= 2) hold()
      return pipeline.apply(client, args)
    }
    const failure = t.rejects(app.revocation.revokeSubject('alice'), UNAVAILABLE)
    await lose()
    await failure
    await eventually('the client is back', () => client.ping().then(() => true, () => false))
    const retry = app.revocation.revokeSubject('alice')
    await eventually('it is written again', async () => sent === 3)
    await release()
    const { cutoff } = await retry
    await eventually('the retry is told', async () => told.lines.length > 0)
    await client.ping()
    t.equal(told.lines.filter((line) => (line as { cutoff: number }).cutoff === cutoff).length, 1)
    t.equal(told.events.filter((event) => (event as { cutoff: number }).cutoff === cutoff).length, 1)
  })
}

for (const [kind, nonsense] of [['revoked', 'OK'], ['revoked', [2, '{}', 'w']], ['cutoff', 'OK'], ['cutoff', ['x', '', 'w']]] as const) {
  t.test(`P4 nonsense that answers what is owed acknowledges nothing, and ends no process: ${kind}, ${JSON.stringify(nonsense)}`, async (t) => {
    const { client, hold, lose } = await clientOf(t, CLIENTS['gives up'])
    const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
    const { pipeline } = client
    let sent = 0
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      const isWrite = JSON.stringify(args).includes(`:${kind}:alice`)
      if (isWrite && ++sent === 1) hold()
      const commands = pipeline.apply(client, args)
      if (isWrite && sent === 2) commands.exec = async () => [[null, nonsense]]
      return commands
    }
    const { revocation } = app
    const failure = t.rejects(async () => kind === 'revoked' ? await revocation.revoke({ jti: 'alice' }) : await revocation.revokeSubject('alice'), UNAVAILABLE)
    await lose()
    await failure
    await eventually('it is told', async () => told.lines.length > 0)
    t.equal(sent, 3)
    t.strictSame(counts(told), ONCE)
  })
}

t.test('P11 what is owed, and whose key is in somebody else\'s use by now, is given up and told by nobody', async (t) => {
  const { client, hold, lose } = await clientOf(t, CLIENTS['gives up'])
  const keyPrefix = ownPrefix()
  const { app, told } = await build(t, { redis: client, keyPrefix, storeTimeout: 10_000 })
  const { pipeline } = client
  const sent = { alice: 0, bob: 0, carol: 0 }
  client.pipeline = function (...args: Parameters<typeof pipeline>) {
    const text = JSON.stringify(args)
    for (const jti of ['alice', 'bob', 'carol'] as const) {
      if (text.includes(`:revoked:${jti}`) && ++sent[jti] === 1) hold()
    }
    return pipeline.apply(client, args)
  }
  const owe = async (jti: string, meanwhile = async () => {}) => {
    const failure = t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
    await eventually('it is written', async () => await server.cli('EXISTS', `${keyPrefix}revoked:${jti}`) === '1')
    await meanwhile()
    await lose()
    await failure
    await eventually('the client is back', () => client.ping().then(() => true, () => false))
  }
  await owe('alice', async () => {
    await server.cli('DEL', `${keyPrefix}revoked:alice`)
    await server.cli('LPUSH', `${keyPrefix}revoked:alice`, 'of somebody else')
  })
  await owe('bob')
  await eventually('bob is told', async () => told.lines.length > 0)
  const tries = sent.alice
  t.ok(tries > 1, 'alice was tried again')
  await owe('carol')
  await eventually('carol is told', async () => told.lines.length > 1)
  t.equal(sent.alice, tries, 'and is tried no more')
  t.match(told.lines, [{ jti: 'bob' }, { jti: 'carol' }])
  t.strictSame(counts(told), { lines: 2, events: 2 })
})

/** A store over a client of its own, whose pipelines a test can have cut. */
function storeOf (t: Test, keyPrefix: string, bounds: Partial<RedisOptions>, onDisowned = () => {}) {
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const options = { keyPrefix, storeTimeout: 10_000, logSpan: 3600, minReplicas: 0, ...bounds }
  const store = redisStore(client, options, { clock: systemClock, onLost () {}, onBack () {}, onDisowned })
  t.teardown(() => store.close())
  return { client, store }
}

t.test('P4 of more revocations of unknown outcome than there may be the first are remembered, and the others said once', { buffered: false }, async (t) => {
  const keyPrefix = ownPrefix()
  let disowned = 0
  const { client, store } = storeOf(t, keyPrefix, { most: 100 }, () => { disowned++ })
  const { pipeline } = client
  let isCut = true
  client.pipeline = function (...args: Parameters<typeof pipeline>) {
    const commands = pipeline.apply(client, args)
    if (isCut) commands.exec = async () => { throw new Error('Connection is closed.') }
    return commands
  }
  const at = Math.floor(Date.now() / 1000)
  const revoke = (name: string) => on(store).revoke(name, { at, exp: null }, at + 600)
  for (let i = 0; i < 103; i++) await t.rejects(revoke(`j${i}`), { message: 'Connection is closed.' })
  t.equal(disowned, 1)

  isCut = false
  const stand = async () => (await server.keys(`${keyPrefix}revoked:j*`)).length
  await eventually('those that are remembered stand', async () => await stand() === 100)
  t.match(await revoke('j102'), { at, first: true }, 'the others are asked for again')
  t.equal(await stand(), 101)
})

t.test('P4 of more than 10,000 revocations of unknown outcome those that can not be remembered are said once', { buffered: false }, async (t) => {
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const fatal: string[] = []
  const write = (line: string) => {
    const { level, msg } = JSON.parse(line)
    if (level === 60) fatal.push(msg)
  }
  const app = await buildApp(t, { fastify: { logger: { level: 'fatal', stream: { write } } }, revocation: { redis: client, keyPrefix: ownPrefix(), storeTimeout: 60_000 } })
  client.pipeline = () => ({ exec: async () => { throw new Error('Connection is closed.') } }) as never
  const revoke = (jti: string) => app.revocation.revoke({ jti }).then(() => 200, ({ statusCode }) => statusCode)
  const statuses = new Set<number>()
  for (let i = 0; i < 10_003; i += 100) {
    for (const status of await Promise.all(Array.from({ length: 100 }, (_, j) => revoke(`j${i + j}`)))) statuses.add(status)
  }
  t.strictSame([...statuses], [503])
  t.match(fatal, [/too many revocations are of unknown outcome \(10,000 are tried again until they stand\)/])
  t.equal(fatal.length, 1)
})

t.test('P11 on a cluster what failed halfway is told when it is whole', async (t) => {
  const cluster = await startCluster(t)
  const client = new Cluster(cluster.nodes)
  t.teardown(() => client.disconnect())
  const keyPrefix = ownPrefix()
  const { app, told, status } = await build(t, { redis: client, keyPrefix, storeTimeout: 10_000 })
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  const forAll = (...command: [string, ...string[]]) => Promise.all(cluster.servers.map((server) => server.cli(...command)))
  await forAll('ACL', 'SETUSER', 'default', '-xadd')
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  t.strictSame(counts(told), NEVER)
  await forAll('ACL', 'SETUSER', 'default', '+xadd')
  await eventually('it is told', async () => told.lines.length > 0)
  t.equal(await status(token), 401)
  await app.revocation.revoke({ jti })
  t.strictSame(counts(told), ONCE)
})

t.test('P11 a revocation that stands although WAIT was refused is told when replicas can be counted', async (t) => {
  const own = await startRedis(t, { args: MASTER })
  await startReplica(t, own)
  const { app, told, status } = await build(t, { redis: own.url, minReplicas: 1, storeTimeout: 10_000 })
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  await own.cli('ACL', 'SETUSER', 'default', '-wait')
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  await own.cli('ACL', 'SETUSER', 'default', '+wait')
  await eventually('it is told', async () => told.lines.length > 0)
  t.match(await app.revocation.revoke({ jti }), { jti, status: 'revoked' })
  t.equal(await status(token), 401)
  t.strictSame(counts(told), ONCE)
})

for (const kind of ['revoked', 'cutoff'] as const) {
  t.test(`P11 what is owed and written again before its answer came is told once: ${kind}`, async (t) => {
    const { client, hold, lose, release } = await clientOf(t, CLIENTS['gives up'])
    const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix() })
    const { pipeline } = client
    let sent = 0
    client.pipeline = function (...args: Parameters<typeof pipeline>) {
      // What was asked for; and what is written again, so late that it is written once more.
      if (JSON.stringify(args).includes(`:${kind}:alice`) && ++sent <= 2) hold()
      return pipeline.apply(client, args)
    }
    const end: () => Promise<unknown> = kind === 'revoked' ? () => app.revocation.revoke({ jti: 'alice' }) : () => app.revocation.revokeSubject('alice')
    await t.rejects(end(), UNAVAILABLE)
    await lose()
    await eventually('it is written a third time', async () => sent >= 3)
    await release()
    await eventually('it is told', async () => told.lines.length > 0)
    await eventually('the store is back', async () => app.revocation.status().available)
    t.strictSame(counts(told), ONCE)
  })
}

t.test('P11 what is published for a security team is published once as well', async (t) => {
  const jti = randomUUID()
  const published: unknown[] = []
  const listener = (message: unknown) => { if ((message as { revocation: { jti?: string } }).revocation.jti === jti) published.push(message) }
  subscribe(REVOKED, listener)
  t.teardown(() => unsubscribe(REVOKED, listener))
  const { client, hold, lose } = await clientOf(t)
  const { app } = await build(t, { redis: client, keyPrefix: ownPrefix() })
  hold()
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  await lose()
  await eventually('it is acknowledged', () => app.revocation.revoke({ jti }).then(() => true, () => false))
  t.match(published, [{ revocation: { jti }, by: {} }])
  t.equal(published.length, 1)
})

t.test('P11 of the last revocations, 10,000 unless the bound is another, it is known that they were told', { buffered: false }, async (t) => {
  const { client, store } = storeOf(t, ownPrefix(), { most: 100 })
  const told: string[] = []
  const at = Math.floor(Date.now() / 1000)
  const revoke = (name: string) => on(store).revoke(name, { at, exp: null }, at + 600, { made: () => told.push(name) })
  await revoke('long ago')
  for (let i = 0; i < 100; i++) await revoke(`${i}`)
  t.equal(told.length, 101)
  told.length = 0
  const { pipeline } = client
  client.pipeline = function (...args: Parameters<typeof pipeline>) {
    const commands = pipeline.apply(client, args)
    const { exec } = commands
    commands.exec = async () => {
      await exec.call(commands)
      throw new Error('Connection is closed.')
    }
    return commands
  }
  for (const name of ['99', 'long ago']) await t.rejects(revoke(name), { message: 'Connection is closed.' })
  client.pipeline = pipeline
  for (const name of ['99', 'long ago']) t.match(await revoke(name), { at })
  t.strictSame(told, ['long ago'])
})

t.test('P11 what this process has told already is not told again, whatever fails in that second', async (t) => {
  const { client, hold, lose } = await clientOf(t, { maxRetriesPerRequest: 0 })
  const { app, told } = await build(t, { redis: client, keyPrefix: ownPrefix() })
  const { jti } = await app.revocation.issue({ sub: 'alice' })
  await app.revocation.revoke({ jti })
  t.strictSame(counts(told), ONCE)
  hold()
  await t.rejects(app.revocation.revoke({ jti }), UNAVAILABLE)
  await lose()
  await eventually('it is acknowledged', () => app.revocation.revoke({ jti }).then(() => true, () => false))
  t.strictSame(counts(told), ONCE)
})

t.test('P11 a cutoff that stands is told by whoever raised it, and by nobody else', async (t) => {
  const { app, told } = await build(t, { redis: server.url, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
  const { token } = await app.revocation.issue({ sub: 'alice' })
  const ends = Array.from({ length: 8 }, () => app.inject({ method: 'DELETE', url: '/v1/jwt/history/sub/alice', headers: bearer(token) }))
  const cutoffs = (await Promise.all(ends)).filter(({ statusCode }) => statusCode === 200).map((answer) => answer.json().cutoff)
  t.equal(new Set(cutoffs).size, 1, 'requests with one token share one cutoff')
  t.strictSame(counts(told), ONCE)
})

import { randomUUID } from 'node:crypto'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Valkey } from 'iovalkey'
import t, { type Test } from 'tap'
import { Proof } from '../../../lib/stores/redis/proof.ts'
import { commandsOf } from '../../../lib/stores/redis/topology.ts'
import type { RedisClient, RevocationOptions } from '../../../lib/index.ts'
import { bearer, buildApp, ownPrefix } from '../../support/app.ts'
import { startProxy, type Proxy } from '../../support/proxy.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'
import { MASTER, startReplica } from '../../support/replicas.ts'
import { systemClock } from '../../../lib/time.ts'

/*
 * Goal: the plugin's own connections see what the client sees, or nothing is answered by them (P7).
 * Method: real servers and databases; a client is moved to another database, or its own connection to another server.
 */

t.jobs = 6

const server = await startRedis(t, { args: MASTER })
await startReplica(t, server)
const admin = new Redis(server.url)
t.teardown(() => admin.disconnect())

const CLIENTS: Record<string, (url: string) => RedisClient & { select (db: number): Promise<unknown>, disconnect (): void, on (event: string, listener: () => void): unknown }> = {
  'ioredis 6': (url) => new Redis(url),
  'ioredis 5': (url) => new Redis5(url),
  iovalkey: (url) => new Valkey(url)
}

interface Line { level: number, msg: string, err?: { message: string } }

async function build (t: Test, revocation: RevocationOptions) {
  const lines: Line[] = []
  const write = (line: string) => { lines.push(JSON.parse(line)) }
  const app = await buildApp(t, { fastify: { logger: { stream: { write } } }, revocation })
  const status = async (token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
  return { app, status, lost: () => lines.filter(({ msg }) => msg.startsWith('jwt revocation: the store is lost')) }
}

for (const [name, connect] of Object.entries(CLIENTS)) {
  for (const options of [{ mode: 'replica' }, { minReplicas: 1 }, { mode: 'replica', minReplicas: 1 }] as RevocationOptions[]) {
    for (const when of ['before', 'without waiting', 'after'] as const) {
      t.test(`P7 the database that a client was moved to ${when} the start is used by all: ${name}, ${JSON.stringify(options)}`, async (t) => {
        const client = connect(server.url)
        client.on('error', () => {})
        t.teardown(() => client.disconnect())
        const keyPrefix = ownPrefix()
        if (when === 'before') await client.select(3)
        if (when === 'without waiting') client.select(3)
        const { app, status, lost } = await build(t, { redis: client, keyPrefix, storeTimeout: 10_000, ...options })
        if (when === 'after') await client.select(3)
        const strict = await build(t, { redis: `${server.url}/3`, keyPrefix, storeTimeout: 10_000 })

        const [own, others] = [await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' })]
        await app.revocation.revoke({ jti: own.jti })
        await strict.app.revocation.revoke({ jti: others.jti })
        t.equal(await status(own.token), 401, 'what it revoked itself')
        t.equal(await strict.status(own.token), 401, 'is known elsewhere')
        await eventually('what another process revoked is known', async () => await status(others.token) === 401)
        t.strictSame(lost(), [], 'nothing was lost')
      })
    }
  }
}

/** A client whose own connections lead elsewhere: what a balancer in front of two servers does. */
function astray (client: Redis, url: string): RedisClient {
  return Object.assign(client, { duplicate: (options: object) => new Redis(url, options) })
}

t.test('P7 a log on another server is never in step: each token is checked where the client is, and one line says so', async (t) => {
  const other = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const keyPrefix = ownPrefix()
  const { app, status, lost } = await build(t, { redis: astray(client, other.url), keyPrefix, mode: 'replica', storeTimeout: 10_000 })
  const strict = await build(t, { redis: server.url, keyPrefix })
  t.match(lost(), [{ level: 50, err: { message: /sees other data than the client/ } }])
  t.equal(lost().length, 1)
  t.match(app.revocation.status(), { available: false })
  t.equal(app.revocation.status().stalenessMs, undefined, 'it was never in step')
  const { jti, token } = await strict.app.revocation.issue({ sub: 'alice' })
  t.equal(await status(token), 200)
  await strict.app.revocation.revoke({ jti })
  t.equal(await status(token), 401)
})

t.test('P7 what is written to another server is acknowledged by nobody', async (t) => {
  const other = await startRedis(t, { args: MASTER })
  await startReplica(t, other)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const { app, status, lost } = await build(t, { redis: astray(client, other.url), keyPrefix: ownPrefix(), minReplicas: 1, storeTimeout: 10_000 })
  t.match(lost(), [{ level: 50, err: { message: /sees other data than the client/ } }])
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  const answer = await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) })
  t.match(answer.json(), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
  await t.rejects(app.revocation.revokeSubject('alice'), { code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: { message: /other data/ } })
  t.equal(await status(token), 200, 'and nobody was told that it is revoked')
})

/** A server, or a cluster of one master, with a replica; and clients whose own connections lead through a proxy. */
const KINDS: Record<string, (t: Test) => Promise<{ target: { host: string, port: number }, astray: (proxy: Proxy, other: RedisServer) => RedisClient }>> = {
  async 'one server' (t) {
    const client = new Redis(server.url)
    t.teardown(() => client.disconnect())
    return { target: { host: server.host, port: server.port }, astray: ({ url }) => astray(client, url) }
  },
  async 'a cluster' (t) {
    const { nodes: [master] } = await startCluster(t, { masters: 1, replicas: 1 })
    const client = new Cluster([master!])
    t.teardown(() => client.disconnect())
    return {
      target: { ...master! },
      astray: ({ port }, other) => Object.assign(client, {
        duplicate (_nodes: unknown, options: object) {
          const natMap = Object.fromEntries([master!.port, other.port].map((of) => [`127.0.0.1:${of}`, { host: '127.0.0.1', port }]))
          return new Cluster([{ host: '127.0.0.1', port }], { ...options, natMap })
        }
      })
    }
  }
}

/** Somewhere else, of the same kind. */
const OTHERS: Record<string, (t: Test) => Promise<RedisServer>> = {
  async 'one server' (t) {
    const other = await startRedis(t, { args: MASTER })
    await startReplica(t, other)
    return other
  },
  'a cluster': async (t) => (await startCluster(t, { masters: 1, replicas: 1 })).servers[0]!
}

for (const [kind, start] of Object.entries(KINDS)) {
  for (const options of [{ mode: 'replica' }, { minReplicas: 1 }] as RevocationOptions[]) {
    t.test(`P7 a connection that comes back to another place is noticed: ${kind}, ${JSON.stringify(options)}`, async (t) => {
      const other = await OTHERS[kind]!(t)
      const { target, astray } = await start(t)
      const place = { ...target }
      const proxy = await startProxy(t, target)
      const keyPrefix = `${randomUUID()}:`
      const { app, status, lost } = await build(t, { redis: astray(proxy, other), keyPrefix, storeTimeout: 10_000, ...options })
      const direct = kind === 'a cluster' ? new Cluster([place]) : new Redis(server.url)
      t.teardown(() => direct.disconnect())
      const strict = await build(t, { redis: direct, keyPrefix })
      const [first, second, third] = [await issue(strict.app), await issue(strict.app), await issue(strict.app)]
      await app.revocation.revoke({ jti: first.jti })
      t.equal(await status(first.token), 401)

      target.port = other.port
      proxy.cut()
      const revoking = app.revocation.revoke({ jti: second.jti }).then(() => 200, ({ statusCode }) => statusCode)
      await eventually('it is said', async () => lost().length > 0)
      t.match(lost(), [{ err: { message: /sees other data than the client/ } }])
      // In replica mode the connection that writes is the client's own.
      t.equal(await revoking, options.minReplicas ? 503 : 200)
      await strict.app.revocation.revoke({ jti: third.jti })
      await eventually('what others revoke is refused', async () => await status(third.token) === 401)

      target.port = place.port
      proxy.cut()
      await eventually('the store is back', async () => app.revocation.status().available)
      t.equal(lost().length, 1, 'once')
      await app.revocation.revoke({ jti: second.jti })
      t.equal(await strict.status(second.token), 401)
    })
  }
}

function issue (app: Awaited<ReturnType<typeof buildApp>>) {
  return app.revocation.issue({ sub: 'alice' })
}

t.test('P7 markers of many processes that start at once do not disturb each other', async (t) => {
  const key = `${ownPrefix()}same`
  const connections = Array.from({ length: 20 }, () => [new Redis(server.url), new Redis(server.url)] as const)
  t.teardown(() => { for (const connection of connections.flat()) connection.disconnect() })
  for (let round = 0; round < 20; round++) {
    await Promise.all(connections.map(([client, own]) => new Proof({ client, own, key, clock: systemClock, timeout: 10_000 }).require()))
  }
  t.ok(await admin.ttl(key) <= 60, 'the marker ends')
  const [client, own] = connections[0]!
  const proof = new Proof({ client, own, key, clock: systemClock, timeout: 10_000 })
  const sent: string[] = []
  const first = proof.during(async () => { sent.push('first') })
  t.strictSame(sent, [], 'nothing is sent before the proof')
  await first
  const second = proof.during(async () => { sent.push('second') })
  t.strictSame(sent, ['first', 'second'], 'then a command is sent at once')
  await second
  const elsewhere = new Redis(`${server.url}/5`)
  t.teardown(() => elsewhere.disconnect())
  // One that is told nothing of its database, as a client of another kind.
  const shy = { isCluster: false, call: (...command: [string]) => command[0] === 'select' ? Promise.resolve('OK') : elsewhere.call(...command) } as unknown as RedisClient
  await t.rejects(new Proof({ client: connections[0]![0], own: shy, key, clock: systemClock, timeout: 10_000 }).require(), { message: /sees other data/ })
})

t.test('P4 P7 where a client can not be looked at any more, the answer fails, and nothing stays unanswered', async (t) => {
  const key = `${ownPrefix()}same`
  const [client, own] = [new Redis(server.url), new Redis(server.url)]
  t.teardown(() => { for (const connection of [client, own]) connection.disconnect() })
  const condition = {}
  let isBroken = false
  const strange = {
    isCluster: false,
    call: (...command: [string]) => own.call(...command),
    get condition () {
      if (isBroken) throw new Error('another kind of client')
      return condition
    }
  } as unknown as RedisClient
  const proof = new Proof({ client, own: strange, key, clock: systemClock, timeout: 10_000 })
  await proof.require()
  const told: unknown[] = []
  const answered = new Promise<void>((resolve) => commandsOf({ client: strange, proof }).proven(['get', 'x'], (...answer) => {
    told.push(answer)
    resolve()
  }))
  isBroken = true
  await answered
  t.match(told, [[{ message: 'another kind of client' }]])
})

t.test('P4 P7 a proof of which the client drops a command is over after its time, and the next one begins', async (t) => {
  const [client, own] = [new Redis(server.url), new Redis(server.url)]
  t.teardown(() => { for (const connection of [client, own]) connection.disconnect() })
  let isDropping = true
  const forgetful = { isCluster: false, call: (...command: [string]) => isDropping ? new Promise(() => {}) : client.call(...command) } as unknown as RedisClient
  const proof = new Proof({ client: forgetful, own, key: `${ownPrefix()}same`, clock: systemClock, timeout: 50 })
  await t.rejects(Promise.all([proof.require(), proof.require()]), { message: 'Redis gave no answer within 50 ms' })
  isDropping = false
  await new Proof({ client: forgetful, own, key: `${ownPrefix()}same`, clock: systemClock, timeout: 10_000 }).require()
  await eventually('it is proven', () => proof.require().then(() => true, () => false))
})

t.test('P7 a cluster is one: its connections are proven as well', async (t) => {
  const { nodes } = await startCluster(t)
  const client = new Cluster(nodes)
  t.teardown(() => client.disconnect())
  const { app, status, lost } = await build(t, { redis: client, keyPrefix: `${randomUUID()}:`, mode: 'replica', storeTimeout: 10_000 })
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  t.equal(await status(token), 200)
  await app.revocation.revoke({ jti })
  t.equal(await status(token), 401)
  t.strictSame(lost(), [])
})

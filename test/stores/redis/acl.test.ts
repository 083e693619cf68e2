import { Cluster, Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import * as acl from '../../support/acl.ts'
import { buildApp, genuine, inSeconds, signed } from '../../support/app.ts'
import { KEPT, me, outcomesOf, REFUSED, ACCEPTED, UNAVAILABLE } from '../../support/promises.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'
import { MASTER, startReplica } from '../../support/replicas.ts'
import { isThorough } from '../../support/runs.ts'

t.jobs = 6

/** A refusal of Redis': what was refused, and to whom. */
interface Denial { object: string, username: string }

type Command = [name: string, ...args: Array<string | number>]

const DOCS = new URL('../../../docs/operations.md', import.meta.url)
/** Of a replica that hears of something. */
const PATIENCE = 20_000
/** Where nothing may fail, however busy the machine is. */
const PATIENT = { storeTimeout: 10_000, maxStaleness: 60_000 }

t.test('docs/operations.md gives exactly these lines', { skip: !existsSync(DOCS) && 'it is not written yet' }, async (t) => {
  const text = readFileSync(DOCS, 'utf8').replaceAll(/\s+/g, ' ')
  for (const [name, line] of Object.entries(acl)) {
    if (typeof line === 'string') t.ok(text.includes(line), name, { line })
  }
})

const FEATURES: Record<string, { granted: string[], revocation: RevocationOptions }> = {
  'strict mode': { granted: [], revocation: {} },
  'replica mode': { granted: [acl.REPLICA], revocation: { mode: 'replica' } },
  'minReplicas in strict mode': { granted: [acl.MIN_REPLICAS], revocation: { minReplicas: 1 } },
  'minReplicas in replica mode': { granted: [acl.REPLICA, acl.MIN_REPLICAS], revocation: { mode: 'replica', minReplicas: 1 } },
  'maxTokenLifetime unbounded': { granted: [acl.UNBOUNDED], revocation: { maxTokenLifetime: 'unbounded' } }
}

for (const [name, { granted, revocation }] of Object.entries(FEATURES)) {
  t.test(`the documented user suffices for ${name}`, { buffered: true }, async (t) => {
    const server = await startRedis(t, { args: MASTER })
    if (revocation.minReplicas) await startReplica(t, server)
    await server.cli(...acl.wordsOf(acl.STRICT, ...granted))
    const scene = await sceneOn(t, server, { ...PATIENT, ...revocation })
    t.strictSame(await scene.outcomes(), KEPT)
    if (revocation.mode === 'replica') await putsBack(t, server, scene)
    if (revocation.maxTokenLifetime) t.equal(await scene.withoutEnd(), REFUSED, 'a token that never ends')
    t.strictSame(await denials(server), [])
    t.equal(scene.lost.length, 0, 'no command failed, in the background either', { lost: scene.lost })
  })
}

t.test('the documented user suffices for refresh tokens', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  await server.cli(...acl.wordsOf(acl.STRICT))
  const { app: { revocation }, lost } = await sceneOn(t, server, { ...PATIENT, refresh: {} })
  const { sid, refreshToken } = await revocation.issue({ sub: 'alice' }, { refresh: true })
  const next = await revocation.refresh(refreshToken)
  await revocation.revokeSession(sid)
  await t.rejects(revocation.refresh(next.refreshToken), { code: 'FST_JWT_REFRESH_INVALID' })
  t.match(await revocation.token(next.id), { endedAt: String, refreshedAt: String })
  t.strictSame([await denials(server), lost], [[], []])
})

/** What an application does without, and what it goes without then. */
const DISPENSABLE: Record<string, string> = {
  info: 'the warnings of the start, and the client\'s own look whether Redis is loading',
  'client|setname': 'its name in CLIENT LIST'
}

const needed = commandsOf(acl.STRICT)
// Each part has a Redis of its own, whose ACL LOG tells what was refused.
for (const [part, commands] of [needed.slice(0, needed.length / 2), needed.slice(needed.length / 2)].entries()) {
  // Half of them tell that the method works; all of them are asked where everything is.
  if (!isThorough && part === 1) continue
  t.test(`each command of strict mode is needed, part ${part + 1}`, { buffered: true }, (t) => areNeeded(t, commands))
}

async function areNeeded (t: Test, commands: string[]) {
  const server = await startRedis(t)
  for (const command of commands) {
    await server.cli('ACL', 'LOG', 'RESET')
    await server.cli(...acl.wordsOf(acl.STRICT, `-${command}`))
    // A client that may not ask for INFO says so on the console.
    const scene = await sceneOn(t, server, {}, command !== 'info')
    const outcomes = await scene.outcomes()
    if (command in DISPENSABLE) t.strictSame(outcomes, KEPT, `all works without ${command}, but for ${DISPENSABLE[command]}`)
    else t.notSame(outcomes, KEPT, `not without ${command}`)
    const refused = await denials(server)
    t.ok(refused.length > 0 && refused.every(({ object }) => object === command), `it is ${command} that was refused`, { refused })
    await scene.close()
  }
}

t.test('so are those of replica mode', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  await server.cli(...acl.wordsOf(acl.STRICT, acl.REPLICA, '-xread'))
  const deaf = await sceneOn(t, server, { mode: 'replica', maxStaleness: PATIENT.storeTimeout })
  await eventually('the store is lost', async () => deaf.lost.length > 0)
  t.match(deaf.lost[0], { msg: /lost.*Redis says NOPERM: its user may not do this: give it the commands and keys that docs\/operations\.md lists$/ })
  await deaf.close()

  await server.cli(...acl.wordsOf(acl.STRICT, acl.REPLICA, '-scan'))
  await server.cli('XADD', 'jwt:log', '5-1', 'entry', 'x')
  await server.cli('XTRIM', 'jwt:log', 'MAXLEN', 0)
  const blind = await sceneOn(t, server, { mode: 'replica', maxStaleness: PATIENT.storeTimeout })
  await eventually('the store is lost', async () => blind.lost.length > 0)
  t.match(await denials(server), [{ object: 'scan' }, { object: 'xread' }])
})

t.test('and those of minReplicas, and of tokens that never end: revocations are answered 503 without them', { buffered: true }, async (t) => {
  const server = await startRedis(t, { args: MASTER })
  await startReplica(t, server)
  await server.cli(...acl.wordsOf(acl.STRICT))
  const scene = await sceneOn(t, server, { minReplicas: 1 })
  const outcomes = await scene.outcomes()
  t.strictSame(outcomes['revoked by its jti'], [UNAVAILABLE, REFUSED, REFUSED], 'it is written, and not acknowledged')
  t.match(await denials(server), [{ object: 'wait' }])
  await server.cli('ACL', 'LOG', 'RESET')
  t.equal(await (await sceneOn(t, server, { maxTokenLifetime: 'unbounded' })).recordWithoutEnd(), UNAVAILABLE)
  t.match(await denials(server), [{ object: 'persist' }])
})

t.test('each key pattern but the one of the plugin is out of reach', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  await server.cli(...acl.wordsOf(acl.STRICT, acl.REPLICA))
  await server.cli('SET', 'other', 'x')
  const client = new Redis(server.port, server.host, acl.USER)
  t.teardown(() => client.disconnect())
  const commands: Command[] = [
    ['get', 'other'], ['set', 'jwt', 'x'], ['eval', 'return redis.call("GET", "other")', 0], ['del', 'jwt:x'], ['flushall'], ['config', 'get', '*']
  ]
  for (const command of commands) {
    await t.rejects(client.call(...command), { message: /permission|can't access/ }, command.join(' '))
  }
})

for (const mode of ['strict', 'replica'] as const) {
  t.test(`the documented user suffices on a cluster, in mode ${mode}, while a slot moves as well`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t)
    for (const server of cluster.servers) await server.cli(...acl.wordsOf(acl.STRICT, acl.CLUSTER, ...(mode === 'replica' ? [acl.REPLICA, acl.CLUSTER_REPLICA] : [])))
    const scene = await sceneOf(t, { ...PATIENT, mode }, () => {
      const client = new Cluster(cluster.nodes, { redisOptions: acl.USER })
      client.on('error', () => {})
      t.teardown(() => client.disconnect())
      return client
    })
    t.strictSame(await scene.outcomes(), KEPT)

    const [from, to] = cluster.servers as [RedisServer, RedisServer]
    const { jti, token } = await tokenOn(from)
    const slot = await from.cli('CLUSTER', 'KEYSLOT', `jwt:revoked:${jti}`)
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await from.cli('CLUSTER', 'MYID'))
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await to.cli('CLUSTER', 'MYID'))
    t.equal(await me(scene.app, token), ACCEPTED)
    await scene.app.revocation.revoke({ jti })
    t.equal(await me(scene.app, token), REFUSED)

    t.strictSame((await Promise.all(cluster.servers.map(denials))).flat(), [])
    t.equal(scene.lost.length, 0, 'no command failed', { lost: scene.lost })
    // Without it the client leaves a rejection unhandled, which ends a process.
    t.ok(await to.commandCalls('asking') > 0, 'ASKING was asked')
  })
}

t.test('a replica on a cluster is not in step without CLUSTER NODES, and not without INFO: it says so, and asks Redis', { buffered: true }, async (t) => {
  const cluster = await startCluster(t)
  for (const command of ['cluster|nodes', 'info']) {
    for (const server of cluster.servers) {
      await server.cli('ACL', 'LOG', 'RESET')
      await server.cli(...acl.wordsOf(acl.STRICT, acl.CLUSTER, acl.REPLICA, acl.CLUSTER_REPLICA, `-${command}`))
    }
    const scene = await sceneOf(t, { mode: 'replica', maxStaleness: PATIENT.storeTimeout }, () => {
      // A client that may not ask for INFO does not find out whether Redis is loading.
      const client = new Cluster(cluster.nodes, { redisOptions: { ...acl.USER, enableReadyCheck: command !== 'info' }, enableReadyCheck: false })
      client.on('error', () => {})
      t.teardown(() => client.disconnect())
      return client
    })
    await eventually('the store is lost', async () => scene.lost.length > 0)
    t.match(scene.lost[0], { msg: /lost.*Redis says NOPERM: its user may not do this: give it the commands and keys that docs\/operations\.md lists$/ }, command)
    t.equal(scene.app.revocation.status().stalenessMs, undefined, command)
    const { jti, token } = await genuine()
    t.equal(await me(scene.app, token), ACCEPTED)
    await scene.app.revocation.revoke({ jti })
    t.equal(await me(scene.app, token), REFUSED)
    const refused = (await Promise.all(cluster.servers.map(denials))).flat()
    t.ok(refused.length > 0 && refused.every(({ object }) => object === command), `it is ${command} that was refused`, { refused })
    await scene.close()
  }
})

t.test('another service that only checks reads two kinds of keys, and nothing else', { buffered: true }, async (t) => {
  const server = await startRedis(t)
  await server.cli(...acl.wordsOf(acl.STRICT))
  await server.cli(...acl.wordsOf(acl.CHECKER))
  const { app } = await sceneOn(t, server, {})
  const issued = await app.revocation.issue({ sub: 'alice' })
  const other = await genuine({ sub: 'bob' })
  await app.revocation.revoke({ jti: issued.jti })
  await app.revocation.revokeSubject('bob')

  const client = new Redis(server.port, server.host, { username: 'checker', password: 'password', enableReadyCheck: false })
  t.teardown(() => client.disconnect())
  t.match(await client.mget(`jwt:revoked:${issued.jti}`, 'jwt:cutoff:alice', `jwt:revoked:${other.jti}`, 'jwt:cutoff:bob'), [/^{"at":\d+/, null, null, /^\d+$/])
  t.match(await client.get(`jwt:revoked:${issued.jti}`), /^{"at":\d+,"exp":\d+}$/)
  const commands: Command[] = [
    ['get', `jwt:token:${issued.id}`], ['get', `jwt:id:${issued.jti}`], ['xread', 'STREAMS', 'jwt:log', '0'], ['set', `jwt:revoked:${issued.jti}`, 'x'],
    ['del', `jwt:revoked:${issued.jti}`], ['keys', '*'], ['scan', '0']
  ]
  for (const command of commands) {
    await t.rejects(client.call(...command), { message: /^NOPERM/ }, command.join(' '))
  }

  const lost: Array<{ msg: string }> = []
  const checks = await appOf(t, { redis: { host: server.host, port: server.port, username: 'checker', password: 'password', enableReadyCheck: false } }, lost)
  t.equal(await me(checks, issued.token), REFUSED, 'the plugin itself checks with that user as well')
  t.equal(await me(checks, other.token), REFUSED)
  t.equal(await me(checks, (await genuine()).token), ACCEPTED)
  t.strictSame(lost, [])
  await t.rejects(checks.revocation.revoke({ jti: other.jti }), { code: 'FST_JWT_REVOCATION_UNAVAILABLE', statusCode: 503, cause: { message: /^NOPERM/ } })
  t.match(lost, [{ msg: /Redis says NOPERM: its user may not do this/ }])
})

function commandsOf (line: string) {
  return [...line.matchAll(/\+(\S+)/g)].map(([, command]) => command!)
}

async function denials (server: RedisServer): Promise<Denial[]> {
  const client = new Redis(server.port, server.host, { protocol: 2 })
  const entries = await client.call('ACL', 'LOG') as string[][]
  client.disconnect()
  return entries.map((entry) => Object.fromEntries(entry.flatMap((name, i) => i % 2 === 0 ? [[name, entry[i + 1]]] : [])) as unknown as Denial)
    .sort((a, b) => a.object.localeCompare(b.object))
}

async function appOf (t: Test, revocation: RevocationOptions, lost: Array<{ msg: string }>) {
  const write = (line: string) => {
    const entry = JSON.parse(line)
    if (entry.msg.startsWith('jwt revocation: the store is lost')) lost.push(entry)
  }
  return await buildApp(t, { fastify: { logger: { stream: { write } } }, revocation: { storeTimeout: PATIENT.storeTimeout, recordOnUse: true, ...revocation } })
}

async function sceneOf (t: Test, revocation: RevocationOptions, redis: () => RevocationOptions['redis'] & object) {
  const lost: Array<{ msg: string }> = []
  const open = () => appOf(t, { ...revocation, redis: redis() }, lost)
  const [app, neighbour] = [await open(), await open()]
  return {
    app,
    lost,
    open,
    outcomes: () => outcomesOf(app, neighbour, revocation.mode === 'replica' ? PATIENCE : 0),
    async withoutEnd () {
      const jti = randomUUID()
      const token = await signed({ jti })
      const failure = await app.revocation.revoke({ jti }).then(() => '', ({ statusCode, code, message }) => `${statusCode} ${code} ${message}`)
      return failure || me(app, token)
    },
    /** Of a subject whose other record ends. */
    async recordWithoutEnd () {
      await app.revocation.record({ jti: randomUUID(), sub: 'endless', iat: inSeconds(0), exp: inSeconds(60) })
      const failure = await app.revocation.record({ jti: randomUUID(), sub: 'endless', iat: inSeconds(0) })
        .then(() => '', ({ statusCode, code, message }) => `${statusCode} ${code} ${message}`)
      return failure || ACCEPTED
    },
    close: () => Promise.all([app.close(), neighbour.close()])
  }
}

const sceneOn = (t: Test, { host, port }: RedisServer, revocation: RevocationOptions, enableReadyCheck = true) =>
  sceneOf(t, revocation, () => ({ host, port, ...acl.USER, enableReadyCheck }))

/** After Redis has lost all, and after its log was trimmed: both are read and written by more commands. */
async function putsBack (t: Test, server: RedisServer, { app, open }: Awaited<ReturnType<typeof sceneOf>>) {
  const { jti, token } = await genuine()
  await app.revocation.revoke({ jti })
  await app.revocation.revokeSubject(randomUUID())
  await server.cli('FLUSHALL')
  await eventually('it is put back', async () => await server.cli('EXISTS', `jwt:revoked:${jti}`) === '1')
  t.equal(await me(app, token), REFUSED)
  await eventually('all of it', async () => Number(await server.cli('XLEN', 'jwt:log')) >= app.revocation.status().entries!)

  await server.cli('XTRIM', 'jwt:log', 'MAXLEN', 0)
  const late = await open()
  t.equal(await me(late, token), REFUSED)
  t.equal(late.revocation.status().entries, app.revocation.status().entries, 'what the log does not tell is found')
  t.ok(await server.commandCalls('scan') > 0)
}

/** A token whose revocation is kept on this node. */
async function tokenOn (server: RedisServer) {
  const id = await server.cli('CLUSTER', 'MYID')
  const [, first, last] = new RegExp(`^${id} .* (\\d+)-(\\d+)$`, 'm').exec(await server.cli('CLUSTER', 'NODES'))!.map(Number) as [number, number, number]
  for (;;) {
    const one = await genuine()
    const slot = Number(await server.cli('CLUSTER', 'KEYSLOT', `jwt:revoked:${one.jti}`))
    if (slot >= first && slot <= last) return one
  }
}

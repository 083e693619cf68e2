import { Cluster, Redis } from 'ioredis'
import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../../lib/index.ts'
import { adviceOn } from '../../../lib/stores/redis/advice.ts'
import { bearer, buildApp, genuine, inSeconds } from '../../support/app.ts'
import { isUnavailable, Rig } from '../../support/outage.ts'
import { freePort } from '../../support/ports.ts'
import { eventually, startCluster, startRedis, type RedisServer } from '../../support/redis.ts'

t.jobs = 4

const SAYS: Record<string, RegExp> = {
  NOAUTH: /asks for a password: set it in option "redis"/,
  WRONGPASS: /correct option "redis"/,
  NOPERM: /give it the commands and keys that docs\/operations\.md lists/,
  WRONGTYPE: /set option "keyPrefix"/,
  OOM: /reached maxmemory: raise that, or free memory; evicting keys would revive revoked tokens/,
  READONLY: /connect to the master, through Sentinel or a Cluster client where it moves/,
  LOADING: /reading its data from disk: wait/,
  BUSY: /SCRIPT KILL/,
  MISCONF: /the space on its disk/,
  NOREPLICAS: /min-replicas-to-write: see INFO replication/,
  MASTERDOWN: /wait for the failover, or see INFO replication/,
  CLUSTERDOWN: /see CLUSTER INFO/,
  MOVED: /give option "redis" a Cluster client/,
  CROSSSLOT: /give option "redis" a Cluster client/
}

t.test('what an error of Redis means, and what to do', async (t) => {
  for (const [word, advice] of Object.entries(SAYS)) {
    const error = new Error(`${word} as Redis goes on`)
    t.match(adviceOn(error), advice, word)
    t.equal(adviceOn(new Error(`-${error.message}`)), adviceOn(error), 'as it stands in an error of a script')
    t.equal(adviceOn(new Error('the log was not heard of', { cause: new Error('why', { cause: error }) })), adviceOn(error), 'as the cause of a cause')
    t.equal(adviceOn(Object.assign(new Error('Too many Cluster redirections.'), { lastNodeError: error })), adviceOn(error), 'as the last node of a cluster has it')
  }
  for (const [message, advice] of [
    ["ERR unknown command 'eval', with args beginning with: 'x' ", /^Redis says ERR: it knows no command EVAL, which may be renamed: give it back its name; docs\/operations\.md lists/],
    ['ERR unknown command `MGET`, with args beginning with: ', /it knows no command MGET, /],
    ['ERR Unknown Redis command called from script script: 5f, on @user_script:3.', /it knows no command that a script calls, /],
    ["ERR unknown command 'info', with args beginning with: ", /it knows no command INFO, which the client asks for first: set enableReadyCheck: false/]
  ] as const) t.match(adviceOn(new Error(message)), advice, message)
  for (const none of [
    undefined, null, 'OOM of a string', {}, { message: 'OOM x' }, new Error(''), new Error('OOM'), new Error('oom x'), new Error('ERR unknown command'), new Error('Connection is closed.'),
    new Error('there is OOM here'), new Error('TOSTRING x'), new Error('x', { cause: 'OOM x' })
  ]) t.equal(adviceOn(none), '')
  t.match(adviceOn(new Error('OOM x', { cause: new Error('BUSY y') })), SAYS.OOM!, 'the outermost that says something')
})

interface Scene {
  server: RedisServer
  admin: Redis
}

interface Fault {
  args?: string[]
  revocation?: (server: RedisServer) => RevocationOptions
  begin (scene: Scene): unknown
  end (scene: Scene): unknown
  /** The first word of what Redis answers. */
  error: string
  /** Whether checks pass and refuse as before; else they are answered 503. */
  checks: boolean
  /** Whether the history can be read. */
  reads: boolean
}

const set = (name: string, value: string | number) => ({ admin }: Scene) => admin.config('SET', name, value)
const acl = (...words: string[]) => ({ admin }: Scene) => admin.call('ACL', 'SETUSER', 'app', ...words)
const asApp = ({ host, port }: RedisServer): RevocationOptions => ({ redis: { host, port, username: 'app', password: 'secret' } })
const stop = new Map<RedisServer, () => void>()

const FAULTS: Record<string, Fault> = {
  'it has no memory left': {
    begin: set('maxmemory', 1), end: set('maxmemory', 0), error: 'OOM', checks: true, reads: true
  },
  'it has become a replica': {
    begin: async ({ admin }) => admin.replicaof('127.0.0.1', await freePort()),
    end: ({ admin }) => admin.replicaof('NO', 'ONE'),
    error: 'READONLY',
    checks: true,
    // A page drops what has expired.
    reads: false
  },
  'it is a replica that has lost its master': {
    async begin ({ admin }) {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.replicaof('127.0.0.1', await freePort())
    },
    end: ({ admin }) => admin.replicaof('NO', 'ONE'),
    error: 'MASTERDOWN',
    checks: false,
    reads: false
  },
  'it has too few replicas': {
    begin: set('min-replicas-to-write', 1), end: set('min-replicas-to-write', 0), error: 'NOREPLICAS', checks: true, reads: false
  },
  'it can not write its snapshot': {
    args: ['--save', '3600 100000'],
    async begin ({ admin }) {
      mkdirSync(await snapshotOf(admin))
      await admin.bgsave()
      await eventually('the snapshot has failed', async () => (await admin.info('persistence')).includes('rdb_last_bgsave_status:err'))
    },
    async end ({ admin }) {
      rmdirSync(await snapshotOf(admin))
      await admin.bgsave()
    },
    error: 'MISCONF',
    checks: true,
    reads: false
  },
  'it is busy with a script': {
    args: ['--lua-time-limit', '20'],
    async begin ({ server, admin }) {
      const looping = new Redis(server.url)
      looping.on('error', () => {})
      looping.eval('while true do end', 0).catch(() => {})
      stop.set(server, () => looping.disconnect())
      await eventually('it is busy', async () => admin.ping().then(() => false, ({ message }) => message.startsWith('BUSY')))
    },
    async end ({ server, admin }) {
      await admin.script('KILL')
      stop.get(server)!()
    },
    error: 'BUSY',
    checks: false,
    reads: false
  },
  'it is reading its data': {
    args: ['--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024'],
    async begin ({ admin }) {
      await admin.mset(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`filler:${i}`, randomUUID().repeat(100)])))
      await admin.config('SET', 'rdbcompression', 'no')
      await admin.config('SET', 'key-load-delay', 50_000)
      admin.call('DEBUG', 'RELOAD').catch(() => {})
    },
    end () {},
    error: 'LOADING',
    checks: false,
    reads: false
  },
  'its user may not run scripts': {
    revocation: asApp, begin: acl('-eval'), end: acl('+eval'), error: 'NOPERM', checks: true, reads: false
  },
  'its user may not touch the keys': {
    revocation: asApp, begin: acl('resetkeys', '~other:*'), end: acl('~*'), error: 'NOPERM', checks: false, reads: false
  }
}

for (const [name, fault] of Object.entries(FAULTS)) {
  const effect = fault.checks ? 'checks go on, revocations are answered 503' : 'both are answered 503'
  t.test(`P4 ${name} (${fault.error}): ${effect}, and the log says what to do`, { buffered: true }, async (t) => {
    const scene = await setUp(t, fault.args)
    await acl('on', '>secret', '~*', '&*', '+@all')(scene)
    const rig = await Rig.startWell(t, fault.revocation?.(scene.server) ?? { redis: scene.server.url })
    const active = await rig.app.revocation.issue({ sub: 'alice' })
    const ended = await rig.app.revocation.issue({ sub: 'alice' })
    await rig.app.revocation.revoke({ jti: ended.jti })

    await fault.begin(scene)
    const isRefused = async () => t.match(await rig.http('GET', '/me', ended.token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
    if (fault.checks) {
      t.match(await rig.http('GET', '/me', active.token), { status: 200 })
      await isRefused()
    } else {
      for (const { token } of [active, ended]) isUnavailable(t, await rig.http('GET', '/me', token), 'a check')
    }
    const first = await rig.call(() => rig.app.revocation.revoke({ jti: active.jti }))
    isUnavailable(t, first, 'revoke()')
    isUnavailable(t, await rig.http('DELETE', `/v1/jwt/history/${active.jti}`, active.token), 'DELETE')
    isUnavailable(t, await rig.call(() => rig.app.revocation.revokeSubject('alice')), 'revokeSubject()')
    isUnavailable(t, await rig.call(() => rig.app.revocation.issue({ sub: 'alice' })), 'issue()')
    const listed = await rig.call(() => rig.app.revocation.tokens('alice'))
    if (fault.reads) t.match(listed, { status: 200 }, 'tokens()')
    else isUnavailable(t, listed, 'tokens()')
    t.match(first.cause, { message: new RegExp(`^${fault.error} `) })
    t.equal(rig.lines.length, 1, 'one line')
    t.match(rig.lines[0], { level: 50, err: { message: new RegExp(`^${fault.error} `) } })
    t.match(rig.lines[0]!.msg, new RegExp(`^jwt revocation: the store is lost; .* until it is back\\. 127\\.0\\.0\\.1:${scene.server.port}: Redis says ${fault.error}: .*${SAYS[fault.error]!.source}$`))

    await fault.end(scene)
    await eventually('the store is back', async () => rig.available)
    await isRefused()
    const { token, jti } = await rig.app.revocation.issue({ sub: 'bob' })
    t.match(await rig.http('DELETE', `/v1/jwt/history/${jti}`, token), { status: 200 })
    t.match(await rig.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  })
}

t.test('P4 for as long as Redis takes no writes its checks lose neither an answer nor their connection', { buffered: true }, async (t) => {
  const scene = await setUp(t)
  const rig = await Rig.startWell(t, { redis: scene.server.url })
  const { token } = await rig.app.revocation.issue({ sub: 'alice' })
  await set('maxmemory', 1)(scene)
  isUnavailable(t, await rig.call(() => rig.app.revocation.revokeSubject('bob')), 'revokeSubject()')
  const named = async () => /^id=(\d+) .* name=fastify-jwt-revocation /m.exec(String(await scene.admin.client('LIST')))?.[1]
  const before = await named()
  const end = performance.now() + 3500
  const failed = []
  while (performance.now() < end) {
    const outcome = await rig.http('GET', '/me', token)
    if (outcome.status !== 200) failed.push(outcome)
    await sleep(10)
  }
  t.same(failed, [])
  t.equal(await named(), before)
})

t.test('P4 its user may not check (NOPERM): checks are answered 503, revocations go on, and the log says what to do', { buffered: true }, async (t) => {
  const scene = await setUp(t)
  await acl('on', '>secret', '~*', '+@all')(scene)
  const rig = await Rig.startWell(t, asApp(scene.server))
  const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
  await acl('-mget')(scene)
  isUnavailable(t, await rig.http('GET', '/me', token), 'a check')
  t.match(await rig.call(() => rig.app.revocation.revoke({ jti })), { status: 200 })
  t.match(rig.lines, [{ msg: SAYS.NOPERM, err: { message: /^NOPERM / } }])
  await acl('+mget')(scene)
  await eventually('the store is back', async () => rig.available)
  t.match(await rig.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
})

t.test('P4 its user may not do what a script does (ERR of Redis 7.0): revocations are answered 503', { buffered: true }, async (t) => {
  const scene = await setUp(t)
  await acl('on', '>secret', '~*', '+@all', '-xadd')(scene)
  const rig = await Rig.startWell(t, asApp(scene.server))
  const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
  t.match(await rig.http('GET', '/me', token), { status: 200 })
  const outcome = await rig.call(() => rig.app.revocation.revoke({ jti }))
  isUnavailable(t, outcome, 'revoke()')
  t.match(outcome.cause, { message: /can't run this command|NOPERM/ })
  t.match(rig.lines, [{ msg: SAYS.NOPERM }])
})

const AT_BOOT: Record<string, { error: string, args?: string[], redis: (server: RedisServer) => object }> = {
  'no password where one is asked for': { error: 'NOAUTH', args: ['--requirepass', 'secret'], redis: ({ host, port }) => ({ host, port }) },
  'a wrong password': { error: 'WRONGPASS', args: ['--requirepass', 'secret'], redis: ({ host, port }) => ({ host, port, password: 'wrong' }) },
  'an unknown user': { error: 'WRONGPASS', redis: ({ host, port }) => ({ host, port, username: 'nobody', password: 'x' }) }
}

for (const [name, { error, args, redis }] of Object.entries(AT_BOOT)) {
  t.test(`P4 ${name} (${error}): the application starts, answers 503, and says what to do`, { buffered: true }, async (t) => {
    const { server } = await setUp(t, args)
    // A machine that takes longer to connect hears of no reason at first.
    const rig = await Rig.start(t, { redis: redis(server), storeTimeout: 5000 })
    isUnavailable(t, await rig.http('GET', '/me', rig.sign()), 'a check')
    await eventually('the cause says it', async () => {
      const outcome = await rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() }))
      isUnavailable(t, outcome, 'revoke()')
      return (outcome.cause as Error).message.startsWith(`${error} `)
    })
    t.equal(rig.lines.length, 1, 'one line')
    t.match(rig.lines[0], { level: 50, msg: SAYS[error] }, 'what to do')
  })
}

for (const [name, { args, redis, secret, error }] of Object.entries({
  'AUTH, which has the password': {
    args: ['--rename-command', 'AUTH', 'other-auth'],
    redis: ({ host, port }: RedisServer) => ({ host, port, username: 'bob', password: 'hunter2', protocol: 2 as const }),
    secret: /hunter2/,
    error: /ERR unknown command 'auth'/
  },
  'MGET, which has the names of a token': {
    args: ['--rename-command', 'MGET', 'other-mget'], redis: ({ url }: RedisServer) => url, secret: /alice|the-jti/, error: /ERR unknown command 'mget'/
  }
})) {
  t.test(`P4 what Redis says of a command that it does not know is told without its arguments: ${name}`, { buffered: true }, async (t) => {
    const { server } = await setUp(t, args)
    const lines: string[] = []
    const app = await buildApp(t, { fastify: { logger: { stream: { write: (line: string) => { lines.push(line) } } } }, revocation: { redis: redis(server), storeTimeout: 5000 } })
    const { token } = await genuine({ sub: 'alice', jti: 'the-jti' })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 503)
    const claims = { sub: 'alice', jti: 'the-jti', iat: inSeconds(0), exp: inSeconds(60) }
    const told = inspect(await app.revocation.isRevoked(claims).catch((failure) => failure), { depth: 10 })
    t.match(told, error)
    t.notMatch(told, secret)
    t.match(lines.join(''), error)
    t.notMatch(lines.join(''), secret)
  })
}

t.test('P4 a single client on a node of a cluster (MOVED, CROSSSLOT): both are answered 503, and the log says what to do', { buffered: true }, async (t) => {
  const { servers } = await startCluster(t)
  for (const server of servers) {
    const rig = await Rig.start(t, { redis: server.url })
    isUnavailable(t, await rig.http('GET', '/me', rig.sign()), 'a check')
    const { token } = await genuine()
    isUnavailable(t, await rig.http('DELETE', '/v1/jwt/history/x', token), 'DELETE')
    t.match(rig.lines, [{ err: { message: /\b(MOVED|CROSSSLOT) / }, msg: SAYS.MOVED }])
  }
})

t.test('P4 keys of another type (WRONGTYPE), on one node', { buffered: true }, async (t) => {
  const { server, admin } = await setUp(t)
  const keyPrefix = `${randomUUID()}:`
  const occupy = (key: string) => key === 'log' ? admin.set(keyPrefix + key, 'x') : admin.sadd(keyPrefix + key, 'x')
  const build = () => Rig.startWell(t, { redis: server.url, keyPrefix })

  await t.test('revoked: MGET says nil, so the token passes, as nothing was acknowledged for it; revoking it is answered 503', async (t) => {
    const rig = await build()
    const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
    await occupy(`revoked:${jti}`)
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    const outcome = await rig.http('DELETE', `/v1/jwt/history/${jti}`, token)
    isUnavailable(t, outcome, 'DELETE')
    t.match(outcome.cause, { message: /^WRONGTYPE / })
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    t.strictSame(rig.lines, [], 'it is the fault of that key alone: the store is not lost')
  })

  await t.test('cutoff: its subject\'s tokens pass; cutting it off, and issuing for it, is answered 503', async (t) => {
    const rig = await build()
    const { token } = await genuine({ sub: 'carol' })
    await occupy('cutoff:carol')
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    for (const [name, operation] of Object.entries({
      'DELETE /sub': () => rig.http('DELETE', '/v1/jwt/history/sub/carol', token),
      'issue()': () => rig.call(() => rig.app.revocation.issue({ sub: 'carol' }))
    })) {
      const outcome = await operation()
      isUnavailable(t, outcome, name)
      t.match(outcome.cause, { message: /^WRONGTYPE / }, name)
    }
    t.match(await rig.call(() => rig.app.revocation.issue({ sub: 'dave' })), { status: 200 }, 'others are not affected')
  })

  await t.test('tokens: its subject gets no record and no list; its tokens are checked and revoked as before', async (t) => {
    const rig = await build()
    const { token, jti } = await genuine({ sub: 'erin' })
    await occupy('tokens:erin')
    for (const [name, operation] of Object.entries({
      'issue()': () => rig.call(() => rig.app.revocation.issue({ sub: 'erin' })),
      'GET /': () => rig.http('GET', '/v1/jwt/history', token)
    })) {
      const outcome = await operation()
      isUnavailable(t, outcome, name)
      t.match(outcome.cause, { message: /^WRONGTYPE / }, name)
    }
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    t.match(await rig.http('DELETE', `/v1/jwt/history/${jti}`, token), { status: 200 })
    t.match(await rig.http('GET', '/me', token), { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
  })

  await t.test('log: revocations are answered 503, and nothing of them is written; checks go on', async (t) => {
    await admin.del(`${keyPrefix}log`)
    await occupy('log')
    const rig = await build()
    const { token, jti } = await rig.app.revocation.issue({ sub: 'frank' })
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    const outcome = await rig.http('DELETE', `/v1/jwt/history/${jti}`, token)
    isUnavailable(t, outcome, 'DELETE')
    t.match(outcome.cause, { message: /^WRONGTYPE / })
    t.match(await rig.http('GET', '/me', token), { status: 200 })
    await eventually('the store is lost, as every revocation needs the log', async () => rig.lines.length > 0)
    t.match(rig.lines, [{ msg: SAYS.WRONGTYPE }])
    await admin.del(`${keyPrefix}log`)
    await eventually('the store is back', async () => rig.available)
  })
})

t.test('P4 keys of another type (WRONGTYPE), on a cluster: GET fails, so the token is answered 503', { buffered: true }, async (t) => {
  const { nodes } = await startCluster(t, { masters: 1 })
  const cluster = new Cluster(nodes)
  t.teardown(() => cluster.disconnect())
  const keyPrefix = `${randomUUID()}:`
  const rig = await Rig.startWell(t, { redis: cluster, keyPrefix })
  const { token, jti } = await rig.app.revocation.issue({ sub: 'alice' })
  await cluster.sadd(`${keyPrefix}revoked:${jti}`, 'x')
  for (const outcome of [await rig.http('GET', '/me', token), await rig.call(() => rig.app.revocation.revoke({ jti }))]) {
    isUnavailable(t, outcome, 'it')
    t.match(outcome.cause, { message: /^WRONGTYPE / })
  }
  t.strictSame(rig.lines, [], 'it is the fault of that key alone: the store is not lost')
  t.match(await rig.http('GET', '/me', rig.sign()), { status: 200 }, 'others are not affected')
})

async function setUp (t: Test, args: string[] = []): Promise<Scene> {
  const server = await startRedis(t, { args })
  const admin = new Redis(server.url)
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  return { server, admin }
}

async function snapshotOf (admin: Redis) {
  const [[, dir], [, name]] = [await admin.config('GET', 'dir'), await admin.config('GET', 'dbfilename')] as [[string, string], [string, string]]
  return join(dir, name)
}

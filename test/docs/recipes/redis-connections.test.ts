import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Valkey } from 'iovalkey'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { answerOf, bearer, REVOKED } from '../../support/app.ts'
import { startProxy } from '../../support/proxy.ts'
import { eventually, startRedis } from '../../support/redis.ts'
import { recipe, type Edit, type Recipe } from '../../support/snippets.ts'

const UNAVAILABLE = { statusCode: 503, body: { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' } }

interface Line { msg: string, err?: { message: string } }

let sinks = 0

/** The application of a recipe, and what it logs. */
async function start (t: Test, redis: { url: string }, { edits = [], ...rest }: Recipe) {
  const lines: Line[] = []
  const sink = `sink${sinks++}`
  Object.assign(globalThis, { [sink]: { write: (line: string) => { lines.push(JSON.parse(line)) } } })
  const app = await recipe(t, redis, 'redis-connections.md', {
    ...rest, edits: [...edits, ["level: 'warn'", `level: 'warn', stream: Reflect.get(globalThis, '${sink}')`]]
  })
  const token = app.jwt.sign({ sub: 'alice', jti: 'a' })
  return {
    lost: () => lines.filter(({ msg }) => msg.startsWith('jwt revocation: the store is lost')),
    me: async () => answerOf(await app.inject({ url: '/me', headers: bearer(token) })),
    revoke: async () => answerOf(await app.inject({ method: 'DELETE', url: '/v1/jwt/history/a', headers: bearer(token) }))
  }
}

t.test('a connection that was forgotten on its way is left, by socketTimeout or by a client of the plugin, and otherwise is not', async (t) => {
  const server = await startRedis(t)
  const proxy = await startProxy(t, server)
  // Each of the answers that do not come takes so long.
  const storeTimeout = 500
  const given = await start(t, proxy, { storeTimeout, edits: [['5_000', '1_000']] })
  const own = await start(t, proxy, { storeTimeout, edits: [['{ redis })', `{ redis: '${proxy.url}' })`]] })
  const bare = await start(t, proxy, { storeTimeout, edits: [[/^ *socketTimeout: .*\n/m, '']] })
  const all = [given, own, bare]
  for (const { me } of all) await eventually('it answers', async () => (await me()).statusCode === 200)

  proxy.forget()
  for (const { me } of all) t.match(await me(), UNAVAILABLE)
  for (const { me } of [given, own]) await eventually('it has a new connection', async () => (await me()).statusCode === 200)
  t.match(await bare.me(), UNAVAILABLE)
  for (const { lost } of all) t.match(lost()[0], { msg: /the connection is open, and Redis does not answer/ })
})

/**
 * How many seconds the kernel waits before it probes the connection whose own end has this port; undefined where it does
 * not. Linux shows the timer of each socket, in hundredths.
 */
function probeIn (port: number): number | undefined {
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n')) {
    const [, local = '', , state, , timer = ''] = line.trim().split(/\s+/)
    if (state !== '01' || parseInt(local.slice(local.indexOf(':') + 1), 16) !== port) continue
    return timer.startsWith('02:') ? parseInt(timer.slice(3), 16) / 100 : undefined
  }
}

t.test('keepAlive has the kernel probe an idle connection after that time, as ioredis 6 does by default, and others do not', { skip: process.platform !== 'linux' }, async (t) => {
  const server = await startRedis(t)
  const probed = async (sink: string) => {
    const { stream } = Reflect.get(globalThis, sink) as Redis
    return probeIn((stream as { localPort?: number }).localPort!)
  }
  const given = (to: string): Edit => ["redis.on('error'", `Reflect.set(globalThis, '${to}', redis)\nredis.on('error'`]
  const recipe = await start(t, server, { edits: [given('probed')] })
  t.equal((await recipe.me()).statusCode, 200)
  await eventually('it is idle', async () => (await probed('probed') ?? 0) > 1)
  t.ok(await probed('probed') as number <= 30)
  const shorter = await start(t, server, { edits: [given('shorter'), ['30_000', '10_000']] })
  t.equal((await shorter.me()).statusCode, 200)
  await eventually('it is idle', async () => (await probed('shorter') ?? 0) > 1)
  t.ok(await probed('shorter') as number <= 10)

  const SYSTEM = Number(readFileSync('/proc/sys/net/ipv4/tcp_keepalive_time', 'latin1'))
  const { url } = server
  for (const [name, client, isSet] of [['ioredis 6', new Redis(url), true], ['ioredis 5', new Redis5(url), false], ['iovalkey', new Valkey(url), false]] as const) {
    t.teardown(() => client.disconnect())
    await client.ping()
    const port = (client as unknown as { stream: { localPort: number } }).stream.localPort
    await eventually('it is idle', async () => (probeIn(port) ?? 0) > 1)
    const seconds = probeIn(port)!
    t.ok(isSet ? seconds <= 30 : seconds > Math.min(30, SYSTEM - 1) && seconds <= SYSTEM, `${name}: ${seconds} of ${SYSTEM}`)
  }
})

t.test('a Redis that has renamed INFO serves a client that does not ask for it', async (t) => {
  const server = await startRedis(t, { args: ['--rename-command', 'INFO', 'other-info'] })
  const at: Edit = ['port: 6379', `port: ${server.port}`]
  const { me, revoke } = await start(t, server, { name: 'hardened.ts', edits: [at] })
  t.equal((await me()).statusCode, 200)
  t.match(await revoke(), { statusCode: 200, body: { status: 'revoked' } })
  t.strictSame(await me(), REVOKED)

  const asks = await start(t, server, { name: 'hardened.ts', edits: [at, [', enableReadyCheck: false }', ' }, storeTimeout: 5000']] })
  for (const answer of await Promise.all([asks.me(), asks.revoke()])) t.match(answer, UNAVAILABLE)
  t.match(asks.lost(), [{ err: { message: /ERR unknown command 'info'/ }, msg: /it knows no command INFO, .* set enableReadyCheck: false in option "redis"/ }])
})

for (const { command, checks } of [{ command: 'EVAL', checks: true }, { command: 'MGET', checks: false }]) {
  t.test(`a Redis that has renamed ${command} takes no revocation, and the log says which command`, async (t) => {
    const server = await startRedis(t, { args: ['--rename-command', command, `other-${command}`] })
    const { me, revoke, lost } = await start(t, server, { name: 'hardened.ts', edits: [['port: 6379', `port: ${server.port}`]] })
    t.match(await revoke(), UNAVAILABLE)
    t.match(await me(), checks ? { statusCode: 200 } : UNAVAILABLE)
    t.match(lost(), [{ err: { message: new RegExp(`ERR unknown command '${command.toLowerCase()}'`) }, msg: new RegExp(`it knows no command ${command}, which may be renamed: give it back its name`) }])
  })
}

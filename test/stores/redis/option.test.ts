import { GlideClient } from '@valkey/valkey-glide'
import { Redis as Upstash } from '@upstash/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Valkey } from 'iovalkey'
import fastifyJwt from '@fastify/jwt'
import fastifyRedis from '@fastify/redis'
import Fastify from 'fastify'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { createClient, createClientPool, createCluster, createSentinel } from 'redis'
import t from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../../lib/index.ts'
import { buildApp, inSeconds, ownPrefix } from '../../support/app.ts'
import { bareEnv, program } from '../../support/child.ts'
import { eventually, startRedis } from '../../support/redis.ts'
import { settingsOf } from '../../support/settings.ts'

const PASSWORD = 'hunter2'
const URL_OF_NONE = `redis://:${PASSWORD}@127.0.0.1:1`

const bad = (sentence: string) => ({ code: 'FST_JWT_REVOCATION_BAD_OPTION', statusCode: 500, message: `fastify-jwt-revocation: option "redis" ${sentence}` })

function refusal (redis: unknown) {
  try {
    settingsOf({ redis } as RevocationOptions)
  } catch (error) {
    const { code, statusCode, message } = error as { code: string, statusCode: number, message: string }
    return { code, statusCode, message }
  }
  return 'none'
}

const closable = <T extends { disconnect (): void, on (event: 'error', listener: () => void): unknown }> (client: T): T => {
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

const GIVE_URL = 'give the URL itself as option "redis"'
const GIVE_CLUSTER = 'a cluster needs a client: give option "redis" new Cluster(nodes) of ioredis'
const SIDE_BY_SIDE = 'ioredis takes host, port, path, username, password, db and tls side by side'
const OTHER = 'give it a client of ioredis or iovalkey, or a URL, and keep that one for yourself'

t.test('an option that is there and undefined stops the start: memory in its place would lose what was meant to be kept', async (t) => {
  const expected = bad("is there and undefined (is a variable of the environment not set?); set it to a URL such as redis://host:6379, or to 'memory' to keep revocations in this process alone")
  t.strictSame(refusal(undefined), expected)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: 'a secret of a test' })
  // As JavaScript gives it.
  const options: object = { redis: process.env.FASTIFY_JWT_REVOCATION_UNSET }
  await t.rejects(async () => app.register(revocationPlugin, options), expected)
  t.strictSame(refusal(''), bad("is an empty string (is a variable of the environment empty?): set it to a URL, or to 'memory' to mean that"))
})

t.test("'memory' means that, also where @fastify/redis is registered", async (t) => {
  const server = await startRedis(t)
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { before: (app) => app.register(fastifyRedis, { url: server.url }), revocation: { redis: 'memory', keyPrefix } })
  await app.revocation.revoke({ jti: 'a', exp: inSeconds(60) })
  t.match(app.revocation.status(), { store: 'memory', available: true })
  t.strictSame(await server.keys(`${keyPrefix}*`), [])
})

t.test('a URL of any of the four schemes leads where it says', async (t) => {
  const rows: Array<[url: string, meant: string]> = [
    ['redis://h', 'redis://h'],
    ['rediss://u:p%23@h:6380/2', 'rediss://u:p%23@h:6380/2'],
    ['valkey://h:1', 'redis://h:1'],
    ['valkeys://u:p@[::1]:1/15?family=6', 'rediss://u:p@[::1]:1/15?family=6'],
    ['VALKEYS://h/', 'rediss://h/'],
    ['REDISS://h', 'rediss://h'],
    ['redis://h?connectionName=valkey://', 'redis://h?connectionName=valkey://']
  ]
  for (const [url, meant] of rows) t.equal(settingsOf({ redis: url }).redis, meant, url)

  const server = await startRedis(t, { args: ['--requirepass', PASSWORD] })
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: `valkey://:${PASSWORD}@${server.host}:${server.port}`, keyPrefix, storeTimeout: 5000 } })
  await app.revocation.revoke({ jti: 'a', exp: inSeconds(60) })
  t.strictSame(await server.keys(`${keyPrefix}revoked:*`), [`${keyPrefix}revoked:a`])
})

t.test('a URL that would lead elsewhere stops the start', async (t) => {
  const more = bad("is a URL with more than a number after its host: only the database goes there, and a password has '#', '/' and '?' percent-encoded")
  const unknown = (name: string, cure: string) => bad(`has a property "${name}", which ioredis does not know and would ignore: ${cure}`)
  const encoded = bad("is a URL whose username or password is not percent-encoded: '%' is written %25 there")
  const asText = (name: string) => bad(`is a URL with ${name} behind a '?', where ioredis takes it for text or not at all: give ioredis options in place of the URL`)
  for (const [url, expected] of [
    [`redis://user:12#${PASSWORD}@h:6380`, more],
    [`redis://user:12/${PASSWORD}@h:6380`, more],
    ['redis://h/name', more],
    ['redis://h/1/2', more],
    ['redis:///2', bad('is a URL without a host')],
    ['redis://', bad('is a URL without a host')],
    ['redis://h?ssl=true', unknown('ssl', 'ioredis calls it tls, an object')],
    ['redis://h?database=2', unknown('database', 'ioredis calls it db')],
    ['redis://h?db=x', bad('has a db that must be a whole number from 0; got a string')],
    ['redis://h?family=x', bad('has a family that must be 0, 4 or 6; got NaN')],
    [`redis://:${PASSWORD}%zz@h`, encoded],
    [`redis://${PASSWORD}%zz:p@h`, encoded],
    [`valkeys://:${PASSWORD}%e0@h`, encoded],
    ...['Connector', 'connectTimeout', 'enableReadyCheck', 'path', 'replyMapping', 'sentinels', 'tls'].map((name) => [`redis://h?${name}=${PASSWORD}`, asText(name)] as const),
    [`redis://user:12?${PASSWORD}@h:6380`, bad("is a URL with a '?' and what ioredis does not know behind it: correct its name, and a password has '?' percent-encoded")],
    [`redis://user:12?${PASSWORD}&x@h:6380`, bad("is a URL with a '?' and what ioredis does not know behind it: correct its name, and a password has '?' percent-encoded")]
  ] as const) t.strictSame(refusal(url), expected, url)
})

t.test('an option that ioredis does not know stops the start, by its name and with the cure', async (t) => {
  const rows: Record<string, [value: unknown, cure: string]> = {
    url: [URL_OF_NONE, GIVE_URL],
    uri: [URL_OF_NONE, GIVE_URL],
    connectionString: [URL_OF_NONE, GIVE_URL],
    socket: [{ host: 'prod', port: 6380 }, SIDE_BY_SIDE],
    hosts: [['prod'], GIVE_CLUSTER],
    nodes: [[{ host: 'prod' }], GIVE_CLUSTER],
    cluster: [true, GIVE_CLUSTER],
    rootNodes: [[], GIVE_CLUSTER],
    addresses: [[{ host: 'prod' }], GIVE_CLUSTER],
    client: [{}, 'give the client itself as option "redis"'],
    token: [PASSWORD, 'the REST interface of Upstash will not do: give its redis:// URL'],
    hostname: ['prod', 'ioredis calls it host'],
    database: [2, 'ioredis calls it db'],
    pass: [PASSWORD, 'ioredis calls it password'],
    prot: [6380, 'correct its name, or leave it out']
  }
  for (const [name, [value, cure]] of Object.entries(rows)) {
    const expected = bad(`has a property "${name}", which ioredis does not know and would ignore: ${cure}`)
    t.strictSame(refusal({ host: 'h', password: PASSWORD, [name]: value }), expected, name)
    t.strictSame(refusal({ [name]: undefined }), expected, `${name}, undefined`)
  }
  const inherited = JSON.parse('{ "constructor": 1 }')
  t.strictSame(refusal(inherited), bad('has a property "constructor", which ioredis does not know and would ignore: correct its name, or leave it out'))
  t.strictSame(refusal({ [`redis://:${PASSWORD}@h`]: 1 }), bad('has a property of another name, which ioredis does not know and would ignore: correct its name, or leave it out'))
})

t.test('options that would lead to localhost, or nowhere, stop the start', async (t) => {
  const empty = (name: string) => bad(`has a ${name} that is empty (is a variable of the environment not set?): without one ioredis connects to localhost`)
  const wrong = (name: string, wanted: string, got: string) => bad(`has a ${name} that must be ${wanted}; got ${got}`)
  const port = (got: string) => wrong('port', 'a whole number up to 65535', got)
  const rows: Array<[value: object, expected: unknown]> = [
    [{ path: URL_OF_NONE }, bad(`has a URL as its path: ${GIVE_URL}`)],
    [{ host: URL_OF_NONE }, bad(`has a URL as its host: ${GIVE_URL}`)],
    [{ host: `:${PASSWORD}@h` }, bad(`has a URL as its host: ${GIVE_URL}`)],
    [{ host: { host: 'h' } }, wrong('host', 'a string', 'an object')],
    [{ path: 1 }, wrong('path', 'a string', 'a number')],
    ...([[NaN, 'NaN'], ['abc', 'a string'], [-1, 'a negative number'], [1.5, 'a number'], ['', 'a string'], [[2], 'an array']] as const)
      .map(([db, got]): [object, unknown] => [{ host: 'h', db }, wrong('db', 'a whole number from 0', got)]),
    [{ sentinels: [{ host: 'h' }] }, bad('has sentinels, and no name of the master that they watch: give it as name')],
    [{ host: undefined, port: 6380 }, empty('host')],
    [{ host: '' }, empty('host')],
    [{ host: null }, empty('host')],
    [{ path: undefined, password: PASSWORD }, empty('path')],
    [{ sentinels: undefined, name: 'm' }, empty('sentinels')],
    [{ host: 'h', port: 'x' }, port('a string')],
    [{ host: 'h', port: NaN }, port('NaN')],
    [{ host: 'h', port: 65536 }, port('a number')],
    [{ host: 'h', port: 1.5 }, port('a number')],
    [{ host: 'h', port: null }, port('null')]
  ]
  for (const [value, expected] of rows) t.strictSame(refusal(value), expected, JSON.stringify(value))
  for (const fine of [
    {}, { port: 6380 }, { host: 'h', port: '6380' }, { host: 'h', port: undefined, path: undefined, sentinels: undefined, tls: undefined, password: undefined },
    { host: undefined, path: '/run/redis.sock' }, { host: undefined, sentinels: [{ host: 'h' }], name: 'm' }, { host: '::1', family: 6 }
  ]) t.equal(refusal(fine), 'none', JSON.stringify(fine))
  t.equal(refusal(runInNewContext('({ host: "h" })')), 'none', 'options of another realm, as test frameworks have them')
})

t.test('an option of ioredis of the wrong type stops the start, by its name, with what it must be and what it got', async (t) => {
  const flag = 'true or false'
  const number = 'a number, 0 or more'
  const sentinels = 'an array of at least one { host, port }'
  const rows: Array<[name: string, value: unknown, wanted: string, got: string]> = [
    ['Connector', 'x', 'a class', 'a string'],
    ['autoPipeliningIgnoredCommands', null, 'an array of strings', 'null'],
    ['autoPipeliningIgnoredCommands', [1], 'an array of strings', 'an array'],
    ['connectTimeout', '1000', number, 'a string'],
    ['connectTimeout', -1, number, 'a negative number'],
    ['connectTimeout', Infinity, number, 'Infinity'],
    ['commandTimeout', NaN, number, 'NaN'],
    ['socketTimeout', null, number, 'null'],
    ['keepAlive', true, number, 'true'],
    ['enableReadyCheck', 'false', flag, 'a string'],
    ['family', '6', '0, 4 or 6', 'a string'],
    ['himportFieldsets', null, 'an array', 'null'],
    ['natMap', 'x', 'an object or a function', 'a string'],
    ['preferredSlaves', 'x', 'an object, an array or a function', 'a string'],
    ['protocol', '3', '2 or 3', 'a string'],
    ['retryStrategy', false, 'a function', 'false'],
    ['scripts', 'x', 'an object of scripts, each { lua }', 'a string'],
    ['scripts', { a: null }, 'an object of scripts, each { lua }', 'an object'],
    ['sentinels', PASSWORD, sentinels, 'a string'],
    ['sentinels', [], sentinels, 'an array'],
    ['sentinels', [null], sentinels, 'an array'],
    ['sentinels', [{ host: undefined }], sentinels, 'an array'],
    ['sentinels', [{ host: '' }], sentinels, 'an array'],
    ['sentinels', [{ host: 'h', port: 'x' }], sentinels, 'an array'],
    ['password', [PASSWORD], 'a string', 'an array'],
    ['username', Symbol(PASSWORD), 'a string', 'a symbol'],
    ['tls', () => {}, 'an object of TLS options', 'a function']
  ]
  for (const [name, value, wanted, got] of rows) {
    t.strictSame(refusal({ host: 'h', name: 'm', [name]: value }), bad(`has a ${name} that must be ${wanted}; got ${got}`), `${name} ${got}`)
  }
  for (const fine of [
    { Connector: class {}, scripts: { a: { lua: 'return 1' } }, natMap: {}, preferredSlaves: [], tls: true, sentinelTLS: { ca: '' }, protocol: 2, family: 'IPv6' },
    { natMap: () => null, preferredSlaves: () => null, tls: 'RedisCloudFixed', keepAlive: 0, enableReadyCheck: false, autoPipeliningIgnoredCommands: ['get'], himportFieldsets: [] },
    { sentinels: [{ host: 'h' }, { host: '::1', port: 26379, family: 6 }], name: 'm', password: '', maxRetriesPerRequest: null, retryStrategy: null, tls: null }
  ]) t.equal(refusal(fine), 'none', Object.keys(fine).join())
})

t.test('whatever is given as an option of ioredis, a client is made or the start stops with a sentence', async (t) => {
  const values = [null, undefined, 'x', '1000', '', 7, -1, 1.5, NaN, Infinity, true, false, {}, { a: null }, [], [null], [{}], [''], () => {}, Symbol('x'), 1n]
  const refused: string[] = []
  for (const name of Object.keys(new Redis({ lazyConnect: true }).options).concat('Connector', 'scripts', 'sentinels', 'himportFieldsets', 'name', 'path', 'tls')) {
    for (const value of values) {
      const options = { [name]: value }
      const { message } = refusal(options) as { message?: string }
      if (message === undefined) {
        // Of these the constructor says more: see the next test.
        if (!['Connector', 'himportFieldsets'].includes(name)) t.ok(new Redis({ ...options, lazyConnect: true }), `${name} ${String(value)}`)
      } else {
        refused.push(name)
        if (!message.startsWith('fastify-jwt-revocation: option "redis" has ')) t.fail(message)
      }
    }
  }
  t.ok(refused.length > 400)
})

t.test('what the constructor of ioredis throws stops the start as one of ours, with it as the cause', async (t) => {
  class Connector {
    constructor () { throw new Error('of the application') }
  }
  const expected = bad('must be what ioredis can make a client of; the cause says why it can not')
  for (const [redis, cause] of [
    [{ Connector }, { message: 'of the application' }],
    [{ himportFieldsets: [null] }, { message: 'Each HIMPORT fieldset must be an object' }]
  ] as const) await t.rejects(buildApp(t, { revocation: { redis: redis as never } }), { ...expected, cause })
})

t.test('a client of another library stops the start, by its name and with what to do', async (t) => {
  const options = { addresses: [{ host: '127.0.0.1', port: 1 }], requestTimeout: 100, lazyConnect: true }
  const glide = await GlideClient.createClient(options)
  t.teardown(() => glide.close())
  const upstash = { url: 'https://none.upstash.io', token: PASSWORD }
  const sentinel = { name: 'm', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }
  const nodeRedis = bad(`is a client of node-redis (package "redis"): ${OTHER}`)
  const noConnection = bad('is a client of @upstash/redis, which has no connection: give it the redis:// URL of that database')
  const rows: Array<[name: string, client: unknown, expected: unknown]> = [
    ['node-redis', createClient({ url: URL_OF_NONE }), nodeRedis],
    ['a cluster of node-redis', createCluster({ rootNodes: [{ url: URL_OF_NONE }] }), nodeRedis],
    ['a pool of node-redis', createClientPool({ url: URL_OF_NONE }), nodeRedis],
    ['a Sentinel of node-redis', createSentinel(sentinel), nodeRedis],
    ['node-redis 3, as it was', { send_command () {}, internal_send_command () {} }, bad(`is a client of node-redis 3 (package "redis"): ${OTHER}`)],
    ['GLIDE', glide, bad(`is a client of Valkey GLIDE: ${OTHER}`)],
    ['Upstash', new Upstash(upstash), noConnection],
    ['Upstash without pipelining', new Upstash({ ...upstash, enableAutoPipelining: false }), noConnection],
    ['a promise', Promise.resolve(createClient()), bad('is a promise: await it first')],
    ['a class', Redis, bad('is a function or a class: give it a client, such as new Redis(url) of ioredis')],
    ['a factory', () => new Redis(), bad('is a function or a class: give it a client, such as new Redis(url) of ioredis')],
    ['a URL object', new URL(URL_OF_NONE), bad('is a URL object: give it its href')],
    ['an array', [{ host: 'h' }], bad(`is an array: ${GIVE_CLUSTER}`)]
  ]
  for (const [name, client, expected] of rows) t.strictSame(refusal(client), expected, name)
})

t.test('a client of ioredis or iovalkey is the very one, unless it was closed', async (t) => {
  const nodes = [{ host: '127.0.0.1', port: 1 }]
  const lazy = { lazyConnect: true }
  const closed = bad('is a client that was closed: give it one that is open, and close it after the application')
  for (const client of [closable(new Redis(lazy)), closable(new Redis5(lazy)), closable(new Valkey(lazy)), closable(new Cluster(nodes, lazy))]) {
    t.equal(settingsOf({ redis: client }).redis, client)
    client.disconnect()
    await eventually('it is closed', async () => client.status === 'end')
    t.strictSame(refusal(client), closed)
    await t.rejects(buildApp(t, { before: (app) => { app.decorate('redis', client as never) } }), closed, 'as app.redis')
  }
})

t.test('the memory store warns where there is no logger: once in a process, with a code', async (t) => {
  const warned = '[FST_JWT_REVOCATION_MEMORY] FastifyWarning: fastify-jwt-revocation: revocations are kept in this process only and are lost with it; set option "redis" to share and keep them'
  const run = (logger: string) => new Promise<string>((resolve) => {
    const [file, args] = program(join(import.meta.dirname, '..', '..', 'support', 'in-memory.ts'))
    execFile(file, [...args, logger], { env: bareEnv() }, (_error, stdout, stderr) => { resolve(stdout + stderr) })
  })
  const occurrences = async (logger: string) => (await run(logger)).split(warned).length - 1
  t.equal(await occurrences('none'), 1)
  t.equal(await occurrences('silent'), 0, 'whoever silences the logger has heard')
  const logged = await run('pino')
  t.notMatch(logged, warned)
  t.equal(logged.split('jwt revocation: revocations are kept in this process only').length - 1, 2, 'a line for each application')
})

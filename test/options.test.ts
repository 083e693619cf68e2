import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fastifyRedis from '@fastify/redis'
import Fastify, { type FastifyInstance, type RegisterOptions } from 'fastify'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
import { generateKeyPairSync } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { revocationPlugin, type RevocationOptions } from '../lib/index.ts'
import { bearer, buildApp, inSeconds, ownPrefix, SECRET, signed, type BuildOptions } from './support/app.ts'
import { eventually, startRedis } from './support/redis.ts'
import { settingsOf } from './support/settings.ts'

const NAMES = 'jwt, redis, mode, enforce, keyPrefix, claims, revocableBy, maxTokenLifetime, tokensWithoutJti, onStoreFailure, storeTimeout, maxStaleness, minReplicas, authorize, skip, routes, recordOnUse, backchannelLogout, refresh, namespace, jwtVerify'
const PASSWORD = 'hunter2'

const client = { isCluster: false, call: async () => [null], pipeline: () => ({ exec: async () => [] }) }
const authorize = () => true
const skip = () => true

const bad = (sentence: string) => ({ code: 'FST_JWT_REVOCATION_BAD_OPTION', statusCode: 500, message: `fastify-jwt-revocation: ${sentence}` })

async function refusal (act: () => unknown) {
  try {
    await act()
  } catch (error) {
    const { code, statusCode, message } = error as { code: string, statusCode: number, message: string }
    return { code, statusCode, message }
  }
  return 'none'
}

/** As an application without types gives them. */
const resolve = (options: unknown) => settingsOf(options as RevocationOptions)

t.test('every option has its default, and one that is undefined counts as absent, but for redis', async (t) => {
  const { authorize, ...defaults } = settingsOf({})
  t.strictSame(defaults, {
    redis: undefined,
    mode: 'strict',
    enforce: 'presented',
    keyPrefix: 'jwt:',
    claims: { jti: 'jti', sub: 'sub' },
    revocableBy: [],
    maxTokenLifetime: 30 * 24 * 3600,
    tokensWithoutJti: 'reject',
    onStoreFailure: 'reject',
    storeTimeout: 500,
    maxStaleness: 5000,
    minReplicas: 0,
    skip: undefined,
    routes: { prefix: '/v1/jwt/history' },
    namespaces: [undefined],
    recordOnUse: false,
    backchannelLogout: undefined,
    sidless: false,
    refresh: undefined,
    jwt: undefined,
    jwtVerify: undefined
  })
  t.equal(await (authorize as () => unknown)(), false, 'authorize lets nobody')
  const absent = Object.fromEntries(NAMES.split(', ').filter((name) => name !== 'redis').map((name) => [name, undefined]))
  t.strictSame({ ...resolve(absent), authorize }, { ...defaults, authorize })
})

t.test('an option takes each value it is meant to take', async (t) => {
  const rows: Array<[name: string, value: unknown, resolved?: unknown, as?: string]> = [
    ['redis', 'redis://127.0.0.1:6379'],
    ['redis', 'redis://user:p%40ss@[::1]:6380/1?family=6'],
    ['redis', 'rediss://host'],
    ['redis', {}],
    ['redis', { host: 'h', port: 1, password: 'p', tls: {} }],
    ['redis', { sentinels: [{ host: 'h', port: 1 }], name: 'm' }],
    ['redis', client],
    ['recordOnUse', true], ['recordOnUse', false],
    ['mode', 'strict'],
    ['mode', 'replica'],
    ['enforce', 'presented'],
    ['enforce', 'verified'],
    ['keyPrefix', ''],
    ['keyPrefix', '{app}:%😀'],
    ['claims', {}, { jti: 'jti', sub: 'sub' }],
    ['claims', { jti: 'uti', sub: 'oid' }],
    ['claims', { sid: 'session_id' }, { jti: 'jti', sub: 'sub', sid: 'session_id' }],
    ['claims', { sub: '_id', sid: undefined }, { jti: 'jti', sub: '_id' }],
    ['claims', { jti: 'sub', sub: 'jti', sid: '!' }],
    ['revocableBy', []],
    ['revocableBy', ['tenant', 'https://claims.example/😀', 'a:b/c', 'A']],
    ['maxTokenLifetime', 1],
    ['maxTokenLifetime', 3600],
    ['maxTokenLifetime', 0.25, 1],
    ['maxTokenLifetime', 1e15],
    ['maxTokenLifetime', '12h', 12 * 3600],
    ['maxTokenLifetime', '12 hours', 12 * 3600],
    ['maxTokenLifetime', '90d', 90 * 24 * 3600],
    ['maxTokenLifetime', '1.5m', 90],
    ['maxTokenLifetime', '1500ms', 2],
    ['maxTokenLifetime', '1y', 365.25 * 24 * 3600],
    ['maxTokenLifetime', 'unbounded', null],
    ['refresh', {}, { expiresIn: 30 * 24 * 3600, grace: 10_000 }],
    ['refresh', { expiresIn: '12h', grace: '1500ms' }, { expiresIn: 12 * 3600, grace: 1500 }],
    ['refresh', { expiresIn: 0.5, grace: 0 }, { expiresIn: 1, grace: 0 }],
    ['refresh', { expiresIn: '30y', grace: 0.25 }, { expiresIn: 30 * 365.25 * 24 * 3600, grace: 250 }],
    ['refresh', { expiresIn: undefined, grace: undefined }, { expiresIn: 30 * 24 * 3600, grace: 10_000 }],
    ['tokensWithoutJti', 'reject'],
    ['tokensWithoutJti', 'accept'],
    ['onStoreFailure', 'reject'],
    ['onStoreFailure', 'accept'],
    ['storeTimeout', 1],
    ['storeTimeout', 2 ** 31 - 1],
    ['maxStaleness', 500],
    ['maxStaleness', 2 ** 31 - 1],
    ['authorize', authorize],
    ['authorize', async () => false],
    ['skip', skip],
    ['routes', false],
    ['routes', { prefix: '/' }],
    ['routes', { prefix: '/auth/tokens' }],
    ['routes', {}, { prefix: '/v1/jwt/history' }],
    ['routes', { prefix: undefined, security: undefined, hide: undefined }, { prefix: '/v1/jwt/history' }],
    ['routes', { security: [{ bearerAuth: [] }] }, { prefix: '/v1/jwt/history', security: [{ bearerAuth: [] }] }],
    ['routes', { prefix: '/a', security: [{ a: ['read', 'write'], b: [] }, {}] }],
    ['routes', { security: [] }, { prefix: '/v1/jwt/history', security: [] }],
    ['routes', { hide: true }, { prefix: '/v1/jwt/history', hide: true }],
    ['routes', { hide: false }, { prefix: '/v1/jwt/history' }],
    ['namespace', 'user', ['user'], 'namespaces'],
    ['namespace', ['user'], ['user'], 'namespaces'],
    ['namespace', ['user', 'admin'], ['user', 'admin'], 'namespaces'],
    ['jwtVerify', 'verifyUser']
  ]
  for (const [name, value, resolved = value, as = name] of rows) {
    t.strictSame(resolve({ [name]: value })[as as 'redis'], resolved, `${name} ${typeof value === 'string' ? value : ''}`)
  }
  const options: RevocationOptions = { redis: client }
  t.equal(settingsOf(options).redis, client, 'a client is the very one')
})

t.test('a claim that option claims names is none to list as well', async (t) => {
  const got = (claims: object, revocableBy: string[]) => refusal(() => resolve({ claims, revocableBy }))
  for (const claim of ['uti', 'oid', 'session_id']) {
    t.match(await got({ jti: 'uti', sub: 'oid', sid: 'session_id' }, ['tenant', claim]), {
      code: 'FST_JWT_REVOCATION_BAD_OPTION', statusCode: 500, message: new RegExp(`^fastify-jwt-revocation: option "revocableBy" must be .*; got \\[ 'tenant', '${claim}' \\]$`)
    })
  }
  t.equal(await got({ jti: 'uti' }, ['tenant', 'oid']), 'none')
})

t.test('options that need sessions look for them in sid, unless that is another name', async (t) => {
  for (const [name, value] of [['refresh', {}], ['backchannelLogout', []]] as const) {
    t.strictSame(settingsOf({ [name]: value }).claims, { jti: 'jti', sub: 'sub', sid: 'sid' })
    t.strictSame(settingsOf({ [name]: value, claims: { sid: 'session_id' } }).claims, { jti: 'jti', sub: 'sub', sid: 'session_id' })
    t.strictSame(await refusal(() => resolve({ [name]: value, claims: { sub: 'sid' } })),
      bad(`option "${name}" has sessions in the claim sid, which option "claims" gives to another name; set option "claims": { sid } to the claim that has them`))
  }
})

t.test('an option of the wrong shape is refused with what it must be and what it got', async (t) => {
  const redis = "a URL (redis, rediss, valkey or valkeys), ioredis options, an ioredis-shaped client (with call and pipeline), or 'memory'"
  const lifetime = "a positive number of seconds, a duration with a unit such as '12h', or 'unbounded'"
  const timeout = 'a whole number of milliseconds from 1 to 2147483647'
  const staleness = 'a whole number of milliseconds from 500 to 2147483647'
  const handler = 'a function (request, target) => boolean or Promise<boolean>'
  const routes = "false, or { prefix, security, hide } with a path that starts with '/', OpenAPI security requirements such as [{ bearerAuth: [] }], and true or false"
  const namespace = 'a namespace of @fastify/jwt, or an array of different ones'
  const decorator = 'the name of a request decorator'
  const refreshWanted = "{ expiresIn, grace }, each a number of seconds or a duration with a unit, such as { expiresIn: '30d', grace: '10s' }; expiresIn is at most '30y', and grace is shorter"
  const claims = '{ jti, sub, sid }, each the name of another claim, and none of iss, aud, exp, iat, nbf; without "sid" no claim counts as a session'
  const listed = "an array of at most 4 different claims, none of jti, sub, sid, iss, aud, exp, iat, nbf or of option \"claims\", and none that begins with '!'"
  const rows: Array<[name: string, wanted: string, value: unknown, got: string]> = [
    ...[
      null, 'sid', ['sid'], { iss: 'iss' }, { tenant: 'tenant' }, { sid: '' }, { sid: null }, { sid: 1 }, { sid: '\ud800' }, { jti: 'iss' }, { sub: 'aud' }, { sid: 'exp' },
      { sid: 'iat' }, { sid: 'nbf' }, { sid: 'sub' }, { jti: 'sub' }, { sub: 'a', sid: 'a' }, { sid: '__proto__' }, { sub: 'constructor' }, { jti: 'toString' }
    ].map((value): [string, string, unknown, string] => ['claims', claims, value, inspect(value)]),
    ...[
      null, 'tenant', {}, ['a', 'b', 'c', 'd', 'e'], ['a', 'a'], [''], [1], ['\ud800'], ['sid'], ['!sid'], ['!'], ['__proto__'], ['valueOf'],
      ...['jti', 'sub', 'iss', 'aud', 'exp', 'iat', 'nbf'].map((claim) => ['tenant', claim])
    ].map((value): [string, string, unknown, string] => ['revocableBy', listed, value, inspect(value)]),
    ['redis', redis, null, 'null'],
    ['redis', redis, 6379, '6379'],
    ['redis', redis, true, 'true'],
    ['redis', redis, '127.0.0.1:6379', 'another string'],
    ['redis', redis, 'redis://host:99999', 'another string'],
    ['redis', redis, 'http://host:6379', 'another string'],
    ['redis', redis, Object.create(null), 'another object'],
    ['redis', redis, new (class Other { sendCommand () {} })(), 'another object'],
    ['recordOnUse', 'true or false', 'yes', "'yes'"],
    ['mode', "'strict' or 'replica'", 'Strict', "'Strict'"],
    ['mode', "'strict' or 'replica'", '', "''"],
    ['mode', "'strict' or 'replica'", null, 'null'],
    ['enforce', "'presented' or 'verified'", 'always', "'always'"],
    ['enforce', "'presented' or 'verified'", false, 'false'],
    ['keyPrefix', 'a string', 1, '1'],
    ['keyPrefix', 'a string', null, 'null'],
    ['keyPrefix', 'a string', ['a'], "[ 'a' ]"],
    ['maxTokenLifetime', lifetime, 0, '0'],
    ['maxTokenLifetime', lifetime, -1, '-1'],
    ['maxTokenLifetime', lifetime, NaN, 'NaN'],
    ['maxTokenLifetime', lifetime, Infinity, 'Infinity'],
    ['maxTokenLifetime', lifetime, null, 'null'],
    ['maxTokenLifetime', lifetime, true, 'true'],
    ['maxTokenLifetime', lifetime, 5n, '5n'],
    ['maxTokenLifetime', lifetime, '', "''"],
    ['maxTokenLifetime', lifetime, '3600', "'3600'"],
    ['maxTokenLifetime', lifetime, '3600 ', "'3600 '"],
    ['maxTokenLifetime', lifetime, 'h', "'h'"],
    ['maxTokenLifetime', lifetime, '0h', "'0h'"],
    ['maxTokenLifetime', lifetime, '-12h', "'-12h'"],
    ['maxTokenLifetime', lifetime, '12 parsecs', "'12 parsecs'"],
    ['maxTokenLifetime', lifetime, 'Unbounded', "'Unbounded'"],
    ...[
      null, true, '30d', ['30d'], { expiresIn: 0 }, { expiresIn: '30' }, { expiresIn: 'unbounded' }, { expiresIn: '31y' }, { expiresIn: Infinity }, { expiresIn: null },
      { grace: -1 }, { grace: '10' }, { grace: '30d' }, { grace: NaN }, { grace: null }, { expiresIn: 5, grace: 5 }, { expiresIn: '1h', rotate: true }
    ].map((value): [string, string, unknown, string] => ['refresh', refreshWanted, value, inspect(value)]),
    ['tokensWithoutJti', "'reject' or 'accept'", 'ignore', "'ignore'"],
    ['tokensWithoutJti', "'reject' or 'accept'", true, 'true'],
    ['onStoreFailure', "'reject' or 'accept'", 'open', "'open'"],
    ['onStoreFailure', "'reject' or 'accept'", null, 'null'],
    ['storeTimeout', timeout, 0, '0'],
    ['storeTimeout', timeout, -1, '-1'],
    ['storeTimeout', timeout, 0.5, '0.5'],
    ['storeTimeout', timeout, 2 ** 31, '2147483648'],
    ['storeTimeout', timeout, NaN, 'NaN'],
    ['storeTimeout', timeout, Infinity, 'Infinity'],
    ['storeTimeout', timeout, '500', "'500'"],
    ['storeTimeout', timeout, '1s', "'1s'"],
    ['storeTimeout', timeout, null, 'null'],
    ['maxStaleness', staleness, 499, '499'],
    ['maxStaleness', staleness, 0, '0'],
    ['maxStaleness', staleness, -1, '-1'],
    ['maxStaleness', staleness, 500.5, '500.5'],
    ['maxStaleness', staleness, 2 ** 31, '2147483648'],
    ['maxStaleness', staleness, Infinity, 'Infinity'],
    ['maxStaleness', staleness, '5s', "'5s'"],
    ['maxStaleness', staleness, null, 'null'],
    ['authorize', handler, true, 'true'],
    ['authorize', handler, 'admin', "'admin'"],
    ['authorize', handler, null, 'null'],
    ['skip', 'a function (request) => boolean', true, 'true'],
    ['routes', routes, true, 'true'],
    ['routes', routes, null, 'null'],
    ['routes', routes, '/v1', "'/v1'"],
    ['routes', routes, [], '[]'],
    ['routes', routes, { hide: 1 }, '{ hide: 1 }'],
    ['routes', routes, { security: 'bearerAuth' }, "{ security: 'bearerAuth' }"],
    ['routes', routes, { security: ['bearerAuth'] }, "{ security: [ 'bearerAuth' ] }"],
    ['routes', routes, { security: [{ bearerAuth: 'read' }] }, '{ security: [ [Object] ] }'],
    ['routes', routes, { security: [{ bearerAuth: [1] }] }, '{ security: [ [Object] ] }'],
    ['routes', routes, { security: { bearerAuth: [] } }, '{ security: { bearerAuth: [] } }'],
    ['routes', routes, { prefix: '' }, "{ prefix: '' }"],
    ['routes', routes, { prefix: 'v1' }, "{ prefix: 'v1' }"],
    ['routes', routes, { prefix: 1 }, '{ prefix: 1 }'],
    ['routes', routes, { prefix: '/v1', suffix: 1 }, "{ prefix: '/v1', suffix: 1 }"],
    ['namespace', namespace, '', "''"],
    ['namespace', namespace, null, 'null'],
    ['namespace', namespace, 1, '1'],
    ['namespace', namespace, [], '[]'],
    ['namespace', namespace, ['user', ''], "[ 'user', '' ]"],
    ['namespace', namespace, ['user', 'user'], "[ 'user', 'user' ]"],
    ['namespace', namespace, ['user', undefined], "[ 'user', undefined ]"],
    ['jwtVerify', decorator, '', "''"],
    ['jwtVerify', decorator, 1, '1'],
    ['jwtVerify', decorator, authorize, '[Function: authorize]'],
    ['mode', "'strict' or 'replica'", 'a'.repeat(70), `'${'a'.repeat(60)}'... 10 more characters`],
    ['mode', "'strict' or 'replica'", { a: { b: { c: 1 } } }, '{ a: { b: [Object] } }']
  ]
  for (const [name, wanted, value, got] of rows) {
    const expected = bad(`option "${name}" must be ${wanted}; got ${got}`)
    t.strictSame(await refusal(() => resolve({ [name]: value })), expected, `${name} ${got}`)
  }
})

t.test('a jwtVerify and several namespaces are refused together', async (t) => {
  const expected = bad('option "jwtVerify" names one decorator and can not go with several namespaces; register the plugin once for each, in scopes of their own')
  t.strictSame(await refusal(() => resolve({ namespace: ['user', 'admin'], jwtVerify: 'verify' })), expected)
  t.match(settingsOf({ namespace: ['user'], jwtVerify: 'verify' }), { namespaces: ['user'], jwtVerify: 'verify' })
})

t.test('an unknown option is refused, also one that every object inherits', async (t) => {
  for (const name of ['redi', 'Redis', 'constructor', 'toString', '__proto__', '']) {
    const expected = bad(`unknown option "${name}"; the options are ${NAMES}`)
    t.strictSame(await refusal(() => resolve(JSON.parse(`{ "redis": "redis://h", ${JSON.stringify(name)}: 1 }`))), expected, name)
  }
})

t.test('the options that Fastify takes for any plugin pass, to the routes as well, but for a prefix', async (t) => {
  t.strictSame(resolve({ logLevel: 'warn', logSerializers: {} }).routes, { prefix: '/v1/jwt/history' })
  for (const prefix of ['/v1', '']) {
    const expected = bad('option "prefix" of register moves no routes of this plugin; set option "routes": { prefix } instead')
    t.strictSame(await refusal(() => resolve({ prefix })), expected)
    t.strictSame(await refusal(() => buildApp(t, { revocation: { prefix } as RevocationOptions })), expected)
  }
  t.strictSame(resolve({ prefix: undefined }).routes, { prefix: '/v1/jwt/history' })

  const linesOf = async (options: RegisterOptions) => {
    const lines: Array<{ msg: string, req?: unknown }> = []
    const logger = { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
    const app = await buildApp(t, { fastify: { logger }, revocation: options as RevocationOptions })
    for (const url of ['/v1/jwt/history', '/public']) await app.inject(url)
    return lines.filter(({ msg }) => msg === 'incoming request').map(({ req }) => typeof req === 'string' ? req : 'request')
  }
  t.strictSame(await linesOf({}), ['request', 'request'])
  t.strictSame(await linesOf({ logLevel: 'error' }), ['request'], 'the routes of the application go on')
  t.strictSame(await linesOf({ logSerializers: { req: () => 'ours' } }), ['ours', 'request'])
})

t.test('no message tells a password', async (t) => {
  const holders: unknown[] = [
    PASSWORD, `http://:${PASSWORD}@host`, `redis://:${PASSWORD}@host:99999`, `redis:/:${PASSWORD}`, `:${PASSWORD}@host`, ` redis://:${PASSWORD}@h`,
    new URL(`redis://:${PASSWORD}@host`), [{ password: PASSWORD }], [`redis://:${PASSWORD}@host`], new Map([['password', PASSWORD]]),
    Object.assign(Object.create(null), { password: PASSWORD }), new (class Client { password = PASSWORD })(),
    Object.assign(new (class Client { call () {} })(), { options: { password: PASSWORD } }),
    Object.assign(() => {}, { options: { password: PASSWORD } }), Object.assign(class {}, { password: PASSWORD }),
    Buffer.from(PASSWORD), Object(PASSWORD), new Error(PASSWORD), Promise.resolve(PASSWORD), new Proxy(Object.create(null), {})
  ]
  for (const [i, redis] of holders.entries()) {
    const refused = await refusal(() => resolve({ redis }))
    t.match(refused, bad('option "redis" '), `holder ${i} is refused`)
    t.notMatch(refused, { message: PASSWORD }, `holder ${i} says nothing`)
  }
  t.notMatch(await refusal(() => resolve({ pasword: PASSWORD, redis: `redis://:${PASSWORD}@host` })), { message: PASSWORD })
})

function frozen<T> (value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen)
  return value
}

t.test('the options of the caller stay as they are, frozen or not', async (t) => {
  const { port } = await startRedis(t)
  const make = () => ({
    redis: { host: '127.0.0.1', port, tls: undefined, retryStrategy: () => 100, sentinels: undefined, reconnectOnError: null },
    mode: 'strict',
    enforce: 'verified',
    keyPrefix: ownPrefix(),
    claims: { jti: 'jti', sub: 'sub', sid: 'sid' },
    revocableBy: ['tenant'],
    maxTokenLifetime: '1h',
    tokensWithoutJti: 'accept',
    onStoreFailure: 'accept',
    storeTimeout: 2000,
    maxStaleness: 3000,
    minReplicas: 0,
    authorize,
    routes: { prefix: '/tokens' },
    namespace: ['user', 'admin'],
    jwtVerify: undefined
  } as unknown as RevocationOptions)
  const given = frozen(make())
  const app = await buildApp(t, {
    revocation: given,
    jwt: { namespace: 'user' },
    before: (app) => app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' }, namespace: 'admin' })
  })
  t.match(app.revocation.status(), { mode: 'strict', store: 'redis', available: true })

  const loose = make()
  const { authorize: _, ...before } = structuredClone({ ...loose, redis: undefined, authorize: undefined })
  const redis = { ...loose.redis as object }
  await buildApp(t, { revocation: loose, jwt: { namespace: 'user' }, before: (app) => app.register(fastifyJwt, { secret: SECRET, namespace: 'admin' }) })
  const { authorize: __, ...after } = { ...loose, redis: undefined }
  t.strictSame(after, before)
  t.strictSame(loose.redis, redis)
})

t.test('a bad option stops the start', async (t) => {
  const rows: Array<[options: unknown, sentence: string]> = [
    [{ storeTimeout: '1s' }, "option \"storeTimeout\" must be a whole number of milliseconds from 1 to 2147483647; got '1s'"],
    [{ redis: `http://:${PASSWORD}@h` }, 'option "redis" must be a URL (redis, rediss, valkey or valkeys), ioredis options, an ioredis-shaped client (with call and pipeline), or \'memory\'; got another string'],
    [{ maxTokenLifetime: null }, "option \"maxTokenLifetime\" must be a positive number of seconds, a duration with a unit such as '12h', or 'unbounded'; got null"],
    [{ ttl: 5 }, `unknown option "ttl"; the options are ${NAMES}`]
  ]
  for (const [revocation, sentence] of rows) {
    t.strictSame(await startError(t, { revocation: revocation as RevocationOptions }), bad(sentence), sentence)
  }
})

type Scope = Parameters<typeof buildApp>[0]

const startError = (t: Scope, options: BuildOptions) => refusal(() => buildApp(t, options))

t.test('a missing @fastify/jwt stops the start', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  t.strictSame(await refusal(() => app.register(revocationPlugin)),
    bad('@fastify/jwt is missing; set option "jwt" to its options, or register it first'))
})

t.test('a second registration on one scope, or below it, stops the start', async (t) => {
  const twice = bad('the plugin is registered twice on one scope; register it once, with an array as option "namespace" to guard several')
  t.strictSame(await startError(t, { after: (app) => app.register(revocationPlugin) }), twice)
  t.strictSame(await startError(t, {
    jwt: { namespace: 'user' },
    before: (app) => app.register(fastifyJwt, { secret: SECRET, namespace: 'admin' }),
    revocation: { namespace: 'user' },
    after: (app) => app.register(revocationPlugin, { namespace: 'admin' })
  }), twice, 'for another namespace')
  const below = bad('"jwtVerify" is guarded already: the plugin is registered twice on one scope; register it once')
  t.strictSame(await startError(t, {
    after: (app) => { app.register(async (scope) => { await scope.register(revocationPlugin, { routes: false }) }) }
  }), below)
})

t.test('a namespace that is missing, unknown or not there yet stops the start', async (t) => {
  const missing = (names: string) => bad(`@fastify/jwt was registered with a namespace; set option "namespace" to it (there is ${names})`)
  const unknown = (name: string) => bad(`@fastify/jwt has no namespace "${name}"; register it with that one first, or set option "namespace" to one it has`)
  t.strictSame(await startError(t, { jwt: { namespace: 'user' } }), missing('user'))
  t.strictSame(await startError(t, {
    jwt: { namespace: 'user' },
    before: (app) => app.register(fastifyJwt, { secret: SECRET, namespace: 'admin' })
  }), missing('user, admin'))
  t.strictSame(await startError(t, { jwt: { namespace: 'user' }, revocation: { namespace: 'admin' } }), unknown('admin'))
  t.strictSame(await startError(t, { jwt: { namespace: 'user' }, revocation: { namespace: ['user', 'admin'] } }), unknown('admin'), 'one of two')
  for (const namespace of ['user', 'sign', 'options', 'constructor', '__proto__']) {
    t.strictSame(await startError(t, { revocation: { namespace } }), unknown(namespace), `${namespace}, where there is none`)
  }
})

t.test('a verify decorator of another name stops the start unless it is told', async (t) => {
  const unknown = (name: string) => bad(`@fastify/jwt has no request decorator "${name}"; set option "jwtVerify" to the name it was registered with`)
  t.strictSame(await startError(t, { revocation: { jwtVerify: 'verifyUser' } }), unknown('verifyUser'))
  const jwt = { namespace: 'user', jwtVerify: 'verifyUser' }
  t.strictSame(await startError(t, { jwt, revocation: { namespace: 'user' } }), unknown('userJwtVerify'))
  await buildApp(t, { jwt, revocation: { namespace: 'user', jwtVerify: 'verifyUser' } })
})

t.test('an @fastify/redis with a namespace stops the start unless the client is told', async (t) => {
  const before = (app: FastifyInstance) => app.register(fastifyRedis, { client: { ...client, status: 'ready' } as never, namespace: 'cache' })
  t.strictSame(await startError(t, { before }),
    bad('app.redis is no client (was @fastify/redis registered with a namespace?); set option "redis" to the client to use'))
  const app = await buildApp(t, { before, revocation: { redis: client } })
  t.equal(app.revocation.status().store, 'redis')
})

t.test('P1 a client that reads from replicas stops the start', async (t) => {
  const replica = bad('option "redis" must read from masters, because a replica may not know of a revocation yet; give it a client without "scaleReads" and "role"')
  for (const redis of [
    { ...client, options: { scaleReads: 'slave' } },
    { ...client, options: { scaleReads: 'all' } },
    { ...client, options: { scaleReads: () => null } },
    { ...client, options: { role: 'slave' } },
    { sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'm', role: 'slave' as const, password: PASSWORD }
  ]) {
    t.strictSame(await startError(t, { revocation: { redis } }), replica)
  }
  for (const options of [{}, undefined, { scaleReads: 'master' }, { role: 'master' }]) {
    await buildApp(t, { revocation: { redis: { ...client, options } as typeof client } })
  }
})

t.test('P1 a scope below that registers another @fastify/jwt stops the start, unless it registers the plugin as well', async (t) => {
  const unguarded = bad('"jwtVerify" was decorated again in a scope below, with @fastify/jwt or by hand, and is not guarded there; register the plugin in that scope too, after it')
  const scope = (guarded: boolean) => (app: FastifyInstance) => {
    app.register(async (scope) => {
      // Of another name than the one above has, or Fastify itself refuses it.
      await scope.register(fastifyJwt, { secret: SECRET, decoratorName: 'account' })
      if (guarded) await scope.register(revocationPlugin, { routes: false })
    })
  }
  t.strictSame(await startError(t, { after: scope(false) }), unguarded)
  t.strictSame(await startError(t, { after: (app) => { app.register(async (above) => scope(false)(above)) } }), unguarded, 'two levels below')
  t.strictSame(await startError(t, {
    after: (app) => { app.register(async (scope) => { scope.decorateRequest('jwtVerify', async () => ({})) }) }
  }), unguarded, 'by hand')
  t.strictSame(await startError(t, { before: scope(false) }), unguarded, 'registered before the plugin')
  await buildApp(t, { after: scope(true) })
})

async function warnings (t: Scope, options: BuildOptions = {}) {
  const lines: Array<{ level: number, msg: string }> = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const { fastify, ...others } = options
  await buildApp(t, { ...others, fastify: { logger: { level: 'warn', stream }, ...fastify } })
  return lines.map(({ level, msg }) => level === 40 ? msg : { level, msg })
}

const IN_MEMORY = 'jwt revocation: revocations are kept in this process only and are lost with it; set option "redis" to share and keep them'

t.test('the memory store says at the start that it forgets, and nothing else is said', async (t) => {
  t.strictSame(await warnings(t), [IN_MEMORY])
  t.strictSame(await warnings(t, { revocation: { redis: client } }), [])
})

t.test('the start warns of tokens that will be refused for their exp, or without an iat', async (t) => {
  const without = 'jwt revocation: @fastify/jwt signs tokens without an exp, which are refused; register it with sign: { expiresIn: \'15m\' }, pass expiresIn with each token, or set maxTokenLifetime: \'unbounded\''
  const longer = (expiresIn: unknown) => `jwt revocation: @fastify/jwt signs tokens that live longer (${expiresIn}) than maxTokenLifetime, which are refused; make one of them shorter, or the other longer`
  const rows: Array<[sign: object | undefined, maxTokenLifetime: string | number | undefined, expected: string[]]> = [
    [undefined, undefined, []],
    [{}, undefined, []],
    [{ iss: 'a' }, undefined, [without]],
    [{ algorithm: 'HS512' }, '1h', [without]],
    [{}, 'unbounded', []],
    [{ expiresIn: '15m' }, undefined, []],
    [{ expiresIn: '15m' }, 900, []],
    [{ expiresIn: '15m' }, 890, []],
    [{ expiresIn: '15m' }, 889, [longer('15m')]],
    [{ expiresIn: 901 }, 891, []],
    [{ expiresIn: 901 }, 890, [longer(901)]],
    [{ expiresIn: '31d' }, undefined, [longer('31d')]],
    [{ expiresIn: 31 * 24 * 3600 }, undefined, [longer(31 * 24 * 3600)]],
    [{ expiresIn: '3000000000' }, undefined, [longer('3000000000')]],
    [{ expiresIn: '100y' }, 'unbounded', []]
  ]
  for (const [sign, maxTokenLifetime, expected] of rows) {
    t.strictSame(await warnings(t, {
      jwt: { sign } as NonNullable<BuildOptions['jwt']>,
      revocation: { redis: client, ...(maxTokenLifetime !== undefined && { maxTokenLifetime }) }
    }), expected, `${JSON.stringify(sign)} and ${maxTokenLifetime}`)
  }
  const undated = "jwt revocation: @fastify/jwt signs tokens without an iat, which are refused; register it without noTimestamp, or set maxTokenLifetime: 'unbounded'"
  for (const [maxTokenLifetime, expected] of [['1h', [undated]], ['unbounded', []]] as const) {
    t.strictSame(await warnings(t, { jwt: { sign: { expiresIn: '15m', noTimestamp: true } }, revocation: { redis: client, maxTokenLifetime } }), expected)
  }
  t.strictSame(await warnings(t, {
    jwt: { namespace: 'user' },
    before: (app) => app.register(fastifyJwt, { secret: SECRET, namespace: 'admin', sign: { expiresIn: '2h', iss: 'admin' } }),
    revocation: { redis: client, namespace: ['user', 'admin'], maxTokenLifetime: '1h' }
  }), [longer('2h')], 'one of two namespaces')
})

t.test('the start warns of namespaces whose tokens bring no iss of their own', async (t) => {
  const shared = (names: string) => `jwt revocation: the tokens of the namespaces ${names} bring no iss, so a token of one acts on those of the same sub or jti in the others; register each namespace with sign: { iss } and verify: { allowedIss } of its own`
  const expiring = { expiresIn: '15m' }
  const started = (namespaces: Record<string, object>) => warnings(t, {
    jwt: { namespace: 'user', sign: expiring },
    async before (app) {
      for (const [namespace, options] of Object.entries(namespaces)) {
        await app.register(fastifyJwt, { secret: SECRET, sign: expiring, ...options, namespace })
      }
    },
    revocation: { redis: client, namespace: ['user', ...Object.keys(namespaces)] }
  })
  t.strictSame(await started({ admin: {} }), [shared('user, admin')])
  t.strictSame(await started({ admin: {}, guest: { sign: { ...expiring, iss: 'guest' } }, device: {} }), [shared('user, admin, device')])
  for (const options of [{ sign: { ...expiring, iss: 'admin' } }, { verify: { allowedIss: 'admin' } }, { verify: { allowedIss: ['a', 'b'] } }, { verify: { allowedIss: /^admin/ } }]) {
    t.strictSame(await started({ admin: options }), [], 'one of two has an issuer')
  }
  t.strictSame(await started({}), [], 'there is only one')
})

t.test('the start warns of cookies that nobody parses', async (t) => {
  const unparsed = 'jwt revocation: @fastify/jwt is to look for tokens in a cookie, and nothing parses cookies; register @fastify/cookie'
  const jwt = { cookie: { cookieName: 'token', signed: false } }
  const cookie = (app: FastifyInstance) => app.register(fastifyCookie)
  const below = (app: FastifyInstance) => app.register(async (scope) => { await scope.register(fastifyCookie) })
  t.strictSame(await warnings(t, { jwt, revocation: { redis: client } }), [unparsed])
  for (const place of [cookie, below]) {
    t.strictSame(await warnings(t, { jwt, revocation: { redis: client }, after: place }), [])
    t.strictSame(await warnings(t, { jwt, revocation: { redis: client }, before: place }), [])
  }
  t.strictSame(await warnings(t, { revocation: { redis: client } }), [], 'where no token comes in one')
})

/** What is warned of while something is done after the start. */
async function warningsOf (t: Scope, options: BuildOptions, act: (app: FastifyInstance) => unknown) {
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line).msg) } }
  const app = await buildApp(t, { ...options, fastify: { ...options.fastify, logger: { level: 'warn', stream } } })
  const atStart = lines.splice(0)
  await act(app)
  return { atStart, then: lines }
}

t.test('a jti that the routes do not take in their path is warned of once, when the first is seen, and never at the start', async (t) => {
  const short = (length: number) => `jwt revocation: a jti longer than ${length} characters can't be revoked by its path, and there is one; set Fastify's routerOptions: { maxParamLength: 255 }`
  const jti = (length: number) => 'x'.repeat(length)
  const claims = (length: number) => ({ jti: jti(length), iat: inSeconds(0), exp: inSeconds(60) })
  const doors: Record<string, (app: FastifyInstance, length: number) => unknown> = {
    issue: (app, length) => app.revocation.issue({ jti: jti(length) }),
    record: (app, length) => app.revocation.record(claims(length)),
    isRevoked: (app, length) => app.revocation.isRevoked(claims(length)),
    'a request': async (app, length) => app.inject({ url: '/public', headers: bearer(await signed(claims(length))) })
  }
  for (const [door, use] of Object.entries(doors)) {
    for (const [routerOptions, longest] of [[{}, 100], [{ maxParamLength: 254 }, 254]] as const) {
      const { atStart, then } = await warningsOf(t, { fastify: { routerOptions } }, async (app) => {
        for (const length of [longest, longest + 1, longest + 1]) await use(app, length)
      })
      t.strictSame({ atStart, then }, { atStart: [IN_MEMORY], then: [short(longest)] }, door)
    }
    const quiet = async (options: BuildOptions) => (await warningsOf(t, options, (app) => use(app, 255))).then
    t.strictSame(await quiet({ fastify: { routerOptions: { maxParamLength: 255 } } }), [], door)
    t.strictSame(await quiet({ fastify: { routerOptions: {} }, revocation: { routes: false } }), [], `${door}, without routes`)
  }
})

t.test('where nothing is signed nobody is warned of tokens without an exp, until the first is refused', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = { public: publicKey.export({ type: 'spki', format: 'pem' }) as string }
  const of = (claims: object) => new SignJWT({ jti: 'x', iat: inSeconds(0), ...claims }).setProtectedHeader({ alg: 'ES256' }).sign(privateKey)
  for (const jwt of [{ secret }, { secret: async () => secret.public }]) {
    const { atStart, then } = await warningsOf(t, { jwt: { ...jwt, sign: {} } }, async (app) => {
      t.equal((await app.inject({ url: '/me', headers: bearer(await of({ exp: inSeconds(60) })) })).statusCode, 200)
      for (let i = 0; i < 3; i++) {
        const { statusCode, code } = (await app.inject({ url: '/me', headers: bearer(await of({})) })).json()
        t.strictSame({ statusCode, code }, { statusCode: 401, code: 'FST_JWT_NOT_REVOCABLE' })
      }
    })
    t.strictSame({ atStart, then }, {
      atStart: [IN_MEMORY],
      then: ["jwt revocation: a token without an exp was refused; sign tokens with one (@fastify/jwt: sign: { expiresIn: '15m' }), or set maxTokenLifetime: 'unbounded'"]
    })
  }
})

t.test('the store is the client that is given, one made for a URL or options, @fastify/redis, or memory', async (t) => {
  const server = await startRedis(t)
  const storeOf = async (options: BuildOptions) => {
    const keyPrefix = ownPrefix()
    const app = await buildApp(t, { ...options, revocation: { ...options.revocation, keyPrefix, storeTimeout: 5000 } })
    await app.revocation.revoke({ jti: 'a', exp: inSeconds(60) })
    return { status: app.revocation.status().store, keys: await server.keys(`${keyPrefix}revoked:*`), expected: [`${keyPrefix}revoked:a`], app }
  }
  const theirs = new Redis(server.url)
  t.teardown(() => theirs.disconnect())
  const elsewhere = (app: FastifyInstance) => app.register(fastifyRedis, { client: { ...client, status: 'ready' } as never })
  const before = (app: FastifyInstance) => app.register(fastifyRedis, { client: theirs as never })
  for (const [what, options] of Object.entries({
    'a URL': { revocation: { redis: server.url } },
    'options of ioredis': { revocation: { redis: { host: server.host, port: server.port } } },
    'a client': { revocation: { redis: theirs } },
    '@fastify/redis': { before },
    'the option before @fastify/redis': { before: elsewhere, revocation: { redis: server.url } }
  } satisfies Record<string, BuildOptions>)) {
    const { status, keys, expected, app } = await storeOf(options)
    t.equal(status, 'redis', what)
    t.strictSame(keys, expected, what)
    await app.close()
  }
  const { status, keys } = await storeOf({})
  t.equal(status, 'memory')
  t.strictSame(keys, [])
})

t.test('P7 a client that the plugin made is closed with the application, one that it was given is not', async (t) => {
  const server = await startRedis(t)
  const made = async () => (await server.cli('CLIENT', 'LIST')).includes('name=fastify-jwt-revocation')
  for (const redis of [server.url, { host: server.host, port: server.port }]) {
    const app = await buildApp(t, { revocation: { redis } })
    t.ok(await made())
    await app.close()
    await eventually('the client is gone', async () => !await made())
  }
  const theirs = new Redis(server.url)
  t.teardown(() => theirs.disconnect())
  const app = await buildApp(t, { revocation: { redis: theirs } })
  await app.close()
  t.equal(theirs.status, 'ready')
  t.equal(await theirs.ping(), 'PONG')
})

t.test('no log line and no answer tells a password that Redis refused', async (t) => {
  const server = await startRedis(t, { args: ['--requirepass', 'another'] })
  for (const redis of [
    `redis://:${PASSWORD}@${server.host}:${server.port}`, `redis://user:${PASSWORD}@${server.host}:${server.port}`,
    { host: server.host, port: server.port, password: PASSWORD }, { host: server.host, port: server.port, password: PASSWORD, protocol: 2 as const }
  ]) {
    const lines: string[] = []
    const app = await buildApp(t, {
      fastify: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } },
      revocation: { redis, storeTimeout: 200 }
    })
    const response = await app.inject({ url: '/me', headers: bearer(await signed({ jti: 'a', exp: inSeconds(60) })) })
    t.match(response.json(), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' })
    t.notMatch(response.payload, PASSWORD)
    t.ok(lines.some((line) => line.includes('the store is lost')))
    t.strictSame(lines.filter((line) => line.includes(PASSWORD)), [])
    await app.close()
  }
})

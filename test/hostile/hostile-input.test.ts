import cookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fc from 'fast-check'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { buildApp, genuine, listen, ownPrefix, revoked, SECRET, signed } from '../support/app.ts'
import { character } from '../support/character.ts'
import { unhandled } from '../support/flood.ts'
import { startRedis } from '../support/redis.ts'
import { runs } from '../support/runs.ts'

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const HISTORY = '/v1/jwt/history'
const PATIENCE = 10_000

/** Without shrinking: what takes a server to try takes long to try again. */
const check: typeof fc.assert = (property, options) => fc.assert(property, { ...options, endOnFailure: true }) as never
const STATUSES = [200, 400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 431, 501, 503]

/** What a server has written until it closed, or until a whole answer was there. Nothing of what was sent is looked at by a client. */
async function exchange (port: number, sent: Buffer): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let received = ''
  const done = new Promise<void>((resolve) => {
    socket.setEncoding('latin1').on('data', (chunk) => {
      received += chunk
      if (isWhole(received)) resolve()
    }).on('close', () => resolve()).on('error', () => resolve())
  })
  socket.write(sent)
  const late = sleep(PATIENCE, 'late', { ref: false })
  if (await Promise.race([done, late]) === 'late') received += '(no answer)'
  socket.destroy()
  return received
}

function isWhole (received: string): boolean {
  const end = received.indexOf('\r\n\r\n')
  const length = /^content-length: (\d+)/im.exec(received)?.[1]
  return end >= 0 && length !== undefined && received.length >= end + 4 + Number(length)
}

const ODD = [
  '', '/', '//', '.', '..', '../..', '%2e%2e', '%2F', '%00', '%', '%zz', '%c0%ae', '%ff', '%f0%9f', '%ed%a0%80', '%0d%0aX-Injected:%201', '\\', ';', ':', '*', '(', ')', '[', ']', '|', '^', '{', '}', '~', '`',
  '__proto__', 'constructor', 'prototype', 'toString', 'id', 'id/', 'sub', 'sub/', 'log', 'alice', 'null', 'undefined', 'NaN', '-1', '0', '1', '9'.repeat(400), '1e309', '0x10', 'x'.repeat(255), 'x'.repeat(300),
  '%F0%9F%98%80', '%E5%AD%97'.repeat(90)
]
const odd = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...ODD) }, { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 20 }) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('latin1')) })

/** In a line of a request only these end it, and then it is another request. */
const inLine = (text: string) => text.replace(/[\r\n ]/g, '%20')

const path = fc.array(odd, { maxLength: 4 }).chain((pieces) => fc.constantFrom(
  `${HISTORY}/${pieces.join('/')}`, `${HISTORY}/id/${pieces.join('')}`, `${HISTORY}/sub/${pieces.join('')}`, `${HISTORY}${pieces.join('')}`, HISTORY, `/${pieces.join('/')}`, '/me', '/public', `http://x${HISTORY}`, '*', `${HISTORY}/../../../me`
))
const query = fc.array(fc.tuple(fc.oneof(fc.constantFrom('iss', 'sub', 'limit', 'cursor', 'except', '__proto__', 'constructor', 'iss[]', 'limit[$gt]', 'sub[a]'), odd), fc.oneof(odd, fc.constantFrom('current', '100', '101', '1.5', '1e2', '-0', 'Infinity', ' 5 ', 'true'))), { maxLength: 5 })
  .map((pairs) => pairs.map(([key, value]) => `${key}=${value}`).join('&'))

const TOKENS = ['good', 'revoked', 'forged', 'none'] as const
type Tokens = Record<(typeof TOKENS)[number], string>

const authorization = (token: string) => token === ''
  ? fc.constant<string[]>([])
  : fc.oneof({ weight: 4, arbitrary: fc.constant([`Authorization: Bearer ${token}`]) }, {
    weight: 3,
    arbitrary: fc.constantFrom(
      [`authorization: bearer ${token}`], [`AUTHORIZATION: BEARER ${token}`], [`Authorization: Bearer  ${token}`], [`Authorization: Bearer\t${token}`], [`Authorization: Bearer ${token} `],
      [`Authorization: Bearer ${token}, Bearer ${token}`], [`Authorization: Basic ${token}`], ['Authorization: Bearer'], ['Authorization:'], ['Authorization: Bearer '], [`Authorization: ${token}`],
      [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`], [`Authorization: Bearer ${token}`, 'Authorization: Bearer x'], [`Authorization: Bearer ${'x'.repeat(12_000)}`],
      [`Authorization: Bearer ${'x'.repeat(20_000)}`], [`Cookie: token=${token}`], [`Cookie: token=${token}`, `Cookie: token=${token}`], [`Cookie: token="${token}"; token=x`], [`Cookie: token=${token}; ${'a=b; '.repeat(500)}`],
      ['Cookie: token='], ['Cookie: token=%zz; =; ;;'], ['Cookie: __proto__=x; token=__proto__'], [`Authorization: Bearer ${token}`, `Cookie: token=${token}`], ['Authorization: Bearer \xff\xfe\x80'], ['Authorization: Bearer ..'], ['Authorization: Bearer a.b.c']
    )
  })

const body = fc.oneof(fc.constant(undefined), fc.tuple(
  fc.oneof(fc.constantFrom('application/json', 'text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded', 'x', '', ';', 'a/b; charset="', 'application/json; charset=utf-99'), odd),
  fc.oneof(fc.constantFrom('', '{', '{}', 'null', '{"__proto__":{"a":1}}', 'x'.repeat(5000), 'x'.repeat(1_100_000)), fc.json(), fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('latin1'))),
  fc.constantFrom('exact', 'chunked', 'too long')
))

interface Request { method: string, target: string, headers: readonly string[], token: string }

const requestOf = (tokens: Tokens) => fc.constantFrom(...TOKENS).chain((token) => fc.record({
  token: fc.constant(token),
  method: fc.oneof({ weight: 4, arbitrary: fc.constantFrom('GET', 'DELETE') }, { weight: 1, arbitrary: fc.constantFrom('HEAD', 'POST', 'PUT', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'get', 'NONSENSE') }),
  target: fc.tuple(path, query, fc.boolean()).map(([path, query, asked]) => inLine(asked ? `${path}?${query}` : path) || '/'),
  headers: authorization(tokens[token]),
  body
}))

function bytesOf ({ method, target, headers }: Request, body: [type: string, payload: string, framing: string] | undefined): Buffer {
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: x', 'Connection: close', ...headers]
  let sent = ''
  if (body !== undefined) {
    const [type, payload, framing] = body
    lines.push(`Content-Type: ${inLine(type)}`)
    if (framing === 'chunked') {
      lines.push('Transfer-Encoding: chunked')
      sent = payload === '' ? '0\r\n\r\n' : `${payload.length.toString(16)}\r\n${payload}\r\n0\r\n\r\n`
    } else {
      lines.push(`Content-Length: ${payload.length}`)
      sent = framing === 'too long' ? `${payload}GET / HTTP/1.1\r\n\r\n` : payload
    }
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${sent}`, 'latin1')
}

/** The first answer in what was received: a documented status, with the body of a success or of an error of Fastify's shape. */
function checkAnswer (received: string, method: string) {
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(received)?.[1])
  assert.ok(STATUSES.includes(status), `answered ${received.slice(0, 300)}`)
  if (method === 'HEAD') return status
  const start = received.indexOf('\r\n\r\n') + 4
  const length = Number(/^content-length: (\d+)/im.exec(received)?.[1] ?? received.length - start)
  // Of Node.js itself: nobody else has heard of the request.
  if (!/^content-type:/im.test(received.slice(0, start))) return status
  const payload = received.slice(start, start + length)
  const answer = JSON.parse(payload)
  if (status === 200) return status
  assert.equal(answer.statusCode, status)
  assert.equal(typeof answer.error, 'string')
  assert.equal(typeof answer.message, 'string')
  assert.ok(answer.code === undefined || typeof answer.code === 'string')
  assert.deepEqual(Object.keys(answer).filter((name) => !['statusCode', 'error', 'message', 'code'].includes(name)), [])
  assert.doesNotMatch(received.slice(0, start), /^x-injected/im)
  return status
}

for (const mode of ['strict', 'replica'] as const) {
  t.test(`whatever is sent, by whomever, the answer is a documented one, and Redis keeps nothing of it, in ${mode} mode`, async (t) => {
    const nobodyHandled = unhandled(t)
    const keyPrefix = ownPrefix()
    const app = await buildApp(t, {
      revocation: { redis, keyPrefix, mode, storeTimeout: PATIENCE },
      jwt: { cookie: { cookieName: 'token', signed: false } },
      before: (app) => app.register(cookie)
    })
    const port = await listen(app)
    // Of no subject, and whose jti is in no path: what it may end is nothing but itself, which nobody asks for by chance.
    const { token: good } = await genuine({ sub: undefined })
    const tokens: Tokens = { good, revoked: await revoked(app), forged: await signed({ jti: 'x', sub: 'alice', exp: 2 ** 32 }, 'a secret of somebody else, of more than 32 bytes'), none: '' }
    const before = await server.keys(`${keyPrefix}*`)
    const seen = new Map<string, number>()
    await check(fc.asyncProperty(requestOf(tokens), async ({ body, ...request }) => {
      const received = await exchange(port, bytesOf(request, body))
      const status = checkAnswer(received, request.method)
      const isOfRoute = request.target.startsWith(HISTORY)
      if (status === 200 && request.token !== 'good' && request.method !== 'HEAD') assert.ok(!isOfRoute, 'nobody else gets anything of the routes')
      const key = `${request.token} ${status}`
      seen.set(key, (seen.get(key) ?? 0) + 1)
    }), { numRuns: runs(mode === 'strict' ? 800 : 300) })
    t.strictSame(await server.keys(`${keyPrefix}*`), before)
    t.strictSame(nobodyHandled, [])
    t.ok(app.revocation.status().available)
    const { jti, token } = await app.revocation.issue({ sub: 'alice' })
    const last = await app.inject({ method: 'DELETE', url: `${HISTORY}/${jti}`, headers: { authorization: `Bearer ${token}` } })
    t.match({ statusCode: last.statusCode, ...last.json() }, { statusCode: 200, jti, status: 'revoked' }, 'and it goes on')
    t.comment([...seen].sort().join(', '))
  })
}

t.test('what a line or a header can not hold is refused before it is anybody\'s', async (t) => {
  const nobodyHandled = unhandled(t)
  const app = await buildApp(t, {})
  const port = await listen(app)
  const { token } = await genuine()
  const requests = [
    `DELETE ${HISTORY}/\0 HTTP/1.1\r\nHost: x\r\n\r\n`, `DELETE ${HISTORY}/\xff\xfe HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`, `DELETE ${HISTORY}/a b HTTP/1.1\r\nHost: x\r\n\r\n`,
    `DELETE ${HISTORY}/${'x'.repeat(30_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, `DELETE ${HISTORY}/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\0\r\n\r\n`,
    `DELETE ${HISTORY}/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n ${token}\r\n\r\n`, `DELETE ${HISTORY}/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`,
    `DELETE ${HISTORY}/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, `DELETE ${HISTORY}/x HTTP/1.1\r\n\r\n`, `DELETE ${HISTORY}/x HTTP/9.9\r\nHost: x\r\n\r\n`,
    `${'a: b\r\n'.repeat(5000)}\r\n`, '\x16\x03\x01\x02\x00\x01\x00', '*1\r\n$4\r\nPING\r\n'
  ]
  for (const request of requests) {
    const received = await exchange(port, Buffer.from(request, 'latin1'))
    if (received !== '') t.ok(checkAnswer(received, 'DELETE') >= 400, JSON.stringify(request.slice(0, 40)))
  }
  t.strictSame(nobodyHandled, [])
})

const PASSWORD = 'correct-horse-battery-staple'
const anything = fc.anything({
  withBigInt: true, withBoxedValues: true, withDate: true, withMap: true, withNullPrototype: true, withObjectString: true, withSet: true, withSparseArray: true, withTypedArray: true, maxDepth: 2
})
const NAMES = ['mode', 'enforce', 'keyPrefix', 'maxTokenLifetime', 'tokensWithoutJti', 'onStoreFailure', 'storeTimeout', 'maxStaleness', 'minReplicas', 'authorize', 'routes', 'recordOnUse', 'namespace', 'jwtVerify'] as const

/** What becomes of a start with these options: undefined where it starts, else what stops it. */
async function startWith (t: Test, options: object): Promise<unknown> {
  const app = Fastify()
  try {
    await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
    await app.register(revocationPlugin, options as RevocationOptions)
    await app.ready()
    return undefined
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

function isRefusal (error: unknown, name: string) {
  const { code, message } = error as { code?: string, message: string }
  assert.equal(code, 'FST_JWT_REVOCATION_BAD_OPTION', String(error))
  assert.match(message, /^fastify-jwt-revocation: /)
  assert.ok(message.includes(`"${name}"`), `${message} names it`)
  assert.ok(!message.includes(PASSWORD))
}

t.test('an option of any value starts, or is refused by its name', async (t) => {
  const near: Partial<Record<(typeof NAMES)[number], fc.Arbitrary<unknown>>> = {
    maxTokenLifetime: fc.oneof(fc.double(), fc.string(), fc.constantFrom('1', '1 s', '-1h', '1e9y', 'unbounded', 1e300, 5e-324)),
    keyPrefix: fc.string({ unit: character }),
    storeTimeout: fc.double(),
    namespace: fc.oneof(fc.string(), fc.array(fc.string()), fc.constantFrom('__proto__', 'constructor', 'sign', 'options', 'lookupToken', ['jwt', 'jwt']))
  }
  await check(fc.asyncProperty(fc.constantFrom(...NAMES), fc.oneof(anything, fc.constantFrom(null, NaN, -0, Symbol('x'), () => {}, class {})), async (name, value) => {
    const error = await startWith(t, { [name]: value })
    if (error !== undefined) isRefusal(error, name)
  }), { numRuns: runs(400) })
  for (const [name, values] of Object.entries(near)) {
    await check(fc.asyncProperty(values, async (value) => {
      const error = await startWith(t, { [name]: value })
      if (error !== undefined) isRefusal(error, name)
    }), { numRuns: runs(50) })
  }
})

t.test('an option of no name that there is is refused by it', async (t) => {
  await check(fc.asyncProperty(fc.string(), anything, async (name, value) => {
    fc.pre(name !== 'redis' && !(NAMES as readonly string[]).includes(name) && value !== undefined)
    const error = await startWith(t, Object.defineProperty({}, name, { value, enumerable: true }))
    // Of Fastify's own for a plugin.
    if (error !== undefined && !['prefix', 'logLevel', 'logSerializers'].includes(name)) isRefusal(error, name)
  }), { numRuns: runs(100) })
})

t.test('an option "redis" of any shape starts, or is refused by its name, and no message holds a password', async (t) => {
  const holder = fc.constantFrom<unknown>(
    `redis:/${PASSWORD}`, `redis//:${PASSWORD}@h`, `http://:${PASSWORD}@h`, [PASSWORD], new Set([PASSWORD]), new Map([['password', PASSWORD]]), Object.create({ password: PASSWORD }), { [Symbol.toStringTag]: PASSWORD, __proto__: null },
    Object.assign(() => {}, { password: PASSWORD }), Buffer.from(PASSWORD), new Date(NaN), Symbol('x'), 5n, true, 0, ''
  )
  await check(fc.asyncProperty(fc.oneof(holder, anything.filter((value) => typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)), async (value) => {
    const error = await startWith(t, { redis: value, storeTimeout: 1 })
    if (error !== undefined) isRefusal(error, 'redis')
  }), { numRuns: runs(200) })
})

t.test('a decorator that is no verify decorator is refused by the name of the option', async (t) => {
  for (const jwtVerify of ['toString', 'constructor', 'hasOwnProperty', 'valueOf', 'jwtDecode']) isRefusal(await startWith(t, { jwtVerify }), 'jwtVerify')
})

t.test('P6 with the name of another decorator for the verify decorator no forged token revokes a subject', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: SECRET })
  await t.rejects(async () => {
    await app.register(revocationPlugin, { jwtVerify: 'jwtDecode' })
    await app.ready()
    const forged = await signed({ jti: 'x', sub: 'alice', exp: 2e9 }, 'a secret of somebody else, of more than 32 bytes')
    const { statusCode } = await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice`, headers: { authorization: `Bearer ${forged}` } })
    t.not(statusCode, 200)
  }, { code: 'FST_JWT_REVOCATION_BAD_OPTION' })
})

const CODES = /^(?:FST_JWT_|FAST_JWT_|FST_ERR_|ERR_)/

const METHODS = ['issue', 'record', 'revoke', 'revokeById', 'revokeSubject', 'isRevoked', 'token', 'tokens', 'status', 'on', 'off'] as const
const claimed = fc.record({
  jti: fc.oneof(fc.string(), anything), iss: fc.oneof(fc.string(), anything), sub: fc.oneof(fc.string(), anything), exp: fc.oneof(fc.double(), fc.integer({ min: 1.7e9, max: 2e9 }), anything), iat: fc.oneof(fc.double(), anything), except: anything, limit: anything, cursor: fc.oneof(fc.string(), anything), meta: anything, expiresIn: anything, a: anything
}, { requiredKeys: [] })

/** What is wrong with how one call ends. */
async function callWith (app: Awaited<ReturnType<typeof buildApp>>, method: (typeof METHODS)[number], args: unknown[]) {
  try {
    const { revocation } = app as unknown as { revocation: Record<string, (...args: unknown[]) => unknown> }
    await revocation[method]!(...args)
  } catch (error) {
    const { code } = error as { code?: string }
    assert.ok(error instanceof TypeError || (error instanceof Error && CODES.test(String(code))), `${method}: ${String(error)} ${(error as Error).stack}`)
    assert.notEqual(code, 'FST_JWT_REVOCATION_UNAVAILABLE', `${method}: ${(error as Error).message}: ${String((error as Error).cause)}`)
  }
}

for (const store of ['memory', 'redis'] as const) {
  const options = () => store === 'memory' ? {} : { redis, keyPrefix: ownPrefix(), storeTimeout: PATIENCE }
  t.test(`whatever a method of app.revocation is given, it resolves, or rejects with a TypeError or one of our errors, on ${store}`, async (t) => {
    const nobodyHandled = unhandled(t)
    const app = await buildApp(t, { revocation: options() })
    const lost: unknown[] = []
    app.revocation.on('storeLost', (error) => lost.push(error))
    // An id and a cursor of any kind have a test of their own.
    const argument = fc.oneof(anything, claimed.map(({ cursor, ...claims }) => ({ ...claims, ...(typeof cursor === 'string' && { cursor }) })), fc.string({ unit: character }))
    await check(fc.asyncProperty(fc.constantFrom(...METHODS), fc.array(argument, { maxLength: 3 }), async (method, [first, ...rest]) => {
      const takesId = method === 'token' || method === 'revokeById'
      const args = takesId ? [String(typeof first === 'string' ? first : 'x'), ...rest] : [first, ...rest]
      if (method === 'tokens' && typeof args[1] === 'object' && args[1] !== null && 'cursor' in args[1] && typeof args[1].cursor !== 'string') return
      await callWith(app, method, args)
    }), { numRuns: runs(1000) })
    t.strictSame(nobodyHandled, [])
    t.strictSame(lost, [])
    t.ok(app.revocation.status().available)
  })

  t.test(`an id or a cursor that is no string is a TypeError, and no failure of the store, on ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    const lost: unknown[] = []
    app.revocation.on('storeLost', (error) => lost.push(error))
    // The second one is what JSON makes of a body.
    for (const odd of [Symbol('x'), { toString: 1, valueOf: 1 }, Object.create(null), null, 5, ['a']]) {
      for (const call of [(): Promise<unknown> => app.revocation.token(odd as string), () => app.revocation.revokeById(odd as string), () => app.revocation.tokens('alice', { cursor: odd as string })]) {
        await t.rejects(call() as Promise<null>, TypeError)
      }
    }
    t.strictSame(lost, [])
    t.ok(app.revocation.status().available)
  })
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

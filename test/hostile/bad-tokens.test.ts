import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import t from 'tap'
import type { Denials, Records, Store } from '../../lib/stores/store.ts'
import { bearer, buildApp, inSeconds, SECRET } from '../support/app.ts'
import { buildDomain, Clock, commandsOf, foreign, presented } from '../support/domain.ts'
import { ask, forge, heapUsed, MEGABYTE, unhandled } from '../support/flood.ts'
import { startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'

const server = await startRedis(t)
// Of thousands of errors most of the time would go into stacks.
Error.stackTraceLimit = 0

const PASSES = 3
const AT_ONCE = 200
const PER_PASS = (isThorough ? 30 : 4) * AT_ONCE
const MANY = isThorough ? 100_000 : 20_000

type Kind = () => string

const good = (claims: object = {}) => ({ jti: randomUUID(), sub: 'alice', iat: inSeconds(0), exp: inSeconds(900), ...claims })
const parts = (token: string) => token.split('.') as [header: string, payload: string, signature: string]

/** Another byte in one of the parts. Of a signature's last character two bits mean nothing: bytes are changed, not characters. */
function flipped (index: number): string {
  const all = parts(forge(good()))
  const bytes = Buffer.from(all[index]!, 'base64url')
  bytes[randomInt(bytes.length)]! ^= 1 << randomInt(8)
  all[index] = bytes.toString('base64url')
  return all.join('.')
}

const UNVERIFIABLE: Record<string, Kind> = {
  'of another key': () => forge(good(), { secret: 'a secret of somebody else, of more than 32 bytes' }),
  'alg none': () => `${parts(forge(good(), { header: '{"alg":"none"}' })).slice(0, 2).join('.')}.`,
  'alg none, signed': () => forge(good(), { header: '{"alg":"none"}' }),
  'alg RS256': () => forge(good(), { header: '{"alg":"RS256"}' }),
  'alg of a prototype': () => forge(good(), { header: '{"alg":"constructor"}' }),
  'alg that is no string': () => forge(good(), { header: '{"alg":["HS256"]}' }),
  'no alg': () => forge(good(), { header: '{"__proto__":{"alg":"HS256"}}' }),
  'a critical header': () => forge(good(), { header: '{"alg":"HS256","crit":["jti"],"jti":1}' }),
  truncated () {
    const token = forge(good())
    return token.slice(0, randomInt(1, token.length))
  },
  'with a flipped header': () => flipped(0),
  'with a flipped payload': () => flipped(1),
  'with a flipped signature': () => flipped(2),
  spliced () {
    const [a, b] = [parts(forge(good())), parts(forge(good({ sub: 'root' })))]
    return [a[0], b[1], a[2]].join('.')
  },
  noise: () => randomBytes(randomInt(1, 200)).toString('base64url'),
  'noise in three parts': () => [randomBytes(20), randomBytes(60), randomBytes(32)].map((part) => part.toString('base64url')).join('.'),
  'too many parts': () => `${forge(good())}.${randomInt(1e9)}`,
  'no JSON': () => forge('{"jti":'),
  'JSON, but no object': () => forge(['null', '[]', '1', '"jti"', 'true'][randomInt(5)]!),
  expired: () => forge(good({ exp: inSeconds(-1 - randomInt(1e6)) })),
  'expired a part of a second ago': () => forge(good({ exp: Date.now() / 1000 - 0.01 })),
  'not before': () => forge(good({ nbf: inSeconds(1 + randomInt(1e6)) })),
  'a negative exp': () => forge(good({ exp: -randomInt(1, 1e9) })),
  'an exp of minus 1e300': () => forge(JSON.stringify(good()).replace(/"exp":\d+/, '"exp":-1e300')),
  'an exp that is a string': () => forge(good({ exp: String(inSeconds(900)) })),
  'an exp that is an array': () => forge(good({ exp: [inSeconds(900)] })),
  'an exp that is null': () => forge(good({ exp: null })),
  'an exp that is an object': () => forge(good({ exp: { valueOf: inSeconds(900) } }))
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
const without = (name: string, text: string) => JSON.stringify(good({ [name]: 0 })).replace(`"${name}":0`, text)

/** Genuine, but not revocable. */
const UNREVOCABLE: Record<string, Kind> = {
  'an exp in milliseconds': () => forge(good({ exp: Date.now() + 900_000 })),
  'an exp of 1e300': () => forge(without('exp', '"exp":1e300')),
  'an exp of infinity': () => forge(without('exp', '"exp":1e999')),
  'an exp far away, as a float': () => forge(good({ exp: inSeconds(31 * 86_400) + Math.random() })),
  'no exp': () => forge(good({ exp: undefined })),
  'no iat': () => forge(good({ iat: undefined })),
  'an iat that is a string': () => forge(good({ iat: String(inSeconds(0)) })),
  'an iat of infinity': () => forge(without('iat', '"iat":1e999')),
  'an iat ten years ahead': () => forge(good({ iat: inSeconds(3650 * 86_400), exp: inSeconds(3651 * 86_400) })),
  'an iat two minutes ahead': () => forge(good({ iat: inSeconds(120) })),
  'an iat in milliseconds': () => forge(good({ iat: Date.now() })),
  'a life that is too long': () => forge(good({ iat: inSeconds(-40 * 86_400) })),
  'no jti': () => forge(good({ jti: undefined })),
  'an empty jti': () => forge(good({ jti: '' })),
  'a jti that is null': () => forge(good({ jti: null })),
  'a jti that is a number': () => forge(good({ jti: randomInt(1e9) })),
  'a jti that is an object': () => forge(good({ jti: { toString: 'a', length: 1 } })),
  'a jti that is an array': () => forge(good({ jti: [randomUUID()] })),
  'a jti of 256 characters': () => forge(good({ jti: 'x'.repeat(256) })),
  'a jti of 300 characters': () => forge(good({ jti: '字'.repeat(300) })),
  'a jti with a lone surrogate': () => forge(without('jti', `"jti":"${randomInt(1e9)}\\ud800"`)),
  'a jti of a prototype': () => forge(without('jti', `"__proto__":{"jti":"${randomUUID()}"}`)),
  'a second jti': () => forge(`{"jti":"${randomUUID()}",${JSON.stringify(good({ jti: 5 })).slice(1)}`),
  'a second exp': () => forge(`${JSON.stringify(good()).slice(0, -1)},"exp":1e300}`),
  'an iss that is a number': () => forge(good({ iss: randomInt(1e9) })),
  'an iss that is null': () => forge(good({ iss: null })),
  'an iss that is an array': () => forge(good({ iss: ['a'] })),
  'an iss of 1,025 characters': () => forge(good({ iss: 'x'.repeat(1025) })),
  'an iss with a lone surrogate': () => forge(without('iss', '"iss":"\\udfff"')),
  'a sub that is an object': () => forge(good({ sub: { toString: 1 } })),
  'a sub that is false': () => forge(good({ sub: false })),
  'a sub of 2,000 characters': () => forge(good({ sub: 'é'.repeat(2000) })),
  'a sub with a lone surrogate': () => forge(without('sub', '"sub":"a\\ud800b"')),
  'a deep payload and no exp': () => forge(without('exp', `"a":${nested(500)}`)),
  'many claims and no jti': () => forge(good({ jti: undefined, ...Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`claim ${i}`, i])) }))
}

/** Few of them: each takes as long as hundreds of others. */
const HUGE: Record<string, Kind> = {
  'a jti of a megabyte': () => forge(good({ jti: 'x'.repeat(MEGABYTE) })),
  'an iss of a megabyte': () => forge(good({ iss: '字'.repeat(MEGABYTE / 3) })),
  'a very deep payload and no exp': () => forge(without('exp', `"a":${nested(MANY)}`)),
  'thousands of claims and no jti': () => forge(good({ jti: undefined, ...Object.fromEntries(Array.from({ length: MANY }, (_, i) => [`claim ${i}`, i])) })),
  'thousands of times the same claim': () => forge(`{${'"jti":"a",'.repeat(MANY)}"jti":[],"exp":${inSeconds(60)}}`),
  'a megabyte of noise': () => randomBytes(MEGABYTE).toString('base64url'),
  'a megabyte of dots': () => '.'.repeat(MEGABYTE),
  'a megabyte of escapes': () => forge(good({ jti: '\u0001'.repeat(MEGABYTE / 6) })),
  'a megabyte, of another key': () => forge(good({ a: 'x'.repeat(MEGABYTE) }), { secret: 'a secret of somebody else, of more than 32 bytes' })
}

const RULE = /^Bearer error="invalid_token", error_description="The token cannot be revoked: [-A-Za-z0-9, ]+"$/

/** What of its answers to one token is not as it must be. */
async function wrong (app: FastifyInstance, token: string, revocable: boolean, url: string): Promise<string | undefined> {
  const { statusCode, headers, payload } = await ask(app, url, bearer(token))
  if (!revocable && url !== '/public') {
    const { code, message } = JSON.parse(payload)
    const right = statusCode === 401 && code === 'FST_JWT_NOT_REVOCABLE' && RULE.test(String(headers['www-authenticate'])) &&
      /^Token cannot be revoked and is therefore not accepted: [-A-Za-z0-9, ]+$/.test(message)
    return right ? undefined : payload
  }
  if (url === '/public') return statusCode === 200 && payload === '{"user":null}' ? undefined : payload
  return statusCode >= 400 ? undefined : payload
}

t.test('bad tokens of every kind: none is accepted, nothing is unhandled, Redis is asked about the genuine ones and told nothing, and nothing of them stays in memory', async (t) => {
  const nobodyHandled = unhandled(t)
  const app = await buildApp(t, { revocation: { redis: server.url, recordOnUse: true } })
  const kinds = [
    ...Object.entries(UNVERIFIABLE).map(([name, kind]) => ({ name, kind, revocable: true })),
    ...Object.entries(UNREVOCABLE).map(([name, kind]) => ({ name, kind, revocable: false }))
  ]
  const problems = new Map<string, unknown>()
  const heaps: number[] = []
  let seconds = 0
  const commands = await commandsOf(server, async () => {
    for (let pass = 0; pass < PASSES; pass++) {
      const started = performance.now()
      for (let done = 0; done < PER_PASS; done += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, async (_, i) => {
          const { name, kind, revocable } = kinds[(done + i) % kinds.length]!
          const problem = await wrong(app, kind(), revocable, i % 3 === 0 ? '/public' : '/me')
          if (problem !== undefined) problems.set(name, problem)
        }))
      }
      seconds += (performance.now() - started) / 1000
      heaps.push(await heapUsed())
    }
  })
  t.strictSame([...problems], [])
  t.strictSame(Object.keys(commands), ['mget'], 'what can not be revoked by all of its names may be revoked by one')
  t.strictSame(await server.keys('*'), [])
  t.strictSame(nobodyHandled, [])
  t.ok(app.revocation.status().available)
  // What is remembered up to a bound is full by the second pass.
  const [, first, second] = heaps as [number, number, number]
  // The names of 6000 tokens would be 0.6 MB at least.
  t.ok(second - first < MEGABYTE / 2, 'nothing stays of another pass', { first, second })
  t.comment(`${Math.round(PASSES * PER_PASS / seconds)} tokens/s, heap ${first} then ${second}`)
})

t.test('what does not verify is answered as @fastify/jwt alone answers it', async (t) => {
  const app = await buildApp(t, {})
  const stock = Fastify()
  t.teardown(() => stock.close())
  await stock.register(fastifyJwt, { secret: SECRET })
  stock.get('/me', async (request) => request.jwtVerify())
  await stock.ready()
  for (const [name, kind] of Object.entries(UNVERIFIABLE)) {
    for (let i = 0; i < 5; i++) {
      const headers = bearer(kind())
      const [ours, theirs] = await Promise.all([app, stock].map(async (one) => {
        const { statusCode, payload } = await ask(one, '/me', headers)
        const { code, message } = JSON.parse(payload)
        // It says in milliseconds when the token expired.
        return { statusCode, code, message: message.replace(/\d{4}-\S+/, 'a time') }
      }))
      t.strictSame(ours, theirs, name)
    }
  }
})

t.test('tokens of a megabyte are refused like others', async (t) => {
  const nobodyHandled = unhandled(t)
  const app = await buildApp(t, { revocation: { redis: server.url } })
  const { length } = await server.keys('*')
  const commands = await commandsOf(server, async () => {
    for (const [name, kind] of Object.entries(HUGE)) {
      for (const url of ['/me', '/v1/jwt/history']) {
        const { statusCode, headers, payload } = await ask(app, url, bearer(kind()))
        t.ok(statusCode === 400 || statusCode === 401, name, { statusCode, payload: payload.slice(0, 200) })
        t.ok(payload.length < 300)
        t.ok(String(headers['www-authenticate'] ?? '').length < 200)
      }
    }
  })
  t.strictSame(Object.keys(commands), ['mget'])
  t.equal((await server.keys('*')).length, length)
  t.strictSame(nobodyHandled, [])
})

t.test('a flood of forged tokens costs Redis nothing, one of good tokens a read each at most', async (t) => {
  const app = await buildApp(t, { revocation: { redis: server.url, storeTimeout: 10_000 } })
  const COUNT = isThorough ? 2000 : 1000
  const flood = (make: () => string, status: number) => commandsOf(server, async () => {
    const statuses = new Set<number>()
    for (let i = 0; i < COUNT; i += 100) {
      await Promise.all(Array.from({ length: 100 }, async () => statuses.add((await ask(app, '/me', bearer(make()))).statusCode)))
    }
    t.strictSame([...statuses], [status])
  })
  const forged = await flood(UNVERIFIABLE['of another key']!, 401)
  const genuine = await flood(() => forge(good()), 200)
  t.strictSame(forged, {})
  t.strictSame(Object.keys(genuine), ['mget'])
  t.ok(genuine.mget! > 0 && genuine.mget! <= COUNT / 10, 'those of one turn share one', genuine)
  t.comment(`commands of ${COUNT}: forged ${JSON.stringify(forged)}, good ${JSON.stringify(genuine)}`)
})

t.test('a flood of revoked tokens is a line of log for each token, in whatever way it is presented', async (t) => {
  let lines = 0
  const write = (line: string) => { if (line.includes('authn_token_reuse')) lines++ }
  const app = await buildApp(t, { fastify: { logger: { level: 'warn', stream: { write } } } })
  const claims = Array.from({ length: 50 }, () => good())
  for (const { jti, exp } of claims) await app.revocation.revoke({ jti, exp })
  await app.revocation.revokeSubject('bob')
  const tokens = [...claims, ...Array.from({ length: 50 }, () => good({ sub: 'bob' }))].map((claims) => forge(claims))
  const statuses = new Set<number>()
  const urls = ['/me', '/public', '/nowhere', '/v1/jwt/history', '/v1/jwt/history/id/x']
  for (let i = 0; i < 30; i++) {
    await Promise.all(tokens.map(async (token, j) => {
      const headers = bearer(token)
      if (i % 2 === 1) headers.authorization = headers.authorization.replace('Bearer', 'bEARER')
      statuses.add((await ask(app, urls[(i + j) % urls.length]!, headers)).statusCode)
    }))
  }
  t.strictSame([...statuses], [401])
  t.equal(lines, tokens.length)
})

/** Keeps nothing, so that what grows is ours. */
const FORGETFUL: Partial<Store> = {
  status: { kind: 'redis', available: true, warnings: [] },
  denials: { check: ({ identity }, done) => done(null, identity?.startsWith('revoked') === true, null) } as Denials,
  records: { add: async () => {} } as unknown as Records
}

for (const [what, jti] of [['recorded on use', () => randomUUID()], ['used after they were revoked', () => `revoked-${randomUUID()}`]] as const) {
  t.test(`what is remembered of tokens that are ${what} is bounded`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ clock, store: FORGETFUL as Store, recordOnUse: true })
    const fates = new Set<string>()
    const flood = async () => {
      for (let i = 0; i < 12_000; i++) fates.add(await presented(domain, foreign(clock, { jti: jti() })))
      return heapUsed()
    }
    const first = await flood()
    const second = await flood()
    t.equal(fates.size, 1)
    // A set of 12,000 more names would be 1.2 MB at least.
    t.ok(second - first < MEGABYTE, 'as much after 24,000 as after 12,000', { first, second })
    t.comment(`heap ${first} then ${second}`)
  })
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

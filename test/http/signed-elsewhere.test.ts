import type { FastifyJWTOptions } from '@fastify/jwt'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
import { execFile, spawnSync } from 'node:child_process'
import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { answerOf, bearer, buildApp, inSeconds, listen, ownPrefix, rawRequest, REVOKED, SECRET, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

const redis = await startRedis(t)
const HISTORY = '/v1/jwt/history'
const ISSUER = 'https://issuer.example/realms/a?b=c&d'

const KEYS: Record<string, { publicKey: KeyObject, privateKey: KeyObject }> = {
  HS256: { publicKey: createSecretKey(Buffer.from(SECRET)), privateKey: createSecretKey(Buffer.from(SECRET)) },
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519')
}

/** As a service has it that only verifies: what other services sign, with the keys that they publish. */
const jwtFor = (alg: string): Partial<FastifyJWTOptions> => ({
  secret: alg === 'HS256' ? SECRET : { public: String(KEYS[alg]!.publicKey.export({ type: 'spki', format: 'pem' })) },
  verify: { algorithms: [alg as 'HS256'], allowedIss: [ISSUER] }
})

const HAS_CURL = spawnSync('curl', ['--version']).status === 0

/** DELETE, as people try it out: with the content type of the published API, and no body. */
async function curlDelete (port: number, path: string, token: string) {
  const headers = { ...bearer(token), 'content-type': 'application/json' }
  if (!HAS_CURL) return rawRequest(port, { method: 'DELETE', path, headers })
  const { stdout } = await promisify(execFile)('curl', [
    '-sS', '-X', 'DELETE', ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    '-w', '\n%{http_code}', `http://127.0.0.1:${port}${path}`
  ])
  const [body, statusCode] = stdout.split('\n')
  return { statusCode: Number(statusCode), body: JSON.parse(body!) }
}

/** Until when Redis keeps a key: milliseconds since the epoch, at the earliest and at the latest. */
async function endOf (key: string): Promise<{ from: number, to: number }> {
  const asked = Date.now()
  const left = Number(await redis.cli('PTTL', key))
  return left < 0 ? { from: left, to: left } : { from: asked + left, to: Date.now() + left }
}

// The one test that waits for Redis to forget. It runs beside the others, and is asked for at the end.
const forgotten = (async () => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: redis.url, keyPrefix, storeTimeout: 10_000 } })
  const { token, jti, expiresAt } = await app.revocation.issue({ sub: 'alice' }, { expiresIn: 6 })
  const exp = Date.parse(expiresAt!) / 1000
  const revocation = await app.inject({ method: 'DELETE', url: `${HISTORY}/${jti}`, headers: bearer(token) })
  const refused = answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
  const keys = await redis.keys(`${keyPrefix}*`)
  await sleep(exp * 1000 + 10_000 - 4000 - Date.now())
  const almost = await redis.keys(`${keyPrefix}*`)
  const expired = answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
  await sleep(exp * 1000 + 10_000 + 1000 - Date.now())
  return { revocation: revocation.statusCode, refused, keys, almost, expired, left: await redis.keys(`${keyPrefix}*`) }
})()
// A failure before anybody waits for it is told by the test that does.
forgotten.catch(() => {})

for (const [alg, { privateKey }] of Object.entries(KEYS)) {
  t.test(`a token that another service signed with ${alg} is accepted, revoked with curl, and refused by every process`, async (t) => {
    const keyPrefix = ownPrefix()
    const client = new Redis(redis.url)
    t.teardown(() => client.disconnect())
    const one = await buildApp(t, { jwt: jwtFor(alg), revocation: { redis: redis.url, keyPrefix } })
    const other = await buildApp(t, { jwt: jwtFor(alg), revocation: { redis: client, keyPrefix } })
    const ports = [await listen(one), await listen(other)]

    const jti = `urn:uuid/${crypto.randomUUID()}`
    const exp = inSeconds(600) + 0.25
    const sign = (claims: object) => new SignJWT({ jti, sub: 'alice', aud: 'us', iat: inSeconds(0), exp, scope: 'all', ...claims })
      .setProtectedHeader({ alg, typ: 'at+jwt', kid: 'key-1' }).setIssuer(ISSUER).sign(privateKey)
    const token = await sign({})
    const bystander = await sign({ jti: 'bystander' })

    for (const port of ports) {
      const { statusCode, body } = await rawRequest(port, { path: '/me', headers: bearer(token) })
      t.match({ statusCode, body }, { statusCode: 200, body: { user: { jti, iss: ISSUER, exp } } })
    }

    const before = Math.floor(Date.now() / 1000)
    const { statusCode, body } = await curlDelete(ports[0]!, `${HISTORY}/${encodeURIComponent(jti)}`, token)
    const { revokedAt, ...revocation } = body
    t.strictSame({ statusCode, revocation }, {
      statusCode: 200, revocation: { jti, iss: ISSUER, status: 'revoked', expiresAt: new Date(exp * 1000).toISOString() }
    })
    const at = Date.parse(revokedAt) / 1000
    t.ok(at >= before && at <= inSeconds(0), revokedAt)

    for (const port of ports) {
      for (const path of ['/me', '/public', '/nowhere']) {
        t.strictSame(await rawRequest(port, { path, headers: bearer(token) }), REVOKED, path)
      }
      t.equal((await rawRequest(port, { path: '/me', headers: bearer(bystander) })).statusCode, 200)
    }

    const key = `${keyPrefix}revoked:${encodeURIComponent(ISSUER)}/${encodeURIComponent(jti)}`
    t.strictSame(await redis.keys(`${keyPrefix}*`), [`${keyPrefix}log`, key], 'nothing but the revocation and the log is kept')
    t.strictSame(JSON.parse(await redis.cli('GET', key)), { at, exp })
  })
}

t.test('P2 a revocation is kept until the token ends for every verifier, and 10 seconds', async (t) => {
  for (const [clockTolerance, seconds] of [[undefined, 0], [0, 0], [1500, 1.5], [30_000, 30]] as const) {
    const keyPrefix = ownPrefix()
    const app = await buildApp(t, {
      jwt: { verify: clockTolerance === undefined ? {} : { clockTolerance } },
      revocation: { redis: redis.url, keyPrefix }
    })
    for (const part of [0, 0.25, 0.5, 0.0004, 0.9996]) {
      const began = Date.now()
      // Redis gets a span as well, which begins when it reads it.
      const late = () => Date.now() - began
      const label = `clockTolerance ${clockTolerance} ms, exp with ${part}`
      const exp = inSeconds(600) + part
      const expected = (Math.ceil(exp) + seconds + 10) * 1000
      const isKept = async (jti: string) => {
        const { from, to } = await endOf(`${keyPrefix}revoked:${encodeURIComponent(jti)}`)
        t.ok(to >= expected, `${label}: not shorter, by ${expected - to} ms`)
        t.ok(from <= expected + 1000 + late(), `${label}: nor longer, by ${from - expected} ms`)
      }

      const own = await signed({ jti: `by itself ${part}`, exp })
      t.equal((await app.inject({ method: 'DELETE', url: `${HISTORY}/${encodeURIComponent(`by itself ${part}`)}`, headers: bearer(own) })).statusCode, 200)
      await isKept(`by itself ${part}`)

      await app.revocation.revoke({ jti: `by exp ${part}`, exp })
      await isKept(`by exp ${part}`)

      for (const by of ['id', 'jti']) {
        const { id, jti = '' } = await app.revocation.record({ jti: `by its record's ${by} ${part}`, iat: inSeconds(0), exp })
        for (const key of [`token:${id}`, `id:${encodeURIComponent(jti)}`]) {
          const { from, to } = await endOf(keyPrefix + key)
          t.ok(to >= expected && from <= expected + 1000 + late(), `${label}: ${key}`)
        }
        await (by === 'id' ? app.revocation.revokeById(id) : app.revocation.revoke({ jti }))
        await isKept(jti)
      }
    }
    const log = `${keyPrefix}log`
    const kept = await redis.keys(`${keyPrefix}*`)
    t.ok(kept.includes(log))
    const ends = await Promise.all(kept.filter((key) => key !== log).map(endOf))
    t.equal(ends.length, 5 * (2 + 2 * 3))
    t.ok(ends.every(({ from }) => from > Date.now()), 'no key stays for ever but the log')
  }
})

t.test('P2 a token that has expired, but not beyond clockTolerance, is accepted and its revocation kept as long as it is', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { jwt: { verify: { clockTolerance: 30_000 } }, revocation: { redis: redis.url, keyPrefix } })
  const exp = inSeconds(-20) + 0.5
  const token = await signed({ jti: 'late', exp })
  t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
  t.equal((await app.inject({ method: 'DELETE', url: `${HISTORY}/late`, headers: bearer(token) })).statusCode, 200)
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
  t.ok((await endOf(`${keyPrefix}revoked:late`)).to >= (Math.ceil(exp) + 30 + 10) * 1000)
})

t.test('P2 a revocation of an unknown exp is kept for maxTokenLifetime from the furthest iat, and without an end where that is unbounded', async (t) => {
  for (const [maxTokenLifetime, seconds] of [[undefined, 30 * 24 * 3600], ['2h', 7200], [90, 90]] as const) {
    const keyPrefix = ownPrefix()
    const app = await buildApp(t, { revocation: { redis: redis.url, keyPrefix, ...(maxTokenLifetime !== undefined && { maxTokenLifetime }) } })
    const before = Date.now()
    t.equal((await app.revocation.revoke({ jti: 'x' })).expiresAt, null)
    const { from, to } = await endOf(`${keyPrefix}revoked:x`)
    t.ok(to >= before + (60 + seconds + 20) * 1000 && from <= Date.now() + (60 + seconds + 20) * 1000 + 1000, String(maxTokenLifetime))
  }
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: redis.url, keyPrefix, maxTokenLifetime: 'unbounded' } })
  await app.revocation.revoke({ jti: 'x' })
  t.equal(await redis.cli('PTTL', `${keyPrefix}revoked:x`), '-1')
})

t.test('P2 revoking again never shortens', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: redis.url, keyPrefix } })
  const key = `${keyPrefix}revoked:x`
  const late = inSeconds(7200)
  const began = Date.now()
  const isKept = async (what: string) => {
    const { from, to } = await endOf(key)
    const end = (late + 10) * 1000
    t.ok(to >= end && from <= end + 500 + Date.now() - began, what, { from: from - end, to: to - end })
  }
  await app.revocation.revoke({ jti: 'x', exp: inSeconds(60) })
  await app.revocation.revoke({ jti: 'x', exp: late })
  await isKept('the later end')
  await app.revocation.revoke({ jti: 'x', exp: inSeconds(60) })
  await app.revocation.revoke({ jti: 'x', exp: 1 })
  await isKept('still')
})

t.test('once the token would have expired anyway, Redis holds nothing of it but a line of the log', async (t) => {
  const { revocation, refused, keys, almost, expired, left } = await forgotten
  t.equal(revocation, 200)
  t.strictSame(refused, REVOKED)
  t.equal(keys.length, 5)
  t.strictSame(almost, keys, 'a second before the end everything is still there')
  t.strictSame(expired, {
    statusCode: 401,
    body: { statusCode: 401, code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', error: 'Unauthorized', message: 'Authorization token expired' }
  })
  t.strictSame(left, keys.filter((key) => key.endsWith(':log')))
  t.equal(await redis.cli('XLEN', left[0]!), '1')
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import t from 'tap'
import { answerOf, bearer, buildApp, genuine, inSeconds, listen, ownPrefix, REVOKED } from '../support/app.ts'
import { eventually, startRedis } from '../support/redis.ts'

/* What somebody can do to others, and to Redis, with one good token that is not theirs. */

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const HISTORY = '/v1/jwt/history'
const RACE = 150
/** Seconds, of a token's 60: the cutoff would lie beyond the end of what issue() signs. */
const LOCKOUT = 110

/** So many copies of one request over one connection, in one write: they are all there before the first is answered. */
async function pipelined (port: number, path: string, token: string, count: number) {
  const socket = connect(port, '127.0.0.1')
  const request = `DELETE ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk) => { received += chunk })
  socket.write(request.repeat(count))
  await eventually('all are answered', async () => received.split('HTTP/1.1 ').length > count)
  socket.destroy()
  return [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
}

for (const how of ['in process', 'pipelined over one connection'] as const) {
  t.test(`one token, presented many times at once, does not push its subject's cutoff into the future: ${how}`, async (t) => {
    const app = await buildApp(t, { revocation: { redis, keyPrefix: ownPrefix(), storeTimeout: 10_000, maxTokenLifetime: '1m' } })
    const stolen = await app.revocation.issue({ sub: 'alice' }, { expiresIn: '1m' })
    const path = `${HISTORY}/sub/alice`
    if (how === 'in process') {
      await Promise.all(Array.from({ length: LOCKOUT }, () => app.inject({ method: 'DELETE', url: path, headers: bearer(stolen.token) })))
    } else await pipelined(await listen(app), path, stolen.token, LOCKOUT)
    const { cutoff } = await app.revocation.revokeSubject('alice')
    t.ok(cutoff! <= inSeconds(5), 'the cutoff is about now', { ahead: cutoff! - inSeconds(0) })

    const elsewhere = await genuine({ iat: inSeconds(5), exp: inSeconds(60) })
    t.equal((await app.inject({ url: '/me', headers: bearer(elsewhere.token) })).statusCode, 200, 'a new token of another signer is accepted soon')
    const issued = await app.revocation.issue({ sub: 'alice' }, { expiresIn: '1m' }).then(({ token }) => token, ({ message }) => message)
    t.match(issued, /^eyJ/, 'and the subject can log in here')
  })
}

t.test('revoking what is revoked again and again does not make the log grow', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis, keyPrefix, storeTimeout: 10_000 } })
  const sub = '字'.repeat(1024)
  const [caller, other] = await Promise.all([1, 2].map(() => app.revocation.issue({ sub, iss: sub })))
  for (let i = 0; i < RACE; i++) {
    const { statusCode } = await app.inject({ method: 'DELETE', url: `${HISTORY}/${other!.jti}`, headers: bearer(caller!.token) })
    t.equal(statusCode, 200)
  }
  const length = await redis.xlen(`${keyPrefix}log`)
  const bytes = await redis.memory('USAGE', `${keyPrefix}log`, 'SAMPLES', 0)
  t.ok(length <= 10, 'a few entries are enough', { length, bytes, perRequest: bytes! / RACE })
})

t.test('many requests at once with one token that ends itself: one revocation, one entry of the audit, and all of them answered', async (t) => {
  const keyPrefix = ownPrefix()
  const revoked: unknown[] = []
  const app = await buildApp(t, {
    revocation: { redis, keyPrefix, storeTimeout: 10_000 },
    after (app) { app.revocation.on('revoked', (revocation) => revoked.push(revocation)) }
  })
  const { jti, token } = await app.revocation.issue({ sub: 'alice' })
  const statuses = new Set(await pipelined(await listen(app), `${HISTORY}/${jti}`, token, RACE))
  for (const status of statuses) t.ok(status === 200 || status === 401, String(status))
  t.equal(revoked.length, 1)
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
})

t.test('somebody else\'s jti, id or subject costs two reads and writes nothing, however often it is tried', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis, keyPrefix, storeTimeout: 10_000 } })
  const victim = await app.revocation.issue({ sub: 'alice' })
  const { token } = await genuine({ sub: 'mallory' })
  const before = await server.keys(`${keyPrefix}*`)
  for (let i = 0; i < 20; i++) {
    for (const path of [victim.jti, `id/${victim.id}`, 'sub/alice', 'sub/alice?except=current', `${randomUUID()}?iss=b`, `id/${randomUUID()}`]) {
      const { statusCode, body } = answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/${path}`, headers: bearer(token) }))
      t.same({ statusCode, body }, {
        statusCode: 403,
        body: { statusCode: 403, code: 'FST_JWT_REVOCATION_FORBIDDEN', error: 'Forbidden', message: 'Not allowed to act on this token' }
      }, path)
    }
  }
  t.strictSame(await server.keys(`${keyPrefix}*`), before)
  t.equal((await app.inject({ url: '/me', headers: bearer(victim.token) })).statusCode, 200)
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

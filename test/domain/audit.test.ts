import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { Redis } from 'ioredis'
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Audit } from '../../lib/domain/audit.ts'
import type { RevocationOptions } from '../../lib/index.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { bearer, buildApp, genuine, inSeconds, ownPrefix, signed } from '../support/app.ts'
import { buildDomain, Clock, foreign, ownTime, presented } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'

const server = await startRedis(t)
const client = new Redis(server.url)
t.teardown(() => client.disconnect())

const HISTORY = '/v1/jwt/history'
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: client, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
}
const INFO = 30
const WARN = 40

/** What the audit writes, as it would reach a file. */
class Log {
  written = ''
  readonly write = (line: string) => { this.written += line }

  /** Every line, or those of one event, without what pino adds to each. */
  lines (event?: string): Array<Record<string, unknown>> {
    return this.written.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line))
      .filter((line) => event === undefined || line.event === event)
      .map(({ time, pid, hostname, ...line }) => line)
  }

  takes (event: string) {
    const lines = this.lines(event)
    this.written = ''
    return lines
  }
}

async function logged (t: Test, revocation: RevocationOptions) {
  const log = new Log()
  const app = await buildApp(t, { fastify: { logger: { level: 'trace', stream: log } }, revocation })
  const remove = (token: string, path: string) => app.inject({ method: 'DELETE', url: `${HISTORY}/${path}`, headers: bearer(token) })
  return { app, log, remove }
}

const REVOKED = { level: INFO, event: 'authn_token_revoked', msg: 'jwt revocation: revoked' }
const REUSED = { level: WARN, event: 'authn_token_reuse', msg: 'jwt revocation: a revoked token was used' }
const iso = (seconds: number) => new Date(seconds * 1000).toISOString()

for (const [name, store] of Object.entries(STORES)) {
  t.test(`each revocation is one line that says what and by whom, on ${name}`, async (t) => {
    const time = ownTime(t)
    const { app, log, remove } = await logged(t, { ...store(), authorize: () => true })
    const took = () => log.takes('authn_token_revoked')
    const revokedAt = iso(time.seconds)
    const expiresAt = iso(time.seconds + 900)
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'a' }, {}, { iss: 'a' }]) {
      const revocation = ({ jti, id }: { jti: string, id: string }) => ({ jti, id, ...claims, status: 'revoked', revokedAt, expiresAt })
      const [caller, one, two, three, four] = await Promise.all(Array.from({ length: 5 }, () => app.revocation.issue(claims, { meta: { secret: 'of the history' } })))
      const by = { jti: caller!.jti, ...claims }
      t.strictSame(took(), [])

      await remove(caller!.token, one!.jti)
      t.strictSame(took(), [{ ...REVOKED, ...revocation(one!), by }], 'by its jti')
      await remove(caller!.token, `id/${two!.id}`)
      t.strictSame(took(), [{ ...REVOKED, ...revocation(two!), by }], 'by its id')
      await app.revocation.revoke({ ...claims, jti: three!.jti })
      t.strictSame(took(), [{ ...REVOKED, ...revocation(three!), by: {} }], 'by the application')
      await app.revocation.revokeById(four!.id)
      t.strictSame(took(), [{ ...REVOKED, ...revocation(four!), by: {} }])
      const unrecorded = await genuine({ sub: undefined, ...claims })
      await remove(unrecorded.token, unrecorded.jti)
      const { sub, ...issuer } = { sub: undefined, ...claims }
      t.strictSame(took(), [{ ...REVOKED, jti: unrecorded.jti, ...issuer, status: 'revoked', revokedAt, expiresAt, by: { jti: unrecorded.jti, ...claims } }], 'without a record')

      for (const path of [one!.jti, `id/${two!.id}`]) t.equal((await remove(caller!.token, path)).statusCode, 200)
      await app.revocation.revoke({ ...claims, jti: three!.jti })
      t.strictSame(took(), [], 'what was revoked before is no revocation')
      t.equal((await remove(caller!.token, 'id/unknown')).statusCode, 404)
      t.strictSame(took(), [])

      if (claims.sub === undefined) continue
      const others = await Promise.all([1, 2].map(() => app.revocation.issue(claims)))
      await remove(caller!.token, 'sub/alice?except=current')
      const byJti = (a: { jti?: unknown }, b: { jti?: unknown }) => String(a.jti) < String(b.jti) ? -1 : 1
      t.strictSame(took().sort(byJti), others.sort(byJti).map((other) => ({ ...REVOKED, ...revocation(other), by })), 'each that is not left out')
      await remove(caller!.token, 'sub/alice')
      t.strictSame(took(), [{ ...REVOKED, ...claims, cutoff: time.seconds, by }], 'a subject, as soon as its cutoff stands')
      await app.revocation.revokeSubject('alice', claims)
      t.strictSame(took(), [{ ...REVOKED, ...claims, cutoff: time.seconds + 1, by: {} }])
    }
  })

  t.test(`the use of a revoked token is a line, once a minute for each, on ${name}`, async (t) => {
    const time = ownTime(t)
    const { app, log } = await logged(t, store())
    const take = () => log.takes('authn_token_reuse')
    const use = async (token: string, url = '/me') => (await app.inject({ url, headers: bearer(token) })).statusCode
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'a' }, { sub: undefined }]) {
      const [one, other, cut] = [await genuine(claims), await genuine(claims), await genuine({ sub: 'bob', ...(claims.iss && { iss: claims.iss }) })]
      const line = ({ jti }: { jti: string }) => ({ ...REUSED, jti, ...(claims.iss && { iss: claims.iss }), ...(claims.sub && { sub: claims.sub }) })
      t.equal(await use(one.token), 200)
      t.strictSame(take(), [])
      for (const { jti } of [one, other]) await app.revocation.revoke({ jti, ...(claims.iss && { iss: claims.iss }) })
      for (const url of ['/me', '/public', '/nowhere', HISTORY]) t.equal(await use(one.token, url), 401)
      t.strictSame(take(), [line(one)])
      t.equal(await use(other.token), 401)
      t.strictSame(take(), [line(other)])
      time.now += 59_999
      t.equal(await use(one.token), 401)
      t.strictSame(take(), [], 'not yet')
      time.now += 1
      t.equal(await use(one.token), 401)
      t.equal(await use(one.token), 401)
      t.strictSame(take(), [line(one)], 'a minute later')

      t.equal(await use(cut.token), 200)
      await app.revocation.revokeSubject('bob', claims.iss === undefined ? {} : { iss: claims.iss })
      t.equal(await use(cut.token), 401)
      t.strictSame(take(), [{ ...line(cut), sub: 'bob' }], 'one that was cut off')
    }
  })
}

t.test('the use of revoked tokens without a jti is told once a minute for each subject', async (t) => {
  const { app, log } = await logged(t, { tokensWithoutJti: 'accept' })
  for (const sub of ['alice', 'bob']) {
    await app.revocation.revokeSubject(sub)
    for (let i = 0; i < 3; i++) t.equal((await app.inject({ url: '/me', headers: bearer(await signed({ sub, iat: inSeconds(-10), exp: inSeconds(60 + i) })) })).statusCode, 401)
  }
  t.strictSame(log.takes('authn_token_reuse'), [{ ...REUSED, sub: 'alice' }, { ...REUSED, sub: 'bob' }])
})

t.test('a door that is no request tells of no use', async (t) => {
  const clock = new Clock()
  const lines: object[] = []
  const log = { fatal () {}, info () {}, warn: (line: object) => { lines.push(line) }, error () {} }
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock, log })
  const claims = foreign(clock)
  await domain.revoke({ jti: String(claims.jti) })
  t.equal(await domain.isRevoked(claims), true)
  t.strictSame(lines, [])
  t.equal(await presented(domain, claims), 'FST_JWT_REVOKED')
  t.equal(lines.length, 1)
})

t.test('at most 10,000 tokens are remembered as told of, the latest', async (t) => {
  const clock = new Clock()
  const told: unknown[] = []
  const audit = new Audit({ fatal () {}, info () {}, warn: ({ jti }: { jti?: string }) => { told.push(jti) } }, clock)
  const use = (i: number) => audit.reused(`token ${i}`, { jti: `token ${i}` })
  const tells = (i: number) => {
    const before = told.length
    use(i)
    return told.length > before
  }
  for (let i = 0; i < 10_000; i++) use(i)
  t.equal(told.length, 10_000)
  t.notOk(tells(0), 'of 10,000 none is forgotten')
  t.ok(tells(10_000))
  t.ok(tells(0), 'of one more, the oldest is')
  t.notOk(tells(9999))
  t.notOk(tells(2))
  for (let i = 0; i < 50_000; i++) use(20_000 + i)
  t.ok(tells(9999))
  t.notOk(tells(69_999))
})

for (const [name, store] of Object.entries({ ...STORES, replica: () => ({ ...STORES.redis!(), mode: 'replica' as const }) })) {
  t.test(`a logger that throws changes no answer, on ${name}`, async (t) => {
    let thrown = 0
    const logger: FastifyServerOptions['logger'] = {
      level: 'info',
      stream: new Log(),
      hooks: {
        logMethod (given, method) {
          if ((given[0] as { event?: unknown }).event === undefined) return method.apply(this, given)
          thrown++
          throw new Error('no request that this line is of')
        }
      }
    }
    const app = await buildApp(t, { fastify: { logger }, revocation: { ...store(), onStoreFailure: 'accept' } })
    const { jti, token } = await genuine()
    t.match(await app.revocation.revoke({ jti }), { first: true })
    t.equal(thrown, 1)
    // One twice: in strict mode both wait for the same key.
    const tokens = [token, token, (await genuine()).token]
    const answers = await Promise.all(tokens.map((each) => app.inject({ url: '/me', headers: bearer(each) })))
    t.strictSame(answers.map(({ statusCode }) => statusCode), [401, 401, 200])
    t.equal(thrown, 2)
    t.ok(app.revocation.status().available, 'nor does the store seem lost')
  })
}

t.test('a logger that throws keeps no application from starting', async (t) => {
  const thrown: string[] = []
  const logger: FastifyServerOptions['logger'] = {
    stream: new Log(),
    hooks: {
      logMethod (given, method) {
        const line = given.find((one: unknown) => String(one).startsWith('jwt revocation: '))
        if (line === undefined) return method.apply(this, given)
        thrown.push(String(line))
        throw new Error('no request that this line is of')
      }
    }
  }
  const app = await buildApp(t, { fastify: { logger }, jwt: { cookie: { cookieName: 'token', signed: false } } })
  t.equal(thrown.length, 2)
  t.match(thrown[0], 'revocations are kept in this process only')
  t.match(thrown[1], 'nothing parses cookies')
  const { token } = await genuine()
  t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
})

t.test('no line holds a token, whatever becomes of it', async (t) => {
  const { app, log, remove } = await logged(t, { redis: client, keyPrefix: ownPrefix(), recordOnUse: true, authorize: () => false })
  const tokens: string[] = []
  const get = async (token: string, url = '/me') => {
    tokens.push(token)
    await app.inject({ url, headers: bearer(token) })
  }
  const issued = await app.revocation.issue({ sub: 'alice' }, { meta: { a: 1 } })
  const other = await app.revocation.issue({ sub: 'alice' })
  const elsewhere = await genuine({ iss: 'a' })
  const mallorys = await genuine({ sub: 'mallory' })
  for (const { token } of [issued, other, elsewhere, mallorys]) {
    for (const url of ['/me', '/public', '/nowhere', HISTORY, `${HISTORY}/id/${issued.id}`]) await get(token, url)
  }
  await get(await signed({ sub: 'alice', exp: 1, jti: 'a' }))
  await get(await signed({ sub: 'alice', exp: inSeconds(60) }))
  await get(await signed({ sub: 'alice', exp: inSeconds(60), jti: 'a' }, 'a secret of somebody else, of more than 32 bytes'))
  await remove(mallorys.token, issued.jti)
  await remove(mallorys.token, 'sub/alice')
  await remove(issued.token, other.jti)
  await remove(issued.token, 'sub/alice?except=current')
  await remove(issued.token, 'sub/alice')
  await remove(elsewhere.token, 'sub/alice')
  for (const { token } of [issued, other, elsewhere]) await get(token)
  t.ok(log.lines('authn_token_revoked').length >= 3)
  t.ok(log.lines('authn_token_reuse').length >= 3)
  for (const token of tokens) {
    const [, payload, signature] = token.split('.')
    t.notOk(log.written.includes(signature!), 'no signature')
    t.notOk(log.written.includes(payload!), 'no payload')
  }
  t.notOk(log.written.includes('eyJ'), 'and nothing that looks like a part of one')
})

t.test('names that a token\'s holder chose forge no line and no field', async (t) => {
  const FORGED = '"}\n{"level":30,"event":"authn_token_revoked","by":{"sub":"root"},"msg":"jwt revocation: revoked"}\r\n'
  const names = [FORGED, '\u0000\u001b[2K\u0007\u0008', '\u2028\u2029\u0085', '\\', '"', '\\"', '%s %j %o', '__proto__', 'constructor', '😀', '\ufeff', 'a'.repeat(255)]
  for (const [i, odd] of names.entries()) {
    const { app, log, remove } = await logged(t, { authorize: () => true })
    const claims = { jti: odd, sub: odd, iss: odd }
    const { token } = await genuine(claims)
    const caller = await genuine({ sub: odd, iss: odd })
    await app.revocation.record(app.jwt.decode(token)!, { [odd]: odd })
    t.equal((await remove(caller.token, encodeURIComponent(odd))).statusCode, 200)
    await app.inject({ url: '/me', headers: bearer(token) })
    await app.revocation.revokeSubject(odd, { iss: odd })
    for (const line of log.written.split('\n').slice(0, -1)) t.type(JSON.parse(line), 'object')
    // eslint-disable-next-line no-control-regex
    t.notMatch(log.written, /[\u0000-\u0009\u000b-\u001f]/, 'no control character but the ends of the lines')
    const events = log.lines().filter(({ event }) => event !== undefined)
    t.same(events.map(({ level, event, jti, sub, iss, by }) => ({ level, event, jti, sub, iss, by })), [
      { level: INFO, event: 'authn_token_revoked', ...claims, by: { jti: caller.jti, sub: odd, iss: odd } },
      { level: WARN, event: 'authn_token_reuse', ...claims, by: undefined },
      { level: INFO, event: 'authn_token_revoked', jti: undefined, sub: odd, iss: odd, by: {} }
    ], `name ${i}`)
  }
})

/** What is published on a channel while the test lasts. */
function published (t: Test, name: string) {
  const messages: unknown[] = []
  const listener = (message: unknown) => { messages.push(message) }
  subscribe(name, listener)
  t.teardown(() => unsubscribe(name, listener))
  return messages
}

async function revokeAndUse (app: FastifyInstance) {
  const caller = await app.revocation.issue({ sub: 'alice', iss: 'a' })
  const target = await app.revocation.issue({ sub: 'alice', iss: 'a' })
  await app.inject({ method: 'DELETE', url: `${HISTORY}/${target.jti}`, headers: bearer(caller.token) })
  for (let i = 0; i < 2; i++) await app.inject({ url: '/me', headers: bearer(target.token) })
  const { revoked: _, ...cutoff } = await app.revocation.revokeSubject('alice', { iss: 'a' })
  return { caller, target, cutoff }
}

t.test('what is logged is published on diagnostics channels, each use of it', async (t) => {
  const revocations = published(t, 'fastify-jwt-revocation:revoked')
  const uses = published(t, 'fastify-jwt-revocation:reuse')
  const time = ownTime(t)
  const { app, log } = await logged(t, {})
  const { caller, target, cutoff } = await revokeAndUse(app)
  const revocation = {
    jti: target.jti, id: target.id, iss: 'a', sub: 'alice', status: 'revoked', revokedAt: iso(time.seconds), expiresAt: iso(time.seconds + 900)
  }
  t.strictSame(revocations, [
    { revocation, by: { jti: caller.jti, iss: 'a', sub: 'alice' } },
    { revocation: cutoff, by: {} }
  ])
  const use = { jti: target.jti, iss: 'a', sub: 'alice' }
  t.strictSame(uses, [use, use], 'not once a minute: what to count is the subscriber\'s')
  t.equal(log.lines('authn_token_reuse').length, 1)
  t.equal(log.lines('authn_token_revoked').length, 2)
})

t.test('nothing is published where nobody listens', async (t) => {
  const calls: string[] = []
  for (const name of ['fastify-jwt-revocation:revoked', 'fastify-jwt-revocation:reuse']) {
    const quiet = channel(name)
    t.notOk(quiet.hasSubscribers)
    Object.defineProperty(quiet, 'publish', { configurable: true, value: () => calls.push(name) })
    t.teardown(() => Reflect.deleteProperty(quiet, 'publish'))
  }
  const { app, log } = await logged(t, {})
  await revokeAndUse(app)
  t.strictSame(calls, [])
  t.equal(log.lines('authn_token_revoked').length, 2, 'the log has it all the same')
})

t.test('a listener that throws changes nothing of a revocation, and is told of', async (t) => {
  const { app, log, remove } = await logged(t, {})
  app.revocation.on('revoked', () => { throw new Error(`a listener's own, ${randomUUID()}`) })
  const { token, jti } = await app.revocation.issue({ sub: 'alice' })
  t.equal((await remove(token, jti)).statusCode, 200)
  t.match(await app.revocation.revokeSubject('alice'), { revoked: 0 })
  const errors = log.lines().filter(({ msg }) => msg === "jwt revocation: a listener of 'revoked' threw")
  t.match(errors, [{ level: 50, err: { type: 'Error', message: /a listener's own/ } }, { level: 50 }])
  t.equal(log.lines('authn_token_revoked').length, 2)
})

import { randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import { refreshHashOf } from '../../lib/domain/refresh-token.ts'
import type { RevocationOptions, TokenPair } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { ownTime } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'

/* Sessions that are refreshed, as an application and its users see them. */

const HISTORY = '/v1/jwt/history'
const INVALID = { code: 'FST_JWT_REFRESH_INVALID', statusCode: 401, message: 'Refresh token is not valid, log in again' }
const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/
const server = await startRedis(t)

const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  replica: () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

type Lines = Array<{ level: number, event?: string } & Record<string, unknown>>

interface Built { app: FastifyInstance, lines: Lines }

async function build (t: Parameters<typeof buildApp>[0], revocation: RevocationOptions = {}, jwt = {}): Promise<Built> {
  const lines: Lines = []
  const app = await buildApp(t, {
    fastify: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } },
    jwt,
    revocation: { refresh: {}, ...revocation }
  })
  return { app, lines }
}

const login = (app: FastifyInstance, claims: object = {}, options: object = {}) =>
  app.revocation.issue({ sub: 'alice', ...claims }, { refresh: true, ...options }) as Promise<TokenPair>
const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const remove = async (app: FastifyInstance, path: string, token: string) =>
  answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}${path}`, headers: bearer(token) }))
const events = (lines: Lines, name: string) => lines.filter(({ event }) => event === name)

for (const [store, options] of Object.entries(STORES)) {
  t.test(`a session goes on by its refresh tokens: ${store}`, async (t) => {
    const { app, lines } = await build(t, options())
    const first = await login(app, { role: 'editor' }, { meta: { device: 'phone' } })
    t.match(first, { id: UUID, sid: UUID, jti: UUID, refreshToken: /^[\w-]{43}$/ })
    const life = Date.parse(first.refreshExpiresAt) - Date.now()
    t.ok(life > 29.9 * 86_400_000 && life <= 30 * 86_400_000)
    t.match(await me(app, first.token), { statusCode: 200, body: { user: { sub: 'alice', role: 'editor', sid: first.sid, jti: first.jti } } })

    const second = await app.revocation.refresh(first.refreshToken)
    t.match(second, { id: first.id, sid: first.sid, refreshExpiresAt: first.refreshExpiresAt })
    t.not(second.jti, first.jti)
    t.not(second.refreshToken, first.refreshToken)
    const third = await app.revocation.refresh(second.refreshToken, { meta: { device: 'tablet' } })
    for (const { token, jti } of [first, second, third]) {
      t.match(await me(app, token), { statusCode: 200, body: { user: { sub: 'alice', role: 'editor', sid: first.sid, jti } } })
    }
    const { tokens } = await app.revocation.tokens('alice')
    t.match(tokens, [{
      id: first.id, session: true, jti: third.jti, sub: 'alice', sid: first.sid, expiresAt: first.refreshExpiresAt, meta: { device: 'tablet' }, status: 'active'
    }])
    t.equal(tokens.length, 1, 'one record a session')
    t.match(events(lines, 'authn_token_refreshed'), [{ level: 30, id: first.id, sid: first.sid, sub: 'alice', jti: second.jti }, { jti: third.jti }])

    const other = await login(app)
    for (const { token } of [first, second, third]) {
      const { body } = answerOf(await app.inject({ url: HISTORY, headers: bearer(token) }))
      t.strictSame(body.tokens.map(({ id, current }: { id: string, current: boolean }) => [id, current]).sort(), [[first.id, true], [other.id, false]].sort())
    }
  })

  t.test(`within its grace a refresh token gives the same successor, three times in all: ${store}`, async (t) => {
    const { app, lines } = await build(t, options())
    const { refreshToken } = await login(app)
    const pairs = [await app.revocation.refresh(refreshToken), await app.revocation.refresh(refreshToken)]
    // The claims are with the successor by now, or with its successor.
    const next = await app.revocation.refresh(pairs[0]!.refreshToken)
    pairs.push(await app.revocation.refresh(refreshToken))
    t.equal(new Set(pairs.map((pair) => pair.refreshToken)).size, 1)
    t.equal(new Set(pairs.map(({ jti }) => jti)).size, 3)
    await t.rejects(app.revocation.refresh(refreshToken), INVALID)
    await t.rejects(app.revocation.refresh(refreshToken), INVALID)
    for (const { token } of [...pairs, next]) t.match(await me(app, token), { statusCode: 200 }, 'nothing ends')
    await t.resolves(app.revocation.refresh(next.refreshToken))
    t.strictSame(events(lines, 'authn_refresh_refused').map(({ level, reason }) => [level, reason]), [[40, 'exhausted']], 'told once a minute')
  })

  t.test(`the grace does not pass while the application reloads the user: ${store}`, async (t) => {
    const { app } = await build(t, { ...options(), refresh: { grace: 0.001 } })
    const { refreshToken } = await login(app)
    let goOn!: () => void
    const reloaded = new Promise<void>((resolve) => { goOn = resolve })
    const slow = app.revocation.refresh(refreshToken, { claims: async (old) => { await reloaded; return old } })
    const quick = await app.revocation.refresh(refreshToken, { claims: async (old) => { await setTimeout(20); return old } })
    await setTimeout(20)
    goOn()
    t.equal((await slow).refreshToken, quick.refreshToken)
    await t.rejects(app.revocation.refresh(refreshToken), INVALID, 'whoever comes now is late')
  })

  t.test(`used after its grace it ends the session, and one critical line says so: ${store}`, async (t) => {
    const { app, lines } = await build(t, { ...options(), refresh: { grace: 0 } })
    const first = await login(app)
    const second = await app.revocation.refresh(first.refreshToken)
    const told: unknown[] = []
    app.revocation.on('revoked', (event) => told.push(event))
    await t.rejects(app.revocation.refresh(first.refreshToken), INVALID)
    for (const { token } of [first, second]) t.strictSame(await me(app, token), REVOKED)
    for (const pair of [first, second]) await t.rejects(app.revocation.refresh(pair.refreshToken), INVALID)
    t.match(await app.revocation.token(first.id), { endedAt: /^\d{4}-/, session: true })
    t.match((await app.revocation.tokens('alice')).tokens, [{ status: 'revoked', endedAt: /^\d{4}-/ }])
    t.strictSame(told, [{ sid: first.sid, cutoff: 4294967295 }])
    const [line, ...more] = events(lines, 'authn_refresh_reuse')
    t.match(line, { level: 60, id: first.id, sid: first.sid, sub: 'alice', usesBefore: 1, firstUsedAt: /^\d{4}-/, usedAt: /^\d{4}-/ })
    t.strictSame(more, [])
    const written = JSON.stringify(lines)
    for (const { refreshToken } of [first, second]) for (const secret of [refreshToken, refreshHashOf(refreshToken)]) t.notOk(written.includes(secret))
  })

  const doors: Record<string, (app: FastifyInstance, pair: TokenPair & { sub: string }, older: TokenPair) => Promise<unknown>> = {
    'the jti of its latest token': (app, { jti, token }) => remove(app, `/${jti}`, token),
    'the jti of an older token': (app, { token }, { jti }) => remove(app, `/${jti}`, token),
    'the id of its record': (app, { id, token }) => remove(app, `/id/${id}`, token),
    'its sid': (app, { sid, token }) => remove(app, `/sid/${sid}`, token),
    'its subject': (app, { sub, token }) => remove(app, `/sub/${sub}`, token),
    'revoke(jti)': (app, { jti }) => app.revocation.revoke({ jti }),
    'revokeById()': (app, { id }) => app.revocation.revokeById(id),
    'revokeSession()': (app, { sid }) => app.revocation.revokeSession(sid),
    'revokeSubject()': (app, { sub }) => app.revocation.revokeSubject(decodeURI(sub)),
    'revokeSubject() that spares another': (app, { sub }) => app.revocation.revokeSubject(decodeURI(sub), { except: randomUUID() }),
    'revokeBy()': (app) => app.revocation.revokeBy('tenant', 'acme')
  }
  t.test(`each door ends the whole session: ${store}`, async (t) => {
    const { app } = await build(t, { ...options(), revocableBy: ['tenant'] })
    for (const [door, end] of Object.entries(doors)) {
      // Of a subject of its own: a cutoff would move the iat of whoever logs in next.
      const sub = `user of ${door}`
      const older = await login(app, { sub, tenant: 'acme', iat: inSeconds(-60) })
      const pair = await app.revocation.refresh(older.refreshToken)
      await end(app, { ...pair, sub: encodeURI(sub) }, older)
      for (const { token } of [older, pair]) t.strictSame(await me(app, token), REVOKED, `${door}: its access tokens`)
      for (const { refreshToken } of [older, pair]) await t.rejects(app.revocation.refresh(refreshToken), INVALID, `${door}: its refresh tokens`)
      const listed = (await app.revocation.tokens(sub)).tokens.find(({ id }) => id === pair.id)
      t.match(listed, { status: 'revoked', endedAt: /^\d{4}-/, session: true }, `${door}: listed as ended`)
    }
  })

  t.test(`"all but this device" spares the session of whoever asks: ${store}`, async (t) => {
    const { app } = await build(t, options())
    const mine = await login(app)
    const theirs = await login(app)
    const next = await app.revocation.refresh(mine.refreshToken)
    const single = await app.revocation.issue({ sub: 'alice' })
    t.match(await remove(app, '/sub/alice?except=current', mine.token), { statusCode: 200, body: { cutoff: null, revoked: 2 } }, 'asked with an older token')
    for (const { token } of [mine, next]) t.match(await me(app, token), { statusCode: 200 })
    for (const { token } of [theirs, single]) t.strictSame(await me(app, token), REVOKED)
    await t.rejects(app.revocation.refresh(theirs.refreshToken), INVALID)
    const again = await login(app)
    t.match(await app.revocation.revokeSubject('alice', { except: mine.jti }), { revoked: 1 }, 'a jti spares the session that it leads to')
    await t.rejects(app.revocation.refresh(again.refreshToken), INVALID)
    await t.resolves(app.revocation.refresh(next.refreshToken))
  })
}

t.test('claims: replaced, or made of the old ones; the session stays', async (t) => {
  const { app } = await build(t)
  let { refreshToken, sid } = await login(app, { role: 'a', sub: 7 })
  const refreshed = async (claims: unknown) => {
    const pair = await app.revocation.refresh(refreshToken, { claims: claims as object })
    refreshToken = pair.refreshToken
    const { iat, exp, jti, ...rest } = app.jwt.decode<Record<string, unknown>>(pair.token)!
    return rest
  }
  t.strictSame(await refreshed(undefined), { sub: 7, role: 'a', sid })
  t.strictSame(await refreshed({ role: 'b' }), { role: 'b', sub: '7', sid }, 'the subject is filled in')
  t.strictSame(await refreshed(undefined), { role: 'b', sub: '7', sid }, 'and what was given stays')
  t.strictSame(await refreshed({ role: 'c', sub: '7', sid, jti: 'x', iat: 1, exp: 2 }), { role: 'c', sub: '7', sid }, 'as request.user has them')
  t.strictSame(await refreshed(async (old: Record<string, unknown>) => ({ ...old, n: 1 })), { role: 'c', sub: '7', sid, n: 1 })
  t.strictSame(await refreshed((old: Record<string, unknown>) => { old.changed = true; return { n: 2 } }), { n: 2, sub: '7', sid })
  for (const [name, value] of [['sub', 'bob'], ['sub', 8], ['sid', 'other'], ['iss', 'https://other.example']] as const) {
    await t.rejects(app.revocation.refresh(refreshToken, { claims: { [name]: value } }), {
      name: 'TypeError', message: `refresh() can not change the ${name} of a session; leave it as it is, or begin a new session with issue()`
    })
  }
  await t.rejects(app.revocation.refresh(refreshToken, { claims: (() => 'x') as never }), { name: 'TypeError', message: /^refresh\(\) takes as claims an object/ })
  await t.rejects(app.revocation.refresh(refreshToken, { claims: { x: 'é'.repeat(2100) } }), { name: 'TypeError', message: /^refresh\(\) keeps the claims of a session.*at most 4096 bytes/ })
  const refused = new Error('the user is gone')
  await t.rejects(app.revocation.refresh(refreshToken, { claims: () => { throw refused } }), refused)
  await t.rejects(app.revocation.refresh(refreshToken, { claims: async () => { throw refused } }), refused)
  t.strictSame(await refreshed(undefined), { n: 2, sub: '7', sid }, 'nothing of that has spent the refresh token')
})

t.test('sign options that would make it another session are refused, and spend nothing', async (t) => {
  const { app } = await build(t)
  const { refreshToken } = await app.revocation.issue({}, { sub: 'alice', refresh: true })
  for (const [name, value] of [['sub', 'bob'], ['iss', 'other']] as const) {
    await t.rejects(app.revocation.refresh(refreshToken, { [name]: value }), { name: 'TypeError', message: new RegExp(`^refresh\\(\\) can not change the ${name} of a session`) })
  }
  const { token } = await app.revocation.refresh(refreshToken, { expiresIn: '1m' })
  const { sub, iat, exp } = app.jwt.decode<Record<string, number>>(token)!
  t.strictSame([sub, exp! - iat!], ['alice', 60], 'the subject is the session\'s')
  await t.rejects(app.revocation.refresh((await login(app)).refreshToken, { noTimestamp: true }), { name: 'TypeError', message: /noTimestamp/ })
  await t.rejects(login(app, {}, { noTimestamp: true }), { name: 'TypeError' })
})

t.test('other names: option claims, a sid of the caller, an issuer, namespaces', async (t) => {
  const { app } = await build(t, { claims: { jti: 'uti', sub: 'oid', sid: 'session_id' } }, { sign: { expiresIn: '15m', iss: 'https://us.example' } })
  const first = await app.revocation.issue({ oid: 'alice', session_id: 5, sub: 'x' }, { refresh: true })
  t.match(first, { sid: '5', iss: 'https://us.example' })
  const second = await app.revocation.refresh(first.refreshToken)
  t.match(app.jwt.decode(second.token), { oid: 'alice', session_id: 5, sub: 'x', uti: second.jti, iss: 'https://us.example' })
  await app.revocation.revokeSession('5')
  await t.rejects(app.revocation.refresh(second.refreshToken), INVALID)
  await t.rejects(app.revocation.issue({ oid: 'alice', session_id: 5 }, { refresh: true }), { code: 'FST_JWT_REVOKED' }, 'what was ended begins no more')
  for (const none of [null, '']) t.match((await app.revocation.issue({ oid: 'bob', session_id: none }, { refresh: true })).sid, UUID)
  await t.rejects(app.revocation.issue({ oid: 'bob', session_id: {} }, { refresh: true }), { name: 'TypeError', message: /its session is neither/ })

  const two = await buildApp(t, {
    jwt: { namespace: 'user', sign: { expiresIn: '15m', iss: 'user' } },
    before: async (app) => { await app.register((await import('@fastify/jwt')).default, { secret: 'another secret, of more than 32 bytes', namespace: 'admin', sign: { expiresIn: '15m', iss: 'admin' } }) },
    revocation: { refresh: {}, namespace: ['user', 'admin'] },
    after: (app) => {
      app.get('/admin', { onRequest: (request) => (request as unknown as { adminJwtVerify (): Promise<void> }).adminJwtVerify() }, async () => 'good')
    }
  })
  const admin = await two.revocation.issue({ sub: 'root' }, { namespace: 'admin', refresh: true })
  const next = await two.revocation.refresh((await two.revocation.refresh(admin.refreshToken)).refreshToken)
  t.equal(next.iss, 'admin')
  t.equal((await two.inject({ url: '/admin', headers: bearer(next.token) })).statusCode, 200, 'the namespace of the login goes on signing')
})

t.test('without the option there are no sessions; with it they can be seen in the status', async (t) => {
  const { app } = await build(t, { refresh: undefined as never })
  await t.rejects(login(app), { name: 'TypeError', message: 'issue() gives refresh tokens where the plugin has option "refresh"; set it, for example to { expiresIn: \'30d\' }' })
  await t.rejects(app.revocation.refresh('x'), { name: 'TypeError', message: 'refresh() needs option "refresh" of the plugin, such as { expiresIn: \'30d\' }' })
  t.notOk('refresh' in app.revocation.status())
  const issued = await app.revocation.issue({ sub: 'alice' }, { refresh: false })
  t.strictSame(Object.keys(issued).sort(), ['expiresAt', 'id', 'jti', 'token'])
  const other = await build(t, { refresh: { expiresIn: '1h', grace: '1500ms' } })
  t.match(other.app.revocation.status(), { refresh: { expiresIn: 3600, grace: 1.5 }, claims: { sid: 'sid' } })
})

t.test('what is no refresh token of a living session gets one answer', async (t) => {
  const { app, lines } = await build(t)
  const { token, refreshToken } = await login(app)
  const wrong: unknown[] = [undefined, '', null, 5, {}, token, refreshToken.slice(1), `${refreshToken}=`, `${refreshToken}\n`, refreshHashOf(refreshToken), randomUUID(), 'a'.repeat(43)]
  for (const value of wrong) await t.rejects(app.revocation.refresh(value as string), INVALID, String(value))
  const error = await app.revocation.refresh('x').catch((error) => error)
  t.strictSame(error.headers, { 'www-authenticate': 'Bearer error="invalid_token", error_description="The refresh token is not valid"' })
  t.strictSame(events(lines, 'authn_refresh_refused').map(({ reason }) => reason).sort(), ['malformed', 'unknown'], 'each reason once a minute')
  await t.rejects(login(app, { x: 'y'.repeat(4096) }), { name: 'TypeError', message: 'issue() keeps the claims of a session for its next access token: at most 4096 bytes as JSON' })
})

t.test('the claims of a spent refresh token are with one of its successors, up to sixteen later', async (t) => {
  const { app, lines } = await build(t)
  for (const [links, works] of [[16, true], [17, false]] as const) {
    const first = await login(app, { role: 'editor' })
    let pair = first
    for (let refreshes = 0; refreshes < links; refreshes++) pair = await app.revocation.refresh(pair.refreshToken)
    const again = app.revocation.refresh(first.refreshToken)
    if (works) t.match(app.jwt.decode((await again).token), { role: 'editor' })
    else await t.rejects(again, INVALID)
    await t.resolves(app.revocation.refresh(pair.refreshToken), 'nothing ends')
  }
  t.match(events(lines, 'authn_refresh_refused'), [{ level: 40, reason: 'lost', sub: 'alice' }])
})

t.test('sessions of an issuer, with and without a subject: refreshed, ended, told, and their records made anew', async (t) => {
  const keyPrefix = ownPrefix()
  const iss = 'https://us.example'
  const { app, lines } = await build(t, { redis: server.url, keyPrefix, refresh: { grace: 0 } }, { sign: { expiresIn: '15m', iss } })
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const told: unknown[] = []
  const note = (message: unknown) => { told.push(message) }
  subscribe('fastify-jwt-revocation:reuse', note)
  t.teardown(() => unsubscribe('fastify-jwt-revocation:reuse', note))

  for (const claims of [{ sub: 'alice' }, { sub: '' }]) {
    const first = await login(app, claims)
    t.equal(first.iss, iss)
    await redis.del(`${keyPrefix}token:${first.id}`)
    const next = await app.revocation.refresh(first.refreshToken)
    t.match(await app.revocation.token(first.id), { session: true, jti: next.jti, sid: first.sid }, 'a record that was lost is there again')
    await t.rejects(app.revocation.refresh(first.refreshToken), INVALID)
    const names = { id: first.id, sid: first.sid, iss, ...(claims.sub !== '' && { sub: claims.sub }) }
    t.strictSame(told.splice(0), [names], 'its use again is told on the channel')
    t.strictSame(await me(app, next.token), REVOKED)
    told.splice(0)
  }
  t.equal(events(lines, 'authn_refresh_reuse').length, 2)

  const ended = await login(app)
  t.match(await app.revocation.revoke({ jti: ended.jti }), { jti: ended.jti, iss, sid: ended.sid, first: true })
  await t.rejects(app.revocation.refresh(ended.refreshToken), INVALID, 'by its jti')
  const forgotten = await login(app)
  await redis.del(`${keyPrefix}id:${encodeURIComponent(iss)}/${forgotten.jti}`)
  t.match(await remove(app, `/${forgotten.jti}`, forgotten.token), { statusCode: 200 })
  await t.rejects(app.revocation.refresh(forgotten.refreshToken), INVALID, 'by its jti, where Redis lost what leads from there')
  t.strictSame(await app.revocation.revokeSession('of nobody'), { sid: 'of nobody', iss }, 'a session without a record ends as well')
  const taken = await login(app)
  const key = `${keyPrefix}id:sid:${encodeURIComponent(iss)}/${taken.sid}`
  await redis.del(key)
  await redis.lpush(key, 'of another program')
  await app.revocation.revokeSession(taken.sid)
  await t.rejects(app.revocation.refresh(taken.refreshToken), INVALID, 'so does one whose record can not be found')
})

t.test('what Redis lost of a session can not be refreshed, and ends nothing', async (t) => {
  const keyPrefix = ownPrefix()
  const { app, lines } = await build(t, { redis: server.url, keyPrefix })
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const keyOf = (refreshToken: string) => `${keyPrefix}refresh:${refreshHashOf(refreshToken)}`
  const [first, other] = [await login(app), await login(app)]
  const next = await app.revocation.refresh(first.refreshToken)
  await redis.del(keyOf(next.refreshToken))
  await t.rejects(app.revocation.refresh(first.refreshToken), INVALID, 'the successor, which has the claims')
  const { claims: _, ...rest } = JSON.parse((await redis.get(keyOf(other.refreshToken)))!)
  await redis.set(keyOf(other.refreshToken), JSON.stringify(rest), 'KEEPTTL')
  await t.rejects(app.revocation.refresh(other.refreshToken), INVALID, 'the claims themselves')
  for (const { token } of [first, next, other]) t.match(await me(app, token), { statusCode: 200 })
  t.strictSame(events(lines, 'authn_refresh_refused').map(({ reason, id }) => [reason, id]), [['lost', first.id], ['lost', other.id]])
})

t.test('no refresh moves the end, and no access token outlives it', async (t) => {
  const clock = ownTime(t)
  const { app, lines } = await build(t, { refresh: { expiresIn: '1h' } })
  let { refreshToken, refreshExpiresAt } = await login(app)
  const end = Date.parse(refreshExpiresAt)
  for (let minutes = 0; minutes < 55; minutes += 10) {
    const pair = await app.revocation.refresh(refreshToken)
    refreshToken = pair.refreshToken
    t.equal(pair.refreshExpiresAt, refreshExpiresAt)
    t.equal(Date.parse(pair.expiresAt!), Math.min(end, Math.floor(clock.now / 1000) * 1000 + 15 * 60_000))
    clock.now += 600_000
  }
  clock.now = end - 1000
  const last = await app.revocation.refresh(refreshToken)
  t.equal(last.expiresAt, refreshExpiresAt)
  clock.now = end - 1
  await t.rejects(app.revocation.refresh(last.refreshToken, { claims: (old) => { clock.now = end; return old } }), INVALID, 'it ended meanwhile')
  await t.rejects(app.revocation.refresh(last.refreshToken), INVALID)
  t.match(events(lines, 'authn_refresh_refused'), [{ reason: 'expired' }, { reason: 'unknown' }])
})

t.test('a session that would be over before its token begins is not begun', async (t) => {
  ownTime(t)
  const { app } = await build(t, { refresh: { expiresIn: 2, grace: 1 } })
  for (let i = 0; i < 3; i++) await app.revocation.revokeSubject('alice')
  await t.rejects(login(app), { code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
})

t.test('a log-in in the second of a cutoff gives a session that lives, and one before does not', async (t) => {
  const clock = ownTime(t)
  const { app } = await build(t)
  const before = await login(app)
  await app.revocation.revokeSubject('alice')
  const after = await login(app)
  await t.rejects(app.revocation.refresh(before.refreshToken), INVALID)
  const next = await app.revocation.refresh(after.refreshToken)
  t.match(await me(app, next.token), { statusCode: 200 }, 'though the clock has not reached its iat')
  clock.now += 5000
  await t.resolves(app.revocation.refresh(next.refreshToken))
  t.match((await app.revocation.tokens('alice')).tokens.map(({ status }) => status).sort(), ['active', 'revoked'])
})

t.test('a token of a provider that has a sid is no session of ours', async (t) => {
  const { app } = await build(t)
  const claims = () => ({ jti: randomUUID(), sub: 'alice', sid: 'of-a-provider', iat: inSeconds(0), exp: inSeconds(600) })
  const [one, other] = [claims(), claims()]
  for (const each of [one, other]) await app.revocation.record(each)
  const [token, spared] = await Promise.all([one, other].map((each) => signed(each)))
  t.match(await remove(app, `/${one.jti}`, token!), { statusCode: 200 })
  t.strictSame(await me(app, token!), REVOKED)
  t.match(await me(app, spared!), { statusCode: 200 }, 'its jti ends one token alone')
  t.match(await app.revocation.token((await app.revocation.tokens('alice')).tokens[0]!.id), { sid: 'of-a-provider' })
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

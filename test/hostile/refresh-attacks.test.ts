import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Decorator } from '../../lib/domain/decorator.ts'
import type { RevocationOptions, TokenPair } from '../../lib/index.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { answerOf, bearer, buildApp, ownPrefix, REVOKED } from '../support/app.ts'
import { buildDomain, ownTime, RULES, UNAVAILABLE, WatchedClient } from '../support/domain.ts'
import { eventually, startRedis } from '../support/redis.ts'

/* Sessions that are refreshed, as somebody attacks them who has read the code. */

const HISTORY = '/v1/jwt/history'
const INVALID = { code: 'FST_JWT_REFRESH_INVALID', statusCode: 401, message: 'Refresh token is not valid, log in again' }
const DAY = 24 * 3600
const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.quit())

type Line = { level: number, event?: string } & Record<string, unknown>

async function build (t: Parameters<typeof buildApp>[0], revocation: RevocationOptions = {}, jwt = {}) {
  const lines: Line[] = []
  const app = await buildApp(t, {
    fastify: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } },
    jwt,
    revocation: { refresh: {}, ...revocation },
    after: (app) => { app.post('/logout', async (request) => app.revocation.revoke(request)) }
  })
  return { app, lines, events: (name: string) => lines.filter(({ event }) => event === name) }
}

const login = (app: FastifyInstance, claims: object = {}, options: object = {}) =>
  app.revocation.issue({ sub: 'alice', ...claims }, { refresh: true, ...options }) as Promise<TokenPair>
const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))

t.test('claims of the largest size go on for as long as the session does', async (t) => {
  const { app } = await build(t, {}, { sign: { expiresIn: '15m', iss: 'https://us.example' } })
  const claims = { sub: 'alice', large: '' }
  claims.large = 'x'.repeat(4096 - JSON.stringify(claims).length)
  let pair: TokenPair = await app.revocation.issue(claims, { refresh: true })
  for (let refreshes = 0; refreshes < 3; refreshes++) pair = await app.revocation.refresh(pair.refreshToken)
  t.match(await me(app, pair.token), { statusCode: 200, body: { user: { ...claims, sid: pair.sid } } })
})

t.test('the application is given the names that sign options gave the login', async (t) => {
  const { app } = await build(t)
  const { refreshToken } = await app.revocation.issue({ sub: 'somebody' }, { refresh: true, sub: 'alice' } as object) as TokenPair
  const seen: unknown[] = []
  const next = await app.revocation.refresh(refreshToken, { claims: (old) => { seen.push(old.sub); return { sub: old.sub } } })
  t.strictSame(seen, ['alice'])
  t.match(await me(app, next.token), { statusCode: 200, body: { user: { sub: 'alice' } } })
})

t.test('a log-out that a provider delivers late ends each session that began before it, however often it was refreshed', async (t) => {
  const clock = ownTime(t)
  const { app } = await build(t, { revocableBy: ['tenant'] })
  const before = await login(app)
  clock.set(100)
  const logout = clock.seconds
  clock.set(2)
  const late = await app.revocation.refresh(before.refreshToken)
  clock.set(1)
  // What a log-out by the subject alone writes.
  await (app.revocation as unknown as Decorator).revoker.cutoffs.write({ sub: 'alice' }, { until: logout })
  const after = await login(app)
  t.match(await me(app, late.token), { statusCode: 200 }, 'this token is later than the log-out')
  await t.rejects(app.revocation.refresh(late.refreshToken), INVALID)
  t.strictSame(await me(app, late.token), REVOKED, 'and ends with its session')
  await t.resolves(app.revocation.refresh(after.refreshToken))
  t.match((await app.revocation.tokens('alice')).tokens.map(({ id, status }) => [id, status]).sort(), [[before.id, 'revoked'], [after.id, 'active']].sort())
})

t.test('a shorter option "refresh" brings back no session that its subject ended', async (t) => {
  const clock = ownTime(t)
  const store = new MemoryStore({ clock })
  const rules = { ...RULES, claims: { jti: 'jti', sub: 'sub', sid: 'sid' }, maxTokenLifetime: 900 }
  const over = (expiresIn: number) =>
    buildDomain({ store, clock, rules: { ...rules, refreshLifetime: expiresIn }, refresh: { expiresIn, grace: 10_000 } })
  const before = over(30 * DAY)
  const after = over(7 * DAY)
  const ended = await before.issue({ sub: 'alice' }, { refresh: true }) as TokenPair
  const kept = await before.issue({ sub: 'bob' }, { refresh: true }) as TokenPair
  clock.set(DAY)
  await after.revokeSubject('alice')
  const next = await after.refresh(kept.refreshToken)
  clock.set(7 * DAY - 1)
  const last = await after.refresh(next.refreshToken)
  t.ok(last.refreshToken, 'who comes often enough stays logged in')
  clock.set(2 * DAY)
  await t.rejects(after.refresh(ended.refreshToken), INVALID, 'the cutoff is gone, and was never met')
  await t.resolves(after.refresh(last.refreshToken))
})

t.test('a clock that is behind is no fault of the caller', async (t) => {
  const clock = ownTime(t)
  const { app } = await build(t)
  const { refreshToken } = await login(app)
  clock.set(-120)
  await t.rejects(app.revocation.refresh(refreshToken), UNAVAILABLE)
  clock.set(90)
  await t.resolves(app.revocation.refresh(refreshToken), 'nothing was spent')
})

t.test('what a refresh can not sign is said of refresh()', async (t) => {
  const { app } = await build(t)
  const { refreshToken } = await login(app)
  await t.rejects(app.revocation.refresh(refreshToken, { expiresIn: '40d' } as object), { name: 'TypeError', message: /option expiresIn of refresh\(\)$/ })
})

/** A client that refuses writes under some keys, as Redis does that has no memory left. */
async function refusing (t: Parameters<typeof buildApp>[0], kind: string, error: Error) {
  const keyPrefix = ownPrefix()
  const client = new WatchedClient(redis)
  const { app, ...more } = await build(t, { redis: client as never, keyPrefix, refresh: { grace: 0 } })
  return {
    app,
    ...more,
    refuse () {
      client.intercept = ([name, , , key]) => name === 'eval' && String(key).startsWith(`${keyPrefix}${kind}`) ? Promise.reject(error) : undefined
    },
    relent () { client.intercept = () => undefined }
  }
}

const OOM = Object.assign(new Error("OOM command not allowed when used memory > 'maxmemory'."), { name: 'ReplyError' })

for (const kind of ['revoked:', 'cutoff:']) {
  t.test(`a log-out that failed halfway leaves no session that lives: ${kind}`, async (t) => {
    const { app, refuse, relent } = await refusing(t, kind, OOM)
    const pair = await login(app)
    const logOut = async () => answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/${pair.jti}`, headers: bearer(pair.token) }))
    refuse()
    t.match(await logOut(), { statusCode: 503, body: UNAVAILABLE })
    relent()
    // The store is back once it has been asked.
    await eventually('the store is back', async () => (await logOut()).statusCode !== 503)
    await t.rejects(app.revocation.refresh(pair.refreshToken), INVALID)
    t.strictSame(await me(app, pair.token), REVOKED)
  })
}

t.test('the critical line of a reuse comes also where the end of the session is owed', async (t) => {
  const { app, events, refuse, relent } = await refusing(t, 'cutoff:', new Error('Connection is closed.'))
  const { refreshToken } = await login(app)
  await app.revocation.refresh(refreshToken)
  refuse()
  await t.rejects(app.revocation.refresh(refreshToken), UNAVAILABLE)
  t.strictSame(events('authn_refresh_reuse'), [])
  relent()
  await eventually('the session is ended', async () => events('authn_token_revoked').length === 1)
  await t.rejects(app.revocation.refresh(refreshToken), INVALID)
  t.equal(events('authn_refresh_reuse').length, 1)
})

t.test('a log-out ends the session where Redis has dropped what leads from the token to it', async (t) => {
  // Redis' clock is ahead of this process': what ends with the access token is over at once.
  const clock = ownTime(t)
  clock.set(-1800)
  const { app } = await build(t, { redis: server.url, keyPrefix: ownPrefix() })
  const doors: Record<string, (pair: TokenPair) => Promise<{ statusCode: number }>> = {
    route: ({ jti, token }) => app.inject({ method: 'DELETE', url: `${HISTORY}/${jti}`, headers: bearer(token) }),
    'revoke(request)': ({ token }) => app.inject({ method: 'POST', url: '/logout', headers: bearer(token) })
  }
  for (const [door, logOut] of Object.entries(doors)) {
    const pair = await login(app)
    t.match(await me(app, pair.token), { statusCode: 200 })
    t.match(await logOut(pair), { statusCode: 200 }, door)
    t.strictSame(await me(app, pair.token), REVOKED)
    await t.rejects(app.revocation.refresh(pair.refreshToken), INVALID, door)
  }
})

t.test('a client that gives numbers as strings keeps its sessions', async (t) => {
  const client = new Redis(server.url, { stringNumbers: true })
  t.teardown(() => client.quit())
  const { app } = await build(t, { redis: client, keyPrefix: ownPrefix() })
  const second = await app.revocation.refresh((await login(app)).refreshToken)
  t.match(await me(app, second.token), { statusCode: 200 })
  await t.resolves(app.revocation.refresh(second.refreshToken))
})

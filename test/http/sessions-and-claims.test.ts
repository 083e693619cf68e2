import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { AuthorizeTarget, RevocationOptions } from '../../lib/index.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { buildDomain, Clock, commandsOf, UNAVAILABLE, WatchedClient } from '../support/domain.ts'
import { eventually, startRedis } from '../support/redis.ts'

/* Sessions, listed claims and bans: who may end what, and what ends. */

const HISTORY = '/v1/jwt/history'
const NAMED = { claims: { sid: 'sid' }, revocableBy: ['tenant', 'client_id'] } satisfies RevocationOptions
const FORBIDDEN = {
  statusCode: 403, body: { statusCode: 403, code: 'FST_JWT_REVOCATION_FORBIDDEN', error: 'Forbidden', message: 'Not allowed to act on this token' }
}
const notFound = (message: string) => ({
  statusCode: 404, body: { statusCode: 404, code: 'FST_JWT_REVOCATION_NOT_FOUND', error: 'Not Found', message }
})
const FOR_EVER = 4294967295

const server = await startRedis(t)
t.teardown(() => {})

/** On memory, on Redis, and on a replica. */
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  replica: () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const del = async (app: FastifyInstance, path: string, token: string) =>
  answerOf(await app.inject({ method: 'DELETE', url: HISTORY + path, headers: bearer(token) }))
const tokenOf = async (claims: object) => (await genuine({ iat: inSeconds(-10), ...claims })).token
/** Without a jti. */
const bare = (claims: object) => signed({ iat: inSeconds(-10), exp: inSeconds(600), ...claims })

/** An administrator is whoever has the sub 'admin'; `asked`: what authorize was asked. */
async function scene (t: Test, options: RevocationOptions = {}) {
  const asked: AuthorizeTarget[] = []
  const app = await buildApp(t, {
    revocation: {
      ...NAMED,
      authorize (request, target) {
        asked.push(target)
        return (request.user as { sub?: string }).sub === 'admin'
      },
      ...options
    }
  })
  const heard: object[] = []
  app.revocation.on('revoked', (event) => heard.push(event))
  return { app, asked, heard, admin: await tokenOf({ sub: 'admin' }) }
}

for (const [store, redis] of Object.entries(STORES)) {
  t.test(`a session ends with the tokens that are issued in it later, and no other does: ${store}`, async (t) => {
    const { app, asked, heard } = await scene(t, redis())
    const inSession = (claims: object = {}) => tokenOf({ sid: 's1', ...claims })
    const spared = [
      await tokenOf({ sid: 's2' }), await tokenOf({}), await tokenOf({ sid: 's1', iss: 'other' }), await tokenOf({ sub: 's1' }),
      await tokenOf({ tenant: 's1' }), await tokenOf({ sid: 'S1' })
    ]
    const [caller, sibling, later] = [await inSession(), await inSession(), await inSession({ iat: inSeconds(30) })]
    t.strictSame(await del(app, '/sid/s1', caller), { statusCode: 200, body: { sid: 's1' } })
    for (const token of [caller, sibling, later, await inSession({ sub: 'bob' })]) t.strictSame(await me(app, token), REVOKED)
    for (const token of spared) t.match(await me(app, token), { statusCode: 200 })
    t.strictSame(await del(app, '/sid/s1', caller), REVOKED, 'a revoked token revokes nothing')
    t.strictSame(asked, [])
    t.strictSame(heard, [{ sid: 's1', cutoff: FOR_EVER }])
    t.strictSame(await app.revocation.revokeSession('s1'), { sid: 's1' }, 'again')
    t.strictSame(await app.revocation.revokeSession('s1', { iss: 'other' }), { sid: 's1', iss: 'other' })
    t.strictSame(await me(app, spared[2]!), REVOKED)
    t.strictSame(heard, [{ sid: 's1', cutoff: FOR_EVER }, { sid: 's1', iss: 'other', cutoff: FOR_EVER }], 'each is told once')
    await t.rejects(app.revocation.issue({ sub: 'alice', sid: 's1' }), { code: 'FST_JWT_REVOKED', statusCode: 401, message: 'Token has been revoked' })
  })

  t.test(`a listed claim ends the tokens that have its value: ${store}`, async (t) => {
    const { app, asked, heard, admin } = await scene(t, redis())
    const ended = [await tokenOf({ tenant: 'acme' }), await tokenOf({ tenant: 'acme', sub: 'bob' }), await bare({ tenant: 'acme', sub: undefined })]
    const spared = [
      await tokenOf({ tenant: 'other' }), await tokenOf({}), await tokenOf({ client_id: 'acme' }), await tokenOf({ sub: 'acme' }),
      await tokenOf({ tenant: 'acme', iss: 'i' }), await tokenOf({ sid: 'acme' })
    ]
    const { statusCode, body } = await del(app, '/by/tenant/acme', admin)
    t.equal(statusCode, 200)
    t.match(body, { claim: 'tenant', value: 'acme', cutoff: Number })
    t.strictSame(asked, [{ action: 'revokeBy', claim: 'tenant', value: 'acme' }])
    for (const token of ended) t.strictSame(await me(app, token), REVOKED)
    for (const token of spared) t.match(await me(app, token), { statusCode: 200 })
    t.strictSame(heard, [{ claim: 'tenant', value: 'acme', cutoff: body.cutoff }])
    const issued = await app.revocation.issue({ sub: 'alice', tenant: 'acme' })
    t.match(await me(app, issued.token), { statusCode: 200 }, 'a new token lives')

    t.match(await app.revocation.revokeBy('client_id', 42, { iss: 'i', until: Infinity }), { claim: 'client_id', value: '42', iss: 'i', cutoff: FOR_EVER })
    t.strictSame(await me(app, await tokenOf({ client_id: 42, iss: 'i', iat: inSeconds(30) })), REVOKED, 'an integer counts as its digits')
    await t.rejects(app.revocation.issue({ client_id: '42', iss: 'i' }), { code: 'FST_JWT_REVOKED' })
  })

  t.test(`a ban ends tokens that are issued later, stands as it is asked for, and is never lowered: ${store}`, async (t) => {
    const { app, asked, admin } = await scene(t, redis())
    const until = inSeconds(3600)
    const iso = encodeURIComponent(new Date(until * 1000).toISOString())
    const caller = await tokenOf({ sub: 'alice' })
    t.strictSame(await del(app, `/sub/alice?until=${iso}`, caller), FORBIDDEN, 'a token thief can not ban the owner')
    t.strictSame(await del(app, '/sub/alice?until=forever', caller), FORBIDDEN)
    t.match(await me(app, caller), { statusCode: 200 })
    t.match(await del(app, `/sub/alice?until=${iso}`, admin), { statusCode: 200, body: { sub: 'alice', cutoff: until } })
    t.match(await del(app, `/sub/alice?until=${iso}`, admin), { statusCode: 200, body: { sub: 'alice', cutoff: until } }, 'again')
    t.match(await del(app, '/sub/alice', admin), { statusCode: 200, body: { sub: 'alice', cutoff: until } }, 'nothing lowers it')
    t.strictSame(asked.slice(0, 3), [
      { action: 'revokeSubject', sub: 'alice', until }, { action: 'revokeSubject', sub: 'alice', until: Infinity }, { action: 'revokeSubject', sub: 'alice', until }
    ])
    t.strictSame(await me(app, await tokenOf({ iat: inSeconds(30) })), REVOKED)
    await t.rejects(app.revocation.issue({ sub: 'alice' }), { code: 'FST_JWT_REVOKED', statusCode: 401 })
    t.match(await del(app, '/sub/alice?until=forever', admin), { statusCode: 200, body: { sub: 'alice', cutoff: FOR_EVER } })
    t.match(await app.revocation.revokeSubject('alice', { until: new Date(until * 1000) }), { cutoff: FOR_EVER }, 'nor this')
    t.match(await app.revocation.revokeSubject('bob', { until: until + 0.5 }), { sub: 'bob', cutoff: until })
    t.match(await app.revocation.revokeSubject('bob', { until: 1e300 }), { sub: 'bob', cutoff: FOR_EVER })
    t.match(await del(app, `/by/tenant/acme?until=${iso}`, admin), { statusCode: 200, body: { cutoff: until } })
    await t.rejects(app.revocation.issue({ sub: 'carol', tenant: 'acme' }), { code: 'FST_JWT_REVOKED' })
  })
}

t.test('until in the past, of no date, without an offset, or with except is refused, and nothing is written', async (t) => {
  const { app, asked, heard, admin } = await scene(t)
  const bad = [
    '2020-01-01T00:00:00Z', '2026-13-01T00:00:00Z', '2999-02-30T25:00:00Z', '2999-01-01', '2999-01-01T00:00:00', 'tomorrow', '', '4294967295', 'Forever', ' forever',
    '2999-01-01T00:00:00+01:00 '
  ]
  for (const path of ['/sub/alice', '/by/tenant/acme']) {
    for (const until of bad) {
      t.match(await del(app, `${path}?until=${encodeURIComponent(until)}`, admin), { statusCode: 400, body: { code: 'FST_ERR_VALIDATION', message: /^querystring\/until / } }, until)
    }
    t.match(await del(app, `${path}?until=2999-01-01T00:00:00%2B01:00`, admin), { statusCode: 200 }, 'an offset is one')
  }
  t.match(await del(app, '/sub/bob?until=forever&except=current', admin), { statusCode: 400, body: { code: 'FST_ERR_VALIDATION', message: 'querystring/until does not go with except: a ban spares no token' } })
  t.equal(heard.length, 2)
  t.equal(asked.length, 2)
  t.match(answerOf(await app.inject({ url: `${HISTORY}?until=x`, headers: bearer(admin) })), { statusCode: 200 }, 'another route knows no until')
  t.match(await del(app, '/sid/s1?until=x', admin), { statusCode: 200 })
  heard.pop()
  const past = { name: 'TypeError', message: 'revokeSubject() takes as until a Date, seconds since the epoch or Infinity, and none in the past' }
  for (const until of [inSeconds(-10), NaN, -Infinity, new Date(NaN), 0, 'forever', '2999-01-01T00:00:00Z']) {
    await t.rejects(app.revocation.revokeSubject('alice', { until: until as number }), past)
    await t.rejects(app.revocation.revokeBy('tenant', 'acme', { until: until as number }), { ...past, message: past.message.replace('revokeSubject', 'revokeBy') })
  }
  await t.rejects(app.revocation.revokeSubject('alice', { until: Infinity, except: 'x' }), { name: 'TypeError', message: 'revokeSubject() takes except or until, not both: a ban spares no token' })
  t.equal(heard.length, 2)
})

t.test('P6 only the own session and what authorize lets; an unlisted claim and a session that nobody looks at are 403, and 404 to those', async (t) => {
  const { app, asked, admin } = await scene(t)
  const caller = await tokenOf({ sid: 's1', tenant: 'acme' })
  for (const path of ['/sid/s2', '/sid/s1?iss=other', '/by/tenant/acme', '/by/client_id/x', '/by/unlisted/x', '/by/sub/alice', '/by/sid/s1', '/by/__proto__/x']) {
    t.strictSame(await del(app, path, caller), FORBIDDEN, path)
  }
  t.strictSame(asked.slice(0, 3), [{ action: 'revokeSession', sid: 's2' }, { action: 'revokeSession', sid: 's1', iss: 'other' }, { action: 'revokeBy', claim: 'tenant', value: 'acme' }])
  for (const path of ['/by/unlisted/x', '/by/sub/alice', '/by/sid/s1', '/by/constructor/x']) t.strictSame(await del(app, path, admin), notFound('No token can be revoked by this claim'), path)
  t.strictSame(await del(app, '/sid/s2', admin), { statusCode: 200, body: { sid: 's2' } })
  await t.rejects(app.revocation.revokeBy('sub', 'alice'), { name: 'TypeError', message: 'revokeBy() takes a claim of option "revocableBy", one of tenant, client_id' })

  const without = await scene(t, { claims: {}, revocableBy: [] })
  t.strictSame(await del(without.app, '/sid/s1', caller), FORBIDDEN)
  t.strictSame(await del(without.app, '/sid/s1', admin), notFound('No claim counts as a session'))
  t.strictSame(await del(without.app, '/by/tenant/acme', admin), notFound('No token can be revoked by this claim'))
  const noSid = { name: 'TypeError', message: "revokeSession() needs option claims: { sid }, the claim that has a token's session" }
  await t.rejects(without.app.revocation.revokeSession('s1'), noSid)
  await t.rejects(without.app.revocation.revokeBy('tenant', 'a'), { name: 'TypeError', message: 'revokeBy() takes a claim of option "revocableBy", and there is none' })
})

t.test('a sid means nothing where nobody said that it is a session', async (t) => {
  const keyPrefix = ownPrefix()
  const looks = await scene(t, { redis: server.url, keyPrefix })
  const other = await scene(t, { redis: server.url, keyPrefix, claims: {}, revocableBy: [] })
  await looks.app.revocation.revokeSession('shop-1')
  await looks.app.revocation.revokeBy('tenant', 'acme')
  const token = await tokenOf({ sid: 'shop-1', tenant: 'acme' })
  t.strictSame(await me(looks.app, token), REVOKED)
  t.match(await me(other.app, token), { statusCode: 200 })
  for (const odd of [{ sid: 1.5 }, { sid: [] }, { sid: 'x'.repeat(1025) }]) t.match(await me(other.app, await tokenOf(odd)), { statusCode: 200 })
  t.match(await me(other.app, await bare({ sub: 'alice', sid: 'shop-1' })), { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE' } })
  t.match(other.app.revocation.status(), { claims: { jti: 'jti', sub: 'sub' }, revocableBy: [] })
  t.match(looks.app.revocation.status(), { claims: { jti: 'jti', sub: 'sub', sid: 'sid' }, revocableBy: ['tenant', 'client_id'] })
  t.notOk('sid' in (await other.app.revocation.record({ jti: randomUUID(), sid: 's', iat: inSeconds(0), exp: inSeconds(9) })))
})

t.test('P5 a session or a listed claim that names nothing makes the token not revocable, and null and an empty string are none', async (t) => {
  const { app } = await scene(t)
  const refused = (rule: string) => ({
    statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message: `Token cannot be revoked and is therefore not accepted: ${rule}` }
  })
  const SID = 'its session is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
  const CLAIM = 'a claim of option revocableBy is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
  for (const value of [1.5, true, [], ['a'], {}, 2 ** 53, 'x'.repeat(1025), '\ud800']) {
    t.match(await me(app, await tokenOf({ sid: value })), refused(SID))
    t.match(await me(app, await tokenOf({ tenant: value })), refused(CLAIM))
  }
  for (const value of [undefined, null, '', 0, -1, 'x'.repeat(1024), '😀']) t.match(await me(app, await tokenOf({ sid: value, tenant: value })), { statusCode: 200 })
  const token = await tokenOf({ sid: 's', tenant: [] })
  await app.revocation.revokeSession('s')
  t.strictSame(await me(app, token), REVOKED, 'revoked goes before not revocable')
})

t.test('the names are found where option claims says', async (t) => {
  const { app } = await scene(t, { claims: { jti: 'uti', sub: 'oid', sid: 'session_id' }, revocableBy: ['sub2'] })
  const claims = { jti: undefined, sub: 'everybody', uti: randomUUID(), oid: 'alice', session_id: 7 }
  const token = await tokenOf(claims)
  t.match(await me(app, token), { statusCode: 200 })
  t.match(await app.revocation.record(app.jwt.decode<Record<string, unknown>>(token)!), { jti: claims.uti, sub: 'alice', sid: '7' })
  t.match(await del(app, '/sub/everybody', token), FORBIDDEN)
  const issued = await app.revocation.issue({ oid: 'alice', session_id: 's9' })
  const signedClaims = app.jwt.decode<Record<string, unknown>>(issued.token)!
  t.strictSame([signedClaims.uti, signedClaims.jti], [issued.jti, undefined])
  t.match(await app.revocation.revoke({ ...signedClaims } as { iat: number }), { jti: issued.jti, sub: 'alice', sid: 's9', first: true })
  t.strictSame(await me(app, issued.token), REVOKED)
  await t.rejects(app.revocation.revoke({ jti: 'x', iat: inSeconds(0) }), { name: 'TypeError', message: /^revoke\(\) needs a jti/ }, 'of claims the jti is where option claims says')
  t.match(await app.revocation.revoke({ jti: 'x' }), { jti: 'x' }, 'of names it is the jti')
  t.match(await del(app, '/sub/alice', token), { statusCode: 200, body: { sub: 'alice', revoked: 1 } })
  t.strictSame(await me(app, token), REVOKED)
})

t.test('a session ends by a request, and a token without one has none', async (t) => {
  const app = await buildApp(t, {
    revocation: NAMED,
    after (app) {
      app.post('/logout', { config: { revocation: false } }, async (request) => app.revocation.revoke(request))
      app.post('/end', async (request) => app.revocation.revokeSession(request))
      app.post('/iss', async (request) => app.revocation.revokeSession(request, { iss: 'x' }))
    }
  })
  const post = async (url: string, token: string) => answerOf(await app.inject({ method: 'POST', url, headers: bearer(token) }))
  const [one, other] = [await tokenOf({ sid: 's1' }), await tokenOf({ sid: 's1' })]
  t.match(await post('/iss', one), { statusCode: 500 }, 'its token says the issuer')
  t.strictSame(await post('/end', one), { statusCode: 200, body: { sid: 's1' } })
  t.strictSame(await me(app, other), REVOKED)
  t.match(await post('/end', await tokenOf({})), { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message: /it has no session to end, sign it with a sid$/ } })
  const without = await bare({ sid: 's2', sub: 'alice' })
  t.match(await post('/logout', without), { statusCode: 200, body: { sub: 'alice', sid: 's2', status: 'revoked', first: true } }, 'a token without a jti: its session')
  t.strictSame(await me(app, without), REVOKED)
  t.strictSame(await post('/logout', without), REVOKED)
  t.match(await post('/logout', await bare({ tenant: 'acme', sub: 'alice' })), {
    statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message: /it has no jti to revoke it by/ }
  }, 'never by a listed claim')
})

t.test('P11 every replica hears of a session and of a listed claim, and the log tells who ended it', async (t) => {
  const keyPrefix = ownPrefix()
  const lines: Array<Record<string, unknown>> = []
  const logger = { level: 'info', stream: { write (line: string) { lines.push(JSON.parse(line)) } } }
  const build = (fastify: object, revocation: RevocationOptions = NAMED) =>
    buildApp(t, { fastify, revocation: { redis: server.url, keyPrefix, mode: 'replica', ...revocation } })
  const [one, other, blind] = [await build({ logger }), await build({}), await build({}, {})]
  const heard: object[][] = [[], [], []]
  for (const [i, app] of [one, other, blind].entries()) app.revocation.on('revoked', (event) => heard[i]!.push(event))
  const caller = await genuine({ sid: 's/1', iss: 'https://i' })
  t.match(await del(one, '/sid/s%2F1', caller.token), { statusCode: 200, body: { sid: 's/1', iss: 'https://i' } })
  const { cutoff } = await one.revocation.revokeBy('tenant', 'a:b')
  const events = [{ sid: 's/1', iss: 'https://i', cutoff: FOR_EVER }, { claim: 'tenant', value: 'a:b', cutoff }]
  await eventually('all have heard', async () => heard.every(({ length }) => length === 2))
  // A process that does not look at these names tells of them, too.
  for (const [i, app] of [one, other, blind].entries()) t.strictSame(heard[i]!.map(sortedKeys), events.map(sortedKeys), app.revocation.status().mode)
  const told = lines.filter(({ event }) => event === 'authn_token_revoked')
  t.match(told, [
    { ...events[0], by: { jti: caller.jti, iss: 'https://i', sub: 'alice', sid: 's/1' } }, { ...events[1], by: {} }
  ])
  t.strictSame(await me(other, caller.token), REVOKED)
  t.strictSame(await me(one, caller.token), REVOKED)
  t.match(lines.filter(({ event }) => event === 'authn_token_reuse'), [{ jti: caller.jti, sub: 'alice', sid: 's/1' }])
})

t.test('listeners hear nothing of a cutoff whose name this version can not tell', async (t) => {
  const clock = new Clock()
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock })
  const heard: object[] = []
  domain.on('revoked', (event) => heard.push(event))
  for (const name of ['!x:alice', '%', 'a:%', 'sid:s1']) domain.onEntry({ kind: 'cutoff', name, at: 1, exp: null, until: null })
  t.strictSame(heard, [{ sid: 's1', cutoff: 1 }])
})

const sortedKeys = (event: object) => Object.fromEntries(Object.entries(event).sort())

t.test('a store that fails is answered 503, and what may stand is told when it stands', async (t) => {
  const own = await startRedis(t)
  const { app, heard, admin } = await scene(t, { redis: own.url, keyPrefix: ownPrefix(), storeTimeout: 300 })
  await own.stop()
  for (const path of ['/sid/s1', '/by/tenant/acme']) t.match(await del(app, path, admin), { statusCode: 503, body: { code: UNAVAILABLE.code } })
  await t.rejects(app.revocation.revokeSession('s1'), UNAVAILABLE)
  await t.rejects(app.revocation.revokeBy('tenant', 'acme'), UNAVAILABLE)
  t.strictSame(heard, [])
})

t.test('one MGET reads all names of a token, and a token that has none of them costs what it did', async (t) => {
  const keyPrefix = ownPrefix()
  const { app } = await scene(t, { redis: server.url, keyPrefix })
  const rows: Array<[claims: object, keys: number]> = [
    [{}, 2], [{ sub: undefined }, 1], [{ sid: 's' }, 3], [{ sid: 's', tenant: 'a', client_id: 'c', iss: 'i' }, 5], [{ jti: undefined, sub: undefined, sid: 's' }, 1]
  ]
  for (const [claims, keys] of rows) {
    const token = await tokenOf(claims)
    const { misses: before } = await misses()
    const took = await commandsOf(server, async () => { t.match(await me(app, token), { statusCode: 200 }) })
    t.strictSame(took, { mget: 1 }, JSON.stringify(claims))
    t.equal((await misses()).misses - before, keys, 'so many keys')
  }
})

t.test('P8 on a cluster each name is one GET, all in one turn; and issue() reads the cutoffs of all names in its flush', async (t) => {
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const claims = { sid: 's', tenant: 'a', client_id: 'c', iss: 'i' }
  const cluster = Object.assign(new WatchedClient(redis), { isCluster: true, nodes: () => [redis] })
  const onCluster = await scene(t, { redis: cluster, keyPrefix: ownPrefix() })
  const token = await tokenOf(claims)
  t.strictSame(await cluster.during(() => me(onCluster.app, token)), Array.from({ length: 5 }, () => ['get']))

  const node = new WatchedClient(redis)
  const onNode = await scene(t, { redis: node, keyPrefix: ownPrefix() })
  const issue = (claims: object) => node.during(() => onNode.app.revocation.issue(claims))
  t.strictSame(await issue({ sub: 'alice', ...claims }), [['set', 'set', 'eval', 'get', 'get', 'get', 'get']])
  t.strictSame(await issue({ sub: 'alice' }), [['set', 'set', 'eval', 'get']], 'as before')
  t.strictSame(await issue({}), [['set', 'set']])
})

async function misses () {
  return { misses: Number(/keyspace_misses:(\d+)/.exec(await server.cli('INFO', 'stats'))![1]) }
}

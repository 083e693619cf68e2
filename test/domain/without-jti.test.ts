import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { eventually, startRedis } from '../support/redis.ts'

/* Tokens without a jti: accepted where something else revokes them, recorded, listed, and revoked by what they have. */

const HISTORY = '/v1/jwt/history'
const NAMED = { claims: { sid: 'sid' }, revocableBy: ['tenant'], recordOnUse: true } satisfies RevocationOptions
const server = await startRedis(t)
t.teardown(() => {})

const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  Redis: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  'a replica': () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

const build = (t: Test, revocation: RevocationOptions) => buildApp(t, { revocation: { ...NAMED, ...revocation } })
const call = async (app: FastifyInstance, method: 'GET' | 'DELETE', url: string, token: string) =>
  answerOf(await app.inject({ method, url, headers: bearer(token) }))
const me = (app: FastifyInstance, token: string) => call(app, 'GET', '/me', token)
const bare = (claims: object) => signed({ iat: inSeconds(-10), exp: inSeconds(600), ...claims })

async function listed (app: FastifyInstance, sub: string, count: number) {
  await eventually('they are recorded', async () => (await app.revocation.tokens(sub)).tokens.length === count)
  return (await app.revocation.tokens(sub)).tokens
}

for (const [store, redis] of Object.entries(STORES)) {
  t.test(`a token without a jti is recorded on use, once, and listed with its status: ${store}`, async (t) => {
    const app = await build(t, redis())
    const [one, other] = [await bare({ sub: 'alice', sid: 's1', tenant: 'acme' }), await bare({ sub: 'alice', sid: 's2' })]
    for (let i = 0; i < 3; i++) {
      for (const token of [one, other]) t.match(await me(app, token), { statusCode: 200 })
    }
    const tokens = await listed(app, 'alice', 2)
    t.notOk(tokens.some((record) => 'jti' in record))
    t.match(tokens.find(({ sid }) => sid === 's1'), { sub: 'alice', claims: { tenant: 'acme' }, status: 'active' })
    const { body } = await call(app, 'GET', HISTORY, one)
    t.strictSame(body.tokens.map(({ sid, current }: { sid: string, current: boolean }) => [sid, current]).sort(), [['s1', true], ['s2', false]])
    await app.revocation.revokeSession('s1')
    t.strictSame((await listed(app, 'alice', 2)).map(({ sid, status }) => [sid, status]).sort(), [['s1', 'revoked'], ['s2', 'active']])
    t.match(await me(app, await bare({ sub: 'alice', sid: 's2', iat: inSeconds(-9) })), { statusCode: 200 })
    await listed(app, 'alice', 3)
  })

  t.test(`a record without a jti is revoked by its session, else by its subject, never by a listed claim: ${store}`, async (t) => {
    const app = await build(t, { ...redis(), authorize: (request) => (request.user as { sub?: string }).sub === 'admin' })
    const record = (claims: object) => app.revocation.record({ iat: inSeconds(-10), exp: inSeconds(600), ...claims })
    const heard: object[] = []
    app.revocation.on('revoked', (event) => heard.push(event))
    const admin = (await genuine({ sub: 'admin' })).token

    const bySession = await record({ sub: 'alice', sid: 's1', tenant: 'acme' })
    const sibling = await bare({ sub: 'alice', sid: 's2', tenant: 'acme' })
    const answer = await call(app, 'DELETE', `${HISTORY}/id/${bySession.id}`, sibling)
    t.match(answer, { statusCode: 200, body: { id: bySession.id, sub: 'alice', sid: 's1', status: 'revoked', expiresAt: bySession.expiresAt } })
    t.notOk('jti' in answer.body)
    t.strictSame(await me(app, await bare({ sub: 'alice', sid: 's1' })), REVOKED)
    t.match(await me(app, sibling), { statusCode: 200 }, 'the other session lives')

    const bySubject = await record({ sub: 'bob', tenant: 'acme' })
    const first = await app.revocation.revokeById(bySubject.id)
    t.match(first, { id: bySubject.id, sub: 'bob', status: 'revoked', first: true })
    t.match(await app.revocation.revokeById(bySubject.id), { ...first, first: false }, 'again')
    t.strictSame(await me(app, await bare({ sub: 'bob', tenant: 'acme' })), REVOKED)
    t.match(await me(app, sibling), { statusCode: 200 }, 'the tenant lives')

    const ended = await record({ sub: 'carol', tenant: 'ended' })
    await app.revocation.revokeBy('tenant', 'ended')
    t.match(await app.revocation.revokeById(ended.id), { id: ended.id, sub: 'carol', status: 'revoked', first: false }, 'its tenant has ended')
    t.match(await me(app, await bare({ sub: 'carol', tenant: 'acme' })), { statusCode: 200 }, 'what is revoked already ends nobody else')

    const byNothing = await record({ tenant: 'acme' })
    t.match(await call(app, 'DELETE', `${HISTORY}/id/${byNothing.id}`, await bare({ tenant: 'acme' })), { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } })
    t.match(await call(app, 'DELETE', `${HISTORY}/id/${byNothing.id}`, admin), { statusCode: 404, body: { code: 'FST_JWT_REVOCATION_NOT_FOUND', message: 'The token has no jti, no session and no subject to revoke it by' } })
    t.match(await me(app, sibling), { statusCode: 200 })
    t.match(heard, [{ sid: 's1', cutoff: 4294967295 }, { sub: 'bob' }, { claim: 'tenant', value: 'ended' }])
    t.equal(heard.length, 3)
  })

  t.test(`except spares the caller's session, and ends the others: ${store}`, async (t) => {
    const app = await build(t, redis())
    const [own, same, other] = [await bare({ sub: 'alice', sid: 's1' }), await bare({ sub: 'alice', sid: 's1', iat: inSeconds(-9) }), await bare({ sub: 'alice', sid: 's2' })]
    const withJti = await genuine({ sid: 's3', iat: inSeconds(-10) })
    const nothing = await bare({ sub: 'alice', tenant: 'acme' })
    for (const token of [own, same, other, withJti.token, nothing]) t.match(await me(app, token), { statusCode: 200 })
    await listed(app, 'alice', 5)
    t.match(await call(app, 'DELETE', `${HISTORY}/sub/alice?except=current`, own), { statusCode: 200, body: { sub: 'alice', cutoff: null, revoked: 2 } })
    for (const token of [own, same, nothing]) t.match(await me(app, token), { statusCode: 200 })
    for (const token of [other, withJti.token]) t.strictSame(await me(app, token), REVOKED)

    const spared = await app.revocation.issue({ sub: 'carol', sid: 's4' })
    const sibling = await bare({ sub: 'carol', sid: 's4' })
    t.match(await me(app, sibling), { statusCode: 200 })
    await listed(app, 'carol', 2)
    t.match(await app.revocation.revokeSubject('carol', { except: spared.jti }), { revoked: 0 })
    t.match(await me(app, spared.token), { statusCode: 200 }, 'the session of the token is not ended for the sake of a sibling')
  })
}

/** A token that only its subject ends: all that Firebase, and the default profile of Auth0, give. */
const SUBJECT_ONLY = { tokensWithoutJti: 'accept', revocableBy: [] } satisfies RevocationOptions

for (const [store, redis] of Object.entries(STORES)) {
  t.test(`a token that only its subject ends is recorded once for its iat, and its record ends the subject: ${store}`, async (t) => {
    const app = await build(t, { ...SUBJECT_ONLY, ...redis() })
    const [iat, exp] = [inSeconds(-10), inSeconds(600)]
    const [one, twin, other, bobs] = [
      await bare({ sub: 'alice', iat, exp }), await bare({ sub: 'alice', iat, exp, scope: 'openid' }), await bare({ sub: 'alice', iat: iat + 1, exp }),
      await bare({ sub: 'bob' })
    ]
    t.match(await me(app, one), { statusCode: 200 })
    await listed(app, 'alice', 1)
    for (const token of [one, twin, other, bobs, one, twin, other]) t.match(await me(app, token), { statusCode: 200 })
    const records = await listed(app, 'alice', 2)
    t.strictSame(records.map(({ issuedAt }) => Date.parse(issuedAt!) / 1000).sort(), [iat, iat + 1])
    t.ok(records.every((record) => !('jti' in record) && record.sub === 'alice' && record.status === 'active'))
    const { body } = await call(app, 'GET', HISTORY, one)
    t.strictSame(body.tokens.filter(({ current }: { current: boolean }) => current).map(({ issuedAt }: { issuedAt: string }) => Date.parse(issuedAt) / 1000), [iat])

    const path = `${HISTORY}/id/${records[0]!.id}`
    t.match(await call(app, 'DELETE', path, bobs), { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } })
    t.match(await call(app, 'DELETE', `${HISTORY}/sub/alice?except=current`, one), { statusCode: 200, body: { cutoff: null, revoked: 0 } })
    for (const token of [one, other]) t.match(await me(app, token), { statusCode: 200 }, 'there is nothing to spare it by, and nothing less to end')
    const answer = await call(app, 'DELETE', path, other)
    t.match(answer, { statusCode: 200, body: { id: records[0]!.id, sub: 'alice', status: 'revoked', expiresAt: records[0]!.expiresAt } })
    t.notOk('jti' in answer.body)
    for (const token of [one, twin, other, await bare({ sub: 'alice', iat: iat - 1 })]) t.strictSame(await me(app, token), REVOKED)
    t.match(await app.revocation.revokeById(records[0]!.id), { first: false })
    t.strictSame((await listed(app, 'alice', 2)).map(({ status }) => status), ['revoked', 'revoked'])
    for (const token of [bobs, await bare({ sub: 'alice', iat: inSeconds(5) })]) t.match(await me(app, token), { statusCode: 200 }, 'another subject, and a later log-in')
  })

  t.test(`P3 a token that only its subject ends is revoked where the clock of its signer is ahead: ${store}`, async (t) => {
    const app = await build(t, { ...SUBJECT_ONLY, ...redis() })
    const ahead = (sub: string, seconds: number) => bare({ sub, iat: inSeconds(seconds) })
    const own = await ahead('asks', 50)
    const asked = await call(app, 'DELETE', `${HISTORY}/sub/asks`, own)
    t.match(asked, { statusCode: 200, body: { sub: 'asks' } })
    t.strictSame(await me(app, own), REVOKED, 'it asked')

    const recorded = [await ahead('rests', 30), await ahead('rests', 50), await ahead('rests', -10)]
    for (const token of recorded) t.match(await me(app, token), { statusCode: 200 })
    await listed(app, 'rests', 3)
    t.match(await app.revocation.revokeSubject('rests'), { sub: 'rests', revoked: 3 })
    for (const token of recorded) t.strictSame(await me(app, token), REVOKED, 'it is recorded')
    t.match(await app.revocation.revokeSubject('rests'), { sub: 'rests', revoked: 0 })

    const claims = { sub: 'record', iat: inSeconds(40), exp: inSeconds(600) }
    const { id } = await app.revocation.record(claims)
    t.match(await app.revocation.revokeById(id), { id, sub: 'record', first: true })
    t.strictSame(await me(app, await signed(claims)), REVOKED, 'its record is revoked')
  })
}

t.test('a ban that the token asks for reaches itself, whichever of the two is later', async (t) => {
  const app = await buildApp(t, {
    revocation: { ...NAMED, ...SUBJECT_ONLY },
    after (app) {
      app.post('/ban', async (request) => app.revocation.revokeSubject(request, { until: inSeconds(Number((request.query as { for: string }).for)) }))
    }
  })
  for (const seconds of [20, 3600]) {
    const [iat, sub] = [inSeconds(50), `banned for ${seconds}`]
    const [own, later] = [await bare({ sub, iat }), await bare({ sub, iat: iat + 5 })]
    const answer = answerOf(await app.inject({ method: 'POST', url: `/ban?for=${seconds}`, headers: bearer(own) }))
    t.match(answer, { statusCode: 200, body: { sub } })
    t.ok(answer.body.cutoff >= iat && (answer.body.cutoff > iat + 5) === (seconds > 50), 'the later one', answer.body)
    t.strictSame(await me(app, own), REVOKED)
    t.equal((await me(app, later)).statusCode, seconds > 50 ? 401 : 200)
  }
})

t.test('the record of a token that is too far ahead for a cutoff is not said to be revoked', async (t) => {
  const app = await build(t, { ...SUBJECT_ONLY, maxTokenLifetime: 'unbounded' })
  const claims = { sub: 'alice', iat: Date.now(), exp: inSeconds(600) }
  const { id } = await app.revocation.record(claims)
  await t.rejects(app.revocation.revokeById(id), {
    code: 'FST_JWT_REVOCATION_NOT_FOUND', statusCode: 404, message: 'The token has no jti and no session, and its iat is too far ahead for a cutoff'
  })
  const older = { sub: 'alice', iat: inSeconds(-10), exp: inSeconds(600) }
  t.equal(await app.revocation.isRevoked(older), false, 'and nothing else is revoked for it')
  const { cutoff } = await app.revocation.revokeSubject('alice')
  t.ok(cutoff! < inSeconds(60), 'whoever holds such a token does not lock its owner out', { cutoff })
  t.equal(await app.revocation.isRevoked(claims), false)
})

t.test('nothing is recorded that has no name at all', async (t) => {
  const app = await build(t, SUBJECT_ONLY)
  const claims = { iat: inSeconds(-10), exp: inSeconds(600) }
  t.match(await me(app, await signed(claims)), { statusCode: 200 })
  await t.rejects(app.revocation.record(claims), {
    code: 'FST_JWT_NOT_REVOCABLE', statusCode: 401, message: 'Token cannot be revoked and is therefore not accepted: it has no jti to record it by'
  })
})

t.test('a token without a jti is refused where it carries nothing else to revoke it by', async (t) => {
  const app = await build(t, {})
  const rule = { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE', message: /it has no jti, / } }
  for (const claims of [{ sub: 'alice' }, { sub: 'alice', sid: '' }, { sub: 'alice', sid: null, tenant: '' }, {}]) t.match(await me(app, await bare(claims)), rule)
  for (const claims of [{ sid: 's' }, { tenant: 1 }, { sid: 's', jti: 5 }, { sid: 's', jti: '' }]) t.match(await me(app, await bare(claims)), { statusCode: 200 })
  await t.rejects(app.revocation.record({ sub: 'alice', iat: inSeconds(0), exp: inSeconds(60) }), { code: 'FST_JWT_NOT_REVOCABLE' })
})

t.test('a token that is ahead of the cutoff it asks for ends, and so do recorded ones', async (t) => {
  const app = await build(t, {})
  const ahead = { sub: 'alice', iat: inSeconds(30) }
  const [own, recorded, lost] = [await bare({ ...ahead, sid: 's1' }), await bare({ ...ahead, sid: 's2' }), await bare({ ...ahead, tenant: 'acme' })]
  for (const token of [own, recorded, lost]) t.match(await me(app, token), { statusCode: 200 })
  await listed(app, 'alice', 3)
  t.match(await call(app, 'DELETE', `${HISTORY}/sub/alice`, own), { statusCode: 200, body: { revoked: 3 } })
  for (const token of [own, recorded]) t.strictSame(await me(app, token), REVOKED)
  t.strictSame(await me(app, lost), REVOKED, 'nothing of its own ends this one: its subject is cut off until its iat')
})

t.test('an actor without a subject sees the record of the own token', async (t) => {
  const app = await build(t, {})
  const token = await bare({ sid: 's1' })
  await me(app, token)
  await eventually('it is recorded', async () => (await call(app, 'GET', HISTORY, token)).body.tokens.length === 1)
  t.match((await call(app, 'GET', HISTORY, token)).body, { tokens: [{ sid: 's1', current: true, status: 'active' }] })
  t.match((await call(app, 'GET', HISTORY, await bare({ sid: 's2' }))).body.tokens.map(({ sid }: { sid: string }) => sid), ['s2'], 'and no other')
})

t.test('two devices without a jti do not end each other with except', async (t) => {
  const app = await build(t, {})
  const tokens = [await bare({ sub: 'alice', sid: 's1' }), await bare({ sub: 'alice', sid: 's2' })]
  for (const token of tokens) t.match(await me(app, token), { statusCode: 200 })
  await listed(app, 'alice', 2)
  const answers = await Promise.all(tokens.map((token) => call(app, 'DELETE', `${HISTORY}/sub/alice?except=current`, token)))
  t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [200, 401])
  t.match(answers.find(({ statusCode }) => statusCode === 401), REVOKED)
  t.strictSame((await Promise.all(tokens.map((token) => me(app, token)))).map(({ statusCode }) => statusCode).sort(), [200, 401])
})

t.test('a caller with a jti and a session spares what would end that session, and an unknown jti spares nothing', async (t) => {
  const app = await build(t, {})
  const [caller, sibling, other] = [(await genuine({ sid: 's1' })).token, await bare({ sub: 'alice', sid: 's1' }), await bare({ sub: 'alice', sid: 's2' })]
  for (const token of [caller, sibling, other]) t.match(await me(app, token), { statusCode: 200 })
  await listed(app, 'alice', 3)
  t.match(await call(app, 'DELETE', `${HISTORY}/sub/alice?except=current`, caller), { statusCode: 200, body: { revoked: 1 } })
  for (const token of [caller, sibling]) t.match(await me(app, token), { statusCode: 200 })
  t.strictSame(await me(app, other), REVOKED)
  t.match(await app.revocation.revokeSubject('alice', { except: 'unknown' }), { revoked: 2 })
  for (const token of [caller, sibling]) t.strictSame(await me(app, token), REVOKED)
})

t.test('a token without a jti and without an end, of an issuer, is revoked by its session and by its subject', async (t) => {
  const app = await buildApp(t, {
    revocation: { ...NAMED, maxTokenLifetime: 'unbounded' },
    after (app) {
      app.post('/logout', async (request) => app.revocation.revoke(request))
    }
  })
  const claims = { iss: 'https://i', iat: inSeconds(-10) }
  const bySession = await app.revocation.record({ ...claims, sub: 'alice', sid: 's1' })
  t.match(await app.revocation.revokeById(bySession.id), { iss: 'https://i', sub: 'alice', sid: 's1', expiresAt: null, first: true })
  t.match(await app.revocation.revokeById(bySession.id), { sid: 's1', first: false })
  const bySubject = await app.revocation.record({ ...claims, sub: 'bob', tenant: 'acme' })
  t.match(await app.revocation.revokeById(bySubject.id), { iss: 'https://i', sub: 'bob', expiresAt: null, first: true })
  const timeless = await app.revocation.record({ iss: 'https://i', sub: 'carol', tenant: 'acme' })
  t.match(timeless, { issuedAt: null, expiresAt: null })
  t.match(await app.revocation.revokeById(timeless.id), { sub: 'carol', first: true })
  t.match(await app.revocation.revokeById(timeless.id), { sub: 'carol', first: false })
  const token = await signed({ ...claims, sid: 's2' })
  t.match(answerOf(await app.inject({ method: 'POST', url: '/logout', headers: bearer(token) })), { statusCode: 200, body: { iss: 'https://i', sid: 's2', expiresAt: null, first: true } })
  t.strictSame(await me(app, token), REVOKED)
})

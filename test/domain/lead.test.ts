import { Redis } from 'ioredis'
import t from 'tap'
import { BROKEN, claimsOf } from '../../lib/domain/claims.ts'
import type { RevocationContext, Decorator } from '../../lib/domain/decorator.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { answerOf, bearer, buildApp, inSeconds, ownPrefix } from '../support/app.ts'
import { buildDomain, Clock, foreign, presented, RULES, signedBy, tokenOf, UNAVAILABLE } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { LEAD } from '../../lib/stores/entry.ts'
import { redisStore } from '../support/stores.ts'

/* How far a cutoff and an iat of issue() may be ahead of the clock (design, section 10). */

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const REVOKED = { name: 'FastifyError', code: 'FST_JWT_REVOKED', statusCode: 401, message: 'Token has been revoked' }
const LATER = { ...UNAVAILABLE, headers: { 'retry-after': '1' } }
const LEAD_IS_FULL = { ...LATER, cause: { name: 'Error', message: 'the subject was cut off again and again, until 5 seconds from now' } }

/** A domain whose subject has a cutoff that is so many seconds ahead, in Redis. */
async function cutOffAhead (ahead: number, sign?: (clock: Clock) => RevocationContext['sign']) {
  // An hour ahead of Redis, which else forgets what lasts a second while a busy machine waits.
  const clock = new Clock(Date.now() + 3_600_000)
  const keyPrefix = ownPrefix()
  const store = redisStore(redis, { keyPrefix, storeTimeout: 10_000, logSpan: 3600, minReplicas: 0 }, { clock, onLost () {}, onBack () {} })
  await redis.set(`${keyPrefix}cutoff:alice`, clock.seconds + ahead)
  return { clock, domain: buildDomain({ store, clock, ...(sign && { sign: sign(clock) }) }) }
}

const statusesOf = async (domain: Decorator) => (await domain.tokens('alice')).tokens.map(({ status }) => status)

t.test('however often a subject is cut off, no token of issue() is signed further ahead than the lead, none lives longer than asked, and none is dead on arrival', async (t) => {
  const clock = new Clock()
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock })
  const seen = { issued: 0, ahead: 0, refused: 0 }
  let cutoff = 0
  for (let i = 0; i < 2000; i++) {
    clock.now += i % 100 === 0 ? 6000 : 2
    // As the store bounds it.
    if (cutoff < clock.seconds + LEAD) cutoff = (await domain.revokeSubject('alice')).cutoff!
    const asked = [3, 60, 900][i % 3]!
    try {
      const claims = claimsOf((await domain.issue({ sub: 'alice' }, { expiresIn: asked })).token)
      if (!(claims.iat! as number <= clock.seconds + LEAD)) t.fail('signed ahead of the lead', claims)
      if (claims.exp !== clock.seconds + asked) t.fail('another end than was asked for', claims)
      if (await presented(domain, claims) !== 'accepted') t.fail('dead on arrival', claims)
      seen.issued++
      if (claims.iat! as number > clock.seconds) seen.ahead++
    } catch (error) {
      const { code, headers, cause } = error as { code: string, headers: object, cause: Error }
      if (code !== 'FST_JWT_REVOCATION_UNAVAILABLE' || !(cause instanceof Error)) t.fail('another refusal', { error })
      t.strictSame(headers, { 'retry-after': '1' })
      seen.refused++
    }
  }
  t.ok(seen.issued > 10 && seen.ahead > 5 && seen.refused > 1000, 'all of it happened', seen)
})

t.test('issue() answers 503 while the lead is full, and works a second later', async (t) => {
  const { clock, domain } = await cutOffAhead(LEAD)
  await t.rejects(domain.issue({ sub: 'alice' }), LEAD_IS_FULL)
  t.strictSame(await statusesOf(domain), ['revoked'], 'the record that it saved is of no live token')
  const bobs = await domain.issue({ sub: 'bob' })
  t.equal(await presented(domain, claimsOf(bobs.token)), 'accepted', 'others are not affected')
  clock.set(1)
  const { token } = await domain.issue({ sub: 'alice' })
  t.match(claimsOf(token), { iat: clock.seconds + LEAD, exp: clock.seconds + 900 })
  t.equal(await presented(domain, claimsOf(token)), 'accepted')
  t.strictSame((await statusesOf(domain)).sort(), ['active', 'revoked'])
})

t.test('issue() gives a subject that is cut off until later than the lead no token: it is revoked', async (t) => {
  for (const ahead of [LEAD + 1, 60, 600, 4294967295]) {
    const { clock, domain } = await cutOffAhead(ahead)
    await t.rejects(domain.issue({ sub: 'alice' }), REVOKED, `${ahead} s`)
    t.strictSame(await statusesOf(domain), ['revoked'])
    clock.set(ahead - LEAD)
    if (ahead < 1000) await t.rejects(domain.issue({ sub: 'alice' }), LEAD_IS_FULL, 'until it is in reach of the lead')
  }
})

t.test('issue() gives no token that would end before its iat, or live longer than asked', async (t) => {
  for (let ahead = 0; ahead < LEAD; ahead++) {
    for (let expiresIn = 1; expiresIn < 8; expiresIn++) {
      const { clock, domain } = await cutOffAhead(ahead)
      if (expiresIn > ahead + 1) {
        const { token } = await domain.issue({ sub: 'alice' }, { expiresIn })
        t.match(claimsOf(token), { iat: clock.seconds + ahead + 1, exp: clock.seconds + expiresIn })
        t.equal(await presented(domain, claimsOf(token)), 'accepted')
      } else {
        const message = `the token would end at ${clock.seconds + expiresIn}, and the cutoff of its subject is ${clock.seconds + ahead}`
        await t.rejects(domain.issue({ sub: 'alice' }, { expiresIn }), { ...LATER, cause: { name: 'Error', message } })
        t.strictSame(await statusesOf(domain), ['revoked'])
      }
    }
  }
})

t.test('issue() gives up on a subject that is cut off during each signature', async (t) => {
  let signatures = 0
  let cutOff = async () => {}
  const cutOffFirst = (clock: Clock): RevocationContext['sign'] => async (claims, options) => {
    const token = signedBy(clock)(claims, options)
    if ((claims as { sub: string }).sub === 'alice') {
      signatures++
      // The clock goes on, so that the lead never fills.
      clock.set(1)
      await cutOff()
    }
    return token
  }
  const { domain } = await cutOffAhead(0, cutOffFirst)
  cutOff = async () => { await domain.revokeSubject('alice') }
  await t.rejects(domain.issue({ sub: 'alice' }), { ...LATER, cause: { name: 'Error', message: 'the subject was cut off 10 times while its token was signed' } })
  t.equal(signatures, 10)
  t.strictSame(await statusesOf(domain), ['revoked'])
})

t.test('issue() signs a token without an end after a cutoff as well', async (t) => {
  const clock = new Clock()
  const sign: RevocationContext['sign'] = (claims) => tokenOf({ iat: clock.seconds, ...claims })
  const rules = { ...RULES, maxTokenLifetime: null }
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock, rules, sign })
  const { cutoff } = await domain.revokeSubject('alice')
  const { token } = await domain.issue({ sub: 'alice' })
  t.match(claimsOf(token), { iat: cutoff! + 1, exp: undefined })
  t.equal(await presented(domain, claimsOf(token)), 'accepted')
})

for (const [name, store] of Object.entries({ memory: () => ({}), redis: () => ({ redis: server.url, keyPrefix: ownPrefix() }) })) {
  t.test(`issue() blames what made the iat one that is not accepted, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const blamed = (message: string) => ({ name: 'TypeError', message })
    const notAccepted = (rule: string) => blamed(`issue() signed a token that would not be accepted: ${rule}`)
    await t.rejects(app.revocation.issue({ sub: 'alice' }, { noTimestamp: true }), notAccepted(BROKEN.noIat))
    t.match(BROKEN.noIat, 'noTimestamp')
    await t.rejects(app.revocation.issue({ sub: 'alice', iat: inSeconds(600) }), notAccepted(BROKEN.ahead))
    await t.rejects(app.revocation.issue({ sub: 'alice', iat: inSeconds(30) }), blamed('issue() signs no iat that is more than 5 seconds ahead; leave "iat" out of the claims'))
    t.strictSame((await app.revocation.tokens('alice')).tokens, [], 'and records nothing')
    const { token } = await app.revocation.issue({ sub: 'alice', iat: inSeconds(3) })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)

    const unbounded = await buildApp(t, { revocation: { ...store(), maxTokenLifetime: 'unbounded' } })
    const undated = await unbounded.revocation.issue({ sub: 'alice' }, { noTimestamp: true })
    t.equal((await unbounded.inject({ url: '/me', headers: bearer(undated.token) })).statusCode, 200)
    await t.rejects(unbounded.revocation.issue({ iat: inSeconds(30) }), blamed('issue() signs no iat that is more than 5 seconds ahead; leave "iat" out of the claims'))
  })

  t.test(`issue() gives no token with a jti that is revoked, on ${name}`, async (t) => {
    const app = await buildApp(t, { jwt: { sign: { expiresIn: '15m', iss: 'a' } }, revocation: store() })
    await app.revocation.revoke({ jti: 'mine', iss: 'a', exp: inSeconds(2) })
    await t.rejects(app.revocation.issue({ sub: 'alice', jti: 'mine' }), REVOKED)
    await t.rejects(app.revocation.issue({ sub: 'alice' }, { jti: 'mine' }), REVOKED, 'by a sign option')
    t.strictSame((await app.revocation.tokens('alice', { iss: 'a' })).tokens, [], 'and records nothing')
    for (const claims of [{ jti: 'mine', iss: 'b' }, { jti: 'another' }, {}]) {
      const options = 'iss' in claims ? { iss: claims.iss } : {}
      const { token } = await app.revocation.issue({ sub: 'alice', ...claims }, options)
      t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: claims } })
    }
  })
}

t.test('issue() looks up no jti of its own', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const looked: unknown[] = []
  const { denials } = store
  const check = denials.check.bind(denials)
  denials.check = (names, done) => {
    looked.push(names.identity)
    check(names, done)
  }
  const domain = buildDomain({ store, clock })
  await domain.issue({ sub: 'alice' })
  t.strictSame(looked, [])
  await domain.issue({ sub: 'alice', jti: 'mine' })
  t.strictSame(looked, ['mine'])
})

t.test('P5 record() and isRevoked() take no token without an iat, or with one that is ahead', async (t) => {
  const { clock, domain } = await cutOffAhead(-10)
  clock.set(0)
  for (const [iat, rule] of [[undefined, BROKEN.noIat], ['1', BROKEN.noIat], [clock.seconds + 61, BROKEN.ahead]] as const) {
    const refusal = { code: 'FST_JWT_NOT_REVOCABLE', statusCode: 401, message: `Token cannot be revoked and is therefore not accepted: ${rule}` }
    await t.rejects(domain.record(foreign(clock, { iat })), refusal)
    await t.rejects(domain.isRevoked(foreign(clock, { iat })), refusal)
    t.equal(await presented(domain, foreign(clock, { iat })), rule === BROKEN.noIat ? 'FST_JWT_REVOKED' : 'FST_JWT_NOT_REVOCABLE', 'a cutoff ends what has no iat')
  }
  const ahead = foreign(clock, { iat: clock.seconds + 61 })
  for (const expected of ['FST_JWT_NOT_REVOCABLE', 'FST_JWT_NOT_REVOCABLE', 'accepted']) {
    t.equal(await presented(domain, ahead), expected, 'the moment counts, though the token has been read before')
    clock.now += 500
  }
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

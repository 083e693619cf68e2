import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Decorator } from '../../lib/domain/decorator.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { Store } from '../../lib/stores/store.ts'
import { bearer, buildApp, inSeconds, ownPrefix, signed } from '../support/app.ts'
import { buildDomain, claimsOf, Clock, foreign, presented, RULES, SharedClock, usable } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { on, redisStore } from '../support/stores.ts'

/*
 * Goal: who cuts off a subject again and again moves its cutoff ahead by five seconds at most, and what is signed by a
 * clock ahead ends all the same (§10).
 * Method: one clock for the process, moved by the test; Redis and memory alike.
 */

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const STORES: Record<string, (t: Test, clock: Clock, minReplicas?: number) => Store> = {
  memory: (_t, clock) => new MemoryStore({ clock }),
  Redis (t, clock) {
    const store = redisStore(redis, { keyPrefix: ownPrefix(), storeTimeout: 10_000, logSpan: 3600, longest: 3600, minReplicas: 0 }, {
      clock, onLost () {}, onBack () {}
    })
    t.teardown(() => store.close())
    return store
  }
}

for (const [name, storeOf] of Object.entries(STORES)) {
  t.test(`a cutoff is ahead by five seconds at most, and is raised again as time goes on, in ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storeOf(t, clock), clock })
    const start = clock.seconds
    const told: unknown[] = []
    domain.on('revoked', (event) => told.push(event))
    const cutoffs: Array<number | null> = []
    for (let i = 0; i < 10; i++) cutoffs.push((await domain.revokeSubject('alice')).cutoff)
    t.strictSame(cutoffs, [0, 1, 2, 3, 4, 5, 5, 5, 5, 5].map((ahead) => start + ahead))
    t.equal(told.length, 6, 'one that stands is not told again')
    clock.now += 2000
    t.equal((await domain.revokeSubject('alice')).cutoff, start + 6)
    t.equal((await domain.revokeSubject('alice')).cutoff, start + 7)
    t.equal((await domain.revokeSubject('alice')).cutoff, start + 7)
    clock.now -= 20_000
    t.equal((await domain.revokeSubject('alice')).cutoff, start + 7, 'a clock that is behind lowers nothing, and raises nothing')
  })

  t.test(`a cutoff that stands far ahead stays, whoever asks, in ${name}`, async (t) => {
    const clock = new Clock()
    const store = storeOf(t, clock)
    await on(store).cutOff('alice', 4294967295, null)
    const domain = buildDomain({ store, clock })
    t.equal((await domain.revokeSubject('alice')).cutoff, 4294967295)
    t.equal(await presented(domain, foreign(clock)), 'FST_JWT_REVOKED')
  })

  t.test(`recorded tokens that a clock ahead has signed end with their subject, and log-ins since then do not, in ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storeOf(t, clock), clock })
    for (const ahead of [0, 1, 4, 5, 6, 30, 59]) {
      const claims = foreign(clock, { sub: `alice ${ahead}`, iat: clock.seconds + ahead, exp: clock.seconds + ahead + 600 })
      t.ok(usable(claims, clock), `${ahead} s ahead would be accepted`)
      await domain.record(claims)
      const { cutoff, revoked } = await domain.revokeSubject(claims.sub as string)
      t.equal(revoked, 1)
      t.equal(cutoff, clock.seconds)
      t.equal(await presented(domain, claims), 'FST_JWT_REVOKED', `${ahead} s ahead`)
      const { token } = await domain.issue({ sub: claims.sub })
      t.equal(await presented(domain, JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())), 'accepted')
    }
  })

  t.test(`what is issued in the second of a cutoff ends with its listed claim, in ${name}`, async (t) => {
    const cases: Array<[what: string, cutOff: (domain: Decorator) => Promise<unknown>, times: number]> = [
      ['its subject', (domain) => domain.revokeSubject('alice'), 1],
      ['its subject, five times', (domain) => domain.revokeSubject('alice'), 5],
      ['its claim', (domain) => domain.revokeBy('tenant', 'acme'), 1],
      ['another claim of it', (domain) => domain.revokeBy('region', 'eu'), 2]
    ]
    for (const [what, cutOff, times] of cases) {
      const clock = new SharedClock()
      clock.set(0, 300)
      const start = clock.now
      const domain = buildDomain({ store: storeOf(t, clock), clock, rules: { ...RULES, revocableBy: ['tenant', 'region'] } })
      for (let i = 0; i < times; i++) await cutOff(domain)
      await domain.issue({ sub: 'alice' })
      t.equal(clock.now, start, `${what}: no other token waits`)
      const { token } = await domain.issue({ sub: 'alice', tenant: 'acme', region: 'eu' })
      const claims = claimsOf(token)
      t.equal(clock.now, start - 300 + times * 1000 + 1, `${what}: it waits for its second, and for a timer's imprecision`)
      t.match(claims, { iat: clock.seconds, exp: Math.floor(start / 1000) + 900 }, `${what}: its end stays`)
      t.equal(await presented(domain, claims), 'accepted', what)
      await domain.revokeBy('tenant', 'acme')
      t.equal(await presented(domain, claims), 'FST_JWT_REVOKED', what)
    }
  })
}

/** The claim `tenant` is listed, and sessions are refreshed. */
function withTenants (clock = new SharedClock()) {
  const lifetime = { refreshLifetime: 86_400 }
  const rules = { ...RULES, ...lifetime, revocableBy: ['tenant'], claims: { jti: 'jti', sub: 'sub', sid: 'sid' } }
  clock.set(0, 300)
  return { clock, domain: buildDomain({ store: new MemoryStore({ clock }), clock, rules, refresh: { expiresIn: 86_400, grace: 10_000 } }) }
}

t.test('a session that begins in the second of a cutoff ends with a listed claim that it gets later', async (t) => {
  const { clock, domain } = withTenants()
  for (let i = 0; i < 5; i++) await domain.revokeSubject('alice')
  const { refreshToken } = await domain.issue({ sub: 'alice' }, { refresh: true })
  const next = await domain.refresh(refreshToken, { claims: { sub: 'alice', tenant: 'acme' } })
  t.ok(claimsOf(next.token).iat as number <= clock.seconds)
  t.equal(await presented(domain, claimsOf(next.token)), 'accepted')
  await domain.revokeBy('tenant', 'acme')
  t.equal(await presented(domain, claimsOf(next.token)), 'FST_JWT_REVOKED')
  await t.rejects(domain.refresh(next.refreshToken), { code: 'FST_JWT_REFRESH_INVALID' })
})

t.test('a log-in that waits for its second waits for five seconds at most, and for no token that would be over', async (t) => {
  const { clock, domain } = withTenants()
  const start = clock.now
  const sleep = clock.sleep
  const hammered: SharedClock = Object.assign(clock, {
    sleep: async (time: number) => {
      await sleep(time)
      // Whoever hammers the cutoff raises it as far as it goes.
      for (let i = 0; i < 4; i++) await domain.revokeSubject('alice')
    }
  })
  await domain.revokeSubject('alice')
  await t.rejects(domain.issue({ sub: 'alice', tenant: 'acme' }), {
    code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: { message: 'the subject was cut off again and again while its login waited' }
  })
  t.ok(hammered.now - start <= 5001, `${hammered.now - start} ms`)

  const { clock: other, domain: short } = withTenants()
  const began = other.now
  for (let i = 0; i < 3; i++) await short.revokeSubject('alice')
  await t.rejects(short.issue({ sub: 'alice', tenant: 'acme' }, { expiresIn: 1 }), { code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
  t.equal(other.now, began)
})

t.test('a log-in that waits while the clock is set back is refused as one that comes then', async (t) => {
  const { clock, domain } = withTenants()
  Object.assign(clock, { sleep: async () => { clock.now -= 3_600_000 } })
  await domain.revokeSubject('alice')
  await t.rejects(domain.issue({ sub: 'alice', tenant: 'acme' }), { code: 'FST_JWT_REVOKED' })
})

t.test('a log-in between the cutoff and the reading of further pages lives', async (t) => {
  const clock = new Clock()
  const store = STORES.memory!(t, clock)
  const domain = buildDomain({ store, clock })
  for (let i = 0; i < 600; i++) await domain.record(foreign(clock, { exp: clock.seconds + 600 + i }))
  const ahead = foreign(clock, { iat: clock.seconds + 30, exp: clock.seconds + 100 })
  await domain.record(ahead)
  const { records } = store
  const page = records.page.bind(records)
  let fresh: string | undefined
  records.page = async (...args) => {
    if (args[2] !== undefined) fresh ??= (await domain.issue({ sub: 'alice' }, { expiresIn: 60 })).token
    return page(...args)
  }
  t.match(await domain.revokeSubject('alice'), { revoked: 601 }, 'each that was recorded before it, and no other')
  t.equal(await presented(domain, ahead), 'FST_JWT_REVOKED', 'of the second page')
  t.equal(await presented(domain, JSON.parse(Buffer.from(fresh!.split('.')[1]!, 'base64url').toString())), 'accepted')
})

t.test('a token that asks for the end of its subject ends too, recorded or not, although a clock ahead has signed it', async (t) => {
  const app = await buildApp(t, { revocation: { redis, keyPrefix: ownPrefix() } })
  for (const ahead of [2, 30, 55]) {
    const token = await signed({ jti: `j${ahead}`, sub: `s${ahead}`, iat: inSeconds(ahead), exp: inSeconds(600) })
    const answer = await app.inject({ method: 'DELETE', url: `/v1/jwt/history/sub/s${ahead}`, headers: bearer(token) })
    t.equal(answer.statusCode, 200, answer.body)
    const after = await app.inject({ url: '/me', headers: bearer(token) })
    t.match(after.json(), { statusCode: 401, code: 'FST_JWT_REVOKED' }, `${ahead} s ahead`)
  }
})

t.test('a token without an end that a clock ahead has signed is refused for ever when it ends its subject', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis, keyPrefix, maxTokenLifetime: 'unbounded' } })
  const token = await signed({ jti: 'j', sub: 'alice', iat: inSeconds(30) })
  const answer = await app.inject({ method: 'DELETE', url: '/v1/jwt/history/sub/alice', headers: bearer(token) })
  t.equal(answer.statusCode, 200, answer.body)
  t.match((await app.inject({ url: '/me', headers: bearer(token) })).json(), { statusCode: 401, code: 'FST_JWT_REVOKED' })
  t.equal(await redis.ttl(`${keyPrefix}revoked:j`), -1)
})

t.test('with one stolen token nobody keeps others from logging in for longer than the lead', async (t) => {
  const clock = new Clock()
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock })
  // What the README's /password does, again and again, each time with the token that the last call gave.
  let refused = 0
  for (let i = 0; i < 40; i++) {
    await domain.revokeSubject('alice')
    await domain.issue({ sub: 'alice' }).catch((error) => {
      refused++
      t.match(error, { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
    })
  }
  t.ok(refused > 0)
  clock.now += 1000
  t.type((await domain.issue({ sub: 'alice' })).token, 'string', 'a second later a log-in works')
})

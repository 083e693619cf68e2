import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationContext } from '../../lib/domain/decorator.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { Store } from '../../lib/stores/store.ts'
import type { RedisClient } from '../../lib/types.ts'
import { ownPrefix } from '../support/app.ts'
import { buildDomain, claimsOf, Clock, presented, RULES, UNAVAILABLE } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { redisStore } from '../support/stores.ts'

/* Sessions under clocks that a test moves: when they end, and what clocks that differ do to them. */

const DAY = 24 * 3600
const INVALID = { statusCode: 401, code: 'FST_JWT_REFRESH_INVALID', message: 'Refresh token is not valid, log in again' }

interface Options { maxTokenLifetime?: number, expiresIn?: number, grace?: number }

function build (store: Store, clock: Clock, { maxTokenLifetime = 900, expiresIn = 30 * DAY, grace = 10_000 }: Options = {}) {
  const rules: RevocationContext['rules'] = {
    ...RULES, maxTokenLifetime, claims: { jti: 'jti', sub: 'sub', sid: 'sid' }, revocableBy: ['tenant'], refreshLifetime: expiresIn
  }
  return buildDomain({ store, clock, rules, refresh: { expiresIn, grace } })
}

const accessOf = (token: string) => claimsOf(token) as { iat: number, exp: number }

const redis = new Redis((await startRedis(t)).url)
t.teardown(() => redis.disconnect())

/** Each store, as a process sees it whose clock is this one. */
const STORES: Record<string, (t: Test, clock: Clock) => (clock: Clock) => Store> = {
  memory (_t, clock) {
    const store = new MemoryStore({ clock })
    return () => store
  },
  Redis () {
    const keyPrefix = ownPrefix()
    const options = { keyPrefix, storeTimeout: 20_000, logSpan: 4000, minReplicas: 0 }
    return (clock) => redisStore(redis as RedisClient, options, { clock, onLost (error) { throw error }, onBack () {} })
  }
}

t.test('10,000 refreshes end when the time of the login is over, and no access token outlives it', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const domain = build(store, clock)
  const first = await domain.issue({ sub: 'alice' }, { refresh: true })
  const end = Math.floor(clock.now / 1000) + 30 * DAY
  t.equal(Date.parse(first.refreshExpiresAt), end * 1000)
  const COUNT = 10_000
  // The last of them comes when a second is left.
  const step = (end * 1000 - clock.now - 1000) / COUNT
  const began = clock.now
  const ends = new Set<string>()
  let pair = first
  let longest = 0
  let most = 0
  for (let i = 1; i <= COUNT; i++) {
    clock.now = began + i * step
    pair = await domain.refresh(pair.refreshToken)
    ends.add(pair.refreshExpiresAt)
    longest = Math.max(longest, accessOf(pair.token).exp)
    most = Math.max(most, store.size)
  }
  t.strictSame([...ends], [first.refreshExpiresAt], 'the end never moves')
  t.equal(longest, end, 'the last access tokens end with the session, and none later')
  t.equal(await presented(domain, accessOf(pair.token)), 'accepted')
  clock.now = end * 1000
  await t.rejects(domain.refresh(pair.refreshToken), INVALID)
  clock.now += 11_000
  t.not(await presented(domain, accessOf(pair.token)), 'accepted')
  store.sweep()
  for (let i = 0; i < 30; i++) store.sweep()
  t.same([...store.refreshes.kept.entries()], [], 'nothing of it is left')
})

for (const [name, open] of Object.entries(STORES)) {
  t.test(`a session that is refreshed often ends as its login says: ${name}`, async (t) => {
    const clock = new Clock()
    const domain = build(open(t, clock)(clock), clock, { expiresIn: 2000 })
    let pair = await domain.issue({ sub: 'alice' }, { refresh: true })
    const { refreshExpiresAt, id } = pair
    for (let i = 0; i < 30; i++) {
      // By the clock of this process alone: Redis keeps it for longer.
      clock.now += 66_000
      pair = await domain.refresh(pair.refreshToken)
      t.equal(pair.refreshExpiresAt, refreshExpiresAt)
      t.equal((await domain.token(id))!.expiresAt, refreshExpiresAt)
      t.ok(accessOf(pair.token).exp * 1000 <= Date.parse(refreshExpiresAt))
    }
    clock.now = Date.parse(refreshExpiresAt)
    await t.rejects(domain.refresh(pair.refreshToken), INVALID)
  })

  t.test(`a subject's log-out ends what a process signed whose clock is ahead, whoever refreshed last: ${name}`, async (t) => {
    const clock = new Clock()
    const ahead = new Clock(clock.now + 3000)
    const storeOf = open(t, clock)
    const [domain, other] = [clock, ahead].map((clock) => build(storeOf(clock), clock)) as [ReturnType<typeof build>, ReturnType<typeof build>]
    const first = await domain.issue({ sub: 'alice' }, { refresh: true })
    // Two tabs, which reach one process each.
    const one = await other.refresh(first.refreshToken)
    const two = await domain.refresh(first.refreshToken, { meta: { tab: 2 } })
    t.equal(two.refreshToken, one.refreshToken)
    t.ok(accessOf(one.token).iat > accessOf(two.token).iat, 'the one who was first was ahead')
    t.match(await domain.token(first.id), { jti: two.jti, meta: { tab: 2 }, refreshedAt: new Date(accessOf(one.token).iat * 1000).toISOString() })
    await domain.revokeSubject('alice')
    for (const { token } of [first, one, two]) t.equal(await presented(domain, accessOf(token)), 'FST_JWT_REVOKED')
    for (const process of [domain, other]) await t.rejects(process.refresh(one.refreshToken), INVALID)
    t.match((await domain.tokens('alice')).tokens, [{ id: first.id, status: 'revoked' }])
  })

  t.test(`a clock that is set back neither revives a session nor ends one: ${name}`, async (t) => {
    const clock = new Clock()
    const storeOf = open(t, clock)
    // On memory this clock is the store's as well.
    const domain = build(storeOf(clock), clock)
    const [lives, ends] = [await domain.issue({ sub: 'alice' }, { refresh: true }), await domain.issue({ sub: 'bob' }, { refresh: true })]
    const [first, second] = [await domain.refresh(lives.refreshToken), await domain.refresh(ends.refreshToken)]
    await domain.revokeSubject('bob')
    clock.now -= 40_000
    await t.rejects(domain.refresh(second.refreshToken), INVALID)
    for (const { token } of [ends, second]) t.equal(await presented(domain, accessOf(token)), 'FST_JWT_REVOKED')
    const next = await domain.refresh(first.refreshToken)
    t.equal(accessOf(next.token).iat, accessOf(first.token).iat, 'no token is older than the one before')
    t.equal(next.refreshExpiresAt, lives.refreshExpiresAt)
    t.equal(accessOf(next.token).exp, clock.seconds + 900, 'and none ends later for it')
    t.equal(await presented(domain, accessOf(next.token)), 'accepted')
    clock.now -= 30_000
    await t.rejects(domain.refresh(next.refreshToken), { ...UNAVAILABLE, cause: { message: /^the session has the iat \d+, and the clock of this process says \d+$/ } })
    clock.now += 30_000
    await t.rejects(domain.refresh(next.refreshToken, { expiresIn: 40 }), { ...UNAVAILABLE, cause: { message: /^the token would end at \d+, and the one before began at \d+$/ } })
    t.equal(accessOf((await domain.refresh(next.refreshToken)).token).iat, accessOf(first.token).iat, 'what was refused has spent nothing')
    await domain.revokeSession(lives.sid)
    await t.rejects(domain.refresh(next.refreshToken), INVALID)
  })
}

t.test('who was logged out everywhere and slept for 29 days is refused', async (t) => {
  for (const slept of [0.01, 1, 14, 29, 30]) {
    for (const [door, logOut] of Object.entries({
      subject: (domain: ReturnType<typeof build>) => domain.revokeSubject('alice'),
      claim: (domain: ReturnType<typeof build>) => domain.revokeBy('tenant', 't1'),
      session: (domain: ReturnType<typeof build>, sid: string) => domain.revokeSession(sid),
      id: (domain: ReturnType<typeof build>, _sid: string, id: string) => domain.revokeById(id)
    })) {
      const clock = new Clock()
      const store = new MemoryStore({ clock })
      // 15 minutes, and far less than the session.
      const domain = build(store, clock, { maxTokenLifetime: 900 })
      const pair = await domain.issue({ sub: 'alice', tenant: 't1' }, { refresh: true })
      const other = await domain.issue({ sub: 'bob', tenant: 't2' }, { refresh: true })
      clock.now += 60_000
      await logOut(domain, pair.sid, pair.id)
      clock.now += slept * DAY * 1000 - 120_000
      for (let i = 0; i < 5; i++) store.sweep()
      await t.rejects(domain.refresh(pair.refreshToken), INVALID, `${door}: after ${slept} days`)
      await t.resolves(domain.refresh(other.refreshToken), 'somebody else goes on')
      if (slept < 30) t.match((await domain.tokens('alice')).tokens, [{ id: pair.id, status: 'revoked' }])
    }
  }
})

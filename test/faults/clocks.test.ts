import { Redis } from 'ioredis'
import fc from 'fast-check'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Audit } from '../../lib/domain/audit.ts'
import type { TokenClaims } from '../../lib/domain/claims.ts'
import type { Decorator } from '../../lib/domain/decorator.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { ReplicaStore } from '../../lib/stores/replica/replica.ts'
import { bearer, buildApp, genuine, inSeconds, ownPrefix, signed } from '../support/app.ts'
import { buildDomain, claimsOf, Clock, commandsOf, foreign, ownTime, presented, RULES } from '../support/domain.ts'
import { startApp } from '../support/process.ts'
import { startProxy } from '../support/proxy.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { LEAD } from '../../lib/stores/entry.ts'
import { systemClock } from '../../lib/time.ts'
import { redisStore } from '../support/stores.ts'
import { runs } from '../support/runs.ts'

/* Redis has the machine's clock, and each process one of its own. Seconds ahead; negative: behind. */

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const SKEWS = [-600, -61, -1, 0, 1, 61, 600]
const MINUTE = 60
const MARGIN = 10
const STALENESS = 60_000

interface Process {
  clock: Clock
  domain: Decorator
}

const contextOf = (clock: Clock) => ({ clock, onLost () {}, onBack () {} })
const optionsOf = (keyPrefix: string) =>
  ({ keyPrefix, storeTimeout: 10_000, logSpan: RULES.maxTokenLifetime! + MARGIN + MINUTE, minReplicas: 0 })

/** A process in strict mode whose clock is so much ahead. */
function strict (t: Test, keyPrefix: string, ahead = 0, now = Date.now()): Process {
  const clock = new Clock(now + ahead * 1000)
  const store = redisStore(redis, optionsOf(keyPrefix), contextOf(clock))
  t.teardown(() => store.close())
  return { clock, domain: buildDomain({ store, clock }) }
}

/** How many times faster the timers of a replica are. */
const HASTE = 10

class QuickClock extends Clock {
  #ticks = 0
  override readonly every: Clock['every'] = (act, interval) => {
    const tick = () => {
      act()
      this.#ticks++
    }
    const { every } = systemClock
    return every(tick, interval / HASTE)
  }

  /** Resolves when each interval has had its turn some times. */
  async sweeps () {
    const from = this.#ticks
    await eventually('it has swept', async () => this.#ticks > from + 4)
  }
}

interface ReplicaSettings { url?: string, logUrl?: string, maxStaleness?: number, storeTimeout?: number }

/** The same in replica mode, once it has read the log. */
async function replica (t: Test, keyPrefix: string, ahead = 0, settings: ReplicaSettings = {}) {
  const { url = server.url, logUrl = url, maxStaleness = STALENESS, storeTimeout = 10_000 } = settings
  const clock = new QuickClock(Date.now() + ahead * 1000)
  const [client, log] = [new Redis(url), new Redis(logUrl)]
  for (const own of [client, log]) own.on('error', () => {})
  const store = new ReplicaStore({
    connection: { client },
    log: { client: log },
    options: { ...optionsOf(keyPrefix), maxStaleness, storeTimeout },
    context: contextOf(clock)
  })
  t.teardown(() => {
    store.close()
    client.disconnect()
    log.disconnect()
  })
  await store.start()
  return { clock, store, domain: buildDomain({ store, clock, mode: 'replica' }) }
}

const inStep = (store: ReplicaStore, entries: number) => eventually(`the replica holds ${entries}`, async () => store.status.copy.entries === entries)

/** At which second, by the machine's clock, Redis forgets a token's revocation. */
async function forgottenAt (keyPrefix: string, jti: string) {
  const script = "local time = redis.call('TIME') return { time[1], time[2], redis.call('PTTL', KEYS[1]) }"
  const [seconds, micros, left] = await redis.eval(script, 1, `${keyPrefix}revoked:${jti}`) as [string, string, number]
  // An older Redis goes on in the middle of a script.
  return (Number(seconds) * 1e6 + Number(micros) + left * 1000) / 1e6 + 0.01
}

const revokeOf = ({ domain }: Process, { jti, exp }: TokenClaims, told: boolean) =>
  domain.revoke({ jti: String(jti), ...(told && { exp: Number(exp) }) })

// It moves the date of the whole process, and so stands before those that run beside one another.
await t.test('P1 a request that lasts is checked again after a second, though the clock has jumped back in between', async (t) => {
  const time = ownTime(t)
  const keyPrefix = ownPrefix()
  let goOn = () => {}
  const revoked = new Promise<void>((resolve) => { goOn = resolve })
  const app = await buildApp(t, {
    revocation: { redis, keyPrefix, storeTimeout: 10_000 },
    after (app) {
      app.get('/long', async (request) => {
        await request.jwtVerify()
        await revoked
        await request.jwtVerify()
        return {}
      })
    }
  })
  const { jti, token } = await genuine({ iat: time.seconds - 600 })
  const answer = app.inject({ url: '/long', headers: bearer(token) })
  await sleep(50)
  await strict(t, keyPrefix).domain.revoke({ jti })
  time.now -= 600_000
  await sleep(1100)
  goOn()
  const { statusCode, json } = await answer
  t.match({ statusCode, ...json() }, { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
})

t.jobs = 4

t.test('P2 Redis keeps a revocation until every process stops to accept the token, whoever wrote it: one ten minutes behind or ahead, for verifiers up to the margin behind Redis', async (t) => {
  const skew = fc.integer({ min: -600, max: 600 })
  const keyPrefix = ownPrefix()
  await fc.assert(fc.asyncProperty(skew, skew, fc.integer({ min: 1, max: RULES.maxTokenLifetime! }), fc.boolean(), async (revoking, verifying, lifetime, told) => {
    // Who is further behind than the margin has a test of its own.
    fc.pre(verifying >= -MARGIN)
    const now = Date.now() / 1000
    const claims = { jti: randomUUID(), iat: Math.floor(now), exp: Math.floor(now) + lifetime }
    await revokeOf(strict(t, keyPrefix, revoking), claims, told)
    return await forgottenAt(keyPrefix, claims.jti) >= Math.min(claims.exp - verifying, now + lifetime + MARGIN)
  }), { numRuns: runs(300) })
})

t.test('a process further behind both Redis and whoever revoked than the margin accepts a revoked token again in its last seconds: clocks are to be in step within 10 s and clockTolerance', async (t) => {
  const keyPrefix = ownPrefix()
  for (const revoking of SKEWS.filter((ahead) => ahead <= 0)) {
    const now = Math.floor(Date.now() / 1000)
    // Who is ten minutes behind takes no token that says it was issued later.
    const claims = { jti: randomUUID(), iat: now - 600, exp: now + 900 }
    await revokeOf(strict(t, keyPrefix, revoking), claims, true)
    const end = await forgottenAt(keyPrefix, claims.jti)
    t.ok(end >= claims.exp + MARGIN, `${revoking}: by Redis' clock it is kept until the margin has passed`)
    const behind = strict(t, keyPrefix, -600)
    t.equal(await presented(behind.domain, claims), 'FST_JWT_REVOKED')
    t.equal(end < claims.exp + 600, revoking > -600, `${revoking}: a verifier ten minutes behind goes on longer, but for a revoker as far behind`)
  }
})

t.test('P2 a replica that is behind keeps a revocation whose exp is known for as long as it accepts the token, unlike Redis', async (t) => {
  for (const ahead of SKEWS) {
    const keyPrefix = ownPrefix()
    const follower = await replica(t, keyPrefix, ahead)
    for (const revoking of SKEWS) {
      const before = follower.store.status.copy.entries
      const claims = foreign(follower.clock)
      // Whose exp is past by its own clock keeps it from now on, which is ahead of the exp.
      await revokeOf(strict(t, keyPrefix, revoking), claims, true)
      await inStep(follower.store, before + 1)
      const { now } = follower.clock
      follower.clock.now = Number(claims.exp) * 1000
      t.equal(await presented(follower.domain, claims), 'FST_JWT_REVOKED', `replica ${ahead}, revoker ${revoking}`)
      follower.clock.now = now
    }
  }
})

t.test('P2 a replica keeps a revocation whose exp is not known as long as Redis does, though who wrote it is ten minutes behind', async (t) => {
  const keyPrefix = ownPrefix()
  const follower = await replica(t, keyPrefix)
  const claims = foreign(follower.clock, { exp: follower.clock.seconds + RULES.maxTokenLifetime! })
  await revokeOf(strict(t, keyPrefix, -600), claims, false)
  await inStep(follower.store, 1)
  t.ok(await forgottenAt(keyPrefix, String(claims.jti)) >= Number(claims.exp), 'Redis keeps it long enough')
  follower.clock.set(RULES.maxTokenLifetime! - 300)
  t.equal(await presented(follower.domain, claims), 'FST_JWT_REVOKED')
})

t.test('P2 in strict mode no jump of a clock revives a revoked token', async (t) => {
  const keyPrefix = ownPrefix()
  const { clock, domain } = strict(t, keyPrefix)
  const { domain: other } = strict(t, keyPrefix)
  const start = clock.now
  const claims = foreign(clock)
  await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: -86_400, max: 86_400 }), { maxLength: 5 }), fc.boolean(), async (jumps, told) => {
    const token = { ...claims, jti: randomUUID() }
    clock.now = start
    await revokeOf({ clock, domain: told ? other : domain }, token, told)
    for (const jump of jumps) {
      clock.now = start + jump * 1000
      const fate = await presented(domain, token)
      if (fate === 'accepted') return false
    }
    clock.now = start
    return await presented(domain, token) === 'FST_JWT_REVOKED'
  }), { numRuns: runs(100) })
})

t.test('P2 the memory store survives a jump that nobody used to sweep', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const domain = buildDomain({ store, clock })
  const start = clock.now
  const claims = foreign(clock)
  await domain.revoke({ jti: String(claims.jti), exp: Number(claims.exp) })
  for (const jump of [-86_400, 86_400, -1, 0]) {
    clock.now = start + jump * 1000
    t.not(await presented(domain, claims), 'accepted', `${jump}`)
  }
  clock.now = start
  t.equal(await presented(domain, claims), 'FST_JWT_REVOKED')
})

for (const when of ['after', 'before'] as const) {
  t.test(`P2 a replica does not revive a token when its clock jumps ten minutes ahead for a while and back, ${when} it has read of the revocation`, async (t) => {
    const keyPrefix = ownPrefix()
    const follower = await replica(t, keyPrefix)
    const { clock, store, domain } = follower
    const start = clock.now
    const claims = foreign(clock, { exp: clock.seconds + 300 })
    if (when === 'before') clock.now = start + 600_000
    await revokeOf(strict(t, keyPrefix), claims, true)
    if (when === 'after') {
      await inStep(store, 1)
      clock.now = start + 600_000
    }
    // The read of the log, and sweeps.
    if (when === 'before') await eventually('the log was read', async () => store.status.copy.entries === 1)
    await clock.sweeps()
    clock.now = start
    t.equal(await redis.exists(`${keyPrefix}revoked:${claims.jti}`), 1, 'Redis knows')
    t.equal(await presented(domain, claims), 'FST_JWT_REVOKED')
  })
}

t.test('P2 a replica that is ahead forgets nothing of what it would accept itself', async (t) => {
  const keyPrefix = ownPrefix()
  const { clock, store, domain } = await replica(t, keyPrefix, 600)
  const writer = strict(t, keyPrefix)
  const tokens = [1, 300, 599, 601, 900].map((left) => foreign(writer.clock, { exp: writer.clock.seconds + left }))
  for (const claims of tokens) await revokeOf(writer, claims, true)
  await eventually('it holds what has not ended by its clock', async () => store.status.copy.entries >= 2)
  await clock.sweeps()
  const fates = await Promise.all(tokens.map((claims) => presented(domain, claims)))
  t.same(fates, tokens.map(() => 'FST_JWT_REVOKED'), 'also what has ended by its clock')
  clock.now += 295_000
  t.equal(await presented(domain, tokens[4]!), 'FST_JWT_REVOKED')
})

const HOUR = 60 * MINUTE

for (const ahead of [HOUR, -HOUR]) {
  t.test(`P1 a process that starts in replica mode while its clock is an hour ${ahead > 0 ? 'ahead' : 'behind'} refuses what was revoked before, then and when its clock is right`, async (t) => {
    const keyPrefix = ownPrefix()
    const [jti, iat, exp] = [randomUUID(), inSeconds(-2 * HOUR), inSeconds(HOUR / 2)]
    const [token, other] = [await signed({ jti, iat, exp }), await signed({ jti: randomUUID(), iat, exp })]
    await revokeOf(strict(t, keyPrefix), { jti, exp }, true)
    const app = await startApp({ after: (fn) => t.teardown(fn) }, { REDIS_URL: server.url, KEY_PREFIX: keyPrefix, MODE: 'replica', STORE_TIMEOUT: '10000', SECONDS_AHEAD: String(ahead) })
    const ask = async (token: string) => {
      const response = await fetch(`${app.url}/me`, { headers: bearer(token) })
      const { code, message } = await response.json() as Record<string, string>
      return { status: response.status, code, message }
    }
    const REVOKED = { status: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' }
    t.match(await (await fetch(`${app.url}/status`)).json(), { mode: 'replica', available: true, entries: 1 })
    // By a clock that is ahead its time is up.
    if (ahead < 0) t.strictSame(await ask(token), REVOKED)
    t.match(await ask(other), { status: ahead < 0 ? 200 : 401 })
    await fetch(`${app.url}/clock/0`, { method: 'POST' })
    t.strictSame(await ask(token), REVOKED)
    t.match(await ask(other), { status: 200 })
    // Several sweeps.
    await sleep(600)
    t.strictSame(await ask(token), REVOKED)
  })
}

t.test('P2 a replica that is two hours ahead reads the keys where the log lacks what still matters by Redis\' clock, and keeps them as long as Redis does', async (t) => {
  const keyPrefix = ownPrefix()
  const writer = strict(t, keyPrefix)
  const [lost, logged] = [foreign(writer.clock), foreign(writer.clock)]
  await revokeOf(writer, lost, true)
  await redis.xtrim(`${keyPrefix}log`, 'MAXLEN', 0)
  await revokeOf(writer, logged, true)
  const { clock, store, domain } = await replica(t, keyPrefix, 2 * HOUR)
  t.equal(store.status.copy.entries, 2)
  clock.now -= 2 * HOUR * 1000
  for (const { jti } of [lost, logged]) {
    t.ok(store.denials.copy.isRevoked(String(jti)))
    const [entry] = [...store.denials.copy.entries()].flat().filter(({ name }) => name === jti)
    const end = await forgottenAt(keyPrefix, String(jti))
    // As much later as the answer that told the time of Redis was on its way.
    t.ok(Math.abs(entry!.until! - end) < MINUTE, `${entry!.until! - end} s apart`)
  }
  for (const claims of [lost, logged]) t.equal(await presented(domain, claims), 'FST_JWT_REVOKED')
})

t.test('P2 a process two hours behind knows at once what it revokes without its exp, whose end is past by its own clock already', async (t) => {
  const keyPrefix = ownPrefix()
  const proxy = await startProxy({ after: (fn) => t.teardown(fn) }, { host: '127.0.0.1', port: server.port })
  const { store, domain } = await replica(t, keyPrefix, -2 * HOUR, { logUrl: proxy.url })
  // So that the log does not tell it.
  await proxy.set('blackhole')
  await domain.revoke({ jti: 'a' })
  t.ok(store.denials.copy.isRevoked('a'))
  const [entry] = [...store.denials.copy.entries()].flat()
  t.ok(Math.abs(entry!.until! - await forgottenAt(keyPrefix, 'a')) < MINUTE, 'until Redis forgets it')
  await domain.revokeSubject('alice')
  t.not(store.denials.copy.cutoffOf('alice'), null)
})

/** The clock of Redis as the log's connection hears it: the only number of 13 digits that it is sent. */
const setAhead = (seconds: number) => ({
  replace: (chunk: Buffer) => Buffer.from(chunk.toString('latin1').replace(/(?<=:)\d{13}(?=\r\n)/, (time) => String(Number(time) + seconds * 1000)), 'latin1')
})

t.test('P2 a replica forgets nothing while the clock of Redis is a day ahead, be it there before or come then', async (t) => {
  const keyPrefix = ownPrefix()
  const proxy = await startProxy({ after: (fn) => t.teardown(fn) }, { host: '127.0.0.1', port: server.port })
  const before = await replica(t, keyPrefix, 0, { logUrl: proxy.url, maxStaleness: 1000 })
  const writer = strict(t, keyPrefix)
  const claims = [foreign(writer.clock), foreign(writer.clock)]
  await revokeOf(writer, claims[0]!, true)
  await inStep(before.store, 1)
  await proxy.set(setAhead(24 * HOUR))
  await revokeOf(writer, claims[1]!, true)
  await inStep(before.store, 2)
  const during = await replica(t, keyPrefix, 0, { logUrl: proxy.url, maxStaleness: 1000 })
  for (const { store, domain, clock } of [before, during]) {
    await clock.sweeps()
    t.equal(store.status.copy.entries, 2)
    for (const each of claims) t.equal(await presented(domain, each), 'FST_JWT_REVOKED')
  }
  await proxy.set('pass')
  for (const { clock } of [before, during]) await clock.sweeps()
  for (const { domain } of [before, during]) for (const each of claims) t.equal(await presented(domain, each), 'FST_JWT_REVOKED')
})

t.test('a replica forgets what is over by both clocks', async (t) => {
  const keyPrefix = ownPrefix()
  const proxy = await startProxy({ after: (fn) => t.teardown(fn) }, { host: '127.0.0.1', port: server.port })
  await proxy.set(setAhead(-24 * HOUR))
  const { clock, store } = await replica(t, keyPrefix, 0, { logUrl: proxy.url, maxStaleness: 1000 })
  const claims = foreign(clock)
  await revokeOf(strict(t, keyPrefix), claims, true)
  await inStep(store, 1)
  clock.set(2 * HOUR)
  await clock.sweeps()
  t.ok(store.denials.copy.isRevoked(String(claims.jti)), 'over by its own clock alone')
  const other = await replica(t, keyPrefix)
  const [[prev]] = await redis.xrevrange(`${keyPrefix}log`, '+', '-', 'COUNT', 1) as [[string, string[]]]
  await redis.xadd(`${keyPrefix}log`, '*', 'entry', `revoked:short 5  ${inSeconds(1)} ${prev}  `)
  await inStep(other.store, 2)
  other.clock.now += 2000
  await inStep(other.store, 1)
})

t.test('a jump of the wall clock makes a replica neither stale nor fresh', async (t) => {
  const own = await startRedis(t)
  const proxy = await startProxy(t, own)
  const { clock, store, domain } = await replica(t, ownPrefix(), 0, { url: proxy.url, maxStaleness: 2000, storeTimeout: 1000 })
  const start = clock.now
  const claims = foreign(clock)
  for (const jump of [-86_400, -600, 600, 0]) {
    clock.now = start + jump * 1000
    const claims = foreign(clock)
    const { mget } = await commandsOf(own, async () => t.equal(await presented(domain, claims), 'accepted'))
    t.equal(mget, undefined, `${jump}: nobody asks Redis`)
    t.ok(store.status.copy.stalenessMs! < 2000)
  }
  await proxy.set('blackhole')
  clock.now = start
  await eventually('nothing is heard', async () => store.status.copy.stalenessMs! > 2000)
  for (const jump of [-600, -86_400, 0, 600]) {
    clock.now = start + jump * 1000
    t.equal(await presented(domain, jump > 0 ? foreign(clock) : { ...claims, iat: clock.seconds, exp: clock.seconds + 900 }), 'FST_JWT_REVOCATION_UNAVAILABLE', `${jump}`)
  }
})

t.test('the use of a revoked token is told again a minute later, though the clock has jumped back in between', async (t) => {
  const clock = new Clock()
  let told = 0
  const audit = new Audit({ fatal () {}, info () {}, warn: () => { told++ } }, clock)
  audit.reused('a', { jti: 'a' })
  clock.now -= 3600_000
  audit.reused('a', { jti: 'a' })
  clock.now += 61_000
  audit.reused('a', { jti: 'a' })
  t.equal(told, 2)
})

t.test('a list is right for who asks with a clock in step, whoever issued: one ten minutes behind or ahead', async (t) => {
  for (const ahead of SKEWS) {
    const keyPrefix = ownPrefix()
    const now = Date.now()
    const issuing = strict(t, keyPrefix, ahead, now)
    const asking = strict(t, keyPrefix, 0, now)
    const { jti, token } = await issuing.domain.issue({ sub: 'alice' })
    t.same((await asking.domain.tokens('alice')).tokens.map((token) => [token.jti, token.status]), [[jti, 'active']], `${ahead}`)
    // Of a clock further ahead than a minute no token is taken.
    const [before, after] = ahead > MINUTE ? ['FST_JWT_NOT_REVOCABLE', 'FST_JWT_REVOKED'] : ['accepted', 'FST_JWT_REVOKED']
    t.equal(await presented(asking.domain, claimsOf(token)), before)
    await asking.domain.revokeSubject('alice', { except: '' })
    t.equal(await presented(asking.domain, claimsOf(token)), after)
    t.equal(await presented(issuing.domain, claimsOf(token)), 'FST_JWT_REVOKED')
  }
})

t.test('the history in memory survives a jump ahead and back that is shorter than the tokens live', async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  const domain = buildDomain({ store, clock })
  const start = clock.now
  const issued = await Promise.all(Array.from({ length: 5 }, () => domain.issue({ sub: 'alice' })))
  for (const jump of [600, -600, 800, -86_400, 0]) {
    clock.now = start + jump * 1000
    for (let i = 0; i < 3; i++) store.sweep()
    t.equal((await domain.tokens('alice')).tokens.length, issued.length, `${jump}`)
    for (const { id, jti } of issued) t.match(await domain.token(id), { id, jti })
  }
})

t.test('a cutoff by a process that is behind spares what correct clocks signed since that moment, is never lowered, and what issue() gives after it is accepted', async (t) => {
  for (const behind of [1, 60, 600]) {
    const keyPrefix = ownPrefix()
    const correct = strict(t, keyPrefix)
    const slow = strict(t, keyPrefix, -behind)
    const before = foreign(correct.clock, { iat: correct.clock.seconds - behind })
    const between = foreign(correct.clock)
    const { cutoff } = await slow.domain.revokeSubject('alice')
    t.equal(cutoff, slow.clock.seconds)
    t.equal(await presented(correct.domain, before), 'FST_JWT_REVOKED')
    t.equal(await presented(correct.domain, between), 'accepted', `${behind}: which is why clocks are to be kept in step`)

    const higher = await correct.domain.revokeSubject('alice')
    t.equal(await presented(correct.domain, between), 'FST_JWT_REVOKED')
    const again = await slow.domain.revokeSubject('alice')
    t.equal(again.cutoff, behind > LEAD ? higher.cutoff! : higher.cutoff! + 1, 'by who is behind it rises as far as the lead allows')
    const { token } = await correct.domain.issue({ sub: 'alice' })
    t.equal(await presented(correct.domain, claimsOf(token)), 'accepted')
    t.equal(await presented(slow.domain, claimsOf(token)), behind > 1 ? 'FST_JWT_NOT_REVOCABLE' : 'accepted', `${behind}`)
    if (behind > 1) await t.rejects(slow.domain.issue({ sub: 'alice' }), { code: 'FST_JWT_REVOKED', statusCode: 401, message: 'Token has been revoked' })
    else t.equal(await presented(correct.domain, claimsOf((await slow.domain.issue({ sub: 'alice' })).token)), 'accepted')
  }
})

t.test('a token of a process that is ahead by up to a minute survives a cutoff made elsewhere within that time where nobody recorded it, and of one further ahead no token is taken', async (t) => {
  for (const by of [1, 59, 600]) {
    const [before, after] = by > MINUTE ? ['FST_JWT_NOT_REVOCABLE', 'FST_JWT_REVOKED'] : ['accepted', 'FST_JWT_REVOKED']
    const keyPrefix = ownPrefix()
    const correct = strict(t, keyPrefix)
    const fast = strict(t, keyPrefix, by)
    const claims = foreign(fast.clock)
    const { token: recorded } = await fast.domain.issue({ sub: 'alice' })
    await correct.domain.revokeSubject('alice')
    t.equal(await presented(correct.domain, claims), before, `${by}: which is why clocks are to be kept in step`)
    t.equal(await presented(correct.domain, claimsOf(recorded)), after, 'one that is recorded ends')
    await correct.domain.revoke({ jti: claims.jti as string })
    t.equal(await presented(correct.domain, claims), after, 'revoking that one token is no matter of clocks')

    const { token: other } = await fast.domain.issue({ sub: 'alice' })
    await fast.domain.revokeSubject('alice')
    t.equal(await presented(correct.domain, claimsOf(other)), after)
    t.equal(await presented(fast.domain, claimsOf(other)), 'FST_JWT_REVOKED')
  }
})

t.test('after a cutoff by a process that is ahead, issue() gives tokens that are accepted once the cutoff is within the lead, and those of other signers only when that moment has come', async (t) => {
  for (const by of [1, 60, 600]) {
    const keyPrefix = ownPrefix()
    const correct = strict(t, keyPrefix)
    const fast = strict(t, keyPrefix, by)
    const { cutoff } = await fast.domain.revokeSubject('alice')
    if (by > LEAD) {
      await t.rejects(correct.domain.issue({ sub: 'alice' }), { code: 'FST_JWT_REVOKED', statusCode: 401, message: 'Token has been revoked' })
      correct.clock.set(by - 1)
    }
    const { token } = await correct.domain.issue({ sub: 'alice' })
    t.equal(claimsOf(token).iat, cutoff! + 1)
    for (const { domain } of [correct, fast]) t.equal(await presented(domain, claimsOf(token)), 'accepted', `${by}`)
    const elsewhere = foreign(correct.clock)
    t.equal(await presented(correct.domain, elsewhere), 'FST_JWT_REVOKED')
    correct.clock.set(3)
    t.equal(await presented(correct.domain, foreign(correct.clock)), 'accepted')
  }
})

t.test('P2 a token that was signed ahead, by up to a minute, and lives for maxTokenLifetime is revoked until it ends, with its exp known or not', async (t) => {
  const keyPrefix = ownPrefix()
  const correct = strict(t, keyPrefix)
  for (const ahead of [0, 11, 59]) {
    const iat = correct.clock.seconds + ahead
    for (const told of [true, false]) {
      const claims = foreign(correct.clock, { iat, exp: iat + RULES.maxTokenLifetime! + MARGIN })
      await revokeOf(correct, claims, told)
      const end = await forgottenAt(keyPrefix, String(claims.jti))
      t.ok(end >= Number(claims.exp) + MARGIN, `${ahead} s ahead`, { end, exp: claims.exp })
    }
  }
})

t.test('a token that was signed ahead by more than a minute is refused until it is within that, and its revocation may end before it does: clocks are to be in step within a minute', async (t) => {
  const keyPrefix = ownPrefix()
  const correct = strict(t, keyPrefix)
  const fast = strict(t, keyPrefix, 600)
  for (const told of [true, false]) {
    const claims = foreign(fast.clock, { exp: fast.clock.seconds + RULES.maxTokenLifetime! })
    t.equal(await presented(fast.domain, claims), 'accepted')
    t.equal(await presented(correct.domain, claims), 'FST_JWT_NOT_REVOCABLE')
    await revokeOf(correct, claims, told)
    const kept = await redis.pttl(`${keyPrefix}revoked:${claims.jti}`) / 1000
    t.ok(kept < RULES.maxTokenLifetime! + MINUTE + 2 * MARGIN + 1, 'so that the log can be trimmed', { kept })
  }
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

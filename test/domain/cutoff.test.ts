import fc from 'fast-check'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { IssueOptions } from '../../lib/index.ts'
import type { TokenClaims } from '../../lib/domain/claims.ts'
import { keptUntil } from '../../lib/domain/retention.ts'
import type { Decorator } from '../../lib/domain/decorator.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { Store } from '../../lib/stores/store.ts'
import { answerOf, bearer, buildApp, genuine, ownPrefix, REVOKED } from '../support/app.ts'
import { buildDomain, claimsOf, Clock, foreign, ownTime, presented, RULES, UNAVAILABLE, usable } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { LEAD } from '../../lib/stores/entry.ts'
import { on, redisStore } from '../support/stores.ts'
import { runs } from '../support/runs.ts'

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

function storeOf (clock: Clock, keyPrefix = ownPrefix()) {
  return redisStore(redis, { keyPrefix, storeTimeout: 10_000, logSpan: 3600, minReplicas: 0 }, { clock, onLost () {}, onBack () {} })
}

/** A store for each process that shares it: each with a clock of its own, but for memory, which is one process. */
const STORES: Record<string, (t: Test) => (clock: Clock) => Store> = {
  memory () {
    let store: Store | undefined
    return (clock) => {
      store ??= new MemoryStore({ clock })
      return store
    }
  },
  redis (t) {
    const keyPrefix = ownPrefix()
    return (clock) => {
      const store = storeOf(clock, keyPrefix)
      t.teardown(() => store.close())
      return store
    }
  }
}

/** Tokens without iat are accepted only where this is. */
const UNBOUNDED = { ...RULES, maxTokenLifetime: null }

interface Known {
  claims: TokenClaims
  /** How many cutoffs there were when it was issued. */
  after: number
  ours: boolean
}

/** A subject of its own, and every token that it got. */
class Subject {
  readonly sub = randomUUID()
  readonly tokens: Known[] = []
  cutoffs: number[] = []
  readonly #clock: Clock

  constructor (clock: Clock) {
    this.#clock = clock
  }

  async issue (domain: Decorator, claims: object = {}) {
    const { token } = await domain.issue({ sub: this.sub, ...claims })
    return this.#keep(claimsOf(token), true)
  }

  /** As others sign: to the second, to the millisecond, and without iat. */
  async issueElsewhere () {
    const { sub } = this
    for (const iat of [this.#clock.seconds, this.#clock.now / 1000]) this.#keep(foreign(this.#clock, { sub, iat }), false)
    const { iat, ...undated } = foreign(this.#clock, { sub })
    this.#keep(undated, false)
  }

  async cutOff (domain: Decorator) {
    const { cutoff } = await domain.revokeSubject(this.sub)
    this.cutoffs.push(cutoff!)
    return cutoff!
  }

  /** Tokens that are not what they must be: from before the last cutoff and accepted, or issued by us after it and refused. */
  async wrong (domain: Decorator): Promise<string[]> {
    const fates = await Promise.all(this.tokens.map(({ claims }) => presented(domain, claims)))
    return this.tokens.flatMap(({ claims, after, ours }, i) => {
      const before = after < this.cutoffs.length
      if (before ? fates[i] === 'FST_JWT_REVOKED' : fates[i] === 'accepted' || !ours) return []
      return [`${ours ? 'ours' : 'of another'} with iat ${claims.iat} after ${after} of the cutoffs ${this.cutoffs} is ${fates[i]}`]
    })
  }

  #keep (claims: TokenClaims, ours: boolean) {
    this.tokens.push({ claims, after: this.cutoffs.length, ours })
    return claims
  }
}

/** The moments of one second, in milliseconds, at which one to three cutoffs may come. */
function momentsOf (count: number, from = 0): number[][] {
  if (count === 0) return [[]]
  return [0, 1, 500, 999].filter((moment) => moment >= from).flatMap((moment) => momentsOf(count - 1, moment).map((rest) => [moment, ...rest]))
}

for (const [name, storesOf] of Object.entries(STORES)) {
  for (const count of [1, 2, 3]) {
    t.test(`every token from before a cutoff is refused and every one from issue() after it accepted, ${count} in one second, on ${name}`, async (t) => {
      const clock = new Clock()
      const domain = buildDomain({ store: storesOf(t)(clock), clock, rules: UNBOUNDED })
      const wrong: unknown[] = []
      for (const moments of momentsOf(count)) {
        const subject = new Subject(clock)
        const look = async () => { wrong.push(...(await subject.wrong(domain)).map((what) => ({ moments, what }))) }
        const issue = async () => {
          await subject.issue(domain)
          await subject.issueElsewhere()
        }
        clock.set(1, 999)
        await issue()
        clock.set(1)
        const second = clock.seconds
        await issue()
        for (const moment of moments) {
          clock.set(0, moment)
          await issue()
          const { iat } = subject.tokens.at(-4)!.claims
          t.equal(iat, Math.max(second, (subject.cutoffs.at(-1) ?? 0) + 1), 'the first second that is not cut off')
          await subject.cutOff(domain)
          await look()
          await issue()
          await look()
        }
        // Until the last cutoff lies in the past for everybody.
        for (let later = 0; later <= count; later++) {
          clock.set(1)
          await issue()
          await look()
        }
        t.strictSame(subject.cutoffs, [...subject.cutoffs].sort((a, b) => a - b), 'none is lower than the one before')
        t.ok(subject.cutoffs[0]! >= second)
        const last = await subject.issue(domain)
        t.equal(last.iat, clock.seconds, 'nothing is left of it when it lies in the past')
        const own = subject.tokens.filter(({ ours, after }) => !ours && after === count)
        for (const { claims } of own) {
          const dead = claims.iat === undefined || Math.floor(claims.iat as number) <= subject.cutoffs.at(-1)!
          t.equal(await presented(domain, claims), dead ? 'FST_JWT_REVOKED' : 'accepted', 'a token of another signer goes by its iat')
        }
      }
      t.strictSame(wrong, [])
    })
  }

  t.test(`isRevoked() and the list say the same as a request, on ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storesOf(t)(clock), clock })
    const before = await domain.issue({ sub: 'alice' })
    const elsewhere = foreign(clock)
    await domain.record(elsewhere)
    await domain.revokeSubject('alice')
    const after = await domain.issue({ sub: 'alice' })
    t.equal(await domain.isRevoked(claimsOf(before.token)), true)
    t.equal(await domain.isRevoked(elsewhere), true)
    t.equal(await domain.isRevoked(claimsOf(after.token)), false)
    const { tokens } = await domain.tokens('alice')
    t.strictSame(Object.fromEntries(tokens.map(({ jti, status }) => [jti, status])), {
      [before.jti]: 'revoked', [String(elsewhere.jti)]: 'revoked', [after.jti]: 'active'
    })
  })

  t.test(`a recorded token without iat is listed as what it is while its subject has a cutoff: revoked, on ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storesOf(t)(clock), clock, rules: UNBOUNDED })
    await domain.revokeSubject('alice')
    clock.set(5)
    const { iat, ...undated } = foreign(clock)
    const { id } = await domain.record(undated)
    t.equal(await presented(domain, undated), 'FST_JWT_REVOKED')
    t.strictSame((await domain.tokens('alice')).tokens.map((token) => [token.id, token.status]), [[id, 'revoked']])
    t.equal((await domain.revokeSubject('alice')).revoked, 0, 'and not counted as ended by the next one')
  })

  t.test(`a recorded token of the last part of a second is listed as what it is, on ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storesOf(t)(clock), clock })
    for (const part of [0.4, 0.999, 0.9995, 0.9999, 0.999999]) {
      const sub = randomUUID()
      const claims = foreign(clock, { sub, iat: clock.seconds + part })
      const { id } = await domain.record(claims)
      t.equal((await domain.revokeSubject(sub)).revoked, 1, `${part}`)
      t.equal(await presented(domain, claims), 'FST_JWT_REVOKED')
      t.strictSame((await domain.tokens(sub)).tokens.map((token) => [token.id, token.status]), [[id, 'revoked']], `${part}`)
    }
  })

  t.test(`a cutoff concerns one subject of one issuer, on ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({ store: storesOf(t)(clock), clock })
    const subjects = [
      { sub: 'alice' }, { sub: 'alice', iss: 'a' }, { sub: 'alice', iss: 'b' }, { sub: 'alicea' }, { sub: 'a', iss: 'alice' }, { sub: 'Alice' },
      { sub: 'a/alice' }, { sub: 'a%2Falice' }, { sub: 'al*' }, { sub: ' alice' }, { sub: '😀' }, { sub: '__proto__' }, { sub: 'x', iss: '__proto__' },
      { sub: 'alice', iss: '' }
    ]
    const tokens = subjects.map((claims) => foreign(clock, claims))
    const nobodys = [foreign(clock, { sub: '' }), foreign(clock, { sub: '', iss: 'a' })]
    const { sub, ...bare } = foreign(clock, { jti: 'alice' })
    nobodys.push(bare)
    const refused = async () => {
      const fates = await Promise.all([...tokens, ...nobodys].map((claims) => presented(domain, claims)))
      return fates.flatMap((fate, i) => fate === 'accepted' ? [] : [i])
    }
    t.strictSame(await refused(), [])
    await domain.revokeSubject('alice', { iss: 'a' })
    t.strictSame(await refused(), [1])
    await domain.revokeSubject('alice')
    t.strictSame(await refused(), [0, 1, 13], 'an empty issuer is none')
    await domain.revokeSubject('a/alice')
    t.strictSame(await refused(), [0, 1, 6, 13])
    await domain.revokeSubject('__proto__')
    t.strictSame(await refused(), [0, 1, 6, 11, 13])
  })

  t.test(`cutoffs of processes whose clocks differ are never lowered, on ${name}`, async (t) => {
    const seconds = new Clock().seconds + 1
    for (const offsets of [[0, 7], [7, 0], [0, -7, 7], [7, -7, 0], [-7, 7, -7], [0.001, 0], [0, 0.001]]) {
      // In the last millisecond of a second, so that a process that is one ahead is in the next.
      const clocks = offsets.map((offset) => new Clock(seconds * 1000 - 1 + offset * 1000))
      const storeOf = storesOf(t)
      const domains = clocks.map((clock) => buildDomain({ store: storeOf(clock), clock }))
      const sub = randomUUID()
      let standing = 0
      /** The claims of a token, or nothing where the cutoff is ahead of that clock by the whole lead. */
      const issueBy = async (domain: Decorator, clock: Clock) => {
        try {
          return [claimsOf((await domain.issue({ sub })).token)]
        } catch (error) {
          t.ok(standing >= clock.seconds + LEAD, String(error))
          return []
        }
      }
      for (let round = 0; round < 3; round++) {
        for (const [i, domain] of domains.entries()) {
          const before = (await Promise.all(domains.map((domain, i) => issueBy(domain, clocks[i]!)))).flat()
          const { cutoff } = await domain.revokeSubject(sub)
          t.ok(cutoff! >= clocks[i]!.seconds && cutoff! >= standing, 'not lower than the clock of who asks, nor than the one before', { cutoff, standing, offsets })
          standing = cutoff!
          for (const claims of before.filter(({ iat }) => Number(iat) <= cutoff!)) {
            t.strictSame(await Promise.all(domains.map((domain) => presented(domain, claims))), domains.map(() => 'FST_JWT_REVOKED'))
          }
          const after = (await Promise.all(domains.map((domain, i) => issueBy(domain, clocks[i]!)))).flat()
          for (const claims of after) {
            t.strictSame(await Promise.all(domains.map((domain) => presented(domain, claims))), domains.map(() => 'accepted'), 'nobody gives a dead token')
          }
        }
        for (const clock of clocks) clock.now += 400
      }
    }
  })

  t.test(`issue() keeps the end of a token when the cutoff lies ahead, on ${name}`, async (t) => {
    const clock = new Clock()
    const store = storesOf(t)(clock)
    const domain = buildDomain({ store, clock })
    const asked: Array<[claims: object, options: Record<string, unknown>, lifetime: number]> = [
      [{}, {}, 900], [{}, { expiresIn: 60 }, 60], [{ iat: clock.seconds - 100 }, { expiresIn: 600 }, 500], [{ exp: clock.seconds + 30 }, {}, 900]
    ]
    for (const [claims, options, lifetime] of asked) {
      const sub = randomUUID()
      for (let i = 0; i < LEAD; i++) await domain.revokeSubject(sub)
      const { token, id, expiresAt } = await domain.issue({ sub, ...claims }, options)
      const { iat, exp } = claimsOf(token)
      t.same({ iat, exp }, { iat: clock.seconds + LEAD, exp: clock.seconds + lifetime }, JSON.stringify([claims, options]))
      t.equal(expiresAt, new Date(Number(exp) * 1000).toISOString())
      const { tokens } = await domain.tokens(sub)
      t.match(tokens, [{ id, issuedAt: new Date(Number(iat) * 1000).toISOString(), expiresAt, status: 'active' }])
      t.equal(tokens.length, 1, 'what was signed on the way leaves nothing')
      t.strictSame(await domain.token(id).then((record) => record?.expiresAt), expiresAt)
    }
  })

  t.test(`issue() leaves no record where it gives no token, on ${name}`, async (t) => {
    const clock = new Clock()
    const domain = buildDomain({
      store: storesOf(t)(clock),
      clock,
      rules: UNBOUNDED,
      sign: (claims) => {
        const { iat, ...undated } = foreign(clock, claims as TokenClaims)
        return `.${Buffer.from(JSON.stringify(undated)).toString('base64url')}.`
      }
    })
    await domain.issue({ sub: 'bob' })
    t.equal((await domain.tokens('bob')).tokens.length, 1)
    await domain.revokeSubject('alice')
    await t.rejects(domain.issue({ sub: 'alice' }), {
      name: 'TypeError', message: 'issue() can not give a subject that was cut off a token without iat; sign without "noTimestamp"'
    })
    t.strictSame((await domain.tokens('alice')).tokens, [])
  })
}

t.test('a cutoff is kept as long as the longest token from before it could live, in Redis', async (t) => {
  for (const [rules, lifetime] of [
    [RULES, 3680], [{ ...RULES, maxTokenLifetime: 60, clockTolerance: 30 }, 200], [{ ...RULES, maxTokenLifetime: null }, null]
  ] as const) {
    const clock = new Clock()
    const keyPrefix = ownPrefix()
    const domain = buildDomain({ store: storeOf(clock, keyPrefix), clock, rules })
    const kept = async () => Number(await redis.pttl(`${keyPrefix}cutoff:alice`))
    const asked = performance.now()
    /** By how much it may have become shorter since: Redis' time goes on, while that of the domain stands still. */
    const passed = () => performance.now() - asked + 500
    const isKept = async (seconds: number) => {
      const left = await kept()
      // A script gives whole milliseconds.
      t.ok(left >= seconds * 1000 - passed() && left <= seconds * 1000 + 1000, `${seconds} s`, { left })
    }
    const { cutoff } = await domain.revokeSubject('alice')
    t.equal(await redis.get(`${keyPrefix}cutoff:alice`), String(cutoff), 'it is a number of seconds')
    if (lifetime === null) {
      t.equal(await kept(), -1, 'for ever')
      await domain.revokeSubject('alice')
      t.equal(await kept(), -1)
      continue
    }
    await isKept(lifetime)
    for (let i = 0; i < 20; i++) await domain.revokeSubject('alice')
    await isKept(lifetime + 5)
    // A clock that is behind, or another rule, does not shorten it.
    clock.now -= 50_000
    await domain.revokeSubject('alice')
    t.ok(await kept() >= (lifetime + 5) * 1000 - passed())
    const strict = buildDomain({ store: storeOf(clock, keyPrefix), clock, rules: { ...rules, maxTokenLifetime: 1 } })
    await strict.revokeSubject('alice')
    t.ok(await kept() >= (lifetime + 5) * 1000 - passed())
  }
})

t.test('a cutoff is kept as long as the longest token from before it could live, in memory', async (t) => {
  for (const [maxTokenLifetime, clockTolerance] of [[60, 0], [60, 30], [3600, 1]] as const) {
    const rules = { ...RULES, maxTokenLifetime, clockTolerance }
    for (const milliseconds of [0, 1, 499, 999]) {
      const clock = new Clock()
      clock.set(0, milliseconds)
      const start = clock.now
      const domain = buildDomain({ store: new MemoryStore({ clock }), clock, rules })
      // Ten seconds longer than it may: so much is left to clocks that differ.
      const longest = [clock.seconds, clock.now / 1000].map((iat) => foreign(clock, { iat, exp: iat + maxTokenLifetime + 10 }))
      await domain.revokeSubject('alice')
      const end = start + (maxTokenLifetime + clockTolerance + 10) * 1000
      let refused = 0
      for (clock.now = start; clock.now < end + 3000; clock.now += clock.now < end - 2000 ? 997 : 1) {
        for (const claims of longest) {
          // What has expired, @fastify/jwt refuses.
          if (clock.now >= (Number(claims.exp) + clockTolerance) * 1000) continue
          const fate = await presented(domain, claims)
          if (fate === 'FST_JWT_REVOKED') refused++
          else if (fate === 'accepted') t.fail(`accepted ${clock.now - start} ms after the cutoff`, { claims, milliseconds })
        }
      }
      t.ok(refused > maxTokenLifetime)
      clock.now = keptUntil(undefined, rules, start)! * 1000
      t.equal((await domain.history.lookUp({ subject: 'alice' })).cutoff, null, 'and no longer than a token could be ahead')
    }
  }
  const clock = new Clock()
  const domain = buildDomain({ store: new MemoryStore({ clock }), clock, rules: UNBOUNDED })
  const { exp, ...endless } = foreign(clock)
  await domain.revokeSubject('alice')
  clock.now = 8.64e15
  t.ok(usable(endless, clock, UNBOUNDED))
  t.equal(await presented(domain, endless), 'FST_JWT_REVOKED', 'for ever')
})

t.test('P4 what is no number under the key of a cutoff accepts nobody', async (t) => {
  const clock = new Clock()
  for (const value of ['', ' ', 'x', 'null', '{}', '[]', 'NaN', 'nan', 'inf', '12x', '1,5', '"1"', '\u0000', '😀', 'true']) {
    const keyPrefix = ownPrefix()
    const key = `${keyPrefix}cutoff:alice`
    const domain = buildDomain({ store: storeOf(clock, keyPrefix), clock })
    await redis.set(key, value)
    t.equal(await presented(domain, foreign(clock)), 'FST_JWT_REVOCATION_UNAVAILABLE', JSON.stringify(value))
    await t.rejects(domain.isRevoked(foreign(clock)), UNAVAILABLE)
    await t.rejects(domain.issue({ sub: 'alice' }), UNAVAILABLE)
    await t.rejects(domain.revokeSubject('alice'), UNAVAILABLE, JSON.stringify(value))
    t.not(await presented(domain, foreign(clock)), 'accepted', 'nor does trying to revoke accept anybody')
    t.equal(await presented(domain, foreign(clock, { sub: 'bob' })), 'accepted', 'others are not affected')
  }
})

t.test('P3 a key of another type in the place of a cutoff is left alone, and no cutoff is acknowledged', async (t) => {
  const clock = new Clock()
  const keyPrefix = ownPrefix()
  const domain = buildDomain({ store: storeOf(clock, keyPrefix), clock })
  await redis.rpush(`${keyPrefix}cutoff:alice`, 'x')
  const unavailable = { ...UNAVAILABLE, cause: { message: /WRONGTYPE/ } }
  await t.rejects(domain.revokeSubject('alice'), unavailable)
  await t.rejects(domain.issue({ sub: 'alice' }), unavailable)
  t.strictSame(await redis.lrange(`${keyPrefix}cutoff:alice`, 0, -1), ['x'])
  // MGET answers nil for it: nobody was ever told that the subject is cut off.
  t.equal(await presented(domain, foreign(clock)), 'accepted')
})

t.test('a request with a cut off token is answered as one with a revoked token, and a log-in in the same second works', async (t) => {
  const time = ownTime(t)
  for (const revocation of [{}, { redis: server.url, keyPrefix: ownPrefix() }]) {
    const app = await buildApp(t, { revocation })
    const get = async (token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
    const [issued, elsewhere, bystander] = [await app.revocation.issue({ sub: 'alice' }), await genuine(), await genuine({ sub: 'bob' })]
    for (const { token } of [issued, elsewhere, bystander]) t.equal((await get(token)).statusCode, 200)
    for (let i = 0; i < 3; i++) {
      t.equal((await app.revocation.revokeSubject('alice')).cutoff, time.seconds + i)
      t.strictSame(await get(issued.token), REVOKED)
      t.strictSame(await get(elsewhere.token), REVOKED)
      t.equal((await get(bystander.token)).statusCode, 200)
      for (const expiresIn of [undefined, 60, '90s']) {
        const again = await app.revocation.issue({ sub: 'alice' }, expiresIn === undefined ? {} : { expiresIn })
        const { iat, exp } = app.jwt.decode<{ iat: number, exp: number }>(again.token)!
        const lifetime = { 60: 60, '90s': 90 }[String(expiresIn)] ?? 900
        t.same({ iat, exp }, { iat: time.seconds + i + 1, exp: time.seconds + lifetime }, '@fastify/jwt signs what is asked of it')
        t.match(await get(again.token), { statusCode: 200, body: { user: { sub: 'alice', jti: again.jti } } })
      }
    }
  }
})

t.test('@fastify/jwt ends a token when it would have ended without the cutoff, whoever says when that is', async (t) => {
  const time = ownTime(t)
  for (const sign of [{ expiresIn: '15m' }, {}]) {
    const app = await buildApp(t, { jwt: { sign } })
    for (const [claims, options] of [
      [{ exp: time.seconds + 60 }, {}], [{ exp: time.seconds + 60 }, { expiresIn: 120 }], [{ iat: time.seconds - 10 }, { expiresIn: '2m' }]
    ] as Array<[claims: object, options: IssueOptions]>) {
      const end = async (sub: string) => app.jwt.decode<{ exp: number }>((await app.revocation.issue({ sub, ...claims }, options)).token)!.exp
      const sub = randomUUID()
      const expected = await end(sub)
      for (let i = 0; i < 5; i++) await app.revocation.revokeSubject(sub)
      t.equal(await end(sub), expected, JSON.stringify([sign, claims, options]))
    }
  }
})

t.test('whatever the order of log-ins, cutoffs and seconds, no token outlives a cutoff and none is born dead', async (t) => {
  type Step = { kind: 'issue' | 'elsewhere' | 'cutoff' | 'revoke' } | { kind: 'tick', by: number }
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.constant<Step>({ kind: 'issue' }) },
    { weight: 2, arbitrary: fc.constant<Step>({ kind: 'elsewhere' }) },
    { weight: 3, arbitrary: fc.constant<Step>({ kind: 'cutoff' }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: 'revoke' }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('tick' as const), by: fc.integer({ min: 0, max: 2500 }) }) }
  )
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 999 }), fc.array(step, { maxLength: 40 }), async (milliseconds, steps) => {
    const clock = new Clock()
    clock.set(0, milliseconds)
    const domain = buildDomain({ store: new MemoryStore({ clock }), clock, rules: UNBOUNDED })
    const subject = new Subject(clock)
    const denied = new Set<unknown>()
    const unlessTheLeadIsFull = (error: unknown) => {
      if (subject.cutoffs.at(-1)! < clock.seconds + LEAD) throw error
    }
    for (const step of steps) {
      if (step.kind === 'tick') clock.now += step.by
      else if (step.kind === 'issue') await subject.issue(domain).catch(unlessTheLeadIsFull)
      else if (step.kind === 'elsewhere') await subject.issueElsewhere()
      else if (step.kind === 'revoke') {
        // It counts as one from before the first cutoff: gone for good.
        const token = subject.tokens.findLast(({ ours, after }) => ours && after === subject.cutoffs.length)
        if (token === undefined) continue
        await domain.revoke({ jti: String(token.claims.jti) })
        denied.add(token)
        token.after = -1
      } else {
        const ended = subject.tokens.filter((token) => token.ours && token.after === subject.cutoffs.length).length
        const { cutoff, revoked } = await domain.revokeSubject(subject.sub)
        const last = subject.cutoffs.at(-1) ?? -1
        // As far ahead as it can be, it stands.
        const stands = cutoff === last && last >= clock.seconds + LEAD
        if (cutoff! <= last && !stands) throw new Error(`a cutoff of ${cutoff} after ${subject.cutoffs}`)
        if (!stands) subject.cutoffs.push(cutoff!)
        if (revoked !== ended) throw new Error(`${revoked} counted where ${ended} were ended`)
      }
      const wrong = await subject.wrong(domain)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
      const { tokens } = await domain.tokens(subject.sub)
      const active = subject.tokens.filter(({ ours, after }) => ours && after === subject.cutoffs.length).map(({ claims }) => claims.jti)
      if (tokens.filter(({ status }) => status === 'active').map(({ jti }) => jti).sort().join() !== active.sort().join()) throw new Error('the list says otherwise')
    }
  }), { numRuns: runs(300) })
})

for (const name of Object.keys(STORES)) {
  t.test(`a cutoff that stands late enough is not raised, on ${name}`, async (t) => {
    const clock = new Clock()
    const store = STORES[name]!(t)(clock)
    const until = clock.seconds + 900
    t.strictSame(await on(store).cutOff('alice', clock.seconds, until, { unlessFrom: clock.seconds - 10 }), { cutoff: clock.seconds, before: null })
    t.strictSame(await on(store).cutOff('alice', clock.seconds, until, { unlessFrom: clock.seconds }), { cutoff: clock.seconds, before: clock.seconds })
    t.strictSame(await on(store).cutOff('alice', clock.seconds, until, { unlessFrom: clock.seconds + 1 }), { cutoff: clock.seconds + 1, before: clock.seconds })
    t.strictSame(await on(store).cutOff('alice', clock.seconds, until), { cutoff: clock.seconds + 2, before: clock.seconds + 1 })
  })
}

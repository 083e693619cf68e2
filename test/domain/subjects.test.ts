import { holdTimeLimits } from '../support/time-limits.ts'
import type { FastifyInstance, FastifyRequest, LightMyRequestResponse } from 'fastify'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { type AuthorizeTarget, revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { commandsOf, ownTime, UNAVAILABLE, WatchedClient } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'

const server = await startRedis(t)
const client = new Redis(server.url)
t.teardown(() => client.disconnect())

const HISTORY = '/v1/jwt/history'
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: client, keyPrefix: ownPrefix(), storeTimeout: 10_000 })
}

const errorOf = (statusCode: number, error: string, code: string, message: string) =>
  ({ statusCode, body: { statusCode, code, error, message } })
const FORBIDDEN = errorOf(403, 'Forbidden', 'FST_JWT_REVOCATION_FORBIDDEN', 'Not allowed to act on this token')

const endAll = (app: FastifyInstance, token: string, path: string) =>
  app.inject({ method: 'DELETE', url: `${HISTORY}/sub/${path}`, headers: bearer(token) })

const get = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const accepts = async (app: FastifyInstance, token: string) => (await get(app, token)).statusCode === 200

/** The whole answer, to the byte: all that somebody could tell two of them apart by. */
function bytesOf ({ statusCode, headers, rawPayload }: LightMyRequestResponse) {
  const { date, ...others } = headers
  return { statusCode, headers: others, body: rawPayload.toString('latin1') }
}

function eventsOf (app: FastifyInstance) {
  const events: unknown[] = []
  app.revocation.on('revoked', (event) => { events.push(event) })
  return events
}

for (const [name, store] of Object.entries(STORES)) {
  t.test(`a subject ends all of its own tokens, and the caller's, on ${name}`, async (t) => {
    const time = ownTime(t)
    const app = await buildApp(t, { revocation: store() })
    const events = eventsOf(app)
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'a' }, { sub: 'Ä/😀?#%', iss: 'https://a.example/?b=c&d' }]) {
      time.set(10)
      const path = encodeURIComponent(claims.sub)
      const issued = await Promise.all([1, 2, 3].map(() => app.revocation.issue(claims)))
      const unrecorded = await genuine(claims)
      const response = await endAll(app, issued[0]!.token, path)
      t.strictSame(answerOf(response), { statusCode: 200, body: { ...claims, cutoff: time.seconds, revoked: 3 } })
      t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
      for (const { token } of [...issued, unrecorded]) t.strictSame(await get(app, token), REVOKED)

      const again = await app.revocation.issue(claims)
      t.strictSame(answerOf(await endAll(app, issued[0]!.token, path)), REVOKED, 'a revoked token may not')
      t.ok(await accepts(app, again.token))
      t.strictSame(answerOf(await endAll(app, again.token, path)), { statusCode: 200, body: { ...claims, cutoff: time.seconds + 1, revoked: 1 } })
      t.strictSame(await app.revocation.revokeSubject(claims.sub, claims), { ...claims, cutoff: time.seconds + 2, revoked: 0 })

      const elsewhere = await genuine(claims)
      t.strictSame(await get(app, elsewhere.token), REVOKED, 'of another signer, in the same second')
      time.set(3)
      t.match(answerOf(await endAll(app, (await genuine(claims)).token, path)), { statusCode: 200, body: { revoked: 0 } }, 'a caller without a record has a subject as well')
      t.strictSame(events.splice(0), [
        { ...claims, cutoff: time.seconds - 3 }, { ...claims, cutoff: time.seconds - 2 }, { ...claims, cutoff: time.seconds - 1 }, { ...claims, cutoff: time.seconds }
      ])
    }
  })

  t.test(`P6 to anybody else a foreign subject and an unknown one look alike, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const events = eventsOf(app)
    const alices = await app.revocation.issue({ sub: 'alice', iss: 'a' })
    const others = await app.revocation.issue({ sub: 'mallory' })
    const named = await genuine({ sub: 'mallory', iss: 'a' })
    const { token: bare } = await app.revocation.issue({})
    const { token: empty } = await app.revocation.issue({ sub: '', iss: 'a' })
    for (const caller of [named.token, bare, empty]) {
      const answers = await Promise.all([
        'alice', 'alice?iss=a', 'alice?iss=', 'nobody', 'nobody?iss=b', 'alice?except=current', 'nobody?except=current', 'mallory?iss=', 'mallory?iss=b',
        'undefined', 'null', '%00', '__proto__', 'constructor'
      ].map((path) => endAll(app, caller, path)))
      for (const answer of answers) {
        t.strictSame(answerOf(answer), FORBIDDEN)
        t.strictSame(bytesOf(answer), bytesOf(answers[0]!))
      }
    }
    for (const { token } of [alices, others, named]) t.ok(await accepts(app, token))
    t.strictSame(events, [])
  })

  t.test(`P6 authorize is asked about a foreign subject, and only true lets, on ${name}`, async (t) => {
    const asked: Array<{ target: AuthorizeTarget, user: unknown }> = []
    let answer: unknown
    const authorize = (request: FastifyRequest, target: AuthorizeTarget) => {
      asked.push({ target, user: request.user })
      if (answer instanceof Error) throw answer
      return answer as boolean
    }
    const app = await buildApp(t, { revocation: { ...store(), authorize } })
    const caller = await genuine({ sub: 'root', iss: 'a' })
    const targets: Array<[path: string, target: { sub: string, iss?: string }]> = [
      ['alice', { sub: 'alice', iss: 'a' }], ['alice?iss=b', { sub: 'alice', iss: 'b' }], ['alice?iss=', { sub: 'alice' }], ['root?iss=b', { sub: 'root', iss: 'b' }],
      ['nobody?except=current', { sub: 'nobody', iss: 'a' }], ['%F0%9F%98%80%2F', { sub: '😀/', iss: 'a' }]
    ]
    for (const [path, target] of targets) {
      const { token } = await app.revocation.issue(target)
      for (const no of [false, undefined, null, 0, 1, 'true', {}, Promise.resolve(false), Promise.resolve('true')]) {
        answer = no
        t.strictSame(answerOf(await endAll(app, caller.token, path)), FORBIDDEN)
        t.match(asked.splice(0), [{ target: { action: 'revokeSubject', ...target }, user: { jti: caller.jti } }])
      }
      answer = Object.assign(new Error('ask later'), { statusCode: 418 })
      t.match(answerOf(await endAll(app, caller.token, path)), { statusCode: 418, body: { message: 'ask later' } })
      t.ok(await accepts(app, token))
      asked.splice(0)
      answer = path === 'alice' ? true : Promise.resolve(true)
      t.match(answerOf(await endAll(app, caller.token, path)), { statusCode: 200, body: { ...target, revoked: 1 } })
      t.strictSame(asked.splice(0).map(({ target }) => target), [{ action: 'revokeSubject', ...target }])
      t.strictSame(await get(app, token), REVOKED)
      t.ok(await accepts(app, caller.token))
    }
    t.equal((await endAll(app, caller.token, 'root')).statusCode, 200)
    t.strictSame(asked, [], 'its own subject needs nobody\'s leave')
  })

  t.test(`?except=current ends every other recorded token and spares the caller's, on ${name}`, async (t) => {
    const time = ownTime(t)
    const app = await buildApp(t, { revocation: store() })
    const events = eventsOf(app)
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'a' }]) {
      const bystander = await app.revocation.issue({ sub: 'alice', iss: 'b' })
      const issued = await Promise.all(Array.from({ length: 5 }, () => app.revocation.issue(claims)))
      const [gone, caller, ...others] = issued
      await app.revocation.revokeById(gone!.id)
      events.splice(0)
      const recorded = await genuine(claims)
      await app.revocation.record(app.jwt.decode(recorded.token)!)
      t.strictSame(answerOf(await endAll(app, caller!.token, 'alice?except=current')), { statusCode: 200, body: { ...claims, cutoff: null, revoked: 4 } })
      for (const { token } of [...others, recorded, gone!]) t.strictSame(await get(app, token), REVOKED)
      for (const { token } of [caller!, bystander]) t.ok(await accepts(app, token))
      t.ok(await accepts(app, (await genuine(claims)).token), 'no cutoff is set')
      t.strictSame(events.map((event) => (event as { jti: string }).jti).sort(), [...others, recorded].map(({ jti }) => jti).sort(), 'each one is told of')
      t.match(events[0], { ...claims, status: 'revoked', revokedAt: new Date(time.seconds * 1000).toISOString(), expiresAt: new Date((time.seconds + 900) * 1000).toISOString() })
      events.splice(0)
      t.strictSame(answerOf(await endAll(app, caller!.token, 'alice?except=current')), { statusCode: 200, body: { ...claims, cutoff: null, revoked: 0 } }, 'and again')
      t.strictSame(events, [])

      const unrecorded = await genuine(claims)
      t.match(answerOf(await endAll(app, unrecorded.token, 'alice?except=current')), { statusCode: 200, body: { revoked: 1 } })
      t.strictSame(await get(app, caller!.token), REVOKED)
      t.ok(await accepts(app, unrecorded.token), 'a caller without a record goes on as well')
    }
    const { token } = await app.revocation.issue({ sub: 'alice' })
    for (const query of ['except=', 'except=other', 'except=current&except=current', `iss=${'a'.repeat(1025)}`]) {
      t.match(answerOf(await endAll(app, token, `alice?${query}`)), { statusCode: 400, body: { statusCode: 400, code: 'FST_ERR_VALIDATION', error: 'Bad Request' } }, query)
    }
    t.ok(await accepts(app, token))
  })

  t.test(`?except=current of somebody else's subject ends all that is recorded of it, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: { ...store(), authorize: () => true } })
    const issue = async (claims: object) => app.revocation.issue(claims)
    for (const root of [{ sub: 'root' }, { sub: 'alice', iss: 'b' }, {}]) {
      const caller = await issue({ jti: `same-${randomUUID()}`, ...root })
      // An identity is (iss, jti): the same jti of another issuer is another token.
      const targets = await Promise.all([issue({ sub: 'alice', iss: 'a' }), issue({ sub: 'alice', iss: 'a', jti: caller.jti }), issue({ sub: 'alice', iss: 'a' })])
      t.strictSame(answerOf(await endAll(app, caller.token, 'alice?iss=a&except=current')), {
        statusCode: 200, body: { sub: 'alice', iss: 'a', cutoff: null, revoked: 3 }
      })
      for (const { token } of targets) t.strictSame(await get(app, token), REVOKED)
      t.ok(await accepts(app, caller.token))
    }
  })

  t.test(`?except=current reaches a thousand tokens, also when all end at once, on ${name}`, async (t) => {
    ownTime(t)
    const app = await buildApp(t, { revocation: store() })
    const caller = await app.revocation.issue({ sub: 'alice' })
    const others = await Promise.all(Array.from({ length: 1001 }, () => app.revocation.issue({ sub: 'alice' })))
    t.match(answerOf(await endAll(app, caller.token, 'alice?except=current')), { statusCode: 200, body: { revoked: 1001 } })
    const fates = await Promise.all(others.map(({ token }) => app.revocation.isRevoked(app.jwt.decode(token)!)))
    t.strictSame(new Set(fates), new Set([true]))
    t.ok(await accepts(app, caller.token))
    t.match(answerOf(await endAll(app, caller.token, 'alice')), { statusCode: 200, body: { revoked: 1 } })
  })

  t.test(`revoked counts exactly the recorded tokens that it ended, on ${name}`, async (t) => {
    for (const path of ['alice', 'alice?except=current']) {
      await t.test(path, async (t) => {
        const time = ownTime(t)
        const app = await buildApp(t, { revocation: store() })
        const issue = async (options = {}) => app.revocation.issue({ sub: 'alice' }, options)
        await Promise.all([issue(), issue()])
        t.match(await app.revocation.revokeSubject('alice'), { revoked: 2 })
        await issue({ expiresIn: 4 })
        time.set(6)
        const denied = await issue()
        await app.revocation.revoke({ jti: denied.jti })
        const living = await Promise.all([issue(), issue(), issue()])
        const recorded = await genuine()
        await app.revocation.record(app.jwt.decode(recorded.token)!)
        const past = await genuine({ iat: time.seconds - 6 })
        await app.revocation.record(app.jwt.decode(past.token)!)
        t.strictSame(await get(app, past.token), REVOKED, 'a token that was cut off before it was recorded')
        await genuine()

        const { statusCode, body } = answerOf(await endAll(app, living[0]!.token, path))
        const ended = [...living.slice(path === 'alice' ? 0 : 1), recorded]
        t.same({ statusCode, revoked: body.revoked }, { statusCode: 200, revoked: ended.length })
        for (const { token } of ended) t.strictSame(await get(app, token), REVOKED)
      })
    }
  })

  t.test(`a token that was recorded twice is counted once, on ${name}`, async (t) => {
    for (const except of [undefined, 'spared']) {
      const app = await buildApp(t, { revocation: store() })
      const { token } = await genuine()
      const claims = app.jwt.decode<Record<string, unknown>>(token)!
      await app.revocation.record(claims, { first: true })
      await app.revocation.record(claims, { again: true })
      t.equal((await app.revocation.revokeSubject('alice', except === undefined ? {} : { except })).revoked, 1, except ?? 'all')
      t.strictSame(await get(app, token), REVOKED)
    }
  })

  t.test(`of many calls at once each ended token is counted once, on ${name}`, async (t) => {
    for (const except of [undefined, 'spared']) {
      const app = await buildApp(t, { revocation: store() })
      const issued = await Promise.all(Array.from({ length: 20 }, () => app.revocation.issue({ sub: 'alice' })))
      const results = await Promise.all(Array.from({ length: 10 }, () => app.revocation.revokeSubject('alice', except === undefined ? {} : { except })))
      t.equal(results.reduce((sum, { revoked }) => sum + revoked, 0), issued.length, except ?? 'all')
      for (const { token } of issued) t.strictSame(await get(app, token), REVOKED)
    }
  })

  t.test(`revokeSubject() says what it takes, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const revokeSubject = app.revocation.revokeSubject.bind(app.revocation) as (...args: unknown[]) => Promise<unknown>
    const NEEDS = 'revokeSubject() needs a sub: a well-formed string of 1 to 1024 characters'
    const TAKES = 'revokeSubject() takes as iss a well-formed string of at most 1024 characters'
    for (const [args, message] of [
      [[], NEEDS], [[''], NEEDS], [[null], NEEDS], [[undefined, { iss: 'a' }], NEEDS],
      [[1.5], NEEDS], [[2 ** 53], NEEDS], [[{}], NEEDS], [[['alice']], NEEDS], [['a'.repeat(1025)], NEEDS], [['\ud800'], NEEDS],
      [['alice', { iss: 1 }], TAKES], [['alice', { iss: null }], TAKES], [['alice', { iss: 'a'.repeat(1025) }], TAKES], [['alice', { iss: '\udc00' }], TAKES]
    ] as const) await t.rejects(revokeSubject(...args), { name: 'TypeError', message }, JSON.stringify(args).slice(0, 60))
    t.match(await revokeSubject('a'.repeat(1024), { iss: 'a'.repeat(1024) }), { revoked: 0 })
    t.match(await revokeSubject('alice', { iss: '' }), { sub: 'alice', revoked: 0 })
    const { token, jti } = await app.revocation.issue({ sub: 'alice' })
    const other = await app.revocation.issue({ sub: 'alice' })
    t.strictSame(await revokeSubject('alice', { except: jti }), { sub: 'alice', cutoff: null, revoked: 1 })
    t.ok(await accepts(app, token))
    t.strictSame(await get(app, other.token), REVOKED)
  })
}

t.test('P6 who may not, learns nothing from how long it takes: foreign and unknown cost the same round trips', async (t) => {
  const keyPrefix = ownPrefix()
  const watched = new WatchedClient(client)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix, storeTimeout: 10_000 } })
  const revoked = await app.revocation.issue({ sub: 'alice' })
  await app.revocation.revoke({ jti: revoked.jti })
  const foreign = await app.revocation.issue({ sub: 'alice' }, { meta: { large: 'x'.repeat(3000) } })
  const nobodys = await app.revocation.issue({})
  await app.revocation.revokeSubject('cut')
  const cut = await app.revocation.issue({ sub: 'cut' })
  const unknown = randomUUID()
  const { token } = await genuine({ sub: 'mallory' })
  for (const [method, paths] of [
    ['DELETE', ['/sub/nobody', '/sub/alice', '/sub/cut']], ['DELETE', ['/sub/nobody?except=current', '/sub/alice?except=current']],
    ['GET', ['?sub=nobody', '?sub=alice', '?sub=cut', '?sub=alice&limit=100']],
    ...(['GET', 'DELETE'] as const).map((method) => [method, [unknown, foreign.id, nobodys.id, revoked.id, cut.id].map((id) => `/id/${id}`)] as const),
    ['DELETE', [unknown, foreign.jti, nobodys.jti, revoked.jti, cut.jti].map((jti) => `/${jti}`)]
  ] as const) {
    const costs = []
    for (const path of paths) {
      let flushes: string[][] = []
      let response: LightMyRequestResponse | undefined
      const commands = await commandsOf(server, async () => {
        flushes = await watched.during(async () => { response = await app.inject({ method, url: HISTORY + path, headers: bearer(token) }) })
      })
      t.strictSame(answerOf(response!), FORBIDDEN, path)
      t.ok(flushes.length > 0)
      costs.push({ commands, flushes, bytes: bytesOf(response!) })
    }
    for (const cost of costs) t.strictSame(cost, costs[0], `${method} ${paths}`)
    t.comment(`${method} ${paths[0]!.replace(unknown, ':')}: ${costs[0]!.flushes.join(' | ')}`)
  }
})

t.test('P3 ending a subject is answered only when Redis has acknowledged it, and trying again is safe', async (t) => {
  const storeTimeout = 1000
  const time = holdTimeLimits(t)
  const watched = new WatchedClient(client)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix: ownPrefix(), storeTimeout } })
  const isScript = (command: unknown[], part: string) => command[0] === 'eval' && String(command[1]).includes(part)
  const faults: Array<[what: string, answer: (command: unknown[]) => Promise<unknown>]> = [
    ['an error', async () => { throw new Error('READONLY') }], ['nothing at all', () => time.never(storeTimeout)],
    ...[null, 'OK', 0, [], [null], ['x'], [1], [{}, {}], {}].map((nonsense): [string, () => Promise<unknown>] => [JSON.stringify(nonsense), async () => nonsense])
  ]
  for (const [what, answer] of faults) {
    for (const query of ['', '?except=current']) {
      // Of one subject the cutoff would be as far ahead as it can be.
      const sub = randomUUID()
      const path = sub + query
      const caller = await app.revocation.issue({ sub })
      const other = await app.revocation.issue({ sub })
      const events = eventsOf(app)
      watched.intercept = (command) => isScript(command, query === '' ? 'local cutoff' : 'local standing') ? answer(command) : undefined
      const response = await endAll(app, caller.token, path)
      const { statusCode, code, message } = UNAVAILABLE
      t.strictSame(answerOf(response), errorOf(statusCode, 'Service Unavailable', code, message), `${what} to ${query}`)
      t.equal(response.headers['retry-after'], '1')
      await t.rejects(app.revocation.revokeSubject(sub, query === '' ? {} : { except: caller.jti }), UNAVAILABLE)
      t.strictSame(events, [])
      watched.intercept = () => undefined
      t.equal((await endAll(app, caller.token, path)).statusCode, 200)
      t.strictSame(await get(app, other.token), REVOKED)
      t.equal(await accepts(app, caller.token), query !== '')
    }
  }
})

t.test('P4 what concerns a subject takes no longer than storeTimeout, however slow each answer of Redis is', async (t) => {
  const STORE_TIMEOUT = 200
  const PART = STORE_TIMEOUT / 4
  const time = holdTimeLimits(t)
  const watched = new WatchedClient(client)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix: ownPrefix(), storeTimeout: STORE_TIMEOUT } })
  const calls: Record<string, () => Promise<unknown>> = {
    'revokeSubject()': () => app.revocation.revokeSubject('alice'),
    'revokeSubject() with except': () => app.revocation.revokeSubject('alice', { except: 'another' }),
    'tokens()': () => app.revocation.tokens('alice')
  }
  for (const [what, call] of Object.entries(calls)) {
    for (let i = 0; i < 3; i++) await app.revocation.issue({ sub: 'alice' })
    await call()
    await app.revocation.issue({ sub: 'alice' })
    let took = 0
    let parts = 3
    const threeParts = async () => {
      for (let part = 0; part < parts; part++) {
        time.pass(PART)
        took += PART
        // Whoever waits for a limit learns of it.
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
      }
    }
    // Commands of one flush are slow together.
    let slow: Promise<void> | undefined
    watched.intercept = async (command) => {
      slow ??= threeParts().finally(() => { slow = undefined })
      await slow
      return client.call(...command as [command: string, ...args: string[]])
    }
    const outcome = await call().then(() => 'answered', ({ code }) => code)
    parts = 0
    watched.intercept = () => undefined
    t.ok(took > PART && took <= STORE_TIMEOUT, `${what} within ${STORE_TIMEOUT} ms`, { took, outcome })
    t.match(outcome, /^answered$|^FST_JWT_REVOCATION_UNAVAILABLE$/)
    await watched.idle()
  }
})

t.test('the routes are found below a prefix of the application\'s own', async (t) => {
  const app = await buildApp(t, { revocation: { routes: { prefix: '/tokens' } } })
  const { token } = await app.revocation.issue({ sub: 'alice' })
  t.match(answerOf(await app.inject({ method: 'DELETE', url: '/tokens/sub/alice', headers: bearer(token) })), { statusCode: 200, body: { revoked: 1 } })
  const none = await buildApp(t, { revocation: { routes: false } })
  const issued = await none.revocation.issue({ sub: 'alice' })
  t.equal((await endAll(none, issued.token, 'alice')).statusCode, 404)
  t.ok(await accepts(none, issued.token))
})

t.test('a subject has 1 to 1,024 characters, and a caller a token', async (t) => {
  const app = await buildApp(t, { fastify: { routerOptions: { maxParamLength: 4096 } } })
  const { token } = await genuine({ sub: 'a'.repeat(1024) })
  t.match(answerOf(await endAll(app, token, 'a'.repeat(1024))), { statusCode: 200, body: { revoked: 0 } })
  const again = await app.revocation.issue({ sub: 'alice' })
  t.match(answerOf(await endAll(app, again.token, 'a'.repeat(1025))), { statusCode: 400, body: { statusCode: 400, code: 'FST_ERR_VALIDATION', error: 'Bad Request' } })
  t.match((await endAll(app, again.token, '')).statusCode, /40[04]/)
  t.ok(await accepts(app, again.token))
  t.match(answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice` })), { statusCode: 401, body: { code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER' } })
  t.match(answerOf(await endAll(app, await signed({ sub: 'alice', exp: 1 }), 'alice')), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' } })
  const headers = { ...bearer(again.token), 'content-type': 'application/json' }
  for (const payload of ['', 'no JSON']) {
    const { token } = await app.revocation.issue({ sub: 'alice' })
    t.equal((await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice`, headers: { ...headers, ...bearer(token) }, payload })).statusCode, 200)
  }
})

t.test('in an application of several namespaces, the subject is of the first one', async (t) => {
  const { default: fastifyJwt } = await import('@fastify/jwt')
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  t.teardown(() => app.close())
  for (const namespace of ['a', 'b']) await app.register(fastifyJwt, { secret: `a secret of the namespace ${namespace}, of more than 32 bytes`, namespace, sign: { expiresIn: '15m' } })
  await app.register(revocationPlugin, { namespace: ['a', 'b'] })
  await app.ready()
  const { token } = await app.revocation.issue({ sub: 'alice' })
  t.match(answerOf(await endAll(app, token, 'alice')), { statusCode: 200, body: { revoked: 1 } })
  t.strictSame(answerOf(await endAll(app, token, 'alice')), REVOKED)
})

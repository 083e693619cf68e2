import { holdTimeLimits } from '../support/time-limits.ts'
import type { FastifyInstance, FastifyRequest, LightMyRequestResponse } from 'fastify'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { AuthorizeTarget, ListedToken, RevocationOptions, TokensPage } from '../../lib/index.ts'
import { identityOf } from '../../lib/domain/names.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { Store } from '../../lib/stores/store.ts'
import { answerOf, bearer, buildApp, genuine, ownPrefix, REVOKED } from '../support/app.ts'
import { buildDomain, Clock, foreign, NAMES, ownTime, UNAVAILABLE, WatchedClient } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { redisStore } from '../support/stores.ts'

const server = await startRedis(t)
const client = new Redis(server.url)
t.teardown(() => client.disconnect())

const PATIENCE = 10_000
const HISTORY = '/v1/jwt/history'
const APP_STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: client, keyPrefix: ownPrefix(), storeTimeout: PATIENCE })
}
const STORES: Record<string, (clock: Clock, keyPrefix?: string) => Store> = {
  memory: (clock) => new MemoryStore({ clock }),
  redis: (clock, keyPrefix = ownPrefix()) =>
    redisStore(client, { keyPrefix, storeTimeout: PATIENCE, logSpan: 3600, minReplicas: 0 }, { clock, onLost () {}, onBack () {} })
}

const errorOf = (statusCode: number, error: string, code: string, message: string) =>
  ({ statusCode, body: { statusCode, code, error, message } })
const FORBIDDEN = errorOf(403, 'Forbidden', 'FST_JWT_REVOCATION_FORBIDDEN', 'Not allowed to act on this token')
const NOT_FOUND = errorOf(404, 'Not Found', 'FST_JWT_REVOCATION_NOT_FOUND', 'No record of a token has this id')
const invalid = (message: string) => errorOf(400, 'Bad Request', 'FST_ERR_VALIDATION', message)

const read = async (app: FastifyInstance, token: string, path = '') => answerOf(await app.inject({ url: HISTORY + path, headers: bearer(token) }))
const iso = (seconds: number) => new Date(seconds * 1000).toISOString()

/** The whole answer, to the byte: all that somebody could tell two of them apart by. */
function bytesOf ({ statusCode, headers, rawPayload }: LightMyRequestResponse) {
  const { date, ...others } = headers
  return { statusCode, headers: others, body: rawPayload.toString('latin1') }
}

for (const [name, store] of Object.entries(APP_STORES)) {
  t.test(`a subject lists its unexpired tokens with their status, latest to expire first, on ${name}`, async (t) => {
    const time = ownTime(t)
    const app = await buildApp(t, { revocation: store() })
    const meta = { device: 'Gerät 😀 "\\\n', nested: { list: [1, null, { deep: true }], empty: {} }, __proto: 1 }
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'https://a.example/é' }]) {
      const second = time.seconds
      await app.revocation.issue(claims, { expiresIn: 5 })
      await app.revocation.issue({ ...claims, sub: 'bob' })
      await app.revocation.issue({ ...claims, iss: 'another' })
      const short = await app.revocation.issue(claims, { expiresIn: 100, meta })
      const long = await app.revocation.issue(claims, { expiresIn: 1000 })
      const gone = await app.revocation.issue(claims, { expiresIn: 500, meta: {} })
      await app.revocation.revoke({ ...claims, jti: gone.jti })
      const elsewhere = await genuine({ ...claims, iat: second - 100, exp: second + 700.5 })
      const recorded = await app.revocation.record(app.jwt.decode(elsewhere.token)!)
      const another = await app.revocation.record({ ...claims, jti: randomUUID(), iat: second - 50, exp: second + 600 })
      time.set(6)
      const caller = await app.revocation.issue(claims)
      const item = ({ id, jti }: { id: string, jti?: string }, issuedAt: number, expiresAt: number) =>
        ({ id, jti, ...claims, issuedAt: iso(issuedAt), expiresAt: iso(expiresAt), status: 'active', current: false })
      const expected = [
        item(long, second, second + 1000),
        { ...item(caller, second + 6, second + 906), current: true },
        item(recorded, second - 100, second + 700.5),
        item(another, second - 50, second + 600),
        { ...item(gone, second, second + 500), status: 'revoked', meta: {} },
        { ...item(short, second, second + 100), meta }
      ]
      const own = '?sub=alice' + (claims.iss === undefined ? '' : `&iss=${encodeURIComponent(claims.iss)}`)
      for (const query of ['', own, '?sub=alice', `${own}&limit=6`, '?limit=100']) {
        t.same(await read(app, caller.token, query), { statusCode: 200, body: { tokens: expected } }, query)
      }
      t.equal((await app.inject({ url: HISTORY, headers: bearer(caller.token) })).headers['content-type'], 'application/json; charset=utf-8')
      for (const token of expected) t.same(await read(app, caller.token, `/id/${token.id}`), { statusCode: 200, body: token })
      const { tokens } = await app.revocation.tokens('alice', claims)
      t.same(tokens, expected.map(({ current, ...listed }) => listed))
      const { status, ...record } = tokens[5]!
      t.same(await app.revocation.token(short.id), record)

      await app.revocation.revokeSubject('alice', claims)
      t.strictSame(await read(app, caller.token), REVOKED)
      const again = await app.revocation.issue(claims)
      const { statusCode, body } = await read(app, again.token)
      t.equal(statusCode, 200)
      t.strictSame(body.tokens.map((token: ListedToken) => [token.id, token.status]).sort(), [
        ...expected.map(({ id }) => [id, 'revoked']), [again.id, 'active']
      ].sort())
      t.match(await read(app, again.token, `/id/${long.id}`), { statusCode: 200, body: { id: long.id, status: 'revoked', current: false } })
      time.set(2000)
    }
  })

  t.test(`a list comes in pages of the wanted size, on ${name}`, async (t) => {
    ownTime(t)
    const app = await buildApp(t, { revocation: store() })
    const issued = []
    for (let i = 0; i < 120; i++) issued.push(await app.revocation.issue({ sub: 'alice' }, { expiresIn: 1000 - i }))
    const { token } = issued[0]!
    const ids = issued.map(({ id }) => id)
    const page = async (query: string) => {
      const { statusCode, body } = await read(app, token, query)
      t.equal(statusCode, 200, query)
      return { ids: body.tokens.map(({ id }: ListedToken) => id), cursor: body.cursor }
    }
    for (const [query, size] of [['', 20], ['?limit=1', 1], ['?limit=100', 100], ['?limit=20', 20]] as const) {
      const seen: string[] = []
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const separator: string = query === '' ? '?' : '&'
        const given: { ids: string[], cursor: string | undefined } = await page(query + (cursor && `${separator}cursor=${encodeURIComponent(cursor)}`))
        seen.push(...given.ids)
        t.ok(given.ids.length === size || given.cursor === undefined)
        cursor = given.cursor
      }
      t.strictSame(seen, ids, `in pages of ${size}, the last one without a cursor`)
    }
    const { cursor } = await page('')
    const bobs = await app.revocation.issue({ sub: 'bob' })
    t.strictSame(await read(app, bobs.token, `?cursor=${cursor}`), { statusCode: 200, body: { tokens: [] } }, 'a cursor of another subject leads nowhere')
    for (const unknown of ['x', '0', '%00', '*', randomUUID(), 'a'.repeat(255), '__proto__']) {
      t.strictSame(await read(app, token, `?cursor=${unknown}`), { statusCode: 200, body: { tokens: [] } }, unknown.slice(0, 40))
    }
    for (const [query, message] of [
      ['limit=0', 'querystring/limit Expected integer to be greater or equal to 1'], ['limit=-1', 'querystring/limit Expected integer to be greater or equal to 1'],
      ['limit=101', 'querystring/limit Expected integer to be less or equal to 100'],
      ['limit=x', 'querystring/limit Expected integer'], ['limit=', 'querystring/limit Expected integer'], ['limit=1&limit=2', 'querystring/limit Expected integer'],
      ['limit=NaN', 'querystring/limit Expected integer'], ['limit=Infinity', 'querystring/limit Expected integer'], ['limit=10x', 'querystring/limit Expected integer'],
      ['cursor=', 'querystring/cursor Expected string length greater or equal to 1'], [`cursor=${'a'.repeat(256)}`, 'querystring/cursor Expected string length less or equal to 255'],
      ['sub=', 'querystring/sub Expected string length greater or equal to 1'], [`sub=${'a'.repeat(1025)}`, 'querystring/sub Expected string length less or equal to 1024'],
      ['sub=a&sub=b', 'querystring/sub Expected string'], [`iss=${'a'.repeat(1025)}`, 'querystring/iss Expected string length less or equal to 1024']
    ] as const) t.strictSame(await read(app, token, `?${query}`), invalid(message), query.slice(0, 40))
  })

  t.test(`a token without a subject sees itself and nothing else, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    for (const claims of [{}, { iss: 'a' }, { sub: '' }, { sub: '', iss: 'a' }]) {
      const [one, other] = await Promise.all([app.revocation.issue(claims), app.revocation.issue(claims)])
      await app.revocation.issue({ ...claims, sub: 'undefined' })
      const { statusCode, body } = await read(app, one.token)
      t.equal(statusCode, 200)
      t.match(body, { tokens: [{ id: one.id, jti: one.jti, status: 'active', current: true }] })
      t.same([Object.keys(body), body.tokens.length], [['tokens'], 1])
      t.notOk(Object.hasOwn(body.tokens[0], 'sub'))
      t.match(await read(app, one.token, `/id/${one.id}`), { statusCode: 200, body: { id: one.id, current: true } })
      t.strictSame(await read(app, one.token, `/id/${other.id}`), FORBIDDEN)
      for (const query of ['?sub=undefined', '?sub=alice', '?iss=b', '?sub=x&iss=a']) t.strictSame(await read(app, one.token, query), FORBIDDEN, query)
      const unrecorded = await genuine({ sub: undefined, ...claims })
      t.strictSame(await read(app, unrecorded.token), { statusCode: 200, body: { tokens: [] } })
    }
  })

  t.test(`P6 to anybody else foreign and unknown look alike, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const alices = await app.revocation.issue({ sub: 'alice', iss: 'a' })
    const plain = await app.revocation.issue({ sub: 'alice' })
    const bare = await app.revocation.issue({})
    const gone = await app.revocation.issue({ sub: 'alice' })
    await app.revocation.revokeById(gone.id)
    const mallorys = await genuine({ sub: 'mallory', iss: 'a' })
    const answers = await Promise.all([
      '?sub=alice', '?sub=nobody', '?sub=alice&iss=', '?sub=nobody&iss=', '?sub=mallory&iss=', '?sub=mallory&iss=b', '?iss=', '?sub=alice&limit=1&cursor=x',
      `?sub=alice&cursor=${alices.id}`, ...[alices, plain, bare, gone].map(({ id }) => `/id/${id}`), `/id/${randomUUID()}`, `/id/${alices.jti}`, '/id/x', '/id/*', '/id/%00', '/id/__proto__'
    ].map((path) => app.inject({ url: HISTORY + path, headers: bearer(mallorys.token) })))
    for (const answer of answers) {
      t.strictSame(answerOf(answer), FORBIDDEN)
      t.strictSame(bytesOf(answer), bytesOf(answers[0]!))
    }
    t.match(await app.inject({ url: HISTORY }), { statusCode: 401 })
    t.strictSame(await read(app, gone.token), REVOKED, 'a revoked token may not even see itself')
    t.strictSame(await read(app, gone.token, `/id/${gone.id}`), REVOKED)
  })

  t.test(`P6 authorize is asked about what is foreign, with all that is known of it, on ${name}`, async (t) => {
    const asked: Array<{ target: AuthorizeTarget, user: unknown }> = []
    let answer: unknown = false
    const authorize = (request: FastifyRequest, target: AuthorizeTarget) => {
      asked.push({ target, user: request.user })
      return answer as boolean
    }
    const app = await buildApp(t, { revocation: { ...store(), authorize } })
    const caller = await genuine({ sub: 'root', iss: 'a' })
    const alices = await app.revocation.issue({ sub: 'alice', iss: 'b' })
    const bare = await app.revocation.issue({})
    const unknown = randomUUID()
    for (const [path, target, expected] of [
      ['?sub=alice', { sub: 'alice', iss: 'a' }, { tokens: [] }],
      ['?sub=alice&iss=', { sub: 'alice' }, { tokens: [] }],
      ['?sub=alice&iss=b', { sub: 'alice', iss: 'b' }, { tokens: [{ id: alices.id, current: false }] }],
      ['?iss=b', { sub: 'root', iss: 'b' }, { tokens: [] }],
      [`/id/${alices.id}`, { id: alices.id, jti: alices.jti, sub: 'alice', iss: 'b' }, { id: alices.id, sub: 'alice', status: 'active', current: false }],
      [`/id/${bare.id}`, { id: bare.id, jti: bare.jti }, { id: bare.id, status: 'active', current: false }],
      [`/id/${unknown}`, { id: unknown }, NOT_FOUND.body]
    ] as const) {
      for (const no of [false, undefined, 'true', 1, Promise.resolve(null)]) {
        answer = no
        t.strictSame(await read(app, caller.token, path), FORBIDDEN)
        t.match(asked, [{ user: { jti: caller.jti } }])
        t.strictSame(asked.splice(0).map(({ target }) => target), [{ action: 'read', ...target }], path)
      }
      answer = Promise.resolve(true)
      const { statusCode, body } = await read(app, caller.token, path)
      t.equal(statusCode, path.includes(unknown) ? 404 : 200)
      t.match(body, expected, path)
      if ('tokens' in expected) t.equal(body.tokens.length, expected.tokens.length)
      else if (path.includes(unknown)) t.strictSame(body, NOT_FOUND.body)
      asked.splice(0)
    }
    t.equal((await read(app, caller.token)).statusCode, 200)
    t.equal((await read(app, caller.token, '?sub=root&iss=a')).statusCode, 200)
    t.strictSame(asked, [], 'its own subject needs nobody\'s leave')
  })

  t.test(`tokens() says what it takes, on ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const { id } = await app.revocation.issue({ sub: 'alice' })
    for (const sub of ['undefined', 'null']) await app.revocation.issue({ sub })
    const tokens = app.revocation.tokens.bind(app.revocation) as (...args: unknown[]) => Promise<TokensPage>
    const NEEDS = 'tokens() needs a sub: a well-formed string of 1 to 1024 characters'
    const TAKES = 'tokens() takes as iss a well-formed string of at most 1024 characters'
    const limit = 'tokens() takes as limit a whole number from 1 to 1000'
    for (const [args, message] of [
      [[], NEEDS], [[''], NEEDS], [[undefined, { iss: 'a' }], NEEDS],
      [[null], NEEDS], [[1.5], NEEDS], [[2 ** 53], NEEDS], [[{}], NEEDS], [[['alice']], NEEDS], [['a'.repeat(1025)], NEEDS], [['\ud800'], NEEDS],
      [['alice', { iss: 1 }], TAKES], [['alice', { iss: null }], TAKES], [['alice', { iss: 'a'.repeat(1025) }], TAKES], [['alice', { iss: '\udc00' }], TAKES],
      ...[0, -1, 1001, 1.5, NaN, Infinity, '5', null, [1]].map((value) => [['alice', { limit: value }], limit] as const)
    ] as const) await t.rejects(tokens(...args), { name: 'TypeError', message }, JSON.stringify(args).slice(0, 60))
    for (const options of [undefined, {}, { limit: 1 }, { limit: 1000 }, { iss: '' }, { iss: undefined, cursor: undefined }]) {
      t.match(await tokens('alice', options), { tokens: [{ id, status: 'active' }], cursor: undefined })
    }
    t.strictSame(await tokens('nobody'), { tokens: [] })
    t.strictSame(await tokens('a'.repeat(1024), { iss: 'a'.repeat(1024) }), { tokens: [] })
    for (const cursor of ['x', randomUUID(), '']) t.strictSame(await tokens('alice', { cursor }), { tokens: [] }, 'a cursor that is none leads nowhere')
  })
}

/** So many tokens of one subject, written as fast as the store takes them. */
async function fill (store: Store, sub: string, exps: number[]): Promise<string[]> {
  const entries = exps.map((exp) => {
    const [id, jti] = [randomUUID(), randomUUID()]
    const record = { id, jti, sub, issuedAt: iso(exp - 3600), expiresAt: iso(exp) }
    return { record, identity: identityOf(undefined, jti), subject: identityOf(undefined, sub), exp, keptUntil: Math.ceil(exp) + 10 }
  })
  await Promise.all(entries.map((entry) => store.records.save(entry)))
  return entries.map(({ record }) => record.id)
}

/** The same in Redis, by the keys that the contract names: in a tenth of the time. */
async function fillKeys (keyPrefix: string, sub: string, exps: number[]): Promise<string[]> {
  const write = client.pipeline()
  const ids = exps.map((exp) => {
    const id = randomUUID()
    const record = { id, jti: id, sub, issuedAt: iso(exp - 3600), expiresAt: iso(exp) }
    write.set(`${keyPrefix}token:${id}`, JSON.stringify(record), 'EXAT', Math.ceil(exp) + 10)
    write.zadd(`${keyPrefix}tokens:${sub}`, exp, id)
    return id
  })
  await write.exec()
  return ids
}

const MANY = 3000

for (const [name, build] of Object.entries(STORES)) {
  for (const same of [false, true]) {
    t.test(`${MANY} tokens are each listed once while others come and go${same ? ', when all end in the same second' : ''}, on ${name}`, async (t) => {
      const clock = new Clock()
      const keyPrefix = ownPrefix()
      const store = build(clock, keyPrefix)
      const domain = buildDomain({ store, clock })
      const start = clock.seconds
      const expOf = (i: number) => same ? start + 3000 : start + 100 + i / 4
      const exps = Array.from({ length: MANY }, (_, i) => expOf(i))
      const ids = name === 'memory' ? await fill(store, 'alice', exps) : await fillKeys(keyPrefix, 'alice', exps)
      const expires = new Map(ids.map((id, i) => [id, exps[i]!]))

      const limit = 100
      const quiet = await pages(t, (cursor) => domain.tokens('alice', { limit, ...cursor }))
      t.equal(quiet.length, MANY)
      t.equal(new Set(quiet.map(({ id }) => id)).size, MANY, 'each of them once')
      // Comparing arrays of this size takes tap longer than all the rest.
      t.ok(quiet.every(({ id, expiresAt }, i) => expires.has(id) && expiresAt! <= (quiet[i - 1]?.expiresAt ?? '9')), 'latest to expire first')

      const revoked = new Set<string>()
      const fresh = new Set<string>()
      let page = 0
      const busy = await pages(t, async (cursor) => {
        const given = await domain.tokens('alice', { limit, ...cursor })
        for (const { id, status } of given.tokens) {
          if (revoked.has(id) !== (status === 'revoked')) t.fail(`${id} is listed as ${status}`)
        }
        // One that was seen, one that was not, a new one that ends late and one that ends early; and some expire.
        const unseen = quiet.at(-1 - page * 7)!
        const seen = given.tokens[0]
        for (const { id, jti } of [unseen, ...(seen ? [seen] : [])]) {
          await domain.revoke({ jti, exp: start + 3600 })
          revoked.add(id)
        }
        for (const expiresIn of [3500, 1000, 3000]) fresh.add((await domain.issue({ sub: 'alice' }, { expiresIn })).id)
        clock.now += limit * 100
        page++
        return given
      })
      const listed = busy.map(({ id }) => id)
      const unique = new Set(listed)
      t.equal(unique.size, listed.length, 'none twice')
      const missed = ids.filter((id) => expires.get(id)! > clock.seconds && !unique.has(id))
      t.strictSame(missed, [], 'none that has not expired is missing')
      t.strictSame(listed.filter((id) => !expires.has(id) && !fresh.has(id)), [])
      t.ok(revoked.size > 30 && fresh.size > 50 && (same || ids.some((id) => expires.get(id)! < clock.seconds)), 'there was something going on', { page })
    })
  }

  t.test(`a list goes on after its last token has expired: there is nothing left to list, on ${name}`, async (t) => {
    const clock = new Clock()
    const store = build(clock)
    const domain = buildDomain({ store, clock })
    await fill(store, 'alice', [500, 400, 300, 200].map((seconds) => clock.seconds + seconds))
    const { cursor } = await domain.tokens('alice', { limit: 2 })
    clock.now += 400_000
    await fill(store, 'alice', [clock.seconds + 200])
    t.strictSame(await domain.tokens('alice', { cursor: cursor! }), { tokens: [] })
    t.equal((await domain.tokens('alice')).tokens.length, 2)
  })

  t.test(`tokens that never end are listed first, and for ever, on ${name}`, async (t) => {
    const clock = new Clock()
    const sign = (claims: object) => `.${Buffer.from(JSON.stringify({ ...claims, iat: clock.seconds })).toString('base64url')}.`
    const domain = buildDomain({ store: build(clock), clock, sign, rules: { maxTokenLifetime: null, clockTolerance: 0, tokensWithoutJti: 'reject', ...NAMES } })
    const [endless, far] = [await domain.issue({ sub: 'alice' }), await domain.issue({ sub: 'alice', exp: 1e15 })]
    const near = await domain.issue({ sub: 'alice', exp: clock.seconds + 60.5 })
    const seen = await pages(t, (cursor) => domain.tokens('alice', { limit: 1, ...cursor }))
    t.strictSame(seen.map(({ id, expiresAt }) => [id, expiresAt]), [
      [endless.id, null], [far.id, null], [near.id, iso(clock.seconds + 60.5)]
    ])
    clock.set(60, 499)
    t.equal((await domain.tokens('alice')).tokens.length, 3)
    clock.now += 1
    t.equal((await domain.tokens('alice')).tokens.length, 2)
    if (name === 'memory') clock.now = 8.6e15
    t.strictSame((await domain.tokens('alice')).tokens.map(({ id }) => id), [endless.id, far.id])
    t.strictSame(await domain.revokeSubject('alice', { except: endless.jti }), { sub: 'alice', cutoff: null, revoked: 1 })
    t.match((await domain.tokens('alice')).tokens, [{ status: 'active' }, { status: 'revoked' }])
  })
}

/** Every page, one after the other. */
async function pages (t: Test, next: (cursor: { cursor?: string }) => Promise<TokensPage>): Promise<ListedToken[]> {
  const seen: ListedToken[] = []
  let cursor: string | undefined
  let count = 0
  do {
    const page = await next(cursor === undefined ? {} : { cursor })
    seen.push(...page.tokens)
    cursor = page.cursor
    if (++count > MANY) throw new Error('it does not end')
  } while (cursor !== undefined)
  t.comment(`${seen.length} tokens in ${count} pages`)
  return seen
}

t.test(`${MANY} tokens that end in the same second are listed once each over HTTP, and a page costs the same whatever there is`, async (t) => {
  const keyPrefix = ownPrefix()
  const watched = new WatchedClient(client)
  const { seconds } = new Clock()
  await fillKeys(keyPrefix, 'alice', Array.from({ length: MANY }, () => seconds + 800))
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix, storeTimeout: PATIENCE } })
  const { token } = await genuine()
  const bobs = await app.revocation.issue({ sub: 'bob' })

  const flushesOf = async (act: () => Promise<unknown>) => (await watched.during(act)).map((names) => `${names.length} ${[...new Set(names)]}`)
  // The token that asks, and again in the handler; the ids, by a script; the records; their status, with the subject's cutoff.
  t.strictSame(await flushesOf(() => read(app, bobs.token)), ['1 mget', '1 mget', '1 eval', '1 get', '1 mget'])
  for (const limit of [1, 10, 100]) {
    t.strictSame(await flushesOf(() => read(app, token, `?limit=${limit}`)), ['1 mget', '1 mget', '1 eval', `${limit} get`, '1 mget'], `limit ${limit}`)
  }
  t.strictSame(await flushesOf(() => app.revocation.tokens('alice', { limit: 1000 })), ['1 eval', '1000 get', '1 mget', '1 mget', '1 mget'])
  t.strictSame(await flushesOf(() => read(app, token, `?cursor=${randomUUID()}`)), ['1 mget', '1 mget', '1 eval'])
  t.strictSame(await flushesOf(() => read(app, token, '?cursor=unknown')), ['1 mget', '1 mget'], 'what can be no cursor is not looked for')

  const seen = await pages(t, async ({ cursor }) => {
    const { statusCode, body } = await read(app, token, `?limit=100${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    if (statusCode !== 200) throw new Error(`answered ${statusCode}`)
    return body
  })
  t.equal(seen.length, MANY)
  t.equal(new Set(seen.map(({ id }) => id)).size, MANY)
})

t.test('the sorted set of a subject is cleaned as it is used, and ends with its last member', async (t) => {
  const clock = new Clock()
  const keyPrefix = ownPrefix()
  const store = STORES.redis!(clock, keyPrefix)
  const domain = buildDomain({ store, clock })
  const key = `${keyPrefix}tokens:alice`
  // Redis' clock decides what has ended, and nothing moves that: their ends are moved instead.
  const end = (ids: string[], at: (i: number) => number) => client.zadd(key, 'XX', ...ids.flatMap((id, i) => [at(i), id]))
  const past = clock.seconds - 60
  const first = await fill(store, 'alice', Array.from({ length: 1000 }, () => clock.seconds + 400))
  const [kept] = await fill(store, 'alice', [clock.seconds + 500])
  t.equal(await client.zcard(key), 1001)
  await end(first, (i) => past - i / 1000)
  const { id } = await domain.issue({ sub: 'alice' })
  t.strictSame(await client.zrange(key, '0', '-1'), [kept, id], 'one issue leaves only what has not expired')
  await end(await fill(store, 'alice', Array.from({ length: 1000 }, () => clock.seconds + 400)), () => past)
  t.equal(await client.zcard(key), 1002)
  await domain.tokens('alice', { limit: 1 })
  t.strictSame(await client.zrange(key, '0', '-1'), [kept, id], 'so does one page')

  const ends = async (subject: string) => {
    const last = (await client.zrange(`${keyPrefix}tokens:${subject}`, '0', '-1')).at(-1)
    const [[, set], [, record]] = (await client.pipeline().pttl(`${keyPrefix}tokens:${subject}`).pttl(`${keyPrefix}token:${last!}`).exec()) as [[null, number], [null, number]]
    return { set, record }
  }
  const began = Date.now()
  const real = buildDomain({ store: STORES.redis!(new Clock(), keyPrefix), clock: new Clock() })
  for (const [expiresIn, longest] of [[600, 600], [60, 600], [1200, 1200], [900, 1200]] as const) {
    await real.issue({ sub: 'bob' }, { expiresIn })
    const { set, record } = await ends('bob')
    const late = Date.now() - began
    t.ok(Math.abs(set - record) < 1000 + late, 'with its last member', { set, record, late })
    t.ok(set > (longest - 10) * 1000 - late && set <= (longest + 12) * 1000, `${longest} s`, { set })
  }
  await store.records.save({
    record: { id: 'endless', jti: 'endless', sub: 'bob', issuedAt: iso(0), expiresAt: null }, identity: 'endless', subject: 'bob', exp: null, keptUntil: null
  })
  t.equal((await ends('bob')).set, -1, 'never, with one that never ends')
  await real.issue({ sub: 'bob' })
  t.equal((await ends('bob')).set, -1)
})

const LOG_INS = isThorough ? 20_000 : 5000

t.test(`memory holds what is alive, not what was, over ${LOG_INS} log-ins`, async (t) => {
  const clock = new Clock()
  const store = new MemoryStore({ clock })
  // 30 seconds of ten log-ins each: a record, its id, its place with its subject, and that subject.
  const alive = 300 * 4
  let largest = 0
  for (let i = 0; i < LOG_INS; i++) {
    // A third is one user's, a third is that of a hundred users, and a third is of users that come once.
    const sub = `user ${[0, i % 100, i][i % 3]}`
    const record = { id: `id ${i}`, jti: `jti ${i}`, sub, issuedAt: iso(clock.seconds), expiresAt: iso(clock.seconds + 20) }
    await store.records.save({ record, identity: record.jti, subject: sub, exp: clock.seconds + 20, keptUntil: clock.seconds + 30 })
    clock.now += 100
    if (i % 100 === 0) largest = Math.max(largest, store.size)
  }
  t.comment(`${largest} entries at most`)
  t.ok(largest < 3 * alive, 'never many more than are alive', { largest })
  clock.now += 31_000
  for (let i = 0; i < 10; i++) store.sweep()
  t.equal(store.size, 0, 'and nothing is left at the end')
})

t.test('a record that is gone before its time is left out, and what follows it is not', async (t) => {
  const clock = new Clock()
  const keyPrefix = ownPrefix()
  const store = STORES.redis!(clock, keyPrefix)
  const domain = buildDomain({ store, clock })
  const ids = await fill(store, 'alice', [500, 400, 300, 200, 100].map((seconds) => clock.seconds + seconds))
  await client.del(...[0, 1, 3].map((i) => `${keyPrefix}token:${ids[i]}`))
  t.strictSame((await domain.tokens('alice')).tokens.map(({ id }) => id), [ids[2], ids[4]])
  const seen = await pages(t, (cursor) => domain.tokens('alice', { limit: 1, ...cursor }))
  t.strictSame(seen.map(({ id }) => id), [ids[2], ids[4]])
})

t.test('P4 a list that Redis does not give, or gives wrong, is unavailable', async (t) => {
  const storeTimeout = 1000
  const time = holdTimeLimits(t)
  const watched = new WatchedClient(client)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix: ownPrefix(), storeTimeout } })
  const { token, id } = await app.revocation.issue({ sub: 'alice' })
  const { statusCode, code, message } = UNAVAILABLE
  for (const [command, path, answers] of [
    ['eval', '', [null, 'OK', 0, {}]],
    ['get', '', ['', 'x', '{}', '[]', 'null', '{"id":1,"jti":"a"}', '{"id":"a"}', 0]],
    ['get', `/id/${id}`, ['', 'x', '{}', '[]', 'null', '{"id":1,"jti":"a"}', '{"id":"a"}', 0]]
  ] as const) {
    const faults: Array<[string, () => Promise<unknown>]> = [
      ['an error', async () => { throw new Error('LOADING') }], ['nothing at all', () => time.never(storeTimeout)],
      ...answers.map((answer): [string, () => Promise<unknown>] => [JSON.stringify(answer), async () => answer])
    ]
    for (const [what, answer] of faults) {
      watched.intercept = ([name]) => name === command ? answer() : undefined
      const response = await app.inject({ url: HISTORY + path, headers: bearer(token) })
      t.strictSame(answerOf(response), errorOf(statusCode, 'Service Unavailable', code, message), `${what} to ${command} for ${path}`)
      t.equal(response.headers['retry-after'], '1')
      await t.rejects(path === '' ? app.revocation.tokens('alice').then(() => {}) : app.revocation.token(id).then(() => {}), UNAVAILABLE)
      watched.intercept = () => undefined
    }
  }
  t.match(await read(app, token), { statusCode: 200, body: { tokens: [{ id }] } })
})

t.test('the list is found with its prefix alone', async (t) => {
  const app = await buildApp(t)
  const { token } = await app.revocation.issue({ sub: 'alice' })
  t.equal((await read(app, token)).body.tokens.length, 1)
  t.equal((await read(app, token, '/')).statusCode, 404)
  const clock = new Clock()
  await t.rejects(app.revocation.record(foreign(clock, { jti: 1 })), { code: 'FST_JWT_NOT_REVOCABLE', statusCode: 401 })
})

import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify from 'fastify'
import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { NAMES } from '../support/domain.ts'
import { BROKEN } from '../../lib/domain/claims.ts'
import {
  FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_NOT_FOUND, FST_JWT_REVOCATION_UNAVAILABLE, revocationPlugin, type IssueOptions, type RevocationOptions, type CutoffEvent, type RevocationResult
} from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownClock, ownPrefix, REVOKED, SECRET, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'

const jtiOf = (revocation: RevocationResult | CutoffEvent) => 'jti' in revocation ? revocation.jti : undefined

const redis = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const MAX_META = 4096

const notRevocable = (rule: string) => ({
  name: 'FastifyError',
  code: 'FST_JWT_NOT_REVOCABLE',
  statusCode: 401,
  message: `Token cannot be revoked and is therefore not accepted: ${rule}`,
  headers: { 'www-authenticate': `Bearer error="invalid_token", error_description="The token cannot be revoked: ${rule}"` }
})
const NOT_FOUND = { code: 'FST_JWT_REVOCATION_NOT_FOUND', statusCode: 404, message: 'No record of a token has this id' }
const UNAVAILABLE = {
  code: 'FST_JWT_REVOCATION_UNAVAILABLE', statusCode: 503, message: 'Token revocation is unavailable, try again', headers: { 'retry-after': '1' }, cause: Error
}
const deadOnArrival = (rule: string, culprit?: string) => ({
  name: 'TypeError',
  message: `issue() signed a token that would not be accepted: ${rule}${culprit === undefined ? '' : `; that comes from ${culprit}`}`
})
const BAD_META = { name: 'TypeError', message: `meta must be an object of at most ${MAX_META} bytes as JSON` }

const iso = (seconds: number) => new Date(seconds * 1000).toISOString()

for (const [name, store] of Object.entries(STORES)) {
  t.test(`issue() signs a token, and records it, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: store() })
    const issuedAt = clock.hold()
    const iat = Date.parse(issuedAt) / 1000
    const { token, id, jti, expiresAt, ...rest } = await app.revocation.issue({ sub: 'alice', iss: 'a', role: 'admin' }, { meta: { device: 'a phone' } })
    t.strictSame(rest, { iss: 'a' })
    t.match(jti, UUID)
    t.match(id, UUID)
    t.not(id, jti, 'the id tells nothing of the jti')
    t.equal(expiresAt, iso(iat + 900), 'what @fastify/jwt was registered with')
    t.strictSame(decodeJwt(token), { sub: 'alice', iss: 'a', role: 'admin', jti, iat, exp: iat + 900 }, 'meta is not in the token')
    t.strictSame(await app.revocation.token(id), { id, jti, iss: 'a', sub: 'alice', issuedAt, expiresAt, meta: { device: 'a phone' } })
    t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: { jti } } })

    const another = await app.revocation.issue({ sub: 'alice' })
    t.not(another.jti, jti)
    t.not(another.id, id)
    t.strictSame(await app.revocation.token(another.id), { id: another.id, jti: another.jti, sub: 'alice', issuedAt, expiresAt })

    await app.revocation.revokeById(id)
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
    t.equal((await app.inject({ url: '/me', headers: bearer(another.token) })).statusCode, 200)
  })

  t.test(`what was signed is recorded, whichever way it was asked for, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: { ...store(), maxTokenLifetime: '2h' } })
    const issuedAt = clock.hold()
    const iat = Date.parse(issuedAt) / 1000
    const cases: Array<[claims: Record<string, unknown>, options: IssueOptions | undefined, signed: Record<string, unknown>]> = [
      [{}, undefined, {}],
      [{ jti: 'my own' }, undefined, { jti: 'my own' }],
      [{ jti: null }, undefined, {}],
      [{ jti: undefined }, undefined, {}],
      [{}, { expiresIn: 60 }, { exp: iat + 60 }],
      [{}, { expiresIn: '1h' }, { exp: iat + 3600 }],
      [{}, { expiresIn: 7200 }, { exp: iat + 7200 }],
      [{}, { expiresIn: '2h', notBefore: 0 }, { exp: iat + 7200, nbf: iat }],
      [{ exp: iat + 30 }, { expiresIn: undefined } as unknown as IssueOptions, {}],
      [{ iat: iat - 600 }, undefined, { iat: iat - 600, exp: iat + 300 }],
      [{ sub: 'alice' }, { aud: 'us' }, { sub: 'alice', aud: 'us' }],
      [{ sub: 'asked' }, { sub: 'signed', iss: 'i', jti: 'j' }, { sub: 'signed', iss: 'i', jti: 'j' }],
      [{ sub: '', iss: '' }, undefined, { sub: '', iss: '' }],
      [{ jti: 'x'.repeat(255), sub: 'x'.repeat(1024), iss: 'x'.repeat(1024) }, undefined, { jti: 'x'.repeat(255), sub: 'x'.repeat(1024), iss: 'x'.repeat(1024) }]
    ]
    for (const [claims, options, expected] of cases) {
      const label = JSON.stringify([claims, options]).slice(0, 80)
      const given = { ...claims }
      const { token, id, jti, expiresAt } = await app.revocation.issue(claims, options)
      const all = { jti, iat, exp: iat + 900, ...expected } as { jti: string, iat: number, exp: number, iss?: string, sub?: string }
      t.strictSame(decodeJwt(token), all, label)
      t.equal(expiresAt, iso(all.exp))
      t.strictSame(await app.revocation.token(id), {
        id, jti: all.jti, ...(all.iss && { iss: all.iss }), ...(all.sub && { sub: all.sub }), issuedAt: iso(all.iat), expiresAt
      }, label)
      t.strictSame(claims, given, 'the claims stay as they were')
      t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200, label)
      const { iss, ...revocation } = await app.revocation.revokeById(id)
      t.equal(iss, all.iss || undefined)
      t.match(revocation, { jti: all.jti, id, expiresAt })
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED, label)
    }
    const { token } = await app.revocation.issue({}, { algorithm: 'HS512', kid: 'key-1', header: { x: 1 } })
    t.match(decodeProtectedHeader(token), { alg: 'HS512', kid: 'key-1', x: 1 })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
  })

  t.test(`record() records a token that was signed elsewhere, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: store() })
    clock.hold()
    const exp = inSeconds(60)
    const cases: Array<[claims: { jti: string, iss?: string, exp: number } & Record<string, unknown>, expected: { issuedAt: string | null, expiresAt: string }]> = [
      [{ jti: '1', exp, iat: exp - 90 }, { issuedAt: iso(exp - 90), expiresAt: iso(exp) }],
      [{ jti: '2', iss: 'a', sub: 'alice', exp: exp + 0.25, iat: exp - 90, role: 'admin' }, { issuedAt: iso(exp - 90), expiresAt: iso(exp + 0.25) }],
      [{ jti: '3', iss: '', sub: '', exp, iat: exp - 59.75 }, { issuedAt: iso(exp - 59.75), expiresAt: iso(exp) }]
    ]
    for (const [claims, expected] of cases) {
      const { jti, iss, sub } = claims
      const { id, ...record } = await app.revocation.record(claims, { from: 'elsewhere' })
      t.match(id, UUID)
      t.strictSame(record, { jti, ...(iss && { iss }), ...(sub !== undefined && sub !== '' && { sub }), ...expected, meta: { from: 'elsewhere' } })
      t.strictSame(await app.revocation.token(id), { id, ...record })
      t.match(await app.revocation.revoke(claims), { id, jti, status: 'revoked', expiresAt: expected.expiresAt })
    }
    const sub = 'alice'
    const { token, jti } = await genuine({ sub })
    const { id } = await app.revocation.record({ ...decodeJwt(token) })
    const { token: caller } = await genuine({ sub })
    t.match(answerOf(await app.inject({ method: 'DELETE', url: `/v1/jwt/history/id/${id}`, headers: bearer(caller) })), { statusCode: 200, body: { id, jti, sub } })
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
  })

  t.test(`record() refuses what could not be revoked, on the store ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: { ...store(), tokensWithoutJti: 'accept', maxTokenLifetime: '1h' } })
    const [exp, iat] = [inSeconds(60), inSeconds(-1)]
    for (const [claims, rule] of [
      [{ exp, iat }, 'it has no jti to record it by'],
      [{ jti: 1, exp, iat }, 'it has no jti to record it by'],
      [{ jti: 'x', iat }, BROKEN.noExp],
      [{ jti: 'x', exp: String(exp), iat }, BROKEN.noExp],
      [{ jti: 'x', exp }, BROKEN.noIat],
      [{ jti: 'x', exp, iat: 'yesterday' }, BROKEN.noIat],
      [{ jti: 'x', exp, iat: inSeconds(70) }, BROKEN.ahead],
      [{ jti: 'x', exp: inSeconds(-60), iat }, BROKEN.expired],
      [{ jti: 'x', exp: inSeconds(3700), iat }, BROKEN.tooFar],
      [{ jti: 'x', exp, iat: exp - 3700 }, BROKEN.tooLong],
      [{ jti: 'x', exp, iss: 1 }, BROKEN.iss],
      [{ jti: 'x', exp, sub: '\ud800' }, BROKEN.sub]
    ] as const) {
      const error = await t.rejects(app.revocation.record(claims), notRevocable(rule), rule)
      t.ok(error instanceof FST_JWT_NOT_REVOCABLE)
    }
    const strict = await buildApp(t, { revocation: store() })
    await t.rejects(strict.revocation.record({ exp, iat }), notRevocable(BROKEN.noJti))
    await t.rejects(strict.revocation.record({ jti: '', exp, iat }), notRevocable(BROKEN.jti))
  })

  t.test(`meta is kept as JSON, up to ${MAX_META} bytes, on the store ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const [exp, iat] = [inSeconds(60), inSeconds(0)]
    const empty = JSON.stringify({ a: '' }).length
    const full = { a: 'x'.repeat(MAX_META - empty) }
    for (const [meta, kept] of [
      [{}, {}], [full, full], [{ a: [1, { b: null }], c: true }, { a: [1, { b: null }], c: true }], [{ at: new Date(0), no: undefined, f: () => {} }, { at: '1970-01-01T00:00:00.000Z' }],
      [{ a: '\ud800' }, { a: '\ud800' }], [{ a: 'é'.repeat((MAX_META - empty) / 2 | 0) }, { a: 'é'.repeat((MAX_META - empty) / 2 | 0) }]
    ] as Array<[Record<string, unknown>, object]>) {
      const { id } = await app.revocation.issue({}, { meta })
      t.strictSame((await app.revocation.token(id))?.meta, kept)
      const record = await app.revocation.record({ jti: 'x', exp, iat }, meta)
      t.strictSame(record.meta, kept)
      t.strictSame(await app.revocation.token(record.id), record)
    }
    for (const meta of [
      { a: 'x'.repeat(MAX_META - empty + 1) }, { a: 'é'.repeat((MAX_META - empty) / 2 + 1) }, { a: '\0'.repeat(MAX_META / 6) }, 'text', 1, true, null, [], [{}], () => {}, Symbol('meta'), { toJSON () {} }
    ]) {
      await t.rejects(app.revocation.issue({}, { meta: meta as never }), BAD_META)
      await t.rejects(app.revocation.record({ jti: 'x', exp, iat }, meta as never), BAD_META)
    }
    const circular: Record<string, unknown> = {}
    circular.circular = circular
    await t.rejects(app.revocation.issue({}, { meta: circular }), { name: 'TypeError' })
    await t.rejects(app.revocation.issue({}, { meta: { big: 1n } }), { name: 'TypeError' })

    const mine = { list: [1] }
    const record = await app.revocation.record({ jti: 'x', exp, iat }, mine)
    mine.list.push(2)
    const first = await app.revocation.token(record.id)
    ;(first!.meta!.list as number[]).push(3)
    t.strictSame((await app.revocation.token(record.id))?.meta, { list: [1] }, 'what a caller does to theirs changes nothing')
  })

  t.test(`revoke() and revokeById() answer with the revocation, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: store() })
    const revokedAt = clock.hold()
    const exp = inSeconds(60)
    const revocation = { status: 'revoked' as const, revokedAt }

    t.strictSame(await app.revocation.revoke({ jti: '1' }), { jti: '1', first: true, ...revocation, expiresAt: null })
    t.strictSame(await app.revocation.revoke({ jti: '2', iss: 'a', exp }), { jti: '2', iss: 'a', first: true, ...revocation, expiresAt: iso(exp) })
    t.strictSame(await app.revocation.revoke({ jti: '3', iss: '', exp: exp + 0.5 }), { jti: '3', first: true, ...revocation, expiresAt: iso(exp + 0.5) })
    t.strictSame(await app.revocation.revoke({ jti: '4', exp: 1 }), { jti: '4', first: true, ...revocation, expiresAt: iso(1) })
    const record = await app.revocation.record({ jti: '5', iss: 'a', sub: 'alice', exp, iat: inSeconds(0) })
    t.strictSame(await app.revocation.revoke({ jti: '5', iss: 'a' }), { jti: '5', id: record.id, iss: 'a', sub: 'alice', first: true, ...revocation, expiresAt: iso(exp) })
    t.strictSame(await app.revocation.revoke({ jti: '5' }), { jti: '5', first: true, ...revocation, expiresAt: null }, 'of another issuer')
    clock.advance(5000)
    t.strictSame(await app.revocation.revokeById(record.id), { jti: '5', id: record.id, iss: 'a', sub: 'alice', first: false, ...revocation, expiresAt: iso(exp) })
    t.strictSame(await app.revocation.revoke({ jti: '2', iss: 'a' }), { jti: '2', iss: 'a', first: false, ...revocation, expiresAt: iso(exp) }, 'what is known of its end stays known')

    for (const id of ['unknown', '', '__proto__', '2']) {
      const error = await t.rejects(app.revocation.revokeById(id), NOT_FOUND)
      t.ok(error instanceof FST_JWT_REVOCATION_NOT_FOUND)
      t.equal(await app.revocation.token(id), null)
    }
  })

  t.test(`revoke() says what is wrong with its arguments, on the store ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const bad = (message: string) => ({ name: 'TypeError', message })
    const badJti = bad('revoke() needs a jti: a well-formed string of 1 to 255 characters')
    const badIss = bad('revoke() takes as iss a well-formed string of at most 1024 characters')
    const badExp = bad('revoke() takes as exp a number of seconds since the epoch')
    for (const jti of [undefined, null, '', 1, {}, [], ['x'], 'x'.repeat(256), '\ud800']) await t.rejects(app.revocation.revoke({ jti } as never), badJti)
    for (const iss of [null, 1, {}, ['a'], 'x'.repeat(1025), '\udc00']) await t.rejects(app.revocation.revoke({ jti: 'x', iss } as never), badIss)
    for (const exp of [null, '1', NaN, Infinity, -Infinity, {}, 1n, new Date()]) await t.rejects(app.revocation.revoke({ jti: 'x', exp } as never), badExp)
    await t.rejects(app.revocation.revoke(undefined as never), { name: 'TypeError' })
    t.equal(await app.revocation.isRevoked({ jti: 'x', exp: inSeconds(60), iat: inSeconds(0) }), false, 'and nothing is revoked')
  })

  t.test(`isRevoked() tells of claims what the guard would, on the store ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const [exp, iat] = [inSeconds(60), inSeconds(0)]
    t.equal(await app.revocation.isRevoked({ jti: 'x', exp, iat }), false)
    await app.revocation.revoke({ jti: 'x' })
    t.equal(await app.revocation.isRevoked({ jti: 'x', exp, iat }), true)
    t.equal(await app.revocation.isRevoked({ jti: 'x', iss: '', exp, iat }), true, 'an empty issuer is none')
    t.equal(await app.revocation.isRevoked({ jti: 'x', iss: 'a', exp, iat }), false)
    await app.revocation.revoke({ jti: 'x', iss: 'a' })
    t.equal(await app.revocation.isRevoked({ jti: 'x', iss: 'a', sub: 'alice', exp, iat }), true)
    for (const [claims, rule] of [
      [{ exp, iat }, BROKEN.noJti],
      [{ jti: 'x', iat }, BROKEN.noExp],
      [{ jti: 'x', exp: inSeconds(-60), iat }, BROKEN.expired],
      [{ jti: 'x', exp }, BROKEN.noIat],
      [{ jti: 'x', exp, iat: inSeconds(70) }, BROKEN.ahead],
      [{ jti: 'x', exp, iat, iss: null }, BROKEN.iss]
    ] as const) await t.rejects(app.revocation.isRevoked(claims), notRevocable(rule))

    const lenient = await buildApp(t, { revocation: { ...store(), tokensWithoutJti: 'accept' } })
    t.equal(await lenient.revocation.isRevoked({ exp, iat }), false)
  })

  t.test(`'revoked' is told once, for the first revocation only, on the store ${name}`, async (t) => {
    const app = await buildApp(t, { revocation: store() })
    const told: Array<RevocationResult | CutoffEvent> = []
    const others: string[] = []
    const listener = (revocation: RevocationResult | CutoffEvent) => told.push(revocation)
    t.equal(app.revocation.on('revoked', listener), app.revocation)
    app.revocation.on('revoked', (revocation) => others.push(jtiOf(revocation)!))

    const { first, ...revocation } = await app.revocation.revoke({ jti: 'x' })
    t.strictSame(told, [revocation], 'before who revoked it gets an answer')
    const firsts = [first, (await app.revocation.revoke({ jti: 'x' })).first]
    t.strictSame(firsts, [true, false])
    const raced = await Promise.all(Array.from({ length: 10 }, () => app.revocation.revoke({ jti: 'raced' })))
    t.equal(raced.filter(({ first }) => first).length, 1, 'one of those who log out at once')
    t.strictSame(told.map(jtiOf), ['x', 'raced'])

    const { token, jti, id } = await app.revocation.issue({ sub: 'alice' })
    const { body } = answerOf(await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) }))
    await app.revocation.revokeById(id)
    t.strictSame(told.splice(0).slice(2), [body])
    await app.revocation.revokeById('unknown').catch(() => {})
    await app.revocation.revoke({ jti: '' }).catch(() => {})

    t.equal(app.revocation.off('revoked', listener), app.revocation)
    await app.revocation.revoke({ jti: 'y' })
    t.strictSame(told, [])
    t.strictSame(others, ['x', 'raced', jti, 'y'])
  })

  t.test(`a listener that throws changes nothing, on the store ${name}`, async (t) => {
    const lines: string[] = []
    const app = await buildApp(t, { fastify: { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }, revocation: store() })
    const told: string[] = []
    app.revocation.on('revoked', () => { throw new Error('of the listener') })
    app.revocation.on('revoked', async () => { throw new Error('of the async listener') })
    app.revocation.on('revoked', (revocation) => told.push(jtiOf(revocation)!))
    const { token, jti } = await app.revocation.issue({})
    t.match(answerOf(await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) })), { statusCode: 200, body: { jti } })
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
    t.match(await app.revocation.revoke({ jti: 'x' }), { jti: 'x', status: 'revoked' })
    await nextTurn()
    t.match(lines.map((line) => JSON.parse(line)), ['of the listener', 'of the async listener', 'of the listener', 'of the async listener'].map((message) => (
      { msg: "jwt revocation: a listener of 'revoked' threw", err: { message } }
    )))
    t.strictSame(told, [jti, 'x'], 'and other listeners are told')
  })
}

t.test('issue() hands out no token that would be dead on arrival', async (t) => {
  const app = await buildApp(t, { jwt: { sign: {} }, revocation: { maxTokenLifetime: '1h' } })
  const NO_JTI = BROKEN.jti
  const TOO_FAR = BROKEN.tooFar
  const cases: Array<[claims: object, options: IssueOptions | undefined, rule: string]> = [
    [{ sub: 'alice' }, undefined, BROKEN.noExp],
    [{ sub: 'alice' }, { aud: 'us' }, BROKEN.noExp],
    [{}, { expiresIn: '2h' }, TOO_FAR],
    [{}, { expiresIn: 3700 }, TOO_FAR],
    [{ exp: inSeconds(3700) }, undefined, TOO_FAR],
    [{ exp: inSeconds(-60) }, undefined, BROKEN.expired],
    [{ exp: inSeconds(60), iat: inSeconds(-3700) }, undefined, BROKEN.tooLong],
    [{ jti: '' }, { expiresIn: 60 }, NO_JTI],
    [{ jti: 1 }, { expiresIn: 60 }, NO_JTI],
    [{ jti: 'x'.repeat(256) }, { expiresIn: 60 }, NO_JTI],
    [{ jti: '\ud800' }, { expiresIn: 60 }, NO_JTI],
    [{ sub: 1.5 }, { expiresIn: 60 }, BROKEN.sub],
    [{ iss: 'x'.repeat(1025) }, { expiresIn: 60 }, BROKEN.iss],
    [{}, { expiresIn: 60, iss: 'x'.repeat(1025) }, BROKEN.iss]
  ]
  for (const [claims, options, rule] of cases) await t.rejects(app.revocation.issue(claims, options), deadOnArrival(rule), JSON.stringify([claims, options]).slice(0, 80))
  await t.rejects(app.revocation.issue({}, { expiresIn: 'soon' }), { code: 'FAST_JWT_INVALID_OPTION' }, "what @fastify/jwt refuses is @fastify/jwt's own error")

  const lenient = await buildApp(t, { jwt: { sign: {} }, revocation: { maxTokenLifetime: 'unbounded', tokensWithoutJti: 'accept' } })
  t.match(await lenient.revocation.issue({ sub: 'alice' }), { jti: UUID, id: UUID, expiresAt: null })
  await t.rejects(lenient.revocation.issue({ jti: '' }), deadOnArrival(BROKEN.jti))
})

t.test('issue() signs with whatever @fastify/jwt signs with', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const [publicPem, privatePem] = [String(publicKey.export({ type: 'spki', format: 'pem' })), String(privateKey.export({ type: 'pkcs8', format: 'pem' }))]
  t.ok(createPublicKey(privatePem).equals(publicKey))
  const configurations: Record<string, { jwt: Partial<FastifyJWTOptions>, alg: string }> = {
    'an async secret': { jwt: { secret: async () => SECRET }, alg: 'HS256' },
    'a Buffer': { jwt: { secret: Buffer.from(SECRET) }, alg: 'HS256' },
    RS256: { jwt: { secret: { public: publicPem, private: privatePem }, sign: { algorithm: 'RS256', expiresIn: 60 } }, alg: 'RS256' },
    'an iss, a sub and an aud of all tokens': { jwt: { sign: { expiresIn: 60, iss: 'a', sub: 'alice', aud: 'us' } }, alg: 'HS256' }
  }
  for (const [label, { jwt, alg }] of Object.entries(configurations)) {
    const app = await buildApp(t, { jwt })
    for (const options of [undefined, { expiresIn: 30 }]) {
      const { token, id, jti } = await app.revocation.issue({ role: 'admin' }, options)
      t.equal(decodeProtectedHeader(token).alg, alg, label)
      t.match(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), { statusCode: 200, body: { user: { jti, role: 'admin' } } }, label)
      const { iss, sub } = decodeJwt(token)
      const expected = { id, jti, iss: jwt.sign?.iss, sub: jwt.sign?.sub }
      t.match({ ...await app.revocation.token(id), iss, sub }, expected, label)
      t.match(await app.revocation.revokeById(id), Object.fromEntries(Object.entries(expected).filter(([, value]) => value)))
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED, label)
    }
  }

  const verifier = await buildApp(t, { jwt: { secret: { public: publicPem }, sign: {} } })
  await t.rejects(verifier.revocation.issue({}), { message: 'unable to sign: secret is configured in verify mode' })
})

t.test('issue() signs with the namespace that is asked for, the first without one, and no other', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const secrets = { user: 'u'.repeat(32), service: 's'.repeat(32) }
  for (const namespace of ['user', 'service', 'foreign'] as const) {
    await app.register(fastifyJwt, {
      namespace, secret: namespace === 'foreign' ? SECRET : secrets[namespace], sign: { expiresIn: namespace === 'service' ? '60d' : 60, iss: namespace }
    })
  }
  await app.register(revocationPlugin, { namespace: ['user', 'service'] })
  for (const [asked, signing] of [[undefined, 'user'], ['user', 'user'], ['service', 'service']] as const) {
    const { token, id, jti, iss } = await app.revocation.issue({ sub: 'alice' }, { ...(asked && { namespace: asked }), expiresIn: 30 })
    const { payload } = await jwtVerify(token, Buffer.from(secrets[signing]))
    t.match(payload, { jti, sub: 'alice', iss: signing, exp: payload.iat! + 30 })
    t.equal(Object.hasOwn(payload, 'namespace'), false)
    t.equal(iss, signing)
    t.match(await app.revocation.token(id), { jti, iss: signing })
    t.match(await app.revocation.revokeById(id), { jti, iss: signing, first: true })
  }
  const unguarded = (cure: string) => ({ name: 'TypeError', message: `issue() takes as namespace one that the plugin guards; ${cure}` })
  for (const namespace of ['foreign', '', 'constructor', '__proto__']) {
    await t.rejects(app.revocation.issue({}, { namespace }), unguarded('give one of user, service'))
  }
  await t.rejects(app.revocation.issue({}, { namespace: 'service' }), deadOnArrival(BROKEN.tooFar, 'sign: { expiresIn } of @fastify/jwt'))

  const single = await buildApp(t)
  await t.rejects(single.revocation.issue({}, { namespace: 'user' }), unguarded('leave it out, or name the namespaces of @fastify/jwt in option "namespace" of the plugin'))
})

t.test('a door that is no Fastify request asks isRevoked()', async (t) => {
  const app = await buildApp(t)
  const token = await signed({ jti: 'x', sub: 'alice', exp: inSeconds(60) })
  t.equal(await app.revocation.isRevoked(app.jwt.verify<Record<string, unknown>>(token)), false)
  await app.revocation.revoke({ jti: 'x' })
  t.equal(await app.revocation.isRevoked(app.jwt.verify<Record<string, unknown>>(token)), true)
})

t.test('status() tells of the store', async (t) => {
  t.strictSame((await buildApp(t)).revocation.status(), { mode: 'strict', store: 'memory', available: true, ...NAMES })
  const { warnings, ...status } = (await buildApp(t, { revocation: STORES.redis!() })).revocation.status()
  t.strictSame(status, { mode: 'strict', store: 'redis', available: true, ...NAMES })
  t.match(warnings, [/append-only/], 'what Redis of the tests is not set to')
})

t.test('P3 every call says so when the store is away, and that trying again is safe', async (t) => {
  for (const onStoreFailure of ['reject', 'accept'] as const) {
    const server = await startRedis(t, { persist: true })
    const app = await buildApp(t, { revocation: { redis: server.url, onStoreFailure } })
    const events: unknown[] = []
    app.revocation.on('storeLost', (error) => events.push(error))
    app.revocation.on('storeBack', () => events.push('back'))
    const { id, jti } = await app.revocation.issue({ sub: 'alice' })
    const [exp, iat] = [inSeconds(60), inSeconds(0)]
    await server.kill()

    const calls: Record<string, () => Promise<unknown>> = {
      'issue()': () => app.revocation.issue({ sub: 'alice' }),
      'record()': () => app.revocation.record({ jti: 'x', exp, iat }),
      'revoke()': () => app.revocation.revoke({ jti }),
      'revokeById()': () => app.revocation.revokeById(id),
      'token()': () => app.revocation.token(id),
      'isRevoked()': () => app.revocation.isRevoked({ jti, exp, iat })
    }
    await Promise.all(Object.entries(calls).map(async ([name, call]) => {
      const error = await t.rejects(call(), UNAVAILABLE, `${name}, whatever onStoreFailure says`)
      t.ok(error instanceof FST_JWT_REVOCATION_UNAVAILABLE)
    }))
    t.strictSame(app.revocation.status(), { mode: 'strict', store: 'redis', available: false, ...NAMES })
    t.match(events, [Error])
    t.equal(events.length, 1, 'lost once')

    const back = new Promise((resolve) => app.revocation.on('storeBack', () => resolve(undefined)))
    await server.start()
    await back
    t.strictSame(events.slice(1), ['back'])
    t.equal(await app.revocation.isRevoked({ jti, exp, iat }), false)
    t.match(await app.revocation.revoke({ jti }), { jti, id })
    t.equal(await app.revocation.isRevoked({ jti, exp, iat }), true)
    t.strictSame(app.revocation.status(), { mode: 'strict', store: 'redis', available: true, ...NAMES })
  }
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

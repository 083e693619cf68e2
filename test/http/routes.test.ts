import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest, type InjectOptions } from 'fastify'
import t from 'tap'
import { type AuthorizeTarget, revocationPlugin, type RevocationOptions, type RevocationResult } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, listen, ownClock, ownPrefix, rawRequest, REVOKED, SECRET, signed } from '../support/app.ts'
import { commandsOf } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'

const redis = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}
const HISTORY = '/v1/jwt/history'
const MEGABYTE = 2 ** 20

const errorOf = (statusCode: number, error: string, code: string, message: string) =>
  ({ statusCode, body: { statusCode, code, error, message } })

const FORBIDDEN = errorOf(403, 'Forbidden', 'FST_JWT_REVOCATION_FORBIDDEN', 'Not allowed to act on this token')
const NOT_FOUND = errorOf(404, 'Not Found', 'FST_JWT_REVOCATION_NOT_FOUND', 'No record of a token has this id')
const NO_TOKEN = errorOf(401, 'Unauthorized', 'FST_JWT_NO_AUTHORIZATION_IN_HEADER', 'No Authorization was found in request.headers')

async function revoke (app: FastifyInstance, token: string | undefined, path: string, options: InjectOptions = {}) {
  const headers = { ...(token !== undefined && bearer(token)), ...options.headers }
  return answerOf(await app.inject({ ...options, method: 'DELETE', url: `${HISTORY}/${path}`, headers }))
}

const accepts = async (app: FastifyInstance, token: string) =>
  (await app.inject({ url: '/me', headers: bearer(token) })).statusCode === 200

for (const [name, store] of Object.entries(STORES)) {
  t.test(`both routes answer with the revocation, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: store() })
    const revokedAt = clock.hold()
    const expiresAt = new Date((inSeconds(0) + 900) * 1000).toISOString()

    const unrecorded = await genuine({ iss: 'a', sub: 'alice' })
    t.strictSame(await revoke(app, unrecorded.token, unrecorded.jti), {
      statusCode: 200, body: { jti: unrecorded.jti, iss: 'a', status: 'revoked', revokedAt, expiresAt }
    })
    const bare = await signed({ jti: 'bare', exp: inSeconds(900) + 0.5 })
    t.strictSame(await revoke(app, bare, 'bare'), {
      statusCode: 200, body: { jti: 'bare', status: 'revoked', revokedAt, expiresAt: expiresAt.replace('.000', '.500') }
    })
    for (const [claims, path] of [
      [{ iss: 'a', sub: 'alice' }, 'jti'], [{ iss: 'a', sub: 'alice' }, 'id'], [{ sub: 'alice' }, 'jti'], [{ sub: 'alice' }, 'id'], [{}, 'jti'], [{}, 'id']
    ] as const) {
      const { token, jti, id } = await app.revocation.issue(claims, { meta: { secret: 'of the history' } })
      t.strictSame(await revoke(app, token, path === 'id' ? `id/${id}` : jti), {
        statusCode: 200, body: { jti, id, ...claims, status: 'revoked', revokedAt, expiresAt }
      }, `${JSON.stringify(claims)} by its ${path}`)
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
    }
    const { token, jti } = await app.revocation.issue({})
    const { headers } = await app.inject({ method: 'DELETE', url: `${HISTORY}/${jti}`, headers: bearer(token) })
    t.equal(headers['content-type'], 'application/json; charset=utf-8')
  })

  t.test(`P6 a token is revoked by itself, by its subject, and by whom authorize lets, on the store ${name}`, async (t) => {
    const asked: Array<{ target: AuthorizeTarget, user: unknown }> = []
    let answer: boolean | Promise<boolean> = false
    const authorize = (request: FastifyRequest, target: AuthorizeTarget) => {
      asked.push({ target, user: request.user })
      return answer
    }
    const app = await buildApp(t, { revocation: { ...store(), authorize } })
    const lastAsked = () => {
      t.equal(asked.length, 1)
      return asked.pop()
    }

    await t.test('its own subject and issuer need nobody\'s leave', async (t) => {
      for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'a' }]) {
        const [caller, one, other] = await Promise.all([1, 2, 3].map(() => app.revocation.issue(claims)))
        t.equal((await revoke(app, caller!.token, one!.jti)).statusCode, 200)
        t.equal((await revoke(app, caller!.token, `id/${other!.id}`)).statusCode, 200)
        for (const { token } of [one!, other!]) t.notOk(await accepts(app, token))
        t.ok(await accepts(app, caller!.token))
        const signedElsewhere = await genuine(claims)
        const last = await app.revocation.issue(claims)
        t.equal((await revoke(app, signedElsewhere.token, last.jti)).statusCode, 200, 'a caller without a record has a subject as well')
      }
      t.strictSame(asked, [])
    })

    await t.test('others are asked about, with all that is known of the target', async (t) => {
      const caller = await genuine({ sub: 'mallory', iss: 'a' })
      const user = { jti: caller.jti, sub: 'mallory', iss: 'a' }
      const foreign = await app.revocation.issue({ sub: 'alice', iss: 'a' })
      const elsewhere = await app.revocation.issue({ sub: 'mallory', iss: 'b' })
      const nowhere = await app.revocation.issue({ sub: 'mallory' })
      const nobody = await app.revocation.issue({ iss: 'a' })
      const unrecorded = await genuine({ sub: 'mallory', iss: 'a' })
      const targets: Array<[path: string, target: Omit<AuthorizeTarget, 'action'>, token?: string]> = [
        [foreign.jti, { jti: foreign.jti, id: foreign.id, iss: 'a', sub: 'alice' }, foreign.token],
        [`id/${foreign.id}`, { jti: foreign.jti, id: foreign.id, iss: 'a', sub: 'alice' }, foreign.token],
        [`${elsewhere.jti}?iss=b`, { jti: elsewhere.jti, id: elsewhere.id, iss: 'b', sub: 'mallory' }, elsewhere.token],
        [`id/${elsewhere.id}`, { jti: elsewhere.jti, id: elsewhere.id, iss: 'b', sub: 'mallory' }, elsewhere.token],
        [elsewhere.jti, { jti: elsewhere.jti, iss: 'a' }],
        [`${nowhere.jti}?iss=`, { jti: nowhere.jti, id: nowhere.id, sub: 'mallory' }, nowhere.token],
        [`id/${nowhere.id}`, { jti: nowhere.jti, id: nowhere.id, sub: 'mallory' }, nowhere.token],
        [nobody.jti, { jti: nobody.jti, id: nobody.id, iss: 'a' }, nobody.token],
        [unrecorded.jti, { jti: unrecorded.jti, iss: 'a' }, unrecorded.token],
        ['unknown', { jti: 'unknown', iss: 'a' }],
        ['unknown?iss=', { jti: 'unknown' }],
        ['unknown?iss=b', { jti: 'unknown', iss: 'b' }],
        ['id/unknown', { id: 'unknown' }],
        [`${caller.jti}?iss=b`, { jti: caller.jti, iss: 'b' }]
      ]
      for (const [path, target, token] of targets) {
        for (const no of [false, Promise.resolve(false)]) {
          answer = no
          t.strictSame(await revoke(app, caller.token, path), FORBIDDEN, path)
          const { target: askedFor, user: seen } = lastAsked()!
          t.strictSame(askedFor, { action: 'revoke', ...target }, path)
          t.match(seen, user, 'and by whom')
        }
        if (token !== undefined) t.ok(await accepts(app, token))
      }
      for (const [i, [path, target, token]] of targets.entries()) {
        answer = i % 2 === 0 ? true : Promise.resolve(true)
        const { statusCode, body } = await revoke(app, caller.token, path)
        t.strictSame(lastAsked()!.target, { action: 'revoke', ...target }, path)
        if (path === 'id/unknown') t.strictSame({ statusCode, body }, NOT_FOUND)
        else t.match({ statusCode, body }, { statusCode: 200, body: { ...target, status: 'revoked' } }, path)
        if (token !== undefined) t.notOk(await accepts(app, token), path)
      }
      t.ok(await accepts(app, caller.token))
    })
  })

  t.test(`revoking again answers with the first revocation, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const app = await buildApp(t, { revocation: store() })
    const revocations: unknown[] = []
    app.revocation.on('revoked', (revocation) => revocations.push(revocation))
    const caller = await app.revocation.issue({ sub: 'alice' })
    const target = await app.revocation.issue({ sub: 'alice' })
    const first = await revoke(app, caller.token, target.jti)
    t.equal(first.statusCode, 200)
    clock.advance(5000)
    t.strictSame(await revoke(app, caller.token, target.jti), first)
    t.strictSame(await revoke(app, caller.token, `id/${target.id}`), first)
    t.strictSame(await app.revocation.revokeById(target.id), { ...first.body as object, first: false })
    t.strictSame(revocations, [first.body], 'and is told of once')

    const raced = await app.revocation.issue({ sub: 'alice' })
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => revoke(app, caller.token, i % 2 ? raced.jti : `id/${raced.id}`)))
    for (const answer of answers) t.strictSame(answer, answers[0])
    t.equal(answers[0]!.statusCode, 200)
    t.equal(revocations.length, 2)
  })

  t.test(`expiresAt is null where nobody knows when the token ends, on the store ${name}`, async (t) => {
    const clock = ownClock(t)
    const settings = store()
    const app = await buildApp(t, { jwt: { sign: {} }, revocation: { ...settings, maxTokenLifetime: 'unbounded', authorize: () => true } })
    const { jti, token } = await genuine({ exp: undefined })
    const revokedAt = clock.hold()
    t.strictSame(await revoke(app, token, jti), { statusCode: 200, body: { jti, status: 'revoked', revokedAt, expiresAt: null } })
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)

    const issued = await app.revocation.issue({ sub: 'alice' })
    t.equal(issued.expiresAt, null)
    t.strictSame(await revoke(app, issued.token, `id/${issued.id}`), {
      statusCode: 200, body: { jti: issued.jti, id: issued.id, sub: 'alice', status: 'revoked', revokedAt, expiresAt: null }
    })
    const { token: admin } = await genuine()
    t.strictSame(await revoke(app, admin, 'unknown'), { statusCode: 200, body: { jti: 'unknown', status: 'revoked', revokedAt, expiresAt: null } })
    if (settings.keyPrefix === undefined) return
    for (const key of await redis.keys(`${settings.keyPrefix}*`)) t.equal(await redis.cli('TTL', key), '-1', key)
  })
}

t.test('an id of no record is 404 to whom authorize lets, and 403 to others', async (t) => {
  const { token } = await genuine()
  for (const id of ['unknown', crypto.randomUUID(), 'x'.repeat(255), '%2F', '..%2f', '__proto__']) {
    t.strictSame(await revoke(await buildApp(t), token, `id/${id}`), FORBIDDEN)
    t.strictSame(await revoke(await buildApp(t, { revocation: { authorize: () => true } }), token, `id/${id}`), NOT_FOUND)
  }
})

t.test('a body is read, within the limit, and dropped', async (t) => {
  const app = await buildApp(t, {
    after (app) {
      app.delete('/mine', async (request) => ({ body: request.body ?? null }))
      app.post('/mine', async (request) => ({ body: request.body }))
    }
  })
  const boundary = '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--'
  const bodies: Array<[type: string | undefined, payload: string | undefined]> = [
    [undefined, undefined], ['application/json', undefined], ['application/json', ''], ['application/json; charset=utf-8', ''], ['APPLICATION/JSON', undefined],
    ['application/json', '{"jti":"another"}'], ['application/json', 'null'], ['application/json', '{"a":'], ['application/json', '{"__proto__":{"a":1}}'],
    ['application/problem+json', '{}'], ['text/plain', 'another'], ['text/plain', ''], ['application/x-www-form-urlencoded', 'jti=another'],
    ['multipart/form-data; boundary=x', boundary], ['application/octet-stream', '\0\ud83d'], ['x/y', 'z'], [undefined, 'untyped'], ['application/json', 'x'.repeat(MEGABYTE)]
  ]
  const port = await listen(app)
  for (const [type, payload] of bodies) {
    const label = `${type}: ${JSON.stringify(payload)?.slice(0, 20)}`
    const headers = type === undefined ? {} : { 'content-type': type }
    for (const by of ['jti', 'id'] as const) {
      const { token, id, jti } = await app.revocation.issue({ sub: 'alice' })
      const path = by === 'id' ? `id/${id}` : jti
      t.match(await revoke(app, token, path, { headers, ...(payload !== undefined && { payload }) }), { statusCode: 200, body: { jti } }, label)
      t.notOk(await accepts(app, token))
    }
    for (const transfer of [{}, { 'transfer-encoding': 'chunked' }]) {
      const { token, jti } = await app.revocation.issue({ sub: 'alice' })
      const answer = await rawRequest(port, {
        method: 'DELETE', path: `${HISTORY}/${jti}`, headers: { ...bearer(token), ...headers, ...transfer }, ...(payload !== undefined && { body: payload })
      })
      t.match(answer, { statusCode: 200, body: { jti } }, `${label}, over a socket`)
    }
  }

  const { token, jti } = await app.revocation.issue({ sub: 'alice' })
  const tooLarge = { headers: { 'content-type': 'application/json' }, payload: 'x'.repeat(MEGABYTE + 1) }
  t.strictSame(await revoke(app, undefined, jti, tooLarge), NO_TOKEN)
  t.strictSame(await revoke(app, token, jti, tooLarge), errorOf(413, 'Payload Too Large', 'FST_ERR_CTP_BODY_TOO_LARGE', 'Request body is too large'))
  t.ok(await accepts(app, token), 'and nothing is revoked')

  const empty = { headers: { 'content-type': 'application/json' }, payload: '' }
  const EMPTY_JSON = errorOf(400, 'Bad Request', 'FST_ERR_CTP_EMPTY_JSON_BODY', "Body cannot be empty when content-type is set to 'application/json'")
  for (const method of ['DELETE', 'POST'] as const) {
    t.strictSame(answerOf(await app.inject({ method, url: '/mine', ...empty })), EMPTY_JSON, 'elsewhere Fastify is as strict as before')
    t.strictSame(answerOf(await app.inject({ method, url: '/mine', payload: { a: 1 } })), { statusCode: 200, body: { body: { a: 1 } } })
  }
  t.equal((await app.inject({ method: 'POST', url: '/mine', headers: { 'content-type': 'x/y' }, payload: 'z' })).statusCode, 415)
})

t.test('parsers of the application stay its own', async (t) => {
  const parsed: string[] = []
  const app = await buildApp(t, {
    before (app) {
      app.removeAllContentTypeParsers()
      app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
        parsed.push(String(body))
        done(null, 'parsed')
      })
      app.post('/mine', async (request) => ({ body: request.body }))
    }
  })
  const payload = '{"a":1}'
  const headers = { 'content-type': 'application/json' }
  t.strictSame(answerOf(await app.inject({ method: 'POST', url: '/mine', headers, payload })), { statusCode: 200, body: { body: 'parsed' } })
  const { token, jti } = await app.revocation.issue({})
  t.equal((await revoke(app, token, jti, { headers, payload })).statusCode, 200)
  t.strictSame(parsed, [payload])
})

t.test('routes: false registers none, and a prefix of their own moves them', async (t) => {
  const without = await buildApp(t, { revocation: { routes: false } })
  const { token, jti, id } = await without.revocation.issue({ sub: 'alice' })
  for (const path of [jti, `id/${id}`]) t.equal((await revoke(without, token, path)).statusCode, 404)
  t.ok(await accepts(without, token))
  await without.revocation.revokeById(id)
  t.notOk(await accepts(without, token))

  for (const prefix of ['/auth/tokens', '/']) {
    const moved = await buildApp(t, { revocation: { routes: { prefix } } })
    for (const by of ['jti', 'id'] as const) {
      const issued = await moved.revocation.issue({ sub: 'alice' })
      const url = `${prefix}/${by === 'id' ? `id/${issued.id}` : issued.jti}`.replace('//', '/')
      t.equal((await revoke(moved, issued.token, issued.jti)).statusCode, 404)
      t.equal((await moved.inject({ method: 'DELETE', url, headers: bearer(issued.token) })).statusCode, 200, url)
      t.notOk(await accepts(moved, issued.token))
    }
  }
})

t.test('P6 who has no token is told so, whatever else is wrong with the request', async (t) => {
  const app = await buildApp(t, { fastify: { routerOptions: { maxParamLength: 2000 } } })
  const EXPIRED = errorOf(401, 'Unauthorized', 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', 'Authorization token expired')
  const expired = await signed({ jti: 'x', exp: 1 })
  const { token } = await genuine()
  const long = (name: string, at: string, length: number) =>
    [name, errorOf(400, 'Bad Request', 'FST_ERR_VALIDATION', `${at} Expected string length less or equal to ${length}`)] as const
  const wrong = [
    long('x'.repeat(256), 'params/jti', 255),
    long('😀'.repeat(128), 'params/jti', 255),
    long(`x?iss=${'x'.repeat(1025)}`, 'querystring/iss', 1024),
    ['', errorOf(400, 'Bad Request', 'FST_ERR_VALIDATION', 'params/jti Expected string length greater or equal to 1')],
    ['id/', FORBIDDEN], [`id/${'x'.repeat(256)}`, FORBIDDEN], [`id/${'x'.repeat(2000)}`, FORBIDDEN],
    ['x?iss=a&iss=b', errorOf(400, 'Bad Request', 'FST_ERR_VALIDATION', 'querystring/iss Expected string')]
  ] as const
  for (const [path, answer] of wrong) {
    const url = path.replaceAll('😀', '%F0%9F%98%80')
    t.strictSame(await revoke(app, undefined, url), NO_TOKEN, path.slice(0, 20))
    t.strictSame(await revoke(app, expired, url), EXPIRED, path.slice(0, 20))
    t.strictSame(await revoke(app, token, url), answer, path.slice(0, 20))
  }
  t.strictSame(await revoke(app, token, `${'x'.repeat(255)}?iss=${'x'.repeat(1024)}`), FORBIDDEN, 'the longest are looked for')
  const { token: other, jti } = await genuine()
  t.equal((await revoke(app, other, `${jti}?unknown=1&sub=x`)).statusCode, 200, 'what else the query says is ignored')
})

t.test('what is no UUID is the id of no record, and never part of a key: another prefix has other keys there', async (t) => {
  const keyPrefix = ownPrefix()
  const neighbour = await buildApp(t, { revocation: { redis: redis.url, keyPrefix: `${keyPrefix}token:` } })
  await neighbour.revocation.revokeSubject('log')
  t.match(await redis.cli('TYPE', `${keyPrefix}token:log`), 'stream')
  const admin = { jti: 'admin', sub: 'admin' }
  const app = await buildApp(t, {
    fastify: { routerOptions: { maxParamLength: 2000 } },
    revocation: { redis: redis.url, keyPrefix, authorize: (request) => (request.user as { sub: string }).sub === admin.sub }
  })
  const lost: unknown[] = []
  app.revocation.on('storeLost', (error) => lost.push(error))
  const { token: mallory } = await genuine({ sub: 'mallory' })
  const { token: administrator } = await genuine(admin)
  const { id, token: alice } = await app.revocation.issue({ sub: 'alice' })
  const page = await app.revocation.issue({ sub: 'alice' })
  const ask = async (method: 'GET' | 'DELETE', token: string, path: string) => answerOf(await app.inject({ method, url: HISTORY + path, headers: bearer(token) }))

  const ids = ['log', 'cutoff:log', 'x', '', '*', '__proto__', id.slice(1), `${id}0`, `{${id}}`, `${id}\n`, id.replaceAll('-', ''), id.toUpperCase(), 'é'.repeat(300)]
  const commands = await commandsOf(redis, async () => {
    for (const odd of ids) {
      if (odd === id.toUpperCase()) continue
      for (const method of ['GET', 'DELETE'] as const) {
        const path = `/id/${encodeURIComponent(odd)}`
        t.strictSame(await ask(method, mallory, path), FORBIDDEN, `${method} ${path.slice(0, 60)} by another`)
        t.strictSame(await ask(method, administrator, path), NOT_FOUND, `${method} ${path.slice(0, 60)} by whom authorize lets`)
      }
      t.equal(await app.revocation.token(odd), null)
      await t.rejects(app.revocation.revokeById(odd), { code: 'FST_JWT_REVOCATION_NOT_FOUND', statusCode: 404, message: 'No record of a token has this id' })
      if (odd !== '') t.strictSame(await ask('GET', alice, `?cursor=${encodeURIComponent(odd.slice(0, 255))}`), { statusCode: 200, body: { tokens: [] } }, 'as a cursor it leads nowhere')
      t.strictSame(await app.revocation.tokens('alice', { cursor: odd }), { tokens: [] })
    }
  })
  t.strictSame(Object.keys(commands), ['mget'], 'Redis is asked about the callers, and about nothing else')
  t.strictSame(await ask('GET', alice, `/id/${id.toUpperCase()}`), FORBIDDEN, 'the same letters in another case are another id')
  t.strictSame(await ask('GET', administrator, `/id/${id.toUpperCase()}`), NOT_FOUND)
  t.match(await ask('GET', alice, `/id/${id}`), { statusCode: 200, body: { id } })
  t.match(await ask('GET', alice, '?limit=1'), { statusCode: 200, body: { tokens: [{}], cursor: /^[\da-f-]{36}$/ } })
  t.match(await ask('DELETE', alice, `/id/${page.id}`), { statusCode: 200, body: { id: page.id } })
  t.strictSame(lost, [])
  t.ok(app.revocation.status().available)
})

t.test('the routes work in an application with compilers of another schema language', async (t) => {
  interface Schema { parse (data: unknown): unknown }
  const app = await buildApp(t, {
    before (app) {
      app.setValidatorCompiler<Schema>(({ schema }) => (data) => ({ value: schema.parse(data) }))
      app.setSerializerCompiler<Schema>(({ schema }) => (data) => JSON.stringify(schema.parse(data)))
    },
    after (app) {
      const schema: Schema = { parse: (data) => ({ parsed: data }) }
      app.get('/mine', { schema: { querystring: schema, response: { 200: schema } } }, async (request) => request.query)
    }
  })
  t.strictSame(answerOf(await app.inject('/mine?a=1')), { statusCode: 200, body: { parsed: { parsed: { a: '1' } } } })
  const [one, other] = await Promise.all([1, 2].map(() => app.revocation.issue({ sub: 'alice' })))
  const { token: mallory } = await genuine({ sub: 'mallory' })
  t.strictSame(await revoke(app, undefined, one!.jti), NO_TOKEN)
  t.strictSame(await revoke(app, mallory, one!.jti), FORBIDDEN)
  t.match(await revoke(app, mallory, 'x?iss=1&iss=2'), { statusCode: 400, body: { code: 'FST_ERR_VALIDATION', message: 'querystring/iss Expected string' } })
  t.match(await revoke(app, one!.token, `id/${other!.id}`), { statusCode: 200, body: { id: other!.id, status: 'revoked' } })
  t.match(await revoke(app, one!.token, one!.jti), { statusCode: 200, body: { id: one!.id, status: 'revoked' } })
  t.strictSame(await revoke(app, one!.token, one!.jti), REVOKED)
})

t.test('the routes take a prefix of the scope that they are registered in, and answer with its error handler', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async (scope) => {
    await scope.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
    scope.setErrorHandler(async (error: Error & { code: string, statusCode: number }, _request, reply) =>
      reply.code(error.statusCode).send({ statusCode: error.statusCode, error: 'mine', code: error.code, message: error.message }))
    await scope.register(revocationPlugin, {})
  }, { prefix: '/api' })
  await app.ready()
  const { jti, token } = await genuine()
  const ask = (path: string) => app.inject({ method: 'DELETE', url: `/api${HISTORY}/${path}`, headers: bearer(token) })
  t.strictSame(answerOf(await ask('unknown')), { statusCode: 403, body: { ...FORBIDDEN.body, error: 'mine' } })
  const revocation: RevocationResult = (await ask(jti)).json()
  t.match(revocation, { jti, status: 'revoked' })
  t.strictSame(answerOf(await ask(jti)), { ...REVOKED, body: { ...REVOKED.body, error: 'mine' } })
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

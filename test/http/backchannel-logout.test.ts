import fastifyJwt from '@fastify/jwt'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { generateKeyPair } from 'jose'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { LOGOUT_RULES, type LogoutRule } from '../../lib/domain/logout-token.ts'
import { answerOf, bearer, buildApp, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { UNAVAILABLE, WatchedClient } from '../support/domain.ts'
import { AUDIENCE, EVENT, postLogout, startProvider, unsigned, type Claims } from '../support/provider.ts'
import { eventually, startRedis, type RedisServer } from '../support/redis.ts'

/* Log-outs that an identity provider posts: what ends, what is refused, and what happens without a store. */

const server = await startRedis(t)
const client = new Redis(server.url)
t.teardown(() => client.disconnect())
const provider = await startProvider(t)

const onCluster = () => Object.assign(new WatchedClient(client), { isCluster: true, nodes: () => [client] })

/** On memory, on Redis, on what takes a cluster's commands, and on a replica. */
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  strict: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  cluster: () => ({ redis: onCluster(), keyPrefix: ownPrefix() }),
  replica: () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}

const PROVIDER = { issuer: provider.issuer, audience: AUDIENCE }
const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const FOR_EVER = 4294967295

interface Line extends Record<string, unknown> { msg: string, level: number }

async function scene (t: Test, revocation: RevocationOptions = {}, more: Parameters<typeof buildApp>[1] = {}) {
  const lines: Line[] = []
  const app = await buildApp(t, {
    fastify: { logger: { level: 'trace', stream: { write (line: string) { lines.push(JSON.parse(line)) } } } },
    jwt: provider.jwt,
    revocation: { backchannelLogout: PROVIDER, ...revocation },
    ...more
  })
  const heard: object[] = []
  app.revocation.on('revoked', (event) => heard.push(event))
  const told = (event: string) => lines.filter((line) => line.event === event)
  return { app, lines, heard, told, post: (token: string) => postLogout(app, token) }
}

/** The whole answer to a token that breaks a rule. */
function isRefused (t: Test, response: LightMyRequestResponse, rule: LogoutRule, what: string) {
  t.strictSame([response.statusCode, response.headers['cache-control'], response.json()], [
    400, 'no-store', { error: 'invalid_request', error_description: LOGOUT_RULES[rule] }
  ], what)
}

function isTaken (t: Test, response: LightMyRequestResponse, what = 'the log-out is taken') {
  t.strictSame([response.statusCode, response.headers['cache-control'], response.body], [200, 'no-store', ''], what)
}

const live = async (t: Test, app: FastifyInstance, tokens: string[]) => {
  for (const token of tokens) t.match(await me(app, token), { statusCode: 200 })
}
const dead = async (t: Test, app: FastifyInstance, tokens: string[]) => {
  for (const token of tokens) t.strictSame(await me(app, token), REVOKED)
}

for (const [store, redis] of Object.entries(STORES)) {
  t.test(`a sid ends its session for ever, and nothing else: ${store}`, async (t) => {
    const { app, post, heard, told } = await scene(t, redis())
    const mine = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({ sid: 's1', iat: inSeconds(20) })]
    const others = [
      await provider.accessToken({ sid: 's2' }), await provider.accessToken({}), await provider.accessToken({ sub: 's1' })
    ]
    await live(t, app, [...mine, ...others])
    const jti = randomUUID()
    isTaken(t, await post(await provider.logoutToken({ sid: 's1', jti })))
    await dead(t, app, mine)
    await live(t, app, others)
    isTaken(t, await post(await provider.logoutToken({ sid: 'unknown' })), 'an unknown session (§2.7)')
    t.strictSame(heard, [
      { sid: 's1', iss: provider.issuer, cutoff: FOR_EVER }, { sid: 'unknown', iss: provider.issuer, cutoff: FOR_EVER }
    ])
    t.match(told('authn_token_revoked')[0], { sid: 's1', iss: provider.issuer, by: { provider: provider.issuer, jti } })
  })

  t.test(`a sid with a sub also ends the subject's older tokens that have no sid: ${store}`, async (t) => {
    const { app, post, heard } = await scene(t, redis())
    const iat = inSeconds(-10)
    const ended = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({}), await provider.accessToken({ iat })]
    const spared = [
      await provider.accessToken({ sid: 's2' }), await provider.accessToken({ iat: iat + 1 }), await provider.accessToken({ sub: 'bob' }),
      await provider.accessToken({ sub: undefined })
    ]
    const token = await provider.logoutToken({ sid: 's1', sub: 'alice', iat })
    isTaken(t, await post(token))
    await dead(t, app, ended)
    await live(t, app, spared)
    const events = [
      { sid: 's1', iss: provider.issuer, cutoff: FOR_EVER }, { subWithoutSid: 'alice', iss: provider.issuer, cutoff: iat }
    ]
    t.strictSame(heard, events)
    isTaken(t, await post(token), 'the same again')
    isTaken(t, await post(await provider.logoutToken({ sid: 's0', sub: 'alice', iat: iat - 5 })), 'an older one that comes late')
    await live(t, app, spared)
    t.strictSame(heard, [...events, { sid: 's0', iss: provider.issuer, cutoff: FOR_EVER }], 'each is told once')
  })

  t.test(`a sub alone ends all older tokens of the subject, and a replay ends no later login: ${store}`, async (t) => {
    const { app, post, heard } = await scene(t, redis())
    const iat = inSeconds(-10)
    const ended = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({ sid: 's2' }), await provider.accessToken({ iat })]
    const spared = [
      await provider.accessToken({ sub: 'bob', sid: 's1' }), await provider.accessToken({ iat: iat + 1, sid: 's3' }),
      await provider.accessToken({ iat: iat + 1 })
    ]
    const token = await provider.logoutToken({ sub: 'alice', iat })
    for (const what of ['once', 'twice', 'late']) {
      isTaken(t, await post(token), what)
      await dead(t, app, ended)
      await live(t, app, spared)
    }
    isTaken(t, await post(await provider.logoutToken({ sub: 'alice', iat: iat - 60 })), 'one of before revives nothing')
    await dead(t, app, ended)
    t.strictSame(heard, [{ sub: 'alice', iss: provider.issuer, cutoff: iat }])
  })
}

/** Each with the rule that it breaks, and how many fetches of keys it may cost. */
async function hostileTokens (): Promise<Array<[what: string, token: string, rule: LogoutRule, fetches: number]>> {
  const { sign, logoutClaims } = provider
  const claims = (more: Claims = {}) => logoutClaims({ sid: 's1', sub: 'alice', ...more })
  const other = await generateKeyPair('RS256')
  const elliptic = await generateKeyPair('ES256')
  const good = await provider.logoutToken({ sid: 's1' })
  return [
    // The negative modules of the OpenID conformance suite for relying parties.
    ['alg none', unsigned(claims(), { alg: 'none', typ: 'logout+jwt' }), 'alg', 0],
    ['no event', await sign(claims({ events: undefined })), 'events', 0],
    ['a nonce', await sign(claims({ nonce: 'n' })), 'nonce', 0],
    ['a wrong alg', await sign(claims(), { alg: 'ES256' }, elliptic.privateKey), 'signature', 1],
    ['a wrong aud', await sign(claims({ aud: 'another-client' })), 'aud', 0],
    ['a wrong event', await sign(claims({ events: { 'http://schemas.openid.net/event/other': {} } })), 'events', 0],
    ['a wrong issuer', await sign(claims({ iss: 'https://evil.example' })), 'iss', 0],
    // And what else an attacker has.
    ['HS256 with the public key', await sign(claims(), { alg: 'HS256' }, new TextEncoder().encode(provider.pem)), 'signature', 1],
    ['the key of somebody else', await sign(claims(), {}, other.privateKey), 'signature', 1],
    ['an unknown kid', await sign(claims(), { kid: 'k2' }), 'application', 1],
    ['no signature', `${good.slice(0, good.lastIndexOf('.'))}.`, 'signature', 1],
    ['a tampered payload', [good.split('.')[0], (await sign(claims({ sid: 's9' }))).split('.')[1], good.split('.')[2]].join('.'), 'signature', 1],
    ['an iat ahead', await sign(claims({ iat: inSeconds(120) })), 'iat', 0],
    ['no exp, and old', await sign(claims({ exp: undefined, iat: inSeconds(-700) })), 'exp', 0],
    ['expired', await sign(claims({ exp: inSeconds(-10), iat: inSeconds(-60) })), 'signature', 1],
    ['not valid yet', await sign(claims({ nbf: inSeconds(600) })), 'signature', 1],
    ['a JWE', await provider.encrypted(claims()), 'token', 0],
    ['the ID token of the login', await sign({ iss: provider.issuer, aud: AUDIENCE, sub: 'alice', sid: 's1', iat: inSeconds(0), exp: inSeconds(60), nonce: 'n' }), 'events', 0],
    ['the access token of the login', await provider.accessToken({ sid: 's1', aud: AUDIENCE }), 'typ', 0],
    ['neither sid nor sub', await sign(claims({ sid: undefined, sub: undefined })), 'names', 0],
    ['a sid that names nothing', await sign(claims({ sid: { $gt: '' } })), 'names', 0],
    ['no jti', await sign(claims({ jti: undefined })), 'jti', 0],
    ['no token at all', 'abc', 'token', 0],
    ['an empty one', '', 'token', 0]
  ]
}

t.test('a token that is refused costs no fetch of keys before that is due, and no command to Redis', async (t) => {
  const watched = new WatchedClient(client)
  const { app, post } = await scene(t, { redis: watched, keyPrefix: ownPrefix() })
  const token = await provider.accessToken({ sid: 's1' })
  await watched.idle()
  for (const [what, hostile, rule, fetches] of await hostileTokens()) {
    const before = provider.state.fetches
    const commands = await watched.during(async () => isRefused(t, await post(hostile), rule, what))
    t.strictSame([provider.state.fetches - before, commands], [fetches, []], `${what}: so many fetches, and no command`)
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const good = await provider.logoutToken({ sid: 's1' })
  const bodies: Array<[what: string, headers: Record<string, string>, payload: string | undefined]> = [
    ['two logout_tokens', form, `logout_token=${good}&logout_token=${good}`],
    ['another and one more', form, `logout_token=${good}&logout_token=`],
    ['a form without one', form, 'token=x'],
    ['1 MB', form, `logout_token=${good}&x=${'x'.repeat(1024 * 1024)}`],
    ['1 MB of a token', form, `logout_token=${'x'.repeat(1024 * 1024)}`],
    ['one byte more than 16 KiB', form, `logout_token=${good}&x=`.padEnd(16 * 1024 + 1, 'x')],
    ['JSON', { 'content-type': 'application/json' }, JSON.stringify({ logout_token: good })],
    ['plain text', { 'content-type': 'text/plain' }, `logout_token=${good}`],
    ['no body', {}, undefined],
    ['an empty form', form, '']
  ]
  for (const [what, headers, payload] of bodies) {
    const before = provider.state.fetches
    const commands = await watched.during(async () => {
      const response = await app.inject({ method: 'POST', url: '/backchannel-logout', headers, ...(payload !== undefined && { payload }) })
      isRefused(t, response, 'form', what)
    })
    t.strictSame([provider.state.fetches - before, commands], [0, []], `${what}: no fetch, and no command`)
  }
  t.match(await app.inject({ url: '/backchannel-logout' }), { statusCode: 404 }, 'nothing but POST')
  await live(t, app, [token])

  isTaken(t, await app.inject({
    method: 'POST',
    url: '/backchannel-logout',
    headers: { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' },
    payload: `x=1&logout_token=${good}&x=2&`.padEnd(16 * 1024, 'x')
  }), 'other parameters are ignored, up to 16 KiB')
  await dead(t, app, [token])
})

t.test('both names are written in one turn, and one name by one command', async (t) => {
  const watched = new WatchedClient(client)
  const { post } = await scene(t, { redis: watched, keyPrefix: ownPrefix() })
  const writes = async (claims: Claims) => {
    const token = await provider.logoutToken(claims)
    return watched.during(async () => isTaken(t, await post(token)))
  }
  t.strictSame(await writes({ sid: 's1' }), [['eval']])
  t.strictSame(await writes({ sub: 'alice' }), [['eval']])
  let sent = 0
  let waiting: Array<() => void> = []
  // Neither is answered before both are sent.
  watched.intercept = ([command, ...args]) => {
    if (command !== 'eval') return
    sent++
    return new Promise((resolve) => {
      waiting.push(() => resolve(client.call('eval', ...args as string[])))
      if (sent < 2) return
      for (const answer of waiting) answer()
      waiting = []
    })
  }
  t.strictSame(await writes({ sid: 's1', sub: 'alice' }), [['eval'], ['eval']])
})

t.test('a token without a sid is looked up under one name more where the option is given, also without a provider', async (t) => {
  const rows: Array<[options: RevocationOptions, claims: Claims, keys: number]> = [
    [{ backchannelLogout: PROVIDER }, {}, 3],
    [{ backchannelLogout: [] }, {}, 3],
    [{ backchannelLogout: [] }, { sid: 's1' }, 3],
    [{ backchannelLogout: [] }, { sub: undefined }, 1],
    [{ backchannelLogout: undefined! }, {}, 2],
    [{ backchannelLogout: undefined! }, { sid: 's1' }, 2]
  ]
  for (const [options, claims, keys] of rows) {
    const read: unknown[] = []
    const watched = new WatchedClient(client)
    watched.intercept = ([command, ...args]) => {
      if (command === 'mget') read.push(...args)
      return undefined
    }
    const { app } = await scene(t, { redis: watched, keyPrefix: ownPrefix(), ...options })
    const token = await provider.accessToken(claims)
    read.length = 0
    t.strictSame(await watched.during(() => live(t, app, [token])), [['mget']])
    t.equal(read.length, keys, JSON.stringify([options, claims]))
  }
})

t.test('a process without a route of its own refuses what another was told of, and says so in status()', async (t) => {
  const shared = { redis: server.url, keyPrefix: ownPrefix() }
  const { post, app: one } = await scene(t, shared)
  for (const mode of ['strict', 'replica'] as const) {
    const { app, heard } = await scene(t, { ...shared, mode, backchannelLogout: [] })
    t.match(await postLogout(app, 'x'), { statusCode: 404 }, '[] adds no route')
    t.match(app.revocation.status(), { claims: { sid: 'sid' }, backchannelLogout: true })
    const [inSession, without] = [await provider.accessToken({ sid: mode, sub: mode }), await provider.accessToken({ sub: mode })]
    await live(t, app, [inSession, without])
    isTaken(t, await post(await provider.logoutToken({ sid: mode, sub: mode, iat: inSeconds(-5) })))
    await eventually('the session is ended there', async () => (await me(app, inSession)).statusCode === 401)
    await eventually('and what has no session', async () => (await me(app, without)).statusCode === 401)
    if (mode === 'replica') await eventually('its listeners have heard', async () => heard.length === 2)
  }
  t.strictSame(one.revocation.status().backchannelLogout, true)
  const { app: without } = await scene(t, { ...shared, backchannelLogout: undefined! })
  t.notOk('backchannelLogout' in without.revocation.status())
  t.strictSame(without.revocation.status().claims, { jti: 'jti', sub: 'sub' })
})

t.test('the history shows which tokens a log-out ended', async (t) => {
  const { app, post } = await scene(t, { recordOnUse: true })
  const [ended, without, other] = [
    await provider.accessToken({ sid: 's1' }), await provider.accessToken({}), await provider.accessToken({ sid: 's2' })
  ]
  await live(t, app, [ended, without, other])
  isTaken(t, await post(await provider.logoutToken({ sid: 's1', sub: 'alice', iat: inSeconds(-5) })))
  await live(t, app, [other])
  const { tokens } = (await app.inject({ url: '/v1/jwt/history', headers: bearer(other) })).json() as { tokens: Array<{ sid?: string, status: string }> }
  t.strictSame(Object.fromEntries(tokens.map(({ sid = 'none', status }) => [sid, status])), { s1: 'revoked', none: 'revoked', s2: 'active' })
})

t.test('a logout token is no access token, whatever the options', async (t) => {
  const rows: RevocationOptions[] = [
    {}, { backchannelLogout: undefined! }, { tokensWithoutJti: 'accept', maxTokenLifetime: 'unbounded', backchannelLogout: undefined! },
    { enforce: 'verified', recordOnUse: true }
  ]
  for (const options of rows) {
    const { app } = await scene(t, options)
    for (const claims of [{ sub: 'alice' }, { sid: 's1' }, { sub: 'alice', events: { [EVENT]: null, other: {} } }]) {
      t.match(await me(app, await provider.logoutToken(claims)), {
        statusCode: 401,
        challenge: /logout token/,
        body: {
          code: 'FST_JWT_NOT_REVOCABLE',
          message: 'Token cannot be revoked and is therefore not accepted: it is a logout token of a provider, present an access token instead'
        }
      })
    }
    await live(t, app, [await provider.accessToken({ events: { other: {} } }), await provider.accessToken({ events: EVENT })])
    await t.rejects(app.revocation.isRevoked(provider.logoutClaims({ sub: 'alice' })), { code: 'FST_JWT_NOT_REVOCABLE' })
  }
})

t.test('the route is there with routes: false, at its own path, and each provider has its own', async (t) => {
  const other = await startProvider(t)
  const { app } = await scene(t, {
    routes: false,
    backchannelLogout: [{ ...PROVIDER, path: '/one' }, { issuer: other.issuer, audience: ['b', AUDIENCE], path: '/other', tokenIssuer: provider.issuer }]
  })
  const [one, two] = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({ sid: 's2' })]
  isRefused(t, await postLogout(app, await provider.logoutToken({ sid: 's1' }), { path: '/other' }), 'iss', 'of another provider')
  isTaken(t, await postLogout(app, await provider.logoutToken({ sid: 's1' }), { path: '/one' }))
  await dead(t, app, [one])
  await live(t, app, [two])
  isTaken(t, await postLogout(app, await other.logoutToken({ sid: 's2' }), { path: '/other' }), 'of tokens that another issuer signs')
  await dead(t, app, [two])
})

t.test('an application that signs its own tokens ends them by the sid of the provider', async (t) => {
  const { app } = await scene(t, { backchannelLogout: { ...PROVIDER, namespace: 'idp', tokenIssuer: '' } }, {
    jwt: {},
    before: (app) => app.register(fastifyJwt, { namespace: 'idp', ...provider.jwt } as never)
  })
  const { token } = await app.revocation.issue({ sub: 'alice', sid: 's1' })
  const later = await app.revocation.issue({ sub: 'alice', sid: 's2' })
  const without = await signed({ jti: randomUUID(), sub: 'alice', iat: inSeconds(-20), exp: inSeconds(60) })
  await live(t, app, [token, without])
  isTaken(t, await postLogout(app, await provider.logoutToken({ sid: 's1', sub: 'alice', iat: inSeconds(-5) })))
  await dead(t, app, [token, without])
  await live(t, app, [later.token])
})

t.test('a namespace of its own has the keys of the provider, guarded or not', async (t) => {
  const jwt = [{ namespace: 'api', secret: 'a secret of the api, of more than 32 bytes' }, { namespace: 'idp', ...provider.jwt }] as never
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(revocationPlugin, { jwt, backchannelLogout: { ...PROVIDER, namespace: 'idp' }, redis: 'memory' })
  isTaken(t, await postLogout(app, await provider.logoutToken({ sid: 's1' })))
  const bad = { jwt, redis: 'memory', backchannelLogout: { ...PROVIDER, namespace: 'none' } } as const
  const again = Fastify()
  t.teardown(() => again.close())
  await t.rejects(async () => again.register(revocationPlugin, bad), { code: 'FST_JWT_REVOCATION_BAD_OPTION', message: /no namespace "none"/ })
})

t.test('trusted is asked, the verifier of the application counts, and request.user stays what it was', async (t) => {
  const asked: unknown[] = []
  const users: unknown[] = []
  let isTrusted = true
  const { app, post, told } = await scene(t, {}, {
    jwt: {
      ...provider.jwt,
      trusted: async (_request: unknown, payload: unknown) => {
        asked.push(payload)
        return isTrusted
      },
      formatUser: async () => { throw new Error('of nobody') },
      verify: { requiredClaims: ['role'], allowedAud: 'an-api', allowedIss: 'somebody', ignoreExpiration: true, cache: true, algorithms: ['RS256'] }
    } as never,
    before (app) {
      app.addHook('onResponse', async (request) => { users.push((request as { user?: unknown }).user) })
    }
  })
  isTaken(t, await post(await provider.logoutToken({ sid: 's1' })))
  t.match(asked, [{ sid: 's1' }])
  isTrusted = false
  isRefused(t, await post(await provider.logoutToken({ sid: 's1' })), 'signature', 'not trusted')
  isTrusted = true
  isRefused(t, await post(await provider.logoutToken({ sid: 's1', exp: inSeconds(-5) })), 'signature', 'expired, though the application takes such tokens')
  const fetches = provider.state.fetches
  isRefused(t, await post(`${unsigned(provider.logoutClaims({ sid: 's1' }), { alg: 'RS512', kid: 'k1' })}c2ln`), 'alg', 'none of its algorithms')
  t.equal(provider.state.fetches, fetches)
  t.strictSame(users, [null, null, null, null])
  t.strictSame(told('authn_logout_refused').map(({ reason }) => reason), ['signature', 'alg'])
  await app.close()
})

t.test('keys that can not be read are no fault of the token: 503, and nothing is ended', async (t) => {
  const own = await startProvider(t)
  const { app, post, told } = await scene(t, { backchannelLogout: { issuer: own.issuer, audience: AUDIENCE } })
  const [token, logout] = [await own.accessToken({ sid: 's1' }), await own.logoutToken({ sid: 's1' })]
  own.state.status = 500
  for (let i = 0; i < 2; i++) {
    const { statusCode, headers, body } = await post(logout)
    t.strictSame([statusCode, headers['retry-after'], headers['cache-control'], JSON.parse(body)], [503, '1', 'no-store', { error: 'temporarily_unavailable' }])
  }
  own.state.status = 200
  await live(t, app, [token])
  t.match(told('authn_logout_refused'), [{ reason: 'keys', provider: own.issuer }])
  isTaken(t, await post(logout), 'the same token may be posted again')
  await dead(t, app, [token])
})

t.test('the log tells at most once a minute of each reason, and nothing of an unverified token is told anywhere', async (t) => {
  const keyPrefix = ownPrefix()
  const { lines, post, told } = await scene(t, { redis: server.url, keyPrefix })
  const canary = `canary-${randomUUID()}`
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const answers: string[] = []
  for (let i = 0; i < 3; i++) {
    for (const claims of [{ nonce: canary }, { iss: canary }, { aud: canary }, { sid: canary, sub: canary, jti: canary }, { sid: canary, sub: canary, jti: canary, kid: 'k1' }]) {
      const { kid = canary, ...others } = claims as Claims
      const token = await provider.sign(provider.logoutClaims({ sid: canary, ...others }), { kid, typ: 'JWT' }, other as never)
      const { statusCode, body, headers } = await post(token)
      t.equal(statusCode, 400)
      answers.push(body + JSON.stringify(headers))
    }
    answers.push((await post(canary)).body)
  }
  t.strictSame(told('authn_logout_refused').map(({ level, reason, provider: issuer, msg }) => [level, reason, issuer, msg]), [
    'nonce', 'iss', 'aud', 'application', 'signature', 'token'
  ].map((reason) => [40, reason, provider.issuer, 'jwt revocation: a logout token was refused']))
  t.notMatch(JSON.stringify([lines, answers]), canary)
  t.strictSame(await server.keys(`${keyPrefix}*`), [])
})

const OUTAGES: Array<[what: string, begin: (redis: RedisServer) => unknown, end: (redis: RedisServer) => unknown]> = [
  ['it is stopped', (redis) => redis.stop(), (redis) => redis.start()],
  ['it says nothing', (redis) => redis.pause(), (redis) => redis.resume()]
]
for (const mode of ['strict', 'replica'] as const) {
  for (const [what, begin, end] of OUTAGES) {
    t.test(`without Redis a log-out is 503 and owed: once Redis is back the token is dead, without a second POST: ${mode}, ${what}`, async (t) => {
      const own = await startRedis(t)
      const shared = { redis: own.url, keyPrefix: ownPrefix(), mode, storeTimeout: 300 } as const
      const { app, post, heard, told } = await scene(t, shared)
      const { app: other, heard: heardThere } = await scene(t, { ...shared, backchannelLogout: [] })
      const ended = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({})]
      const spared = [await provider.accessToken({ sid: 's2' }), await provider.accessToken({ iat: inSeconds(30) })]
      for (const app_ of [app, other]) {
        for (const token of [...ended, ...spared]) await eventually('it is accepted', async () => (await me(app_, token)).statusCode === 200)
      }
      const logout = await provider.logoutToken({ sid: 's1', sub: 'alice' })
      await begin(own)
      const { statusCode, headers, body } = await post(logout)
      t.strictSame([statusCode, headers['retry-after'], headers['cache-control'], JSON.parse(body)], [503, '1', 'no-store', { error: 'temporarily_unavailable' }])
      t.strictSame(heard, [])
      if (mode === 'replica') await dead(t, app, ended)
      else for (const token of ended) t.match(await me(app, token), { statusCode: 503 })
      await end(own)
      for (const app_ of [app, other]) {
        for (const token of ended) await eventually('it is refused', async () => (await me(app_, token)).statusCode === 401)
        await dead(t, app_, ended)
        for (const token of spared) await eventually('it is accepted again', async () => (await me(app_, token)).statusCode === 200)
      }
      await eventually('both are told', async () => heard.length === 2)
      const names = (events: object[]) => events.map((event) => Object.keys(event).find((key) => key.startsWith('s'))).sort()
      t.strictSame(names(heard), ['sid', 'subWithoutSid'])
      t.match(told('authn_token_revoked').map(({ by }) => by), [{ provider: provider.issuer }, { provider: provider.issuer }])
      if (mode === 'replica') {
        await eventually('the other hears', async () => heardThere.length === 2)
        t.strictSame(names(heardThere), ['sid', 'subWithoutSid'])
      }
    })
  }
}

t.test('a log-out that Redis refuses, or that is not even sent because too much is outstanding, is owed as well', async (t) => {
  const watched = new WatchedClient(client)
  const { app, post, heard } = await scene(t, { redis: watched, keyPrefix: ownPrefix(), storeTimeout: 300 })
  const [one, two] = [await provider.accessToken({ sid: 's1' }), await provider.accessToken({ sid: 's2' })]
  await live(t, app, [one, two])
  watched.intercept = ([command]) => command === 'eval' ? Promise.reject(new Error("OOM command not allowed when used memory > 'maxmemory'.")) : undefined
  t.match(await post(await provider.logoutToken({ sid: 's1' })), { statusCode: 503 })
  await t.rejects(app.revocation.revokeSession('nobody', { iss: provider.issuer }), UNAVAILABLE)
  watched.intercept = () => undefined
  await eventually('the first is dead', async () => (await me(app, one)).statusCode === 401)

  let release = () => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  watched.intercept = ([command]) => command === 'eval' ? held.then(() => { throw new Error('the connection is closed') }) : undefined
  const outstanding = Array.from({ length: 2000 }, (_, i) => app.revocation.revokeSession(`x${i}`, { iss: provider.issuer }).catch(() => {}))
  const refused = post(await provider.logoutToken({ sid: 's2' }))
  t.match(await refused, { statusCode: 503 })
  t.notOk(watched.flushes.length > 2100)
  watched.intercept = () => undefined
  release()
  await Promise.all(outstanding)
  await eventually('the second is dead', async () => (await me(app, two)).statusCode === 401)
  const ours = heard.filter((event) => /^s\d$/.test((event as { sid: string }).sid))
  t.strictSame(ours.map((event) => (event as { sid: string }).sid), ['s1', 's2'], 'each is told once; what an administrator was refused by Redis is not')
})

t.test('what a hook of the application throws is answered as on its other routes', async (t) => {
  const { app, post } = await scene(t, {}, {
    before (app) {
      app.addHook('preHandler', async ({ method }) => {
        if (method === 'POST') throw Object.assign(new Error('closed for today'), { statusCode: 418 })
      })
    }
  })
  t.strictSame(answerOf(await post(await provider.logoutToken({ sid: 's1' }))), {
    statusCode: 418, body: { statusCode: 418, error: "I'm a Teapot", message: 'closed for today' }
  })
  await live(t, app, [await provider.accessToken({ sid: 's1' })])
})

t.test('the route logs as the other routes of the plugin do: by logLevel and logSerializers', async (t) => {
  const completed = async (more: object) => {
    const { post, lines } = await scene(t, more)
    isTaken(t, await post(await provider.logoutToken({ sid: 's1' })))
    return lines.filter(({ msg }) => msg === 'request completed').map(({ res }) => res)
  }
  t.strictSame(await completed({}), [{ statusCode: 200 }])
  t.strictSame(await completed({ logLevel: 'error' }), [])
  t.strictSame(await completed({ logSerializers: { res: () => 'an answer' } }), ['an answer'])
})

t.test('an option of the wrong shape rejects registration and says how to mend it', async (t) => {
  const reject = async (revocation: RevocationOptions, message: RegExp, jwt: object = {}) => {
    await t.rejects(buildApp(t, { jwt: { ...provider.jwt, ...jwt }, revocation }), { code: 'FST_JWT_REVOCATION_BAD_OPTION', message })
  }
  const wrong: unknown[] = [
    null, 'https://login.example', {}, { issuer: 'i' }, { audience: 'a' }, { issuer: '', audience: 'a' }, { issuer: 'i', audience: '' },
    { issuer: 'i', audience: [] }, { issuer: 'i', audience: ['a', 1] }, { ...PROVIDER, path: 'logout' }, { ...PROVIDER, namespace: '' },
    { ...PROVIDER, tokenIssuer: null }, { ...PROVIDER, secret: 'x' }, [PROVIDER, PROVIDER], [PROVIDER, null]
  ]
  for (const backchannelLogout of wrong) {
    await reject({ backchannelLogout } as RevocationOptions, /option "backchannelLogout" must be \{ issuer, audience, path, namespace, tokenIssuer \}/)
  }
  await reject({ backchannelLogout: PROVIDER, claims: { sub: 'sid' } }, /set option "claims": \{ sid \}/)
  for (const verify of [{ checkTyp: 'at+jwt' }, { allowedNonce: 'n' }]) {
    await reject({ backchannelLogout: PROVIDER }, /register a namespace of @fastify\/jwt for the provider/, { verify })
  }
  await t.rejects(buildApp(t, {
    before: (app) => app.register(fastifyJwt, { namespace: 'idp', jwtVerify: 'verifyIdp', ...provider.jwt } as never),
    revocation: { backchannelLogout: { ...PROVIDER, namespace: 'idp' } }
  }), { code: 'FST_JWT_REVOCATION_BAD_OPTION', message: /finds no request decorator "idpJwtVerify"; register the namespace "idp"/ })
  const { app } = await scene(t, { backchannelLogout: PROVIDER, claims: { sub: 'sid', sid: 'session' } })
  t.strictSame(app.revocation.status().claims, { jti: 'jti', sub: 'sid', sid: 'session' })
})

for (const [what, more] of Object.entries({
  'an async secret': {},
  'a static secret': { secret: { public: provider.pem }, decode: {} }
})) {
  t.test(`a formatUser that can not take a logout token refuses it, and the log says whose fault it is: ${what}`, async (t) => {
    const { post, told } = await scene(t, {}, { jwt: { ...provider.jwt, sign: { algorithm: 'RS256' }, formatUser: (user: { payload?: { sub: string }, sub: string }) => (user.payload ?? user).sub.toUpperCase(), ...more } as never })
    isTaken(t, await post(await provider.logoutToken({ sub: 'alice' })))
    isRefused(t, await post(await provider.logoutToken({ sid: 's1' })), 'application', 'it has no sub')
    t.match(told('authn_logout_refused'), [{ reason: 'application' }])
  })
}

import cookie from '@fastify/cookie'
import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import { SignJWT } from 'jose'
import { createHmac, generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto'
import t from 'tap'
import { BROKEN } from '../../lib/domain/claims.ts'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, listen, ownPrefix, rawRequest, REVOKED, revoked, SECRET, signed } from '../support/app.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const redis = await startRedis(t)
const STORES: Record<string, () => RevocationOptions & { keyPrefix?: string }> = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}
const HISTORY = '/v1/jwt/history'
const FORBIDDEN = {
  statusCode: 403,
  body: { statusCode: 403, code: 'FST_JWT_REVOCATION_FORBIDDEN', error: 'Forbidden', message: 'Not allowed to act on this token' }
}

const notRevocable = (rule: string) => ({
  statusCode: 401,
  challenge: `Bearer error="invalid_token", error_description="The token cannot be revoked: ${rule}"`,
  body: {
    statusCode: 401, code: 'FST_JWT_NOT_REVOCABLE', error: 'Unauthorized', message: `Token cannot be revoked and is therefore not accepted: ${rule}`
  }
})

const revoke = (app: FastifyInstance, token: string, path: string) =>
  app.inject({ method: 'DELETE', url: `${HISTORY}/${path}`, headers: bearer(token) })

const statusOf = async (app: FastifyInstance, token: string, url = '/me') =>
  (await app.inject({ url, headers: bearer(token) })).statusCode

/** A token whose header and payload are these texts, byte for byte. */
function handmade (payload: string, { header = '{"alg":"HS256"}', secret = SECRET as string | Buffer } = {}): string {
  const input = [header, payload].map((part) => Buffer.from(part).toString('base64url')).join('.')
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** How often Redis ran each command, but for those that ask it so. */
async function commandsOf (server: RedisServer): Promise<string[]> {
  const stats = await server.cli('INFO', 'commandstats')
  return [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].filter(([, name]) => !/^(info|hello|scan|client)/.test(name!)).map(([, name, calls]) => `${name} ${calls}`).sort()
}

const pems = ({ publicKey, privateKey }: { publicKey: KeyObject, privateKey: KeyObject }) => ({
  public: String(publicKey.export({ type: 'spki', format: 'pem' })),
  private: String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
})

const KEYS = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519')
}

type Algorithm = keyof typeof KEYS

const signedWith = (alg: Algorithm, claims: Record<string, unknown>) =>
  new SignJWT(claims).setProtectedHeader({ alg }).sign(KEYS[alg].privateKey)

const jwtFor = (alg: Algorithm): Partial<FastifyJWTOptions> =>
  ({ secret: pems(KEYS[alg]), sign: { algorithm: alg, expiresIn: '15m' }, verify: { algorithms: [alg] } })

/** The other tokens of the same bytes: the bits that the last character of a signature has too many, flipped. */
function respellings (token: string, unusedBits: number): string[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(token.at(-1)!)
  return Array.from({ length: 2 ** unusedBits - 1 }, (_, i) => token.slice(0, -1) + alphabet[last ^ (i + 1)])
}

for (const [store, options] of Object.entries(STORES)) {
  for (const alg of ['HS256', 'RS256', 'ES256', 'EdDSA'] as const) {
    t.test(`P1 another spelling of a revoked ${alg} token is refused, on the store ${store}`, async (t) => {
      const app = await buildApp(t, { revocation: options(), jwt: alg === 'HS256' ? {} : jwtFor(alg) })
      const claims = { jti: 'respelled', sub: 'alice', iat: inSeconds(0), exp: inSeconds(60) }
      const token = alg === 'HS256' ? await signed(claims) : await signedWith(alg, claims)
      const others = respellings(token, alg === 'HS256' ? 2 : 4)
      for (const other of others) {
        t.not(other, token)
        t.equal(await statusOf(app, other), 200, '@fastify/jwt takes it for the same')
      }
      t.equal((await revoke(app, others[0]!, 'respelled')).statusCode, 200)
      for (const one of [token, ...others]) {
        for (const url of ['/me', '/public']) t.strictSame(answerOf(await app.inject({ url, headers: bearer(one) })), REVOKED)
      }
    })
  }

  t.test(`P1 the other signature that an ECDSA signature gives away is refused, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options(), jwt: jwtFor('ES256') })
    const token = await signedWith('ES256', { jti: 'malleable', sub: 'alice', iat: inSeconds(0), exp: inSeconds(60) })
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const signature = Buffer.from(token.split('.')[2]!, 'base64url')
    const s = BigInt(`0x${signature.toString('hex', 32)}`)
    const negated = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex')
    const other = [...token.split('.').slice(0, 2), Buffer.concat([signature.subarray(0, 32), negated]).toString('base64url')].join('.')
    t.equal(await statusOf(app, other), 200, '@fastify/jwt accepts it')
    t.equal((await revoke(app, token, 'malleable')).statusCode, 200)
    for (const one of [token, other]) t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(one) })), REVOKED)
  })

  t.test(`P1 of a good and a revoked token only the one that is verified opens a door, on the store ${store}`, async (t) => {
    for (const enforce of ['presented', 'verified'] as const) {
      const app = await buildApp(t, {
        revocation: { ...options(), enforce },
        jwt: { cookie: { cookieName: 'token', signed: false } },
        before: (app) => app.register(cookie),
        after (app) {
          app.get('/cookie-only', { onRequest: async (request) => { await request.jwtVerify({ onlyCookie: true }) } }, async (request) => ({ user: request.user }))
        }
      })
      const { jti, token: good } = await genuine()
      const bad = await revoked(app, { sub: 'mallory' })
      const ask = async (url: string, header: string, cookie: string) =>
        answerOf(await app.inject({ url, headers: { ...bearer(header), cookie: `token=${cookie}` } }))
      const passed = { statusCode: 200, body: { user: { jti } } }

      t.strictSame(await ask('/cookie-only', good, bad), REVOKED, `${enforce}: the good header is not what is verified`)
      t.match(await ask('/me', good, bad), passed)
      t.strictSame(await ask('/me', bad, good), REVOKED, `${enforce}: the good cookie is not what is verified`)
      const presentedBeside = await ask('/cookie-only', bad, good)
      if (enforce === 'presented') t.strictSame(presentedBeside, REVOKED, 'a revoked token is presented')
      else t.match(presentedBeside, passed)
    }
  })

  t.test(`P6 a revoked token can neither revoke others nor itself again, on the store ${store}`, async (t) => {
    for (const enforce of ['presented', 'verified'] as const) {
      const app = await buildApp(t, { revocation: { ...options(), enforce, authorize: () => true } })
      const issued = await app.revocation.issue({ sub: 'alice' })
      const other = await app.revocation.issue({ sub: 'alice' })
      t.equal((await revoke(app, issued.token, issued.jti)).statusCode, 200)
      for (const path of [issued.jti, `id/${issued.id}`, other.jti, `id/${other.id}`, 'unknown', 'id/unknown', '', 'id/']) {
        t.strictSame(answerOf(await revoke(app, issued.token, path)), REVOKED, path)
      }
      t.equal(await statusOf(app, other.token), 200)
    }
  })

  t.test(`P6 what is somebody else's looks like what nobody has, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    const { token: mallory } = await app.revocation.issue({ sub: 'mallory', iss: 'a' })
    const live = await app.revocation.issue({ sub: 'alice', iss: 'a' })
    const gone = await app.revocation.issue({ sub: 'alice', iss: 'a' })
    const elsewhere = await app.revocation.issue({ sub: 'mallory', iss: 'b' })
    await app.revocation.revokeById(gone.id)
    await app.revocation.revoke({ jti: 'unrecorded', iss: 'a' })

    const answers = []
    const paths = [
      'unknown', `id/${crypto.randomUUID()}`, 'unknown?iss=b', 'unknown?iss=',
      live.jti, `id/${live.id}`, gone.jti, `id/${gone.id}`, 'unrecorded', `${live.jti}?iss=a`, `${live.jti}?iss=`,
      `${elsewhere.jti}?iss=b`, `id/${elsewhere.id}`, elsewhere.jti, `id/${live.jti}`, live.id, 'id'
    ]
    for (const path of paths) answers.push(bytesOf(await revoke(app, mallory, path)))
    t.equal(answers[0], bytesOf(await revoke(app, mallory, 'another-unknown')))
    for (const [i, answer] of answers.entries()) t.equal(answer, answers[0], paths[i]!)
    t.strictSame(answerOf(await revoke(app, mallory, live.jti)), FORBIDDEN)
    for (const { token } of [live, elsewhere]) t.equal(await statusOf(app, token), 200)
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(gone.token) })), REVOKED)
  })

  t.test(`P6 tokens with an empty subject, or none, do not share one, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    for (const claims of [{ sub: '' }, {}, { sub: '', iss: '' }, { sub: '', iss: 'a' }]) {
      const one = await app.revocation.issue(claims)
      const other = await app.revocation.issue(claims)
      for (const path of [other.jti, `id/${other.id}`]) t.strictSame(answerOf(await revoke(app, one.token, path)), FORBIDDEN)
      t.equal(await statusOf(app, other.token), 200)
      t.equal((await revoke(app, one.token, `id/${one.id}`)).statusCode, 200, 'but each may revoke itself')
    }
  })

  t.test(`P6 the same jti of two issuers is two identities, on the store ${store}`, async (t) => {
    const asked: unknown[] = []
    let lets = false
    const app = await buildApp(t, {
      revocation: { ...options(), authorize: (_request, target) => asked.push(target) > 0 && lets }
    })
    const claims = { jti: 'shared', sub: 'alice', exp: inSeconds(60) }
    const [a, b, empty, none] = await Promise.all([
      signed({ ...claims, iss: 'a' }), signed({ ...claims, iss: 'https://b.example/?x=1&y#z' }), signed({ ...claims, iss: '' }), signed(claims)
    ])
    const issB = encodeURIComponent('https://b.example/?x=1&y#z')
    const accepted = async () => Promise.all([a, b, empty, none].map(async (token) => await statusOf(app, token!) === 200))

    t.strictSame(answerOf(await revoke(app, a!, `shared?iss=${issB}`)), FORBIDDEN)
    t.strictSame(answerOf(await revoke(app, a!, 'shared?iss=')), FORBIDDEN)
    t.strictSame(answerOf(await revoke(app, none!, 'shared?iss=a')), FORBIDDEN)
    t.strictSame(asked, [{ action: 'revoke', jti: 'shared', iss: 'https://b.example/?x=1&y#z' }, { action: 'revoke', jti: 'shared' }, { action: 'revoke', jti: 'shared', iss: 'a' }])
    t.strictSame(await accepted(), [true, true, true, true])

    const own = await revoke(app, a!, 'shared')
    t.equal(own.json().iss, 'a')
    t.strictSame(await accepted(), [false, true, true, true], 'the default is the issuer of the caller')
    t.notOk('iss' in (await revoke(app, empty!, 'shared?iss=')).json())
    t.strictSame(await accepted(), [false, true, false, false], 'an empty issuer is none')
    t.equal(asked.length, 3, 'of their own nobody is asked')

    lets = true
    const other = await signed({ jti: 'the authorized one', iss: 'c', exp: inSeconds(60) })
    t.strictSame((await revoke(app, other, `shared?iss=${issB}`)).json().iss, 'https://b.example/?x=1&y#z')
    t.strictSame(await accepted(), [false, false, false, false])
    t.equal(await statusOf(app, other), 200)
  })

  t.test(`P6 no two pairs of issuer and jti share an identity, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    const pairs = [
      { jti: 'a/b' }, { iss: 'a', jti: 'b' }, { jti: 'a%2Fb' }, { iss: 'a/b', jti: 'c' }, { iss: 'a', jti: 'b/c' }, { jti: 'a/b/c' },
      { iss: 'a%2Fb', jti: 'c' }, { jti: '\u00e9' }, { jti: 'e\u0301' }, { jti: 'A' }, { jti: 'a' }, { jti: ' a' }, { jti: 'a ' }, { jti: 'a\0' },
      { iss: 'a:b', jti: 'c' }, { iss: 'a', jti: 'b:c' }, { jti: '{a}' }, { jti: '*' }, { jti: '?' }
    ]
    const tokens = await Promise.all(pairs.map((pair) => signed({ ...pair, exp: inSeconds(60) })))
    for (const [i, pair] of pairs.entries()) {
      t.equal(await statusOf(app, tokens[i]!), 200, JSON.stringify(pair))
      await app.revocation.revoke(pair)
      t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(tokens[i]!) })), REVOKED)
    }
  })

  t.test(`P1 a jti of any characters is revoked through its path, over a socket, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    const port = await listen(app)
    const jtis = [
      'a/b', '/', '//', ':', ':jti', '%', '%2F', '%252F', '%00', '%zz', '..', '.', '../..', '...', '__proto__', 'constructor', 'prototype', 'toString',
      'id', 'id/', 'id/x', '/id', 'sub', 'sub/alice', 'log', '?', '?iss=a', '#', '#a', ';', 'a;b', '&', '=', '+', ' ', ' a b ', '\n', '\r\n', '\t', '\0', '\\', '"', "'", '`',
      '$', '@', '!', '*', '(', ')', '~', ',', '[', ']', '{', '}', '|', '^', '<', '>', '-', '_', '0', 'null', 'undefined', 'NaN', 'true',
      '\u00e9', 'e\u0301', 'ß', '中文', '😀', '👨‍👩‍👧', '\u202e', '\ufeff', '\uffff', 'x'.repeat(255), '😀'.repeat(127), `x${'😀'.repeat(127)}`, '/'.repeat(255), 'é'.repeat(255)
    ]
    t.equal(new Set(jtis).size, jtis.length)
    const tokens = new Map(await Promise.all(jtis.map(async (jti) => [jti, await signed({ jti, exp: inSeconds(900) })] as const)))
    const left = [...jtis]
    for (const [jti, token] of tokens) {
      const label = JSON.stringify(jti.slice(0, 20))
      const path = `${HISTORY}/${encodeURIComponent(jti)}`
      const { statusCode, body } = await rawRequest(port, { method: 'DELETE', path, headers: bearer(token) })
      t.strictSame({ statusCode, jti: body.jti, status: body.status }, { statusCode: 200, jti, status: 'revoked' }, label)
      t.strictSame(await rawRequest(port, { path: '/me', headers: bearer(token) }), REVOKED, label)
      t.strictSame(await rawRequest(port, { method: 'DELETE', path, headers: bearer(token) }), REVOKED, label)
      left.shift()
      if (left.length > 0) t.equal((await rawRequest(port, { path: '/me', headers: bearer(tokens.get(left[0]!)!) })).statusCode, 200, 'the next is still accepted')
    }
  })

  t.test(`P1 what JSON allows in a token's claims deceives nobody, on the store ${store}`, async (t) => {
    const app = await buildApp(t, { revocation: options() })
    await app.revocation.revoke({ jti: 'bad' })
    const now = inSeconds(0)
    const exp = now + 60
    const ask = async (payload: string) => answerOf(await app.inject({ url: '/me', headers: bearer(handmade(payload)) }))
    const noJti = notRevocable(BROKEN.noJti)
    const tooFar = notRevocable(BROKEN.tooFar)

    t.equal((await ask(`{"jti":"good","exp":${exp},"iat":${now}}`)).statusCode, 200, 'a handmade token is genuine')
    t.strictSame(await ask(`{"jti":"good","jti":"bad","exp":${exp},"iat":${now}}`), REVOKED)
    t.strictSame(await ask(`{"jti":"good","\\u006ati":"\\u0062ad","exp":${exp},"iat":${now}}`), REVOKED)
    t.equal((await ask(`{"jti":"bad","jti":"good","exp":${exp},"iat":${now}}`)).statusCode, 200)
    t.strictSame(await ask(`{"jti":"bad","__proto__":{"jti":"good"},"exp":${exp},"iat":${now}}`), REVOKED)
    t.strictSame(await ask(`{"__proto__":{"jti":"good"},"exp":${exp},"iat":${now}}`), noJti)
    t.strictSame(await ask(`{"JTI":"good","exp":${exp},"iat":${now}}`), noJti)
    t.strictSame(await ask(` {\n"jti" : "bad" , "exp" : ${exp}, "iat" : ${now} } `), REVOKED)
    for (const far of ['1e999', '1e300', '9007199254740993', '8.64e15', String(exp * 1000)]) t.strictSame(await ask(`{"jti":"good","exp":${far},"iat":${now}}`), tooFar, far)
    for (const past of ['0', '-1', '1e-300']) {
      t.match(await ask(`{"jti":"good","exp":${past},"iat":${now}}`), { statusCode: 401, body: { code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' } }, past)
    }
    for (const iat of ['-1e308', '0', '1']) {
      t.strictSame(await ask(`{"jti":"good","exp":${exp},"iat":${iat}}`), notRevocable(BROKEN.tooLong), iat)
    }
    for (const iat of ['1e999', '"x"', 'null', '{}']) t.strictSame(await ask(`{"jti":"good","exp":${exp},"iat":${iat}}`), notRevocable(BROKEN.noIat), iat)
    for (const iat of ['1e300', '8.64e15', String(now * 1000), String(now + 70)]) t.strictSame(await ask(`{"jti":"good","exp":${exp},"iat":${iat}}`), notRevocable(BROKEN.ahead), iat)
    t.equal((await ask(`{"jti":"good","exp":${exp},"iat":${now + 50}}`)).statusCode, 200, 'a clock a little ahead')
    t.strictSame(await ask(`{"jti":"good","exp":${exp},"iat":-1e999}`), notRevocable(BROKEN.noIat))
    t.strictSame(await ask('{"jti":"good"}'), notRevocable(BROKEN.noExp))
  })
}

t.test('P6 asking for what is somebody else\'s costs Redis as much as asking for what nobody has', async (t) => {
  const app = await buildApp(t, { revocation: STORES.redis!() })
  const { token: mallory } = await app.revocation.issue({ sub: 'mallory' })
  const { jti, id } = await app.revocation.issue({ sub: 'alice' })
  const costs = async (path: string) => {
    await redis.cli('CONFIG', 'RESETSTAT')
    t.strictSame(answerOf(await revoke(app, mallory, path)), FORBIDDEN)
    return commandsOf(redis)
  }
  t.strictSame(await costs(jti), await costs('unknown'))
  t.strictSame(await costs(`id/${id}`), await costs(`id/${randomUUID()}`))
})

t.test('P5 a token that could not be revoked is accepted by no route that verifies it, and Redis is asked whether it is revoked all the same', async (t) => {
  const keyPrefix = ownPrefix()
  const server = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: server.url, keyPrefix, authorize: () => true } })
  await app.revocation.revoke({ jti: 'bystander' })
  const keys = await server.keys('*')
  const good = { jti: 'good', sub: 'alice', iss: 'a', exp: inSeconds(60) }
  const refused = async (claims: Record<string, unknown>, rule: string, label: string) => {
    const headers = bearer(await signed({ ...good, ...claims }))
    for (const request of [{ url: '/me' }, { method: 'DELETE', url: `${HISTORY}/good` }, { method: 'DELETE', url: `${HISTORY}/id/x` }] as const) {
      t.strictSame(answerOf(await app.inject({ ...request, headers })), notRevocable(rule), label)
    }
    t.strictSame(answerOf(await app.inject({ url: '/public', headers })), { statusCode: 200, body: { user: null } }, `${label}, left to a route that does not ask`)
    t.equal((await app.inject({ url: '/nowhere', headers })).statusCode, 404, label)
  }

  await server.cli('CONFIG', 'RESETSTAT')
  const jtis: unknown[] = [
    undefined, null, 1, 0, true, { a: 1 }, { toString: 'good' }, ['good'], [], '',
    'x'.repeat(256), '😀'.repeat(128), 'x'.repeat(2 ** 20), '\ud800', 'a\udc00b', 'good\ud800'
  ]
  for (const jti of jtis) await refused({ jti }, (jti ?? undefined) === undefined ? BROKEN.noJti : BROKEN.jti, `jti: ${JSON.stringify(jti)?.slice(0, 20)}`)
  for (const claim of ['iss', 'sub'] as const) {
    // @fastify/jwt was not told whom it should allow, so it does not look at them.
    for (const name of [null, 1.5, 2 ** 53, false, {}, ['alice'], 'x'.repeat(1025), '\ud800', 'a\udc00b']) {
      await refused({ [claim]: name }, BROKEN[claim], `${claim}: ${JSON.stringify(name).slice(0, 20)}`)
    }
  }
  await refused({ exp: undefined }, BROKEN.noExp, 'no exp')
  await refused({ exp: inSeconds(31 * 24 * 3600) }, BROKEN.tooFar, 'far exp')
  for (const iat of [undefined, null, '1', {}]) await refused({ iat }, BROKEN.noIat, `iat: ${iat}`)
  await refused({ iat: inSeconds(70) }, BROKEN.ahead, 'iat ahead')
  t.strictSame((await commandsOf(server)).map((command) => command.replace(/ \d+$/, '')), ['config|resetstat', 'mget'])
  t.strictSame(await server.keys('*'), keys)

  for (const claims of [{ jti: 'x'.repeat(255) }, { iss: 'x'.repeat(1024) }, { sub: 'x'.repeat(1024) }, { iss: '', sub: '' }]) {
    t.equal(await statusOf(app, await signed({ ...good, ...claims })), 200, 'the longest are accepted')
  }
})

t.test('P1 a token that does not verify is left to the route, and Redis does not hear of it', async (t) => {
  const server = await startRedis(t)
  const exp = inSeconds(60)
  const jwt = jwtFor('RS256')
  const app = await buildApp(t, { jwt, revocation: { redis: server.url } })
  const stock = Fastify()
  t.teardown(() => stock.close())
  await stock.register(fastifyJwt, jwt as FastifyJWTOptions)
  stock.get('/me', async (request) => request.jwtVerify())

  const good = await signedWith('RS256', { jti: 'good', iat: inSeconds(0), exp })
  await app.revocation.revoke({ jti: 'revoked', exp })
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const encoded = (json: object) => Buffer.from(JSON.stringify(json)).toString('base64url')
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const tokens = {
    expired: await signedWith('RS256', { jti: 'revoked', exp: inSeconds(-60) }),
    'not yet valid': await signedWith('RS256', { jti: 'revoked', exp, nbf: inSeconds(30) }),
    'of another key': await new SignJWT({ jti: 'revoked', exp }).setProtectedHeader({ alg: 'RS256' }).sign(other),
    'of another key, and not revocable': await new SignJWT({ exp }).setProtectedHeader({ alg: 'RS256' }).sign(other),
    'alg none': `${encoded({ alg: 'none' })}.${encoded({ jti: 'revoked', exp })}.`,
    'alg none with a signature': `${encoded({ alg: 'none' })}.${encoded({ jti: 'revoked', exp })}.${signature}`,
    'alg nOnE': `${encoded({ alg: 'nOnE' })}.${encoded({ jti: 'revoked', exp })}.`,
    'the public key as the secret': handmade(JSON.stringify({ jti: 'revoked', exp }), { secret: (jwt.secret as { public: string }).public }),
    'the public key as the secret, in DER': handmade(JSON.stringify({ jti: 'revoked', exp }), { secret: KEYS.RS256.publicKey.export({ type: 'spki', format: 'der' }) }),
    'other claims under a good signature': `${header}.${encoded({ jti: 'revoked', exp })}.${signature}`,
    'another header': `${encoded({ alg: 'RS256', kid: 'x' })}.${payload}.${signature}`,
    'no signature': `${header}.${payload}.`,
    'two parts': `${header}.${payload}`,
    'four parts': `${good}.x`,
    'one part': 'nonsense',
    dots: '..',
    padding: `${good}=`,
    'base64 instead of base64url': `${header}.${payload}.${signature.replaceAll('_', '/').replaceAll('-', '+')}+/`,
    'a payload that is no JSON': handmade('nonsense'),
    'a payload that is null': handmade('null'),
    'a payload that is an array': handmade('["jti"]'),
    'a payload that is no UTF-8': `${header}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${signature}`,
    'a header that is no object': handmade('{}', { header: '"RS256"' }),
    long: 'x'.repeat(2 ** 20)
  }
  await server.cli('CONFIG', 'RESETSTAT')
  for (const [label, token] of Object.entries(tokens)) {
    const headers = bearer(token)
    t.strictSame(answerOf(await app.inject({ url: '/public', headers })), { statusCode: 200, body: { user: null } }, `${label}, public`)
    const expected = answerOf(await stock.inject({ url: '/me', headers }))
    t.ok(expected.statusCode >= 400, label)
    t.strictSame(answerOf(await app.inject({ url: '/me', headers })), expected, label)
    for (const path of ['revoked', 'id/x']) t.equal((await revoke(app, token, path)).statusCode, expected.statusCode, `${label}, revoking`)
  }
  for (const label of ['expired', 'of another key', 'alg none', 'no signature', 'two parts'] as const) {
    t.equal((await app.inject({ url: '/me', headers: bearer(tokens[label]) })).statusCode, 401, label)
  }
  t.strictSame(await commandsOf(server), ['config|resetstat 1'])
  t.equal(await statusOf(app, good), 200)
})

t.test('P6 authorize lets by nothing but true', async (t) => {
  const answers: Record<string, () => unknown> = {
    "'false'": () => 'false',
    "'true'": () => 'true',
    1: () => 1,
    '{}': () => ({}),
    '[]': () => [],
    undefined: () => undefined,
    null: () => null,
    false: () => false,
    'new Boolean(true)': () => Object(true),
    'a function': () => () => true,
    "a promise of 'true'": async () => 'true',
    'a promise of 1': async () => 1,
    'a promise of nothing': async () => {}
  }
  for (const [label, answer] of Object.entries(answers)) {
    const app = await buildApp(t, { revocation: { authorize: answer as () => boolean } })
    const target = await app.revocation.issue({ sub: 'alice' })
    const { token } = await genuine({ sub: 'mallory' })
    for (const path of [target.jti, `id/${target.id}`, 'unknown', 'id/unknown']) t.strictSame(answerOf(await revoke(app, token, path)), FORBIDDEN, label)
    t.equal(await statusOf(app, target.token), 200)
  }
})

t.test('P6 what authorize throws is the answer, and nothing is revoked', async (t) => {
  const error = Object.assign(new Error('the directory is away'), { statusCode: 502, code: 'MINE' })
  const bodies = { statusCode: 502, body: { statusCode: 502, code: 'MINE', error: 'Bad Gateway', message: 'the directory is away' } }
  for (const authorize of [() => { throw error }, async () => { throw error }]) {
    const app = await buildApp(t, { revocation: { authorize } })
    const target = await app.revocation.issue({ sub: 'alice' })
    const { token } = await genuine({ sub: 'mallory' })
    for (const path of [target.jti, `id/${target.id}`]) t.strictSame(answerOf(await revoke(app, token, path)), bodies)
    t.equal(await statusOf(app, target.token), 200)
  }
})

t.test('no answer and no header holds what the holder of a token chose', async (t) => {
  const CHOSEN = 'chosen"\\\r\nX-Injected: 1'
  const app = await buildApp(t, {})
  const good = { jti: CHOSEN, sub: CHOSEN, iss: CHOSEN, exp: inSeconds(60), [CHOSEN]: CHOSEN }
  await app.revocation.revoke({ jti: CHOSEN, iss: CHOSEN })
  const tokens = [
    good, { ...good, jti: [CHOSEN] }, { ...good, jti: CHOSEN.repeat(99) }, { ...good, iss: [CHOSEN] }, { ...good, iss: CHOSEN.repeat(99) }, { ...good, sub: { CHOSEN } }, { ...good, exp: undefined },
    { ...good, exp: inSeconds(1e9) }, { ...good, iat: -1e9 }
  ]
  for (const [i, claims] of tokens.entries()) {
    // The others have a name that is revoked.
    const isLeft = i >= 1 && i <= 4
    for (const request of [{ url: '/me' }, { url: '/public' }, { method: 'DELETE', url: `${HISTORY}/x` }, { method: 'DELETE', url: `${HISTORY}/id/x` }] as const) {
      const response = await app.inject({ ...request, headers: bearer(await signed(claims)) })
      t.notMatch(bytesOf(response), /chosen|injected/i)
      if (isLeft && request.url === '/public') {
        t.equal(response.statusCode, 200)
        continue
      }
      t.equal(response.statusCode, 401)
      t.match(response.headers['www-authenticate'], /^Bearer error="invalid_token", error_description="[-A-Za-z0-9:, ]+"$/)
    }
  }
  const { token } = await genuine()
  const encoded = encodeURIComponent(CHOSEN)
  for (const path of [encoded, `id/${encoded}`, `x?iss=${encoded}`, `${encoded}?iss=${encoded}`, `x?iss=${'chosen'.repeat(200)}`]) {
    const response = await revoke(app, token, path)
    t.ok([400, 403].includes(response.statusCode))
    t.notMatch(bytesOf(response), /chosen|injected/i)
  }
})

t.test('P1 a header given twice, a lower-case scheme and cookies in a row change nothing', async (t) => {
  const app = await buildApp(t, {
    revocation: STORES.redis!(),
    jwt: { cookie: { cookieName: 'token', signed: false } },
    before: (app) => app.register(cookie),
    after (app) {
      app.get('/cookie-only', { config: { revocation: false } }, async (request) => request.jwtVerify({ onlyCookie: true }))
    }
  })
  const port = await listen(app)
  const { jti, token: good } = await genuine()
  const bad = await revoked(app, { sub: 'mallory' })
  const ask = (path: string, ...headers: string[]) => rawRequest(port, { path, headers })
  const ofGood = { statusCode: 200, body: { jti } }

  // Node takes the first of several Authorization headers.
  t.strictSame(await ask('/me', 'Authorization', `Bearer ${bad}`, 'Authorization', `Bearer ${good}`), REVOKED)
  t.match(await ask('/me', 'Authorization', `Bearer ${good}`, 'Authorization', `Bearer ${bad}`), { statusCode: 200, body: { user: { jti } } })
  for (const scheme of ['bearer', 'BEARER', 'bEaReR']) {
    t.strictSame(await ask('/me', 'authorization', `${scheme} ${bad}`), REVOKED, scheme)
    t.strictSame(await ask('/public', 'authorization', `${scheme} ${bad}`), REVOKED, scheme)
    t.equal((await ask('/me', 'authorization', `${scheme} ${good}`)).statusCode, 200, scheme)
  }
  for (const value of [`Bearer  ${bad}`, `Bearer\t${bad}`, `Bearer ${bad} x`, `Bearer ${bad}, Bearer ${good}`, `Bearer ${good},${bad}`, `Token ${bad}`, bad, `"Bearer ${bad}"`]) {
    const { statusCode } = await ask('/me', 'authorization', value)
    t.ok(statusCode >= 400 && statusCode < 500, value.replaceAll(bad, 'bad').replaceAll(good, 'good'))
  }

  t.strictSame(await ask('/cookie-only', 'Cookie', `token=${bad}; token=${good}`), REVOKED)
  t.strictSame(await ask('/cookie-only', 'Cookie', `token=${bad}`, 'Cookie', `token=${good}`), REVOKED)
  t.match(await ask('/cookie-only', 'Cookie', `token=${good}; token=${bad}`), ofGood)
  t.match(await ask('/cookie-only', 'Cookie', `token=${good}`, 'Cookie', `token=${bad}`), ofGood)
  t.equal((await ask('/cookie-only', 'Cookie', `token="${bad}"`)).statusCode, 401)
  t.strictSame(await ask('/cookie-only', 'Cookie', `token=${bad.replaceAll('.', '%2E')}`), REVOKED)
  for (const cookies of [[`token=${bad}`, `token=${good}`], [`token=${good}`, `token=${bad}`]]) {
    const response = await app.inject({ url: '/cookie-only', headers: { cookie: cookies as unknown as string } })
    t.ok(response.statusCode !== 200 || response.json().jti === jti)
    const { statusCode } = await app.inject({ url: '/me', cookies: { token: cookies as unknown as string } })
    t.not(statusCode, 200)
  }
})

/** Everything of an answer but for the time. */
function bytesOf (response: LightMyRequestResponse): string {
  const { date, ...headers } = response.headers
  return JSON.stringify({ statusCode: response.statusCode, headers, payload: response.payload })
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

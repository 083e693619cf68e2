import type { FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

/*
 * Applications with @fastify/jwt alone and with option `jwt`, which are asked the same. This file imports no package, so
 * that it can be tried with any version of them.
 */

type Options = Partial<FastifyJWTOptions>
type AnyVerify = (...args: unknown[]) => unknown

export interface Packages {
  fastify: (options?: object) => FastifyInstance
  fastifyJwt: unknown
  cookie: unknown
  revocation: unknown
}

export interface Configuration {
  jwt: Options | Array<Options & { namespace: string }>
  /** Which tokens are of no use here. */
  without?: RegExp
}

const SECRET = 'a secret of the matrix, of more than 32 bytes'
const OTHER_SECRET = 'another secret of the matrix, of more than 32 bytes'
/** An application may throw what is no error. */
const A_STRING: unknown = 'a string'
const COOKIES = { secret: 'the secret of signed cookies' }

const pem = (key: KeyObject, type: 'spki' | 'pkcs8') => String(key.export({ type, format: 'pem' } as never))
const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  EdDSA: generateKeyPairSync('ed25519')
}
const keysOf = ({ publicKey, privateKey }: { publicKey: KeyObject, privateKey: KeyObject }) =>
  ({ public: pem(publicKey, 'spki'), private: pem(privateKey, 'pkcs8') })

const part = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function signatureOf (alg: string, input: string, secret: string): string {
  if (alg.startsWith('HS')) return createHmac(`sha${alg.slice(2)}`, secret).update(input).digest('base64url')
  const { privateKey: key } = pairs[alg as keyof typeof pairs]
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}

const now = () => Math.floor(Date.now() / 1000)
const claimsWith = (claims: object = {}) => ({
  jti: 'j', sub: 'alice', iss: 'us', aud: 'here', nonce: 'n', tenant: 't', iat: now(), exp: now() + 600, ...claims
})

function signed (alg: string, claims: unknown, header: object = {}, secret = SECRET) {
  const input = `${part({ alg, typ: 'JWT', ...header })}.${part(claims)}`
  return `${input}.${signatureOf(alg, input, secret)}`
}

/** What a request may present, good and bad, by what it is. */
function tokensOf (alg: string): Record<string, string> {
  const good = signed(alg, claimsWith())
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const unsigned = part({ alg: 'none' })
  const asSecret = alg.startsWith('HS') ? OTHER_SECRET : keysOf(pairs[alg as keyof typeof pairs]).public
  return {
    good,
    'a good one without optional claims': signed(alg, { jti: 'k', iat: now(), exp: now() + 600 }),
    'names of an object in its claims': signed(alg, `{"__proto__":{"jti":"p"},"constructor":1,"hasOwnProperty":2,"jti":"q","iat":${now()},"exp":${now() + 600}}`),
    'a claim named payload': signed(alg, claimsWith({ payload: { jti: 'other' }, header: 1, signature: 2 })),
    'text of several bytes': signed(alg, claimsWith({ sub: 'Ünïcødé 🙂' })),
    expired: signed(alg, claimsWith({ iat: now() - 900, exp: now() - 300 })),
    'just expired': signed(alg, claimsWith({ iat: now() - 900, exp: now() - 1 })),
    'not yet valid': signed(alg, claimsWith({ nbf: now() + 300 })),
    'issued long ago': signed(alg, claimsWith({ iat: now() - 9000 })),
    'of another issuer': signed(alg, claimsWith({ iss: 'them' })),
    'for another audience': signed(alg, claimsWith({ aud: ['there', 'elsewhere'] })),
    'for several audiences': signed(alg, claimsWith({ aud: ['there', 'here'] })),
    'of another subject': signed(alg, claimsWith({ sub: 'mallory' })),
    'of another nonce and jti': signed(alg, claimsWith({ nonce: 'm', jti: 'i' })),
    'exp is a string': signed(alg, claimsWith({ exp: 'soon' })),
    'nbf is a string': signed(alg, claimsWith({ nbf: 'soon' })),
    'aud is a number': signed(alg, claimsWith({ aud: 5 })),
    'another typ': signed(alg, claimsWith(), { typ: 'at+jwt' }),
    'no typ': signed(alg, claimsWith(), { typ: undefined }),
    'a crit header': signed(alg, claimsWith(), { crit: ['x'], x: 1 }),
    'a crit header that is none': signed(alg, claimsWith(), { crit: [] }),
    'by another secret, HS256': signed('HS256', claimsWith(), {}, OTHER_SECRET),
    'by the public key as a secret': signed('HS256', claimsWith(), {}, asSecret),
    'of an unknown algorithm': [part({ alg: 'HS1024' }), payload, signature].join('.'),
    'of no algorithm': [part({}), payload, signature].join('.'),
    'of another token': [header, part(claimsWith({ sub: 'root' })), signature].join('.'),
    'no signature': [header, payload, ''].join('.'),
    unsigned: [unsigned, payload, ''].join('.'),
    'unsigned, with a signature': [unsigned, payload, signature].join('.'),
    'a signature of other characters': [header, payload, `${signature.slice(0, -2)}+/`].join('.'),
    'a cut signature': good.slice(0, -5),
    'four parts': `${good}.${signature}`,
    'two parts': [header, payload].join('.'),
    'a word': 'nonsense',
    dots: '..',
    'not base64url': ['%', '%', '%'].join('.'),
    'a header that is an array': signed(alg, claimsWith()).replace(header, part([])),
    'a payload that is no JSON': signed(alg, 'nonsense'),
    'a payload that is an array': signed(alg, []),
    'a payload that is null': signed(alg, 'null'),
    'an empty payload': [header, '', signature].join('.')
  }
}

/** How a token is presented. */
const CARRIERS: Record<string, (token: string, app: FastifyInstance) => Record<string, string>> = {
  Bearer: (token) => ({ authorization: `Bearer ${token}` }),
  'a cookie': (token) => ({ cookie: `token=${token}` }),
  'a signed cookie': (token, app) => ({ cookie: `token=${encodeURIComponent((app as unknown as { signCookie: (value: string) => string }).signCookie(token))}` }),
  'a header of its own': (token) => ({ 'x-token': token })
}

/** Odd forms of headers, with a token that is good. */
const ODD: Record<string, (token: string) => Record<string, string>> = {
  nothing: () => ({}),
  'an empty header': () => ({ authorization: '' }),
  'no token after Bearer': () => ({ authorization: 'Bearer' }),
  'a space after Bearer': () => ({ authorization: 'Bearer ' }),
  'two spaces after Bearer': (token) => ({ authorization: `Bearer  ${token}` }),
  'a space at the end': (token) => ({ authorization: `Bearer ${token} ` }),
  'a space before it': (token) => ({ authorization: ` Bearer ${token}` }),
  'a tab': (token) => ({ authorization: `Bearer\t${token}` }),
  'a tab in it': (token) => ({ authorization: `Bearer ${token}\t` }),
  'a no-break space': (token) => ({ authorization: `Bearer\u00a0${token}` }),
  'small letters': (token) => ({ authorization: `bearer ${token}` }),
  'big letters': (token) => ({ authorization: `BEARER ${token}` }),
  'two tokens': (token) => ({ authorization: `Bearer ${token} ${token}` }),
  'another scheme': (token) => ({ authorization: `Basic ${token}` }),
  'no space': (token) => ({ authorization: `Bearer${token}` }),
  'a header and a cookie': (token) => ({ authorization: `Bearer ${token}`, cookie: 'token=nonsense' }),
  'a bad header and a good cookie': (token) => ({ authorization: 'Bearer nonsense', cookie: `token=${token}` }),
  'an empty cookie': () => ({ cookie: 'token=' })
}

/** Options that change more than where the token is take the long way, and have tests of their own. */
const CALLS: Array<unknown[]> = [[], [null], [{ onlyCookie: true }]]

const custom = {
  badRequestErrorMessage: 'custom: bad request',
  noAuthorizationInHeaderMessage: 'custom: none',
  authorizationTokenExpiredMessage: 'custom: expired, 100% of it',
  authorizationTokenUnsigned: 'custom: unsigned'
}
const cookie = { cookieName: 'token', signed: false }
const invalid = (authorizationTokenInvalid: unknown) => ({ messages: { ...custom, authorizationTokenInvalid } }) as Options

/** By what is special of them. */
export const CONFIGURATIONS: Record<string, Configuration> = {
  HS256: { jwt: {} },
  HS512: { jwt: { sign: { algorithm: 'HS512' } } },
  RS256: { jwt: { secret: keysOf(pairs.RS256), sign: { algorithm: 'RS256' } } },
  ES256: { jwt: { secret: keysOf(pairs.ES256), sign: { algorithm: 'ES256' } } },
  ES384: { jwt: { secret: keysOf(pairs.ES384), sign: { algorithm: 'ES384' } } },
  EdDSA: { jwt: { secret: keysOf(pairs.EdDSA), sign: { algorithm: 'EdDSA' } } },
  'a public key alone': { jwt: { secret: { public: keysOf(pairs.ES256).public } } },
  'a secret in a Buffer': { jwt: { secret: Buffer.from(SECRET) } },
  algorithms: { jwt: { verify: { algorithms: ['HS384', 'HS512'] } } },
  'an algorithm "none" beside another': { jwt: { verify: { algorithms: ['none', 'HS256'] as never } } },
  'verify.key': { jwt: { secret: OTHER_SECRET, verify: { key: SECRET } } },
  allowedIss: { jwt: { verify: { allowedIss: 'us' } } },
  'allowedIss, a RegExp': { jwt: { verify: { allowedIss: [/^us$/, 'me'] } } },
  allowedAud: { jwt: { verify: { allowedAud: ['here'] } } },
  allowedSub: { jwt: { verify: { allowedSub: 'alice' } } },
  'allowedSub that throws': { jwt: { verify: { allowedSub: { test () { throw Object.assign(new Error('a matcher'), { code: 'FAST_JWT_EXPIRED' }) } } as never } } },
  'allowedSub that throws that something is malformed': { jwt: { verify: { allowedSub: { test () { throw Object.assign(new Error('a matcher'), { code: 'FAST_JWT_MALFORMED' }) } } as never } } },
  'allowedSub that throws no code': { jwt: { verify: { allowedSub: { test () { throw new Error('a matcher') } } as never } } },
  'allowedSub that throws a string': { jwt: { verify: { allowedSub: { test () { throw A_STRING } } as never } } },
  allowedJti: { jwt: { verify: { allowedJti: /^j/ } } },
  allowedNonce: { jwt: { verify: { allowedNonce: 'n' } } },
  requiredClaims: { jwt: { verify: { requiredClaims: ['tenant', 'nonce'] } } },
  maxAge: { jwt: { verify: { maxAge: '1h' } } },
  clockTolerance: { jwt: { verify: { clockTolerance: 5000 } } },
  // Which a check does not see: to the plugin they have expired.
  clockTimestamp: { jwt: { verify: { clockTimestamp: Date.now() } }, without: /just expired/ },
  ignoreExpiration: { jwt: { verify: { ignoreExpiration: true } }, without: /expired|exp is/ },
  ignoreNotBefore: { jwt: { verify: { ignoreNotBefore: true } } },
  checkTyp: { jwt: { verify: { checkTyp: 'at+jwt' } } },
  allowedCritHeaders: { jwt: { verify: { allowedCritHeaders: ['x'] } } },
  complete: { jwt: { verify: { complete: true } } },
  cache: { jwt: { verify: { cache: true } } },
  'a cache of one': { jwt: { verify: { cache: 1 } } },
  'a cache of errors': { jwt: { verify: { cache: true, errorCacheTTL: 60_000 } } },
  'a cache of whole tokens': { jwt: { verify: { cache: true, complete: true } } },
  'a cache and a cacheKeyBuilder': { jwt: { verify: { cache: true, cacheKeyBuilder: (token: string) => `of ${token}` } } },
  cookie: { jwt: { cookie } },
  'a signed cookie': { jwt: { cookie: { ...cookie, signed: true } } },
  onlyCookie: { jwt: { cookie, verify: { onlyCookie: true } } },
  'onlyCookie without a cookie': { jwt: { verify: { onlyCookie: true } } },
  extractToken: { jwt: { verify: { extractToken: (request) => request.headers['x-token'] as string } } },
  'extractToken, of a Buffer': { jwt: { verify: { extractToken: ((request: FastifyRequest) => Buffer.from(String(request.headers['x-token']))) as never } } },
  'extractToken, of a number': { jwt: { verify: { extractToken: (() => 5) as never } } },
  'extractToken, of a promise': { jwt: { verify: { extractToken: (async () => 'a') as never } } },
  'extractToken that throws': { jwt: { verify: { extractToken: () => { throw new Error('an extractor') } } } },
  'extractToken, with a cache': { jwt: { verify: { cache: true, extractToken: (request) => request.headers['x-token'] as string } } },
  formatUser: { jwt: { formatUser: (payload) => ({ name: (payload as { sub: string }).sub }) as never } },
  'formatUser and complete': { jwt: { verify: { complete: true }, formatUser: (token) => Object.keys(token) as never } },
  'formatUser and a cache': { jwt: { verify: { cache: true }, formatUser: (payload) => ({ user: payload }) as never } },
  'formatUser, of nothing': { jwt: { formatUser: () => undefined as never } },
  'formatUser, async': { jwt: { formatUser: (async () => 'a user') as never } },
  'formatUser that throws': { jwt: { formatUser: () => { throw new Error('a user') } } },
  'formatUser that throws a code': { jwt: { formatUser: () => { throw Object.assign(new Error('a user'), { code: 'FAST_JWT_INVALID_SIGNATURE' }) } } },
  decoratorName: { jwt: { decoratorName: 'account' } },
  'messages of its own': { jwt: invalid(({ message }: Error) => `custom: invalid, ${message}`) },
  'a message that ignores the error': { jwt: invalid(() => 'custom: invalid') },
  'a message that is a string': { jwt: invalid('custom: invalid') },
  'a message with a placeholder': { jwt: invalid('custom: invalid %s %d 100%') },
  'decode.checkTyp': { jwt: { decode: { checkTyp: 'JWT' } } },
  'decode.complete': { jwt: { decode: { complete: true } } },
  'trusted, true': { jwt: { trusted: () => true } },
  'trusted, false': { jwt: { trusted: () => false } },
  'trusted, async': { jwt: { trusted: async (_request, { sub }) => sub === 'alice' } },
  'a secret of the request': { jwt: { secret: (_request: unknown, _token: unknown, done: (error: null, secret: string) => void) => done(null, SECRET) } },
  'an async secret': { jwt: { secret: async () => SECRET } },
  'an async public key': { jwt: { secret: { private: SECRET, public: async () => SECRET } } },
  'an async verify.key': { jwt: { verify: { key: (async () => SECRET) as never } } },
  'a namespace': { jwt: { namespace: 'a' } },
  'names of its own in a namespace': { jwt: { namespace: 'a', jwtVerify: 'check', jwtSign: 'give', jwtDecode: 'read' } },
  'two namespaces': { jwt: [{ namespace: 'a' }, { namespace: 'b', secret: OTHER_SECRET, decoratorName: 'account', verify: { allowedIss: 'us' } }] }
}

const optionsOf = ({ jwt }: Configuration) => (Array.isArray(jwt) ? jwt : [jwt]).map((options) => ({ secret: SECRET, ...options }))
const verifyNameOf = ({ namespace, jwtVerify }: Options) => namespace ? jwtVerify ?? `${namespace}JwtVerify` : 'jwtVerify'

/** All that a caller sees of an error. */
function seenOf (error: unknown) {
  if (!(error instanceof Error)) return { thrown: String(error) }
  const { name, code, message, statusCode } = error as Error & { code?: string, statusCode?: number }
  return { name, code, message, statusCode, keys: Object.keys(error).sort(), shown: String(error), tag: Object.prototype.toString.call(error) }
}

async function build ({ fastify, fastifyJwt, cookie, revocation }: Packages, configuration: Configuration, isOurs: boolean) {
  const all = optionsOf(configuration)
  const app = fastify()
  await app.register(cookie as never, COOKIES)
  if (isOurs) {
    const jwt = Array.isArray(configuration.jwt) ? all : all[0]
    // All that @fastify/jwt accepts.
    await app.register(revocation as never, { jwt, maxTokenLifetime: 'unbounded', tokensWithoutJti: 'accept', routes: false } as never)
  } else {
    for (const options of all) await app.register(fastifyJwt as never, options as never)
  }
  const user = (request: FastifyRequest) => {
    const { user = 'none', account = 'none' } = request as unknown as Record<string, unknown>
    return { user, account }
  }
  const verifyNames = all.map((options) => verifyNameOf(options))
  const verify = (request: FastifyRequest, name: string) => (request as unknown as Record<string, AnyVerify>)[name]!.bind(request)
  app.get('/me', { onRequest: async (request) => { await verify(request, verifyNames[0]!)() } }, async (request) => user(request))
  app.get('/public', async (request) => user(request))
  app.get('/calls', async (request) => {
    const seen: unknown[] = []
    const see = async (call: () => unknown) => {
      for (const key of ['user', 'account']) if (key in request) (request as unknown as Record<string, unknown>)[key] = null
      try {
        const result = await call()
        seen.push({ result: result === undefined ? 'undefined' : result, ...user(request) })
      } catch (error) {
        seen.push({ error: seenOf(error), ...user(request) })
      }
    }
    for (const name of verifyNames) {
      for (const args of CALLS) {
        await see(() => verify(request, name)(...args))
        await see(() => new Promise((resolve, reject) => {
          verify(request, name)(...args, (error: unknown, result: unknown) => error ? reject(error) : resolve([result]))
        }))
      }
    }
    return seen
  })
  await app.ready()
  return app
}

/** What differs between @fastify/jwt alone and option `jwt`, and how many answers were compared. */
export async function differencesOf (packages: Packages, configuration: Configuration, urls = ['/me', '/public', '/calls']) {
  const [first] = optionsOf(configuration)
  const { secret, sign } = first!
  const alg = sign?.algorithm ?? (typeof secret === 'object' && 'public' in secret && !('private' in secret) ? 'ES256' : 'HS256')
  const tokens = tokensOf(alg)
  const apps = await Promise.all([build(packages, configuration, false), build(packages, configuration, true)])
  const differences: string[] = []
  let compared = 0
  const compare = async (label: string, headersFor: (app: FastifyInstance) => Record<string, string>) => {
    for (const url of label.endsWith('again') ? ['/calls'] : urls) {
      const answers = await Promise.all(apps.map(async (app) => {
        const { statusCode, headers: { date, ...headers }, body } = await app.inject({ url, headers: headersFor(app) })
        return JSON.stringify({ statusCode, headers, body })
      }))
      compared++
      if (answers[0] !== answers[1]) differences.push(`${url}, ${label}: ${differenceOf(answers as [string, string])}`)
    }
  }
  // Again, because an answer may be remembered. Without a cache, one that is remembered serves several tokens.
  const isAll = urls.includes('/public') || Boolean(first!.verify?.cache)
  for (const round of isAll ? ['at first', 'again'] : ['at first']) {
    for (const [name, token] of Object.entries(tokens)) {
      if (configuration.without?.test(name)) continue
      for (const carrier of carriersOf(first!)) await compare(`${name}, in ${carrier}, ${round}`, (app) => CARRIERS[carrier]!(token, app))
    }
  }
  for (const [name, headers] of Object.entries(ODD)) await compare(name, () => headers(tokens.good!))
  await Promise.all(apps.map((app) => app.close()))
  return { differences, compared }
}

/** What stands where two answers begin to differ. */
function differenceOf ([theirs, ours]: [string, string]): string {
  const at = [...theirs].findIndex((character, i) => ours[i] !== character)
  const [shownOurs, shownTheirs] = [ours, theirs].map((answer) => answer.slice(Math.max(at - 60, 0), at + 120))
  return `${shownOurs} instead of ${shownTheirs}`
}

function carriersOf ({ cookie, verify }: Options): string[] {
  if (verify?.extractToken !== undefined) return ['a header of its own']
  if (cookie === undefined) return ['Bearer']
  return ['Bearer', cookie.signed ? 'a signed cookie' : 'a cookie']
}

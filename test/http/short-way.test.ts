import cookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import t from 'tap'
import { ShortWay } from '../../lib/http/short-way.ts'
import { revocationPlugin } from '../../lib/index.ts'
import { ownClock } from '../support/app.ts'
import { isThorough } from '../support/runs.ts'
import { CONFIGURATIONS, differencesOf } from '../support/short-way.ts'

/*
 * Goal: with option `jwt` nobody sees that tokens are verified in another way than by `@fastify/jwt` alone.
 * Method: two applications that differ in that alone are asked the same.
 */

/** One of each kind: the others repeat it for another algorithm, claim or message. */
const ONE_OF_EACH = [
  'HS256', 'ES256', 'allowedSub', 'allowedSub that throws', 'a cache of errors', 'a cache of whole tokens',
  'a signed cookie', 'extractToken', 'formatUser and complete', 'messages of its own', 'a message that is a string',
  'trusted, async', 'two namespaces'
]
const configurations = isThorough ? Object.keys(CONFIGURATIONS) : ONE_OF_EACH

const packages = { fastify: Fastify as never, fastifyJwt, cookie, revocation: revocationPlugin }

for (const name of configurations) {
  t.test(`what a caller sees is @fastify/jwt's own, to the byte, with ${name}`, async (t) => {
    // Messages hold the time.
    ownClock(t).hold()
    // test/setups asks public routes as well, of more versions.
    const { differences, compared } = await differencesOf(packages, CONFIGURATIONS[name]!, ['/me', '/calls'])
    t.ok(compared > 100)
    t.strictSame(differences, [])
  })
}

const SAID = {
  authorizationTokenInvalid: ({ message }: Error) => `invalid: ${message}`,
  authorizationTokenExpiredMessage: 'expired',
  authorizationTokenUnsigned: 'unsigned'
}

/** A short way with a decoder that finds nothing wrong, and what fast-jwt throws. */
const shortWay = () => new ShortWay({ decode () {}, verify () {}, options: { messages: SAID } } as never, { secret: 'a' })
const thrown = (code: string | undefined, message = 'a message') => Object.assign(new Error(message), { code })

t.test('what @fastify/jwt says in other words than it is known for is asked for each time', async (t) => {
  class Said extends Error {
    constructor () {
      t.fail('nothing makes errors of an application')
      super()
    }
  }
  const way = shortWay()
  const foreign = Object.setPrototypeOf(thrown('OF_AN_APPLICATION'), Said.prototype)
  for (const code of ['FAST_JWT_EXPIRED', 'FAST_JWT_INACTIVE', 'FAST_JWT_INVALID_SIGNATURE']) {
    const raw = thrown(code)
    for (const said of [foreign, thrown(code, 'another message'), thrown('ANOTHER', 'a message'), thrown(undefined)]) {
      way.learn(raw, said)
      t.equal(way.errorOf('a token', raw), undefined, code)
    }
  }
})

t.test('what fast-jwt throws is said by its code, once @fastify/jwt has said it so', async (t) => {
  const way = shortWay()
  const wanted: Array<[code: string, said: object]> = [
    ['FAST_JWT_EXPIRED', { code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', message: 'expired', statusCode: 401 }],
    ['FAST_JWT_MISSING_SIGNATURE', { code: 'FAST_JWT_MISSING_SIGNATURE', message: 'unsigned', statusCode: 401 }],
    ...['INVALID_KEY', 'INVALID_SIGNATURE', 'INVALID_CLAIM_VALUE', 'MISSING_REQUIRED_CLAIM'].map((code): [string, object] =>
      [`FAST_JWT_${code}`, { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID', message: 'invalid: a message', statusCode: 401 }]),
    ['FAST_JWT_INACTIVE', { code: 'FAST_JWT_INACTIVE', message: 'a message' }]
  ]
  for (const [code, said] of wanted) {
    const raw = thrown(code)
    t.equal(way.errorOf('a token', raw), undefined, code)
    way.learn(raw, Object.assign(new Error(), { name: 'statusCode' in said ? 'FastifyError' : 'Error' }, said))
    t.match(way.errorOf('a token', raw), said, code)
    t.match(way.errorOfUser(raw), said, code)
  }
  const raw = thrown(undefined)
  way.learn(raw, raw)
  t.equal(way.errorOf('a token', raw), undefined, 'without a code nobody can tell')
})

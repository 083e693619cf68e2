import t from 'tap'
import { isOfApplication, isOfKeys } from '../../lib/http/key-failure.ts'

const errorOf = (fields: object, message = 'x') => Object.assign(new Error(message), fields)

t.test('keys that nobody could read are told from a token that has no key', async (t) => {
  const rows: Array<[error: unknown, isOfKeys: boolean]> = [
    [new TypeError('fetch failed', { cause: errorOf({ code: 'ECONNREFUSED' }) }), true],
    [new TypeError('fetch failed', { cause: errorOf({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }) }), true],
    [errorOf({ code: 'EAI_AGAIN' }), true],
    [errorOf({ code: 'UND_ERR_CONNECT_TIMEOUT' }), true],
    [errorOf({ name: 'AbortError' }), true],
    [new DOMException('late', 'TimeoutError'), true],
    [new SyntaxError('Unexpected token <'), true],
    [errorOf({ status: 503 }), true],
    [errorOf({ statusCode: 500 }), true],
    [errorOf({ response: { status: 502 } }), true],
    [errorOf({ code: 'FST_OTHER', statusCode: 500, cause: errorOf({}) }), true],
    [new Error('x', { cause: new Error('y', { cause: errorOf({ code: 'ETIMEDOUT' }) }) }), true],
    [new Error('No matching JWK found in the set.'), false],
    [errorOf({ code: 'JWKS_REQUEST_FAILED', response: { status: 429 } }), true],
    [errorOf({ statusCode: 408 }), true],
    [errorOf({ status: 425 }), true],
    [errorOf({ name: 'JwksRateLimitError' }), true],
    [errorOf({ name: 'JwksError' }), true],
    [errorOf({ code: 'ERR_JWKS_TIMEOUT' }), true],
    [errorOf({ code: 'ERR_JOSE_GENERIC' }), true],
    [errorOf({ name: 'SigningKeyNotFoundError' }), false],
    [errorOf({ code: 'ERR_JWKS_NO_MATCHING_KEY' }), false],
    [errorOf({ response: { status: 404 } }), false],
    [errorOf({ code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID', statusCode: 401 }), false],
    [errorOf({ code: 'FAST_JWT_INVALID_ALGORITHM' }), false],
    [errorOf({ code: 'ERR_OSSL_UNSUPPORTED' }), false],
    [errorOf({ code: 'ERR_INVALID_ARG_TYPE' }), false],
    [new TypeError("Cannot read properties of undefined (reading 'x')"), false],
    ['fetch failed', false],
    [undefined, false],
    [null, false]
  ]
  for (const [error, expected] of rows) t.equal(isOfKeys(error), expected, String((error as Error)?.message ?? error))
})

t.test('what @fastify/jwt and fast-jwt say of a token is told from what a function of the application threw', async (t) => {
  for (const code of ['FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', 'FAST_JWT_INVALID_SIGNATURE']) t.notOk(isOfApplication(errorOf({ code })), code)
  for (const error of [errorOf({ code: 'ECONNREFUSED' }), errorOf({ code: 7 }), new Error('x'), 'x', undefined, null]) t.ok(isOfApplication(error))
})

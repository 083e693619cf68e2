import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { revocationPlugin, type RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, REVOKED, revoked, SECRET } from '../support/app.ts'

/*
 * The option `jwtVerify` names a request decorator. One of another namespace, or one that does not verify, would leave
 * unguarded what was to be guarded.
 */

const BAD_OPTION = 'FST_JWT_REVOCATION_BAD_OPTION'
const foreign = (name: string) => `fastify-jwt-revocation: "${name}" verifies for another @fastify/jwt than the one to guard; set option "namespace" to the namespace of "${name}", or option "jwtVerify" to the name that the one to guard was registered with`
const none = (name: string) => `fastify-jwt-revocation: "${name}" is no verify decorator of @fastify/jwt; set option "jwtVerify" to the name it was registered with`
const unknown = (name: string) => `fastify-jwt-revocation: @fastify/jwt has no request decorator "${name}"; set option "jwtVerify" to the name it was registered with`

async function start (t: Test, jwts: Array<Partial<FastifyJWTOptions>>, revocation: RevocationOptions, prepare?: (app: FastifyInstance) => unknown) {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const jwt of jwts) await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' }, ...jwt } as FastifyJWTOptions)
  await prepare?.(app)
  await app.register(revocationPlugin, revocation)
  return app
}

const A = { namespace: 'a' }
const B = { namespace: 'b' }

t.test('the verify decorator of another namespace stops the start', async (t) => {
  const secret = { secret: 'another secret of the tests, of more than 32 bytes' }
  const shared = { decode: {}, verify: {}, messages: {}, cookie: { cookieName: 'token', signed: false } }
  const setUps: Array<[label: string, jwts: Array<Partial<FastifyJWTOptions>>, revocation: RevocationOptions, message: string]> = [
    ['of default names', [A, B], { namespace: 'a', jwtVerify: 'bJwtVerify' }, foreign('bJwtVerify')],
    ['the same the other way round', [A, B], { namespace: ['b'], jwtVerify: 'aJwtVerify' }, foreign('aJwtVerify')],
    ['of secrets of their own', [{ ...A, ...secret }, B], { namespace: 'a', jwtVerify: 'bJwtVerify' }, foreign('bJwtVerify')],
    ['that share all options', [{ ...A, ...shared }, { ...B, ...shared }], { namespace: 'a', jwtVerify: 'bJwtVerify' }, foreign('bJwtVerify')],
    ['of a name of its own', [A, { ...B, jwtVerify: 'verify' }], { namespace: 'a', jwtVerify: 'verify' }, foreign('verify')],
    ['of the name that is the default of this one', [{ ...A, jwtVerify: 'verify' }, { ...B, jwtVerify: 'aJwtVerify' }], { namespace: 'a' }, foreign('aJwtVerify')],
    ['the same, of several', [{ ...A, jwtVerify: 'verify' }, { ...B, jwtVerify: 'aJwtVerify' }, { namespace: 'c' }], { namespace: ['c', 'a'] }, foreign('aJwtVerify')],
    ['of the one without a namespace', [{}, A], { namespace: 'a', jwtVerify: 'jwtVerify' }, foreign('jwtVerify')],
    ['of a namespace beside the one without', [{}, A], { jwtVerify: 'aJwtVerify' }, foreign('aJwtVerify')],
    ['a decode decorator', [A, B], { namespace: 'a', jwtVerify: 'aJwtDecode' }, none('aJwtDecode')],
    ['a decode decorator that has the name of the verify decorator', [{ ...A, jwtDecode: 'aJwtVerify', jwtVerify: 'verify' }], { namespace: 'a' }, none('aJwtVerify')],
    ['a decode decorator of another', [A, B], { namespace: 'a', jwtVerify: 'bJwtDecode' }, none('bJwtDecode')],
    ['a sign decorator, which is one of replies', [A, B], { namespace: 'a', jwtVerify: 'aJwtSign' }, unknown('aJwtSign')],
    ['options of which @fastify/jwt verifies by others than it was given', [{ verify: { verify: {} } as never }], {}, none('jwtVerify')]
  ]
  for (const [label, jwts, revocation, message] of setUps) {
    await t.rejects(start(t, jwts, revocation), { code: BAD_OPTION, message }, label)
  }
})

t.test('a decorator that is none of @fastify/jwt stops the start, whatever it does when it is tried', async (t) => {
  type Back = (error: unknown, user?: unknown) => void
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => process.off('unhandledRejection', onUnhandled))
  const decorators: Record<string, (this: FastifyRequest, options: { extractToken?: (request: FastifyRequest) => unknown }, back: Back) => unknown> = {
    nothing () {},
    throws () { throw new Error('of the application') },
    async rejects () { throw new Error('of the application') },
    accepts (_options, back) { back(null, { jti: 'any' }) },
    looks (options, back) { back(null, options.extractToken!(this)) },
    fails (_options, back) { back(Object.assign(new Error(), { code: 'FST_JWT_BAD_REQUEST' })) },
    imitates (options, back) {
      options.extractToken!(this)
      back(Object.assign(new Error(), { code: 'FST_JWT_BAD_REQUEST_' }))
    },
    // Guarded alone, it would leave jwtVerify() itself unguarded.
    'asks jwtVerify' (options, back) { return this.jwtVerify(options as never, back as never) },
    'calls back with nothing' (options, back) {
      options.extractToken!(this)
      back(null)
    }
  }
  for (const [label, decorator] of Object.entries(decorators)) {
    await t.rejects(start(t, [{}], { jwtVerify: 'mine' }, (app) => app.decorateRequest('mine', decorator as never)), { code: BAD_OPTION, message: none('mine') }, label)
  }
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('to tell the decorators apart runs no function of the application', async (t) => {
  const called: string[] = []
  const mark = (name: string) => () => {
    called.push(name)
    return undefined as never
  }
  const jwt: Partial<FastifyJWTOptions> = {
    secret: mark('secret'),
    trusted: mark('trusted'),
    formatUser: mark('formatUser'),
    verify: { extractToken: mark('extractToken') },
    messages: { authorizationTokenInvalid: mark('message') },
    cookie: { cookieName: 'token', signed: true }
  }
  await start(t, [{ ...jwt, ...A, messages: { badRequestErrorMessage: 'A' } }, { ...jwt, ...B, messages: { badRequestErrorMessage: 'B' } }], { namespace: ['a', 'b'] })
  await t.rejects(start(t, [{ ...jwt, ...A, messages: {} }, { ...jwt, ...B, messages: {} }], { namespace: 'a', jwtVerify: 'bJwtVerify' }), { code: BAD_OPTION })
  t.strictSame(called, [])
})

t.test('P1 a decorator under any name that belongs to the namespace is guarded', async (t) => {
  const setUps: Array<[label: string, jwts: Array<Partial<FastifyJWTOptions>>, revocation: RevocationOptions, name: string]> = [
    ['a default name that is given', [A, B], { namespace: 'a', jwtVerify: 'aJwtVerify' }, 'aJwtVerify'],
    ["another namespace's default name", [{ ...B, jwtVerify: 'verify' }, { ...A, jwtVerify: 'bJwtVerify' }], { namespace: 'a', jwtVerify: 'bJwtVerify' }, 'bJwtVerify'],
    ['beside one without a namespace', [{}, A], { namespace: 'a' }, 'aJwtVerify'],
    ['the one without', [{}, A], {}, 'jwtVerify']
  ]
  for (const [label, jwts, revocation, name] of setUps) {
    const app = await start(t, jwts, revocation)
    app.get('/', { config: { revocation: false } }, async (request) => (request as unknown as Record<string, () => unknown>)[name]!())
    await app.ready()
    t.strictSame(answerOf(await app.inject({ url: '/', headers: bearer(await revoked(app)) })), REVOKED, label)
  }
})

import { holdMonotonic } from '../support/monotonic.ts'
import cookie from '@fastify/cookie'
import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, buildApp, genuine, ownPrefix, REVOKED, SECRET, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'
import { runs } from '../support/runs.ts'

/*
 * The guarded application against its model: plain @fastify/jwt with the same options, and a set of revoked tokens. Both
 * get the same request and run the same steps, some of them in a hook before the plugin's own.
 */

const redis = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}
const COOKIE = { cookieName: 'token', signed: false }
const CONFIGURATIONS: Record<string, Partial<FastifyJWTOptions>> = {
  'the header alone': {},
  'a cookie as well': { cookie: COOKIE },
  'a secret that comes later': { cookie: COOKIE, secret: async () => SECRET },
  onlyCookie: { cookie: COOKIE, verify: { onlyCookie: true } },
  extractToken: { cookie: COOKIE, verify: { extractToken: (request) => request.headers['x-token'] as string } },
  'an extractToken that gives a Buffer': { verify: { extractToken: (request) => bufferOf(request.headers['x-token']) } },
  'another decoratorName': { decoratorName: 'account', cookie: COOKIE }
}

function bufferOf (token: unknown) {
  return (typeof token === 'string' ? Buffer.from(token) : token) as string
}

const PLACES = ['authorization', 'cookie', 'x-token', 'x-device'] as const
type Place = (typeof PLACES)[number]
const TOKENS = ['good', 'another good', 'revoked', 'forged', 'expired', 'garbage', 'empty'] as const
type Token = (typeof TOKENS)[number]
type Tokens = Record<Token, string>
type Carried = Partial<Record<Place, Token>>

const fromDevice = (request: FastifyRequest) => request.headers['x-device'] as string
const fromToken = (request: FastifyRequest) => request.headers['x-token'] as string
const OPTIONS: Record<string, unknown> = {
  none: undefined,
  null: null,
  '{}': {},
  '{ extractToken: x-device }': { extractToken: fromDevice },
  '{ extractToken: x-token }': { extractToken: fromToken },
  '{ extractToken: a Buffer }': { extractToken: (request: FastifyRequest) => bufferOf(fromDevice(request)) },
  '{ onlyCookie }': { onlyCookie: true },
  '{ onlyCookie: false }': { onlyCookie: false },
  '{ onlyCookie, extractToken }': { onlyCookie: true, extractToken: fromDevice },
  '{ verify: {} }': { verify: {} },
  '{ verify: { extractToken } }': { verify: { extractToken: fromDevice } },
  '{ verify: { onlyCookie } }': { verify: { onlyCookie: true } },
  '{ verify: { extractToken }, decode }': { verify: { extractToken: fromToken }, decode: {} },
  '{ complete, extractToken }': { complete: true, extractToken: fromDevice },
  '{ allowedSub }': { allowedSub: 'good' },
  '{ inherited verify }': Object.create({ verify: { extractToken: fromDevice } }),
  'both forms': { verify: {}, extractToken: fromDevice }
}
const STYLES = ['awaited', 'called back', 'with its callback first', 'not awaited', 'called back, not awaited'] as const

type Step =
  | { call: keyof typeof OPTIONS, style: (typeof STYLES)[number] }
  | { write: Place, token: Token | null }
  | { revoke: Token }
  | { user: string | null }
  | { join: true }

const place = fc.constantFrom(...PLACES)
const token = fc.constantFrom(...TOKENS)
const call = fc.record({ call: fc.constantFrom(...Object.keys(OPTIONS)), style: fc.constantFrom(...STYLES) })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: call },
  { weight: 2, arbitrary: fc.record({ write: place, token: fc.option(token) }) },
  { weight: 1, arbitrary: fc.record({ revoke: fc.constantFrom<Token>('good', 'another good') }) },
  { weight: 1, arbitrary: fc.record({ user: fc.constantFrom('of the application', null) }) },
  { weight: 1, arbitrary: fc.constant({ join: true } as const) }
)
const steps = fc.array(step, { maxLength: 6 })
const script = fc.record({
  carried: fc.dictionary(place, token, { noNullPrototype: true }) as fc.Arbitrary<Carried>,
  early: steps,
  late: steps,
  handler: steps
})
type Script = typeof script extends fc.Arbitrary<infer T> ? T : never

type CallBack = (error: unknown, user?: unknown) => void
type Answer = { result: unknown } | { code: string | undefined, message: string, statusCode: number | undefined }
const verifyOf = (request: FastifyRequest) => (request as unknown as { jwtVerify: (...args: unknown[]) => unknown }).jwtVerify.bind(request)

function answerTo (error: unknown, result: unknown): Answer {
  if (!error) return { result }
  const { code, message, statusCode } = error as Error & { code?: string, statusCode?: number }
  return { code, message, statusCode }
}

/** One call of the guarded application, in one of its styles. */
function guardedCall (request: FastifyRequest, options: unknown, style: string): Promise<Answer> {
  const verify = verifyOf(request)
  if (style.startsWith('called back') || style.startsWith('with')) {
    return new Promise((resolve) => {
      const callback: CallBack = (error, user) => resolve(answerTo(error, user))
      if (style.startsWith('with') && options === undefined) verify(callback)
      else verify(options, callback)
    })
  }
  const returned = (options === undefined ? verify() : verify(options)) as Promise<unknown>
  return returned.then((user) => answerTo(null, user), (error) => answerTo(error, undefined))
}

const { statusCode, body: { code, message } } = REVOKED

/** The same of the model. It is called back, for then @fastify/jwt sets the user, and the model unsets it, in the order of the calls. */
function modelCall (request: FastifyRequest, options: unknown, userKey: string, isRevoked: (jti: string) => boolean): Promise<Answer> {
  return new Promise((resolve) => {
    verifyOf(request)(options, (error: unknown, user: { jti?: string, payload?: { jti: string } }) => {
      if (error || !isRevoked(user.jti ?? user.payload!.jti)) return resolve(answerTo(error, user))
      Object.assign(request, { [userKey]: null })
      resolve({ code, message, statusCode })
    })
  })
}

interface Twin {
  app: FastifyInstance
  call: (request: FastifyRequest, options: unknown, style: string) => Promise<Answer>
  revoke: (token: Token) => unknown
}

/** What one run of a script uses and finds. */
interface Run {
  script: Script
  tokens: Tokens
  twin: Twin
  found: unknown[]
  pending: Array<Promise<void>>
}

/** A part of a script, in an application that is given the run. */
async function play (request: FastifyRequest, part: Step[], { tokens, twin, found, pending }: Run, userKey: string) {
  const user = () => (request as unknown as Record<string, unknown>)[userKey]
  const join = async () => {
    const joined = pending.length > 0
    await Promise.all(pending.splice(0))
    if (joined) found.push({ user: user() })
  }
  for (const step of part) {
    if ('call' in step) {
      const place = found.push(null) - 1
      const overlaps = pending.length > 0
      const ended = twin.call(request, OPTIONS[step.call], step.style).then((answer) => { found[place] = answer })
      if (step.style.endsWith('not awaited')) pending.push(ended)
      else {
        await ended
        // Of calls that overlap, the last one has the say when all have ended.
        if (!overlaps) found.push({ user: user() })
      }
      continue
    }
    if ('write' in step) {
      write(request, step.write, step.token === null ? undefined : tokens[step.token])
      continue
    }
    // What all that was asked before has to see in the same order.
    await join()
    if ('revoke' in step) await twin.revoke(step.revoke)
    if ('user' in step) Object.assign(request, { [userKey]: step.user })
  }
}

function write (request: FastifyRequest, place: Place, token: string | undefined) {
  if (place === 'cookie') request.cookies = token === undefined ? {} : { token }
  else if (token === undefined) delete request.headers[place]
  else request.headers[place] = place === 'authorization' ? `Bearer ${token}` : token
}

function headersOf (carried: Carried, tokens: Tokens) {
  const headers: Record<string, string> = {}
  for (const [place, token] of Object.entries(carried)) {
    headers[place] = `${place === 'authorization' ? 'Bearer ' : place === 'cookie' ? 'token=' : ''}${tokens[token]}`
  }
  return headers
}

for (const [store, options] of Object.entries(STORES)) {
  for (const enforce of ['verified', 'presented'] as const) {
    for (const [name, jwt] of Object.entries(CONFIGURATIONS)) {
      t.test(`P1 calls in any order and mixture answer as @fastify/jwt, but for revoked tokens: ${name}, '${enforce}', on ${store}`, async (t) => {
        holdMonotonic(t)
        await check(t, jwt, { ...options(), enforce })
      })
    }
  }
}

async function check (t: Test, jwt: Partial<FastifyJWTOptions>, revocation: RevocationOptions) {
  const userKey = jwt.decoratorName ?? 'user'
  let run: Run
  let revoked: Set<string>
  const early = (app: FastifyInstance) => app.addHook('onRequest', (request) => play(request, run.script.early, run, userKey))
  const routes = (app: FastifyInstance) => {
    app.get('/script', { preHandler: (request) => play(request, run.script.late, run, userKey) }, async (request) => {
      await play(request, [...run.script.handler, { join: true }], run, userKey)
      return { played: true }
    })
    app.get('/nothing', async (request) => {
      await play(request, [{ join: true }], run, userKey)
      return { user: (request as unknown as Record<string, unknown>)[userKey] ?? null }
    })
  }

  const guarded = await buildApp(t, {
    jwt,
    revocation,
    async before (app) {
      await app.register(cookie)
      early(app)
    },
    after: routes
  })
  const model = Fastify()
  t.teardown(() => model.close())
  await model.register(fastifyJwt, { secret: SECRET, ...jwt } as FastifyJWTOptions)
  await model.register(cookie)
  early(model)
  const modelTwin: Omit<Twin, 'revoke'> = {
    app: model,
    call: (request, options) => modelCall(request, options, userKey, (jti) => revoked.has(jti))
  }
  // What the plugin's hook and its routes do, in the words of @fastify/jwt: the hook leaves the user alone unless it refuses.
  if (revocation.enforce === 'presented') {
    model.addHook('onRequest', async (request) => {
      const user = (request as unknown as Record<string, unknown>)[userKey]
      const answer = await modelTwin.call(request, undefined, 'awaited')
      if ('code' in answer && answer.code === code) throw Object.assign(new Error(message), { code, statusCode })
      Object.assign(request, { [userKey]: user })
    })
  }
  routes(model)
  model.get('/v1/jwt/history', async (request) => {
    const answer = await modelTwin.call(request, undefined, 'awaited')
    if (!('result' in answer)) throw Object.assign(new Error(answer.message), answer)
    const { jti, payload } = answer.result as { jti: string, payload: { jti: string } }
    return { tokens: [jti ?? payload.jti] }
  })
  await model.ready()

  await fc.assert(fc.asyncProperty(script, fc.constantFrom('/script', '/nothing', '/v1/jwt/history'), async (script, url) => {
    const claims = Object.fromEntries(TOKENS.map((token) => [token, { jti: randomUUID(), sub: `${token} ${randomUUID()}` }])) as Record<Token, { jti: string, sub: string }>
    const sub = claims.good.sub
    const tokens: Tokens = {
      good: (await genuine(claims.good)).token,
      'another good': (await genuine(claims['another good'])).token,
      revoked: (await genuine(claims.revoked)).token,
      forged: await signed({ ...claims.good, exp: 2e9 }, 'a secret of somebody else, of more than 32 bytes'),
      expired: await signed({ ...claims.expired, iat: 1, exp: 2 }),
      garbage: 'x.y.z',
      empty: ''
    }
    OPTIONS['{ allowedSub }'] = { allowedSub: sub }
    for (const token of ['good', 'another good'] as const) await guarded.revocation.record(guarded.jwt.decode(tokens[token])!)
    await guarded.revocation.revoke(claims.revoked)

    const outcomes: unknown[] = []
    for (const twin of [
      { ...modelTwin, revoke: (token: Token) => revoked.add(claims[token].jti) },
      { app: guarded, call: guardedCall, revoke: (token: Token) => guarded.revocation.revoke(claims[token]) }
    ]) {
      revoked = new Set([claims.revoked.jti])
      run = { script, tokens, twin, found: [], pending: [] }
      const response = answerOf(await twin.app.inject({ url, headers: headersOf(script.carried, tokens) }))
      await Promise.all(run.pending)
      const body = response.body as { code?: string, message?: string, tokens?: Array<{ jti: string } | string> }
      outcomes.push({
        statusCode: response.statusCode,
        body: body.tokens?.map((token) => typeof token === 'string' ? token : token.jti) ?? (body.code === undefined ? body : { code: body.code, message: body.message }),
        found: JSON.parse(JSON.stringify(run.found))
      })
    }
    const [expected, given] = outcomes
    assert.deepEqual(given, expected)
  }), { numRuns: runs(32) })
  t.pass()
}

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

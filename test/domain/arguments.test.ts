import t from 'tap'
import { BROKEN } from '../../lib/domain/claims.ts'
import type { RevocationDecorator } from '../../lib/index.ts'
import { buildApp, inSeconds, signed } from '../support/app.ts'

/* What JavaScript gives to the methods of app.revocation: each says what it takes. */

const NAMES = 'a well-formed string of 1 to 1024 characters, or a safe integer'
const OR_REQUEST = 'or a request of a scope that the plugin guards'
const CLAIMS = (method: string, example: string) => `${method}() takes as claims an object, such as ${example}`
const OPTIONS = (method: string, example: string) => `${method}() takes as options an object, such as ${example}`
const META = 'meta must be an object of at most 4096 bytes as JSON'
const UNTIL = (method: string) => `${method}() takes as until a Date, seconds since the epoch or Infinity, and none in the past`
const NAMED = { refresh: {}, revocableBy: ['tenant', 'role'] }
const ID = (method: string) => `${method}() needs the id of a record, a string`
const EVENTS = (method: string) => `${method}() takes an event, revoked, storeLost, storeBack, and a listener, a function`

const VALUES = { null: null, undefined, 'a number': 42, 'a string': 'x', 'an array': ['x'], 'a function': () => {} }
type Value = keyof typeof VALUES
type Method = Exclude<keyof RevocationDecorator, 'status'>
/** The compiler asks for each one. */
const METHODS: Record<Method, true> = {
  issue: true, refresh: true, record: true, revoke: true, revokeById: true, revokeSubject: true, revokeSession: true, revokeBy: true, isRevoked: true, token: true, tokens: true, on: true, off: true
}

/** A method with one argument of each kind, and what it says; `takes`: the kinds that are right there. */
const ROWS: Array<[call: string, message: string, takes: Value[], act: (revocation: RevocationDecorator, value: never) => unknown]> = [
  ['issue(x)', CLAIMS('issue', '{ sub }'), [], (r, x) => r.issue(x)],
  ['issue({}, x)', OPTIONS('issue', '{ expiresIn }'), ['undefined'], (r, x) => r.issue({}, x)],
  ['issue({}, { refresh: x })', 'issue() takes as refresh true or false', ['undefined'], (r, x) => r.issue({}, { refresh: x })],
  ["refresh('a', x)", OPTIONS('refresh', '{ claims, meta }'), ['undefined'], (r, x) => r.refresh('a', x)],
  ["refresh('a', { meta: x })", META, ['undefined'], (r, x) => r.refresh('a', { meta: x })],
  ['record(x)', CLAIMS('record', '{ jti, iat, exp }'), [], (r, x) => r.record(x)],
  ['record({…}, x)', META, ['undefined'], (r, x) => r.record({ jti: 'other', iat: inSeconds(0), exp: inSeconds(60) }, x)],
  ['revoke(x)', `revoke() needs a jti: a well-formed string of 1 to 255 characters, ${OR_REQUEST}`, [], (r, x) => r.revoke(x)],
  ['revokeById(x)', ID('revokeById'), ['a string'], (r, x) => r.revokeById(x)],
  ['revokeSubject(x)', `revokeSubject() needs a sub: ${NAMES}, ${OR_REQUEST}`, ['a number', 'a string'], (r, x) => r.revokeSubject(x)],
  ["revokeSubject('a', x)", OPTIONS('revokeSubject', '{ iss, except, until }'), ['undefined'], (r, x) => r.revokeSubject('a', x)],
  ["revokeSubject('a', { until: x })", UNTIL('revokeSubject'), ['undefined'], (r, x) => r.revokeSubject('a', { until: x })],
  ['revokeSession(x)', `revokeSession() needs a sid: ${NAMES}, ${OR_REQUEST}`, ['a number', 'a string'], (r, x) => r.revokeSession(x)],
  ["revokeSession('a', x)", OPTIONS('revokeSession', '{ iss }'), ['undefined'], (r, x) => r.revokeSession('a', x)],
  ['revokeBy(x)', 'revokeBy() takes a claim of option "revocableBy", one of tenant, role', [], (r, x) => r.revokeBy(x, 'a')],
  ["revokeBy('tenant', x)", `revokeBy() needs a value: ${NAMES}`, ['a number', 'a string'], (r, x) => r.revokeBy('tenant', x)],
  ["revokeBy('tenant', 'a', x)", OPTIONS('revokeBy', '{ iss, until }'), ['undefined'], (r, x) => r.revokeBy('tenant', 'a', x)],
  ["revokeBy('tenant', 'a', { until: x })", UNTIL('revokeBy'), ['undefined'], (r, x) => r.revokeBy('tenant', 'a', { until: x })],
  ['isRevoked(x)', CLAIMS('isRevoked', '{ jti, iat, exp }'), [], (r, x) => r.isRevoked(x)],
  ['token(x)', ID('token'), ['a string'], (r, x) => r.token(x)],
  ['tokens(x)', `tokens() needs a sub: ${NAMES}`, ['a number', 'a string'], (r, x) => r.tokens(x)],
  ["tokens('a', x)", OPTIONS('tokens', '{ iss, limit, cursor }'), ['undefined'], (r, x) => r.tokens('a', x)],
  ['on(x)', EVENTS('on'), [], (r, x) => r.on(x, () => {})],
  ["on('revoked', x)", EVENTS('on'), ['a function'], (r, x) => r.on('revoked', x)],
  ['off(x)', EVENTS('off'), [], (r, x) => r.off(x, () => {})],
  ["off('revoked', x)", EVENTS('off'), ['a function'], (r, x) => r.off('revoked', x)]
]

t.test('each method says what it takes, whatever it is given, and does nothing', async (t) => {
  const app = await buildApp(t, { revocation: NAMED })
  const told: unknown[] = []
  app.revocation.on('revoked', (revocation) => told.push(revocation))
  for (const [call, message, takes, act] of ROWS) {
    for (const [kind, value] of Object.entries(VALUES)) {
      if (takes.includes(kind as Value)) continue
      const error = await (async () => act(app.revocation, value as never))().then(() => undefined, (error) => error)
      t.strictSame({ name: error?.name, message: error?.message }, { name: 'TypeError', message }, `${call} of ${kind}`)
    }
  }
  for (const name of Object.getOwnPropertyNames(Object.prototype)) t.throws(() => app.revocation.on(name as never, () => {}), { name: 'TypeError', message: EVENTS('on') }, name)
  t.throws(() => (app.revocation.on as (event: string) => unknown)('revoked'), { name: 'TypeError', message: EVENTS('on') })
  t.strictSame(told, [])
})

t.test('the table has each method that takes something, and what is right there goes on', async (t) => {
  const app = await buildApp(t, { revocation: NAMED })
  const methods = new Set(ROWS.map(([call]) => call.slice(0, call.indexOf('('))))
  t.strictSame(Object.keys(METHODS).filter((name) => !methods.has(name)), [])
  for (const [call, , takes, act] of ROWS) {
    for (const kind of takes) {
      const error = await (async () => act(app.revocation, VALUES[kind] as never))().then(() => undefined, (error) => error)
      t.notMatch(error, { name: 'TypeError' }, `${call} of ${kind}`)
    }
  }
})

t.test('a sub that is no name is refused with all that would be one', async (t) => {
  const app = await buildApp(t)
  t.match(BROKEN.sub, /neither a well-formed string of at most 1024 characters nor a safe integer/)
  const token = await signed({ jti: 'x', sub: 1.5, exp: inSeconds(60) })
  const { statusCode, body } = await app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })
  t.strictSame([statusCode, JSON.parse(body)], [401, {
    statusCode: 401,
    code: 'FST_JWT_NOT_REVOCABLE',
    error: 'Unauthorized',
    message: 'Token cannot be revoked and is therefore not accepted: its sub is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
  }])
})

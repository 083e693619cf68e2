import { randomUUID } from 'node:crypto'
import t from 'tap'
import fc from 'fast-check'
import { LOGOUT_RULES, readLogoutToken, type LogoutRule } from '../../lib/domain/logout-token.ts'
import { EVENT, unsigned } from '../support/provider.ts'
import { runs } from '../support/runs.ts'

/* What is said of a logout token before anybody looks at its signature. */

const NOW = 1_800_000_000
const EXPECTED = { issuer: 'https://login.example', audiences: ['one', 'two'], algorithms: undefined, clockTolerance: 5 }
const GOOD = {
  iss: 'https://login.example', aud: 'one', iat: NOW, exp: NOW + 120, jti: randomUUID(), sid: 's', sub: 'alice', events: { [EVENT]: {} }
}
const HEADER = { alg: 'RS256', typ: 'logout+jwt' }
const tokenOf = (claims: object, header: object = HEADER) => unsigned({ ...GOOD, ...claims }, header as Record<string, unknown>) + 'c2ln'
const read = (token: string, expected = {}, now = NOW) => readLogoutToken(token, { ...EXPECTED, ...expected }, now * 1000)

t.test('a token that keeps every rule tells whose log-out it is', async (t) => {
  const { jti } = GOOD
  const rows: Array<[claims: object, told: object]> = [
    [{}, { sid: 's', sub: 'alice' }],
    [{ sub: undefined }, { sid: 's', sub: undefined }],
    [{ sid: undefined }, { sid: undefined, sub: 'alice' }],
    [{ sid: null }, { sid: undefined, sub: 'alice' }],
    [{ sid: '' }, { sid: undefined, sub: 'alice' }],
    [{ sub: null }, { sid: 's', sub: undefined }],
    [{ sid: 7, sub: 42 }, { sid: '7', sub: '42' }],
    [{ aud: ['other', 'two'] }, {}],
    [{ events: { [EVENT]: { more: 1 }, other: 'x' } }, {}],
    [{ exp: undefined, iat: NOW - 600 }, { iat: NOW - 600 }],
    [{ iat: NOW + 60 }, { iat: NOW + 60 }],
    [{ iat: 0.5 }, { iat: 0.5 }],
    [{ exp: 1 }, {}]
  ]
  for (const [claims, told] of rows) {
    t.strictSame(read(tokenOf(claims)), { jti, sid: 's', sub: 'alice', iat: NOW, ...told }, JSON.stringify(claims))
  }
  for (const typ of [undefined, 'JWT', 'jwt', 'logout+jwt', 'application/logout+jwt', 'Logout+JWT']) {
    t.match(read(tokenOf({}, { alg: 'ES256', typ })), { jti }, `typ ${typ}`)
  }
  t.match(read(tokenOf({ iat: NOW + 300 }), { clockTolerance: 300 }), { jti }, 'a larger tolerance than a minute counts')
  t.match(read(tokenOf({}), { algorithms: ['ES256', 'RS256'] }), { jti })
})

t.test('a token that breaks a rule is refused by that rule', async (t) => {
  const rows: Array<[claims: object, rule: LogoutRule]> = [
    [{ iss: undefined }, 'iss'],
    [{ iss: 'https://login.example/' }, 'iss'],
    [{ iss: ['https://login.example'] }, 'iss'],
    [{ aud: undefined }, 'aud'],
    [{ aud: 'ONE' }, 'aud'],
    [{ aud: [] }, 'aud'],
    [{ aud: ['other'] }, 'aud'],
    [{ aud: { 0: 'one' } }, 'aud'],
    [{ events: undefined }, 'events'],
    [{ events: null }, 'events'],
    [{ events: EVENT }, 'events'],
    [{ events: [EVENT] }, 'events'],
    [{ events: {} }, 'events'],
    [{ events: { [`${EVENT}/`]: {} } }, 'events'],
    [{ events: { [EVENT]: null } }, 'events'],
    [{ events: { [EVENT]: [] } }, 'events'],
    [{ events: { [EVENT]: 'x' } }, 'events'],
    [{ nonce: 'n' }, 'nonce'],
    [{ nonce: null }, 'nonce'],
    [{ jti: undefined }, 'jti'],
    [{ jti: '' }, 'jti'],
    [{ jti: 1 }, 'jti'],
    [{ jti: 'x'.repeat(256) }, 'jti'],
    [{ sid: undefined, sub: undefined }, 'names'],
    [{ sid: '', sub: null }, 'names'],
    [{ sid: {} }, 'names'],
    [{ sid: 'x'.repeat(1025) }, 'names'],
    [{ sid: '\ud800' }, 'names'],
    [{ sub: ['alice'] }, 'names'],
    [{ sub: 1.5 }, 'names'],
    [{ iat: undefined }, 'iat'],
    [{ iat: String(NOW) }, 'iat'],
    [{ iat: null }, 'iat'],
    [{ iat: NOW + 61 }, 'iat'],
    [{ iat: NOW * 1000 }, 'iat'],
    [{ exp: null }, 'exp'],
    [{ exp: String(NOW + 60) }, 'exp'],
    [{ exp: undefined, iat: NOW - 601 }, 'exp']
  ]
  for (const [claims, rule] of rows) t.equal(read(tokenOf(claims)), rule, JSON.stringify(claims))
  const headers: Array<[header: object, rule: LogoutRule]> = [
    [{ alg: 'none' }, 'alg'],
    [{ alg: 'None' }, 'alg'],
    [{}, 'alg'],
    [{ alg: ['RS256'] }, 'alg'],
    [{ alg: 'RS256', typ: 'at+jwt' }, 'typ'],
    [{ alg: 'RS256', typ: '' }, 'typ'],
    [{ alg: 'RS256', typ: null }, 'typ'],
    [{ alg: 'RS256', typ: ['JWT'] }, 'typ'],
    [{ alg: 'RS256', typ: 'JWTS' }, 'typ']
  ]
  for (const [header, rule] of headers) t.equal(read(tokenOf({}, header)), rule, JSON.stringify(header))
  t.equal(read(tokenOf({}), { algorithms: ['ES256'] }), 'alg', 'one that the application does not accept')
})

t.test('what is no signed JWT of three parts and at most 8192 characters is refused', async (t) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const fill = (length: number) => {
    const short = tokenOf({ fill: '' })
    return tokenOf({ fill: 'x'.repeat(Math.floor((length - short.length) * 3 / 4)) })
  }
  t.ok(fill(8192).length > 8180)
  t.match(read(fill(8192)), { sid: 's' })
  const rows = [
    '', '.', '..', 'a.b.c', 'a.b', `${tokenOf({})}.x`, fill(8200), 'x'.repeat(100_000), '.'.repeat(8192), `${part(1)}.${part(GOOD)}.x`,
    `${part(HEADER)}.${part(null)}.x`, `${part(HEADER)}.${part([GOOD])}.x`, `${part(HEADER)}.e30=.x`.replace('e30=', 'bnVsbA')
  ]
  for (const token of rows) t.equal(read(token), 'token', token.slice(0, 60))
})

t.test('whatever is in a token, a rule or a log-out comes of it, and no sentence holds any of it', async (t) => {
  const json = fc.jsonValue()
  fc.assert(fc.property(fc.record({ iss: json, aud: json, events: json, jti: json, sid: json, sub: json, iat: json, exp: json }, { requiredKeys: [] }), fc.dictionary(fc.constantFrom('alg', 'typ', 'kid'), json), (claims, header) => {
    const told = read(tokenOf(claims, header))
    return typeof told === 'string' ? told in LOGOUT_RULES : (told.sid ?? told.sub) !== undefined && Number.isFinite(told.iat)
  }), { numRuns: runs(500) })
  fc.assert(fc.property(fc.string(), (token) => read(token) === 'token'), { numRuns: runs(500) })
})

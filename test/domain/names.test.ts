import fc from 'fast-check'
import t from 'tap'
import { identityOf } from '../../lib/domain/names.ts'
import { keysUnder } from '../../lib/stores/redis/keys.ts'
import { character } from '../support/character.ts'
import { runs } from '../support/runs.ts'

t.test('an identity is the encoded jti, after the encoded issuer and a slash where there is one', async (t) => {
  const rows: Array<[iss: string | undefined, jti: string, expected: string]> = [
    [undefined, 'a', 'a'],
    ['', 'a', 'a'],
    ['i', 'a', 'i/a'],
    [undefined, 'i/a', 'i%2Fa'],
    ['https://issuer.example/', 'a', 'https%3A%2F%2Fissuer.example%2F/a'],
    ['a/b', 'c', 'a%2Fb/c'],
    ['a', 'b/c', 'a/b%2Fc'],
    [undefined, 'a:b', 'a%3Ab'],
    [undefined, '%', '%25'],
    [undefined, '%2F', '%252F'],
    [undefined, '😀', '%F0%9F%98%80'],
    ['ä', 'é', '%C3%A4/%C3%A9'],
    [undefined, 'e\u0301', 'e%CC%81'],
    [undefined, '.', '.'],
    [undefined, '..', '..'],
    ['..', '..', '../..'],
    [undefined, '__proto__', '__proto__'],
    ['constructor', '__proto__', 'constructor/__proto__'],
    [undefined, ' ', '%20'],
    [undefined, '\u0000\r\n', '%00%0D%0A'],
    [undefined, '*?[]{}', '*%3F%5B%5D%7B%7D'],
    [undefined, "-_.!~*'()", "-_.!~*'()"],
    [undefined, 'A', 'A'],
    ['😀'.repeat(512), '😀'.repeat(127), `${'%F0%9F%98%80'.repeat(512)}/${'%F0%9F%98%80'.repeat(127)}`]
  ]
  for (const [iss, jti, expected] of rows) t.equal(identityOf(iss, jti), expected)
})

t.test('the keys are those that other services read: the prefix as it is, what it is, and whose', async (t) => {
  const rows: Array<[prefix: string, revoked: string, token: string, id: string]> = [
    ['jwt:', 'jwt:revoked:i/a%2Fb', 'jwt:token:1-2', 'jwt:id:i/a%2Fb'],
    ['', 'revoked:i/a%2Fb', 'token:1-2', 'id:i/a%2Fb'],
    ['{app 1}/%:', '{app 1}/%:revoked:i/a%2Fb', '{app 1}/%:token:1-2', '{app 1}/%:id:i/a%2Fb'],
    ['😀', '😀revoked:i/a%2Fb', '😀token:1-2', '😀id:i/a%2Fb']
  ]
  for (const [prefix, revoked, token, id] of rows) {
    const keys = keysUnder(prefix)
    t.equal(keys.of({ kind: 'revoked', name: identityOf('i', 'a/b') }), revoked)
    t.equal(keys.token('1-2'), token)
    t.equal(keys.id(identityOf('i', 'a/b')), id)
  }
})

/** Strings that are likely to be taken for one another, and any others. */
const confusable = fc.string({ unit: fc.constantFrom('/', '%', '2', 'F', 'f', '5', ':', 'a', '.', ' ', '😀'), maxLength: 6 })
const name = fc.oneof(confusable, fc.string({ unit: character }), fc.webUrl(), fc.constantFrom('__proto__', '..', 'constructor'))
const jti = name.filter((name) => name !== '')
const issuer = fc.option(name, { nil: undefined })

t.test('no two pairs of issuer and jti share an identity', async (t) => {
  fc.assert(fc.property(issuer, jti, issuer, jti, (iss, name, otherIss, otherName) => {
    const same = (iss ?? '') === (otherIss ?? '') && name === otherName
    return (identityOf(iss, name) === identityOf(otherIss, otherName)) === same
  }), { numRuns: runs(2000) })
})

t.test('any service can tell the issuer and the jti from an identity', async (t) => {
  fc.assert(fc.property(issuer, jti, (iss, name) => {
    const parts = identityOf(iss, name).split('/').map(decodeURIComponent)
    return iss ? parts.length === 2 && parts[0] === iss && parts[1] === name : parts.length === 1 && parts[0] === name
  }), { numRuns: runs(500) })
})

import fc from 'fast-check'
import t from 'tap'
import { readRevocableBy } from '../../lib/claim-options.ts'
import { cutoffNameOf, cutoffNamesOf, identityOf, namesOf, recordNameOf, type CutoffNames } from '../../lib/domain/names.ts'
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
// fc.webUrl() makes a table of all characters, which takes a second.
const url = fc.tuple(fc.domain(), confusable).map(([host, path]) => `https://${host}/${path}`)
const name = fc.oneof(confusable, fc.string({ unit: character }), url, fc.constantFrom('__proto__', '..', 'constructor'))
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

t.test('a cutoff has the name that other services look for', async (t) => {
  const rows: Array<[names: CutoffNames, expected: string]> = [
    [{ sub: 'alice' }, 'alice'],
    [{ sub: 'a:b', iss: 'https://i' }, 'https%3A%2F%2Fi/a%3Ab'],
    [{ sid: 's1' }, 'sid:s1'],
    [{ sid: 's/1', iss: 'https://i' }, 'sid:https%3A%2F%2Fi/s%2F1'],
    [{ claim: 'tenant', value: 'acme' }, 'tenant:acme'],
    [{ claim: 'https://c/t', value: 'a b', iss: 'i' }, 'https%3A%2F%2Fc%2Ft:i/a%20b'],
    [{ subWithoutSid: 'alice' }, '!sid:alice'],
    [{ subWithoutSid: 'a:b', iss: 'https://i' }, '!sid:https%3A%2F%2Fi/a%3Ab']
  ]
  for (const [names, expected] of rows) {
    t.equal(cutoffNameOf(names), expected)
    t.strictSame(cutoffNamesOf(expected), names, 'and can be told from it')
  }
  for (const name of ['!sid:%', '!sid', '!x:y', '!', '%', 'a%:b', 'a:%', '%ff:a']) {
    if (!/^!\w*$/.test(name)) t.equal(cutoffNamesOf(name), null, name)
  }
  t.strictSame(cutoffNamesOf('!'), { sub: '!' }, 'a subject may begin like that')
})

const claim = name.filter((name) => name !== '' && name !== 'sid' && !name.startsWith('!'))
const value = jti
const cutoffNames: fc.Arbitrary<CutoffNames> = fc.tuple(fc.option(jti, { nil: undefined }), fc.oneof(
  fc.record({ sub: value }), fc.record({ sid: value }), fc.record({ claim, value }), fc.record({ subWithoutSid: value })
)).map(([iss, names]) => ({ ...(iss !== undefined && { iss }), ...names }))
const sorted = (names: object | null) => JSON.stringify(names === null ? null : Object.entries(names).sort())

t.test('no two of (claim, issuer, value) share a name, nor with a subject or a session', async (t) => {
  fc.assert(fc.property(cutoffNames, cutoffNames, (one, other) => {
    return (cutoffNameOf(one) === cutoffNameOf(other)) === (sorted(one) === sorted(other))
  }), { numRuns: runs(3000) })
  fc.assert(fc.property(cutoffNames, (names) => {
    const name = cutoffNameOf(names)
    return sorted(cutoffNamesOf(name)) === sorted(names) && name.startsWith('!sid:') === 'subWithoutSid' in names && !/\s/.test(name)
  }), { numRuns: runs(2000) })
})

/** What a cutoff may be of, and what a subject's tokens without a sid are kept under. */
type AnyNames = CutoffNames | { iss?: string, sidless: string }

const nameOf = (names: AnyNames) => 'sidless' in names ? `!sid:${identityOf(names.iss, names.sidless)}` : cutoffNameOf(names)

/** Two names of the same few words, so that each is often what the other might be taken for. */
const relatives: fc.Arbitrary<[one: AnyNames, other: AnyNames]> = fc.array(jti, { minLength: 1, maxLength: 2 }).chain((own) => {
  const word = fc.constantFrom(...own, 'sid', '!sid', 'tenant', 'a')
  const separator = fc.constantFrom('/', ':', '%2F', '%3A', '')
  const pair = fc.tuple(word, separator, word).map((parts) => parts.join(''))
  const triple = fc.tuple(word, separator, word, separator, word).map((parts) => parts.join(''))
  const plain = fc.oneof({ arbitrary: word, weight: 4 }, pair, triple)
  const text = fc.oneof({ arbitrary: plain, weight: 4 }, plain.map(encodeURIComponent))
  const names = fc.tuple(fc.option(text, { nil: undefined }), fc.oneof(
    fc.record({ sub: text }),
    fc.record({ sid: text }),
    fc.record({ sidless: text }),
    fc.record({ claim: text.filter((claim) => readRevocableBy([claim]) !== undefined), value: text })
  )).map(([iss, names]): AnyNames => ({ ...(iss !== undefined && { iss }), ...names }))
  const twice = names.map((names): [AnyNames, AnyNames] => [names, { ...names }])
  return fc.oneof({ arbitrary: fc.tuple(names, names), weight: 9 }, twice)
})

t.test('no name of a subject, a session, a claim option revocableBy takes, or what has no sid can be taken for another', async (t) => {
  let same = 0
  fc.assert(fc.property(relatives, ([one, other]) => {
    const isSame = sorted(one) === sorted(other)
    if (isSame) same++
    return (nameOf(one) === nameOf(other)) === isSame
  }), { numRuns: runs(8000) })
  t.ok(same > 0, 'and some were the same')
})

t.test('a name is told from what looks like it', async (t) => {
  const alike: AnyNames[] = [
    { sub: 's' }, { sub: 'sid:s' }, { sub: 'sid/s' }, { sub: '!sid:s' }, { sub: '!sid' }, { sid: 's' }, { sidless: 's' }, { claim: 'tenant', value: 's' }, { sub: 'tenant:s' },
    { iss: 'sid:i', sub: 's' }, { iss: 'i', sub: 's' }, { iss: 'i', sid: 's' }, { sid: 'i/s' }, { iss: 'i', sidless: 's' }, { sidless: 'i/s' }, { iss: '!sid:i', sub: 's' },
    { iss: 'i', claim: 'tenant', value: 's' }, { claim: 'tenant', value: 'i/s' }, { claim: 'tenant:i', value: 's' }, { claim: 'sid:tenant', value: 's' }, { claim: 'sid%3Atenant', value: 's' },
    { iss: 'tenant:i', sub: 's' }, { claim: 'SID', value: 's' }, { claim: 'sid ', value: 's' }, { sub: 'sid%3As' }, { sid: 'sid:s' }
  ]
  t.equal(new Set(alike.map(nameOf)).size, alike.length)
  for (const taken of ['sid', 'sub', 'jti', 'iss', '!sid', '!jti', '!']) t.equal(readRevocableBy([taken]), undefined, `no listed claim is ${taken}`)
})

t.test('a token has the names of its claims, and a token of a subject alone costs no list', async (t) => {
  t.strictSame(namesOf({ jti: 'j', sub: 'a' }), { identity: 'j', subject: 'a', others: undefined })
  t.strictSame(namesOf({ sid: 's' }), { identity: undefined, subject: undefined, others: ['sid:s'] })
  t.strictSame(namesOf({ iss: 'i', jti: 'j', sub: 'a', sid: 's', claims: { b: '1', c: '2' } }), {
    identity: 'i/j', subject: 'i/a', others: ['sid:i/s', 'b:i/1', 'c:i/2']
  })
  t.strictSame(namesOf({ iss: 'i', jti: 'j', sub: 'a' }, true), { identity: 'i/j', subject: 'i/a', others: ['!sid:i/a'] }, 'and one more without a sid')
  t.strictSame(namesOf({ sub: 'a', claims: { b: '1' } }, true), { identity: undefined, subject: 'a', others: ['b:1', '!sid:a'] })
  t.strictSame(namesOf({ sub: 'a', sid: 's' }, true), { identity: undefined, subject: 'a', others: ['sid:s'] }, 'but not with one')
  t.strictSame(namesOf({ jti: 'j' }, true), { identity: 'j', subject: undefined, others: undefined }, 'nor without a subject')
})

t.test('no two tokens without a jti share the name of a record, nor with a token that has one', async (t) => {
  const named = fc.record({
    jti: fc.option(jti, { nil: undefined }),
    iss: fc.option(jti, { nil: undefined }),
    sub: fc.option(jti, { nil: undefined }),
    sid: fc.option(jti, { nil: undefined }),
    issuedAt: fc.constantFrom(null, '2026-11-25T00:00:00.000Z', '2026-11-25T00:00:01.000Z'),
    claims: fc.option(fc.dictionary(claim.filter((name) => !(name in {})), value, { minKeys: 1, maxKeys: 2 }), { nil: undefined })
  })
  const essence = ({ jti, iss, sub, sid, issuedAt, claims }: Parameters<typeof recordNameOf>[0]) =>
    JSON.stringify(jti === undefined ? ['-', iss, sub, sid, issuedAt, claims && Object.entries(claims)] : ['j', iss, jti])
  fc.assert(fc.property(named, named, (one, other) => {
    return (recordNameOf(one) === recordNameOf(other)) === (essence(one) === essence(other))
  }), { numRuns: runs(2000) })
})

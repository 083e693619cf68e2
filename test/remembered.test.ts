import fc from 'fast-check'
import t from 'tap'
import { BROKEN, claimsOf, identityOfClaims, selectClaims, subjectOfClaims, type Rules } from '../lib/domain/claims.ts'
import { TokenReader } from '../lib/domain/token-reader.ts'

const RULES: Rules = { maxTokenLifetime: 3600, clockTolerance: 0, tokensWithoutJti: 'reject' }
const EXP = 1_800_000_000

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The reader takes a token as verified. Its place depends on the signature. */
const tokenOf = (claims: object, signature: string) => `${part({ alg: 'HS256' })}.${part(claims)}.${signature}`

t.test('a token that was read before is not read again', async (t) => {
  const reader = new TokenReader(RULES)
  const token = tokenOf({ jti: 'a', iss: 'i', sub: 's', exp: EXP, iat: EXP - 60 }, 'signature')
  const first = reader.read(token)
  t.match(first, { claims: { jti: 'a', iss: 'i', sub: 's', exp: EXP, iat: EXP - 60 }, identity: 'i/a', subject: 'i/s' })
  t.equal(reader.read(token), first)
  t.equal(reader.read(token.replace('signature', 'sigother')), first, 'one spelling of a signature is as good as another')
})

t.test('two tokens with signatures that begin alike are remembered beside each other, three are not, and each stays itself', async (t) => {
  const reader = new TokenReader(RULES)
  const tokens = ['a', 'b', 'c'].map((jti) => tokenOf({ jti, exp: EXP, iat: EXP - 60 }, 'same'))
  const read = (i: number) => reader.read(tokens[i]!)
  const [a, b] = [read(0), read(1)]
  t.equal(read(0), a)
  t.equal(read(1), b)
  t.match(read(2), { identity: 'c' })
  t.match([read(0), read(1), read(2)], [{ identity: 'a' }, { identity: 'b' }, { identity: 'c' }])
})

t.test('what is long is not remembered; what is not accepted is, with the rule that it breaks', async (t) => {
  const reader = new TokenReader(RULES)
  for (const [length, isRemembered] of [[700, true], [1100, false]] as const) {
    const token = tokenOf({ jti: 'a', exp: EXP, iat: EXP - 60, more: 'x'.repeat(length) }, 'signature')
    const first = reader.read(token)
    t.match(first, { identity: 'a' })
    t.equal(reader.read(token) === first, isRemembered, `${length} more characters`)
  }
  const bad = tokenOf({ jti: 5, exp: EXP, iat: EXP - 60 }, 'signature')
  for (let i = 0; i < 2; i++) t.match(reader.read(bad), { broken: BROKEN.jti, identity: undefined, claims: { exp: EXP } })
})

t.test('no part of a token is held that could be presented', async (t) => {
  const reader = new TokenReader(RULES)
  const token = tokenOf({ jti: 'a', exp: EXP, iat: EXP - 60 }, 'c2lnbmF0dXJl')
  t.notMatch(JSON.stringify(reader.read(token)), 'c2lnbmF0dXJl')
})

const jti = fc.constantFrom('a', 'b', 'c', 'ä/😀', 5, null, 'x'.repeat(256), undefined)
const claims = fc.record({
  jti, iss: fc.constantFrom('i', '', 'https://i/', undefined), sub: fc.constantFrom('alice', 'bob', '', 7, undefined), exp: fc.constantFrom(EXP, EXP + 0.5, undefined), iat: fc.constantFrom(EXP - 60, EXP - 7200, undefined)
})
const token = fc.tuple(claims, fc.constantFrom('', 'A', 'AAAA', 'AAAB', 'zzzz', '____'), fc.constantFrom(0, 1000)).map(([claims, signature, more]) =>
  tokenOf({ ...claims, ...(more > 0 && { more: 'x'.repeat(more) }) }, signature))

t.test('whatever was read before, a token is what it says itself', async (t) => {
  fc.assert(fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
    const reader = new TokenReader(RULES)
    return tokens.every((token) => {
      const { claims, broken } = selectClaims(claimsOf(token), RULES)
      const read = reader.read(token)
      return JSON.stringify([read.claims, read.broken, read.identity, read.subject]) === JSON.stringify([claims, broken, identityOfClaims(claims), subjectOfClaims(claims)])
    })
  }), { numRuns: 1000 })
})

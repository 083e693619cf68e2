import fc from 'fast-check'
import t, { type Test } from 'tap'
import { checkClaims, claimsOf, identityOfClaims, type CheckedClaims, type Rules, type TokenClaims } from '../lib/claims.ts'
import { EXPIRY_MARGIN, keptUntil, type Lifetimes } from '../lib/expiry.ts'
import { signed } from './support/app.ts'

const NOW = 1_800_000_000
const LIFETIME = 3600
const TOLERANCE = 5
const RULES: Rules = { maxTokenLifetime: LIFETIME, clockTolerance: TOLERANCE, tokensWithoutJti: 'reject' }
const UNBOUNDED: Rules = { ...RULES, maxTokenLifetime: null }
const WITHOUT_JTI: Rules = { ...RULES, tokensWithoutJti: 'accept' }

const BAD_JTI = 'its jti is no well-formed string of 1 to 255 characters'
const BAD_ISS = 'its iss is no well-formed string of at most 1024 characters'
const BAD_SUB = 'its sub is no well-formed string of at most 1024 characters'
const NO_EXP = 'it has no exp'
const EXPIRED = 'it has expired, and revocations are not kept beyond that'
const TOO_FAR = 'its exp is further away than maxTokenLifetime'
const TOO_LONG = 'it lives longer than maxTokenLifetime'

const GOOD = { jti: 'a', exp: NOW + 60 }

/** `now` in seconds; default NOW. */
type Row = [what: string, claims: TokenClaims, expected: CheckedClaims | string, now?: number]

function table (t: Test, rules: Rules, rows: Row[]) {
  for (const [what, claims, expected, now = NOW] of rows) t.strictSame(checkClaims(claims, rules, now * 1000), expected, what)
}

const strings: Array<[what: string, value: unknown]> = [
  ['null', null], ['a number', 1], ['zero', 0], ['true', true], ['an object', { a: 1 }], ['an array', ['a']], ['an empty array', []],
  ['a high surrogate alone', 'a\ud83d'], ['a low surrogate alone', '\ude00b'], ['a pair the wrong way round', '\ude00\ud83d']
]

t.test('P5 a jti is a well-formed string of 1 to 255 characters', async (t) => {
  for (const jti of [
    'a', ' ', '0', '/', '..', '%', '\u0000', '__proto__', 'constructor', 'ä', '😀', 'a'.repeat(255), 'é'.repeat(255), '😀'.repeat(127)
  ]) {
    t.strictSame(checkClaims({ ...GOOD, jti }, RULES, NOW * 1000), { jti, exp: GOOD.exp }, JSON.stringify(jti).slice(0, 20))
  }
  table(t, RULES, [
    ['none', { exp: GOOD.exp }, BAD_JTI],
    ['undefined', { ...GOOD, jti: undefined }, BAD_JTI],
    ['empty', { ...GOOD, jti: '' }, BAD_JTI],
    ['256 characters', { ...GOOD, jti: 'a'.repeat(256) }, BAD_JTI],
    ['256 characters outside the BMP', { ...GOOD, jti: '😀'.repeat(256) }, BAD_JTI],
    ['a megabyte', { ...GOOD, jti: 'a'.repeat(2 ** 20) }, BAD_JTI],
    ['a string object', { ...GOOD, jti: Object('a') }, BAD_JTI],
    ...strings.map(([what, jti]): Row => [what, { ...GOOD, jti }, BAD_JTI])
  ])
})

t.test('P5 a token without a usable jti passes where tokensWithoutJti says so, by every other rule', async (t) => {
  const exp = GOOD.exp
  table(t, WITHOUT_JTI, [
    ['none', { exp }, { exp }],
    ['empty', { exp, jti: '' }, { exp }],
    ['256 characters', { exp, jti: 'a'.repeat(256) }, { exp }],
    ...strings.map(([what, jti]): Row => [what, { exp, jti }, { exp }]),
    ['a usable one is still used', { exp, jti: 'a' }, { jti: 'a', exp }],
    ['issuer and subject are kept', { exp, iss: 'i', sub: 's', iat: NOW }, { exp, iss: 'i', sub: 's', iat: NOW }],
    ['a bad iss', { exp, iss: 1 }, BAD_ISS],
    ['a bad sub', { exp, sub: 1 }, BAD_SUB],
    ['no exp', {}, NO_EXP],
    ['expired', { exp: NOW - 100 }, EXPIRED],
    ['too far', { exp: NOW + 2 * LIFETIME }, TOO_FAR],
    ['too long', { exp, iat: NOW - LIFETIME }, TOO_LONG]
  ])
  t.equal(identityOfClaims({ exp }), undefined, 'and has no identity')
  t.equal(identityOfClaims({ exp, iss: 'i', sub: 's' }), undefined)
  t.equal(identityOfClaims({ exp, jti: 'a/b' }), 'a%2Fb')
  t.equal(identityOfClaims({ exp, jti: 'a/b', iss: 'https://i' }), 'https%3A%2F%2Fi/a%2Fb')
})

t.test('P5 an issuer and a subject are well-formed strings of at most 1,024 characters, and an empty one is none', async (t) => {
  for (const [claim, refusal] of [['iss', BAD_ISS], ['sub', BAD_SUB]] as const) {
    for (const value of ['a', ' ', '😀', '__proto__', 'a'.repeat(1024), 'é'.repeat(1024), '😀'.repeat(512)]) {
      t.strictSame(checkClaims({ ...GOOD, [claim]: value }, RULES, NOW * 1000), { jti: 'a', [claim]: value, exp: GOOD.exp }, `${claim} of ${value.length}`)
    }
    table(t, RULES, [
      [`no ${claim}`, { ...GOOD, [claim]: undefined }, GOOD],
      [`an empty ${claim}`, { ...GOOD, [claim]: '' }, GOOD],
      [`${claim} of 1,025 characters`, { ...GOOD, [claim]: 'a'.repeat(1025) }, refusal],
      [`${claim} of 1,025 characters outside the BMP`, { ...GOOD, [claim]: '😀'.repeat(1025) }, refusal],
      ...strings.map(([what, value]): Row => [`${claim} is ${what}`, { ...GOOD, [claim]: value }, refusal])
    ])
  }
})

t.test('P5 an exp is a number, and not further away than maxTokenLifetime', async (t) => {
  const furthest = NOW + LIFETIME + EXPIRY_MARGIN
  const accepted = (exp: number) => ({ jti: 'a', exp })
  table(t, RULES, [
    ['none', { jti: 'a' }, NO_EXP],
    ['undefined', { jti: 'a', exp: undefined }, NO_EXP],
    ['null', { jti: 'a', exp: null }, NO_EXP],
    ['a string of digits', { jti: 'a', exp: String(NOW + 60) }, NO_EXP],
    ['a date', { jti: 'a', exp: new Date(NOW * 1000).toISOString() }, NO_EXP],
    ['an object', { jti: 'a', exp: { valueOf: NOW + 60 } }, NO_EXP],
    ['an array', { jti: 'a', exp: [NOW + 60] }, NO_EXP],
    ['true', { jti: 'a', exp: true }, NO_EXP],
    ['now', accepted(NOW), accepted(NOW)],
    ['fractional', accepted(NOW + 0.25), accepted(NOW + 0.25)],
    ['the furthest', accepted(furthest), accepted(furthest)],
    ['a fraction further', accepted(furthest + 0.25), TOO_FAR],
    ['a second further', accepted(furthest + 1), TOO_FAR],
    ['not yet near enough', accepted(furthest + 1), TOO_FAR, NOW + 0.999],
    ['near enough a second later', accepted(furthest + 1), accepted(furthest + 1), NOW + 1],
    ['in milliseconds', accepted((NOW + 60) * 1000), TOO_FAR],
    ['1e300', accepted(1e300), TOO_FAR],
    ['1e999, as JSON reads it', { jti: 'a', exp: JSON.parse('1e999') }, TOO_FAR]
  ])
})

t.test('P2 a token past its exp and the clock tolerance is refused, because its revocation may be forgotten', async (t) => {
  const last = NOW - TOLERANCE
  const accepted = (exp: number) => ({ jti: 'a', exp })
  for (const rules of [RULES, UNBOUNDED]) {
    table(t, rules, [
      ['just within the tolerance', accepted(last), accepted(last)],
      ['a millisecond later', accepted(last), EXPIRED, NOW + 0.001],
      ['a fractional one counts to the end of its second', accepted(last - 0.75), accepted(last - 0.75)],
      ['a second earlier', accepted(last - 1), EXPIRED],
      ['zero', accepted(0), EXPIRED],
      ['negative', accepted(-1), EXPIRED],
      ['negative and fractional', accepted(-0.5), EXPIRED],
      ['-1e300', accepted(-1e300), EXPIRED],
      ['-1e999, as JSON reads it', { jti: 'a', exp: JSON.parse('-1e999') }, EXPIRED]
    ])
  }
  table(t, { ...RULES, clockTolerance: 0 }, [
    ['without tolerance', accepted(NOW), accepted(NOW)],
    ['and a millisecond later', accepted(NOW), EXPIRED, NOW + 0.001]
  ])
})

t.test('P5 a token does not live longer from its iat than maxTokenLifetime', async (t) => {
  const longest = LIFETIME + EXPIRY_MARGIN
  table(t, RULES, [
    ['the longest', { jti: 'a', iat: NOW - 10, exp: NOW - 10 + longest }, { jti: 'a', iat: NOW - 10, exp: NOW - 10 + longest }],
    ['a fraction longer', { jti: 'a', iat: NOW - 10, exp: NOW - 10 + longest + 0.25 }, TOO_LONG],
    ['a second longer', { jti: 'a', iat: NOW - 11, exp: NOW - 10 + longest }, TOO_LONG],
    ['long issued, soon over', { jti: 'a', iat: 1, exp: NOW + 1 }, TOO_LONG],
    ['an iat of 1e300', { jti: 'a', iat: 1e300, exp: NOW }, { jti: 'a', iat: 1e300, exp: NOW }],
    ['an iat of -1e300', { jti: 'a', iat: -1e300, exp: NOW }, TOO_LONG],
    ['an iat of -1e999, as JSON reads it', { jti: 'a', iat: JSON.parse('-1e999'), exp: NOW }, TOO_LONG],
    ['an iat that is no number says nothing', { jti: 'a', iat: '1', exp: NOW }, { jti: 'a', exp: NOW }],
    ['nor does null', { jti: 'a', iat: null, exp: NOW }, { jti: 'a', exp: NOW }]
  ])
})

t.test('P5 an unbounded maxTokenLifetime takes any exp that is not past, and none', async (t) => {
  table(t, UNBOUNDED, [
    ['none', { jti: 'a' }, { jti: 'a' }],
    ['none but an iat', { jti: 'a', iat: 1 }, { jti: 'a', iat: 1 }],
    ['null', { jti: 'a', exp: null }, { jti: 'a' }],
    ['in milliseconds', { jti: 'a', exp: NOW * 1000 }, { jti: 'a', exp: NOW * 1000 }],
    ['1e300', { jti: 'a', exp: 1e300 }, { jti: 'a', exp: 1e300 }],
    ['long issued', { jti: 'a', iat: 1, exp: NOW + 1 }, { jti: 'a', iat: 1, exp: NOW + 1 }],
    ['a bad jti', { exp: NOW }, BAD_JTI],
    ['a bad iss', { jti: 'a', iss: null }, BAD_ISS],
    ['a bad sub', { jti: 'a', sub: null }, BAD_SUB]
  ])
})

t.test('only the claims that matter come out, and none from a prototype', async (t) => {
  const claims = { ...GOOD, iat: NOW, iss: 'i', sub: 's', aud: 'x', nbf: 1, admin: true }
  t.strictSame(checkClaims(claims, RULES, NOW * 1000), { jti: 'a', iss: 'i', sub: 's', exp: GOOD.exp, iat: NOW })
  t.equal(checkClaims(JSON.parse(`{"__proto__":{"jti":"a"},"exp":${NOW}}`), RULES, NOW * 1000), BAD_JTI)
})

t.test('the claims are read from the token itself', async (t) => {
  const claims = { jti: 'ä😀/%', sub: '"', exp: NOW + 0.5, nested: { a: [1, null] } }
  t.strictSame(claimsOf(await signed(claims)), claims)
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (let length = 0; length < 4; length++) {
    const padded = { jti: 'a'.repeat(length) }
    t.strictSame(claimsOf(`${part({ alg: 'none' })}.${part(padded)}.`), padded, `a payload of ${JSON.stringify(padded).length} bytes`)
  }
  t.strictSame(claimsOf(`${part({ kid: 'x' })}.${Buffer.from('{"jti":"a","jti":"b"}').toString('base64url')}.c2ln`), { jti: 'b' }, 'the last of two counts, as it does for fast-jwt')
})

/** Infinity included, which JSON can say (1e999); no NaN, which it can't. */
const anyNumber = fc.double({ noNaN: true })

/** Any JSON value for every claim, and now and then one that makes sense. */
const anyClaims = fc.record({
  jti: fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ minLength: 1 })),
  iss: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 })),
  sub: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 })),
  exp: fc.oneof(fc.jsonValue(), fc.double({ min: NOW - 20, max: NOW + 2 * LIFETIME, noNaN: true }), anyNumber),
  iat: fc.oneof(fc.jsonValue(), fc.double({ min: NOW - 2 * LIFETIME, max: NOW + 20, noNaN: true }), anyNumber)
}, { requiredKeys: [] })
const anyRules: fc.Arbitrary<Rules> = fc.record({
  maxTokenLifetime: fc.constantFrom(null, 1, LIFETIME),
  clockTolerance: fc.constantFrom(0, TOLERANCE),
  tokensWithoutJti: fc.constantFrom('reject', 'accept')
})

t.test('whatever the claims are, the check throws nothing and says one of the rules, none of which breaks out of a header', async (t) => {
  const rules = [BAD_JTI, BAD_ISS, BAD_SUB, NO_EXP, EXPIRED, TOO_FAR, TOO_LONG]
  for (const rule of rules) t.match(rule, /^[\w ,.-]+$/)
  // A claims set is a JSON object (RFC 7519 §7.2), but who calls isRevoked() may get hold of anything.
  const anything = fc.oneof(anyClaims, fc.jsonValue().filter((value) => value !== null), fc.dictionary(fc.string(), fc.jsonValue()))
  fc.assert(fc.property(anything, anyRules, (claims, { maxTokenLifetime, ...others }) => {
    const checked = checkClaims(claims as TokenClaims, { maxTokenLifetime, ...others }, NOW * 1000)
    if (typeof checked === 'string') return rules.includes(checked)
    for (const [name, value] of Object.entries(checked)) {
      if ((claims as TokenClaims)[name] !== value) return false
      if (typeof value === 'string' && (value === '' || !value.isWellFormed() || value.length > (name === 'jti' ? 255 : 1024))) return false
    }
    return (checked.jti !== undefined || others.tokensWithoutJti === 'accept') && (checked.exp !== undefined || maxTokenLifetime === null)
  }), { numRuns: 2000 })
})

/** The last second in which a verifier with this tolerance, or our own check, lets a token pass (P2). */
const lastAccepted = (exp: number, { clockTolerance }: Lifetimes) => Math.ceil(exp) + clockTolerance

const isChecked = (checked: CheckedClaims | string): checked is CheckedClaims => typeof checked !== 'string'

t.test('P2 a revocation without a known exp, made at any time after the iat, outlasts a token that is accepted at any time after that', async (t) => {
  let seen = 0
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 10 ** 9 }), fc.integer({ min: 0, max: 600 }),
    fc.double({ min: 0, max: 4e9, noNaN: true }), fc.double({ min: -5, max: 30, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }),
    (maxTokenLifetime, clockTolerance, iat, beyond, revokedAfter, usedAfter) => {
      const rules: Rules = { maxTokenLifetime, clockTolerance, tokensWithoutJti: 'reject' }
      // Around the longest life there is, where it could go wrong.
      const exp = iat + maxTokenLifetime + beyond
      const span = maxTokenLifetime + clockTolerance + 60
      const revoked = iat + revokedAfter * span
      const used = revoked + usedAfter * (iat + span - revoked)
      if (!isChecked(checkClaims({ jti: 'a', iat, exp }, rules, used * 1000))) return true
      seen++
      const end = keptUntil(undefined, rules, revoked * 1000)
      return end === null || lastAccepted(exp, rules) <= end
    }
  ), { numRuns: 5000 })
  t.ok(seen > 1000, 'many of them were accepted')
})

t.test('P2 the same for any numbers as iat and exp', async (t) => {
  let seen = 0
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 0, max: 600 }), anyNumber, anyNumber,
    fc.double({ min: 0, max: 2 ** 40, noNaN: true }), fc.double({ min: 0, max: 2 ** 40, noNaN: true }),
    (maxTokenLifetime, clockTolerance, iat, exp, one, other) => {
      const rules: Rules = { maxTokenLifetime, clockTolerance, tokensWithoutJti: 'reject' }
      const [revoked, used] = one < other ? [one, other] : [other, one]
      if (!(iat <= revoked) || !isChecked(checkClaims({ jti: 'a', iat, exp }, rules, used * 1000))) return true
      seen++
      const end = keptUntil(undefined, rules, revoked * 1000)
      return end === null || lastAccepted(exp, rules) <= end
    }
  ), { numRuns: 20_000 })
  t.ok(seen > 10, 'some of them were accepted')
})

t.test('P2 a revocation without a known exp outlasts a token that is accepted when it is made, whatever its iat', async (t) => {
  let seen = 0
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 10 ** 9 }), fc.integer({ min: 0, max: 600 }),
    fc.double({ min: 0, max: 4e9, noNaN: true }), fc.double({ min: -1200, max: 30, noNaN: true }), fc.option(anyNumber),
    (maxTokenLifetime, clockTolerance, now, beyond, iat) => {
      const rules: Rules = { maxTokenLifetime, clockTolerance, tokensWithoutJti: 'reject' }
      const exp = now + maxTokenLifetime + beyond
      if (!isChecked(checkClaims({ jti: 'a', exp, ...(iat !== null && { iat }) }, rules, now * 1000))) return true
      seen++
      const end = keptUntil(undefined, rules, now * 1000)
      return end === null || lastAccepted(exp, rules) <= end
    }
  ), { numRuns: 5000 })
  t.ok(seen > 1000, 'many of them were accepted')
})

t.test('P2 a revocation with a known exp outlasts the token by the margin, or is kept for ever', async (t) => {
  fc.assert(fc.property(
    fc.option(fc.integer({ min: 1, max: 2 ** 40 })), fc.integer({ min: 0, max: 600 }), anyNumber, fc.double({ min: 0, max: 2 ** 40, noNaN: true }),
    (maxTokenLifetime, clockTolerance, exp, now) => {
      const rules = { maxTokenLifetime, clockTolerance }
      const end = keptUntil(exp, rules, now * 1000)
      return end === null || (Number.isInteger(end) && end >= lastAccepted(exp, rules) + EXPIRY_MARGIN && end > now)
    }
  ), { numRuns: 5000 })
})

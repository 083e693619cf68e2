import fc from 'fast-check'
import t, { type Test } from 'tap'
import { BROKEN, checkClaims, claimsOf, type CheckedClaims, type Rules, type TokenClaims } from '../../lib/domain/claims.ts'
import { namesOf } from '../../lib/domain/names.ts'
import { EXPIRY_MARGIN, IAT_AHEAD, keptUntil, logSpan, type Lifetimes } from '../../lib/domain/retention.ts'
import { signed } from '../support/app.ts'
import { NAMES } from '../support/domain.ts'
import { LEAD } from '../../lib/stores/entry.ts'
import { character } from '../support/character.ts'
import { runs } from '../support/runs.ts'

const NOW = 1_800_000_000
const LIFETIME = 3600
const TOLERANCE = 5
const RULES: Rules = { maxTokenLifetime: LIFETIME, clockTolerance: TOLERANCE, tokensWithoutJti: 'reject', ...NAMES }
const UNBOUNDED: Rules = { ...RULES, maxTokenLifetime: null }
const WITHOUT_JTI: Rules = { ...RULES, tokensWithoutJti: 'accept' }

const BAD_JTI = 'its jti is no well-formed string of 1 to 255 characters, sign it with one or set tokensWithoutJti to accept'
const LOGOUT = 'it is a logout token of a provider, present an access token instead'
const NO_JTI = 'it has no jti, sign it with issue, which adds one, or set tokensWithoutJti to accept'
const BAD_ISS = 'its iss is no well-formed string of at most 1024 characters, sign it with another or with none'
const BAD_SID = 'its session is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
const BAD_CLAIM = 'a claim of option revocableBy is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
const BAD_SUB = 'its sub is neither a well-formed string of at most 1024 characters nor a safe integer, sign it with another or with none'
const NO_EXP = 'it has no exp, sign it with expiresIn or set maxTokenLifetime to unbounded'
const NO_IAT = 'it has no iat as a number, sign it with one, not with noTimestamp, or set maxTokenLifetime to unbounded'
const AHEAD = 'its iat is ahead of the clock, set the clocks right or sign it with an iat of now in seconds'
const EXPIRED = 'it has expired, and revocations are not kept beyond that, get a new one'
const TOO_FAR = 'its exp is further away than maxTokenLifetime, sign it for a shorter time or set maxTokenLifetime to a longer one'
const TOO_LONG = 'it lives longer than maxTokenLifetime, sign it for a shorter time or set maxTokenLifetime to a longer one'

const GOOD = { jti: 'a', exp: NOW + 60, iat: NOW }

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
    t.strictSame(checkClaims({ ...GOOD, jti }, RULES, NOW * 1000), { ...GOOD, jti }, JSON.stringify(jti).slice(0, 20))
  }
  table(t, RULES, [
    ['none', { exp: GOOD.exp, iat: GOOD.iat }, NO_JTI],
    ['undefined', { ...GOOD, jti: undefined }, NO_JTI],
    ['empty', { ...GOOD, jti: '' }, BAD_JTI],
    ['256 characters', { ...GOOD, jti: 'a'.repeat(256) }, BAD_JTI],
    ['256 characters outside the BMP', { ...GOOD, jti: '😀'.repeat(256) }, BAD_JTI],
    ['a megabyte', { ...GOOD, jti: 'a'.repeat(2 ** 20) }, BAD_JTI],
    ['a string object', { ...GOOD, jti: Object('a') }, BAD_JTI],
    ...strings.map(([what, jti]): Row => [what, { ...GOOD, jti }, jti === null ? NO_JTI : BAD_JTI])
  ])
})

t.test('P5 a token without a usable jti passes where tokensWithoutJti says so, by every other rule', async (t) => {
  const { exp, iat } = GOOD
  table(t, WITHOUT_JTI, [
    ['none', { exp, iat }, { exp, iat }],
    ['empty', { exp, iat, jti: '' }, { exp, iat }],
    ['256 characters', { exp, iat, jti: 'a'.repeat(256) }, { exp, iat }],
    ...strings.map(([what, jti]): Row => [what, { exp, iat, jti }, { exp, iat }]),
    ['a usable one is still used', { exp, iat, jti: 'a' }, { jti: 'a', exp, iat }],
    ['issuer and subject are kept', { exp, iat, iss: 'i', sub: 's' }, { exp, iat, iss: 'i', sub: 's' }],
    ['a bad iss', { exp, iat, iss: 1 }, BAD_ISS],
    ['a bad sub', { exp, iat, sub: 1.5 }, BAD_SUB],
    ['no exp', { iat }, NO_EXP],
    ['no iat', { exp }, NO_IAT],
    ['expired', { exp: NOW - 100, iat }, EXPIRED],
    ['too far', { exp: NOW + 2 * LIFETIME, iat }, TOO_FAR],
    ['too long', { exp, iat: NOW - LIFETIME }, TOO_LONG]
  ])
  t.equal(namesOf({}).identity, undefined, 'and has no identity')
  t.equal(namesOf({ iss: 'i', sub: 's' }).identity, undefined)
  t.equal(namesOf({ jti: 'a/b' }).identity, 'a%2Fb')
  t.equal(namesOf({ jti: 'a/b', iss: 'https://i' }).identity, 'https%3A%2F%2Fi/a%2Fb')
})

t.test('P5 an issuer and a subject are well-formed strings of at most 1,024 characters, and an empty one is none', async (t) => {
  for (const [claim, refusal] of [['iss', BAD_ISS], ['sub', BAD_SUB]] as const) {
    for (const value of ['a', ' ', '😀', '__proto__', 'a'.repeat(1024), 'é'.repeat(1024), '😀'.repeat(512)]) {
      t.strictSame(checkClaims({ ...GOOD, [claim]: value }, RULES, NOW * 1000), { ...GOOD, [claim]: value }, `${claim} of ${value.length}`)
    }
    table(t, RULES, [
      [`no ${claim}`, { ...GOOD, [claim]: undefined }, GOOD],
      [`an empty ${claim}`, { ...GOOD, [claim]: '' }, GOOD],
      [`${claim} of 1,025 characters`, { ...GOOD, [claim]: 'a'.repeat(1025) }, refusal],
      [`${claim} of 1,025 characters outside the BMP`, { ...GOOD, [claim]: '😀'.repeat(1025) }, refusal],
      ...strings.filter(([, value]) => claim === 'iss' || !Number.isInteger(value)).map(([what, value]): Row => [`${claim} is ${what}`, { ...GOOD, [claim]: value }, refusal])
    ])
  }
})

t.test('P5 an exp is a number, and not further away than maxTokenLifetime', async (t) => {
  const furthest = NOW + LIFETIME + EXPIRY_MARGIN
  const accepted = (exp: number) => ({ jti: 'a', iat: NOW + 10, exp })
  table(t, RULES, [
    ['none', { jti: 'a', iat: NOW }, NO_EXP],
    ['undefined', { jti: 'a', iat: NOW, exp: undefined }, NO_EXP],
    ['null', { jti: 'a', iat: NOW, exp: null }, NO_EXP],
    ['a string of digits', { jti: 'a', iat: NOW, exp: String(NOW + 60) }, NO_EXP],
    ['a date', { jti: 'a', iat: NOW, exp: new Date(NOW * 1000).toISOString() }, NO_EXP],
    ['an object', { jti: 'a', iat: NOW, exp: { valueOf: NOW + 60 } }, NO_EXP],
    ['an array', { jti: 'a', iat: NOW, exp: [NOW + 60] }, NO_EXP],
    ['true', { jti: 'a', iat: NOW, exp: true }, NO_EXP],
    ['now', accepted(NOW), accepted(NOW)],
    ['fractional', accepted(NOW + 0.25), accepted(NOW + 0.25)],
    ['the furthest', accepted(furthest), accepted(furthest)],
    ['a fraction further', accepted(furthest + 0.25), TOO_FAR],
    ['a second further', accepted(furthest + 1), TOO_FAR],
    ['not yet near enough', accepted(furthest + 1), TOO_FAR, NOW + 0.999],
    ['near enough a second later', accepted(furthest + 1), accepted(furthest + 1), NOW + 1],
    ['in milliseconds', accepted((NOW + 60) * 1000), TOO_FAR],
    ['1e300', accepted(1e300), TOO_FAR],
    ['1e999, as JSON reads it', { jti: 'a', iat: NOW, exp: JSON.parse('1e999') }, TOO_FAR]
  ])
})

t.test('P2 a token past its exp and the clock tolerance is refused, because its revocation may be forgotten', async (t) => {
  const last = NOW - TOLERANCE
  const accepted = (exp: number) => ({ jti: 'a', iat: NOW + 10, exp })
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
      ['-1e999, as JSON reads it', { jti: 'a', iat: NOW, exp: JSON.parse('-1e999') }, EXPIRED]
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
    ['an iat of -1e300', { jti: 'a', iat: -1e300, exp: NOW }, TOO_LONG]
  ])
})

t.test('P5 an iat is a number, and not further ahead than a minute and the clock tolerance', async (t) => {
  const furthest = NOW + TOLERANCE + 60
  const exp = NOW + 600
  const rows = (expected: CheckedClaims | typeof NO_IAT): Row[] => [
    ['none', { jti: 'a', exp }],
    ...[undefined, null, String(NOW), true, new Date(NOW * 1000).toISOString(), { valueOf: NOW }, [NOW], JSON.parse('1e999'), JSON.parse('-1e999')]
      .map((iat) => [String(iat), { jti: 'a', exp, iat }])
  ].map(([what, claims]) => [what as string, claims as TokenClaims, expected])
  const accepted = (iat: number) => ({ jti: 'a', exp, iat })
  table(t, RULES, [
    ...rows(NO_IAT),
    ['a fraction', accepted(NOW + 0.25), accepted(NOW + 0.25)],
    ['the furthest', accepted(furthest), accepted(furthest)],
    ['a fraction further', accepted(furthest + 0.25), AHEAD],
    ['not yet near enough', accepted(furthest + 1), AHEAD, NOW + 0.999],
    ['near enough a second later', accepted(furthest + 1), accepted(furthest + 1), NOW + 1],
    ['ten years ahead, and its exp as well', { jti: 'a', iat: NOW + 10 * 365 * 86_400, exp: NOW + 10 * 365 * 86_400 + 60 }, AHEAD],
    ['in milliseconds', accepted(NOW * 1000), AHEAD],
    ['1e300', accepted(1e300), AHEAD]
  ])
  table(t, { ...RULES, clockTolerance: 0 }, [
    ['the furthest without a tolerance', accepted(NOW + 60), accepted(NOW + 60)],
    ['a second further', accepted(NOW + 61), AHEAD]
  ])
  table(t, UNBOUNDED, [
    ...rows({ jti: 'a', exp }),
    ['ten years ahead', accepted(NOW + 10 * 365 * 86_400), accepted(NOW + 10 * 365 * 86_400)]
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
    ['no jti', { exp: NOW }, NO_JTI],
    ['a bad jti', { jti: 5, exp: NOW }, BAD_JTI],
    ['a bad iss', { jti: 'a', iss: null }, BAD_ISS],
    ['a bad sub', { jti: 'a', sub: null }, BAD_SUB]
  ])
})

t.test('only the claims that matter come out, and none from a prototype', async (t) => {
  const claims = { ...GOOD, iat: NOW, iss: 'i', sub: 's', aud: 'x', nbf: 1, admin: true }
  t.strictSame(checkClaims(claims, RULES, NOW * 1000), { jti: 'a', iss: 'i', sub: 's', exp: GOOD.exp, iat: NOW })
  t.equal(checkClaims(JSON.parse(`{"__proto__":{"jti":"a"},"exp":${NOW},"iat":${NOW}}`), RULES, NOW * 1000), NO_JTI)
})

t.test('the claims are read from the token itself', async (t) => {
  const claims = { iat: NOW, jti: 'ä😀/%', sub: '"', exp: NOW + 0.5, nested: { a: [1, null] } }
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
  jti: fc.oneof(fc.jsonValue(), fc.string({ unit: character, maxLength: 300 }), fc.string({ minLength: 1 })),
  iss: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 })),
  sub: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 })),
  exp: fc.oneof(fc.jsonValue(), fc.double({ min: NOW - 20, max: NOW + 2 * LIFETIME, noNaN: true }), anyNumber),
  iat: fc.oneof(fc.jsonValue(), fc.double({ min: NOW - 2 * LIFETIME, max: NOW + 20, noNaN: true }), anyNumber),
  sid: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 })),
  tenant: fc.oneof(fc.jsonValue(), fc.string({ maxLength: 1100 }))
}, { requiredKeys: [] })
const anyRules: fc.Arbitrary<Rules> = fc.record({
  maxTokenLifetime: fc.constantFrom(null, 1, LIFETIME),
  clockTolerance: fc.constantFrom(0, TOLERANCE),
  tokensWithoutJti: fc.constantFrom('reject', 'accept'),
  claims: fc.constantFrom(NAMES.claims, { jti: 'sub', sub: 'jti', sid: 'sid' }),
  revocableBy: fc.constantFrom([], ['tenant'])
})

t.test('whatever the claims are, the check throws nothing and says one of the rules, none of which breaks out of a header', async (t) => {
  const rules = [LOGOUT, NO_JTI, BAD_JTI, BAD_ISS, BAD_SUB, BAD_SID, BAD_CLAIM, NO_EXP, NO_IAT, AHEAD, EXPIRED, TOO_FAR, TOO_LONG]
  t.strictSame(Object.values(BROKEN).sort(), [...rules].sort())
  for (const rule of rules) t.match(rule, /^[\w ,.-]+$/)
  // A claims set is a JSON object (RFC 7519 §7.2), but who calls isRevoked() may get hold of anything.
  const anything = fc.oneof(anyClaims, fc.jsonValue().filter((value) => value !== null), fc.dictionary(fc.string(), fc.jsonValue()))
  fc.assert(fc.property(anything, anyRules, (claims, { maxTokenLifetime, ...others }) => {
    const checked = checkClaims(claims as TokenClaims, { maxTokenLifetime, ...others }, NOW * 1000)
    if (typeof checked === 'string') return rules.includes(checked)
    const { claims: listed = {}, ...named } = checked
    for (const [name, value] of Object.entries({ ...named, ...listed })) {
      const claim = (claims as TokenClaims)[({ ...others.claims } as Record<string, string>)[name] ?? name]
      const isNumber = ['sub', 'sid', 'tenant'].includes(name) && Number.isSafeInteger(claim) && String(claim) === value
      if (claim !== value && !isNumber) return false
      if (typeof value === 'string' && (value === '' || !value.isWellFormed() || value.length > (name === 'jti' ? 255 : 1024))) return false
    }
    const { jti, sid } = checked
    return ((jti ?? sid) !== undefined || checked.claims !== undefined || others.tokensWithoutJti === 'accept') && (maxTokenLifetime === null || (checked.exp !== undefined && checked.iat !== undefined))
  }), { numRuns: runs(2000) })
})

const isChecked = (checked: CheckedClaims | string): checked is CheckedClaims => typeof checked !== 'string'

/** As they are signed: around the longest life there is and the furthest iat, where it could go wrong, or anywhere. */
const lives = fc.record({
  maxTokenLifetime: fc.option(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 2 ** 40 }))),
  clockTolerance: fc.integer({ min: 0, max: 600 }),
  revoked: fc.oneof(fc.double({ min: 0, max: 4e9, noNaN: true }), fc.integer({ min: 0, max: 2 ** 40 }))
}).chain(({ maxTokenLifetime, clockTolerance, revoked }) => {
  const rules: Rules = { maxTokenLifetime, clockTolerance, tokensWithoutJti: 'reject', ...NAMES }
  const longest = maxTokenLifetime ?? 3600
  const near = (moment: number) => fc.oneof(fc.constant(moment), fc.double({ min: moment - 20, max: moment + 20, noNaN: true }))
  const ago = fc.double({ min: 0, max: longest, noNaN: true }).map((seconds) => revoked - seconds)
  const iat = fc.oneof(near(revoked), near(revoked + clockTolerance + 60), ago, anyNumber)
  return iat.chain((iat) => {
    const exp = fc.oneof(near(iat + longest), near(iat + longest + EXPIRY_MARGIN), near(revoked + longest + EXPIRY_MARGIN), ago.map((before) => 2 * revoked - before), anyNumber)
    return exp.chain((exp) => {
      const end = Math.ceil(exp) + clockTolerance
      const used = fc.oneof(fc.constant(revoked), fc.constant(end), near(end), fc.double({ min: 0, max: 1, noNaN: true }).map((part) => revoked + part * (end - revoked)))
      // A part of no life at all, or of an endless one, is no moment.
      return used.map((used) => ({ rules, iat, exp, revoked, used: Math.max(Number.isNaN(used) ? revoked : used, revoked) }))
    })
  })
})

/** Whether something that is kept until then, as the log and the stores count, is still there. */
const outlasts = (end: number | null, used: number) => end === null || end > used

t.test('P2 a token that is accepted at any time after it was revoked was signed too far ahead, or its revocation is still kept: with its exp known or not', async (t) => {
  const seen = { all: 0, last: 0, ahead: 0 }
  fc.assert(fc.property(lives, ({ rules, iat, exp, revoked, used }) => {
    if (!isChecked(checkClaims({ jti: 'a', iat, exp }, rules, used * 1000))) return true
    // Nobody accepts it yet, and nobody may have signed it yet: whose clock is that far ahead is to be set right.
    if (rules.maxTokenLifetime !== null && iat > revoked + rules.clockTolerance + IAT_AHEAD) return true
    seen.all++
    if (used > exp + rules.clockTolerance - 1) seen.last++
    if (iat > revoked + rules.clockTolerance) seen.ahead++
    return outlasts(keptUntil(exp, rules, revoked * 1000), used) && outlasts(keptUntil(undefined, rules, revoked * 1000), used)
  }), { numRuns: runs(30_000) })
  t.ok(seen.all > 3000 && seen.last > 300 && seen.ahead > 300, 'many of them were accepted, up to their last second, and some were signed ahead', seen)
})

t.test('P2 the same by the margin, so that clocks may differ, where the token could be accepted when it was revoked', async (t) => {
  let seen = 0
  fc.assert(fc.property(lives, ({ rules, iat, exp, revoked }) => {
    const claims = { jti: 'a', iat, exp }
    if (!isChecked(checkClaims(claims, rules, revoked * 1000))) return true
    seen++
    const last = Math.ceil(exp) + rules.clockTolerance
    return [exp, undefined].every((known) => outlasts(keptUntil(known, rules, revoked * 1000), last + EXPIRY_MARGIN - 1))
  }), { numRuns: runs(20_000) })
  t.ok(seen > 1000, 'many of them were accepted', { seen })
})

t.test('no revocation is kept longer than maxTokenLifetime and the margins, and the log has it as long as its key', async (t) => {
  fc.assert(fc.property(
    fc.option(fc.integer({ min: 1, max: 2 ** 40 })), fc.integer({ min: 0, max: 600 }), fc.option(anyNumber, { nil: undefined }), fc.double({ min: 0, max: 2 ** 40, noNaN: true }),
    (maxTokenLifetime, clockTolerance, exp, now) => {
      const rules: Lifetimes = { maxTokenLifetime, clockTolerance }
      const end = keptUntil(exp, rules, now * 1000)
      const span = logSpan(rules)
      if (maxTokenLifetime === null) return span === null && (end === null || (exp !== undefined && Number.isInteger(end) && end > now))
      const margins = 2 * clockTolerance + IAT_AHEAD + 2 * EXPIRY_MARGIN + 1
      // The lead of a cutoff comes on top, and a minute for the clocks of those who read.
      return end !== null && Number.isInteger(end) && end > now && end <= now + maxTokenLifetime + margins && span !== null && span >= end - now + LEAD + 59
    }
  ), { numRuns: runs(10_000) })
})

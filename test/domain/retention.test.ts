import t from 'tap'
import { EXPIRY_MARGIN, IAT_AHEAD, isoTime, keptUntil, logSpan, type Lifetimes } from '../../lib/domain/retention.ts'
import { LEAD } from '../../lib/stores/entry.ts'
import type { Seconds } from '../../lib/time.ts'

const NOW = 1_800_000_000
const BOUNDED: Lifetimes = { maxTokenLifetime: 3600, clockTolerance: 0 }
const TOLERANT: Lifetimes = { maxTokenLifetime: 3600, clockTolerance: 5 }
const UNBOUNDED: Lifetimes = { maxTokenLifetime: null, clockTolerance: 5 }
/** The last second that a Date can tell. */
const LAST = 8.64e12

t.test('P2 the margin is ten seconds, an iat may be ahead by a minute, and a cutoff leads by five seconds', async (t) => {
  t.strictSame([EXPIRY_MARGIN, IAT_AHEAD, LEAD], [10, 60, 5])
})

t.test('an entry of the log matters longer than any key is kept, or for ever', async (t) => {
  t.equal(logSpan(BOUNDED), 60 + 3600 + 10 + 10 + 5 + 60)
  t.equal(logSpan(TOLERANT), 5 + 60 + 3600 + 10 + 5 + 10 + 5 + 60)
  t.equal(logSpan(UNBOUNDED), null)
})

t.test('P2 a revocation is kept until the end of the exp, the clock tolerance and the margin, in whole seconds', async (t) => {
  const rows: Array<[what: string, exp: number | undefined, lifetimes: Lifetimes, now: Seconds, expected: Seconds | null]> = [
    ['a known exp', NOW + 60, BOUNDED, NOW, NOW + 70],
    ['with a tolerance', NOW + 60, TOLERANT, NOW, NOW + 75],
    ['unbounded as well', NOW + 60, UNBOUNDED, NOW, NOW + 75],
    ['a fractional exp, to the end of its second', NOW + 60.001, TOLERANT, NOW, NOW + 76],
    ['just short of a whole second', NOW + 60.999, TOLERANT, NOW, NOW + 76],
    ['the furthest exp there is, of a token that was signed ahead', NOW + 3675, TOLERANT, NOW, NOW + 3690],
    ['an exp further away, which no token has that is accepted', NOW + 3676, TOLERANT, NOW, NOW + 3690],
    ['an exp ten times as far away', NOW + 10 * 3600, TOLERANT, NOW, NOW + 3690],
    ['unbounded, an exp far away', NOW + 10 * 3600, UNBOUNDED, NOW, NOW + 10 * 3600 + 15],
    ['an exp now', NOW, TOLERANT, NOW, NOW + 15],
    ['a past exp, from now', NOW - 1000, TOLERANT, NOW, NOW + 15],
    ['a past exp, from the end of this second', NOW - 1000, TOLERANT, NOW + 0.001, NOW + 16],
    ['zero', 0, TOLERANT, NOW, NOW + 15],
    ['negative and fractional', -0.5, TOLERANT, NOW, NOW + 15],
    ['-1e300', -1e300, TOLERANT, NOW, NOW + 15],
    ['minus infinity', -Infinity, TOLERANT, NOW, NOW + 15],
    ['no exp, as the furthest', undefined, BOUNDED, NOW, NOW + 3680],
    ['no exp, with a tolerance', undefined, TOLERANT, NOW, NOW + 3690],
    ['no exp, from the end of this second', undefined, TOLERANT, NOW + 0.001, NOW + 3691],
    ['no exp, unbounded: for ever', undefined, UNBOUNDED, NOW, null],
    ['an exp in milliseconds', (NOW + 60) * 1000, TOLERANT, NOW, NOW + 3690],
    ['unbounded, it is far away and can be told', (NOW + 60) * 1000, UNBOUNDED, NOW, (NOW + 60) * 1000 + 15],
    ['the last that can be told', LAST - 16, UNBOUNDED, NOW, LAST - 1],
    ['past it: for ever', LAST - 15, UNBOUNDED, NOW, null],
    ['1e300', 1e300, TOLERANT, NOW, NOW + 3690],
    ['infinity, bounded', Infinity, TOLERANT, NOW, NOW + 3690],
    ['infinity', Infinity, UNBOUNDED, NOW, null],
    ['no exp, and a lifetime past the last moment', undefined, { maxTokenLifetime: LAST, clockTolerance: 0 }, NOW, null]
  ]
  for (const [what, exp, lifetimes, now, expected] of rows) t.equal(keptUntil(exp, lifetimes, now * 1000), expected, what)
})

t.test('a moment is told in ISO 8601, or is null where it is unknown or beyond a Date', async (t) => {
  const rows: Array<[seconds: number | undefined, expected: string | null]> = [
    [undefined, null],
    [0, '1970-01-01T00:00:00.000Z'],
    [-1, '1969-12-31T23:59:59.000Z'],
    [NOW, '2027-01-15T08:00:00.000Z'],
    [NOW + 0.25, '2027-01-15T08:00:00.250Z'],
    [NOW * 1000, '+059009-09-24T08:00:00.000Z'],
    [LAST, '+275760-09-13T00:00:00.000Z'],
    [LAST + 1, null],
    [-LAST, '-271821-04-20T00:00:00.000Z'],
    [-LAST - 1, null],
    [1e300, null],
    [Infinity, null],
    [-Infinity, null],
    [NaN, null]
  ]
  for (const [seconds, expected] of rows) t.equal(isoTime(seconds, Math.ceil), expected, String(seconds))
})

t.test('a moment between two milliseconds is rounded as the caller asks', async (t) => {
  t.equal(isoTime(NOW + 0.0004, Math.ceil), '2027-01-15T08:00:00.001Z')
  t.equal(isoTime(NOW + 0.9996, Math.floor), '2027-01-15T08:00:00.999Z')
})

import t from 'tap'
import { Deadline } from '../../../lib/stores/deadline.ts'
import { Owed, type OwedWrite, type Rewrite } from '../../../lib/stores/redis/owed.ts'
import { eventually } from '../../support/redis.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { systemClock } from '../../../lib/time.ts'

/*
 * Goal: what may stand, and nobody was told of, is written again until it is known to stand (P3, P11).
 * Method: what becomes of each write is the test's; the second between two tries passes.
 */

const entry = (name: string, fields: Partial<Entry> = {}): Entry => ({ kind: 'revoked', name, at: 5, exp: null, until: 100, ...fields })
const cutoff = (at: number, until: number | null) => entry('alice', { kind: 'cutoff', at, until })

function owedOf (t: { teardown: (fn: () => unknown) => void }, rewrite: Rewrite = async (some) => some.map(() => 'unknown')) {
  const owed = new Owed({ clock: systemClock, rewrite, deadline: new Deadline({ timeout: 10_000, clock: systemClock }), onDisowned () {}, most: 100 })
  t.teardown(() => owed.close())
  return owed
}

t.test('of several cutoffs of a subject the latest is owed, for as long as any of them', async (t) => {
  const owed = owedOf(t)
  const found = () => owed.of(cutoff(0, 0))
  owed.add(cutoff(5, 100), undefined)
  owed.add(cutoff(7, 90), undefined)
  t.match(found(), { entry: cutoff(7, 100) })
  owed.add(cutoff(6, null), undefined)
  t.match(found(), { entry: cutoff(7, null), ats: new Set([5, 7, 6]) })
  owed.add(cutoff(7, 200), undefined)
  t.match(found(), { entry: cutoff(7, null) }, 'for ever is the longest')
})

t.test('a revocation that is asked for again stays the first, and joins its moment', async (t) => {
  const owed = owedOf(t)
  owed.add(entry('a', { exp: 50 }), undefined)
  owed.add(entry('a', { at: 9, exp: 60, until: 200 }), undefined)
  t.match(owed.of(entry('a')), { entry: entry('a', { exp: 50, until: 200 }), ats: new Set([5, 9]) })
})

t.test('each of those that are tried together goes on by what became of it', async (t) => {
  const tries: string[][] = []
  let outcome: Record<string, 'acknowledged' | 'refused' | 'unknown'> = { a: 'acknowledged', b: 'unknown', c: 'refused' }
  const owed = owedOf(t, async (some) => {
    tries.push(some.map(({ entry }) => entry.name))
    return some.map(({ entry }) => outcome[entry.name]!)
  })
  for (const name of ['a', 'b', 'c']) owed.add(entry(name), undefined)
  await eventually('they are tried', async () => tries.length === 1)
  outcome = { b: 'acknowledged' }
  await eventually('and one of them again', async () => tries.length === 2)
  t.strictSame(tries, [['a', 'b', 'c'], ['b']])
  t.equal(owed.of(entry('b')), undefined)
})

t.test('what was settled and is owed anew while it is tried is another one', async (t) => {
  const tried: OwedWrite[] = []
  const owed = owedOf(t, async (some) => {
    tried.push(...some)
    if (tried.length === 1) {
      owed.settle(entry('a'))
      owed.add(entry('a', { at: 6 }), undefined)
    }
    return some.map(() => 'acknowledged')
  })
  owed.add(entry('a'), undefined)
  await eventually('both are tried', async () => tried.length === 2)
  t.match(tried, [{ ats: new Set([5]) }, { ats: new Set([6]) }])
})

t.test('where too many are owed, what must stand takes the place of what its caller may ask for again', async (t) => {
  const owed = owedOf(t)
  const holds = (name: string) => owed.of(entry(name)) !== undefined
  for (let i = 0; i < 100; i++) owed.add(entry(`may-${i}`), undefined)
  owed.add(entry('one more'), undefined)
  t.notOk(holds('one more'))
  owed.add(entry('may-0'), undefined, true)
  owed.add(entry('must'), undefined, true)
  t.strictSame(['may-0', 'may-1', 'may-2', 'must'].map(holds), [true, false, true, true], 'what joined one that may go, must stand too')
  for (let i = 0; i < 200; i++) owed.add(entry(`must-${i}`), undefined, true)
  t.strictSame(['may-0', 'must', 'must-97', 'must-98'].map(holds), [true, true, true, false], 'there is a bound for these as well')
})

t.test('an earlier cutoff does not settle a later one', async (t) => {
  const owed = owedOf(t)
  owed.add(cutoff(7, 100), undefined)
  owed.settle(cutoff(6, 100))
  t.match(owed.of(cutoff(0, 0)), { entry: cutoff(7, 100) })
  owed.settle(cutoff(7, 100))
  t.equal(owed.of(cutoff(0, 0)), undefined)
})

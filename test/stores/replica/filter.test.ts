import fc from 'fast-check'
import { randomInt, randomUUID } from 'node:crypto'
import t from 'tap'
import { identityOf } from '../../../lib/domain/names.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { Denylist } from '../../../lib/stores/replica/denylist.ts'
import { Filter, FILTER_WORDS } from '../../../lib/stores/replica/filter.ts'
import { runs } from '../../support/runs.ts'

const NOW = 1_800_000_000
const KINDS = ['revoked', 'cutoff'] as const

const anyHash = () => randomInt(2 ** 32)
const hash = fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 2 ** 16 - 1, 2 ** 16, 2 ** 31, 2 ** 32 - 1))
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ what: fc.constant('add' as const), segment: fc.nat(20), hash }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('grow' as const), segment: fc.integer({ min: 1, max: 5 }), hash: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('clear' as const), segment: fc.nat(20), hash: fc.constant(0) }) }
)

t.test('whatever is added, cleared and grown: the filter never says no of what it was given', async () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
    const filter = new Filter()
    const given = [new Set<number>()]
    for (const { what, segment: any, hash } of steps) {
      const segment = any % given.length
      if (what === 'grow') {
        for (let i = 0; i < any; i++) given.push(new Set())
        filter.grow(given.length)
      } else if (what === 'clear') {
        filter.clear(segment)
        given[segment]!.clear()
      } else {
        filter.add(segment, hash)
        given[segment]!.add(hash)
      }
      if (given.some((hashes, segment) => [...hashes].some((hash) => !filter.mayHave(segment, hash)))) return false
    }
    return true
  }), { numRuns: runs(400) })
})

t.test('the filter says no of nearly all that it was not given, and of all that belongs to other segments', async (t) => {
  const filter = new Filter()
  filter.grow(3)
  const asked = 50_000
  const perhaps = (segment: number) => Array.from({ length: asked }, anyHash).filter((hash) => filter.mayHave(segment, hash)).length
  t.equal(perhaps(1), 0, 'an empty one')
  // As many UUIDs as a segment holds on average.
  for (let i = 0; i < 1365; i++) filter.add(1, anyHash())
  t.ok(perhaps(1) < asked / 8, 'on average')
  for (let i = 0; i < 1365; i++) filter.add(1, anyHash())
  t.ok(perhaps(1) < asked / 3, 'just before it is split')
  t.strictSame([perhaps(0), perhaps(2)], [0, 0], 'the neighbours')
  filter.clear(1)
  t.equal(perhaps(1), 0, 'cleared')
})

t.test('hashes that differ in any one bit differ in word or bits', async (t) => {
  for (let bit = 0; bit < 32; bit++) {
    let alike = 0
    for (let i = 0; i < 200; i++) {
      const filter = new Filter()
      const hash = anyHash()
      filter.add(0, hash)
      if (filter.mayHave(0, (hash ^ 1 << bit) >>> 0)) alike++
    }
    t.ok(alike < 100, `bit ${bit}: ${alike} of 200`)
  }
  t.ok(FILTER_WORDS < 2 ** 16, 'the upper half of a hash reaches every word')
})

/** Names of each form that a table packs, and some that are too long for it. */
function nameOf (i: number, salt: string): string {
  const iss = ['https://issuer.example/', 'i', '😀'.repeat(20)][i % 3]!
  switch (i % 7) {
    case 0: return identityOf(undefined, `${salt}-${i}`)
    case 1: return identityOf(iss, `${salt}-${i}`)
    case 2: return identityOf(undefined, `${salt} é😀/${i}`)
    case 3: return identityOf(iss, `${salt}😀`.repeat(20) + i)
    case 4: return `sid:${identityOf(iss, `${salt}|${i}`)}`
    case 5: return identityOf(iss, UUIDS[i % UUIDS.length]!)
    default: return identityOf(undefined, UUIDS[i % UUIDS.length]!)
  }
}
const UUIDS = Array.from({ length: 12_000 }, () => randomUUID())
const bulk = fc.record({
  what: fc.constantFrom('add', 'add', 'add', 'again', 'wait', 'sweep', 'unlog'),
  kind: fc.constantFrom(...KINDS),
  from: fc.nat(12_000),
  count: fc.integer({ min: 1, max: 3000 }),
  left: fc.constantFrom(5, 20, 100),
  salt: fc.constantFrom('a', 'b-ä')
})

t.test('of what is kept a replica never says no, in many parts that split, merge ends and are swept', async () => {
  fc.assert(fc.property(fc.array(bulk, { minLength: 3, maxLength: 8 }), (steps) => {
    let now = NOW
    const list = new Denylist(() => now)
    const kept = { revoked: new Map<string, number>(), cutoff: new Map<string, number>() }
    for (const { what, kind, from, count, left, salt } of steps) {
      if (what === 'wait') now += left
      else if (what === 'unlog') for (const unlogging = list.unlog(); !unlogging.next().done;);
      else if (what === 'sweep') for (let i = 0; i < count / 100; i++) list.sweep()
      else {
        // An end that is far from `at` takes a record of another size.
        const at = what === 'again' ? 1 : now
        for (let i = from; i < from + count; i++) {
          const name = nameOf(i, salt)
          const entry: Entry = { kind, name, at, exp: null, until: now + left }
          list.add(entry, true)
          kept[kind].set(name, Math.max(kept[kind].get(name) ?? 0, now + left))
        }
      }
      for (const [name, until] of kept.revoked) if (list.isRevoked(name) !== (until > now)) return false
      for (const [name, until] of kept.cutoff) if ((list.cutoffOf(name) !== null) !== (until > now)) return false
    }
    return true
  }), { numRuns: runs(24) })
})

t.test('a name is asked for under each kind by itself', async (t) => {
  const list = new Denylist(() => NOW)
  const names = Array.from({ length: 4000 }, (_, i) => nameOf(i, 'kind'))
  for (const [i, name] of names.entries()) list.add({ kind: KINDS[i % 2]!, name, at: NOW, exp: null, until: NOW + 10 }, true)
  t.strictSame(names.filter((name, i) => list.isRevoked(name) !== (i % 2 === 0)), [])
  t.strictSame(names.filter((name, i) => (list.cutoffOf(name) === NOW) !== (i % 2 === 1)), [])
})

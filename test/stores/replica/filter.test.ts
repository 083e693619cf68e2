import fc from 'fast-check'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { identityOf } from '../../../lib/domain/names.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { Denylist } from '../../../lib/stores/replica/denylist.ts'
import { Filter } from '../../../lib/stores/replica/filter.ts'
import { runs } from '../../support/runs.ts'

const NOW = 1_800_000_000
const KINDS = ['revoked', 'cutoff'] as const

const name = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.uuid(), fc.nat().map(String))

t.test('the filter never says no of what it was given, whatever the names', async () => {
  fc.assert(fc.property(fc.array(name, { maxLength: 3000 }), fc.nat(5000), (names, expected) => {
    const filter = new Filter(expected)
    for (const name of names) filter.add(name)
    return names.every((name) => filter.mayHave(name))
  }), { numRuns: runs(100) })
})

/** Names as applications make them: at random, by counting, and with all that differs in one place. */
const SHAPES: Record<string, (i: number) => string> = {
  'a UUID': () => randomUUID(),
  'a UUID by time': (i) => `${(0x12345678 + i).toString(16)}-1234-11ee-8c00-0242ac120002`,
  'a number': String,
  'a number with an issuer': (i) => `https%3A%2F%2Fissuer.example/${i}`,
  'an address': (i) => `user${i}@example.com`,
  'digits of one length': (i) => i.toString(16).padStart(64, '0')
}

for (const [shape, nameOf] of Object.entries(SHAPES)) {
  t.test(`the filter says no of nearly all that it was not given: ${shape}`, async (t) => {
    const count = 20_000
    const filter = new Filter(count)
    const others = Array.from({ length: count }, (_, i) => nameOf(2 * i + 1))
    const perhaps = () => others.filter((name) => filter.mayHave(name)).length
    t.equal(perhaps(), 0, 'an empty one')
    for (let i = 0; i < count; i++) filter.add(nameOf(2 * i))
    t.ok(perhaps() < count / 14, `${perhaps()} of ${count}`)
    t.notOk(filter.isFull)
    let more = count
    while (!filter.isFull) filter.add(nameOf(2 * more++))
    t.ok(perhaps() < count / 7, `${perhaps()} of ${count} when it is full`)
    t.ok(more > 1.5 * count, 'it holds more by a half, and what it holds by chance')
  })
}

t.test('a name that the filter has already takes no room', async (t) => {
  const filter = new Filter(0)
  for (let i = 0; i < 10_000; i++) filter.add('the same')
  t.notOk(filter.isFull)
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
  what: fc.constantFrom('add', 'add', 'add', 'again', 'wait', 'sweep', 'unlog', 'trim', 'trim a part'),
  kind: fc.constantFrom(...KINDS),
  from: fc.nat(12_000),
  count: fc.integer({ min: 1, max: 3000 }),
  left: fc.constantFrom(5, 20, 100),
  salt: fc.constantFrom('a', 'b-ä')
})

t.test('of what is kept a replica never says no, in many parts that split, merge ends and are swept', async () => {
  fc.assert(fc.property(fc.array(bulk, { minLength: 3, maxLength: 10 }), (steps) => {
    let now = NOW
    const list = new Denylist(() => now)
    const kept = { revoked: new Map<string, number>(), cutoff: new Map<string, number>() }
    let trimming = list.trim()
    for (const { what, kind, from, count, left, salt } of steps) {
      if (what === 'wait') now += left
      else if (what === 'unlog') for (const unlogging = list.unlog(); !unlogging.next().done;);
      else if (what === 'trim' || what === 'trim a part') {
        // Names are added between the parts as well.
        let steps = what === 'trim' ? Infinity : count / 300
        while (steps-- > 0 && !trimming.next().done);
        if (steps > 0) trimming = list.trim()
      } else if (what === 'sweep') for (let i = 0; i < count / 100; i++) list.sweep()
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

t.test('a copy that grows by half makes another filter while it is swept, and names that come meanwhile are in it', async (t) => {
  const list = new Denylist(() => NOW)
  let count = 0
  const grow = (names: number) => {
    for (const end = count + names; count < end; count++) {
      list.add({ kind: 'revoked', name: nameOf(count, 'grow'), at: NOW, exp: null, until: NOW + 10 }, true)
    }
  }
  grow(3000)
  for (const trimming = list.trim(); !trimming.next().done;);
  const missing = () => Array.from({ length: count }, (_, i) => nameOf(i, 'grow')).filter((name) => !list.isRevoked(name))
  for (let round = 0; round < 60; round++) {
    grow(150)
    list.sweep()
    t.strictSame(missing(), [])
  }
  for (let part = 0; part < 60; part++) list.sweep()
  const asked: Filter[] = []
  const { mayHave } = Filter.prototype
  Filter.prototype.mayHave = function (name) {
    asked.push(this)
    return mayHave.call(this, name)
  }
  t.teardown(() => { Filter.prototype.mayHave = mayHave })
  list.isRevoked('nobody')
  t.strictSame(asked.map(({ isFull }) => isFull), [false])
})

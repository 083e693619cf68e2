import fc from 'fast-check'
import { randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import { identityOf } from '../../../lib/domain/names.ts'
import { Denylist } from '../../../lib/stores/replica/denylist.ts'
import { Issuers } from '../../../lib/stores/replica/issuers.ts'
import { hashOf } from '../../../lib/stores/replica/hash.ts'
import { ISSUER_UUID, MAX_TEXT, PackedName, TEXT, UUID } from '../../../lib/stores/replica/packed-name.ts'
import { Segment, sizeOf } from '../../../lib/stores/replica/segment.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { isThorough, runs } from '../../support/runs.ts'

const NOW = 1_800_000_000
const DAY = 24 * 3600
/** The latest second that fits 32 bits stands for no end. */
const LAST = 2 ** 32 - 1

const KINDS = ['revoked', 'cutoff'] as const

function denylist (now = NOW) {
  const time = { now }
  return { time, list: new Denylist(() => time.now) }
}

const denial = (name: string, fields: Partial<Entry> = {}): Entry =>
  ({ kind: 'revoked', name, at: NOW, exp: NOW + 900, until: NOW + 910, ...fields })
const cutoff = (name: string, fields: Partial<Entry> = {}): Entry =>
  ({ kind: 'cutoff', name, at: NOW, exp: null, until: NOW + 30 * DAY + 10, ...fields })

const byName = (a: Entry, b: Entry) => a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.name < b.name ? -1 : Number(a.name > b.name)
const entriesOf = (list: Denylist, unlogged?: boolean) => [...list.entries(unlogged)].flat().sort(byName)

function unmarkAll (list: Denylist) {
  for (const unmarking = list.unlog(); !unmarking.next().done;);
}

/** Every part has its turn. */
function sweepAll (list: Denylist) {
  for (let parts = [...list.entries()].length; parts > 0; parts--) list.sweep()
}

const NAMES: Record<string, string> = {
  'a UUID': '0f8fad5b-d9cb-469f-a165-70867728950e',
  'the least UUID': '00000000-0000-0000-0000-000000000000',
  'the greatest UUID': 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  'a UUID with an issuer': 'https%3A%2F%2Fissuer.example%2F/0f8fad5b-d9cb-469f-a165-70867728950e',
  'a UUID with the shortest issuer': 'a/0f8fad5b-d9cb-469f-a165-70867728950e',
  'a UUID with an issuer that is one': '0f8fad5b-d9cb-469f-a165-70867728950e/0f8fad5b-d9cb-469f-a165-70867728950e',
  'a UUID with an issuer too long for a text': `${'i'.repeat(3000)}/0f8fad5b-d9cb-469f-a165-70867728950e`,
  'a UUID in capitals': '0F8FAD5B-D9CB-469F-A165-70867728950E',
  'a UUID with a capital': '0f8fad5b-d9cb-469f-a165-70867728950E',
  'a UUID without hyphens': '0f8fad5bd9cb469fa16570867728950e',
  'hyphens alone where a UUID has them': '????????-????-????-????-????????????',
  'a UUID of no hexadecimal': '0f8fad5b-d9cb-469f-a165-70867728950g',
  'a UUID and a character': '0f8fad5b-d9cb-469f-a165-70867728950e0',
  'a UUID but for a character': '0f8fad5b-d9cb-469f-a165-70867728950',
  'a UUID after a slash': '/0f8fad5b-d9cb-469f-a165-70867728950e',
  'one character': 'a',
  'a number': '1',
  'percent signs': '%F0%9F%98%80%2F%00',
  'what every object inherits': '__proto__',
  'an issuer and text': 'a/b',
  'an issuer and no text': 'a/',
  'slashes of somebody else': 'a/b/c',
  'as long as a text may be': 'a'.repeat(MAX_TEXT),
  'one character longer': 'a'.repeat(MAX_TEXT + 1),
  'much longer': `${'%F0%9F%98%80'.repeat(512)}/${'%F0%9F%98%80'.repeat(127)}`,
  'no ASCII': 'ä',
  'no ASCII where a UUID has digits': 'äf8fad5b-d9cb-469f-a165-70867728950e'
}

t.test('a name that is kept is found, of either kind, and no other', async (t) => {
  for (const [what, name] of Object.entries(NAMES)) {
    for (const kind of KINDS) {
      const { list } = denylist()
      const entry = kind === 'revoked' ? denial(name) : cutoff(name)
      t.equal(list.add(entry, true), true, `${what}: it is news`)
      t.equal(list.add(entry, true), false, `${what}: once`)
      const found = Object.entries(NAMES).map(([other, otherName]) => [other, list.isRevoked(otherName), list.cutoffOf(otherName)])
      t.strictSame(found, Object.keys(NAMES).map((other) => {
        const here = other === what
        return [other, here && kind === 'revoked', here && kind === 'cutoff' ? NOW : null]
      }), `${what}, ${kind}: the denials and cutoffs that are found`)
      t.strictSame(entriesOf(list), [entry], what)
      t.equal(list.size, 1)
    }
  }
  const { list } = denylist()
  for (const name of Object.values(NAMES)) t.ok(list.add(denial(name), true))
  for (const name of Object.values(NAMES)) t.ok(list.isRevoked(name))
  t.strictSame(entriesOf(list).map(({ name }) => name), Object.values(NAMES).sort())
  t.notOk(list.isRevoked('b/0f8fad5b-d9cb-469f-a165-70867728950e'), 'of an issuer that is not known')
})

t.test('of an entry that comes again the first at of a denial stays, a cutoff rises, and no end is shortened', async (t) => {
  const rows: Array<[what: string, first: Entry, again: Entry, news: boolean, kept: Partial<Entry>]> = [
    ['the same', denial('a'), denial('a'), false, {}],
    ['a later at', denial('a'), denial('a', { at: NOW + 5 }), false, {}],
    ['an earlier at', denial('a'), denial('a', { at: NOW - 5 }), false, {}],
    ['a later end', denial('a'), denial('a', { until: NOW + 5000 }), false, { until: NOW + 5000 }],
    ['an earlier end', denial('a'), denial('a', { until: NOW + 5 }), false, {}],
    ['no end', denial('a'), denial('a', { until: null }), false, { until: null }],
    ['an end where there is none', denial('a', { until: null }), denial('a'), false, { until: null }],
    ['an end that is past', denial('a'), denial('a', { until: NOW - 1 }), false, {}],
    ['an exp where it was unknown', denial('a', { exp: null }), denial('a', { exp: NOW + 7 }), false, { exp: NOW + 7 }],
    ['no exp where it is known', denial('a'), denial('a', { exp: null }), false, {}],
    ['another exp', denial('a'), denial('a', { exp: NOW + 7 }), false, {}],
    ['a far exp', denial('a', { exp: null }), denial('a', { exp: NOW + 1000 * DAY, until: NOW + 1000 * DAY + 10 }), false, { exp: NOW + 1000 * DAY, until: NOW + 1000 * DAY + 10 }],
    ['a later cutoff', cutoff('a'), cutoff('a', { at: NOW + 1 }), true, { at: NOW + 1 }],
    ['a later cutoff with an earlier end', cutoff('a'), cutoff('a', { at: NOW + 1, until: NOW + 60 }), true, { at: NOW + 1 }],
    ['an earlier cutoff', cutoff('a'), cutoff('a', { at: NOW - 1 }), false, {}],
    ['an earlier cutoff with a later end', cutoff('a'), cutoff('a', { at: NOW - 1, until: NOW + 60 * DAY }), false, { until: NOW + 60 * DAY }],
    ['a later cutoff that is past its end', cutoff('a'), cutoff('a', { at: NOW + 1, until: NOW }), false, {}]
  ]
  for (const [what, first, again, news, kept] of rows) {
    const { list } = denylist()
    t.equal(list.add(first, true), true, what)
    t.equal(list.add(again, true), news, `${what}: news or not`)
    t.strictSame(entriesOf(list), [{ ...first, ...kept }], what)
    t.equal(list.size, 1, what)
  }
})

t.test('new names hold at once, are raised, listed and counted, and go into the table a few at a time', async (t) => {
  const { time, list } = denylist()
  unmarkAll(list)
  for (let step = list.trim(); !step.next().done;);
  const names = [...Object.values(NAMES), ...Array.from({ length: 150 }, () => randomUUID())]
  for (const [i, name] of names.entries()) {
    t.equal(list.add(denial(name), i % 2 === 0), true)
    t.equal(list.add(denial(name, { at: NOW + 5, until: NOW + 960 }), false), false, 'it is no news twice')
    t.equal(list.add(cutoff(name), true), true)
    t.equal(list.add(cutoff(name, { at: NOW + 1 }), true), true, 'a cutoff rises')
    const held = names.slice(0, i + 1)
    t.ok(held.every((one) => list.isRevoked(one) && list.cutoffOf(one) === NOW + 1), name)
    t.equal(list.isRevoked(names[i + 1] ?? 'x'), false)
    t.equal(list.size, 2 * held.length)
    t.equal(list.isLogged(denial(name)), i % 2 === 0)
  }
  const entries = entriesOf(list)
  t.strictSame(entries, names.flatMap((name) => [
    denial(name, { until: NOW + 960 }), cutoff(name, { at: NOW + 1 })
  ]).sort(byName))
  list.add(denial('last'), false)
  unmarkAll(list)
  t.equal(list.isLogged(denial(names[0]!)), false)
  time.now = NOW + 960
  sweepAll(list)
  t.equal(list.isRevoked('last'), false)
  t.equal(list.size, names.length)
})

t.test('times are kept to the second on the safe side, and those that do not fit the narrow record as well', async (t) => {
  const rows: Array<[what: string, given: Partial<Entry>, kept?: Partial<Entry>]> = [
    ['97 days of age', { at: NOW - 97 * DAY }],
    ['98 days of age', { at: NOW - 98 * DAY }],
    ['as old as the epoch', { at: 0 }],
    ['the greatest age that is narrow', { at: NOW + 910 - (2 ** 23 - 1) }],
    ['a second more', { at: NOW + 910 - 2 ** 23 }],
    ['revoked in the future', { at: NOW + 800 }],
    ['revoked after its end', { at: NOW + 5000 }],
    ['no exp', { exp: null }],
    ['no exp and an age', { exp: null, at: NOW - 200 * DAY }],
    ['exp at the end', { exp: NOW + 910 }],
    ['exp 30 s before the end', { exp: NOW + 880 }],
    ['exp 31 s before the end', { exp: NOW + 879 }],
    ['exp a day before the end', { exp: NOW + 910 - DAY }],
    ['exp after the end', { exp: NOW + 911 }],
    ['exp long after the end', { exp: NOW + 1000 * DAY }],
    ['exp long ago', { exp: 1 }],
    ['for ever', { until: null }],
    ['for ever, no exp', { until: null, exp: null }],
    ['fractional seconds', { at: NOW - 0.25, exp: NOW + 899.25, until: NOW + 909.25 }, { at: NOW - 1, exp: NOW + 900, until: NOW + 910 }],
    ['fractional seconds that last', { at: NOW + 0.9999, exp: NOW + 900.0001, until: NOW + 910.0001 }, { at: NOW, exp: NOW + 901, until: NOW + 911 }],
    ['the last second', { until: LAST - 1 }],
    ['beyond 32 bits', { exp: 2 ** 32 + 5, until: 2 ** 32 + 15 }, { exp: LAST, until: null }],
    ['far beyond', { at: 1e15, exp: 1e15, until: 1e15 }, { at: LAST, exp: LAST, until: null }],
    ['before the epoch', { at: -5 }, { at: 0 }]
  ]
  for (const name of ['0f8fad5b-d9cb-469f-a165-70867728950e', 'a/0f8fad5b-d9cb-469f-a165-70867728950e', 'a', 'a'.repeat(MAX_TEXT), 'a'.repeat(300)]) {
    const all = denylist().list
    for (const [i, [what, given, kept = {}]] of rows.entries()) {
      const { list } = denylist()
      t.ok(list.add(denial(name, given), true), what)
      const expected = { ...denial(name), ...given, ...kept }
      t.strictSame(entriesOf(list), [expected], `${what}, ${name.length} characters`)
      t.ok(list.isRevoked(name), what)
      all.add(denial(`${i}${name.slice(1)}`, given), true)
    }
    t.strictSame(
      entriesOf(all),
      rows.map(([, given, kept = {}], i) => ({ ...denial(`${i}${name.slice(1)}`), ...given, ...kept })).sort(byName),
      'side by side'
    )
  }
})

t.test('what has ended is not refused, not listed and not counted after a sweep, and is news again', async (t) => {
  for (const name of ['0f8fad5b-d9cb-469f-a165-70867728950e', 'a', 'a'.repeat(300)]) {
    const { list, time } = denylist()
    t.equal(list.add(denial(name, { until: NOW }), true), false, 'one that has ended is not taken')
    t.equal(list.size, 0)
    list.add(denial(name, { until: NOW + 10 }), true)
    list.add(cutoff(name, { until: NOW + 20 }), true)
    time.now += 9.999
    t.ok(list.isRevoked(name))
    time.now = NOW + 10
    t.notOk(list.isRevoked(name))
    t.equal(list.cutoffOf(name), NOW)
    t.strictSame(entriesOf(list), [cutoff(name, { until: NOW + 20 })])
    t.equal(list.add(denial(name, { at: NOW + 10, exp: null, until: NOW + 30 }), false), true, 'news')
    t.strictSame(entriesOf(list)[1], denial(name, { at: NOW + 10, exp: null, until: NOW + 30 }), 'nothing of the ended one is left')
    t.notOk(list.isLogged(denial(name)))
    time.now = NOW + 20
    t.equal(list.cutoffOf(name), null)
    t.equal(list.size, 2)
    list.sweep()
    t.equal(list.size, 1)
    time.now = NOW + 30
    list.sweep()
    t.equal(list.size, 0)
    t.strictSame(entriesOf(list), [])
  }
})

t.test('a mark tells what the log had, and unlog forgets it', async (t) => {
  for (const name of ['0f8fad5b-d9cb-469f-a165-70867728950e', 'a', 'a'.repeat(300)]) {
    for (const entry of [denial(name), cutoff(name)]) {
      const { list } = denylist()
      t.notOk(list.isLogged(entry), 'what is not there has no mark')
      list.add(entry, false)
      t.notOk(list.isLogged(entry))
      t.strictSame(entriesOf(list, true), [entry])
      list.add(entry, true)
      t.ok(list.isLogged(entry))
      t.strictSame(entriesOf(list, true), [])
      list.add(entry, false)
      t.ok(list.isLogged(entry), 'it is not lost again')
      list.add({ ...entry, until: entry.until! + 60 }, false)
      t.ok(list.isLogged(entry), 'by an end that another clock gives')
      list.add({ ...entry, until: entry.until! + 121 }, false)
      t.notOk(list.isLogged(entry), 'but by one that is later: the log had an earlier one')
      list.add({ ...entry, until: entry.until! + 121 }, true)
      t.ok(list.isLogged(entry))
      if (entry.kind === 'cutoff') {
        list.add({ ...entry, at: entry.at + 1 }, false)
        t.notOk(list.isLogged(entry), 'the log had a lower cutoff')
        list.add({ ...entry, at: entry.at + 1 }, true)
      }
      t.equal([...list.unlog()].length, 2, 'a part of each kind')
      t.notOk(list.isLogged(entry))
      const kept = { ...entry, at: entry.at + Number(entry.kind === 'cutoff'), until: entry.until! + 121 }
      t.strictSame(entriesOf(list, true), [kept])
      t.strictSame(entriesOf(list), [kept])
    }
  }
})

/** What `Denylist` has to be, as slow as can be. */
class Model {
  now: number
  readonly #kept = new Map<string, Entry & { end: number, logged: boolean }>()

  constructor (now: number) {
    this.now = now
  }

  get ({ kind, name }: Pick<Entry, 'kind' | 'name'>) {
    const kept = this.#kept.get(`${kind}:${name}`)
    return kept !== undefined && kept.end > this.now ? kept : undefined
  }

  add (entry: Entry, logged: boolean): boolean {
    const { kind, name } = entry
    const end = entry.until === null ? Infinity : Math.ceil(entry.until)
    if (end <= this.now) return false
    const at = Math.floor(entry.at)
    const exp = entry.exp === null ? null : Math.ceil(entry.exp)
    const standing = this.get(entry)
    if (standing === undefined) {
      this.#kept.set(`${kind}:${name}`, { kind, name, at, exp, until: end, end, logged })
      return true
    }
    const news = kind === 'cutoff' && at > standing.at
    if (news) standing.at = at
    standing.exp ??= exp
    // A minute is what ends of the same revocation may differ by.
    const isAll = (kind === 'revoked' || at >= standing.at) && end + 60 >= standing.end
    standing.logged = logged ? isAll || standing.logged : standing.logged && !news && end <= standing.end + 60
    standing.end = Math.max(standing.end, end)
    return news
  }

  unlog () {
    for (const kept of this.#kept.values()) kept.logged = false
  }

  entries (unlogged = false): Entry[] {
    return [...this.#kept.values()]
      .filter((kept) => kept.end > this.now && !(unlogged && kept.logged))
      .map(({ kind, name, at, exp, end }) => ({ kind, name, at, exp, until: end === Infinity ? null : end }))
      .sort(byName)
  }
}

const encoded = fc.string({ unit: fc.oneof(fc.constantFrom('a', 'b', '0', '-'), fc.constantFrom('😀', '/', '%', 'é', ' ')), minLength: 1, maxLength: 100 }).map((name) => identityOf(undefined, name).slice(0, 300))
const issuer = fc.constantFrom('i', 'https://issuer.example/', '😀'.repeat(30))
const uuid = fc.constantFrom(...Array.from({ length: 20 }, () => randomUUID()))
const name = fc.oneof(
  uuid,
  fc.tuple(issuer, uuid).map(([iss, jti]) => identityOf(iss, jti)),
  encoded,
  fc.tuple(issuer, fc.constantFrom('alice', 'bob', '')).map(([iss, sub]) => identityOf(iss, sub)),
  fc.constantFrom('a', 'b').chain((character) => fc.integer({ min: 250, max: 300 }).map((length) => character.repeat(length)))
)
const near = fc.integer({ min: -30, max: 60 })
const far = fc.constantFrom(-200 * DAY, -97 * DAY, 30 * DAY, 97 * DAY, 98 * DAY, 400 * DAY)
const seconds = fc.tuple(fc.oneof({ weight: 3, arbitrary: near }, far), fc.constantFrom(0, 0, 0.25, 0.999)).map(([whole, part]) => whole + part)
const operation = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      what: fc.constant('add' as const),
      kind: fc.constantFrom(...KINDS),
      who: fc.nat(9),
      at: seconds,
      exp: fc.option(seconds),
      until: fc.option(seconds),
      logged: fc.boolean()
    })
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constant('wait' as const), seconds: fc.constantFrom(0.5, 1, 7, 30) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('unlog' as const) }) }
)

t.test('whatever is added, and when: it holds what a plain map would', async (t) => {
  fc.assert(fc.property(fc.array(name, { minLength: 10, maxLength: 10 }), fc.array(operation, { maxLength: 60 }), (names, operations) => {
    const { list, time } = denylist()
    const model = new Model(NOW)
    for (const operation of operations) {
      if (operation.what === 'add') {
        const { kind, who, logged, exp, until } = operation
        const entry = {
          kind, name: names[who]!, at: time.now + operation.at, exp: exp === null ? null : time.now + exp, until: until === null ? null : time.now + until
        }
        if (list.add(entry, logged) !== model.add(entry, logged)) return false
      } else if (operation.what === 'wait') {
        time.now += operation.seconds
        model.now = time.now
      } else if (operation.what === 'sweep') {
        list.sweep()
      } else {
        unmarkAll(list)
        model.unlog()
      }
    }
    const same = names.every((name) => list.isRevoked(name) === (model.get({ kind: 'revoked', name }) !== undefined) &&
      list.cutoffOf(name) === (model.get({ kind: 'cutoff', name })?.at ?? null) &&
      KINDS.every((kind) => list.isLogged({ kind, name } as Entry) === (model.get({ kind, name })?.logged ?? false) || model.get({ kind, name }) === undefined))
    if (!same) return false
    t.context = [entriesOf(list), model.entries(), entriesOf(list, true), model.entries(true)].map((entries) => JSON.stringify(entries))
    return t.context[0] === t.context[1] && t.context[2] === t.context[3]
  }), { numRuns: runs(1500) })
})

/** Of every form, as many of each. */
function manyNames (count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const jti = randomUUID()
    return [jti, `issuer-${i % 50}/${jti}`, `urn%3Auuid%3A${jti}`, randomBytes(1 + i % 100).toString('hex'), `${i}`, `${'long'.repeat(70)}${jti}`][i % 6]!
  })
}

t.test('it holds what a plain map would while it grows over many parts, is swept, and grows again', async (t) => {
  const { list, time } = denylist()
  const model = new Model(NOW)
  const names = [...new Set(manyNames(isThorough ? 16_000 : 8000))]
  const add = (entry: Entry, logged: boolean) => {
    if (list.add(entry, logged) !== model.add(entry, logged)) t.fail(`news of ${JSON.stringify(entry)}`)
  }
  const same = (what: string) => {
    for (const unlogged of [false, true]) {
      const expected = model.entries(unlogged)
      const found = entriesOf(list, unlogged)
      t.equal(found.length, expected.length, what)
      t.strictSame(found.filter((entry, i) => JSON.stringify(entry) !== JSON.stringify(expected[i])).slice(0, 3), [], `${what}, unlogged: ${unlogged}`)
    }
    t.strictSame(names.filter((name) => list.isRevoked(name) !== (model.get({ kind: 'revoked', name }) !== undefined)), [], what)
    t.strictSame(names.filter((name) => list.cutoffOf(name) !== (model.get({ kind: 'cutoff', name })?.at ?? null)), [], what)
  }
  for (const [i, name] of names.entries()) {
    const until = NOW + 10 + i % 3 * 100
    add(i % 7 === 0 ? cutoff(name, { until }) : denial(name, { at: NOW - i % 5 * 50 * DAY, exp: i % 4 === 0 ? null : until - 10, until }), i % 2 === 0)
    // Those that grow from a narrow record to a wide one take another place.
    if (i % 11 === 0) add(denial(name, { exp: until + 500, until: i % 2 === 0 ? null : NOW + 500 }), false)
    if (i % 500 === 0) list.sweep()
  }
  t.ok([...list.entries()].length > 4, 'in many parts')
  same('grown')
  t.equal(list.size, model.entries().length)

  for (const seconds of [50, 100]) {
    time.now = model.now = NOW + seconds
    same('before the sweep')
    sweepAll(list)
    same('swept')
    t.equal(list.size, model.entries().length, 'nothing that has ended is held')
  }
  for (const [i, name] of names.entries()) add(denial(name, { at: time.now, until: time.now + 100 + i % 2 * 100 }), true)
  same('grown again')
  const parts = [...list.unlog()].length
  model.unlog()
  t.equal(parts, [...list.entries()].length)
  same('unlogged')
  time.now = model.now = NOW + 10_000
  sweepAll(list)
  same('at the end')
  t.equal(list.size, model.entries().length)
})

t.test('room for more is given back, and all is held as before, whatever comes while it is', async (t) => {
  const { list } = denylist()
  const names = [...new Set(manyNames(8000))]
  const [first, later] = [names.slice(0, 6000), names.slice(6000)]
  for (const name of first) list.add(denial(name), true)
  const before = entriesOf(list)
  t.ok([...list.trim()].length > 4, 'it takes several steps')
  t.strictSame(entriesOf(list), before)
  t.strictSame(first.filter((name) => !list.isRevoked(name)), [])
  t.strictSame(later.filter((name) => list.isRevoked(name)), [])
  const parts = list.trim()
  t.strictSame(later.filter((name) => {
    parts.next()
    return !list.add(denial(name), true)
  }), [], 'all are new')
  t.strictSame(names.filter((name) => !list.isRevoked(name)), [])
  t.equal(list.size, names.length)

  const packed = new PackedName()
  const segment = new Segment(1000)
  const jtis = Array.from({ length: 10 }, () => randomUUID())
  const packedHash = (jti: string) => {
    packed.pack(jti, true)
    return hashOf(packed.words, 0, packed.length)
  }
  const slotOf = (jti: string) => {
    const hash = packedHash(jti)
    return segment.slotOf(packed, hash)
  }
  const kept = { at: NOW, exp: NOW + 900, until: NOW + 910, logged: true }
  for (const jti of jtis) {
    const hash = packedHash(jti)
    segment.write(segment.add(hash, sizeOf(kept, packed)), kept, packed)
  }
  t.ok(segment.data.length > 6000 && segment.index.length > 1000)
  segment.trim()
  t.ok(segment.data.length < 70 && segment.index.length < 15, 'little more than what is used')
  for (const jti of jtis) t.strictSame(segment.keptAt(segment.offsetAt(slotOf(jti))), kept)
})

/** As many as one step may look at of what is too long for the table. */
const AT_ONCE = 500
const long = (i: number) => `${'long'.repeat(70)}${i}`

t.test('what is too long for the table is swept, unlogged and listed in steps of a bounded size', async (t) => {
  const { list, time } = denylist()
  const count = 10 * AT_ONCE
  for (let i = 0; i < count; i++) list.add(denial(long(i), { until: NOW + (i % 10 === 9 ? 10 : 900) }), true)
  time.now += 10
  for (let step = 1; step <= 10; step++) {
    list.sweep()
    // Every tenth that was looked at has ended.
    t.equal(list.size, count - step * AT_ONCE / 10, `sweep ${step} has looked at as many as it may`)
  }
  t.strictSame(Array.from({ length: count }, (_, i) => i).filter((i) => list.isRevoked(long(i)) !== (i % 10 !== 9)), [])

  let last = 0
  const unlogged = () => Array.from({ length: count }, (_, i) => denial(long(i))).filter((entry) => list.isRevoked(entry.name) && !list.isLogged(entry)).length
  for (const unmarking = list.unlog(); !unmarking.next().done;) {
    t.ok(unlogged() - last <= AT_ONCE, 'unlogged')
    last = unlogged()
  }
  t.equal(last, count * 9 / 10)
  const sizes = [...list.entries(true)].map((part) => part.length)
  t.ok(Math.max(...sizes) <= AT_ONCE, 'listed', { sizes })
  t.equal(sizes.reduce((sum, size) => sum + size), count * 9 / 10)
})

t.test('what is too long for the table is swept though more comes while it is', async (t) => {
  const { list, time } = denylist()
  for (let i = 0; i < 3 * AT_ONCE; i++) list.add(denial(long(i), { until: NOW + 10 }), true)
  time.now += 10
  for (let i = 0; i < 5; i++) {
    list.sweep()
    for (let j = 0; j < AT_ONCE / 2; j++) list.add(denial(long(10_000 * (i + 1) + j), { until: NOW + 900 }), true)
  }
  for (let i = 0; i < 5; i++) list.sweep()
  t.equal(list.size, 5 * AT_ONCE / 2)
  time.now = NOW + 900
  for (let i = 0; i < 6; i++) list.sweep()
  t.equal(list.size, 0)
})

t.test('issuers have a number each, which is given to another one when nothing is kept of theirs', async (t) => {
  const issuers = new Issuers()
  const [a, b] = [issuers.add('a'), issuers.add('b')]
  for (const number of [a, a, b]) issuers.keep(number)
  issuers.release(a)
  t.strictSame([issuers.numberOf('a'), issuers.nameOf(a), issuers.size], [a, 'a', 2])
  issuers.release(a)
  t.strictSame([issuers.numberOf('a'), issuers.nameOf(b), issuers.size], [undefined, 'b', 1])
  t.equal(issuers.add('c'), a)
  t.strictSame([issuers.numberOf('c'), issuers.nameOf(a), issuers.size], [a, 'c', 2])
  t.equal(issuers.add('d'), 2)
})

t.test('20,000 long issuers are held as long as anything is kept of theirs, and no longer', async (t) => {
  const packed = new PackedName()
  const time = { now: NOW }
  const list = new Denylist(() => time.now, packed)
  const flood = (until: number) => {
    for (let i = 0; i < 20_000; i++) list.add(denial(`${String(i).padEnd(1024, 'i')}${until}/${randomUUID()}`, { until }), true)
  }
  flood(NOW + 10)
  t.equal(packed.issuers, 20_000)
  time.now += 10
  sweepAll(list)
  t.strictSame([list.size, packed.issuers], [0, 0])
  flood(NOW + 20)
  t.equal(packed.issuers, 20_000)
  for (let i = 0; i < 1000; i++) list.isRevoked(`asked for ${i}/${randomUUID()}`)
  t.equal(packed.issuers, 20_000, 'who asks leaves nothing')
})

const issuerOf = fc.nat(30).map((i) => `issuer-${i}`)
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('add' as const), kind: fc.constantFrom(...KINDS), iss: issuerOf, who: fc.nat(3), left: fc.integer({ min: -5, max: 40 }), wide: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('wait' as const), seconds: fc.nat(15) }) },
  { weight: 2, arbitrary: fc.constant({ what: 'sweep' as const }) }
)
const WHO = Array.from({ length: 4 }, () => randomUUID())

t.test('whatever comes and goes: each name has its own issuer, and the issuers that are kept are those in use', async (t) => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const packed = new PackedName()
    const model = new Model(NOW)
    const list = new Denylist(() => model.now, packed)
    for (const step of steps) {
      if (step.what === 'wait') model.now += step.seconds
      else if (step.what === 'sweep') sweepAll(list)
      else {
        const until = model.now + step.left
        // One whose end is far from its exp takes another place in the table.
        const entry = { kind: step.kind, name: `${step.iss}/${WHO[step.who]}`, at: NOW, exp: step.wide ? NOW + 400 * DAY : until, until }
        if (list.add(entry, true) !== model.add(entry, true)) return false
      }
      if (step.what !== 'sweep') continue
      const found = entriesOf(list)
      if (JSON.stringify(found) !== JSON.stringify(model.entries())) return false
      if (packed.issuers !== new Set(found.map(({ name }) => name.split('/')[0])).size) return false
    }
    const names = Array.from({ length: 31 }, (_, i) => WHO.map((who) => `issuer-${i}/${who}`)).flat()
    return names.every((name) => list.isRevoked(name) === (model.get({ kind: 'revoked', name }) !== undefined) &&
      list.cutoffOf(name) === (model.get({ kind: 'cutoff', name })?.at ?? null))
  }), { numRuns: runs(500) })
})

t.test('issuers outlive the growth of the table, and are given back in all of its parts', async (t) => {
  const packed = new PackedName()
  const time = { now: NOW }
  const list = new Denylist(() => time.now, packed)
  const names = Array.from({ length: 12_000 }, (_, i) => `issuer-${i % 600}/${randomUUID()}`)
  // Of an issuer with an even number nothing is left in the end.
  for (const [i, name] of names.entries()) list.add(denial(name, { until: NOW + (i % 2 === 0 ? 10 : 900), exp: i % 3 === 0 ? null : NOW }), true)
  t.ok([...list.entries()].length > 8, 'in many parts')
  t.equal(packed.issuers, 600)
  time.now += 10
  sweepAll(list)
  t.equal(packed.issuers, 300)
  t.strictSame(names.filter((name, i) => list.isRevoked(name) !== (i % 2 === 1)), [])
  t.strictSame(entriesOf(list).map(({ name }) => name), names.filter((_, i) => i % 2 === 1).sort())
})

t.test('what is added while it is unlogged part by part is kept, and what was there is unlogged', async (t) => {
  const { list } = denylist()
  const before = Array.from({ length: 20_000 }, () => randomUUID())
  for (const name of before) list.add(denial(name), true)
  const during: string[] = []
  for (const unmarking = list.unlog(); !unmarking.next().done;) {
    for (let i = 0; i < 700; i++) {
      during.push(randomUUID())
      list.add(denial(during.at(-1)!), false)
    }
    if (during.length > 30_000) break
  }
  unmarkAll(list)
  t.strictSame([...before, ...during].filter((name) => !list.isRevoked(name)), [])
  t.equal(entriesOf(list, true).length, before.length + during.length)
})

t.test('what is added while it is listed does not hide what was there', async (t) => {
  const { list } = denylist()
  const before = Array.from({ length: 20_000 }, () => randomUUID())
  for (const name of before) list.add(denial(name), false)
  const listed = new Set<string>()
  for (const part of list.entries(true)) {
    for (const { name } of part) listed.add(name)
    for (let i = 0; i < 700; i++) list.add(denial(randomUUID()), true)
    list.sweep()
  }
  t.strictSame(before.filter((name) => !listed.has(name)), [])
})

t.test('no name is refused for the sake of another', async (t) => {
  const { list } = denylist()
  const present = [...new Set(manyNames(6000))]
  for (const [i, name] of present.entries()) list.add(i % 5 === 0 ? cutoff(name) : denial(name), true)
  const kept = new Set(present)
  const cousins: string[] = []
  for (const [i, name] of present.entries()) {
    for (const at of [0, i % name.length, name.length - 1]) {
      for (const character of ['0', 'f', '/', '-', '~']) cousins.push(name.slice(0, at) + character + name.slice(at + 1))
      cousins.push(name.slice(0, at) + name.slice(at + 1))
    }
    cousins.push(`${name}0`, `0${name}`, `${name}/`, `x/${name}`, name.slice(name.indexOf('/') + 1), name.toUpperCase(), `${name}\u0000`, `${name}ä`)
  }
  const absent = cousins.filter((name) => name !== '' && !kept.has(name))
  t.ok(absent.length > 100_000)
  t.strictSame(absent.filter((name) => list.isRevoked(name) || list.cutoffOf(name) !== null), [])
  t.strictSame(present.filter((name) => !list.isRevoked(name) && list.cutoffOf(name) === null), [])
})

function unpacked (packed: PackedName) {
  return packed.unpack(packed.words, 0, packed.form)
}

t.test('a name is packed as what it is, and is itself again when unpacked', async (t) => {
  const rows: Array<[name: keyof typeof NAMES, form: number, words: number]> = [
    ['a UUID', UUID, 4], ['the least UUID', UUID, 4], ['the greatest UUID', UUID, 4],
    ['a UUID with an issuer', ISSUER_UUID, 5], ['a UUID with the shortest issuer', ISSUER_UUID, 5],
    ['a UUID with an issuer that is one', ISSUER_UUID, 5], ['a UUID with an issuer too long for a text', ISSUER_UUID, 5],
    ['a UUID in capitals', TEXT, 10], ['a UUID with a capital', TEXT, 10], ['a UUID without hyphens', TEXT, 9],
    ['hyphens alone where a UUID has them', TEXT, 10], ['a UUID of no hexadecimal', TEXT, 10], ['a UUID and a character', TEXT, 10],
    ['a UUID but for a character', TEXT, 9], ['a UUID after a slash', TEXT, 10], ['one character', TEXT, 1], ['percent signs', TEXT, 5],
    ['as long as a text may be', TEXT, 64]
  ]
  const packed = new PackedName()
  for (const [what, form, length] of rows) {
    t.ok(packed.pack(NAMES[what]!, true), what)
    t.strictSame({ form: packed.form, length: packed.length, name: unpacked(packed) }, { form, length, name: NAMES[what] }, what)
  }
  for (const what of ['one character longer', 'much longer', 'no ASCII', 'no ASCII where a UUID has digits']) t.notOk(packed.pack(NAMES[what]!, true), what)
  t.notOk(packed.pack('unknown/0f8fad5b-d9cb-469f-a165-70867728950e', false), 'a look-up learns no issuer')
  t.ok(packed.pack('unknown/0f8fad5b-d9cb-469f-a165-70867728950e', true))
  t.ok(packed.pack('unknown/0f8fad5b-d9cb-469f-a165-70867728950e', false))
})

t.test('no two names are packed alike', async (t) => {
  const packed = new PackedName()
  const words = (name: string) => packed.pack(name, true) ? `${packed.form}:${packed.words.slice(0, packed.length)}` : null
  const any = fc.oneof(name, fc.uuid(), fc.string({ unit: fc.constantFrom('a', 'b', '\u0000', '\u007f'), maxLength: 12 }), fc.string({ maxLength: 300 }))
  fc.assert(fc.property(any, any, (one, other) => {
    const packedOne = words(one)
    if (packedOne !== null && unpacked(packed) !== one) return false
    const packedOther = words(other)
    return packedOne === null || (packedOne === packedOther) === (one === other)
  }), { numRuns: runs(3000) })
})

t.test('a hash is the same wherever the words lie, and spreads names over the whole range', async (t) => {
  const packed = new PackedName()
  const buckets = new Array<number>(64).fill(0)
  const lows = new Array<number>(64).fill(0)
  for (let i = 0; i < 64 * 200; i++) {
    packed.pack(String(i), true)
    const hash = hashOf(packed.words, 0, packed.length)
    if (i % 100 === 0) {
      const elsewhere = new Uint32Array(packed.length + 7)
      elsewhere.set(packed.words.subarray(0, packed.length), 5)
      t.equal(hashOf(elsewhere, 5, packed.length), hash)
      t.ok(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 32)
    }
    buckets[hash >>> 26]!++
    lows[hash & 63]!++
  }
  // Six standard deviations: a key for which this fails is rarer than one in a million.
  for (const count of [...buckets, ...lows]) t.ok(Math.abs(count - 200) < 90, String(count))
})

t.test('a log that lost its end does not count as having what it has less of', async (t) => {
  const list = new Denylist(() => 1000)
  const cutoff = (at: number, until: number): Entry => ({ kind: 'cutoff', name: 'alice', at, exp: null, until })
  list.add(cutoff(1000, 2000), true)
  list.add(cutoff(1003, 2003), true)
  t.ok([...list.unlog()].length > 0)
  t.notOk(list.isLogged(cutoff(0, 0)))
  list.add(cutoff(1000, 2000), true)
  t.notOk(list.isLogged(cutoff(0, 0)), 'a lower cutoff is not the one that is known')
  t.strictSame(entriesOf(list, true), [cutoff(1003, 2003)], 'which is to be put back')
  list.add(cutoff(1003, 2003), true)
  t.ok(list.isLogged(cutoff(0, 0)))

  const denial = (until: number): Entry => ({ kind: 'revoked', name: 'x', at: 1000, exp: null, until })
  list.add(denial(2000), true)
  list.add(denial(5000), true)
  t.ok([...list.unlog()].length > 0)
  list.add(denial(2000), true)
  t.notOk(list.isLogged(denial(0)), 'nor is an earlier end')
  list.add(denial(5000), true)
  t.ok(list.isLogged(denial(0)))
})

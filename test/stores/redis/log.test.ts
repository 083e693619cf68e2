import fc from 'fast-check'
import { Redis } from 'ioredis'
import t from 'tap'
import { identityOf } from '../../../lib/domain/names.ts'
import { fromWords, isId, isLater, secondOf, START, toWords } from '../../../lib/stores/redis/log.ts'
import { inSeconds, ownPrefix } from '../../support/app.ts'
import { character } from '../../support/character.ts'
import { startRedis } from '../../support/redis.ts'
import type { Entry } from '../../../lib/stores/entry.ts'
import { on, redisStore } from '../../support/stores.ts'
import { systemClock } from '../../../lib/time.ts'
import { runs } from '../../support/runs.ts'

/** As the scripts make it. */
function written (entry: Entry, prev = START) {
  const [before, after] = toWords(entry)
  const { kind, at, exp, until } = entry
  return `${before}${kind === 'cutoff' ? ` ${at} ${exp ?? ''}` : ''} ${until ?? ''} ${prev} ${after}`
}

const name = fc.string({ unit: character, minLength: 1, maxLength: 40 })
const seconds = fc.oneof(fc.nat(2 ** 31 - 1), fc.double({ min: 0, max: 1e12, noNaN: true }))
const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom('revoked', 'cutoff'),
  name: fc.tuple(fc.option(name, { nil: undefined }), name).map(([iss, name]) => identityOf(iss, name)),
  at: seconds,
  exp: fc.option(seconds),
  until: fc.option(seconds),
  id: fc.uuid(),
  sub: fc.oneof(name, fc.constantFrom(' ', 'a b', '%', '\n', '0-0'))
}, { requiredKeys: ['kind', 'name', 'at', 'exp', 'until'] })
const id = fc.tuple(fc.nat(2 ** 45), fc.nat(1000)).map((parts) => parts.join('-'))

t.test('the words of an entry tell all of it, and the entry before it', async (t) => {
  const rows: Array<[entry: Entry, before: string, after: string]> = [
    [{ kind: 'revoked', name: 'a', at: 1, exp: 2, until: 12, id: 'r', sub: 'alice' }, 'revoked:a 1 2', 'r alice'],
    [{ kind: 'revoked', name: 'i/a%2Fb', at: 1.5, exp: null, until: null }, 'revoked:i/a%2Fb 1.5 ', ' '],
    [{ kind: 'revoked', name: 'a:b', at: 0, exp: 0, until: 0 }, 'revoked:a:b 0 0', ' '],
    [{ kind: 'cutoff', name: 'alice', at: 1, exp: null, until: 99 }, 'cutoff:alice', ' '],
    [{ kind: 'revoked', name: 'a', at: 1, exp: null, until: null, sub: 'Ä b/😀' }, 'revoked:a 1 ', ' %C3%84%20b%2F%F0%9F%98%80']
  ]
  for (const [entry, before, after] of rows) {
    t.strictSame(toWords(entry), [before, after])
    t.strictSame(fromWords(written(entry, '5-1'), true), { entry, prev: '5-1' })
  }
  fc.assert(fc.property(entry, id, (entry, prev) => {
    const read = fromWords(written(entry, prev), true)
    return JSON.stringify(Object.entries(read!.entry!).sort()) === JSON.stringify(Object.entries(entry).sort()) && read!.prev === prev
  }), { numRuns: runs(1000) })
})

t.test('what is no entry of ours is none', async (t) => {
  const good = 'revoked:a 1 2 12 5-1 r alice'
  t.ok(fromWords(good, true))
  for (const words of [
    '', ' ', 'x', 'revoked:a', 'revoked:a 1', 'revoked:a 1 2 12 5-1', 'revoked:a 1 2 12 5-1 r', ` ${good}`,
    good.replace('revoked:a', 'revoked:'),
    good.replace(' 1 ', '  '), good.replace(' 1 ', ' x '), good.replace(' 2 ', ' x '), good.replace(' 12 ', ' x '), good.replace(' 1 ', ' NaN '),
    good.replace(' 1 ', ' Infinity '), good.replace(' 12 ', ' Infinity '), good.replace(' 12 ', ' 1e999 ')
  ]) t.equal(fromWords(words, true), null, words)
  t.strictSame(fromWords(good.replace('alice', '%'), true)!.entry, { kind: 'revoked', name: 'a', at: 1, exp: 2, until: 12, id: 'r' }, 'a sub that nobody can read takes nothing from the rest')
  for (const [word, at] of [['1.5', 1.5], ['1e3', 1000], ['-1', -1], ['007', 7], ['9007199254740991', 9007199254740991], ['4294967295', 4294967295]] as const) {
    t.equal(fromWords(good.replace(' 1 ', ` ${word} `), true)!.entry!.at, at, word)
  }
  t.strictSame(fromWords(good, false)!.entry, { kind: 'revoked', name: 'a', at: 1, exp: 2, until: 12 }, 'what only listeners want to know is left out')
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('revoked:', 'cutoff:', 'a', ' ', '1', '-', '%', '\n', 'é'), maxLength: 12 }), (words) => {
    const read = fromWords(words, true)
    if (read === null || read.entry === null) return read === null || isId(read.prev)
    return ['revoked', 'cutoff'].includes(read.entry.kind) && read.entry.name !== '' && Number.isFinite(read.entry.at)
  }), { numRuns: runs(2000) })
})

t.test('an entry of a newer version tells the one before it: of a kind that is unknown here that alone, of a known one all that is known', async (t) => {
  const unknown = { entry: null, prev: '5-1' }
  for (const words of [
    'session:a 1 2 12 5-1 r alice', 'session:a 1 2 12 5-1', 'session:a 1 2 12 5-1 ', 'session:a    5-1', 'session:a x y z 5-1 r alice and more',
    'Revoked:a 1 2 12 5-1 r alice', ':a 1 2 12 5-1 r alice', 'revokedx 1 2 12 5-1 r alice', 'cutoff 1 2 12 5-1 r alice', 'cutoffs 1 2 12 5-1 r alice'
  ]) t.strictSame(fromWords(words, true), unknown, words)
  for (const words of ['session:a', 'session:a 1 2 12', 'session:a 1 2 12 ', 'session:a 1 2 12 x', 'session:a 1 2 12 5-1x y', 'session:a 1 2 12  5-1', ' 1 2 12 5-1']) {
    t.equal(fromWords(words, true), null, `${words}: none that can be read`)
  }
  const entry = { kind: 'revoked', name: 'a', at: 1, exp: 2, until: 12, id: 'r', sub: 'alice' }
  for (const more of [' ', ' x', ' x y=z ', ' 5-2', ` ${'x'.repeat(1000)}`]) {
    t.strictSame(fromWords(`revoked:a 1 2 12 5-1 r alice${more}`, true), { entry, prev: '5-1' }, more)
  }
  const { id, sub, ...bare } = entry
  t.strictSame(fromWords('revoked:a 1 2 12 5-1   x', true), { entry: bare, prev: '5-1' })
  t.strictSame(fromWords('cutoff:sid:a%3Ab/s 1  12 5-1   x', true), { entry: { kind: 'cutoff', name: 'sid:a%3Ab/s', at: 1, exp: null, until: 12 }, prev: '5-1' })
})

t.test('of two ids it is told which is later, and when one was given', async (t) => {
  const inOrder = ['0-0', '0-1', '0-2', '0-10', '1-0', '9-0', '10-0', '1799999999999-5', '1800000000000-0', '1800000000000-1']
  for (const [i, one] of inOrder.entries()) {
    for (const [j, other] of inOrder.entries()) t.equal(isLater(one, other), i > j, `${one} after ${other}`)
  }
  fc.assert(fc.property(fc.nat(2 ** 45), fc.nat(), fc.nat(2 ** 45), fc.nat(), (ms, sequence, otherMs, otherSequence) =>
    isLater(`${ms}-${sequence}`, `${otherMs}-${otherSequence}`) === (ms > otherMs || (ms === otherMs && sequence > otherSequence))))
  t.equal(secondOf('1800000000500-3'), 1_800_000_000.5)
  t.equal(secondOf(START), 0)
})

t.test('on Redis each entry of the log tells the one before it, what was deleted included, and old ones are trimmed', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const storeOf = (keyPrefix: string, logSpan: number | null) => {
    const store = redisStore(client, { keyPrefix, storeTimeout: 10_000, logSpan, minReplicas: 0 }, { clock: systemClock, onLost () {}, onBack () {} })
    t.teardown(() => store.close())
    return store
  }
  const keyPrefix = ownPrefix()
  const log = `${keyPrefix}log`
  const rows = async (key = log) => (await client.xrange(key, '-', '+')).map(([id, [field, words]]) => ({ id, field, ...fromWords(words!, true) }))
  const store = storeOf(keyPrefix, 3600)
  const exp = inSeconds(900)
  await on(store).revoke('a', { at: 5, exp, id: 'r', sub: 'alice' }, exp + 10)
  await on(store).revoke('a', { at: 6, exp }, exp + 20)
  await on(store).cutOff('alice', 7, exp)
  await on(store).cutOff('alice', 7, exp)
  await on(store).revoke('b', { at: 8, exp: null }, null)
  const first = await rows()
  t.strictSame(first.map(({ field, entry, prev }) => ({ field, entry, prev })), [
    { kind: 'revoked', name: 'a', at: 5, exp, until: exp + 10, id: 'r', sub: 'alice' },
    { kind: 'revoked', name: 'a', at: 6, exp, until: exp + 20 },
    { kind: 'cutoff', name: 'alice', at: 7, exp: null, until: exp },
    { kind: 'cutoff', name: 'alice', at: 8, exp: null, until: exp + 1 },
    { kind: 'revoked', name: 'b', at: 8, exp: null, until: null }
  ].map((entry, i) => ({ field: 'entry', entry, prev: first[i - 1]?.id ?? START })))

  await client.xdel(log, first.at(-1)!.id)
  await on(store).revoke('c', { at: 9, exp: null }, exp)
  t.equal((await rows()).at(-1)!.prev, first.at(-1)!.id)
  await client.xtrim(log, 'MAXLEN', 0)
  const last = (await client.xinfo('STREAM', log)) as unknown[]
  await on(store).revoke('d', { at: 9, exp: null }, exp)
  t.strictSame((await rows()).map(({ prev }) => prev), [last[last.indexOf('last-generated-id') + 1]])

  // Redis trims whole nodes of a stream, which hold a hundred entries.
  for (const [what, logSpan, seconds, left] of [['older than the span', 60, 70, 1], ['younger', 60, 50, 301], ['of any age, without a span', null, 1e9, 301]] as const) {
    const prefix = ownPrefix()
    const pipeline = client.pipeline()
    for (let i = 0; i < 300; i++) pipeline.xadd(`${prefix}log`, `${Date.now() - seconds * 1000 + i}-1`, 'entry', 'x')
    await pipeline.exec()
    await on(storeOf(prefix, logSpan)).revoke('a', { at: 5, exp }, exp + 10)
    t.equal(await client.xlen(`${prefix}log`), left, what)
  }
})

import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { identityOf, type Names } from '../../lib/domain/names.ts'
import { EVERY_IAT, LEAD } from '../../lib/stores/entry.ts'
import type { Store } from '../../lib/stores/store.ts'
import type { TokenRecord } from '../../lib/types.ts'
import { inSeconds } from '../support/app.ts'
import { on, type Revoked } from '../support/stores.ts'
import { refreshContract } from './refresh-contract.ts'

/* What every store keeps of the contracts in lib/stores/store.ts, whatever it keeps it in. */

export interface Subject {
  store: Store
  /** Until when Redis or memory keeps a revocation, in seconds; null: for ever; undefined: it does not. */
  revokedUntil: (identity: string) => Promise<number | null | undefined>
  recordUntil: (id: string) => Promise<number | null | undefined>
  cutoffUntil: (name: string) => Promise<number | null | undefined>
}

export function check (store: Store, identity: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    on(store).check(identity, undefined, (error, revoked) => {
      if (error) reject(error)
      else resolve(revoked)
    })
  })
}

export const denial = (at: number, exp: number | null = null): Revoked => ({ at, exp })

export const recordOf = (jti: string, more: Partial<TokenRecord> = {}): TokenRecord =>
  ({ id: randomUUID(), jti, issuedAt: '2026-11-01T00:00:00.000Z', expiresAt: '2026-11-01T00:15:00.000Z', ...more })

const ODD = [
  'a', 'A', ' ', '*', '?', '[a]', 'a:b', 'a/b', 'a%2Fb', '%', '..', '__proto__', 'constructor', 'toString', '{a}b', '}{', '\u0000', '\r\n', '"', "'", '\\',
  '😀', 'é', 'e\u0301', '\ufeff', 'a'.repeat(255), '😀'.repeat(127), '0', 'null', '-1', 'revoked:a'
]

export function storeContract (t: Test, name: string, subjectOf: (t: Test) => Subject | Promise<Subject>) {
  t.test(`every store keeps revocations and records alike: ${name}`, async (t) => {
    const { store, revokedUntil, recordUntil, cutoffUntil } = await subjectOf(t)
    await store.start()
    t.ok(store.status.available)
    const soon = inSeconds(600)

    await t.test('P3 a revocation is found once it has been acknowledged, and not before', async (t) => {
      const identity = randomUUID()
      t.equal(await check(store, identity), false)
      t.strictSame(await on(store).revoke(identity, denial(1000, 2000), soon), { at: 1000, exp: 2000, first: true })
      t.equal(await check(store, identity), true)
      t.equal(await check(store, randomUUID()), false, 'and no other')
    })

    await t.test('revoking again gives the first revocation', async (t) => {
      const identity = randomUUID()
      t.strictSame(await on(store).revoke(identity, denial(1000), soon), { at: 1000, exp: null, first: true })
      t.strictSame(await on(store).revoke(identity, denial(1001, 2000), soon + 1), { at: 1000, exp: null, first: false })
      t.strictSame(await on(store).revoke(identity, denial(999, 3000), null), { at: 1000, exp: null, first: false })
      t.equal(await check(store, identity), true)
    })

    await t.test('P2 a revocation is kept until the given second, and longer but never shorter by another', async (t) => {
      const identity = randomUUID()
      t.equal(await revokedUntil(identity), undefined)
      await on(store).revoke(identity, denial(1), soon)
      t.equal(await revokedUntil(identity), soon)
      await on(store).revoke(identity, denial(2), soon + 100)
      t.equal(await revokedUntil(identity), soon + 100, 'longer')
      await on(store).revoke(identity, denial(3), soon)
      t.equal(await revokedUntil(identity), soon + 100, 'not shorter')
      await on(store).revoke(identity, denial(4), soon + 100)
      t.equal(await revokedUntil(identity), soon + 100, 'the same')
      await on(store).revoke(identity, denial(5), null)
      t.equal(await revokedUntil(identity), null, 'for ever')
      await on(store).revoke(identity, denial(6), soon + 200)
      t.equal(await revokedUntil(identity), null, 'still for ever')
    })

    await t.test('P2 a revocation is kept for ever, or as far away as a date can tell', async (t) => {
      const [forEver, far] = [randomUUID(), randomUUID()]
      await on(store).revoke(forEver, denial(1), null)
      t.equal(await revokedUntil(forEver), null)
      await on(store).revoke(far, denial(1), 8.64e12 - 1)
      t.equal(await revokedUntil(far), 8.64e12 - 1)
    })

    await t.test('of many that revoke one identity at once, exactly one is the first', async (t) => {
      const identity = randomUUID()
      const given = await Promise.all(Array.from({ length: 50 }, (_, i) => on(store).revoke(identity, denial(1000 + i), soon + i)))
      const first = given.filter(({ first }) => first)
      t.equal(first.length, 1)
      for (const { at, exp } of given) t.strictSame({ at, exp }, { at: first[0]!.at, exp: null })
      t.equal(await revokedUntil(identity), soon + 49, 'and the longest time is kept')
    })

    await t.test('of many identities that are revoked at once, each is', async (t) => {
      const identities = Array.from({ length: 50 }, () => randomUUID())
      const given = await Promise.all(identities.map((identity, i) => on(store).revoke(identity, denial(i), soon)))
      t.strictSame(given, identities.map((_, i) => ({ at: i, exp: null, first: true })))
      t.strictSame(await Promise.all(identities.map((identity) => check(store, identity))), identities.map(() => true))
    })

    await t.test('600 checks at once are each answered for their own identity', async (t) => {
      const identities = Array.from({ length: 600 }, () => randomUUID())
      await Promise.all(identities.filter((_, i) => i % 3 === 0).map((identity) => on(store).revoke(identity, denial(1), soon)))
      const answers = await Promise.all(identities.map((identity) => check(store, identity)))
      t.strictSame(answers, identities.map((_, i) => i % 3 === 0))
    })

    await t.test('identities of odd characters are kept apart', async (t) => {
      const own = randomUUID()
      // With an issuer and without, and each as an issuer: none may be found for another's sake.
      const identities = ODD.flatMap((odd) => [identityOf(undefined, own + odd), identityOf(own, odd), identityOf(own + odd, 'a')])
      t.equal(new Set(identities).size, identities.length)
      const ended = identities.filter((_, i) => i % 2)
      const given = await Promise.all(ended.map((identity, i) => on(store).revoke(identity, denial(i), soon)))
      t.strictSame(given, ended.map((_, i) => ({ at: i, exp: null, first: true })))
      t.strictSame(await Promise.all(identities.map((identity) => check(store, identity))), identities.map((_, i) => i % 2 === 1))
    })

    await t.test('a record comes back as it was saved, by its id and by its identity', async (t) => {
      const meta = {
        device: 'Gerät 😀 \u0000 "\\', nested: { list: [1, 0.5, null, true, ''], __proto: {} }, empty: {}, 'a.b/c': -1e300
      }
      const records = [
        recordOf('a'),
        recordOf('ä/😀', { iss: 'https://issuer.example/é', sub: '😀 "\\', expiresAt: null }),
        recordOf('a', { meta }),
        recordOf('a', { meta: JSON.parse('{"__proto__":{"a":1},"constructor":1}') }),
        recordOf('a', { iss: randomUUID(), meta: {} }),
        ...ODD.map((jti) => recordOf(jti, { sub: jti }))
      ]
      const identities = records.map(({ iss, jti }) => identityOf(iss, randomUUID() + jti))
      const ofEach = <T>(ask: (identity: string, record: TokenRecord) => Promise<T>) =>
        Promise.all(records.map((record, i) => ask(identities[i]!, record)))
      const byId = () => ofEach((_identity, { id }) => store.records.byId(id))
      const byIdentity = () => ofEach((identity) => store.records.of(identity))

      t.strictSame(await byId(), records.map(() => null))
      t.strictSame(await byIdentity(), records.map(() => null))
      await ofEach((identity, record) => store.records.save({ record, identity, exp: null, keptUntil: soon }))
      t.strictSame(await byId(), records)
      t.strictSame(await byIdentity(), records)
      t.strictSame(await ofEach((identity) => check(store, identity)), records.map(() => false), 'a record is no revocation')
      for (const { id } of records) t.equal(await recordUntil(id), soon)
    })

    await t.test('a record is the store\'s own copy', async (t) => {
      const record = recordOf('a', { meta: { list: [1] } })
      const saved = structuredClone(record)
      const identity = randomUUID()
      await store.records.save({ record, identity, exp: null, keptUntil: soon })
      ;(record.meta!.list as number[]).push(2)
      record.jti = 'b'
      t.strictSame(await store.records.byId(record.id), saved)
      const given = await store.records.of(identity)
      given!.meta!.list = []
      t.strictSame(await store.records.of(identity), saved)
    })

    await t.test('a record is kept until the given second or for ever, and the last one of an identity counts', async (t) => {
      const identity = randomUUID()
      const [first, second] = [recordOf('a'), recordOf('a', { expiresAt: null })]
      t.equal(await recordUntil(first.id), undefined)
      await store.records.save({ record: first, identity, exp: null, keptUntil: soon })
      t.equal(await recordUntil(first.id), soon)
      await store.records.save({ record: second, identity, exp: null, keptUntil: null })
      t.equal(await recordUntil(second.id), null)
      t.strictSame(await store.records.of(identity), second)
      t.strictSame(await store.records.byId(first.id), first)
    })

    await t.test('a record that is added stands for its identity as long as the one before, or longer', async (t) => {
      const identity = randomUUID()
      const [first, shorter, endless, last] = [recordOf('a'), recordOf('a'), recordOf('a', { expiresAt: null }), recordOf('a')]
      const later = soon + 60
      const lasting = (record: TokenRecord, keptUntil: number | null) => ({ ...record, expiresAt: keptUntil === null ? null : new Date(keptUntil * 1000).toISOString() })
      const add = (record: TokenRecord, keptUntil: number | null) => store.records.add({ record: lasting(record, keptUntil), identity, exp: keptUntil, keptUntil })
      await add(first, later)
      t.equal((await store.records.of(identity))?.id, first.id)
      await add(shorter, soon)
      t.strictSame(await store.records.of(identity), lasting(first, later))
      await add(endless, null)
      t.match(await store.records.of(identity), { expiresAt: null })
      await add(last, later)
      t.match(await store.records.of(identity), { expiresAt: null })
    })

    await t.test('a page after no record is empty', async (t) => {
      const record = recordOf('a', { sub: randomUUID() })
      await store.records.save({ record, identity: randomUUID(), subject: record.sub!, exp: soon, keptUntil: soon })
      t.strictSame(await store.records.page(record.sub!, 10), { records: [record] })
      t.strictSame(await store.records.page(record.sub!, 10, ''), { records: [] })
    })

    await t.test('an id that is none gives no record', async (t) => {
      for (const id of ['', ' ', 'none', '__proto__', '*', '../a', '😀', '\u0000', 'a'.repeat(255)]) t.equal(await store.records.byId(id), null, id.slice(0, 9))
      t.equal(await store.records.of(''), null)
    })

    await t.test('a cutoff is found with its subject, rises by a second at most to the lead, and is never lowered', async (t) => {
      const subject = randomUUID()
      const now = inSeconds(0)
      t.equal(await cutoffOf(store, subject), null)
      t.strictSame(await on(store).cutOff(subject, now, soon), { cutoff: now, before: null })
      t.equal(await cutoffOf(store, subject), now)
      t.equal(await cutoffOf(store, randomUUID()), null, 'and with no other')
      for (let second = 1; second <= LEAD; second++) {
        t.strictSame(await on(store).cutOff(subject, now, soon), { cutoff: now + second, before: now + second - 1 })
      }
      t.strictSame(await on(store).cutOff(subject, now, soon), { cutoff: now + LEAD, before: now + LEAD })
      t.strictSame(await on(store).cutOff(subject, now - 100, soon), { cutoff: now + LEAD, before: now + LEAD })
      t.strictSame(await on(store).cutOff(subject, now + 100, soon, { unlessFrom: now }), { cutoff: now + LEAD, before: now + LEAD }, 'late enough')
      t.strictSame(await on(store).cutOff(subject, now + 100, soon), { cutoff: now + 100, before: now + LEAD })
      t.equal(await cutoffOf(store, subject), now + 100)
    })

    await t.test('whoever makes what stands is told, once, before the answer', async (t) => {
      const identity = randomUUID()
      const subject = randomUUID()
      const told: number[] = []
      const options = { made: ({ at }: { at: number }) => { told.push(at) } }
      await on(store).revoke(identity, denial(1000), soon, options)
      await on(store).revoke(identity, denial(1001), soon, options)
      await on(store).cutOff(subject, 2000, soon, options)
      await on(store).cutOff(subject, 2000, soon, options)
      await on(store).cutOff(subject, 2000, soon, { ...options, unlessFrom: 2000 })
      t.strictSame(told, [1000, 2000, 2001])
    })

    await t.test('what is saved of a subject gives its cutoff, and one check tells of both names', async (t) => {
      const [identity, subject] = [randomUUID(), randomUUID()]
      const save = (record: TokenRecord) => store.records.save({ record, identity, subject, exp: soon, keptUntil: soon })
      t.equal(await save(recordOf('a', { sub: subject })), null)
      await on(store).cutOff(subject, 3000, soon)
      t.equal(await save(recordOf('a', { sub: subject })), 3000)
      await on(store).revoke(identity, denial(1), soon)
      for (const how of ['check', 'checkShared'] as const) {
        t.strictSame(await new Promise((resolve) => on(store)[how](identity, subject, (...answer) => resolve(answer))), [null, true, 3000], how)
      }
    })

    await t.test('the latest cutoff of all names of a token counts, in a check and for what is saved', async (t) => {
      const own = randomUUID()
      const [identity, subject, session, claim] = [own, `s${own}`, `sid:${own}`, `tenant:https%3A%2F%2Fi/${own}`]
      const save = () => {
        const record = recordOf(own)
        return store.records.save({ record, identity, subject, others: [session, claim], exp: soon, keptUntil: soon })
      }
      const checked = (how: 'check' | 'checkShared' | 'checkEither', names: Names) => new Promise((resolve) => {
        store.denials[how](names, (...answer) => resolve(answer))
      })
      t.equal(await save(), null)
      for (const [name, at] of [[session, 3000], [subject, 2000], [claim, 4000]] as const) {
        await on(store).cutOff(name, at, soon)
        for (const how of ['check', 'checkShared', 'checkEither'] as const) {
          t.strictSame(await checked(how, { identity, subject, others: [session, claim] }), [null, false, Math.max(3000, at)], `${how} after ${name}`)
          t.strictSame(await checked(how, { others: [name] }), [null, false, at])
          t.strictSame(await checked(how, { subject: `other${own}`, others: [`sid:other${own}`] }), [null, false, null], 'and no other')
        }
      }
      t.equal(await save(), 4000)
      t.equal(await store.records.save({ record: recordOf(own), identity, others: [session], exp: soon, keptUntil: soon }), 3000)
      await on(store).revoke(identity, denial(1), soon)
      t.strictSame(await checked('check', { identity, others: [session] }), [null, true, 3000])
      t.strictSame(await checked('check', {}), [null, false, null], 'no name is no revocation')
      t.strictSame(await checked('checkShared', {}), [null, false, null])
    })

    await t.test('a cutoff for ever stays, lasts as long as it was ever asked for, and is made once', async (t) => {
      const name = `sid:${randomUUID()}`
      const told: number[] = []
      const made = ({ at }: { at: number }) => { told.push(at) }
      t.strictSame(await on(store).cutOff(name, EVERY_IAT, soon, { unlessFrom: EVERY_IAT, made }), { cutoff: EVERY_IAT, before: null })
      t.strictSame(await on(store).cutOff(name, EVERY_IAT, soon + 600, { unlessFrom: EVERY_IAT, made }), { cutoff: EVERY_IAT, before: EVERY_IAT })
      t.strictSame(await on(store).cutOff(name, EVERY_IAT, soon, { made }), { cutoff: EVERY_IAT, before: EVERY_IAT }, 'it never rises')
      t.equal(await cutoffUntil(name), soon + 600, 'longer, and not shorter')
      t.strictSame(await on(store).cutOff(name, inSeconds(0), soon, { made }), { cutoff: EVERY_IAT, before: EVERY_IAT }, 'nor is it lowered')
      t.equal(await cutoffOf(store, name), EVERY_IAT)
      t.strictSame(told, [EVERY_IAT])
    })

    await t.test('a record without a jti comes back as it was saved', async (t) => {
      const { jti: _, ...rest } = recordOf('a', { sub: 'alice', sid: 's1', claims: { tenant: 'acme', 'a b': '1' } })
      const identity = `!jti:/${randomUUID()}//`
      await store.records.add({ record: rest, identity, subject: 'alice', others: ['sid:s1'], exp: soon, keptUntil: soon })
      t.strictSame(await store.records.byId(rest.id), rest)
      t.strictSame(await store.records.of(identity), rest)
    })

    await refreshContract(t, store)

    await t.test('several calls share the time of one', async (t) => {
      const budget = store.budget()
      const before = budget.left
      await on(store).revoke(randomUUID(), denial(1), soon, { budget })
      t.equal(await store.records.byId(randomUUID(), budget), null)
      t.ok(budget.left <= before && budget.left > 0, 'what is left', { found: budget.left })
      t.equal(await store.within(async () => 'done'), 'done')
    })
  })
}

export function cutoffOf (store: Store, subject: string): Promise<number | null> {
  return new Promise((resolve, reject) => {
    on(store).check(undefined, subject, (error, _revoked, cutoff) => {
      if (error) reject(error)
      else resolve(cutoff)
    })
  })
}

import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { MAX_USES, type Found, type Refresh } from '../../lib/stores/refresh.ts'
import type { RecordEntry, Refreshes, SessionEntry, Store } from '../../lib/stores/store.ts'
import type { TokenRecord } from '../../lib/types.ts'
import { inSeconds } from '../support/app.ts'

/* What every store keeps of the contract for refresh tokens in lib/stores/store.ts. */

const LONG = 60_000

const recordOf = (id: string, more: Partial<TokenRecord> = {}): TokenRecord => ({
  id, session: true, jti: randomUUID(), sub: 'alice', sid: 's1', issuedAt: '2026-11-01T00:00:00.000Z', expiresAt: '2026-12-01T00:00:00.000Z', ...more
})

/** A session with its refresh token, as the domain gives it. `claims`: such as decoding and encoding in Lua would change. */
export function sessionOf (more: Partial<Refresh> = {}, record: Partial<TokenRecord> = {}): RecordEntry & { session: SessionEntry } {
  const id = record.id ?? randomUUID()
  const end = inSeconds(600)
  const claims = { a: [], b: {}, n: 1e21, t: '"used":1.5,"uses":2,"key":"x",', e: '{"endedAt":' }
  const refresh: Refresh = { sid: 's1', sub: 'alice', id, iat: inSeconds(0), end, claims, ...more }
  const session = { name: `sid:${randomUUID()}`, identityKeptUntil: inSeconds(300), hash: randomUUID(), refresh }
  return { record: recordOf(id, record), identity: randomUUID(), subject: `alice-${id}`, others: [session.name], exp: end, keptUntil: end + 10, session }
}

/** What was found, without the time of the store. */
function timeless<R extends Refresh> (found: Found<R> | null) {
  if (found === null) return null
  const { now: _, ...others } = found
  return others
}

const bound = (refreshes: Refreshes) => ({
  renew: refreshes.renew.bind(refreshes), settle: refreshes.settle.bind(refreshes), end: refreshes.end.bind(refreshes)
})

export async function refreshContract (t: Test, store: Store) {
  const { records } = store
  const use = (grace = LONG, since?: number) => ({ grace, since, budget: store.budget() })
  const refreshes = {
    ...bound(store.refreshes),
    look: async (...args: Parameters<Refreshes['look']>) => timeless(await store.refreshes.look(...args)),
    spend: async (...args: Parameters<Refreshes['spend']>) => timeless(await store.refreshes.spend(...args))
  }

  await t.test('a refresh token is there once its session was saved, and looking spends nothing', async (t) => {
    const entry = sessionOf()
    const { hash, refresh, name } = entry.session
    t.equal(await refreshes.look(hash, use()), null)
    t.equal(await refreshes.spend(hash, 'key', use()), null)
    t.equal(await records.save(entry, true), null)
    for (let i = 0; i < 5; i++) t.strictSame(await refreshes.look(hash, use()), { state: 'fresh', refresh })
    for (const way of [entry.identity, name]) t.strictSame(await records.of(way), entry.record, `${way} leads to the record`)
    t.strictSame((await records.page(entry.subject!, 10)).records, [entry.record])
  })

  await t.test('the first use says what the successor follows from, further ones only count, and too many do nothing', async (t) => {
    const { session, ...rest } = sessionOf()
    const { hash, refresh } = session
    await records.save({ ...rest, session })
    const first = await refreshes.spend(hash, 'first-KEY_1', use())
    const { used } = first!.refresh
    t.strictSame(first, { state: 'fresh', refresh: { ...refresh, used, uses: 1, key: 'first-KEY_1' } })
    for (let uses = 2; uses <= MAX_USES; uses++) {
      t.match(await refreshes.look(hash, use()), { state: 'again', refresh: { uses: uses - 1 } })
      t.strictSame(await refreshes.spend(hash, 'another', use()), { state: 'again', refresh: { ...refresh, used, uses, key: 'first-KEY_1' } })
    }
    for (const [key, kept] of [['', 1], ['more', 1]] as const) {
      t.match(await (key === '' ? refreshes.look(hash, use()) : refreshes.spend(hash, key, use())), { state: 'exhausted', refresh: { uses: MAX_USES, key: 'first-KEY_1' } }, `${kept}`)
    }
    t.match(await refreshes.look(hash, use(0)), { state: 'reused', refresh: { used, uses: MAX_USES } }, 'its grace is over')
    t.strictSame(await refreshes.spend(hash, 'more', use(0)), { state: 'reused', refresh: { ...refresh, used, uses: MAX_USES, key: 'first-KEY_1' } })
  })

  await t.test('a use counts from when it began, by the clock of the store', async (t) => {
    const entry = sessionOf()
    const { hash } = entry.session
    await records.save(entry)
    const { now } = (await store.refreshes.look(hash, use()))!
    t.ok(Math.abs(now - Date.now()) < LONG)
    const { used } = (await refreshes.spend(hash, 'key', use()))!.refresh
    t.ok(used * 1000 >= Math.floor(now))
    t.match(await refreshes.spend(hash, 'key', use(0)), { state: 'reused' })
    t.match(await refreshes.spend(hash, 'key', use(1, used * 1000 - 5)), { state: 'again', refresh: { uses: 2 } }, 'before the first one')
    t.match(await refreshes.spend(hash, 'key', use(1000, used * 1000 + 999)), { state: 'again', refresh: { uses: 3 } })
    t.match(await refreshes.spend(hash, 'key', use(1000, used * 1000 + 1001)), { state: 'reused' })
  })

  await t.test('of many uses at once one is the first', async (t) => {
    const entry = sessionOf()
    await records.save(entry)
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => refreshes.spend(entry.session.hash, `key-${i}`, use())))
    t.equal(all.filter((found) => found!.state === 'fresh').length, 1)
    t.equal(all.filter((found) => found!.state === 'again').length, MAX_USES - 1)
    t.equal(new Set(all.map((found) => found!.refresh.key)).size, 1)
  })

  await t.test('the successor is kept once, and whatever names the session leads to its record', async (t) => {
    const entry = sessionOf()
    await records.save(entry, true)
    const next = {
      ...entry,
      identity: randomUUID(),
      record: { ...entry.record, jti: randomUUID(), refreshedAt: '2026-11-02T00:00:00.000Z', meta: { list: [] } },
      session: { ...entry.session, hash: randomUUID(), refresh: { ...entry.session.refresh, iat: inSeconds(5) } }
    }
    t.equal(await refreshes.renew(next, store.budget()), true)
    t.strictSame(await refreshes.look(next.session.hash, use()), { state: 'fresh', refresh: next.session.refresh })
    for (const way of [entry.identity, next.identity, entry.session.name]) t.strictSame(await records.of(way), next.record, way)
    t.strictSame((await records.page(entry.subject!, 10)).records, [next.record], 'one record for a session')

    await refreshes.spend(next.session.hash, 'key', use())
    const late = { ...next, session: { ...next.session, refresh: { ...next.session.refresh, iat: inSeconds(9) } } }
    t.equal(await refreshes.renew(late, store.budget()), true)
    t.match(await refreshes.look(next.session.hash, use()), { state: 'again', refresh: { iat: next.session.refresh.iat, key: 'key' } }, 'what is kept stays')
  })

  await t.test('the claims of a spent one are dropped, and nothing else', async (t) => {
    const entry = sessionOf({ iss: 'i', namespace: 'n' })
    const { hash, refresh } = entry.session
    await records.save(entry)
    const spent = (await refreshes.spend(hash, 'key', use()))!.refresh
    await refreshes.spend(hash, 'key', use())
    await refreshes.settle(hash, spent, store.budget())
    const { claims: _, ...others } = refresh
    t.strictSame(await refreshes.look(hash, use()), { state: 'again', refresh: { ...others, used: spent.used, uses: 2, key: 'key' } })
    await refreshes.settle(hash, spent, store.budget())
    t.match(await refreshes.spend(hash, 'key', use()), { state: 'again', refresh: { uses: 3 } }, 'again does no harm')
    await refreshes.settle('of none', spent, store.budget())
    t.equal(await refreshes.look('of none', use()), null)
    const unused = sessionOf()
    await records.save(unused)
    await refreshes.settle(unused.session.hash, spent, store.budget())
    t.match(await refreshes.look(unused.session.hash, use()), { state: 'fresh', refresh: unused.session.refresh }, 'one that was not used keeps them')
  })

  await t.test('a session ends once, and then its record stays as it is', async (t) => {
    const entry = sessionOf({}, { meta: { device: 'phone' } })
    await records.save(entry)
    const at = '2026-11-03T00:00:00.000Z'
    await refreshes.end(entry.record.id, at, store.budget())
    await refreshes.end(entry.record.id, '2026-11-04T00:00:00.000Z', store.budget())
    t.strictSame({ ...await records.byId(entry.record.id) }, { endedAt: at, ...entry.record })
    t.equal(await refreshes.renew({ ...entry, record: { ...entry.record, jti: 'other' } }, store.budget()), false)
    t.match(await records.byId(entry.record.id), { endedAt: at, jti: entry.record.jti! })
    await refreshes.end(randomUUID(), at, store.budget())
  })

  await t.test('a session whose record was lost gets it back', async (t) => {
    const entry = sessionOf()
    t.equal(await refreshes.renew(entry, store.budget()), true)
    t.strictSame(await records.byId(entry.record.id), entry.record)
  })

  await t.test('a session without a subject has no list', async (t) => {
    const { subject: _, ...entry } = sessionOf()
    t.equal(await records.save(entry, true), null)
    t.equal(await refreshes.renew(entry, store.budget()), true)
    t.strictSame(await records.of(entry.session.name), entry.record)
  })
}

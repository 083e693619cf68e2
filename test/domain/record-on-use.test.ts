import { holdIntervals } from '../support/intervals.ts'
import { holdMonotonic } from '../support/monotonic.ts'
import { holdTimeLimits } from '../support/time-limits.ts'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { RecordEntry, Store } from '../../lib/stores/store.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { buildDomain, Clock, commandsOf, foreign, presented, WatchedClient } from '../support/domain.ts'
import { eventually, startRedis } from '../support/redis.ts'

const server = await startRedis(t)
const client = new Redis(server.url)
t.teardown(() => client.disconnect())

const HISTORY = '/v1/jwt/history'
const WRITES = ['set', 'eval', 'del']

/** An application on a client that is watched, so that a test knows when nothing is under way any more. */
async function watchedApp (t: Test, options: RevocationOptions = {}) {
  const watched = new WatchedClient(client)
  const keyPrefix = options.keyPrefix ?? ownPrefix()
  const app = await buildApp(t, { revocation: { redis: watched, recordOnUse: true, storeTimeout: 10_000, ...options, keyPrefix } })
  await watched.idle()
  /** The commands that an act sends, those of the check left out. */
  const sends = async (act: () => Promise<unknown>) => (await watched.during(act)).flat().filter((name) => name !== 'mget')
  return { app, watched, keyPrefix, sends }
}

const use = async (app: FastifyInstance, token: string, url = '/me') => (await app.inject({ url, headers: bearer(token) })).statusCode
const recorded = async (app: FastifyInstance, sub: string, options = {}) => (await app.revocation.tokens(sub, options)).tokens

t.test('a token that another service signed is recorded the first time it verifies, and once', async (t) => {
  const { app, sends } = await watchedApp(t)
  const iat = inSeconds(-10)
  for (const claims of [{ sub: 'alice' }, { sub: 'alice', iss: 'https://issuer.example/é' }]) {
    const { token, jti } = await genuine({ ...claims, iat: iat + 0.25, exp: iat + 900.5 })
    t.strictSame(await recorded(app, 'alice', claims), [])
    t.strictSame((await sends(() => use(app, token))).filter((name) => WRITES.includes(name)).sort(), ['eval', 'set', 'set'])
    const [listed, ...others] = await recorded(app, 'alice', claims)
    t.match(listed, {
      jti, ...claims, status: 'active', issuedAt: new Date((iat + 0.25) * 1000).toISOString(), expiresAt: new Date((iat + 900.5) * 1000).toISOString()
    })
    t.notOk(Object.hasOwn(listed!, 'meta'))
    t.strictSame(others, [])
    for (const url of ['/me', '/public', HISTORY]) t.strictSame(await sends(() => use(app, token, url)), url === HISTORY ? ['eval', 'get'] : [], `not again by ${url}`)
    t.strictSame((await recorded(app, 'alice', claims)).map(({ id }) => id), [listed!.id])

    const speaker = await genuine(claims)
    t.equal((await app.inject({ method: 'DELETE', url: `${HISTORY}/id/${listed!.id}`, headers: bearer(speaker.token) })).statusCode, 200, 'it can be revoked by its id')
    t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
  }
})

t.test('a token is recorded by whatever verifies it first, and kept as long as its revocation would be', async (t) => {
  for (const url of ['/public', '/me', HISTORY]) {
    const { app, watched, keyPrefix } = await watchedApp(t)
    const exp = inSeconds(300)
    const { token, jti } = await genuine({ exp })
    const began = Date.now()
    await use(app, token, url)
    await watched.idle()
    const [listed] = await recorded(app, 'alice')
    for (const key of [`token:${listed!.id}`, `id:${jti}`, 'tokens:alice']) {
      const asked = Date.now()
      const left = await client.pttl(keyPrefix + key)
      // It ends at a moment between these two, which a process that is late calls late.
      const [from, to] = [asked, Date.now()].map((time) => time + left - (exp + 10) * 1000)
      t.ok(to! >= 0 && from! < 1000 + Date.now() - began, `${key} after ${url}`, { from, to })
    }
  }
  const { app, watched } = await watchedApp(t, { enforce: 'verified' })
  const { token } = await genuine()
  await use(app, token, '/public')
  await watched.idle()
  t.strictSame(await recorded(app, 'alice'), [], 'where nobody verifies it, nobody knows it')
  await use(app, token)
  await watched.idle()
  t.equal((await recorded(app, 'alice')).length, 1)
})

t.test('many first requests at once on two applications record a token once', async (t) => {
  const keyPrefix = ownPrefix()
  const [one, other] = await Promise.all([watchedApp(t, { keyPrefix }), watchedApp(t, { keyPrefix })])
  const tokens = await Promise.all(Array.from({ length: 40 }, () => genuine()))
  const statuses = await Promise.all(tokens.flatMap(({ token }) => Array.from({ length: 5 }, (_, i) => use(i % 2 ? one.app : other.app, token))))
  t.strictSame(new Set(statuses), new Set([200]))
  await Promise.all([one.watched.idle(), other.watched.idle()])
  const listed = await recorded(one.app, 'alice')
  t.strictSame(listed.map(({ jti }) => jti).sort(), tokens.map(({ jti }) => jti).sort(), 'each once')
  const keys = await server.keys(`${keyPrefix}*`)
  t.strictSame(keys.filter((key) => key.includes(':token:')).map((key) => key.slice(keyPrefix.length + 6)).sort(), listed.map(({ id }) => id).sort(), 'no other record is left')
  t.equal(keys.length, 2 * tokens.length + 1)
  for (const { id, jti } of listed) t.equal(await client.get(`${keyPrefix}id:${jti}`), id)
})

t.test('a token that was recorded already is not recorded again', async (t) => {
  const { app, sends, keyPrefix } = await watchedApp(t)
  const issued = await app.revocation.issue({ sub: 'alice' }, { meta: { device: 'a' } })
  t.strictSame(await sends(() => use(app, issued.token)), [], 'one that this process issued')
  const { token } = await genuine()
  await app.revocation.record(app.jwt.decode(token)!, { device: 'b' })
  t.strictSame(await sends(() => use(app, token)), [], 'one that it recorded')
  const other = await watchedApp(t, { keyPrefix })
  const before = await recorded(app, 'alice')
  for (const known of [issued.token, token]) {
    t.strictSame(new Set(await other.sends(() => use(other.app, known))), new Set(['get']), 'another process looks, once')
    t.strictSame(await other.sends(() => use(other.app, known)), [])
  }
  t.strictSame(await recorded(app, 'alice'), before)
})

const UNUSABLE = [undefined, '', 1, null, 'a'.repeat(256), '\ud800']

t.test('an unusable jti counts as none: all that has one subject and one iat is recorded once', async (t) => {
  const { app, sends } = await watchedApp(t, { tokensWithoutJti: 'accept' })
  const claims = { sub: 'alice', iat: inSeconds(-10), exp: inSeconds(60) }
  const writes = await sends(async () => {
    for (const jti of UNUSABLE) t.equal(await use(app, await signed({ ...claims, jti })), 200)
  })
  t.strictSame(writes.filter((name) => WRITES.includes(name)), ['set', 'eval', 'set'])
  const [listed, ...others] = await recorded(app, 'alice')
  t.match(listed, { sub: 'alice', status: 'active', issuedAt: new Date(claims.iat * 1000).toISOString() })
  t.notOk(Object.hasOwn(listed!, 'jti'))
  t.strictSame(others, [])
})

t.test('what could not be used is not recorded', async (t) => {
  const { app, sends, keyPrefix } = await watchedApp(t, { tokensWithoutJti: 'accept' })
  const nothing = async (token: string, status: number, what: string) => {
    t.strictSame(await sends(async () => t.equal(await use(app, token), status, what)), [], what)
  }
  const claims = { sub: 'alice', exp: inSeconds(60) }
  for (const jti of UNUSABLE) await nothing(await signed({ exp: claims.exp, jti }), 200, `no subject, and a jti of ${JSON.stringify(jti)?.slice(0, 9)}`)
  await nothing(await signed({ ...claims, jti: 'a', exp: inSeconds(-60) }), 401, 'an expired one')
  await nothing(await signed({ ...claims, jti: 'b' }, 'a secret of somebody else, of more than 32 bytes'), 401, 'a forged one')
  await nothing(await signed({ sub: 'alice', jti: 'c' }), 401, 'one that can not be revoked')
  await app.revocation.revoke({ jti: 'd' })
  await nothing(await signed({ ...claims, jti: 'd' }), 401, 'a revoked one')
  await app.revocation.revokeSubject('bob')
  await nothing(await signed({ ...claims, jti: 'e', sub: 'bob', iat: inSeconds(-1) }), 401, 'one that was cut off')
  t.strictSame(await sends(async () => { await app.revocation.isRevoked({ ...claims, iat: inSeconds(0), jti: 'f' }) }), [], 'one that did not come with a request')
  t.strictSame(await server.keys(`${keyPrefix}token*`), [])
})

t.test('by default nothing is recorded on use', async (t) => {
  holdMonotonic(t)
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: client, keyPrefix } })
  const commands = await commandsOf(server, async () => {
    for (const url of ['/me', '/public']) t.equal(await use(app, (await genuine()).token, url), 200)
  })
  t.strictSame(commands, { mget: 2 })
  t.strictSame(await server.keys(`${keyPrefix}*`), [])
  const memory = await buildApp(t)
  await use(memory, (await genuine()).token)
  t.strictSame(await recorded(memory, 'alice'), [])
})

t.test('in memory a token is recorded on use as well', async (t) => {
  const app = await buildApp(t, { revocation: { recordOnUse: true } })
  const { token, jti } = await genuine()
  for (let i = 0; i < 3; i++) t.equal(await use(app, token), 200)
  t.match(await recorded(app, 'alice'), [{ jti, status: 'active' }])
  t.equal((await recorded(app, 'alice')).length, 1)
})

for (const onStoreFailure of ['reject', 'accept'] as const) {
  t.test(`recording never slows or fails the request, with onStoreFailure '${onStoreFailure}'`, async (t) => {
    const faults: Record<string, (command: unknown[]) => Promise<unknown> | undefined> = {
      'fail at once': async () => { throw new Error("NOPERM this user has no permissions to run the 'set' command") },
      'throw at once': () => { throw new Error('Connection is closed.') },
      'answer nonsense': async () => ({}),
      hang: () => new Promise(() => {})
    }
    for (const [what, fault] of Object.entries(faults)) {
      // No time passes that a request could wait for.
      const time = holdTimeLimits(t)
      const { app, watched } = await watchedApp(t, { onStoreFailure })
      await use(app, (await genuine()).token)
      watched.intercept = (command) => WRITES.includes(String(command[0])) || String(command[1]).includes(':id:') ? fault(command) : undefined
      for (let i = 0; i < 10; i++) {
        const { token } = await genuine()
        t.equal(await use(app, token), 200, `writes that ${what} cost the request nothing`)
      }
      watched.intercept = () => undefined
      time.pass(10_000)
    }
  })
}

/** Passes the second after which a lost store is asked whether it is back. */
function ownIntervals (t: Test) {
  const { pass } = holdIntervals(t)
  return async ({ app, watched }: Awaited<ReturnType<typeof watchedApp>>) => {
    t.equal(app.revocation.status().available, false)
    for (let probes = 0; probes < 2; probes++) {
      pass()
      await watched.idle()
    }
    t.equal(app.revocation.status().available, true)
  }
}

t.test('what failed to be recorded is recorded by a later request, wherever it failed', async (t) => {
  const isBack = ownIntervals(t)
  for (const failing of [0, 1, 2, 3]) {
    for (const who of ['the same process', 'another one']) {
      const what = `after a failure of command ${failing + 1} of 4, by ${who}`
      const first = await watchedApp(t)
      const { token, jti } = await genuine()
      let count = 0
      first.watched.intercept = ([name]) => name !== 'mget' && count++ === failing ? Promise.reject(new Error('LOADING')) : undefined
      t.equal(await use(first.app, token), 200)
      await first.watched.idle()
      t.equal(count, failing + 1, 'it stops where it fails')
      first.watched.intercept = () => undefined
      await isBack(first)
      const { app, watched } = who === 'the same process' ? first : await watchedApp(t, { keyPrefix: first.keyPrefix })
      for (let i = 0; i < 2; i++) {
        t.equal(await use(app, token), 200)
        await watched.idle()
      }
      const listed = await recorded(app, 'alice')
      t.strictSame(listed.map((token) => [token.jti, token.status]), [[jti, 'active']], what)
      t.match(await app.revocation.revokeSubject('alice', { except: 'another' }), { revoked: 1 }, `found where all others are revoked, ${what}`)
    }
  }
})

t.test('a token that record() failed to record is recorded on its next use', async (t) => {
  const isBack = ownIntervals(t)
  const rig = await watchedApp(t)
  const { token, jti } = await genuine()
  rig.watched.intercept = ([name]) => name === 'set' ? Promise.reject(new Error('LOADING')) : undefined
  await t.rejects(rig.app.revocation.record(rig.app.jwt.decode(token)!), { code: 'FST_JWT_REVOCATION_UNAVAILABLE', statusCode: 503 })
  rig.watched.intercept = () => undefined
  await isBack(rig)
  t.equal(await use(rig.app, token), 200)
  await rig.watched.idle()
  t.strictSame((await recorded(rig.app, 'alice')).map((token) => token.jti), [jti])
})

/** A store that only counts what it is to record. */
class CountingStore extends MemoryStore {
  recorded: string[] = []
  answer: () => Promise<void> = async () => {}

  constructor (context: { clock: Clock }) {
    super(context)
    this.records.add = async ({ record }: RecordEntry) => {
      this.recorded.push(record.jti!)
      return this.answer()
    }
  }
}

t.test('at most 10,000 tokens are remembered as recorded', async (t) => {
  const clock = new Clock()
  const store = new CountingStore({ clock })
  const domain = buildDomain({ store, clock, recordOnUse: true })
  const see = async (jti: string) => {
    t.equal(await presented(domain, foreign(clock, { jti })), 'accepted')
    await null
  }
  const token = (i: number) => `token ${i}`
  const times = (jti: string) => store.recorded.filter((recorded) => recorded === jti).length
  const seeAll = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      if (await presented(domain, foreign(clock, { jti: token(i) })) !== 'accepted') t.fail(token(i))
      // A turn, so that what is under way is done.
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await seeAll(0, 10_000)
  t.equal(store.recorded.length, 10_000)
  await see(token(0))
  t.equal(times(token(0)), 1, 'of 10,000 none is forgotten')
  await seeAll(10_000, 20_000)
  t.equal(store.recorded.length, 20_000)
  await see(token(0))
  t.equal(times(token(0)), 2, 'of more, the first one is: asked for again')
  await see(token(19_999))
  t.equal(times(token(19_999)), 1)

  const issued = await domain.issue({ sub: 'alice' })
  for (let i = 0; i < 10_000; i++) await domain.record(foreign(clock))
  await see(issued.jti)
  t.equal(times(issued.jti), 1, 'those of issue() and record() count')
})

t.test('a token counts as recorded for a minute, by a clock that may be set back', async (t) => {
  const clock = new Clock()
  const store = new CountingStore({ clock })
  const domain = buildDomain({ store, clock, recordOnUse: true })
  const claims = foreign(clock, { jti: 'a' })
  const start = clock.now
  const times = async () => {
    await presented(domain, claims)
    await null
    return store.recorded.length
  }
  for (const [after, count, what] of [
    [0, 1, 'at first'], [1, 1, 'known'], [59_999, 1, 'still known'], [60_000, 2, 'asked for again'], [60_001, 2, 'known again'],
    [30_000, 3, 'the clock was set back'], [30_001, 3, 'known'], [90_000, 4, 'a minute later']
  ] as const) {
    clock.now = start + after
    t.equal(await times(), count, `${what}, after ${after} ms`)
  }
  domain.history.forget()
  t.equal(await times(), 5, 'forgotten')
  t.equal(await times(), 5)
})

t.test('a later token of the same jti is recorded as well, an equal one is not', async (t) => {
  const clock = new Clock()
  const store = new CountingStore({ clock })
  const domain = buildDomain({ store, clock, recordOnUse: true })
  const use = async (exp: number) => {
    await presented(domain, foreign(clock, { jti: 'a', exp: clock.seconds + exp }))
    await null
    return store.recorded.length
  }
  t.equal(await use(60), 1)
  t.equal(await use(60), 1)
  t.equal(await use(900), 2)
  await domain.record(foreign(clock, { jti: 'a', exp: clock.seconds + 300 }))
  t.equal(await use(300), 2, 'one that record() has recorded')
})

t.test('tokens in use are recorded again when Redis comes back empty, so that except=current ends the others', async (t) => {
  const own = await startRedis(t)
  const app = await buildApp(t, { revocation: { redis: own.url, recordOnUse: true, storeTimeout: 10_000 } })
  const [caller, other] = await Promise.all([genuine(), genuine()])
  const both = async () => { for (const { token } of [caller, other]) t.equal(await use(app, token), 200) }
  const areRecorded = () => eventually('both are recorded', async () => (await recorded(app, 'alice')).length === 2)
  const told = (event: 'storeLost' | 'storeBack') => new Promise<void>((resolve) => app.revocation.on(event, () => resolve()))
  await both()
  await areRecorded()
  const [lost, back] = [told('storeLost'), told('storeBack')]
  await own.kill()
  t.equal(await use(app, caller.token), 503)
  await lost
  await own.start()
  await back
  t.strictSame(await recorded(app, 'alice'), [], 'it has lost everything')
  await both()
  await areRecorded()
  const answer = answerOf(await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice?except=current`, headers: bearer(caller.token) }))
  t.match(answer, { statusCode: 200, body: { sub: 'alice', cutoff: null, revoked: 1 } })
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(other.token) })), REVOKED)
  t.equal(await use(app, caller.token), 200)
})

t.test('of a flood of new tokens on a store that does not answer, a hundred wait to be recorded and no more', async (t) => {
  const clock = new Clock()
  const store = new CountingStore({ clock })
  let release = () => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  store.answer = () => held
  const domain = buildDomain({ store: store as Store, clock, recordOnUse: true })
  const jtis = Array.from({ length: 5000 }, () => randomUUID())
  for (const jti of jtis) await presented(domain, foreign(clock, { jti }))
  t.equal(store.recorded.length, 100)
  release()
  await new Promise((resolve) => setImmediate(resolve))
  for (let i = 0; i < jtis.length; i++) {
    await presented(domain, foreign(clock, { jti: jtis[i]! }))
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  t.strictSame([...store.recorded].sort().length, 5000, 'the others with their next request, and none twice')
  t.equal(new Set(store.recorded).size, 5000)
})

t.test('a caller who is recorded on use is spared, and found, when all others are ended', async (t) => {
  const { app, watched } = await watchedApp(t)
  const tokens = await Promise.all([1, 2, 3].map(() => genuine()))
  for (const { token } of tokens) await use(app, token)
  await watched.idle()
  const answer = await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/alice?except=current`, headers: bearer(tokens[0]!.token) })
  t.strictSame(answerOf(answer), { statusCode: 200, body: { sub: 'alice', cutoff: null, revoked: 2 } })
  t.strictSame(await Promise.all(tokens.map(({ token }) => use(app, token))), [200, 401, 401])
})

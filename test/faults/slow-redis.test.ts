import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { bearer, buildApp, inSeconds, ownPrefix } from '../support/app.ts'
import { UNAVAILABLE } from '../support/domain.ts'
import { ask, forge, heapUsed, MEGABYTE } from '../support/flood.ts'
import { lived } from '../support/lived.ts'
import { type Proxy, startProxy } from '../support/proxy.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'

/** So long that a busy machine answers within it. */
const STORE_TIMEOUT = 1000
const MARGIN = 200
const WAVE = 800
const WAVES = isThorough ? 4 : 3
const MAX_STALENESS = 2000
/** What each process may have under way, in batches or operations. */
const MAX_OUTSTANDING = 1000
/** Of operations, among them the many that a subject with a thousand tokens takes. */
const MAX_OPERATIONS = 2000

const good = (sub = 'alice') => forge({ jti: randomUUID(), sub, iat: inSeconds(0), exp: inSeconds(900) })

interface Outcome { statusCode: number, code?: string, message?: string }

/** What each gave, and how long the slowest took, as this process lived it. */
async function timed (operations: Array<() => Promise<Outcome>>) {
  let slowest = 0
  const under: Array<Promise<Outcome>> = []
  for (const [i, operation] of operations.entries()) {
    // As requests come: some in each turn.
    if (i % 50 === 0) await turn()
    const from = lived()
    under.push(operation().finally(() => { slowest = Math.max(slowest, lived() - from) }))
  }
  return { outcomes: await Promise.all(under), slowest }
}

const request = (app: FastifyInstance, url = '/me') => async () => {
  const { statusCode, payload } = await ask(app, url, bearer(good()))
  const { code, message } = JSON.parse(payload)
  return { statusCode, ...(code && { code }), ...(message && { message }) }
}

const revocation = (app: FastifyInstance) => () => app.revocation.revoke({ jti: randomUUID(), exp: inSeconds(900) })
  .then(() => ({ statusCode: 200 }), ({ statusCode, code, message }: Outcome) => ({ statusCode, code, message } as Outcome))

const kinds = (outcomes: Outcome[]) => [...new Set(outcomes.map((outcome) => JSON.stringify(outcome)))].map((text) => JSON.parse(text))

interface Queues { commandQueue: { length: number }, offlineQueue: { length: number } }

/** How much is under way in a client. */
const queued = (client: Redis) => {
  const { commandQueue, offlineQueue } = client as unknown as Queues
  return commandQueue.length + offlineQueue.length
}

async function setUp (t: Test, mode: 'strict' | 'replica', own: boolean) {
  const owner = { after: (fn: () => unknown) => t.teardown(fn) }
  const server = await startRedis(owner)
  const proxy = await startProxy(owner, { host: '127.0.0.1', port: server.port })
  const given = new Redis(proxy.url)
  given.on('error', () => {})
  t.teardown(() => given.disconnect())
  const app = await buildApp(t, {
    revocation: { redis: own ? proxy.url : given, keyPrefix: ownPrefix(), mode, storeTimeout: STORE_TIMEOUT, maxStaleness: MAX_STALENESS }
  })
  await eventually('the store is there', async () => app.revocation.status().available)
  return { server, proxy, given, app }
}

async function recovers (t: Test, app: FastifyInstance, proxy: Proxy) {
  const lost = proxy.mode === 'blackhole'
  await proxy.set('pass')
  // What was swallowed is missing from the connection, which TCP never lets happen.
  if (lost) proxy.cut()
  await eventually('it is quick again', async () => app.revocation.status().available && (await request(app)()).statusCode === 200 && (await revocation(app)()).statusCode === 200)
  t.same(kinds((await timed(Array.from({ length: 100 }, () => request(app)))).outcomes), [{ statusCode: 200 }])
  t.same(await revocation(app)(), { statusCode: 200 })
}

/** Late by a second on the way there, and on the way back. */
const FAULTS = { 'answers two seconds late': { delayMs: 1000 }, 'does not answer': 'blackhole' } as const

for (const [what, fault] of Object.entries(FAULTS)) {
  for (const own of isThorough ? [true, false] : [false]) {
    t.test(`P4 of a Redis that ${what}, ${WAVES * WAVE} requests are each answered in time, and nothing of them stays: ${own ? "the plugin's own client" : 'a given one'}`, async (t) => {
      const { server, proxy, given, app } = await setUp(t, 'strict', own)
      await proxy.set(fault)
      const heaps: number[] = []
      let most = 0
      for (let wave = 0; wave < WAVES; wave++) {
        const { outcomes, slowest } = await timed(Array.from({ length: WAVE }, () => request(app)))
        t.equal(outcomes.length, WAVE)
        t.same(kinds(outcomes), [UNAVAILABLE])
        t.ok(slowest <= STORE_TIMEOUT + MARGIN, `wave ${wave}`, { slowest })
        if (!own) most = Math.max(most, queued(given))
        heaps.push(await heapUsed())
      }
      t.ok(most <= MAX_OUTSTANDING + 10, 'what waits in the client is bounded', { most })
      t.ok(heaps.at(-1)! - heaps[1]! < 1.5 * MEGABYTE, 'the last waves leave no more than the first', { heaps })
      const qbufs = [...(await server.cli('CLIENT', 'LIST')).matchAll(/ qbuf=(\d+)/g)].map(([, bytes]) => Number(bytes))
      for (const bytes of qbufs) t.ok(bytes < MEGABYTE, 'nor does it wait in Redis', { bytes })
      t.comment(`heaps ${heaps.map((heap) => Math.round(heap / 1024)).join(' ')} KB; at most ${most} commands in the client`)
      await recovers(t, app, proxy)
    })
  }

  // Whether it is late or silent is one to a revocation: its time is up.
  if (isThorough || fault === 'blackhole') {
    t.test(`P3 P4 of a Redis that ${what}, 2,000 revocations at once are each answered 503 in time`, async (t) => {
      const { proxy, given, app } = await setUp(t, 'strict', false)
      await proxy.set(fault)
      const heaps: number[] = []
      for (let wave = 0; wave < 2; wave++) {
        let peak = 0
        const watch = setInterval(() => { peak = Math.max(peak, queued(given)) }, 10)
        const { outcomes, slowest } = await timed(Array.from({ length: MAX_OPERATIONS }, () => revocation(app)))
        clearInterval(watch)
        t.same(kinds(outcomes), [UNAVAILABLE])
        t.ok(slowest <= STORE_TIMEOUT + MARGIN, `wave ${wave}`, { slowest })
        // A revocation begins with a pipeline of one read.
        t.ok(peak <= MAX_OPERATIONS + 10, 'what waits in the client is bounded', { peak })
        heaps.push(await heapUsed())
      }
      t.ok(heaps[1]! - heaps[0]! < 1.5 * MEGABYTE, 'the last wave leaves no more than the first', { heaps })
      await recovers(t, app, proxy)
    })
  }

  // Nor does a replica hear anything in time of either.
  if (!isThorough && fault !== 'blackhole') continue
  t.test(`P4 a replica of a Redis that ${what} keeps nobody waiting until maxStaleness, then answers 503 in time, and recovers by itself`, async (t) => {
    const { server, proxy, app } = await setUp(t, 'replica', true)
    const revoked = { jti: randomUUID(), sub: 'mallory', iat: inSeconds(0), exp: inSeconds(900) }
    await app.revocation.revoke({ jti: revoked.jti, exp: revoked.exp })
    const refused = async () => {
      const { statusCode, payload } = await ask(app, '/me', bearer(forge(revoked)))
      t.match({ statusCode, ...JSON.parse(payload) }, { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
    }
    await eventually('it is in step', async () => app.revocation.status().stalenessMs! < 500)
    const calls = await server.commandCalls('mget')
    await proxy.set(fault)
    const { outcomes } = await timed(Array.from({ length: 500 }, () => request(app)))
    await refused()
    const asked = await server.commandCalls('mget') - calls
    const { stalenessMs } = app.revocation.status()
    // A machine that is slow enough has made it stale by now.
    if (stalenessMs! < MAX_STALENESS) {
      t.same(kinds(outcomes), [{ statusCode: 200 }], 'whoever had waited would have 503')
      t.ok(asked <= 2, 'and nobody has asked', { asked })
    }
    await eventually('it is stale', async () => app.revocation.status().stalenessMs! > MAX_STALENESS)
    for (let wave = 0; wave < 2; wave++) {
      const { outcomes, slowest } = await timed(Array.from({ length: WAVE }, () => request(app)))
      t.same(kinds(outcomes), [UNAVAILABLE])
      t.ok(slowest <= STORE_TIMEOUT + MARGIN, 'in time', { slowest })
      await refused()
    }
    await recovers(t, app, proxy)
    await eventually('it is in step again', async () => app.revocation.status().stalenessMs! < MAX_STALENESS)
    await refused()
  })
}

t.test('P4 requests without a token wait for nobody while thousands with one do', async (t) => {
  const { proxy, app } = await setUp(t, 'strict', true)
  await proxy.set('blackhole')
  let answered = 0
  const waiting = timed(Array.from({ length: WAVE }, () => () => request(app)().finally(() => { answered++ })))
  await turn()
  await timed(Array.from({ length: 50 }, () => async () => {
    const { statusCode } = await ask(app, '/public', {})
    return { statusCode }
  }))
  t.equal(answered, 0, 'they are answered meanwhile')
  t.same(kinds((await waiting).outcomes), [UNAVAILABLE])
  await recovers(t, app, proxy)
})

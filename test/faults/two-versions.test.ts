import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, inSeconds, REVOKED } from '../support/app.ts'
import { eventually, startRedis, type RedisServer } from '../support/redis.ts'
import { openNode } from '../support/replica.ts'
import { on } from '../support/stores.ts'

/*
 * Two versions on one log: one looks at sessions and listed claims, and the one before it does not. The form of an entry
 * is the same in both. So an application of today without these options stands for the version before.
 */

const PREFIX = 'r:'
const LOOKS = { claims: { sid: 'sid' }, revocableBy: ['tenant'] } satisfies RevocationOptions
const BEFORE = {} satisfies RevocationOptions
const MONTH = 30 * 24 * 3600
const FOR_EVER = 4294967295
/** All that no version before knows, by the ends of the keys. */
const NAMES = ['!sid:bob', 'sid:s1', 'tenant:t1']

interface Line { level: number, msg: string, event?: string }

/** An application, with what it logs of warnings and worse, but for the uses of revoked tokens. */
async function start (t: Test, server: RedisServer, options: RevocationOptions) {
  const warnings: string[] = []
  const stream = {
    write (line: string) {
      const { level, msg, event } = JSON.parse(line) as Line
      if (level >= 40 && event === undefined) warnings.push(msg)
    }
  }
  const app = await buildApp(t, {
    fastify: { logger: { stream } },
    revocation: { redis: server.url, mode: 'replica', keyPrefix: PREFIX, ...options }
  })
  return { app, warnings }
}

const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const tokenOf = async (claims: object) => (await genuine({ iat: inSeconds(-10), ...claims })).token
const entriesOf = ({ revocation }: FastifyInstance) => revocation.status().entries
const knows = (app: FastifyInstance, count: number) =>
  eventually(`it knows ${count} entries`, async () => entriesOf(app) === count)

/** Ends the session s1 and the tenant t1, and what bob has without a session, as a back-channel logout does. */
async function endAll (t: Test, server: RedisServer, app: FastifyInstance) {
  await app.revocation.revokeSession('s1')
  await app.revocation.revokeBy('tenant', 't1')
  const { store } = await openNode(t, server.url, { mode: 'strict' })
  await store.start()
  await on(store).cutOff('!sid:bob', inSeconds(0), inSeconds(1000))
}

/** What is lost is back, key by key and with its value and most of its time, and the log has it. */
async function isBack (server: RedisServer, values: string[]) {
  await eventually('the keys are back', async () => (await valuesOf(server)).join() === values.join())
  await eventually('the log is back', async () => Number(await server.cli('XLEN', `${PREFIX}log`)) >= NAMES.length)
  return Number(await server.cli('TTL', `${PREFIX}cutoff:sid:s1`))
}

const valuesOf = (server: RedisServer) => Promise.all(NAMES.map((name) => server.cli('GET', `${PREFIX}cutoff:${name}`)))

async function refusesWhatEnded (t: Test, app: FastifyInstance, what: string) {
  t.strictSame(await me(app, await tokenOf({ sid: 's1' })), REVOKED, `${what}: a token of the session`)
  t.strictSame(await me(app, await tokenOf({ sid: 's1', iat: inSeconds(30) })), REVOKED, `${what}: one of it from later`)
  t.strictSame(await me(app, await tokenOf({ tenant: 't1' })), REVOKED, `${what}: a token of the tenant`)
  for (const claims of [{ sid: 's2' }, { tenant: 't2' }, { sub: 's1' }, { sub: 't1' }]) {
    t.match(await me(app, await tokenOf(claims)), { statusCode: 200 }, `${what}: ${JSON.stringify(claims)}`)
  }
}

t.test('the version before follows, keeps and puts back what it does not look at', async (t) => {
  const server = await startRedis(t, { persist: true })
  const before = await start(t, server, BEFORE)
  const today = await start(t, server, LOOKS)
  await endAll(t, server, today.app)
  await knows(before.app, NAMES.length)
  for (const claims of [{ sid: 's1' }, { tenant: 't1' }, { sub: 'bob' }]) {
    t.match(await me(before.app, await tokenOf(claims)), { statusCode: 200 }, 'it looks at none of them')
  }
  const { jti, token } = await genuine()
  await today.app.revocation.revoke({ jti })
  await knows(before.app, NAMES.length + 1)
  t.strictSame(await me(before.app, token), REVOKED, 'and goes on following')

  const values = await valuesOf(server)
  t.equal(values[1], String(FOR_EVER))
  await today.app.close()
  await server.cli('FLUSHALL')
  const left = await isBack(server, values)
  t.ok(left > MONTH - 60, 'the session is kept as long as it was', { left })
  // The version before has no such key.
  await server.cli('DEL', `${PREFIX}standing`)
  for (const mode of ['replica', 'strict'] as const) {
    const again = await start(t, server, { ...LOOKS, mode })
    await refusesWhatEnded(t, again.app, mode)
    t.strictSame(again.warnings, [])
  }
  t.strictSame(await me(before.app, token), REVOKED)
  t.strictSame(before.warnings, [], 'it has warned of nothing')
})

t.test('the version before starts from a log that has what it does not look at', async (t) => {
  const server = await startRedis(t, { persist: true })
  const today = await start(t, server, LOOKS)
  await endAll(t, server, today.app)
  const values = await valuesOf(server)
  await today.app.close()

  const before = await start(t, server, BEFORE)
  t.equal(entriesOf(before.app), NAMES.length, 'it has read all of it')
  for (const claims of [{ sid: 's1' }, { tenant: 't1' }]) t.match(await me(before.app, await tokenOf(claims)), { statusCode: 200 })
  await before.app.revocation.revoke({ jti: 'its-own' })
  t.strictSame(await me(before.app, await tokenOf({ jti: 'its-own' })), REVOKED)
  await server.cli('FLUSHALL')
  await isBack(server, values)
  const again = await start(t, server, LOOKS)
  await refusesWhatEnded(t, again.app, 'after the loss')
  t.strictSame(await me(again.app, await tokenOf({ jti: 'its-own' })), REVOKED)
  t.strictSame([before.warnings, again.warnings], [[], []])
})

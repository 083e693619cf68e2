import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { bearer, buildApp, ownPrefix } from '../support/app.ts'
import { WatchedClient } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { Turns } from '../../lib/domain/turns.ts'
import { systemClock } from '../../lib/time.ts'

/*
 * Goal: whoever signs out many devices, again and again, keeps nobody else waiting, and two devices don't end each other.
 * Method: what is under way at once is counted at the client; nothing here looks at a clock.
 */

const server = await startRedis(t)
t.teardown(() => {})
const SESSIONS = 60

async function build (t: Test) {
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const watched = new WatchedClient(redis)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix: ownPrefix(), storeTimeout: 10_000 } })
  const endOthers = (token: string, sub = 'alice') => app.inject({ method: 'DELETE', url: `/v1/jwt/history/sub/${sub}?except=current`, headers: bearer(token) })
  const status = async (token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
  return { app, watched, redis, endOthers, status }
}

t.test('the tokens of a subject are revoked a few at a time, and those that are revoked already are not written again', async (t) => {
  const { app, watched, redis, endOthers, status } = await build(t)
  const tokens = await Promise.all(Array.from({ length: SESSIONS }, () => app.revocation.issue({ sub: 'alice' })))
  const [caller, ...others] = tokens
  await app.revocation.revoke({ jti: others[0]!.jti })

  let writes = 0
  let atOnce = 0
  let most = 0
  watched.intercept = (command) => {
    if (command[0] !== 'eval' || !String(command[3]).includes('revoked:')) return undefined
    writes++
    most = Math.max(most, ++atOnce)
    return redis.call(...command as [string, ...string[]]).finally(() => { atOnce-- })
  }
  const answer = await endOthers(caller!.token)
  t.match(answer.json(), { sub: 'alice', cutoff: null, revoked: SESSIONS - 2 })
  t.equal(writes, SESSIONS - 2, 'one write for each that was active')
  t.ok(most <= 10, 'a few at a time', { most })
  t.equal(await status(caller!.token), 200)
  for (const { token } of others) t.equal(await status(token), 401)

  writes = 0
  t.match((await endOthers(caller!.token)).json(), { revoked: 0 })
  t.equal(writes, 0, 'nothing is written again')
})

t.test('one such call is under way for a subject at a time: those that wait find nothing left to do', async (t) => {
  const { app, watched, redis, endOthers } = await build(t)
  const tokens = await Promise.all(Array.from({ length: SESSIONS }, () => app.revocation.issue({ sub: 'alice' })))
  let writes = 0
  watched.intercept = (command) => {
    if (command[0] !== 'eval' || !String(command[3]).includes('revoked:')) return undefined
    writes++
    return redis.call(...command as [string, ...string[]])
  }
  const answers = await Promise.all(Array.from({ length: 8 }, () => endOthers(tokens[0]!.token)))
  t.strictSame(answers.map(({ statusCode }) => statusCode), Array(8).fill(200))
  t.equal(answers.reduce((sum, answer) => sum + answer.json().revoked, 0), SESSIONS - 1, 'each is counted once')
  t.equal(writes, SESSIONS - 1, 'and written once')
})

t.test('two devices that sign out all others at once do not end each other', async (t) => {
  const { app, endOthers, status } = await build(t)
  for (let round = 0; round < 10; round++) {
    const sub = `alice-${round}`
    const [a, b] = [await app.revocation.issue({ sub }), await app.revocation.issue({ sub })]
    const answers = await Promise.all([endOthers(a.token, sub), endOthers(b.token, sub)])
    t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [200, 401])
    t.equal(answers.find(({ statusCode }) => statusCode === 401)!.json().code, 'FST_JWT_REVOKED')
    t.strictSame([await status(a.token), await status(b.token)].sort(), [200, 401], 'one of them lives')
  }
})

t.test('a limit of ours is answered 503, also where a store that fails is not, and loses no store', async (t) => {
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const watched = new WatchedClient(redis)
  const app = await buildApp(t, { revocation: { redis: watched, keyPrefix: ownPrefix(), storeTimeout: 10_000, onStoreFailure: 'accept' } })
  const lost: unknown[] = []
  app.revocation.on('storeLost', (error) => lost.push(error))
  const { token } = await app.revocation.issue({ sub: 'alice' })
  const unanswered: Array<() => void> = []
  watched.intercept = (command) => new Promise((resolve) => { unanswered.push(() => resolve(command[0] === 'mget' ? command.slice(1).map(() => null) : null)) })

  const reads: Array<Promise<boolean>> = []
  const claims = app.jwt.decode<Record<string, unknown>>(token)!
  // Eight in a turn wait for no others.
  for (let i = 0; i < 8000; i++) {
    reads.push(app.revocation.isRevoked({ ...claims, jti: `${i}` }))
    if (i % 8 === 7) await new Promise(setImmediate)
  }
  t.equal(unanswered.length, 1000)
  const answer = await app.inject({ url: '/me', headers: bearer(token) })
  t.match(answer.json(), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' })
  t.equal(answer.headers['retry-after'], '1')
  t.ok(app.revocation.status().available)
  for (const answered of unanswered) answered()
  t.strictSame([...new Set(await Promise.all(reads))], [false])
  t.strictSame(lost, [], 'the store was never lost')
})

t.test('turns come in order, one at a time, also after one that failed or gave up', async (t) => {
  const turns = new Turns(systemClock)
  const order: string[] = []
  let end!: () => void
  const first = turns.take('a', 10_000, async (hasWaited) => {
    order.push(`first ${hasWaited}`)
    await new Promise<void>((resolve) => { end = resolve })
    throw new Error('failed')
  })
  const impatient = turns.take('a', 1, async () => { order.push('never') })
  const third = turns.take('a', 10_000, async (hasWaited) => { order.push(`third ${hasWaited}`) })
  const other = turns.take('b', 10_000, async (hasWaited) => { order.push(`other ${hasWaited}`) })
  await t.rejects(impatient, { message: 'others kept the turn for 1 ms' })
  await other
  t.strictSame(order, ['first false', 'other false'])
  end()
  await t.rejects(first, { message: 'failed' })
  await third
  await turns.take('a', 10_000, async (hasWaited) => { order.push(`fourth ${hasWaited}`) })
  t.strictSame(order, ['first false', 'other false', 'third true', 'fourth false'])
})

t.test('P3 what a replica knows to be revoked and Redis has lost is revoked again, for those who ask Redis', async (t) => {
  const keyPrefix = ownPrefix()
  const replica = await buildApp(t, { revocation: { redis: server.url, keyPrefix, mode: 'replica', storeTimeout: 10_000 } })
  const strict = await buildApp(t, { revocation: { redis: server.url, keyPrefix, storeTimeout: 10_000 } })
  const [caller, other] = [await replica.revocation.issue({ sub: 'alice' }), await replica.revocation.issue({ sub: 'alice' })]
  const status = async (app: typeof replica, token: string) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
  await replica.revocation.revoke({ jti: other.jti })
  await server.cli('DEL', `${keyPrefix}revoked:${other.jti}`)
  t.equal(await status(replica, other.token), 401)
  t.equal(await status(strict, other.token), 200, 'it is lost')

  const answer = await replica.inject({ method: 'DELETE', url: '/v1/jwt/history/sub/alice?except=current', headers: bearer(caller.token) })
  t.match(answer.json(), { sub: 'alice', cutoff: null, revoked: 1 })
  for (const app of [replica, strict]) t.equal(await status(app, other.token), 401)
  t.equal(await status(strict, caller.token), 200)

  await replica.revocation.revokeSubject('alice')
  t.match(await replica.revocation.revokeSubject('alice', { except: 'nobody' }), { revoked: 0 }, 'what a cutoff has ended is left')
  await server.cli('DEL', `${keyPrefix}cutoff:alice`)
  t.match(await replica.revocation.revokeSubject('alice', { except: 'nobody' }), { revoked: 1 }, 'unless Redis has lost it')
  t.equal(await status(strict, caller.token), 401)
})

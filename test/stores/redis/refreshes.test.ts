import { Redis } from 'ioredis'
import t from 'tap'
import type { RedisClient } from '../../../lib/types.ts'
import { bearer, buildApp, ownPrefix } from '../../support/app.ts'
import { refreshHashOf } from '../../../lib/domain/refresh-token.ts'
import { startRedis } from '../../support/redis.ts'

/* Refresh tokens in Redis, where Redis has something else, or says what makes no sense. */

const UNAVAILABLE = { code: 'FST_JWT_REVOCATION_UNAVAILABLE', statusCode: 503 }
const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

t.test('another program has the key of a refresh token: 503 for that one, and the store is not lost', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis: server.url, keyPrefix, refresh: {} } })
  let lost = 0
  app.revocation.on('storeLost', () => { lost++ })
  const token = 'a'.repeat(43)
  const key = `${keyPrefix}refresh:${refreshHashOf(token)}`
  for (const value of ['', 'x', '1', 'null', '{}', '{"sid":1}', '{"sid":"a","id":"b","iat":"x","end":1}', '{"sid":"a","id":"b","iat":1,"end":null}']) {
    await redis.set(key, value)
    await t.rejects(app.revocation.refresh(token), { ...UNAVAILABLE, cause: { message: 'Redis holds no refresh token under the key of one' } }, value)
  }
  await redis.del(key)
  await redis.lpush(key, 'x')
  await t.rejects(app.revocation.refresh(token), UNAVAILABLE, 'a list')
  t.equal(lost, 0)
  const pair = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
  t.match(await app.inject({ url: '/me', headers: bearer((await app.revocation.refresh(pair.refreshToken)).token) }), { statusCode: 200 })
})

t.test('an answer that makes no sense is none', async (t) => {
  /** What the scripts of refresh tokens are answered, by the number of their call. */
  let answers: unknown[] = []
  const replaced = (answer: unknown) => answers.length > 0 ? answers.shift() ?? answer : answer
  const client = {
    isCluster: false,
    call: (...args: [string]) => redis.call(...args),
    pipeline: (commands: string[][]) => ({
      async exec () {
        const results = await redis.pipeline(commands).exec()
        const isUse = commands.some(([, script]) => /uses \+ 1/.test(String(script)))
        const isSave = commands.some(([, script]) => /refreshedAt/.test(String(script)))
        if (isUse) return [[null, replaced(results![0]![1])]]
        if (isSave && answers.length > 0) return [...results!.slice(0, -1), [null, answers.shift()]]
        return results
      }
    }),
    duplicate: () => client
  } as unknown as RedisClient
  const app = await buildApp(t, { revocation: { redis: client, keyPrefix: ownPrefix(), refresh: {} } })
  const used = '{"used":1,"uses":1,"key":"k","sid":"a","id":"b","iat":1,"end":9999999999,"claims":{}}'
  const timeless = [undefined, null, 'x', '', -1].map((time) => ['again', used, time])
  for (const nonsense of ['x', 5, [], ['fresh'], ['stale', '{}'], ['fresh', 5], [1, 2, 3], ['again', used], ...timeless]) {
    const { refreshToken } = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
    answers = [nonsense]
    await t.rejects(app.revocation.refresh(refreshToken), { ...UNAVAILABLE, cause: { message: 'Redis answered nonsense to a refresh token' } }, JSON.stringify(nonsense))
    answers = [undefined, nonsense]
    await t.rejects(app.revocation.refresh(refreshToken), UNAVAILABLE, 'to the use itself')
    answers = [undefined, undefined, 'nonsense']
    await t.rejects(app.revocation.refresh(refreshToken), UNAVAILABLE, 'to the successor')
    answers = []
    await t.resolves(app.revocation.refresh(refreshToken), 'the next try works')
  }
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

import { Redis } from 'ioredis'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { systemClock } from '../../../lib/time.ts'
import { ownPrefix } from '../../support/app.ts'
import { startRedis } from '../../support/redis.ts'
import { on, redisStore } from '../../support/stores.ts'

t.test('P9 names that end alike, asked for again and again in one turn, are each answered for themselves', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const store = redisStore(client, { keyPrefix: ownPrefix(), storeTimeout: 10_000, logSpan: 3600, minReplicas: 0 }, {
    clock: systemClock, onLost () {}, onBack () {}
  })
  t.teardown(() => store.close())
  const names = Array.from({ length: 40 }, (_, i) => `${randomUUID()}${i % 4}-end`)
  const revoked = new Set(names.filter((_, i) => i % 3 === 0))
  for (const name of revoked) await on(store).revoke(name, { at: 1, exp: null }, null)
  // Short names as well, and a subject that has an identity's name.
  const asked = [...names, ...names.toReversed(), ...names, 'e', 'd', 'e']
  for (let turn = 1; turn <= 3; turn++) {
    const answers = await Promise.all(asked.map((identity) => new Promise((resolve, reject) => {
      on(store).check(identity, names[0], (error, revoked, cutoff) => error ? reject(error) : resolve([revoked, cutoff]))
    })))
    t.strictSame(answers, asked.map((identity) => [revoked.has(identity), null]))
    t.equal(await server.commandCalls('mget'), turn)
  }
})

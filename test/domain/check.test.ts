import { holdTimeLimits } from '../support/time-limits.ts'
import { Redis } from 'ioredis'
import t from 'tap'
import { bearer, buildApp, ownPrefix } from '../support/app.ts'
import { WatchedClient } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'

/*
 * Goal: what is known of one name of a token counts, also where another name can't be read (P4).
 * Method: key and log of a cluster are on different nodes; here one of a token's two reads fails, in either order.
 */

const server = await startRedis(t)
t.teardown(() => {})

const STORE_TIMEOUT = 400

type Time = ReturnType<typeof holdTimeLimits>

const FAILURES: Record<string, (time: Time, redis: Redis) => Promise<unknown>> = {
  'before the other is answered': async () => { throw new Error('CLUSTERDOWN The cluster is down') },
  'after the other is answered': async () => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    throw new Error('CLUSTERDOWN The cluster is down')
  },
  never: async (time, redis) => {
    // The time is up when the other is answered: what is sent behind it is answered behind it.
    await new Promise((resolve) => setImmediate(resolve))
    await redis.ping()
    return time.never(STORE_TIMEOUT)
  },
  'with nonsense': async () => 'nonsense',
  'with another type': async () => { throw new Error('WRONGTYPE Operation against a key holding the wrong kind of value') }
}

for (const [when, fail] of Object.entries(FAILURES)) {
  for (const lost of ['cutoff:', 'revoked:']) {
    for (const onStoreFailure of ['accept', 'reject'] as const) {
      t.test(`P4 a revoked token is refused where ${lost} fails ${when}, with onStoreFailure '${onStoreFailure}'`, async (t) => {
        const time = holdTimeLimits(t)
        const redis = new Redis(server.url)
        t.teardown(() => redis.disconnect())
        const client = Object.assign(new WatchedClient(redis), { isCluster: true, nodes: () => [redis] })
        const app = await buildApp(t, { revocation: { redis: client, keyPrefix: ownPrefix(), storeTimeout: STORE_TIMEOUT, onStoreFailure } })
        const { token, jti } = await app.revocation.issue({ sub: 'alice' })
        const living = await app.revocation.issue({ sub: 'bob' })
        if (lost === 'cutoff:') await app.revocation.revoke({ jti })
        else await app.revocation.revokeSubject('alice')
        client.intercept = (command) => command[0] === 'get' && String(command[1]).includes(lost) ? fail(time, redis) : undefined
        const answer = await app.inject({ url: '/me', headers: bearer(token) })
        t.match(answer.json(), { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
        t.equal(await app.revocation.isRevoked(app.jwt.decode<Record<string, unknown>>(token)!), true, 'isRevoked() says so too')
        const other = await app.inject({ url: '/me', headers: bearer(living.token) })
        // A key that is there says: revoked, whatever it holds.
        const isRevoked = lost === 'revoked:' && when === 'with nonsense'
        t.equal(other.statusCode, isRevoked ? 401 : onStoreFailure === 'accept' ? 200 : 503, 'of another one nothing is known')
      })
    }
  }
}

import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { RecordEntry } from '../../../lib/stores/store.ts'
import { bearer, buildApp, inSeconds } from '../../support/app.ts'
import { eventually, startRedis, type RedisServer } from '../../support/redis.ts'
import type { RedisStore } from '../../../lib/stores/redis/store.ts'
import { on, redisStore } from '../../support/stores.ts'
import { systemClock } from '../../../lib/time.ts'

/*
 * Goal: a write that fails on its way leaves nothing that a later one, or a replica, takes for a revocation that holds.
 * Method: the ACL forbids one command of the scripts at a time, so that each script fails at each of its places.
 */

const PREFIX = 'jwt:'
const LONGEST = 3600
const COMMANDS = [
  'get', 'set', 'exists', 'time', 'pttl', 'pexpire', 'persist', 'zadd', 'zremrangebyscore', 'zrevrange', 'xadd', 'xinfo', 'eval'
]

const server = await startRedis(t)
const admin = new Redis(server.url)
t.teardown(() => admin.disconnect())

/** A store whose user may not use one command. */
async function storeWithout (t: Test, command: string | undefined) {
  await admin.call('ACL', 'SETUSER', 'limited', 'reset', 'on', 'nopass', '~*', '+@all', ...(command === undefined ? [] : [`-${command}`]))
  const client = new Redis(server.url, { username: 'limited', password: 'x', enableReadyCheck: false })
  client.on('error', () => {})
  const store = redisStore(client, { keyPrefix: PREFIX, storeTimeout: 10_000, logSpan: LONGEST, longest: LONGEST, minReplicas: 0 }, {
    clock: systemClock, onLost () {}, onBack () {}
  })
  const close = () => {
    store.close()
    client.disconnect()
  }
  t.teardown(close)
  return { store, close }
}

interface Write {
  what: string
  /** What is there before. */
  prepare?: () => Promise<unknown>
  write: (store: RedisStore) => Promise<unknown>
  key: string
  /** Whether the log has an entry for each time the key was written. */
  logged: boolean
  /** Whether the key lasts for longer than an entry of the log. */
  lasts?: boolean
}

const denial = { at: 1_800_000_000, exp: null }
const entry = (): RecordEntry => {
  const record = { id: '6f0a3a44-8f5e-4a39-8f0f-0a4f54a1b7a1', jti: 'j', sub: 'alice', issuedAt: null, expiresAt: null }
  return { record, identity: 'j', subject: 'alice', exp: inSeconds(60), keptUntil: inSeconds(70) }
}

const WRITES: Write[] = [
  { what: 'a revocation', key: 'revoked:a', logged: true, write: (store) => on(store).revoke('a', denial, inSeconds(60)) },
  {
    what: 'a revocation of what is revoked for a shorter time',
    key: 'revoked:a',
    logged: true,
    prepare: () => admin.set(`${PREFIX}revoked:a`, '{"at":1,"exp":null}', 'EX', 30),
    write: (store) => on(store).revoke('a', denial, inSeconds(60))
  },
  {
    what: 'a revocation of what was left without a TTL',
    key: 'revoked:a',
    logged: true,
    prepare: () => admin.set(`${PREFIX}revoked:a`, '{"at":1,"exp":null}'),
    write: (store) => on(store).revoke('a', denial, inSeconds(60))
  },
  { what: 'a cutoff', key: 'cutoff:a', logged: true, write: (store) => on(store).cutOff('a', inSeconds(0), inSeconds(60)) },
  {
    what: 'a cutoff that rises',
    key: 'cutoff:a',
    logged: true,
    prepare: () => admin.set(`${PREFIX}cutoff:a`, inSeconds(1), 'EX', 30),
    write: (store) => on(store).cutOff('a', inSeconds(0), inSeconds(60))
  },
  { what: 'a cutoff that outlives its entry of the log', key: 'cutoff:a', logged: true, lasts: true, write: (store) => on(store).cutOff('a', inSeconds(9000), inSeconds(12_600)) },
  { what: 'a record', key: 'tokens:alice', logged: false, write: (store) => store.records.save(entry()) },
  { what: 'a record in the background', key: 'tokens:alice', logged: false, write: (store) => store.records.add(entry()) }
]

/** Each key under the prefix, what it holds, and whether it ends. */
async function everything () {
  const keys = (await admin.keys(`${PREFIX}*`)).filter((key) => key !== `${PREFIX}log`).sort()
  return Promise.all(keys.map(async (key) => ({ key, value: String(await admin.dump(key)), ends: await admin.pttl(key) >= 0 })))
}

const logLength = () => admin.xlen(`${PREFIX}log`)

for (const { what, prepare, write, key, logged, lasts = false } of WRITES) {
  t.test(`P3 ${what} is written whole or not at all, whatever command is forbidden`, async (t) => {
    for (const command of COMMANDS) {
      await admin.flushall()
      await prepare?.()
      const before = await everything()
      const limited = await storeWithout(t, command)
      let failed = false
      for (const attempt of ['the first attempt', 'the second']) {
        failed = await write(limited.store).then(() => false, () => true)
        if (!failed) break
        const after = await everything()
        if (logged) t.strictSame(after, before, `${attempt} without ${command} leaves the key as it was`)
        if (logged) t.equal(await logLength(), 0, `${attempt} without ${command} leaves the log as it was`)
        t.strictSame(after.filter(({ ends }) => !ends), before.filter(({ ends }) => !ends), `${attempt} without ${command} leaves no key without an end`)
      }
      limited.close()
      const { store, close } = await storeWithout(t, undefined)
      if (failed) await write(store)
      close()
      const ttl = await admin.pttl(PREFIX + key)
      t.ok(ttl > 0 && (ttl <= LONGEST * 1000) !== lasts, `once ${command} is allowed the key is written, and ends`, { ttl })
      if (logged) t.equal(await logLength(), 1, `once ${command} is allowed the log has it`)
      t.strictSame(await admin.zrange(`${PREFIX}standing`, '0', '-1'), lasts ? ['a'] : [])
    }
  })
}

t.test('P3 a log whose ids are used up takes no revocation, and none is half made', async (t) => {
  await admin.flushall()
  await admin.xadd(`${PREFIX}log`, '18446744073709551615-18446744073709551615', 'entry', 'x')
  const { store } = await storeWithout(t, undefined)
  for (let i = 0; i < 2; i++) await t.rejects(on(store).revoke('a', denial, inSeconds(60)), { message: /exhausted|last possible/ })
  t.strictSame(await everything(), [])
})

for (const command of ['xadd', 'xinfo', 'time', 'pttl', 'set']) {
  t.test(`P3 a DELETE that could not be logged is answered 503 until it can, and then holds on replicas: ${command}`, async (t) => {
    const own = await startRedis(t)
    const redis = await limitedUser(own)
    const strict = await buildApp(t, { revocation: { redis } })
    const replica = await buildApp(t, { revocation: { redis: own.url, mode: 'replica' } })
    const { token, jti } = await strict.revocation.issue({ sub: 'alice' })
    await strict.revocation.revoke({ jti: 'the first entry of the log' })
    const status = async (app: typeof strict) => (await app.inject({ url: '/me', headers: bearer(token) })).statusCode
    const end = () => strict.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) })

    await own.cli('ACL', 'SETUSER', 'limited', `-${command}`)
    for (let i = 0; i < 3; i++) t.match((await end()).json(), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
    t.equal(await own.cli('EXISTS', `jwt:revoked:${jti}`), '0')
    t.equal(await status(replica), 200, 'nothing was acknowledged')

    await own.cli('ACL', 'SETUSER', 'limited', `+${command}`)
    t.match((await end()).json(), { jti, status: 'revoked' })
    t.equal(await status(strict), 401)
    await eventually('a replica refuses it', async () => await status(replica) === 401)
    t.ok(Number(await own.cli('PTTL', `jwt:revoked:${jti}`)) > 0)
  })
}

async function limitedUser (server: RedisServer) {
  const password = randomUUID()
  await server.cli('ACL', 'SETUSER', 'limited', 'reset', 'on', `>${password}`, '~*', '+@all')
  return server.url.replace('redis://', `redis://limited:${password}@`)
}

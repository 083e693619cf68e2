import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis, ReplyError } from 'ioredis'
import { Redis as Redis5, ReplyError as ReplyError5 } from 'ioredis5'
import { Redis as Valkey, ReplyError as ReplyErrorOfValkey } from 'iovalkey'
import t from 'tap'
import { isOfRedis } from '../lib/stores/redis/advice.ts'
import { buildApp, ownPrefix } from './support/app.ts'
import { startRedis } from './support/redis.ts'

/*
 * Goal: nothing depends on what a class or a function is called, because a bundle calls it otherwise.
 * Method: the class of each client's errors gets another name, as it does in a minified bundle.
 */

const CLIENTS = {
  'ioredis 6': { connect: (url: string, user: object) => new Redis(url, user), errors: ReplyError },
  'ioredis 5': { connect: (url: string, user: object) => new Redis5(url, user), errors: ReplyError5 },
  iovalkey: { connect: (url: string, user: object) => new Valkey(url, user), errors: ReplyErrorOfValkey }
}

const server = await startRedis(t)
t.teardown(() => {})

for (const [name, { connect, errors }] of Object.entries(CLIENTS)) {
  t.test(`what Redis refused is not written later, whatever a bundle calls the errors of ${name}`, async (t) => {
    Object.defineProperty(errors, 'name', { value: 't' })
    const username = randomUUID()
    const allow = (...rules: string[]) => server.cli('ACL', 'SETUSER', username, 'on', 'nopass', '~*', '+@all', ...rules)
    await allow('-eval')
    const redis = connect(server.url, { username, password: 'any' })
    t.teardown(() => redis.disconnect())
    const keyPrefix = ownPrefix()
    const app = await buildApp(t, { revocation: { redis, keyPrefix, storeTimeout: 10_000 } })
    const jti = randomUUID()
    const refused = app.revocation.revoke({ jti })
    await t.rejects(refused, { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' })
    await t.rejects(refused, { cause: { message: /^NOPERM / } })
    await allow('+eval')
    // What is owed is written again each second.
    await sleep(2500)
    const written = () => server.keys(`${keyPrefix}revoked:${jti}`)
    t.strictSame(await written(), [])
    await app.revocation.revoke({ jti })
    t.equal((await written()).length, 1, 'asked for again it is')
  })
}

t.test('an answer of Redis is told from an error of the client', async (t) => {
  for (const message of ['ERR unknown command', 'NOPERM this user', 'WRONGTYPE Operation', 'OOM command not allowed', 'READONLY You can’t write', 'CLUSTERDOWN The cluster is down', 'BADVALUE x']) {
    t.equal(isOfRedis(new Error(message)), true, message)
  }
  for (const message of ['Connection is closed.', 'connect ECONNREFUSED 127.0.0.1:1', 'read ECONNRESET', 'Command timed out', 'Socket closed unexpectedly', 'Redis gave no answer within 500 ms', '', 'ERR']) {
    t.equal(isOfRedis(new Error(message)), false, message)
  }
  for (const thrown of [undefined, null, 'ERR a string', { message: 'ERR an object' }]) t.equal(isOfRedis(thrown), false)
})

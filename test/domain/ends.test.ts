import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { MemoryStore } from '../../lib/stores/memory.ts'
import { bearer, buildApp, inSeconds, ownPrefix, signed } from '../support/app.ts'
import { buildDomain, Clock, foreign, NAMES, presented } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { redisStore } from '../support/stores.ts'

/*
 * Goal: of several ends that are known of one identity, the latest counts (P2).
 * Method: one jti with two tokens; it is revoked by or through the older one, and the clock goes on to the end of the newer.
 */

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const MARGIN = 10

/** Until when the identity of a jti is refused, in seconds from now. */
const keptFor = async (keyPrefix: string, jti: string) => Number(await redis.pttl(`${keyPrefix}revoked:${jti}`)) / 1000

async function build (t: Test) {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis, keyPrefix } })
  return { app, keyPrefix, kept: (jti: string) => keptFor(keyPrefix, jti) }
}

const WAYS: Record<string, (app: Awaited<ReturnType<typeof build>>['app'], older: { jti: string, id: string, token: string }) => Promise<unknown>> = {
  'revoke() with the end of the older one': (app, { jti }) => app.revocation.revoke({ jti, exp: inSeconds(2) }),
  'revoke() without an end': (app, { jti }) => app.revocation.revoke({ jti }),
  'revokeById() of the older one': (app, { id }) => app.revocation.revokeById(id),
  'DELETE by the older one': (app, { jti, token }) => app.inject({ method: 'DELETE', url: `/v1/jwt/history/${jti}`, headers: bearer(token) }),
  'DELETE of the older one\'s record': (app, { id, token }) => app.inject({ method: 'DELETE', url: `/v1/jwt/history/id/${id}`, headers: bearer(token) }),
  'DELETE of all but another': async (app, { token }) => {
    const { token: caller } = await app.revocation.issue({ sub: 'alice' })
    t.ok(token)
    await app.inject({ method: 'DELETE', url: '/v1/jwt/history/sub/alice?except=current', headers: bearer(caller) })
  }
}

for (const [what, revoke] of Object.entries(WAYS)) {
  for (const order of ['the longer one last', 'the longer one first']) {
    t.test(`P2 a jti of two tokens stays revoked until the later one ends: ${what}, ${order}`, async (t) => {
      const { app, kept } = await build(t)
      const issue = (expiresIn: number) => app.revocation.issue({ sub: 'alice', jti: 's' }, { expiresIn })
      const issued = order === 'the longer one last' ? [await issue(60), await issue(600)] : [await issue(600), await issue(60)]
      const older = issued.toSorted((a, b) => a.expiresAt! < b.expiresAt! ? -1 : 1)[0]!
      await revoke(app, older)
      const left = await kept('s')
      t.ok(left > 590 + MARGIN && left <= 601 + MARGIN, 'as long as the longer one', { left })
    })
  }
}

t.test('P2 a token in use that ends later than the record of its jti is recorded too', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { revocation: { redis, keyPrefix, recordOnUse: true } })
  const claims = { jti: randomUUID(), sub: 'alice', iat: inSeconds(0) }
  for (const seconds of [60, 600]) {
    const token = await signed({ ...claims, exp: inSeconds(seconds) })
    t.equal((await app.inject({ url: '/me', headers: bearer(token) })).statusCode, 200)
    while (await redis.zcard(`${keyPrefix}tokens:alice`) < (seconds === 60 ? 1 : 2)) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await app.revocation.revoke({ jti: claims.jti, exp: inSeconds(60) })
  const left = await keptFor(keyPrefix, claims.jti)
  t.ok(left > 590 + MARGIN, 'as long as the longer one', { left })
})

t.test('P2 a token without an end, where those are accepted, is revoked for ever, whatever a record says', async (t) => {
  const clock = new Clock()
  const rules = { maxTokenLifetime: null, clockTolerance: 0, tokensWithoutJti: 'reject' as const, ...NAMES }
  for (const store of [
    new MemoryStore({ clock }),
    redisStore(redis, { keyPrefix: ownPrefix(), storeTimeout: 10_000, logSpan: null, minReplicas: 0 }, { clock, onLost () {}, onBack () {} })
  ]) {
    t.teardown(() => store.close())
    const domain = buildDomain({ store, clock, rules })
    const { exp: _, ...endless } = foreign(clock)
    await domain.record({ ...endless, exp: clock.seconds + 60 })
    await domain.record(endless)
    await domain.revoke({ jti: endless.jti as string, exp: clock.seconds + 60 })
    t.equal(await presented(domain, endless), 'FST_JWT_REVOKED')
    t.match(await domain.revoke({ jti: endless.jti as string }), { expiresAt: null })
    if (store.status.kind !== 'memory') continue
    clock.now += 100_000
    t.equal(await presented(domain, endless), 'FST_JWT_REVOKED')
  }
})

t.test('the same commands run for a record that is there and for one that is not (P6)', async (t) => {
  const { app } = await build(t)
  const [mine, theirs] = [await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'bob' }, { meta: { device: 'x'.repeat(4000) } })]
  const commandsOf = async (path: string) => {
    await redis.config('RESETSTAT')
    const answer = await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${path}`, headers: bearer(mine.token) })
    const stats = await redis.info('commandstats')
    const commands = Object.fromEntries([...stats.matchAll(/^cmdstat_(\w+):calls=(\d+)/gm)].map(([, name, calls]) => [name, calls]))
    delete commands.config
    return { status: answer.statusCode, body: answer.body, commands }
  }
  t.strictSame(await commandsOf(`id/${randomUUID()}`), await commandsOf(`id/${theirs.id}`), 'by id')
  t.strictSame(await commandsOf(randomUUID()), await commandsOf(theirs.jti), 'by jti')
})

import fastifyJwt, { type FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { successorOf } from '../../lib/domain/refresh-token.ts'
import { SETTLE_REFRESH, SAVE_SESSION, USE_REFRESH } from '../../lib/stores/redis/refresh-scripts.ts'
import { buildApp, ownPrefix, signed } from '../support/app.ts'
import { AUDIENCE, startProvider } from '../support/provider.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'
import { doors, isEnded, keptOf, logIn, REFRESH_INVALID, usedSince, type Scene } from '../support/sessions.ts'

/*
 * Goal: whoever logs out while a refresh is under way, by whatever door, leaves no token alive.
 * Method: a proxy keeps back what Redis answers to one command of a refresh. Meanwhile another process logs out. Then the
 * refresh goes on.
 */

/** Milliseconds. */
const GRACE = 300
const server = await startRedis(t)
const provider = await startProvider(t)
const keyPrefix = ownPrefix()
const DOORS = doors(provider)

const build = (t: Test, revocation: RevocationOptions) => buildApp(t, {
  // Of a namespace of its own, because this application signs its tokens itself.
  before: (app) => app.register(fastifyJwt, { ...provider.jwt, namespace: 'idp' } as FastifyJWTOptions),
  revocation: {
    keyPrefix,
    storeTimeout: 20_000,
    maxStaleness: 30_000,
    refresh: { grace: GRACE / 1000 },
    revocableBy: ['tenant'],
    backchannelLogout: { issuer: provider.issuer, audience: AUDIENCE, tokenIssuer: '', namespace: 'idp' },
    ...revocation
  }
})

/** After which command Redis' answers are kept back. */
const POINTS: Record<string, (proxy: Proxy) => Promise<void>> = {
  'the old token is spent, and the new one is not saved': (proxy) => {
    let uses = 0
    // The first time it only looks.
    return proxy.set({ holdAfter: (sent) => sent.includes(USE_REFRESH) && ++uses === 2 })
  },
  'the new token is saved, and the cutoffs are not read': (proxy) => proxy.set({ holdAfter: (sent) => sent.includes(SAVE_SESSION) }),
  'the cutoffs are read, and nobody knows yet': (proxy) => proxy.set({ holdAfter: (sent) => sent.includes(SETTLE_REFRESH) })
}
const [SPENT, SAVED, READ] = Object.keys(POINTS) as [string, string, string]

const proxies = { strict: await startProxy(t, server), replica: await startProxy(t, server) }
const apps = {
  strict: await build(t, { redis: server.url }),
  replica: await build(t, { redis: server.url, mode: 'replica' })
}
const slow = {
  strict: await build(t, { redis: proxies.strict.url }),
  replica: await build(t, { redis: proxies.replica.url, mode: 'replica' })
}

/** Sessions whose first refresh token was used longer ago than its grace. */
async function loggedIn (count: number): Promise<Scene[]> {
  const scenes: Scene[] = []
  for (let i = 0; i < count; i++) scenes.push(await logIn(apps.strict))
  await usedSince(server, keyPrefix, scenes.at(-1)!.first.refreshToken, GRACE)
  return scenes
}

/** The access token that a refresh signed which was refused: nobody was given it. */
async function lostToken (app: FastifyInstance, { sub, tenant, pair }: Scene): Promise<string[]> {
  const { jti, refreshedAt } = (await app.revocation.token(pair.id))!
  const iat = Date.parse(refreshedAt!) / 1000
  return [await signed({ jti, sub, tenant, sid: pair.sid, iat, exp: iat + 900 })]
}

for (const mode of ['strict', 'replica'] as const) {
  // What a replica's refresh asks is the same, but for its copy.
  const doors = Object.entries(DOORS).filter((_door, i) => isThorough || mode === 'strict' || i % 2 === 0)
  for (const point of Object.keys(POINTS)) {
    t.test(`on a ${mode}, where ${point}, each log-out wins`, async (t) => {
      const scenes = await loggedIn(Object.keys(DOORS).length)
      for (const [door, logOut] of doors) {
        const scene = scenes.shift()!
        const { first, pair, sub } = scene
        const proxy = proxies[mode]
        await POINTS[point]!(proxy)
        let isDone = false
        const refreshing = slow[mode].revocation.refresh(pair.refreshToken)
          .then((given) => ({ given }), (error) => ({ error }))
          .finally(() => { isDone = true })
        await eventually('Redis has run the command', async () => {
          const kept = await keptOf(server, keyPrefix, pair.refreshToken)
          if (kept?.used === undefined || point === SPENT) return kept?.used !== undefined
          const next = await keptOf(server, keyPrefix, successorOf(pair.refreshToken, kept.key))
          return next !== null && (point === SAVED || kept.claims === undefined)
        })
        t.notOk(isDone, 'the refresh is under way')
        await logOut(apps.strict, scene)
        const lost = point === SPENT ? [] : await lostToken(apps.strict, scene)
        t.notOk(isDone, 'and still is')
        await proxy.set('pass')
        const outcome: { given?: { token: string, refreshToken: string }, error?: Error } = await refreshing
        // What it answers does not matter where the log-out came after its last look: what it gives is dead.
        if (point !== READ) t.match(outcome.error, REFRESH_INVALID, `${door}: it is refused`)
        else if (outcome.given === undefined) t.match(outcome.error, REFRESH_INVALID)
        const kept = (await keptOf(server, keyPrefix, pair.refreshToken))!
        const successor = successorOf(pair.refreshToken, kept.key)
        if (outcome.given !== undefined) t.equal(outcome.given.refreshToken, successor)
        if (point !== SPENT) t.ok(await keptOf(server, keyPrefix, successor), 'the successor is in Redis')
        const access = [first.token, pair.token, ...lost, ...outcome.given === undefined ? [] : [outcome.given.token]]
        await isEnded(t, apps, { id: pair.id, sub }, access, [successor, pair.refreshToken, first.refreshToken])
      }
    })
  }

  t.test(`on a ${mode}, each log-out during claims() wins, and what was not spent stays unspent`, async (t) => {
    const scenes = await loggedIn(Object.keys(DOORS).length)
    for (const [door, logOut] of Object.entries(DOORS)) {
      const scene = scenes.shift()!
      const { first, pair, sub } = scene
      const refreshing = slow[mode].revocation.refresh(pair.refreshToken, {
        async claims (old) {
          await logOut(apps.strict, scene)
          return { ...old, role: 'admin' }
        }
      })
      await t.rejects(refreshing, REFRESH_INVALID, door)
      const kept = (await keptOf(server, keyPrefix, pair.refreshToken))!
      const successors = kept.key === undefined ? [] : [successorOf(pair.refreshToken, kept.key)]
      for (const successor of successors) t.equal(await keptOf(server, keyPrefix, successor), null, 'no successor was saved')
      await isEnded(t, apps, { id: pair.id, sub }, [first.token, pair.token], [...successors, pair.refreshToken])
    }
  })
}

t.test('what claims() throws is the answer, spends nothing, and the same token works afterwards', async (t) => {
  const { pair } = await logIn(apps.strict)
  const error = Object.assign(new Error('this user was locked'), { statusCode: 403 })
  for (const app of [apps.strict, apps.replica]) {
    await t.rejects(app.revocation.refresh(pair.refreshToken, { claims: async () => { throw error } }), error)
    t.equal((await keptOf(server, keyPrefix, pair.refreshToken))!.used, undefined)
  }
  t.type((await apps.replica.revocation.refresh(pair.refreshToken)).refreshToken, 'string')
})

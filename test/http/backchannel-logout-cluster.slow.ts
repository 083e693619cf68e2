import type { FastifyInstance } from 'fastify'
import { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, inSeconds, ownPrefix, REVOKED } from '../support/app.ts'
import { AUDIENCE, postLogout, startProvider } from '../support/provider.ts'
import { eventually, startCluster } from '../support/redis.ts'

/*
 * Log-outs of a provider on a real cluster: what one of them writes lies on several nodes, and every process refuses.
 */

const cluster = await startCluster(t)
const clients: Cluster[] = []
const provider = await startProvider(t)
t.teardown(() => { for (const client of clients) client.disconnect() })

/** How many users: their keys do not lie on one node. */
const USERS = 9

const SLOTS = 16_384

function connect (): Cluster {
  const client = new Cluster(cluster.nodes)
  clients.push(client)
  return client
}

/** One that takes the log-outs, another strict one, and a replica: each with connections of its own. */
async function scene (t: Test, { mode = 'strict', storeTimeout = 10_000 }: Pick<RevocationOptions, 'mode' | 'storeTimeout'> = {}) {
  const keyPrefix = ownPrefix()
  const open = (mode: 'strict' | 'replica', storeTimeout: number) => buildApp(t, {
    jwt: provider.jwt,
    revocation: {
      redis: connect(), keyPrefix, mode, storeTimeout, maxStaleness: 60_000, backchannelLogout: { issuer: provider.issuer, audience: AUDIENCE }
    }
  })
  const app = await open(mode, storeTimeout)
  const all = { 'who took it': app, strict: await open('strict', 10_000), replica: await open('replica', 10_000) }
  const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
  return {
    app,
    keyPrefix,
    live: async (t: Test, tokens: string[]) => {
      for (const [name, one] of Object.entries(all)) {
        for (const token of tokens) t.match(await me(one, token), { statusCode: 200 }, name)
      }
    },
    /** A replica hears of it from the log. */
    dead: async (t: Test, tokens: string[]) => {
      for (const [name, one] of Object.entries(all)) {
        for (const token of tokens) {
          if (one === all.replica) await eventually(`${name} refuses`, async () => (await me(one, token)).statusCode === 401)
          t.strictSame(await me(one, token), REVOKED, name)
        }
      }
    },
    taken: async (t: Test, claims: object) => {
      const { statusCode, body } = await postLogout(app, await provider.logoutToken({ ...claims }))
      t.strictSame([statusCode, body], [200, ''])
    }
  }
}

const { accessToken } = provider

for (const mode of ['strict', 'replica'] as const) {
  t.test(`P8 log-outs by sid, by sub and by both end what they name on every process of a cluster: taken by a ${mode}`, async (t) => {
    const { live, dead, taken, keyPrefix } = await scene(t, { mode })
    const iat = inSeconds(-10)
    for (let i = 0; i < USERS; i += 3) {
      const [bySid, bySub, byBoth] = [`user ${i}`, `user ${i + 1}`, `user ${i + 2}`]
      const ended = await Promise.all([
        accessToken({ sub: bySid, sid: `s${i}` }), accessToken({ sub: bySid, sid: `s${i}`, iat: inSeconds(30) }),
        accessToken({ sub: bySub, sid: `s${i + 1}` }), accessToken({ sub: bySub }), accessToken({ sub: bySub, iat }),
        accessToken({ sub: byBoth, sid: `s${i + 2}` }), accessToken({ sub: byBoth }), accessToken({ sub: byBoth, sid: `s${i + 2}`, iat: inSeconds(30) })
      ])
      const spared = await Promise.all([
        accessToken({ sub: bySid, sid: `t${i}` }), accessToken({ sub: bySid }), accessToken({ sub: bySub, iat: iat + 1 }),
        accessToken({ sub: byBoth, sid: `t${i + 2}` }), accessToken({ sub: byBoth, iat: iat + 1 })
      ])
      if (i === 0) await live(t, [...ended, ...spared])
      await taken(t, { sid: `s${i}` })
      await taken(t, { sub: bySub, iat })
      await taken(t, { sid: `s${i + 2}`, sub: byBoth, iat })
      await dead(t, ended)
      await live(t, spared)
    }
    const keys = await Promise.all(cluster.servers.map((server) => server.keys(`${keyPrefix}cutoff:*`)))
    t.ok(keys.filter((some) => some.length > 0).length > 1, 'they lie on several nodes', { keys })
    t.equal(keys.flat().length, USERS / 3 * 4)
  })
}

t.test('P4 a log-out of which one node writes its part and another does not answer is 503, and owed', async (t) => {
  const { app, dead, live, keyPrefix } = await scene(t, { storeTimeout: 500 })
  const probe = connect()
  /** The master that has the cutoff of a name, by its number in the cluster's list. */
  const masterOf = async (name: string) => {
    const slot = Number(await probe.cluster('KEYSLOT', `${keyPrefix}cutoff:${name}`))
    return cluster.servers.findLastIndex((_server, i) => slot >= Math.floor(i * SLOTS / cluster.servers.length))
  }
  const iss = encodeURIComponent(provider.issuer)
  let i = 0
  while (await masterOf(`sid:${iss}/s${i}`) === await masterOf(`!sid:${iss}/u${i}`)) i++
  const [sid, sub] = [`s${i}`, `u${i}`]
  const ended = await Promise.all([accessToken({ sub, sid }), accessToken({ sub })])
  const spared = await Promise.all([accessToken({ sub, sid: 'other' }), accessToken({ sub: 'other' })])
  await live(t, [...ended, ...spared])
  const away = cluster.servers[await masterOf(`!sid:${iss}/${sub}`)]!
  away.pause()
  const answer = await postLogout(app, await provider.logoutToken({ sid, sub }))
  away.resume()
  t.strictSame([answer.statusCode, answer.headers['retry-after'], answer.json()], [503, '1', { error: 'temporarily_unavailable' }])
  await eventually('it is written without another POST', async () => answerOf(await app.inject({ url: '/me', headers: bearer(ended[1]!) })).statusCode === 401)
  await eventually('and so is the session', async () => answerOf(await app.inject({ url: '/me', headers: bearer(ended[0]!) })).statusCode === 401)
  await dead(t, ended)
  await live(t, spared)
})

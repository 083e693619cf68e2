import type { FastifyInstance } from 'fastify'
import { Cluster } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import t, { type Test } from 'tap'
import type { ListedToken, RedisClient, RevocationOptions } from '../../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, ownPrefix, REVOKED } from '../../support/app.ts'
import { WatchedClient } from '../../support/domain.ts'
import { startCluster } from '../../support/redis.ts'

type Client = RedisClient & { disconnect (): void }

const HISTORY = '/v1/jwt/history'
const { nodes, servers } = await startCluster(t)

const CLIENTS: Record<string, () => Client> = {
  'ioredis 6': () => new Cluster(nodes),
  'ioredis 6 with enableAutoPipelining': () => new Cluster(nodes, { enableAutoPipelining: true }),
  iovalkey: () => new ValkeyCluster(nodes),
  'iovalkey with enableAutoPipelining': () => new ValkeyCluster(nodes, { enableAutoPipelining: true })
}
const clients = Object.entries(CLIENTS).map(([name, connect]) => ({ name, client: connect() }))
t.teardown(() => { for (const { client } of clients) client.disconnect() })

/** Keys of many slots: subjects and issuers with what could be taken for a hash tag. */
const SUBJECTS = [
  { sub: 'alice' }, { sub: 'carol', iss: 'a' }, { sub: '{dave}', iss: 'https://a.example/{b}' }, { sub: 'Ä/😀}{' }
]

async function build (t: Test, redis: RedisClient, keyPrefix: string, revocation: RevocationOptions = {}) {
  const lost: unknown[] = []
  const app = await buildApp(t, {
    revocation: {
      redis, keyPrefix, storeTimeout: 10_000, recordOnUse: true, authorize: (request) => (request.user as { role?: string }).role === 'admin', ...revocation
    },
    after: (app) => { app.revocation.on('storeLost', (error) => { lost.push(error) }) }
  })
  return { app, lost }
}

const call = async (app: FastifyInstance, method: 'GET' | 'DELETE', path: string, token: string) =>
  answerOf(await app.inject({ method, url: HISTORY + path, headers: bearer(token) }))
const me = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))

for (const [i, { name, client }] of clients.entries()) {
  t.test(`P8 the whole history works on a cluster, with ${name}`, async (t) => {
    const keyPrefix = ownPrefix()
    const watched = new WatchedClient(client)
    const { app, lost } = await build(t, watched, keyPrefix)
    // The neighbour uses another client, and sees all at once.
    const neighbour = await build(t, clients[(i + 2) % clients.length]!.client, keyPrefix)
    const { token: admin } = await app.revocation.issue({ sub: 'root', role: 'admin' })
    const isRevoked = async (token: string, what: string) => {
      for (const one of [app, neighbour.app]) t.strictSame(await me(one, token), REVOKED, what)
    }
    const isActive = async (token: string) => {
      for (const one of [app, neighbour.app]) t.equal((await me(one, token)).statusCode, 200)
    }

    for (const claims of SUBJECTS) {
      const about = `?sub=${encodeURIComponent(claims.sub)}&iss=${encodeURIComponent(claims.iss ?? '')}`
      const issued = []
      for (let n = 0; n < 6; n++) issued.push(await app.revocation.issue(claims, { expiresIn: 1000 - 10 * n, meta: { n } }))
      const [caller, byJti, byId, ...others] = issued as [typeof issued[0], typeof issued[0], typeof issued[0], ...typeof issued]
      for (const { token } of issued) await isActive(token!)

      const elsewhere = await genuine({ ...claims, exp: Math.floor(Date.now() / 1000) + 500 })
      await isActive(elsewhere.token)
      await watched.idle()
      const seen: ListedToken[] = []
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const page: { statusCode: number, body: { tokens: ListedToken[], cursor?: string } } =
          await call(neighbour.app, 'GET', `${about}&limit=4${cursor && `&cursor=${cursor}`}`, caller.token)
        t.equal(page.statusCode, 200)
        seen.push(...page.body.tokens)
        cursor = page.body.cursor
      }
      t.strictSame(seen.map(({ jti }) => jti), [...issued, elsewhere].map(({ jti }) => jti), 'each once, those recorded on use too')
      t.match(seen[3], { id: issued[3]!.id, ...claims, meta: { n: 3 }, status: 'active', current: false })
      t.match(await call(app, 'GET', `/id/${byId.id}`, caller.token), { statusCode: 200, body: { jti: byId.jti, status: 'active' } })
      t.match(await call(app, 'GET', about, admin), { statusCode: 200, body: { tokens: { length: 7 } } })
      t.equal((await call(app, 'GET', `/id/${byId.id}`, (await genuine({ sub: 'mallory' })).token)).statusCode, 403)
      t.equal((await call(app, 'GET', '/id/nothing', admin)).statusCode, 404)

      t.match(await call(app, 'DELETE', `/${byJti.jti}`, caller.token), { statusCode: 200, body: { id: byJti.id, ...claims, status: 'revoked' } })
      await isRevoked(byJti.token, 'by its jti')
      t.match(await call(app, 'DELETE', `/id/${byId.id}`, admin), { statusCode: 200, body: { jti: byId.jti, ...claims, status: 'revoked' } })
      await isRevoked(byId.token, 'by its id')
      const { body: { tokens } } = await call(neighbour.app, 'GET', `${about}&limit=100`, caller.token)
      t.strictSame(tokens.filter(({ status }: ListedToken) => status === 'revoked').map(({ id }: ListedToken) => id), [byJti.id, byId.id])

      const subject = `/sub/${encodeURIComponent(claims.sub)}`
      t.strictSame(await call(app, 'DELETE', `${subject}?except=current`, caller.token), { statusCode: 200, body: { ...claims, cutoff: null, revoked: 4 } })
      for (const { token } of [...others, elsewhere]) await isRevoked(token, 'by all but one')
      await isActive(caller.token)
      const unrecorded = await genuine(claims)
      t.match(await call(app, 'DELETE', `${subject}?iss=${encodeURIComponent(claims.iss ?? '')}`, admin), { statusCode: 200, body: { ...claims, revoked: 1 } })
      await isRevoked(caller.token, 'by its subject')
      await isRevoked(unrecorded.token, 'of another signer')
      const again = await neighbour.app.revocation.issue(claims)
      await isActive(again.token)
      t.match(await call(app, 'DELETE', subject, again.token), { statusCode: 200, body: { ...claims, revoked: 1 } })
      await isRevoked(again.token, 'again, in the same second')
    }
    const { token: bare, id } = await app.revocation.issue({})
    t.match(await call(app, 'GET', '', bare), { statusCode: 200, body: { tokens: [{ id, current: true }] } })

    await watched.idle()
    t.strictSame([lost, neighbour.lost], [[], []], 'no command failed, in the background either')
    const kept = await Promise.all(servers.map((server) => server.keys(`${keyPrefix}*`)))
    t.ok(kept.every((keys) => keys.length > 10), 'every node has its part', { kept: kept.map(({ length }) => length) })
    const kinds = new Set(kept.flat().map((key) => key.slice(keyPrefix.length).split(':')[0]))
    t.strictSame([...kinds].sort(), ['cutoff', 'id', 'log', 'revoked', 'token', 'tokens'])
  })
}

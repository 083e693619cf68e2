import { Cluster } from 'ioredis'
import { AsyncLocalStorage } from 'node:async_hooks'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { bearer, buildApp, genuine, ownPrefix, revoked, SECRET, signed } from '../support/app.ts'
import { eventually, startCluster, startRedis } from '../support/redis.ts'

/*
 * The checks of several requests share a round trip. Each request must go on in its own asynchronous context: applications
 * keep a tenant, a transaction or a trace there.
 */

const server = await startRedis(t)
const { nodes } = await startCluster(t)
const cluster = new Cluster(nodes)
t.teardown(() => cluster.disconnect())

const REQUESTS = 6
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: server.url, keyPrefix: ownPrefix() }),
  'a cluster': () => ({ redis: cluster, keyPrefix: ownPrefix() }),
  'a replica': () => ({ redis: server.url, keyPrefix: ownPrefix(), mode: 'replica' })
}
const context = new AsyncLocalStorage<string>()

/** An application whose requests run in a context each, and answer with it, whoever answers. */
async function build (t: Test, revocation: RevocationOptions, secret: unknown = SECRET) {
  /** By the name of an event, the contexts in which it was logged. */
  const logged: Array<[event: string, context: string | undefined]> = []
  const app = await buildApp(t, {
    fastify: {
      logger: {
        stream: { write: () => {} },
        hooks: {
          logMethod (given, method) {
            const { event } = Object(given[0]) as { event?: string }
            if (event !== undefined) logged.push([event, context.getStore()])
            method.apply(this, given)
          }
        }
      }
    },
    jwt: { secret } as object,
    revocation,
    before: (app) => app.addHook('onRequest', (request, _reply, done) => context.run(String(request.headers['x-context']), done)),
    after (app) {
      app.setErrorHandler(async (error, _request, reply) => {
        const { statusCode } = error as { statusCode: number }
        return reply.code(statusCode).send({ context: context.getStore() })
      })
      const answer = async () => ({ context: context.getStore() })
      app.get('/hook', answer)
      const unhooked = { revocation: false }
      app.get('/promise', { config: unhooked, onRequest: async (request) => { await request.jwtVerify() } }, answer)
      app.get('/callback', { config: unhooked, onRequest: (request, _reply, done) => request.jwtVerify((error) => done(error ?? undefined)) }, answer)
      app.get('/several', { config: unhooked }, async (request) => {
        const own = context.getStore()!
        const seen = await Promise.all(['a', 'b', 'c'].map((name) => new Promise((resolve) => {
          context.run(`${own} ${name}`, () => request.jwtVerify(() => resolve(context.getStore())))
        })))
        return { context: seen.join() === `${own} a,${own} b,${own} c` ? own : seen }
      })
    }
  })
  /** Asks with all tokens at once, each request in a context of its own. */
  const ask = async (url: string, tokens: string[]) => {
    const answers = await Promise.all(tokens.map((token, i) => app.inject({ url, headers: { ...bearer(token), 'x-context': String(i) } })))
    return answers.map((response) => [response.statusCode, response.json().context])
  }
  return { app, ask, logged }
}

const ownOf = (statusCode: number) => Array.from({ length: REQUESTS }, (_, i) => [statusCode, String(i)])

for (const [name, store] of Object.entries(STORES)) {
  for (const [kind, secret] of Object.entries({ 'a secret': SECRET, 'a secret function': async () => SECRET })) {
    t.test(`each request goes on in its own asynchronous context, on ${name} with ${kind}`, async (t) => {
      const { app, ask, logged } = await build(t, store(), secret)
      const good = await Promise.all(Array.from({ length: REQUESTS }, async () => (await genuine()).token))
      const ended = await Promise.all(Array.from({ length: REQUESTS }, () => revoked(app)))
      const forged = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => signed({ jti: String(i) }, 'a secret of somebody else, also of 32 bytes')))
      for (const url of ['/hook', '/promise', '/callback', '/several']) {
        t.strictSame(await ask(url, good), ownOf(200), url)
        if (url === '/several') continue
        t.strictSame(await ask(url, ended), ownOf(401), `${url}, revoked`)
        if (url !== '/hook') t.strictSame(await ask(url, forged), ownOf(401), `${url}, forged`)
      }
      t.strictSame(await ask('/hook', Array.from({ length: REQUESTS }, () => good[0]!)), ownOf(200), 'one token of all')
      t.strictSame(logged.filter(([event]) => event === 'authn_token_reuse').map(([, context]) => context).sort(),
        Array.from({ length: REQUESTS }, (_, i) => String(i)), 'and so is what is logged of it')
    })
  }
}

t.test('so does a request that is refused because Redis is silent', async (t) => {
  const silent = await startRedis(t)
  for (const mode of ['strict', 'replica'] as const) {
    const { app, ask } = await build(t, { redis: silent.url, keyPrefix: ownPrefix(), mode, maxStaleness: 500, storeTimeout: 1000 })
    const tokens = await Promise.all(Array.from({ length: REQUESTS }, async () => (await genuine()).token))
    silent.pause()
    await eventually('the copy is stale', async () => mode === 'strict' || app.revocation.status().stalenessMs! > 500)
    for (const url of ['/hook', '/promise', '/callback']) t.strictSame(await ask(url, tokens), ownOf(503), `${mode}, ${url}`)
    silent.resume()
    await eventually('the store is back', async () => app.revocation.status().available)
  }
})

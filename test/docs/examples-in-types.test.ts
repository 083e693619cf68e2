import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import t from 'tap'
import { revocationPlugin } from '../../lib/index.ts'
import { bearer, SECRET } from '../support/app.ts'
import { documented, placeExamples, published } from '../support/examples.ts'
import { startRedis } from '../support/redis.ts'
import { importPlaced } from '../support/snippets.ts'

/*
 * Goal: each @example of the public types works. Method: each runs; those of options on an application that is yet to
 * register the plugin, all others in a handler of one that has. The compiler has its say in test/setups.
 */

type Run = (scene: object) => Promise<void>

async function appWithJwt () {
  const app = Fastify()
  await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
  return app
}

/** Runs an example in a handler, for the token of a request. */
async function runInHandler (example: Run) {
  const app = await appWithJwt()
  await app.register(revocationPlugin, { redis: 'memory', refresh: {}, revocableBy: ['tenant'] })
  const { token, id, refreshToken } = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
  let failure: unknown
  app.get('/', async (request, reply) => {
    const claims = await request.jwtVerify()
    await example({ app, request, reply, id, claims, refreshToken }).catch((error) => { failure = error })
    return reply.sent ? reply : 'done'
  })
  await app.inject({ url: '/', headers: bearer(token) })
  await app.close()
  if (failure !== undefined) throw failure
}

async function runAtRegister (example: Run, registersJwt: boolean) {
  const app = registersJwt ? Fastify() : await appWithJwt()
  await example({ app, secret: SECRET })
  await app.ready()
  await app.close()
}

t.test('each published type, and each method of the decorator, has an example', async (t) => {
  const wanted = documented.filter(({ name, isMethod }) =>
    published.has(name) || (isMethod && name.startsWith('RevocationDecorator.')))
  t.ok(wanted.length > 25)
  t.strictSame(wanted.filter(({ code }) => code === undefined).map(({ name }) => name), [])
})

t.test('each example of the public types runs', async (t) => {
  const redis = await startRedis(t)
  for (const { name, path, registers, registersJwt } of await placeExamples(t, redis.url)) {
    const { default: example } = await importPlaced(path) as { default: Run }
    await t.resolves(registers ? runAtRegister(example, registersJwt) : runInHandler(example), name)
  }
})

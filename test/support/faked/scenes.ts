import fastifyJwt from '@fastify/jwt'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { revocationPlugin, type RevocationOptions } from '../../../lib/index.ts'

/** A test framework's fake timers. */
export interface Fakes {
  begin (date?: number): void
  end (): void
}

const YEAR = 365 * 24 * 3600_000

async function build (revocation: RevocationOptions | false): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(fastifyJwt, { secret: 'a secret of a test', sign: { expiresIn: '15m' } })
  if (revocation) await app.register(revocationPlugin, { keyPrefix: `${randomUUID()}:`, ...revocation })
  app.get('/me', { onRequest: (request) => request.jwtVerify() }, async () => 'me')
  await app.ready()
  return app
}

async function ask (app: FastifyInstance, token: string, method: 'GET' | 'DELETE' = 'GET', url = '/me') {
  const response = await app.inject({ method, url, headers: { authorization: `Bearer ${token}` } })
  return response.statusCode === 200 ? 200 : [response.statusCode, response.json().code, response.json().message]
}

/** An augmentation of FastifyJWT anywhere in the program, such as an example's, narrows what may be signed. */
function sign (app: FastifyInstance): string {
  const { sign }: { sign: (claims: any) => string } = app.jwt
  return sign({ sub: 'alice', jti: randomUUID() })
}

const REVOKED = [401, 'FST_JWT_REVOKED', 'Token has been revoked']
const EXPIRED = [401, 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED', 'Authorization token expired']
const UNAVAILABLE = [503, 'FST_JWT_REVOCATION_UNAVAILABLE', 'Token revocation is unavailable, try again']

async function isCheckedAndRevoked (app: FastifyInstance) {
  const { token, jti } = await app.revocation.issue({ sub: 'alice' })
  assert.equal(await ask(app, token), 200)
  assert.equal(await ask(app, token, 'DELETE', `/v1/jwt/history/${jti}`), 200)
  assert.deepEqual(await ask(app, token), REVOKED)
}

/** What an application with the plugin does while a test framework fakes the time. One for each way to keep revocations. */
export const scenes = (redis: string, { begin, end }: Fakes): Record<string, () => Promise<void>> => ({
  async 'a request is answered' () {
    for (const revocation of [{ redis }, { redis, mode: 'replica' as const }, {}]) {
      const app = await build(revocation)
      begin()
      await isCheckedAndRevoked(app)
      end()
      await app.close()
    }
  },
  async 'an application starts' () {
    begin()
    const app = await build({ redis, mode: 'replica' })
    await isCheckedAndRevoked(app)
    end()
    await app.close()
  },
  async 'a deadline ends' () {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const app = await build({ redis: `redis://127.0.0.1:${port}`, storeTimeout: 100 })
    begin()
    assert.deepEqual(await ask(app, sign(app)), UNAVAILABLE)
    end()
    await app.close()
    silent.close()
  },
  async 'under a faked date a token is accepted as by @fastify/jwt' () {
    const plain = await build(false)
    const apps = await Promise.all([{ redis }, { redis, mode: 'replica' as const }, {}].map(build))
    const old = sign(plain)
    for (const date of [Date.now() + 5 * YEAR, Date.now() - 5 * YEAR]) {
      begin(date)
      const fresh = sign(plain)
      assert.equal(await ask(plain, fresh), 200)
      for (const app of apps) {
        assert.equal(await ask(app, fresh), 200)
        await isCheckedAndRevoked(app)
        if (date > YEAR + plain.jwt.decode<{ iat: number }>(old)!.iat * 1000) {
          assert.deepEqual(await ask(plain, old), EXPIRED)
          assert.deepEqual(await ask(app, old), EXPIRED)
        }
      }
      end()
    }
    for (const app of [plain, ...apps]) await app.close()
  }
})

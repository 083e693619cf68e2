import { holdMonotonic } from '../support/monotonic.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { EventEmitter, once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, genuine, listen, ownPrefix, REVOKED, SECRET, signed } from '../support/app.ts'
import { startApp } from '../support/process.ts'
import { ACCEPTED, me, meAfter, REFUSED } from '../support/promises.ts'
import { startRedis } from '../support/redis.ts'

const HISTORY = '/v1/jwt/history'
const FORGED = {
  statusCode: 401,
  body: {
    statusCode: 401,
    code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID',
    error: 'Unauthorized',
    message: 'Authorization token is invalid: The token signature is invalid.'
  }
}
const PATIENCE = 10_000

const redis = await startRedis(t)
const STORES: Record<string, () => RevocationOptions> = {
  memory: () => ({}),
  redis: () => ({ redis: redis.url, keyPrefix: ownPrefix() })
}

/** Sends the head of a `DELETE` over a socket of its own, and the body when it is told to. */
async function begin (port: number, path: string, token: string) {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(`DELETE ${HISTORY}${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n`)
  return async () => {
    socket.write('{}')
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
    return {
      statusCode: Number(head.slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3)),
      challenge: /^www-authenticate: (.*)$/im.exec(head)?.[1],
      body: JSON.parse(body)
    }
  }
}

for (const mode of ['strict', 'replica'] as const) {
  t.test(`P6 a token that another process revokes while the body of its request is on its way revokes nothing, ${mode}`, async (t) => {
    holdMonotonic(t)
    const keyPrefix = ownPrefix()
    const other = await startApp({ after: (fn) => t.teardown(fn) }, { REDIS_URL: redis.url, KEY_PREFIX: keyPrefix })
    const arrivals = new EventEmitter()
    const app = await buildApp(t, {
      revocation: { redis: redis.url, keyPrefix, mode },
      before: (app) => app.addHook('preParsing', async () => { arrivals.emit('head') })
    })
    const port = await listen(app)

    const target = await app.revocation.issue({ sub: 'alice' })
    for (const path of [`/${target.jti}`, `/id/${target.id}`, '/sub/alice', '/sub/alice?except=current', 'itself']) {
      const caller = await app.revocation.issue({ sub: 'alice' })
      const arrived = once(arrivals, 'head')
      const sendBody = await begin(port, path === 'itself' ? `/${caller.jti}` : path, caller.token)
      await arrived
      const deleted = await fetch(`${other.url}${HISTORY}/${caller.jti}`, { method: 'DELETE', headers: bearer(caller.token) })
      t.equal(deleted.status, 200)
      if (mode === 'replica') t.equal(await meAfter(app, caller.token, PATIENCE), REFUSED)
      t.strictSame(await sendBody(), REVOKED, path)
      t.equal(await me(app, target.token), ACCEPTED, `${path}: nothing of the subject is revoked`)
      t.equal((await fetch(`${other.url}/me`, { headers: bearer(target.token) })).status, 200)
    }

    const caller = await app.revocation.issue({ sub: 'alice' })
    const arrived = once(arrivals, 'head')
    const sendBody = await begin(port, '/sub/alice', caller.token)
    await arrived
    t.match(await sendBody(), { statusCode: 200, body: { sub: 'alice' } }, 'one that is not revoked does')
    t.equal(await meAfter(app, target.token, PATIENCE), REFUSED)
  })
}

for (const [name, store] of Object.entries(STORES)) {
  t.test(`P6 behind a hook that verifies another header the routes are the bearer's, on the store ${name}`, async (t) => {
    const fromGateway = (app: FastifyInstance) => app.addHook('onRequest', async (request) => {
      await request.jwtVerify({ extractToken: (request: FastifyRequest) => request.headers['x-gateway'] } as never)
    })
    for (const enforce of ['presented', 'verified'] as const) {
      const asked: unknown[] = []
      const app = await buildApp(t, {
        revocation: {
          ...store(),
          enforce,
          authorize: (request) => {
            asked.push((request.user as { sub: string }).sub)
            return false
          }
        },
        before: fromGateway
      })
      const gateway = await app.revocation.issue({ sub: 'gateway' })
      const alice = await app.revocation.issue({ sub: 'alice' })
      const bad = await app.revocation.issue({ sub: 'gateway' })
      await app.revocation.revoke(bad)
      const forged = await signed({ jti: gateway.jti, sub: 'gateway', exp: 2e9 }, 'a secret of somebody else, of more than 32 bytes')
      const ask = async (method: 'GET' | 'DELETE', path: string, token: string) =>
        answerOf(await app.inject({ method, url: HISTORY + path, headers: { ...bearer(token), 'x-gateway': gateway.token } }))
      const listed = async (token: string) => {
        const { body } = await ask('GET', '', token) as { body: { tokens: Array<{ jti: string, current: boolean }> } }
        return body.tokens.filter(({ current }) => current).map(({ jti }) => jti)
      }

      for (const [token, answer] of [[forged, FORGED], [bad.token, REVOKED]] as const) {
        t.strictSame(await ask('GET', '', token), answer)
        for (const path of [`/${gateway.jti}`, `/id/${gateway.id}`, '/sub/gateway']) t.strictSame(await ask('DELETE', path, token), answer, path)
      }
      t.equal(await app.revocation.isRevoked(app.jwt.decode(gateway.token)!), false)
      t.strictSame(await listed(alice.token), [alice.jti], 'who asks with a token of their own gets their own')
      t.strictSame(await listed(gateway.token), [gateway.jti])
      t.match(await ask('DELETE', '/sub/gateway', alice.token), { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } })
      t.strictSame(asked, ['alice'], 'and authorize sees who that is')
    }
  })
}

t.test('P6 authorize sees the bearer, whoever else was verified since', async (t) => {
  const seen: unknown[] = []
  const other = await signed({ jti: 'other', sub: 'other', iat: 1, exp: 2e9 })
  const app = await buildApp(t, {
    jwt: { secret: SECRET },
    revocation: {
      maxTokenLifetime: 'unbounded',
      authorize: (request) => {
        seen.push((request.user as { sub: string }).sub)
        return false
      }
    },
    before: (app) => app.addHook('preValidation', async (request) => {
      await request.jwtVerify({ extractToken: () => other } as never)
    })
  })
  const { token } = await genuine({ sub: 'alice' })
  const response = await app.inject({ method: 'DELETE', url: `${HISTORY}/sub/bob`, headers: bearer(token) })
  t.match(answerOf(response), { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } })
  t.strictSame(seen, ['alice'])
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()

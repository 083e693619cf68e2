import t from 'tap'
import { bearer, buildApp, genuine, inSeconds, SECRET, signed } from '../support/app.ts'

t.test("a callback of the application that throws is uncaught, as it would be anywhere, and leaves others' answers alone", async (t) => {
  const app = await buildApp(t, {
    jwt: { secret: async () => SECRET },
    revocation: { enforce: 'verified' },
    after (app) {
      app.get('/both', async (request) => {
        request.jwtVerify(() => { throw new Error('of the application') })
        return request.jwtVerify()
      })
    }
  })
  // Where it would be uncaught. Everything else that waits for its turn gets it.
  const uncaught: Array<() => void> = []
  const { nextTick } = process
  t.intercept(process, 'nextTick', {
    value: (callback: () => void, ...args: unknown[]) => String(callback).includes('throw thrown') ? uncaught.push(callback) : nextTick(callback, ...args)
  })
  const { token, jti } = await genuine()
  t.match((await app.inject({ url: '/both', headers: bearer(token) })).json(), { jti })
  t.equal(uncaught.length, 1)
  t.throws(uncaught[0]!, { message: 'of the application' })
})

t.test('a secret that answers and then throws has answered', async (t) => {
  const app = await buildApp(t, {
    jwt: {
      secret: (_request: unknown, _token: unknown, callback: (error: null, secret: string) => void) => {
        callback(null, SECRET)
        throw new Error('too late')
      }
    }
  })
  const { token, jti } = await genuine()
  t.match((await app.inject({ url: '/me', headers: bearer(token) })).json(), { user: { jti } })
})

t.test('a secret or an extractToken that throws undefined, null or false accepts no token', async (t) => {
  const forged = await signed({ jti: 'a', exp: inSeconds(60) }, 'a secret of somebody else, also of 32 bytes')
  const { token } = await genuine()
  for (const thrown of [undefined, null, false]) {
    const throws = () => { throw thrown }
    for (const [name, jwt] of Object.entries({ secret: { secret: throws }, extractToken: { verify: { extractToken: throws } } })) {
      const app = await buildApp(t, { jwt })
      for (const presented of [token, forged]) {
        const { statusCode, body } = await app.inject({ url: '/me', headers: bearer(presented) })
        t.strictSame({ statusCode, ...JSON.parse(body) }, {
          statusCode: 500, error: 'Internal Server Error', message: 'a function given to @fastify/jwt threw nothing'
        }, `${name} throws ${thrown}`)
      }
    }
  }
})

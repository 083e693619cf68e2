import t from 'tap'
import { bearer, buildApp, genuine, SECRET } from './support/app.ts'

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

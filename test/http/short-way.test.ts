import cookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import t from 'tap'
import { ShortWay } from '../../lib/http/short-way.ts'
import { revocationPlugin } from '../../lib/index.ts'
import { ownClock } from '../support/app.ts'
import { CONFIGURATIONS, differencesOf } from '../support/short-way.ts'

/*
 * Goal: with option `jwt` nobody sees that tokens are verified in another way than by `@fastify/jwt` alone.
 * Method: two applications that differ in that alone are asked the same.
 */

const packages = { fastify: Fastify as never, fastifyJwt, cookie, revocation: revocationPlugin }

for (const [name, configuration] of Object.entries(CONFIGURATIONS)) {
  t.test(`what a caller sees is @fastify/jwt's own, to the byte, with ${name}`, async (t) => {
    // Messages hold the time.
    ownClock(t).hold()
    // test/setups asks public routes as well, of more versions.
    const { differences, compared } = await differencesOf(packages, configuration, ['/me', '/calls'])
    t.ok(compared > 100)
    t.strictSame(differences, [])
  })
}

t.test('an error in words that are neither of fast-jwt nor by its message is asked for each time', async (t) => {
  class Said extends Error {}
  const jwt = { decode () {}, verify () {} }
  const shortWay = new ShortWay(jwt as never, { secret: 'a' })
  const raw = Object.assign(new Error('raw'), { code: 'A_CODE' })
  shortWay.learn(raw, new Said('of its own'))
  t.equal(shortWay.errorOf('a token', raw), undefined)
  shortWay.learn(raw, new Said('raw'))
  t.match(shortWay.errorOf('a token', raw), { constructor: Said, message: 'raw' })
  shortWay.learn(new Error('no code'), new Error('no code'))
  t.equal(shortWay.errorOf('a token', new Error('no code')), undefined)
})

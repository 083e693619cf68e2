import type { FastifyInstance } from 'fastify'
import buildGetJwks from 'get-jwks'
import t, { type Test } from 'tap'
import type { RevocationOptions } from '../../lib/index.ts'
import { answerOf, bearer, buildApp, ownPrefix, REVOKED } from '../support/app.ts'
import { API, CLIENT, startOidc, type Tokens } from '../support/oidc.ts'
import { postLogout } from '../support/provider.ts'
import { freePort } from '../support/ports.ts'
import { eventually, startRedis } from '../support/redis.ts'

/*
 * Goal: what a real provider posts ends what it should. Method: node-oidc-provider, whose users log in and out, posts to
 * one process; its access tokens are presented to that one and to another.
 */

const server = await startRedis(t)
t.teardown(() => {})
const me = async (app: FastifyInstance, { access_token: token }: Tokens) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { sid?: string, iat: number, aud: string }
const headerOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { typ: string }

interface SceneOptions { mode: 'strict' | 'replica', withSid?: boolean, onPost?: () => Promise<unknown> }

/** The process that the provider posts to, and another. */
async function scene (t: Test, { mode, withSid = true, onPost }: SceneOptions) {
  const port = await freePort()
  const oidc = await startOidc(t, { logoutUri: `http://127.0.0.1:${port}/backchannel-logout`, withSid })
  const jwks = buildGetJwks({ issuersWhitelist: [oidc.issuer], providerDiscovery: true })
  const jwt = {
    secret: async (_request: unknown, { header: { kid, alg } }: { header: { kid: string, alg: string } }) => jwks.getPublicKey({ domain: oidc.issuer, kid, alg }),
    decode: { complete: true },
    verify: { algorithms: ['RS256'], allowedIss: oidc.issuer, allowedAud: API }
  } as object
  const shared = { redis: server.url, keyPrefix: ownPrefix(), mode } satisfies RevocationOptions
  const one = await buildApp(t, {
    jwt,
    revocation: { ...shared, backchannelLogout: { issuer: oidc.issuer, audience: CLIENT } },
    after (app) {
      app.addHook('preHandler', async ({ method }) => { if (method === 'POST') await onPost?.() })
    }
  })
  const other = await buildApp(t, { jwt, revocation: { ...shared, backchannelLogout: [] } })
  await one.listen({ port, host: '127.0.0.1' })
  const apps = [one, other]
  return {
    oidc,
    one,
    areLive: async (...all: Tokens[]) => {
      for (const app of apps) for (const tokens of all) t.match(await me(app, tokens), { statusCode: 200 })
    },
    areDead: async (...all: Tokens[]) => {
      for (const app of apps) {
        for (const tokens of all) {
          if (mode === 'replica') await eventually('the copy has it', async () => (await me(app, tokens)).statusCode === 401)
          t.strictSame(await me(app, tokens), REVOKED)
        }
      }
    }
  }
}

/** A log-in of a later second than what was signed before. */
async function nextSecond (tokens: Tokens) {
  const { iat } = claimsOf(tokens.access_token)
  await eventually('the second is over', async () => Date.now() / 1000 >= iat + 1)
}

for (const mode of ['strict', 'replica'] as const) {
  t.test(`a log-out at the provider ends the session on every process, and no other session: ${mode}`, async (t) => {
    const { oidc, areLive, areDead, one } = await scene(t, { mode })
    const [laptop, phone] = [oidc.browser(), oidc.browser()]
    const [ended, other, bob] = [await laptop.logIn('alice'), await phone.logIn('alice'), await oidc.browser().logIn('bob')]
    const { sid } = claimsOf(ended.access_token)
    t.type(sid, 'string')
    t.not(sid, claimsOf(other.access_token).sid)
    await areLive(ended, other, bob)
    await laptop.logOut()
    t.strictSame(oidc.failures, [])
    t.strictSame(oidc.posts.map(({ status }) => status), [200])
    const { token } = oidc.posts[0]!
    t.match(claimsOf(token), { sid, aud: CLIENT, sub: 'alice' })
    t.equal(headerOf(token).typ, 'logout+jwt')
    await areDead(ended)
    await areLive(other, bob)

    await nextSecond(ended)
    const again = await laptop.logIn('alice')
    t.strictSame((await postLogout(one, token)).statusCode, 200, 'the same again, and late')
    await areLive(again, other, bob)
    await areDead(ended)
    t.match(await me(one, { access_token: token, refresh_token: '' }), { statusCode: 401 }, 'a logout token is no access token')
  })

  t.test(`without a sid a log-out ends all sessions of the user: ${mode}`, async (t) => {
    const { oidc, areLive, areDead, one } = await scene(t, { mode, withSid: false })
    const laptop = oidc.browser()
    const [ended, other, bob] = [await laptop.logIn('alice'), await oidc.browser().logIn('alice'), await oidc.browser().logIn('bob')]
    await areLive(ended, other, bob)
    await laptop.logOut()
    t.strictSame(oidc.posts.map(({ status }) => status), [200])
    const { token } = oidc.posts[0]!
    t.notOk('sid' in claimsOf(token))
    await areDead(ended, other)
    await areLive(bob)
    await nextSecond({ access_token: token, refresh_token: '' })
    const again = await laptop.logIn('alice')
    t.strictSame((await postLogout(one, token)).statusCode, 200)
    await areLive(again, bob)
  })

  t.test(`a refresh while the provider logs out gives a token that is dead: ${mode}`, async (t) => {
    let onPost = async () => {}
    const { oidc, areDead } = await scene(t, { mode, onPost: () => onPost() })
    const laptop = oidc.browser()
    const ended = await laptop.logIn('alice')
    const refreshed: Tokens[] = []
    onPost = async () => {
      // The provider posts before it destroys the session and the grant.
      await nextSecond(ended)
      refreshed.push(await oidc.refresh(ended.refresh_token))
    }
    await laptop.logOut()
    t.strictSame(oidc.posts.map(({ status }) => status), [200])
    t.equal(refreshed.length, 1)
    t.equal(claimsOf(refreshed[0]!.access_token).sid, claimsOf(ended.access_token).sid)
    t.ok(claimsOf(refreshed[0]!.access_token).iat > claimsOf(ended.access_token).iat)
    await areDead(ended, refreshed[0]!)
  })
}

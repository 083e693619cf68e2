import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { answerOf, bearer, inSeconds, REVOKED } from '../../support/app.ts'
import { eventually, startRedis } from '../../support/redis.ts'
import { isThorough } from '../../support/runs.ts'
import { recipe, type Edit } from '../../support/snippets.ts'

/*
 * Each row of the page's tables is run: the options that it names, with tokens as the issuer documents them, signed by a
 * key that a server of our own publishes where the issuer does.
 */

const PAGE = await readFile(join(import.meta.dirname, '..', '..', '..', 'docs', 'recipes', 'issuers.md'), 'utf8')
const HISTORY = '/v1/jwt/history'
const AUDIENCE = 'https://api.example'
const SAMPLE = { options: "claims: { sid: 'sid' },", issuer: 'https://keycloak.example/realms/acme', keys: '/protocol/openid-connect/certs' }
const KID = 'key-1'

type Claims = Record<string, unknown>
/** Whose token it is: the user, the session, and the client that asked for it. */
interface Whose { user: string, sid: string, client?: string }

/** What is in a token of each issuer, beside iss, iat and exp. */
const SHAPES: Record<string, (whose: Required<Whose>) => Claims> = {
  Keycloak: ({ user, sid, client }) => ({
    auth_time: inSeconds(-60), jti: `onrtac:${randomUUID()}`, aud: [AUDIENCE, 'account'], sub: user, typ: 'Bearer', azp: client, sid, acr: '1', scope: 'openid'
  }),
  Auth0: ({ user, client }) => ({ sub: `auth0|${user}`, aud: [AUDIENCE, 'https://tenant/userinfo'], azp: client, scope: 'openid' }),
  'Auth0, RFC 9068 profile': ({ user, client }) => ({ sub: `auth0|${user}`, aud: [AUDIENCE, 'https://tenant/userinfo'], client_id: client, jti: randomUUID(), scope: 'openid' }),
  'Auth0, with an Action': ({ user, sid, client }) => ({ sub: `auth0|${user}`, aud: AUDIENCE, azp: client, [`${AUDIENCE}/sid`]: sid }),
  Okta: ({ user, client }) => ({ ver: 1, jti: `AT.${randomUUID()}`, aud: AUDIENCE, cid: client, uid: `00u-${user}`, scp: ['openid'], auth_time: inSeconds(-60), sub: `${user}@example.com` }),
  'Entra ID': ({ user, sid, client }) => ({
    aud: AUDIENCE,
    nbf: inSeconds(-10),
    aio: 'opaque',
    azp: client,
    azpacr: '0',
    oid: `oid-${user}`,
    rh: 'opaque',
    scp: 'read',
    sid,
    sub: `pairwise-${user}`,
    tid: 'tenant',
    uti: randomUUID(),
    ver: '2.0'
  }),
  Cognito: ({ user, sid, client }) => ({
    sub: user, client_id: client, origin_jti: sid, event_id: randomUUID(), token_use: 'access', scope: 'openid', auth_time: inSeconds(-60), jti: randomUUID(), username: user
  }),
  Supabase: ({ user, sid }) => ({ aud: 'authenticated', sub: user, role: 'authenticated', aal: 'aal1', session_id: sid, email: `${user}@example.com`, phone: '', is_anonymous: false }),
  Clerk: ({ user, sid }) => ({ azp: 'https://app.example', fva: [7, -1], jti: randomUUID(), nbf: inSeconds(-15), sid: `sess_${sid}`, sub: `user_${user}`, v: 2, sts: 'active' }),
  Firebase: ({ user }) => ({ aud: 'PROJECT', auth_time: inSeconds(-60), user_id: user, sub: user, firebase: { identities: {}, sign_in_provider: 'password' } }),
  Tiledesk: ({ user }) => ({ _id: user, email: `${user}@example.com`, firstname: user, aud: 'https://tiledesk.com', sub: 'user', jti: randomUUID() })
}

/** The cells of the page's rows that begin with a name, by that name. */
function rowsOf (header: string): Map<string, string[]> {
  const [, rows = ''] = new RegExp(`^\\| ${header}.*\\n\\|[- |]+\\n((?:\\|.*\\n)+)`, 'm').exec(PAGE)!
  return new Map(rows.trim().split('\n').map((row) => {
    const [name = '', ...cells] = row.slice(1, -1).split('|').map((cell) => cell.trim())
    return [name.replace(/^\[(.*)\]\(.*\)$/, '$1'), cells.map((cell) => cell === '–' ? '' : cell.replaceAll('`', ''))]
  }))
}

/** `instead`: what ends with a token where no claim names that alone. */
interface Row { name: string, options: string, one: string, instead: string, session: string, everywhere: string, client: string }
const rows = [...rowsOf('issuer \\| options')].map(([name, [options = '', one = '', session = '', everywhere = '', client = '']]): Row => {
  const [, instead = ''] = /^no: (.*)$/.exec(one) ?? []
  return { name, options: options === 'none' ? '' : options, one: instead === '' ? one : '', instead, session, everywhere, client }
})
const keys = rowsOf('issuer \\| `ISSUER`')

const PAIRS = { RS256: await generateKeyPair('RS256'), ES256: await generateKeyPair('ES256') }
type Alg = keyof typeof PAIRS

/** An issuer on loopback: its keys are where the page says, and the discovery document leads to them. */
async function issuerOf (t: Test, name: string) {
  const [at = '', alg = 'RS256', keysAt = ''] = keys.get(name.split(',')[0]!)!
  const { privateKey, publicKey } = PAIRS[alg as Alg]
  // Entra's keys name no algorithm.
  const key = { ...await exportJWK(publicKey), kid: KID, use: 'sig', ...(name !== 'Entra ID' && { alg }) }
  const server = createServer((request, response) => {
    const found: Record<string, object> = {
      [`${pathOf(iss).replace(/\/$/, '')}/.well-known/openid-configuration`]: { issuer: iss, jwks_uri: jwksUrl },
      [pathOf(jwksUrl)]: { keys: [{ kty: 'RSA', kid: 'of-encryption', use: 'enc' }, key] }
    }
    const body = found[request.url!]
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}))
  })
  t.teardown(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const [iss, jwksUrl] = [at, keysAt].map((url) => url.replace(/^https:\/\/[^/]+/, base)) as [string, string]
  return {
    iss,
    jwksUrl,
    alg: alg as Alg,
    isDiscovered: keysAt !== `${at.replace(/\/$/, '')}/.well-known/jwks.json`,
    sign: (claims: Claims) => new SignJWT({ iss, ...claims }).setProtectedHeader({ alg, kid: KID }).sign(privateKey)
  }
}

const pathOf = (url: string) => new URL(url).pathname

/** Edits that change nothing are left out: what a sample says may be what its row says. */
const changes = (edits: Edit[]) => edits.filter(([from, to]) => from !== to)

const optionsEdit = ({ options }: Pick<Row, 'options'>): Edit => [SAMPLE.options, options && `${options},`]

/** The samples of the page, as a reader changes them for an issuer. */
const SAMPLES: Record<string, (row: Row, issuer: Awaited<ReturnType<typeof issuerOf>>, audience: unknown) => Edit[]> = {
  'get-jwks.ts': (row, { iss, alg, isDiscovered }, audience) => [
    [SAMPLE.issuer, iss], [', providerDiscovery: true', isDiscovered ? ', providerDiscovery: true' : ''], ['RS256', alg], optionsEdit(row),
    [`allowedAud: '${AUDIENCE}'`, `allowedAud: '${String(audience)}'`]
  ],
  'jwt-jwks.ts': (row, { iss, jwksUrl }, audience) => [
    [SAMPLE.issuer + SAMPLE.keys, jwksUrl], [SAMPLE.issuer, iss], optionsEdit(row), [`audience: '${AUDIENCE}'`, `audience: '${String(audience)}'`]
  ]
}

/** The rows in which fastify-jwt-jwks meets something else: an iss that ends with a slash, keys without alg, ES256. */
const DIFFERENT = ['Keycloak', 'Auth0', 'Entra ID', 'Supabase']
const rowsFor = (sample: string) => rows.filter(({ name }) =>
  name !== 'Tiledesk' && (isThorough || sample === 'get-jwks.ts' || DIFFERENT.includes(name)))

const server = await startRedis(t)
t.teardown(() => {})

/** The application of a sample, with tokens as the row's issuer signs them. */
async function scene (t: Test, sample: string, row: Row) {
  const issuer = await issuerOf(t, row.name)
  const shape = SHAPES[row.name]!
  let signed = 0
  /** No two have one iat, because a record without a jti has nothing else. */
  const claimsOf = (whose: Whose, claims: Claims = {}): Claims =>
    ({ iat: inSeconds(-60) + signed++, exp: inSeconds(600), ...shape({ client: 'web', ...whose }), ...claims })
  const { aud = AUDIENCE } = claimsOf({ user: 'nobody', sid: 'none' })
  const app = await recipe(t, server, 'issuers.md', { name: sample, edits: changes(SAMPLES[sample]!(row, issuer, Array.isArray(aud) ? aud[0] : aud)) })
  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, token: string) =>
    answerOf(await app.inject({ method, url, headers: bearer(token) }))
  return {
    app,
    issuer,
    call,
    token: async (whose: Whose, claims?: Claims) => {
      const made = claimsOf(whose, claims)
      return { claims: made, token: await issuer.sign(made) }
    },
    live: async (t: Test, tokens: string[], message: string) => {
      for (const token of tokens) t.match(await call('GET', '/me', token), { statusCode: 200 }, message)
    },
    dead: async (t: Test, tokens: string[], message: string) => {
      for (const token of tokens) t.strictSame(await call('GET', '/me', token), REVOKED, message)
    }
  }
}

const e = encodeURIComponent
const NOT_REVOCABLE = { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE' } }
const FORBIDDEN = { statusCode: 403, body: { code: 'FST_JWT_REVOCATION_FORBIDDEN' } }

t.test('each issuer has a shape here, and keys unless it has a sample of its own', async (t) => {
  t.strictSame(rows.map(({ name }) => name), Object.keys(SHAPES))
  t.strictSame([...new Set(rows.map(({ name }) => name.split(',')[0]))], [...keys.keys(), 'Tiledesk'])
})

for (const sample of Object.keys(SAMPLES)) {
  for (const row of rowsFor(sample)) {
    t.test(`${row.name}, by ${sample}: what the row says is accepted, listed and revoked, and nothing else is`, async (t) => {
      const { app, call, token, live, dead, issuer } = await scene(t, sample, row)
      const [alice, bob] = [{ user: 'alice', sid: randomUUID() }, { user: 'bob', sid: randomUUID() }]
      const phone = { ...alice, sid: randomUUID() }
      const first = await token(alice)
      if (sample === 'jwt-jwks.ts' && issuer.alg === 'ES256') {
        t.match(await call('GET', '/me', first.token), { statusCode: 401, body: { message: /^Authorization token is invalid: / } }, 'it knows no ES256')
        return
      }
      const [second, other, bobs] = [await token(alice), await token(phone), await token(bob)]
      await live(t, [first.token, second.token, other.token, bobs.token], 'accepted')
      const foreign = await token(alice, { aud: 'another-application' })
      t.match(await call('GET', '/me', foreign.token), { statusCode: 401 }, 'but no token for another application')

      const sub = String(first.claims[row.everywhere])
      await eventually('all are recorded', async () => (await app.revocation.tokens(sub)).tokens.length === 3)
      const { body: { tokens } } = await call('GET', HISTORY, first.token)
      t.equal(tokens.length, 3, 'listed')
      t.ok(tokens.every((record: Claims) => record.status === 'active' && record.sub === sub && record.iss === issuer.iss))
      t.strictSame(tokens.filter(({ current }: Claims) => current).map(({ jti, sid }: Claims) => [jti, sid]), [[first.claims[row.one], first.claims[row.session]]], 'and each by its names')

      const out = await call('POST', '/logout', first.token)
      if (row.one !== '') {
        t.match(out, { statusCode: 200, body: { jti: first.claims[row.one], status: 'revoked' } })
        await dead(t, [first.token], 'one')
        await live(t, [second.token, other.token, bobs.token], 'and no other')
        t.match(await call('DELETE', `${HISTORY}/${e(String(second.claims[row.one]))}`, bobs.token), FORBIDDEN)
        t.match(await call('DELETE', `${HISTORY}/${e(String(second.claims[row.one]))}`, other.token), { statusCode: 200 })
        await dead(t, [second.token], 'one, by its route')
      } else if (row.instead === 'its session') {
        t.match(out, { statusCode: 200, body: { sid: first.claims[row.session], status: 'revoked' } })
        await dead(t, [first.token, second.token], 'the session instead')
      } else {
        t.equal(row.instead, 'everywhere')
        t.match(out, NOT_REVOCABLE)
        await live(t, [first.token, second.token], 'there is no less than everywhere')
      }
      await live(t, [other.token, bobs.token], 'another device, and another user')

      if (row.session !== '') {
        const [tablet, laptop] = [{ ...alice, sid: randomUUID() }, { ...alice, sid: randomUUID() }]
        const [ended, sibling, byRoute] = [await token(tablet), await token(tablet), await token(laptop)]
        t.match(await call('POST', '/logout/session', ended.token), { statusCode: 200, body: { sid: ended.claims[row.session] } })
        const later = await token(tablet, { iat: inSeconds(30) })
        await dead(t, [ended.token, sibling.token, later.token], 'the session, and what is issued in it later')
        t.match(await call('DELETE', `${HISTORY}/sid/${e(String(byRoute.claims[row.session]))}`, bobs.token), FORBIDDEN)
        t.match(await call('DELETE', `${HISTORY}/sid/${e(String(byRoute.claims[row.session]))}`, byRoute.token), { statusCode: 200 })
        await dead(t, [byRoute.token], 'the session, by its route')
        await live(t, [other.token, bobs.token], 'and no other')
      } else {
        t.match(await call('DELETE', `${HISTORY}/sid/${alice.sid}`, other.token), FORBIDDEN, 'nobody looks at sessions')
      }

      t.match(await call('DELETE', `${HISTORY}/sub/${e(sub)}`, bobs.token), FORBIDDEN)
      const fresh = await token({ ...alice, sid: randomUUID() })
      t.match(await call('DELETE', `${HISTORY}/sub/${e(sub)}`, other.token), { statusCode: 200, body: { sub } })
      await dead(t, [first.token, second.token, other.token, fresh.token], 'everywhere, recorded or not')
      await live(t, [bobs.token], 'but nobody else')
      t.match(await call('POST', '/logout/everywhere', bobs.token), { statusCode: 200, body: { sub: bobs.claims[row.everywhere] } })
      await dead(t, [bobs.token], 'by the request')
    })
  }
}

for (const row of rows.filter(({ name, instead }) => name !== 'Tiledesk' && (isThorough || instead !== ''))) {
  t.test(`${row.name}: a record of the list ends its token, or what the row says instead`, async (t) => {
    const { app, call, token, live, dead } = await scene(t, 'get-jwks.ts', row)
    const alice = { user: 'alice', sid: randomUUID() }
    const [first, sibling, phone, bobs] = [await token(alice), await token(alice), await token({ ...alice, sid: randomUUID() }), await token({ user: 'bob', sid: randomUUID() })]
    await live(t, [first.token], 'accepted')
    const sub = String(first.claims[row.everywhere])
    await eventually('it is recorded', async () => (await app.revocation.tokens(sub)).tokens.length === 1)
    const { body: { tokens: [{ id }] } } = await call('GET', HISTORY, first.token)
    t.match(await call('DELETE', `${HISTORY}/id/${id}`, bobs.token), FORBIDDEN)
    t.match(await call('DELETE', `${HISTORY}/id/${id}`, phone.token), { statusCode: 200, body: { id, sub, status: 'revoked' } })
    await dead(t, [first.token], 'the token')
    if (row.instead !== '') await dead(t, [sibling.token], 'of its session')
    if (row.instead === 'everywhere') await dead(t, [phone.token], 'of its subject')
    await live(t, [...(row.instead === '' ? [sibling.token] : []), ...(row.instead === 'everywhere' ? [] : [phone.token]), bobs.token], 'and no other')
    t.match((await app.revocation.tokens(sub)).tokens.find((record) => record.id === id), { status: 'revoked' })
  })
}

for (const row of rows.filter(({ client }) => client !== '')) {
  t.test(`${row.name}: with revocableBy all tokens of a client end at once, and no others`, async (t) => {
    const revocableBy = `revocableBy: ['${row.client}']`
    const { app, token, live, dead } = await scene(t, 'get-jwks.ts', { ...row, options: row.options ? `${row.options}, ${revocableBy}` : revocableBy })
    const [web, sibling, mobile] = [
      await token({ user: 'alice', sid: 'c1' }), await token({ user: 'bob', sid: 'c2' }), await token({ user: 'alice', sid: 'c1', client: 'mobile' })
    ]
    await live(t, [web.token, sibling.token, mobile.token], 'accepted')
    t.match(await app.revocation.revokeBy(row.client, 'web'), { claim: row.client, value: 'web' })
    await dead(t, [web.token, sibling.token], 'all of the client')
    await live(t, [mobile.token], 'and of no other')
  })
}

t.test('a token without the claim that its issuer may leave out is accepted by what it has', async (t) => {
  const without: Array<[name: string, claim: string]> = [['Entra ID', 'sid'], ['Entra ID', 'oid'], ['Okta', 'uid'], ['Clerk', 'sid'], ['Keycloak', 'sub']]
  for (const [name, claim] of without) {
    const row = rows.find((row) => row.name === name)!
    const { token, call, live, dead } = await scene(t, 'get-jwks.ts', row)
    const { token: bare } = await token({ user: 'alice', sid: 'w1' }, { [claim]: undefined })
    await live(t, [bare], `${name} without ${claim}`)
    t.match(await call('POST', '/logout', bare), { statusCode: 200 })
    await dead(t, [bare], 'by its jti')
  }
  const { token, call } = await scene(t, 'get-jwks.ts', rows.find(({ name }) => name === 'Auth0, with an Action')!)
  t.match(await call('GET', '/me', (await token({ user: 'alice', sid: 'w1' }, { [`${AUDIENCE}/sid`]: undefined })).token), NOT_REVOCABLE, 'it has nothing else')
})

/** Tiledesk signs with a secret, and its scheme is no Bearer. */
async function tiledesk (t: Test, edits: Edit[]) {
  const app = await recipe(t, await startRedis(t), 'issuers.md', { name: 'tiledesk.ts', edits })
  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, token: string) =>
    answerOf(await app.inject({ method, url, headers: { authorization: `JWT ${token}` } }))
  const logIn = async (user: string) => {
    const claims = SHAPES.Tiledesk!({ user, sid: '', client: '' })
    const secret = new TextEncoder().encode('the GLOBAL_SECRET of your Tiledesk server')
    // It gives its tokens no exp.
    const jwt = new SignJWT({ iss: 'https://tiledesk.com', iat: inSeconds(-10), ...claims }).setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    return { jti: String(claims.jti), token: await jwt.sign(secret) }
  }
  const listed = async (token: string, count: number) => {
    await eventually('they are recorded', async () => (await call('GET', HISTORY, token)).body.tokens.length === count)
    return (await call('GET', HISTORY, token)).body.tokens.map(({ jti }: { jti: string }) => jti).sort()
  }
  return { call, logIn, listed, me: (token: string) => call('GET', '/me', token) }
}

t.test('Tiledesk without claims: any user lists and ends the tokens of everybody', async (t) => {
  const { call, logIn, listed, me } = await tiledesk(t, [[/^ *claims: .*\n/m, '']])
  const [alice, bob] = [await logIn('alice'), await logIn('bob')]
  for (const { token } of [alice, bob]) t.match(await me(token), { statusCode: 200 })
  t.strictSame(await listed(alice.token, 2), [alice.jti, bob.jti].sort(), 'the danger: Bob\'s as well')
  t.match(await call('DELETE', `${HISTORY}/sub/user`, alice.token), { statusCode: 200, body: { sub: 'user', revoked: 2 } })
  t.strictSame(await me(bob.token), REVOKED, 'the danger: Bob is out')
})

t.test('Tiledesk with claims: each user lists and ends the own tokens alone', async (t) => {
  const { call, logIn, listed, me } = await tiledesk(t, [])
  const [alice, phone, tablet, bob] = [await logIn('alice'), await logIn('alice'), await logIn('alice'), await logIn('bob')]
  for (const { token } of [alice, phone, tablet, bob]) t.match(await me(token), { statusCode: 200 })
  t.strictSame(await listed(alice.token, 3), [alice.jti, phone.jti, tablet.jti].sort())
  t.strictSame(await listed(bob.token, 1), [bob.jti])
  for (const path of ['/sub/user', '/sub/bob', `/${bob.jti}`]) t.match(await call('DELETE', HISTORY + path, alice.token), FORBIDDEN, path)
  t.match(await call('POST', '/logout', alice.token), { statusCode: 200, body: { jti: alice.jti, sub: 'alice', expiresAt: null } })
  t.strictSame(await me(alice.token), REVOKED)
  for (const { token } of [phone, bob]) t.match(await me(token), { statusCode: 200 }, 'no other')
  t.match(await call('DELETE', `${HISTORY}/${phone.jti}`, tablet.token), { statusCode: 200 })
  t.strictSame(await me(phone.token), REVOKED)
  t.match(await call('DELETE', `${HISTORY}/sub/alice`, tablet.token), { statusCode: 200, body: { sub: 'alice' } })
  t.strictSame(await me(tablet.token), REVOKED)
  t.match(await me(bob.token), { statusCode: 200 }, 'Bob goes on')
  t.match(await call('POST', '/logout/everywhere', bob.token), { statusCode: 200, body: { sub: 'bob' } })
  t.strictSame(await me(bob.token), REVOKED)
})

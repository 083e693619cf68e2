import fastifyJwt from '@fastify/jwt'
import { once } from 'node:events'
import { compileFunction } from 'node:vm'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { answerOf, bearer, buildApp, listen, ownClock, REVOKED } from '../../support/app.ts'
import { AUDIENCE, postLogout, startProvider } from '../../support/provider.ts'
import { startRedis } from '../../support/redis.ts'
import { recipe, scriptOf, type Edit } from '../../support/snippets.ts'

const client = (await scriptOf('docs/recipes/refresh.md', 'client.js')).replace('export ', '')
/** What the code of the page finds in a tab. */
const GLOBALS = ['fetch', 'localStorage', 'navigator', 'dispatchEvent']

type Api = (path: string, init?: RequestInit) => Promise<Response>

/** What all tabs of a browser share. It keeps cookies as a browser does, but for `Secure`, because the test has no TLS. */
class Browser {
  readonly cookies = new Map<string, { value: string, path: string }>()
  /** The path of each request. */
  readonly asked: string[] = []
  loggedOut = 0
  /** The next answer from /refresh does not come. */
  losesAnswer = false
  readonly #url: string
  readonly #storage = new Map<string, string>()
  #locked: Promise<unknown> = Promise.resolve()

  constructor (url: string) {
    this.#url = url
  }

  /** A tab, with the code of the page. */
  open ({ locks = true } = {}): Api {
    const request = (_name: string, act: () => Promise<unknown>) => {
      this.#locked = this.#locked.then(act, act)
      return this.#locked
    }
    const localStorage = {
      getItem: (key: string) => this.#storage.get(key) ?? null,
      setItem: (key: string, value: string) => this.#storage.set(key, value)
    }
    const page = compileFunction(`${client}\nreturn api`, GLOBALS)
    return page(this.fetch, localStorage, locks ? { locks: { request } } : {}, () => { this.loggedOut++ })
  }

  fetch: Api = async (path, init = {}) => {
    this.asked.push(path)
    const sent = [...this.cookies].filter(([, cookie]) => path.startsWith(cookie.path)).map(([name, { value }]) => `${name}=${value}`)
    const response = await fetch(this.#url + path, { ...init, headers: { ...init.headers, cookie: sent.join('; ') } })
    if (path === '/refresh' && this.losesAnswer) {
      this.losesAnswer = false
      throw new TypeError('fetch failed')
    }
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = '', path = ''] = /^(\w+)=([^;]*).*; Path=([^;]*)/.exec(cookie)!
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, { value, path })
    }
    return response
  }

  get refreshes () {
    return this.asked.filter((path) => path === '/refresh').length
  }

  get refreshToken () {
    return this.cookies.get('refresh')?.value
  }
}

/** Long enough for a machine that is busy: the clock of Redis measures it. */
const LONG: Edit = ["grace: '10s'", "grace: '1h'"]
const EXPIRED = 16 * 60_000

async function scene (t: Test, edits: Edit[] = [LONG]) {
  const clock = ownClock(t)
  const server = await startRedis(t)
  const app = await recipe(t, server, 'refresh.md', { edits })
  const browser = new Browser(`http://127.0.0.1:${await listen(app)}`)
  t.equal((await browser.fetch('/login', { method: 'POST' })).status, 204)
  return { app, server, browser, clock, expire: () => clock.advance(EXPIRED) }
}

const LOG_IN_AGAIN = { statusCode: 401, body: { code: 'FST_JWT_REFRESH_INVALID', message: 'Refresh token is not valid, log in again' } }
const statuses = async (requests: Array<Promise<Response>>) => (await Promise.all(requests)).map(({ status }) => status)

t.test('many requests at once refresh once, in one tab and in five', async (t) => {
  const { browser, expire } = await scene(t)
  const tabs = Array.from({ length: 5 }, () => browser.open())
  t.strictSame(await statuses([tabs[0]!('/me')]), [200])
  t.equal(browser.refreshes, 0)
  for (const some of [tabs.slice(0, 1), tabs]) {
    expire()
    const before = browser.refreshes
    const all = await statuses(some.flatMap((api) => Array.from({ length: 10 }, () => api('/me'))))
    t.strictSame(new Set(all), new Set([200]))
    t.equal(browser.refreshes - before, 1, `${some.length} tabs`)
  }
  t.equal(browser.loggedOut, 0)
})

t.test('two tabs without Web Locks refresh at once, and stay logged in', async (t) => {
  const { browser, expire } = await scene(t)
  const tabs = [browser.open({ locks: false }), browser.open({ locks: false })]
  for (let i = 0; i < 3; i++) {
    expire()
    t.strictSame(await statuses(tabs.map((api) => api('/me'))), [200, 200])
  }
  t.equal(browser.loggedOut, 0)
})

t.test('a request that is refused late is sent again without a refresh', async (t) => {
  const { browser, expire } = await scene(t)
  const api = browser.open()
  expire()
  const { fetch } = browser
  let sooner: Promise<Response> | undefined
  browser.fetch = async (...args) => {
    const response = await fetch(...args)
    // The answer to this one comes when another request has refreshed.
    if (args[0] === '/me?late') await (sooner ??= api('/me'))
    return response
  }
  t.equal((await browser.open()('/me?late')).status, 200)
  t.equal((await sooner)?.status, 200)
  t.equal(browser.refreshes, 1)
})

t.test('an answer that was lost comes again', async (t) => {
  const { browser, expire } = await scene(t)
  const api = browser.open()
  expire()
  browser.losesAnswer = true
  t.equal((await api('/me')).status, 200)
  t.equal(browser.refreshes, 2)
  expire()
  t.equal((await api('/me')).status, 200, 'and the session goes on')
})

t.test('a session that was ended elsewhere logs the browser out, and the server clears its cookies', async (t) => {
  const { app, browser } = await scene(t)
  const api = browser.open()
  await app.revocation.revokeSubject('alice')
  const refused = await api('/me')
  t.match([refused.status, await refused.json()], [401, { code: 'FST_JWT_REVOKED' }])
  t.strictSame([browser.loggedOut, browser.refreshes, browser.cookies.size], [1, 1, 0])
  t.equal((await browser.fetch('/login', { method: 'POST' })).status, 204)
  t.equal((await api('/me')).status, 200)
})

t.test('a log-out with an expired access token refreshes first, and ends the session', async (t) => {
  const { app, browser, expire } = await scene(t)
  const api = browser.open()
  expire()
  const { refreshToken: before } = browser
  t.equal((await api('/logout', { method: 'POST' })).status, 204)
  t.equal(browser.cookies.size, 0)
  const response = await app.inject({ method: 'POST', url: '/refresh', cookies: { refresh: before! } })
  t.match(answerOf(response), LOG_IN_AGAIN, 'within the grace, too')
  t.strictSame(response.cookies.map(({ name, value, path }) => [name, value, path]), [['token', '', '/'], ['refresh', '', '/refresh']])
  const { tokens: [record] } = await app.revocation.tokens('alice')
  t.match(record, { session: true, status: 'revoked' })
})

t.test('while Redis is down nobody is logged out', async (t) => {
  const { browser, server, expire } = await scene(t)
  const api = browser.open()
  expire()
  await server.kill()
  await t.rejects(api('/me'), { message: 'The refresh was answered 503, try again' })
  t.strictSame([browser.loggedOut, browser.cookies.size], [0, 2])
})

t.test('a refresh reloads the user, and refuses one who is gone without spending anything', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'refresh.md', { edits: [LONG, ['const users = ', 'const users = app.users = '], ['const app = Fastify()', 'const app = Object.assign(Fastify(), { users: new Map() })']] })
  const { users } = app as unknown as { users: Map<string, { role: string }> }
  const browser = new Browser(`http://127.0.0.1:${await listen(app)}`)
  await browser.fetch('/login', { method: 'POST' })
  users.set('alice', { role: 'admin' })
  const { refreshToken: refresh } = browser
  t.equal((await browser.fetch('/refresh', { method: 'POST' })).status, 204)
  t.match(await (await browser.fetch('/me')).json(), { sub: 'alice', role: 'admin' })

  users.delete('alice')
  const { refreshToken: next } = browser
  t.equal((await browser.fetch('/refresh', { method: 'POST' })).status, 401)
  t.equal(browser.cookies.size, 0)
  users.set('alice', { role: 'user' })
  t.equal((await app.inject({ method: 'POST', url: '/refresh', cookies: { refresh: next! } })).statusCode, 204)
  t.not(refresh, next)
})

t.test('a refresh token that comes again after the grace ends the session', async (t) => {
  const { app, browser } = await scene(t, [["grace: '10s'", 'grace: 0']])
  const stolen = browser.refreshToken!
  t.equal((await browser.fetch('/refresh', { method: 'POST' })).status, 204)
  t.match(answerOf(await app.inject({ method: 'POST', url: '/refresh', cookies: { refresh: stolen } })), LOG_IN_AGAIN)
  const refused = await browser.open()('/me')
  t.match([refused.status, await refused.json()], [401, { code: 'FST_JWT_REVOKED' }], 'the access token has ended as well')
  t.strictSame([browser.loggedOut, browser.cookies.size], [1, 0])
})

t.test('the code of websockets.md closes the connections of a session, by whatever door it was ended', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'websockets.md', { edits: [["mode: 'replica'", "mode: 'replica', refresh: { grace: 0 }"], ['60_000', '2 ** 30']] })
  const host = `127.0.0.1:${await listen(app)}`
  const { revocation } = app
  const doors: Record<string, (login: { id: string, jti: string, sid: string, sub: string, refreshToken: string }) => Promise<unknown>> = {
    'its id': ({ id }) => revocation.revokeById(id),
    'its sid': ({ sid }) => revocation.revokeSession(sid),
    'the jti of an access token that was replaced': ({ jti }) => revocation.revoke({ jti }),
    'its subject': ({ sub }) => revocation.revokeSubject(sub),
    'a refresh token that was used before': ({ refreshToken }) => t.rejects(revocation.refresh(refreshToken), { code: 'FST_JWT_REFRESH_INVALID' })
  }
  for (const [door, end] of Object.entries(doors)) {
    const [login, kept] = [await revocation.issue({ sub: door }, { refresh: true }), await revocation.issue({ sub: 'bob' }, { refresh: true })]
    const { token } = await revocation.refresh(login.refreshToken)
    const [closing, staying] = [new WebSocket(`ws://${host}/live`, { headers: bearer(token) }), new WebSocket(`ws://${host}/live`, { headers: bearer(kept.token) })]
    t.teardown(() => staying.terminate())
    const closed = once(closing, 'close')
    await Promise.all([once(closing, 'open'), once(staying, 'open')])
    await end({ ...login, sub: door })
    t.strictSame([(await closed)[0], staying.readyState], [1008, WebSocket.OPEN], door)
  }
})

t.test('a log-out at the provider ends a session that has its sid, refresh token included', async (t) => {
  const provider = await startProvider(t)
  const app = await buildApp(t, {
    before: (app) => app.register(fastifyJwt, { namespace: 'idp', ...provider.jwt } as never),
    revocation: { backchannelLogout: { issuer: provider.issuer, audience: AUDIENCE, namespace: 'idp', tokenIssuer: '' }, refresh: {} }
  })
  const [ended, other] = await Promise.all(['s1', 's2'].map((sid) => app.revocation.issue({ sub: 'alice', sid }, { refresh: true })))
  const { token, refreshToken } = await app.revocation.refresh(ended!.refreshToken)
  t.equal((await postLogout(app, await provider.logoutToken({ sid: 's1', sub: 'alice' }))).statusCode, 200)
  t.strictSame(answerOf(await app.inject({ url: '/me', headers: bearer(token) })), REVOKED)
  await t.rejects(app.revocation.refresh(refreshToken), LOG_IN_AGAIN.body)
  t.equal((await app.revocation.refresh(other!.refreshToken)).sid, 's2')
})

t.test('sign options of the login are not kept, but for the namespace', async (t) => {
  const app = await buildApp(t, { revocation: { refresh: {} } })
  const life = ({ token }: { token: string }) => {
    const { iat, exp } = app.jwt.decode<{ iat: number, exp: number }>(token)!
    return exp - iat
  }
  const login = await app.revocation.issue({ sub: 'alice' }, { refresh: true, expiresIn: '5m' })
  const next = await app.revocation.refresh(login.refreshToken)
  const last = await app.revocation.refresh(next.refreshToken, { expiresIn: '5m' })
  t.strictSame([login, next, last].map(life), [300, 900, 300])
})

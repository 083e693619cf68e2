import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { bareEnv, program } from '../support/child.ts'
import { startRedis } from '../support/redis.ts'

const root = join(import.meta.dirname, '..', '..')

const STORY_PRINTED = /# log in[^]*# an administrator[^]*?\n\n/

/** The example application on a free port; `story` is what it prints for pasting. */
async function startExample (t: Test, env: Record<string, string>) {
  const child = spawn(...program(join(root, 'examples', 'server.ts')), {
    cwd: root, env: bareEnv({ PORT: '0', ...env }), stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  let out = ''
  for await (const chunk of child.stdout!.iterator({ destroyOnReturn: false })) {
    out += chunk
    // A line of log may come behind it.
    if (STORY_PRINTED.test(out)) break
  }
  child.stdout!.resume()
  return { child, story: STORY_PRINTED.exec(out)![0], url: /Listening on (\S+),/.exec(out)![1]! }
}

async function stops (child: ChildProcess) {
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  return exited
}

async function tell (t: Test, story: string): Promise<string> {
  const cwd = await mkdtemp(join(tmpdir(), 'example-'))
  t.teardown(() => rm(cwd, { recursive: true }))
  const { stdout } = await promisify(execFile)('sh', ['-e', '-c', story], { cwd })
  return stdout
}

/** What the story comes to: each user that was let in, each revocation, each refusal, in turn. */
function outcomes (stdout: string): string[] {
  return [...stdout.matchAll(/"sub":"(\w+)","role"|"status":"(revoked)"|HTTP\/1.1 (401)|"code":"(\w+)"/g)]
    .map(([, sub, revoked, status, code]) => sub ?? revoked ?? status ?? code ?? '')
}

const REFUSED = ['401', 'FST_JWT_REVOKED']
const STORY = ['alice', 'revoked', ...REFUSED, 'bob', 'revoked', ...REFUSED, '401', 'FST_JWT_REFRESH_INVALID',
  // In the list of devices, then of the other one, then of the administrator's.
  'revoked', ...REFUSED, 'revoked', ...REFUSED]

t.test('the lines that the example prints tell the whole story, without Redis', async (t) => {
  const { child, story } = await startExample(t, { REDIS_URL: '' })
  t.same(outcomes(await tell(t, story)), STORY)
  t.same(await stops(child), [0, null], 'it ends by itself when asked to')
})

t.test('and with Redis', async (t) => {
  const redis = await startRedis(t)
  const { child, story } = await startExample(t, { REDIS_URL: redis.url })
  t.same(outcomes(await tell(t, story)), STORY)
  t.equal((await redis.keys('jwt:revoked:*')).length, 4)
  t.same(await stops(child), [0, null])
})

/** A browser as far as it keeps cookies, by name. It does not look at paths: that is `sends`. */
class Browser {
  readonly cookies = new Map<string, string>()
  readonly paths = new Map<string, string>()
  readonly #url: string

  constructor (url: string) {
    this.#url = url
  }

  async post (path: string, body?: object) {
    return this.#ask(path, { method: 'POST', ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) })
  }

  async get (path: string) {
    return this.#ask(path, {})
  }

  async #ask (path: string, init: RequestInit) {
    const sent = [...this.cookies].filter(([name]) => path.startsWith(this.paths.get(name)!))
    const headers = { ...init.headers, cookie: sent.map((pair) => pair.join('=')).join('; ') }
    const response = await fetch(this.#url + path, { ...init, headers })
    const set = response.headers.getSetCookie()
    for (const cookie of set) {
      const [, name = '', value = '', path = ''] = /^(\w+)=([^;]*).*; Path=([^;]*)/.exec(cookie)!
      this.paths.set(name, path)
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return { statusCode: response.status, set, body: await response.json() as Record<string, unknown> }
  }
}

const BOB = { user: 'bob', password: 'builder' }
const LOG_IN_AGAIN = { statusCode: 401, body: { code: 'FST_JWT_REFRESH_INVALID', message: 'Refresh token is not valid, log in again' } }

t.test('a browser stays logged in by a cookie that only the route of the refresh gets', async (t) => {
  const redis = await startRedis(t)
  const { child, url } = await startExample(t, { REDIS_URL: redis.url })
  const browser = new Browser(url)
  const login = await browser.post('/login/cookie', BOB)
  t.equal(login.statusCode, 200)
  t.notOk('token' in login.body || 'refreshToken' in login.body, 'no script sees a token')
  t.match(login.set.find((cookie) => cookie.startsWith('refresh=')), /; Path=\/refresh; Expires=[^;]+ GMT; HttpOnly; SameSite=Strict$/)
  const spent = browser.cookies.get('refresh')!

  const { statusCode, body: { sid } } = await browser.post('/refresh/cookie')
  t.strictSame([statusCode, sid], [200, login.body.sid])
  const successor = browser.cookies.get('refresh')!
  t.not(successor, spent)
  t.match(await browser.get('/me'), { statusCode: 200, body: { sub: 'bob', role: 'user', sid } })

  browser.cookies.set('refresh', spent)
  t.equal((await browser.post('/refresh/cookie')).statusCode, 200)
  t.equal(browser.cookies.get('refresh'), successor, 'the same successor, within the grace')

  t.match(await browser.post('/logout'), { statusCode: 200, body: { status: 'revoked', sid } })
  t.equal(browser.cookies.size, 0, 'both cookies are cleared')
  browser.cookies.set('refresh', successor)
  t.match(await browser.post('/refresh/cookie'), LOG_IN_AGAIN)
  t.equal(browser.cookies.size, 0, 'the cookie is cleared')
  t.same(await stops(child), [0, null])
})

t.test('one device lists the devices, and logs them all out', async (t) => {
  const { child, url } = await startExample(t, { REDIS_URL: '' })
  const [phone, desk] = [new Browser(url), new Browser(url)]
  for (const browser of [phone, desk]) {
    await browser.post('/login/cookie', BOB)
    await browser.post('/refresh/cookie')
  }
  const { body: { tokens } } = await desk.get('/v1/jwt/history')
  t.match(tokens, [{ session: true, status: 'active' }, { session: true, status: 'active' }])
  t.equal((tokens as object[]).length, 2, 'each device once')

  t.match(await desk.post('/logout/everywhere'), { statusCode: 200, body: { sub: 'bob', revoked: 2 } })
  t.match(await phone.get('/me'), { statusCode: 401, body: { code: 'FST_JWT_REVOKED' } })
  t.match(await phone.post('/refresh/cookie'), LOG_IN_AGAIN)
  t.equal(phone.cookies.size, 0)
  t.equal((await phone.post('/login/cookie', BOB)).statusCode, 200, 'and a login works')
  t.same(await stops(child), [0, null])
})

t.test('without a browser the token is in the answer, and the refresh token in the cookie', async (t) => {
  const { child, url } = await startExample(t, { REDIS_URL: '' })
  const client = new Browser(url)
  for (const [path, body] of [['/login', BOB], ['/refresh']] as const) {
    const { statusCode, body: { token, refreshToken } } = await client.post(path, body)
    t.strictSame([statusCode, typeof token, refreshToken], [200, 'string', undefined], path)
  }
  t.strictSame([...client.cookies.keys()], ['refresh'])
  t.same(await stops(child), [0, null])
})

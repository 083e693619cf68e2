import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { answerOf, bearer, listen, ownClock, REVOKED } from '../../support/app.ts'
import { startRedis } from '../../support/redis.ts'
import { recipe, type Edit } from '../../support/snippets.ts'

/** What a browser keeps of an answer's cookie: its value, '' where it is cleared, undefined where it stays. */
const cookieOf = (response: LightMyRequestResponse) => response.cookies.find(({ name }) => name === 'token')?.value

const UNAVAILABLE = { statusCode: 503, body: { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' } }

t.test('logging out ends a token by header and by cookie, and clears the cookie unless it still works', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'log-out.md')
  const history = (token: string) => app.inject({ url: '/v1/jwt/history', headers: bearer(token) })
  const logOut = (headers: Record<string, string>, url = '/logout') => app.inject({ method: 'POST', url, headers })
  const issue = () => app.revocation.issue({ sub: 'alice' })

  const byHeader = await issue()
  t.equal((await logOut(bearer(byHeader.token))).statusCode, 204)
  t.strictSame(answerOf(await history(byHeader.token)), REVOKED)

  const byCookie = await issue()
  const headers = { cookie: `token=${byCookie.token}` }
  for (const time of ['once', 'twice']) {
    const response = await logOut(headers)
    t.equal(response.statusCode, 204, time)
    t.equal(cookieOf(response), '')
  }
  t.strictSame(answerOf(await history(byCookie.token)), REVOKED)

  for (const none of [{}, { cookie: 'token=x' }, { cookie: `token=${app.jwt.sign({ sub: 'alice', jti: 'a', exp: 1 })}` }]) {
    const response = await logOut(none as Record<string, string>)
    t.equal(response.statusCode, 204, 'nothing to revoke')
    t.equal(cookieOf(response), '')
  }

  const [one, two] = [await issue(), await issue()]
  const everywhere = await logOut({ cookie: `token=${one.token}` }, '/logout/everywhere')
  t.strictSame(everywhere.json(), { revoked: 2 })
  t.equal(cookieOf(everywhere), '')
  for (const { token } of [one, two]) t.strictSame(answerOf(await history(token)), REVOKED)

  const [here, there] = [await issue(), await issue()]
  const changed = await logOut({ cookie: `token=${here.token}` }, '/password')
  t.equal(changed.statusCode, 204)
  for (const { token } of [here, there]) t.strictSame(answerOf(await history(token)), REVOKED)
  t.equal((await history(cookieOf(changed)!)).statusCode, 200)

  await server.kill()
  const unavailable = await logOut({ cookie: `token=${cookieOf(changed)}` })
  t.match(answerOf(unavailable), UNAVAILABLE)
  t.equal(cookieOf(unavailable), undefined, 'the cookie stays')
})

t.test('logging out without revocation: false answers 401 the second time, and leaves the cookie', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'log-out.md', { edits: [['{ config: { revocation: false } }', '{}']] })
  const { token } = await app.revocation.issue({ sub: 'alice' })
  const logOut = () => app.inject({ method: 'POST', url: '/logout', headers: { cookie: `token=${token}` } })
  t.equal((await logOut()).statusCode, 204)
  const again = await logOut()
  t.strictSame(answerOf(again), REVOKED)
  t.equal(cookieOf(again), undefined)
})

t.test('revoke(request) needs neither the user nor the decoder of an application', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, 'log-out.md', {
    edits: [["sign: { expiresIn: '15m' },", "sign: { expiresIn: '15m', iss: 'api.example' }, decode: { complete: true }, formatUser: () => ({ name: 'Alice' }),"]]
  })
  const { token } = await app.revocation.issue({ sub: 'alice' })
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: bearer(token) })).statusCode, 204)
  t.strictSame(answerOf(await app.inject({ url: '/v1/jwt/history', headers: bearer(token) })), REVOKED)
})

t.test('a browser with a refused cookie gets the files, a page to log in, and no cookie', async (t) => {
  const server = await startRedis(t)
  const folder = t.testdir({ 'login.html': 'log in', 'app.js': '1' })
  const at: Edit = ["join(import.meta.dirname, 'public')", JSON.stringify(folder)]
  const app = await recipe(t, server, 'browser.md', { edits: [at] })
  const logIn = async (app: FastifyInstance) => cookieOf(await app.inject({ method: 'POST', url: '/login' }))!
  const token = await logIn(app)
  const get = (app: FastifyInstance, url: string, token: string, accept = '*/*') => app.inject({ url, headers: { cookie: `token=${token}`, accept } })
  t.match(answerOf(await get(app, '/me', token)), { statusCode: 200, body: { sub: 'alice' } })

  await app.revocation.revokeSubject('alice')
  for (const url of ['/login.html', '/app.js']) t.equal((await get(app, url, token)).statusCode, 200, url)
  t.equal((await get(app, '/favicon.ico', token)).statusCode, 404)
  const refused = await get(app, '/me', token)
  t.strictSame(answerOf(refused), REVOKED)
  t.equal(cookieOf(refused), '')
  const page = await get(app, '/me', token, 'text/html,*/*')
  t.strictSame([page.statusCode, page.headers.location, cookieOf(page)], [303, '/login.html', ''])
  t.equal((await get(app, '/me', await logIn(app))).statusCode, 200)

  const strict = await recipe(t, server, 'browser.md', { edits: [at, [/^ *skip: .*\n/m, '']] })
  const locked = await logIn(strict)
  await strict.revocation.revokeSubject('alice')
  for (const url of ['/login.html', '/app.js', '/favicon.ico']) t.strictSame(answerOf(await get(strict, url, locked)), REVOKED, `without skip: ${url}`)
})

t.test('a session without a jti logs in again, or is exchanged', async (t) => {
  const server = await startRedis(t)
  const folder = t.testdir({})
  const at: Edit = ["join(import.meta.dirname, 'public')", JSON.stringify(folder)]
  const get = (app: FastifyInstance, token: string) => app.inject({ url: '/account', headers: { cookie: `token=${token}` } })
  const app = await recipe(t, server, 'browser.md', { edits: [at] })
  const old = app.jwt.sign({ sub: 'alice' })
  const refused = await get(app, old)
  t.match(answerOf(refused), { statusCode: 401, body: { code: 'FST_JWT_NOT_REVOCABLE' } })
  t.equal(cookieOf(refused), '')

  const kind = await recipe(t, server, 'browser.md', { edits: [at, ['skip:', "tokensWithoutJti: 'accept', skip:"]] })
  const exchanged = await get(kind, old)
  t.match(answerOf(exchanged), { statusCode: 200, body: { sub: 'alice' } })
  const { jti } = kind.jwt.decode<{ jti: string }>(cookieOf(exchanged)!)!
  const again = await get(kind, cookieOf(exchanged)!)
  t.match(answerOf(again), { statusCode: 200, body: { sub: 'alice', jti } })
  t.equal(cookieOf(again), undefined, 'once')

  await kind.revocation.revoke({ jti })
  t.equal((await get(kind, old)).statusCode, 200, 'the old one goes on')
  await kind.revocation.revokeSubject('alice')
  t.strictSame(answerOf(await get(kind, old)), REVOKED)
})

t.test('open WebSockets and event streams are closed when their token is revoked, in each process', async (t) => {
  const server = await startRedis(t)
  // Without the timer, which would close them a minute later.
  const edits: Edit[] = [["mode: 'replica'", "mode: 'replica', claims: { sid: 'sid' }, revocableBy: ['tenant']"], ['60_000', '2 ** 30']]
  const app = await recipe(t, server, 'websockets.md', { edits })
  const other = await recipe(t, server, 'websockets.md', { edits })
  const ends = await Promise.all([app, other].map(async (app) => `127.0.0.1:${await listen(app)}`))
  const issue = (name: string) => app.revocation.issue({ sub: name, sid: name, tenant: name })
  const revocations: Record<string, (token: { jti: string, name: string }) => Promise<unknown>> = {
    'by its jti': ({ jti }) => app.revocation.revoke({ jti }),
    'by its subject': ({ name }) => app.revocation.revokeSubject(name),
    'by its session': ({ name }) => app.revocation.revokeSession(name),
    'by a listed claim': ({ name }) => app.revocation.revokeBy('tenant', name)
  }
  for (const [label, revoke] of Object.entries(revocations)) {
    const [name, keptName] = [`alice ${label}`, `bob ${label}`]
    const [token, kept] = [await issue(name), await issue(keptName)]
    const connections = await Promise.all(ends.flatMap((host) => [liveAt(t, host, token.token), eventsAt(host, token.token)]))
    const others = await Promise.all(ends.flatMap((host) => [liveAt(t, host, kept.token), eventsAt(host, kept.token)]))
    await revoke({ jti: token.jti, name })
    t.strictSame(await Promise.all(connections.map(({ closed }) => closed)), [1008, 'end', 1008, 'end'], label)
    t.strictSame(others.map(({ isOpen }) => isOpen()), [true, true, true, true])
    const refused = await fetch(`http://${ends[0]}/events`, { headers: bearer(token.token) })
    t.strictSame([refused.status, (await refused.json() as { code: string }).code], [401, 'FST_JWT_REVOKED'])
  }
})

t.test('the timer closes what has expired, and what another process revoked in strict mode', async (t) => {
  const server = await startRedis(t)
  const edits: Edit[] = [['60_000', '20'], [", mode: 'replica'", '']]
  const app = await recipe(t, server, 'websockets.md', { edits })
  const other = await recipe(t, server, 'websockets.md', { edits })
  const host = `127.0.0.1:${await listen(app)}`
  const [short, revoked, kept] = [
    await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' }), await app.revocation.issue({ sub: 'alice' }, { expiresIn: '1h' })
  ]
  const [first, second, third] = [await liveAt(t, host, short.token), await liveAt(t, host, revoked.token), await liveAt(t, host, kept.token)]
  await other.revocation.revoke({ jti: revoked.jti })
  t.equal(await second.closed, 1008)
  t.equal(first.isOpen(), true)
  ownClock(t).advance(16 * 60_000)
  t.equal(await first.closed, 1008)
  t.equal(third.isOpen(), true)
})

/** A WebSocket that is open, and the code with which it is closed. */
async function liveAt (t: Test, host: string, token: string) {
  const socket = new WebSocket(`ws://${host}/live`, { headers: bearer(token) })
  t.teardown(() => socket.terminate())
  const closed = once(socket, 'close').then(([code]) => code as unknown)
  await once(socket, 'open')
  return { closed, isOpen: () => socket.readyState === WebSocket.OPEN }
}

/** An event stream that has begun, and how it ends. */
async function eventsAt (host: string, token: string) {
  const { body } = await fetch(`http://${host}/events`, { headers: bearer(token) })
  const reader = body!.getReader()
  await reader.read()
  let isOpen = true
  const closed = reader.read().then(({ done }) => {
    isOpen = false
    return done ? 'end' : 'data'
  }) as Promise<unknown>
  return { closed, isOpen: () => isOpen }
}

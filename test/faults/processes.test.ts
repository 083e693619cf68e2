import { execFile } from 'node:child_process'
import t, { type Test } from 'tap'
import { promisify } from 'node:util'
import { bearer, ownPrefix } from '../support/app.ts'
import { startApp, type AppProcess } from '../support/process.ts'
import { startProxy } from '../support/proxy.ts'
import { startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'

interface Issued { token: string, id: string, jti: string }

// Most of them wait.
t.jobs = 4

t.test('P1 what one process revokes, asked by curl, every other one refuses at once', { buffered: true }, async (t) => {
  const env = { REDIS_URL: (await startRedis(t)).url, KEY_PREFIX: ownPrefix() }
  const [a, b] = await Promise.all([startApp(t, env), startApp(t, env)])
  for (const path of [({ jti }: Issued) => jti, ({ id }: Issued) => `id/${id}`]) {
    const issued = await login(b)
    const speaker = await login(a)
    t.match(await get(b, '/me', issued.token), { status: 200, body: { sub: 'alice', jti: issued.jti } })

    const { stdout } = await promisify(execFile)('curl', [
      '--silent', '--show-error', '--max-time', '10', '--write-out', '\n%{http_code}',
      '-X', 'DELETE', '-H', 'Content-Type: application/json', '-H', `Authorization: Bearer ${speaker.token}`,
      `${a.url}/v1/jwt/history/${path(issued)}`
    ])
    const [body, status] = stdout.split('\n')
    t.equal(status, '200', body!)
    t.match(JSON.parse(body!), { jti: issued.jti, id: issued.id, sub: 'alice', status: 'revoked' })

    for (const [app, path] of [[b, '/me'], [b, '/public'], [a, '/me'], [a, '/public']] as const) await isRevoked(t, app, path, issued)
    t.match(await get(b, '/me', speaker.token), { status: 200 })
  }
})

t.test('P3 a process that is killed right after its 200 loses nothing', { buffered: true }, async (t) => {
  const env = { REDIS_URL: (await startRedis(t)).url, KEY_PREFIX: ownPrefix() }
  const [a, b] = await Promise.all([startApp(t, env), startApp(t, env)])
  const issued = await login(a)
  t.match(await get(b, '/me', issued.token), { status: 200 })
  const response = await fetch(`${a.url}/v1/jwt/history/${issued.jti}`, { method: 'DELETE', headers: bearer(issued.token) })
  const { signal } = await a.kill('SIGKILL')
  t.equal(response.status, 200)
  t.equal(signal, 'SIGKILL')
  await isRevoked(t, b, '/me', issued)
  await isRevoked(t, await startApp(t, env), '/me', issued)
})

t.test('a process without Redis ends by itself when its application is closed', { buffered: true }, async (t) => {
  const app = await startApp(t)
  const { token, jti } = await login(app)
  const response = await fetch(`${app.url}/v1/jwt/history/${jti}`, { method: 'DELETE', headers: bearer(token) })
  t.equal(response.status, 200)
  t.equal((await get(app, '/me', token)).status, 401)
  await endsCleanly(t, app)
})

t.test('a process with Redis ends by itself when its application is closed', { buffered: true }, async (t) => {
  const app = await startApp(t, { REDIS_URL: (await startRedis(t)).url, KEY_PREFIX: ownPrefix() })
  t.equal((await get(app, '/me', (await login(app)).token)).status, 200)
  await endsCleanly(t, app)
})

for (const outage of ['refused', 'black-holed', 'paused']) {
  // Each outage takes a process of its own, which takes long to load.
  for (const atBoot of isThorough ? [false, true] : [outage === 'refused']) {
    t.test(`P4 a process ends by itself while Redis is ${outage}${atBoot ? ', since its start' : ''}`, { buffered: true }, async (t) => {
      const server = await startRedis(t)
      const proxy = await startProxy(t, server)
      const begin = async () => {
        if (outage === 'paused') server.pause()
        else await proxy.set(outage === 'refused' ? 'refuse' : 'blackhole')
      }
      if (atBoot) await begin()
      const app = await startApp(t, { REDIS_URL: outage === 'paused' ? server.url : proxy.url, KEY_PREFIX: ownPrefix(), STORE_TIMEOUT: '200' })
      if (!atBoot) {
        await login(app)
        await begin()
      }
      const response = await fetch(`${app.url}/login`, { method: 'POST' })
      t.equal(response.status, 503)
      t.equal(response.headers.get('retry-after'), '1')
      t.match(await response.json(), { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' })
      await endsCleanly(t, app)
    })
  }
}

/** A handle that is left keeps a process alive: nobody calls process.exit(). */
async function endsCleanly (t: Test, app: AppProcess) {
  // It ends itself with another code if it goes on for seconds, as it lives them.
  t.same(await app.kill('SIGTERM'), { code: 0, signal: null })
}

async function login (app: AppProcess): Promise<Issued> {
  const response = await fetch(`${app.url}/login`, { method: 'POST' })
  return await response.json() as Issued
}

async function get (app: AppProcess, path: string, token: string) {
  const response = await fetch(app.url + path, { headers: bearer(token) })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

async function isRevoked (t: Test, app: AppProcess, path: string, { token }: Issued) {
  t.match(await get(app, path, token), {
    status: 401,
    body: { statusCode: 401, code: 'FST_JWT_REVOKED', error: 'Unauthorized', message: 'Token has been revoked' }
  })
}

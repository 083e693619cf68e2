import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { bareEnv, node } from '../support/child.ts'
import { startRedis } from '../support/redis.ts'
import { filesOf, mistakesIn, place } from '../support/snippets.ts'

const root = join(import.meta.dirname, '..', '..')
/** All TypeScript of the README is one program: what a reader has when they copied each block in turn. */
const { 'index.ts': snippets = '', ...others } = await filesOf('README.md')

/** What a reader would do next. It prints what became of a token before and after its revocation. */
const afterwards = `
const { token, jti } = (await app.inject({ method: 'POST', url: '/login' })).json()
const headers = { authorization: \`Bearer \${token}\` }
const outcomes = [await app.inject({ url: '/me', headers })]
outcomes.push(await app.inject({ method: 'DELETE', url: \`/v1/jwt/history/\${jti}\`, headers }))
outcomes.push(await app.inject({ url: '/me', headers }))
const second = (await app.inject({ method: 'POST', url: '/login' })).json()
const other = { authorization: \`Bearer \${second.token}\` }
outcomes.push(await app.inject({ method: 'POST', url: '/logout', headers: other }))
outcomes.push(await app.inject({ url: '/me', headers: other }))
const root = await admin.revocation.issue({ sub: 'root', role: 'admin' })
const third = (await app.inject({ method: 'POST', url: '/login' })).json()
outcomes.push(await admin.inject({ method: 'DELETE', url: \`/v1/jwt/history/id/\${third.id}\`, headers: { authorization: \`Bearer \${root.token}\` } }))
outcomes.push(await app.inject({ url: '/me', headers: { authorization: \`Bearer \${third.token}\` } }))
console.log(JSON.stringify(outcomes.map(({ statusCode, body }) => [statusCode, JSON.parse(body).code ?? JSON.parse(body).status ?? JSON.parse(body).sub])))
await app.close()
await admin.close()
redis.disconnect()
`

t.test('every snippet of the README compiles, and does what the README says on a real Redis', async (t) => {
  const server = await startRedis(t)
  // A route may not be added to an application that listens.
  const unheard = snippets.replace('await app.listen({ port: 3000 })\n', '')
  t.not(unheard, snippets)
  t.match(snippets, /fastify-jwt-revocation/)
  const dir = await place(t, { 'index.ts': unheard + afterwards }, { redis: server.url })
  const file = join(dir, 'index.ts')
  t.same(await mistakesIn([file]), [])

  const { stdout } = await promisify(execFile)(...node('--import', 'tsx', file), { cwd: root, env: bareEnv() })
  t.same(JSON.parse(stdout.trim().split('\n').at(-1)!), [
    [200, 'alice'], [200, 'revoked'], [401, 'FST_JWT_REVOKED'],
    [200, 'revoked'], [401, 'FST_JWT_REVOKED'],
    [200, 'revoked'], [401, 'FST_JWT_REVOKED']
  ])
})

t.test('so does the snippet that is a file of its own; another test runs it', async (t) => {
  t.strictSame(Object.keys(others), ['sessions.ts'])
  const dir = await place(t, others)
  t.strictSame(await mistakesIn([join(dir, 'sessions.ts')]), [])
})

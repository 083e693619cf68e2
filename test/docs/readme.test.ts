import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import * as errors from '../../lib/errors.ts'
import { resolveOptions } from '../../lib/options.ts'
import { answerOf, bearer, REVOKED } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'
import { recipe } from '../support/snippets.ts'

const readme = await readFile(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8')

t.test('the README names every option and every error', async (t) => {
  const message = (() => {
    try {
      resolveOptions({ nonsense: true } as object)
    } catch (error) {
      return (error as Error).message
    }
  })()
  const options = message!.split('the options are ')[1]!.split(', ')
  t.ok(options.length > 10)
  const tables = readme.split('\n').filter((line) => line.startsWith('| `'))
  for (const name of [...options, ...Object.keys(errors).filter((name) => name.startsWith('FST_'))]) t.ok(tables.some((row) => row.startsWith(`| \`${name}\``)), name)
})

t.test('no paragraph of the README is longer than 500 characters', async (t) => {
  t.strictSame(readme.split('\n').filter((line) => line.length > 500 && !line.startsWith('|')), [])
})

t.test('the second sample of the README keeps a user logged in until somebody logs out', async (t) => {
  const server = await startRedis(t)
  const app = await recipe(t, server, '../../README.md', { name: 'sessions.ts', edits: [['await app.listen({ port: 3000 })\n', '']] })
  const ask = async (url: string, refresh = '') => {
    const response = await app.inject({ method: 'POST', url, cookies: { refresh } })
    return { answer: answerOf(response), cookie: response.cookies.find(({ name }) => name === 'refresh') }
  }
  const login = await ask('/login')
  t.match(login.cookie, { path: '/refresh', httpOnly: true, sameSite: 'Strict', secure: true, expires: new Date(login.answer.body.refreshExpiresAt.replace(/\.\d+/, '')) })
  t.notOk('refreshToken' in login.answer.body)
  const next = await ask('/refresh', login.cookie!.value)
  t.match(next.answer, { statusCode: 200, body: { sid: login.answer.body.sid, refreshExpiresAt: login.answer.body.refreshExpiresAt } })
  t.equal((await ask('/refresh', login.cookie!.value)).cookie!.value, next.cookie!.value, 'the same successor')

  const logOut = (token: string) => app.inject({ method: 'POST', url: '/logout', headers: bearer(token) })
  t.equal((await logOut(login.answer.body.token)).statusCode, 204)
  t.strictSame(answerOf(await logOut(next.answer.body.token)), REVOKED, 'another access token of the session')
  const refused = await ask('/refresh', next.cookie!.value)
  t.match(refused.answer, { statusCode: 401, body: { code: 'FST_JWT_REFRESH_INVALID', message: 'Refresh token is not valid, log in again' } })
  t.match(refused.cookie, { value: '', path: '/refresh' })
})

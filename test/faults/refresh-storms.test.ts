import t, { type Test } from 'tap'
import type { TokenPair } from '../../lib/types.ts'
import { bearer, buildApp, ownPrefix, REVOKED, signed } from '../support/app.ts'
import { startApp, type AppProcess } from '../support/process.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { REFRESH_INVALID, usedSince } from '../support/sessions.ts'

/*
 * Goal: a refresh token that many use at once gives one successor, to three of them at most; and one more use of it after its
 * grace ends the session everywhere.
 * Method: two processes of their own, which wait for the clock of Redis alone, and a replica.
 */

const STORM = 100
/** So long that a busy machine ends the storm within it, in seconds. */
const LONG = 60
/** A process that was given a shorter one, in seconds. */
const SHORT = 1

/** The whole answer to a refresh token that is not valid. */
const INVALID = {
  status: 401,
  challenge: 'Bearer error="invalid_token", error_description="The refresh token is not valid"',
  body: { ...REFRESH_INVALID, error: 'Unauthorized' }
}

async function answerTo (app: AppProcess, path: string, init: RequestInit) {
  const response = await fetch(app.url + path, init)
  const challenge = response.headers.get('www-authenticate')
  return { status: response.status, ...(challenge !== null && { challenge }), body: await response.json() as Record<string, unknown> }
}

const refresh = (app: AppProcess, refreshToken: string) => answerTo(app, '/refresh', {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ refreshToken })
})
const pairOf = ({ body }: Awaited<ReturnType<typeof refresh>>) => body as unknown as TokenPair
const logIn = async (app: AppProcess) => pairOf(await answerTo(app, '/session', { method: 'POST' }))
const me = (app: AppProcess, token: string) => answerTo(app, '/me', { headers: bearer(token) })

/** Of a storm: one to three answers, all with one successor, and no failure. Gives the answers. */
function isWeathered (t: Test, answers: Array<Awaited<ReturnType<typeof refresh>>>) {
  const given = answers.filter(({ status }) => status === 200)
  t.ok(given.length >= 1 && given.length <= 3, `${given.length} of ${answers.length} are given something`)
  const successors = new Set(given.map((answer) => pairOf(answer).refreshToken))
  t.equal(successors.size, 1, 'and all of them the same')
  for (const refused of answers.filter(({ status }) => status !== 200)) t.strictSame(refused, INVALID)
  return given.map(pairOf)
}

t.test(`${STORM} refreshes of one token at once, from two processes`, async (t) => {
  const redis = await startRedis(t)
  const keyPrefix = ownPrefix()
  const env = { REDIS_URL: redis.url, KEY_PREFIX: keyPrefix, STORE_TIMEOUT: '20000', REFRESH: JSON.stringify({ grace: LONG }) }
  const [a, b, replica, strictLater] = await Promise.all([
    startApp(t, env),
    startApp(t, env),
    startApp(t, { ...env, MODE: 'replica' }),
    startApp(t, { ...env, REFRESH: JSON.stringify({ grace: SHORT }) })
  ])
  const everywhere = Object.entries({ a, b, replica, strictLater })
  const spared = await logIn(a)
  const first = await logIn(a)
  // Each process has its connections.
  for (const [, app] of everywhere) t.equal((await me(app, first.token)).status, 200)

  const answers = await Promise.all(Array.from({ length: STORM }, (_, i) => refresh([a, b][i % 2]!, first.refreshToken)))
  const given = isWeathered(t, answers)
  const second = given[0]!
  t.equal(new Set(given.map(({ jti }) => jti)).size, given.length, 'each has an access token of its own')
  for (const { token, id, sid } of given) {
    t.strictSame([id, sid], [first.id, first.sid])
    for (const [name, app] of everywhere) t.equal((await me(app, token)).status, 200, `${name} accepts what was given`)
  }

  const next = await refresh(b, second.refreshToken)
  t.equal(next.status, 200, 'the successor works')
  const third = pairOf(next)
  t.strictSame(await refresh(a, first.refreshToken), INVALID, 'within the grace nothing more is given')
  t.equal((await me(a, third.token)).status, 200, 'and nothing ends')

  await usedSince(redis, keyPrefix, first.refreshToken, SHORT * 1000)
  t.strictSame(await refresh(strictLater, first.refreshToken), INVALID, 'one more use after the grace')
  const access = [first, ...given, third].map(({ token }) => token)
  for (const [name, app] of everywhere) {
    t.strictSame(await refresh(app, third.refreshToken), INVALID, `${name} refuses the latest refresh token`)
    t.strictSame(await refresh(app, second.refreshToken), INVALID, `${name} refuses the one before`)
    for (const token of access) {
      // Only the replica need not know at once.
      if (name === 'replica') await eventually('it has read the log', async () => (await me(app, token)).status === 401)
      const { statusCode, ...whole } = REVOKED
      t.strictSame(await me(app, token), { status: statusCode, ...whole }, `${name} refuses its access tokens`)
    }
    t.equal((await me(app, spared.token)).status, 200, `${name} accepts the user's other session`)
  }
  t.equal((await refresh(replica, spared.refreshToken)).status, 200)
})

t.test('storms of several tokens at once, of the replica and of the strict process', async (t) => {
  const redis = await startRedis(t)
  const env = { REDIS_URL: redis.url, KEY_PREFIX: ownPrefix(), STORE_TIMEOUT: '20000', REFRESH: JSON.stringify({ grace: LONG }) }
  const apps = await Promise.all([startApp(t, env), startApp(t, { ...env, MODE: 'replica' })])
  const pairs = await Promise.all(Array.from({ length: 8 }, () => logIn(apps[0]!)))
  for (const app of apps) await me(app, pairs[0]!.token)
  const storms = await Promise.all(pairs.map(({ refreshToken }) => {
    return Promise.all(Array.from({ length: 12 }, (_, i) => refresh(apps[i % 2]!, refreshToken)))
  }))
  const all = new Set<string>()
  for (const storm of storms) {
    const [pair] = isWeathered(t, storm)
    all.add(pair!.refreshToken)
    t.equal((await refresh(apps[1]!, pair!.refreshToken)).status, 200)
  }
  t.equal(all.size, pairs.length, 'each session has its own')
})

t.test('a storm in one process, on memory', async (t) => {
  const app = await buildApp(t, { revocation: { refresh: {} } })
  const { refreshToken } = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
  const outcomes = await Promise.allSettled(Array.from({ length: STORM }, () => app.revocation.refresh(refreshToken)))
  const given = outcomes.flatMap((outcome) => outcome.status === 'fulfilled' ? [outcome.value] : [])
  t.equal(given.length, 3)
  t.equal(new Set(given.map(({ refreshToken }) => refreshToken)).size, 1)
  for (const outcome of outcomes) if (outcome.status === 'rejected') t.match(outcome.reason, REFRESH_INVALID)
  const next = await app.revocation.refresh(given[0]!.refreshToken)
  t.equal((await app.inject({ url: '/me', headers: bearer(next.token) })).statusCode, 200)
  // What the list shows is the token of the last refresh.
  const { tokens } = await app.revocation.tokens('alice')
  t.match(tokens, [{ id: next.id, jti: next.jti, session: true, status: 'active' }])
  t.equal(tokens.length, 1)
  await t.rejects(app.revocation.refresh(await signed({ sub: 'alice' })), REFRESH_INVALID, 'an access token is none')
})

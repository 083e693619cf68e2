import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { bearer, genuine } from './app.ts'
import type { Milliseconds } from '../../lib/time.ts'

const HISTORY = '/v1/jwt/history'

export const ACCEPTED = '200'
export const REFUSED = '401 FST_JWT_REVOKED Token has been revoked'
export const UNAVAILABLE = '503 FST_JWT_REVOCATION_UNAVAILABLE Token revocation is unavailable, try again'

/** What `outcomesOf` finds where every promise is kept. */
export const KEPT = {
  'a token that was issued': [ACCEPTED, ACCEPTED],
  'a token of another signer': [ACCEPTED, ACCEPTED],
  'revoked by its jti': [ACCEPTED, REFUSED, REFUSED],
  'revoked by its jti, of another signer': [ACCEPTED, REFUSED, REFUSED],
  'revoked by its id': [ACCEPTED, REFUSED, REFUSED],
  'revoked again': [ACCEPTED, REFUSED, REFUSED],
  'listed, page by page': ['active', 'revoked', 'revoked'],
  'its record': 'active',
  'recorded on use': true,
  'isRevoked()': [false, true],
  'all but one': [ACCEPTED, REFUSED, REFUSED],
  'the one': [ACCEPTED, ACCEPTED],
  'revoked by its subject': [ACCEPTED, REFUSED, REFUSED],
  'issued after that': [ACCEPTED, ACCEPTED],
  'revoked by its subject, in the same second': [ACCEPTED, REFUSED, REFUSED]
}

/** What `sessionsOf` finds where every promise of sessions is kept. */
export const SESSIONS_KEPT = {
  'refreshed here and there': [ACCEPTED, ACCEPTED],
  'used at once here and there': 'one successor',
  'listed once': ['active'],
  'ended by the jti of an older token': [REFUSED, REFUSED],
  'refreshed after that': ['401 FST_JWT_REFRESH_INVALID Refresh token is not valid, log in again'],
  'listed after that': ['revoked']
}

export type Outcomes = { [name in keyof typeof KEPT]: unknown }

/** Status, code and message. */
export async function answer (app: FastifyInstance, method: 'GET' | 'DELETE', url: string, token: string): Promise<string> {
  const response = await app.inject({ method, url, headers: bearer(token) })
  const { code = '', message = '' } = response.json()
  return `${response.statusCode} ${code} ${message}`.trimEnd()
}

export const me = (app: FastifyInstance, token: string) => answer(app, 'GET', '/me', token)

/** As `me`, of a token that was revoked elsewhere: a replica may hear of it a little later. */
export async function meAfter (app: FastifyInstance, token: string, patience: Milliseconds): Promise<string> {
  const end = performance.now() + patience
  for (;;) {
    const found = await me(app, token)
    if (found !== ACCEPTED || performance.now() > end) return found
    await sleep(10)
  }
}

/** Asks for everything the plugin promises, by one application and then by another on the same Redis. Nothing is thrown. */
export async function outcomesOf (app: FastifyInstance, neighbour: FastifyInstance, patience: Milliseconds = 0): Promise<Outcomes> {
  const { revocation } = app
  const sub = `${randomUUID()}/{${randomUUID()}}`
  const outcomes: Record<string, unknown> = {}
  const attempt = async (name: keyof Outcomes, act: () => Promise<unknown>) => {
    outcomes[name] = await act().catch((error) => `${error.statusCode} ${error.code} ${error.message}`)
  }
  const everywhere = async (token: string) => [await me(app, token), await me(neighbour, token)]
  const afterDelete = async (path: string, caller: string, token: string) =>
    [await answer(app, 'DELETE', HISTORY + path, caller), await me(app, token), await meAfter(neighbour, token, patience)]
  const issue = async () => revocation.issue({ sub }).catch(() => genuine({ sub })).then((issued) => ({ id: 'none', ...issued }))
  const list = async (query = '') => {
    const response = await app.inject({ url: HISTORY + query, headers: bearer(caller.token) })
    return response.json() as { tokens: Array<{ jti: string, status: string }>, cursor: string }
  }
  const own = `/sub/${encodeURIComponent(sub)}`

  const caller = await issue()
  const [byJti, byId] = [await issue(), await issue()]
  const foreign = await genuine({ sub })
  await attempt('a token that was issued', async () => everywhere((await revocation.issue({ sub: randomUUID() })).token))
  await attempt('a token of another signer', () => everywhere(foreign.token))
  await attempt('recorded on use', async () => {
    for (let tries = 0; tries < 40; tries++) {
      if ((await list()).tokens?.some(({ jti }) => jti === foreign.jti)) return true
      await sleep(50)
    }
    return false
  })
  await attempt('revoked by its jti', () => afterDelete(`/${byJti.jti}`, caller.token, byJti.token))
  await attempt('revoked by its id', () => afterDelete(`/id/${byId.id}`, caller.token, byId.token))
  await attempt('revoked again', () => afterDelete(`/${byJti.jti}`, caller.token, byJti.token))
  await attempt('revoked by its jti, of another signer', async () => {
    const { jti, token } = await genuine({ sub: randomUUID(), iss: 'https://issuer.example' })
    return afterDelete(`/${jti}`, token, token)
  })
  await attempt('listed, page by page', async () => {
    const { tokens, cursor } = await list('?limit=2')
    const next = await list(`?limit=2&cursor=${cursor}`)
    const listed = [...tokens, ...next.tokens].filter(({ jti }) => jti !== foreign.jti)
    return listed.map(({ status }) => status).sort()
  })
  await attempt('its record', async () => {
    const response = await app.inject({ url: `${HISTORY}/id/${caller.id}`, headers: bearer(caller.token) })
    return response.json().status
  })
  await attempt('isRevoked()', () => Promise.all([caller, byId].map(({ token }) => revocation.isRevoked(app.jwt.decode(token)!))))
  await attempt('all but one', () => afterDelete(`${own}?except=current`, caller.token, foreign.token))
  await attempt('the one', () => everywhere(caller.token))
  await attempt('revoked by its subject', () => afterDelete(own, caller.token, caller.token))
  const fresh = await issue()
  await attempt('issued after that', () => everywhere(fresh.token))
  await attempt('revoked by its subject, in the same second', () => afterDelete(own, fresh.token, fresh.token))
  return outcomes as Outcomes
}

/** As `outcomesOf`, of a session that both applications refresh. */
export async function sessionsOf (app: FastifyInstance, neighbour: FastifyInstance, patience: Milliseconds = 0) {
  const sub = randomUUID()
  const outcomes: Record<string, unknown> = {}
  const attempt = async (name: keyof typeof SESSIONS_KEPT, act: () => Promise<unknown>) => {
    outcomes[name] = await act().catch((error) => [`${error.statusCode} ${error.code} ${error.message}`])
  }
  const first = await app.revocation.issue({ sub }, { refresh: true })
  let pair = first
  await attempt('refreshed here and there', async () => {
    const found = []
    for (const each of [app, neighbour]) {
      pair = await each.revocation.refresh(pair.refreshToken)
      found.push(await me(neighbour, pair.token))
    }
    return found
  })
  await attempt('used at once here and there', async () => {
    const pairs = await Promise.all([app, neighbour].map((each) => each.revocation.refresh(pair.refreshToken)))
    pair = pairs[0]!
    return new Set(pairs.map(({ refreshToken }) => refreshToken)).size === 1 ? 'one successor' : pairs
  })
  const listed = async () => (await neighbour.revocation.tokens(sub)).tokens.map(({ status }) => status)
  await attempt('listed once', listed)
  await attempt('ended by the jti of an older token', async () => {
    await app.revocation.revoke({ jti: first.jti })
    return [await me(app, pair.token), await meAfter(neighbour, pair.token, patience)]
  })
  await attempt('refreshed after that', () => neighbour.revocation.refresh(pair.refreshToken))
  await attempt('listed after that', listed)
  return outcomes
}

import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { refreshHashOf } from '../../lib/domain/refresh-token.ts'
import type { SpentRefresh } from '../../lib/stores/refresh.ts'
import type { TokenPair } from '../../lib/types.ts'
import { answerOf, bearer, REVOKED } from './app.ts'
import { postLogout, type startProvider } from './provider.ts'
import { eventually, type RedisServer } from './redis.ts'

/** What `refresh()` throws where a refresh token is not valid. */
export const REFRESH_INVALID = {
  statusCode: 401, code: 'FST_JWT_REFRESH_INVALID', message: 'Refresh token is not valid, log in again'
}

/** What is kept of a refresh token; null: nothing is. */
export async function keptOf (server: RedisServer, keyPrefix: string, refreshToken: string): Promise<SpentRefresh | null> {
  const value = await server.cli('GET', `${keyPrefix}refresh:${refreshHashOf(refreshToken)}`)
  return value === '' ? null : JSON.parse(value)
}

/** Resolves once a refresh token was used so long ago by the clock of Redis. */
export async function usedSince (server: RedisServer, keyPrefix: string, refreshToken: string, milliseconds: number) {
  const { used } = (await keptOf(server, keyPrefix, refreshToken))!
  for (;;) {
    const [seconds, micros] = (await server.cli('TIME')).split('\n').map(Number) as [number, number]
    const left = used * 1000 + milliseconds - (seconds * 1000 + micros / 1000)
    if (left <= 0) return
    await sleep(left + 2)
  }
}

export const statusOf = async (app: FastifyInstance, token: string) => answerOf(await app.inject({ url: '/me', headers: bearer(token) }))

/** The session is at an end for every process: its access tokens, its refresh tokens, and its line of the list. */
export async function isEnded (
  t: Test, apps: Record<string, FastifyInstance>, { id, sub }: { id: string, sub: string }, access: string[], refresh: string[]
) {
  for (const [name, app] of Object.entries(apps)) {
    for (const token of access) {
      // A replica hears of it a moment later.
      await eventually(`${name} refuses`, async () => (await statusOf(app, token)).statusCode === 401)
      t.strictSame(await statusOf(app, token), REVOKED, `${name} refuses an access token`)
    }
    for (const token of refresh) await t.rejects(app.revocation.refresh(token), REFRESH_INVALID, `${name} refuses a refresh token`)
    const { tokens } = await app.revocation.tokens(sub)
    t.strictSame(tokens.filter((token) => token.id === id).map(({ status }) => status), ['revoked'], `${name} lists it as revoked, once`)
  }
}

/** A session of a subject of its own, with the tokens that it had. */
export interface Scene {
  sub: string
  tenant: string
  /** The first pair, and the one that followed. */
  first: TokenPair
  pair: TokenPair
}

/** Logs in and refreshes once. */
export async function logIn (app: FastifyInstance): Promise<Scene> {
  const [sub, tenant] = [randomUUID(), randomUUID()]
  const first = await app.revocation.issue({ sub, tenant }, { refresh: true })
  return { sub, tenant, first, pair: await app.revocation.refresh(first.refreshToken) }
}

type Provider = Awaited<ReturnType<typeof startProvider>>
type LogOut = (app: FastifyInstance, scene: Scene) => Promise<unknown>

const over = async (app: FastifyInstance, path: string, token: string) => {
  const response = await app.inject({ method: 'DELETE', url: `/v1/jwt/history/${path}`, headers: bearer(token) })
  if (response.statusCode !== 200) throw new Error(response.body)
}

/**
 * Each door that ends a session. The first refresh token was used longer ago than its grace. A device of the same subject
 * logs in for `except`.
 */
export const doors = (provider: Provider): Record<string, LogOut> => ({
  'the jti of the latest access token': (app, { pair }) => app.revocation.revoke({ jti: pair.jti }),
  'the jti of an older access token, over HTTP': (app, { first }) => over(app, first.jti, first.token),
  'the id of the record': (app, { pair }) => app.revocation.revokeById(pair.id),
  'the id of the record, over HTTP': (app, { pair }) => over(app, `id/${pair.id}`, pair.token),
  'the sid': (app, { pair }) => app.revocation.revokeSession(pair.sid),
  'the sid, over HTTP': (app, { pair }) => over(app, `sid/${pair.sid}`, pair.token),
  'the subject': (app, { sub }) => app.revocation.revokeSubject(sub),
  'the subject, over HTTP': (app, { sub, pair }) => over(app, `sub/${sub}`, pair.token),
  'another device that spares itself': async (app, { sub }) => {
    const other = await app.revocation.issue({ sub, tenant: 'other' }, { refresh: true })
    await over(app, `sub/${sub}?except=current`, other.token)
    // The one that was spared goes on.
    await app.revocation.refresh(other.refreshToken)
  },
  'a listed claim': (app, { tenant }) => app.revocation.revokeBy('tenant', tenant),
  'the provider, by the sid': async (app, { pair }) => {
    const response = await postLogout(app, await provider.logoutToken({ sid: pair.sid }))
    if (response.statusCode !== 200) throw new Error(response.body)
  },
  'the provider, by the subject': async (app, { sub }) => {
    const response = await postLogout(app, await provider.logoutToken({ sub }))
    if (response.statusCode !== 200) throw new Error(response.body)
  },
  'the use of an older refresh token': async (app, { first }) => {
    await app.revocation.refresh(first.refreshToken).then(
      () => { throw new Error('it was not refused') },
      (error) => { if (error.code !== REFRESH_INVALID.code) throw error }
    )
  }
})

// First of all: a module may take the clock that it finds.
import { setRight } from './clock.ts'
import fastifyJwt from '@fastify/jwt'
import { randomUUID } from 'node:crypto'
import Fastify, { LogController } from 'fastify'
import type { AddressInfo } from 'node:net'
import { revocationPlugin } from '../../lib/index.ts'
import { now, type Interval, type Telling } from './history.ts'
import type { Milliseconds } from '../../lib/time.ts'

/*
 * One application of the chaos, as a process of its own. It tells its parent where it listens, when it did not run, what
 * its audit log says, and what it says of itself as a replica; and ends with its parent.
 */

export type Message =
  /** `rightFrom`: from when on its clock is right, where it is not at the start. */
  | { listens: number, rightFrom?: Milliseconds }
  | { stalled: Interval }
  | { tells: Telling }
  | { at: number, inStepAt: number }

const SAMPLE = 50
/** A timer is late by as much on a busy machine. */
const STALL = 100

const PROVIDER = { issuer: 'https://provider.test', audience: 'chaos' }
const LOGOUT = { 'http://schemas.openid.net/event/backchannel-logout': {} }

const { JWT_SECRET, REVOCATION } = process.env as Record<string, string>
const tell = (message: Message) => { process.send?.(message) }
process.once('disconnect', () => process.exit())

/** Takes lines of the log. The parent is told at once, so that it knows even if it kills this process next. */
const stream = {
  write (line: string) {
    if (!line.includes('authn_token_revoked')) return
    const { event, jti, sub, sid, value, cutoff, revokedAt, by } = JSON.parse(line)
    if (event !== 'authn_token_revoked') return
    const second = revokedAt === undefined ? {} : { revokedAt: Date.parse(revokedAt) / 1000 }
    tell({ tells: { at: now(), jti, sub, sid, tenant: value, cutoff, by: by?.sub, ...second } })
  }
}

const app = Fastify({
  routerOptions: { maxParamLength: 255 },
  logger: { level: 'info', stream },
  logController: new LogController({ disableRequestLogging: true })
})
// A client may take up an idle connection in the moment in which the server ends it, above all after a pause. It then meets
// ECONNRESET, which would look like a fault of the plugin. Fastify's option takes 0 for its default of 72 s.
app.server.keepAliveTimeout = 0
await app.register(fastifyJwt, { secret: JWT_SECRET!, sign: { expiresIn: '15m' } })
await app.register(revocationPlugin, {
  ...JSON.parse(REVOCATION!),
  claims: { sid: 'sid' },
  revocableBy: ['tenant'],
  backchannelLogout: { ...PROVIDER, tokenIssuer: '' },
  authorize: (_request, { action }) => action === 'revokeBy'
})

interface Claims { sub: string, sid?: string, tenant?: string }
type Asked = { Querystring: Claims & { seconds: string, refresh?: string } }
/** The application's own part: no token, or one that the call looks at itself. */
const OPEN = { config: { revocation: false } }

app.post<Asked>('/login', OPEN, async ({ query: { seconds, refresh, ...claims } }) => {
  const expiresIn = Number(seconds)
  return refresh === undefined
    ? app.revocation.issue(claims, { expiresIn })
    : app.revocation.issue(claims, { expiresIn, refresh: true })
})
app.post<{ Querystring: { token: string, seconds: string } }>('/refresh', OPEN, async ({ query: { token, seconds } }) => {
  return app.revocation.refresh(token, { expiresIn: Number(seconds) })
})
// An identity provider knows nothing of what was revoked here.
app.post<Asked>('/provider/login', OPEN, async ({ query: { seconds, ...claims } }) => {
  const jti = randomUUID()
  return { jti, token: app.jwt.sign({ ...claims, jti }, { expiresIn: Number(seconds) }) }
})
app.post('/logout', OPEN, (request) => app.revocation.revokeSession(request))
// As a provider posts it, but with an answer in the words of all others.
app.post<{ Querystring: { sid: string } }>('/provider/logout', OPEN, async ({ query: { sid } }, reply) => {
  const { issuer: iss, audience: aud } = PROVIDER
  const token = app.jwt.sign({ iss, aud, sid, jti: randomUUID(), events: LOGOUT }, { expiresIn: 60 })
  const { statusCode, body, headers } = await app.inject({
    method: 'POST',
    url: '/backchannel-logout',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: `logout_token=${token}`
  })
  const isUnavailable = statusCode === 503 && body === '{"error":"temporarily_unavailable"}'
  reply.code(statusCode)
  if (headers['retry-after'] !== undefined) reply.header('retry-after', headers['retry-after'])
  return isUnavailable ? { code: 'FST_JWT_REVOCATION_UNAVAILABLE' } : { body }
})
app.post<{ Params: { tenant: string } }>('/ends/:tenant', OPEN, async ({ params }) => {
  return app.revocation.revokeBy('tenant', params.tenant)
})
app.get('/verifies', { onRequest: (request) => request.jwtVerify() }, async () => ({}))
app.get('/verifies-late', async (request) => {
  await request.jwtVerify()
  return {}
})
app.get('/verifies-itself', { config: { revocation: false } }, async (request) => {
  await request.jwtVerify({ onlyCookie: false })
  return {}
})
app.get('/does-not-verify', async () => ({}))

await app.listen({ host: '127.0.0.1', port: 0 })
// The first request of a process is slower than any later one.
await app.inject({ url: '/verifies' })
const rightFrom = setRight()
tell({ listens: (app.server.address() as AddressInfo).port, ...(rightFrom !== undefined && { rightFrom }) })

let last = now()
setInterval(() => {
  const at = now()
  if (at - last > SAMPLE + STALL) tell({ stalled: { from: last, to: at } })
  last = at
  const { stalenessMs } = app.revocation.status()
  if (stalenessMs !== undefined) tell({ at, inStepAt: at - stalenessMs })
}, SAMPLE)

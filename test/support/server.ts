import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import type { AddressInfo } from 'node:net'
import { revocationPlugin } from '../../lib/index.ts'
import { SECRET } from './app.ts'
import { lived } from './lived.ts'

// An application as a process of its own: prints its port, closes on SIGTERM. The embedded store without REDIS_URL.
const { REDIS_URL, KEY_PREFIX = 'jwt:', STORE_TIMEOUT = '500', MODE = 'strict', SECONDS_AHEAD = '0', REFRESH } = process.env

/** How long it may take to end, and the code with which it ends then. */
const CLOSING = 3000
const TOO_LATE = 3

// The clock of this process, which a test sets: whoever asks Date.now gets its time.
let ahead = Number(SECONDS_AHEAD)
const { now } = Date
Date.now = () => now() + ahead * 1000

const app = Fastify({ routerOptions: { maxParamLength: 255 } })
await app.register(fastifyJwt, { secret: SECRET, sign: { expiresIn: '15m' } })
await app.register(revocationPlugin, {
  ...(REDIS_URL && { redis: REDIS_URL }),
  keyPrefix: KEY_PREFIX,
  storeTimeout: Number(STORE_TIMEOUT),
  mode: MODE as 'strict' | 'replica',
  ...(REFRESH && { refresh: JSON.parse(REFRESH) })
})
app.post('/login', async () => app.revocation.issue({ sub: 'alice' }))
app.post('/session', async () => app.revocation.issue({ sub: 'alice' }, { refresh: true }))
app.post('/refresh', { config: { revocation: false } }, async (request) => {
  const { refreshToken, meta } = request.body as { refreshToken: string, meta?: Record<string, unknown> }
  return app.revocation.refresh(refreshToken, { ...(meta && { meta }) })
})
app.get('/me', { onRequest: (request) => request.jwtVerify() }, async (request) => request.user)
app.get('/public', async () => ({}))
app.get('/status', async () => app.revocation.status())
app.post('/clock/:ahead', async (request) => { ahead = Number((request.params as { ahead: string }).ahead) })

process.once('SIGTERM', () => {
  app.close()
  // As this process lives it, and only if something else keeps it: a busy machine keeps it waiting as well.
  const closed = lived()
  setInterval(() => { if (lived() - closed >= CLOSING) process.exit(TOO_LATE) }, 50).unref()
})
await app.listen({ host: '127.0.0.1', port: 0 })
console.log((app.server.address() as AddressInfo).port)

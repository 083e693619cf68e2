/*
 * A small application whose tokens can be taken back, and whose users stay logged in. `npm start` runs it; REDIS_URL makes
 * several of them share sessions and what is revoked.
 */
import fastifyCookie from '@fastify/cookie'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { randomBytes } from 'node:crypto'
import { FST_JWT_REFRESH_INVALID, revocationPlugin, type TokenPair } from '../lib/index.ts'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    user: { sub: string, role: string }
  }
}

const { PORT = '3000', HOST = '127.0.0.1', REDIS_URL, JWT_SECRET = randomBytes(32).toString('hex') } = process.env

// A demonstration: a real application keeps hashes of passwords, elsewhere.
const users = new Map([
  ['alice', { password: 'wonderland', role: 'user' }],
  ['bob', { password: 'builder', role: 'user' }],
  ['root', { password: 'toor', role: 'admin' }]
])

const app = Fastify({ logger: { level: 'warn' }, routerOptions: { maxParamLength: 255 } })

await app.register(fastifySwagger, {
  openapi: {
    info: { title: 'Tokens that can be taken back', version: '1.0.0' },
    components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } }
  }
})
await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
await app.register(fastifyCookie)
await app.register(revocationPlugin, {
  jwt: { secret: JWT_SECRET, sign: { expiresIn: '15m' }, cookie: { cookieName: 'token', signed: false } },
  ...(REDIS_URL && { redis: REDIS_URL }),
  refresh: { expiresIn: '30d' },
  routes: { security: [{ bearerAuth: [] }] },
  // Without this, a token can be revoked by itself and by its own subject only.
  authorize: (request) => request.user.role === 'admin'
})

interface Login { Body: { user: string, password: string } }
const loginSchema = {
  body: {
    type: 'object',
    required: ['user', 'password'],
    properties: { user: { type: 'string' }, password: { type: 'string' } }
  }
}

// No script sees a cookie. The browser sends `refresh` to /refresh alone, and neither for a page of another site.
const TOKEN = { path: '/', httpOnly: true, sameSite: 'strict', secure: 'auto' } as const
const REFRESH = { ...TOKEN, path: '/refresh' } as const

/** Gives the refresh token to the browser alone, and all else to whoever asked. */
function keepRefresh (reply: FastifyReply, { refreshToken, ...pair }: TokenPair) {
  reply.setCookie('refresh', refreshToken, { ...REFRESH, expires: new Date(pair.refreshExpiresAt) })
  return pair
}

/** Gives the token to the browser alone as well. */
function keepToken (reply: FastifyReply, { token, ...rest }: Omit<TokenPair, 'refreshToken'>) {
  reply.setCookie('token', token, TOKEN)
  return rest
}

function forget (reply: FastifyReply) {
  reply.clearCookie('token', TOKEN).clearCookie('refresh', REFRESH)
}

async function logIn ({ body: { user, password }, headers, ip }: FastifyRequest<Login>, reply: FastifyReply) {
  const known = users.get(user)
  if (known?.password !== password) throw Object.assign(new Error('Wrong user or password'), { statusCode: 401 })
  const meta = { agent: headers['user-agent']?.slice(0, 200), ip }
  return keepRefresh(reply, await app.revocation.issue({ sub: user, role: known.role }, { refresh: true, meta }))
}

async function refresh ({ cookies }: FastifyRequest, reply: FastifyReply) {
  try {
    return keepRefresh(reply, await app.revocation.refresh(cookies.refresh, {
      // The role may have changed since the login.
      claims: ({ sub }) => ({ sub, role: users.get(String(sub))?.role })
    }))
  } catch (error) {
    // Whatever else failed, the session may go on.
    if (error instanceof FST_JWT_REFRESH_INVALID) forget(reply)
    throw error
  }
}

// The cookie of a token that was revoked, or has expired, must not stand in the way: these routes do not look at it.
const open = { config: { revocation: false } }
const verified = { onRequest: (request: FastifyRequest) => request.jwtVerify() }

app.post<Login>('/login', { ...open, schema: loginSchema }, logIn)
app.post('/refresh', open, refresh)

// For a browser.
app.post<Login>('/login/cookie', { ...open, schema: loginSchema }, async (request, reply) => keepToken(reply, await logIn(request, reply)))
app.post('/refresh/cookie', open, async (request, reply) => keepToken(reply, await refresh(request, reply)))

app.get('/me', verified, async (request) => request.user)

// This device. With a token that has expired the client refreshes first.
app.post('/logout', verified, async (request, reply) => {
  const revoked = await app.revocation.revoke(request)
  forget(reply)
  return revoked
})

app.post('/logout/everywhere', verified, async (request, reply) => {
  const revoked = await app.revocation.revokeSubject(request)
  forget(reply)
  return revoked
})

app.get('/health', { config: { revocation: false } }, async (_request, reply) => {
  const status = app.revocation.status()
  return reply.code(status.available ? 200 : 503).send(status)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { app.close() })

const url = await app.listen({ port: Number(PORT), host: HOST })

console.log(`
Listening on ${url}, revocations are kept in ${REDIS_URL ? 'Redis' : 'this process (set REDIS_URL to share them)'}.
Its API: ${url}/docs. Paste this into another terminal, line by line:

# log in, and use the token
LOGIN=$(curl -s ${url}/login -H 'Content-Type: application/json' -d '{"user":"alice","password":"wonderland"}')
TOKEN=$(echo "$LOGIN" | sed 's/.*"token":"\\([^"]*\\)".*/\\1/'); JTI=$(echo "$LOGIN" | sed 's/.*"jti":"\\([^"]*\\)".*/\\1/')
curl -sw '\\n' ${url}/me -H "Authorization: Bearer $TOKEN"

# take it back: from now on it is refused
curl -sw '\\n' -X DELETE ${url}/v1/jwt/history/$JTI -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN"
curl -siw '\\n' ${url}/me -H "Authorization: Bearer $TOKEN"

# the same with cookies: stay logged in, then log out
curl -sw '\\n' -c jar.txt ${url}/login/cookie -H 'Content-Type: application/json' -d '{"user":"bob","password":"builder"}'
curl -sw '\\n' -b jar.txt -c jar.txt -X POST ${url}/refresh/cookie
curl -sw '\\n' -b jar.txt ${url}/me
curl -sw '\\n' -b jar.txt -X POST ${url}/logout
curl -siw '\\n' -b jar.txt ${url}/me
curl -siw '\\n' -b jar.txt -X POST ${url}/refresh/cookie

# log in twice, list the devices, and log out the other one
ONE=$(curl -s ${url}/login -H 'Content-Type: application/json' -d '{"user":"bob","password":"builder"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
TWO=$(curl -s ${url}/login -H 'Content-Type: application/json' -d '{"user":"bob","password":"builder"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
curl -sw '\\n' ${url}/v1/jwt/history -H "Authorization: Bearer $ONE"
curl -sw '\\n' -X DELETE "${url}/v1/jwt/history/sub/bob?except=current" -H "Authorization: Bearer $ONE"
curl -siw '\\n' ${url}/me -H "Authorization: Bearer $TWO"

# an administrator takes back somebody else's, by the id of its record
BOB=$(curl -s ${url}/login -H 'Content-Type: application/json' -d '{"user":"bob","password":"builder"}')
ROOT=$(curl -s ${url}/login -H 'Content-Type: application/json' -d '{"user":"root","password":"toor"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
curl -sw '\\n' -X DELETE ${url}/v1/jwt/history/id/$(echo "$BOB" | sed 's/.*"id":"\\([^"]*\\)".*/\\1/') -H "Authorization: Bearer $ROOT"
curl -siw '\\n' ${url}/me -H "Authorization: Bearer $(echo "$BOB" | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')"
`)

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, RegisterOptions } from 'fastify'
import { types } from 'node:util'
import type { AuditLog } from '../domain/audit.ts'
import type { Decorator } from '../domain/decorator.ts'
import {
  LOGOUT_RULES, readLogoutToken, type Logout, type LogoutExpectation, type LogoutRule
} from '../domain/logout-token.ts'
import { Logouts, type Provider } from '../domain/logouts.ts'
import { badOption } from '../errors.ts'
import { systemClock } from '../time.ts'
import { requestPrototype } from './fastify-internals.ts'
import type { Guard } from './guard.ts'
import { clockTolerance, findJwt, optionsOf, type GuardedJwt, type Verify } from './jwt.ts'
import { isOfApplication, isOfKeys } from './key-failure.ts'
import { verifyDecorator } from './verify-decorator.ts'

export interface LogoutContext extends Pick<RegisterOptions, 'logLevel' | 'logSerializers'> {
  revocation: Decorator
  backchannelLogout: Provider[] | undefined
  guarded: GuardedJwt[]
  guards: Guard[]
  namespaces: Array<string | undefined>
  log: AuditLog
}

const FORM = 'application/x-www-form-urlencoded'
const MAX_BODY = 16 * 1024
/** No part of the application's API: `@fastify/swagger` knows this property, Fastify does not. */
const HIDDEN: object = { hide: true }
/** What Fastify says of a body that is too large, of another type, or cut short. */
const OF_BODY = /^FST_ERR_CTP_/
/** All of them are there: the rules say so. The application's own would mean its access tokens. */
const CLAIMS = ['iss', 'aud', 'iat', 'jti', 'events']

/** Verifies a token for a request, and rejects with what `@fastify/jwt` says of it. */
type VerifySignature = (request: FastifyRequest, token: string) => Promise<void>

/**
 * The routes to which identity providers post log-outs (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8).
 * @throws FST_JWT_REVOCATION_BAD_OPTION
 */
export async function registerLogout (app: FastifyInstance, context: LogoutContext) {
  const { revocation, backchannelLogout = [], logLevel, logSerializers, log } = context
  for (const provider of backchannelLogout) {
    const { jwt, original } = verifierOf(app, provider, context)
    const cutoffs = revocation.revoker.cutoffs
    const logouts = new Logouts(provider, { cutoffs, log, clock: systemClock })
    const { algorithms } = optionsOf(jwt.jwt).verify as { algorithms?: unknown[] }
    const expected = { ...provider, algorithms, clockTolerance: clockTolerance(jwt) }
    const verify = verifySignature(original, jwt, provider)
    await app.register(async (scope) => addRoute(scope, { path: provider.path, expected, logouts, verify }), {
      ...(logLevel && { logLevel }), ...(logSerializers && { logSerializers })
    })
  }
}

/** The `@fastify/jwt` that has the provider's keys, and its verify decorator, without a guard before it. */
function verifierOf (
  app: FastifyInstance, { namespace }: Provider, { guarded, guards, namespaces }: LogoutContext
): { jwt: GuardedJwt, original: Verify } {
  const i = namespace === undefined ? 0 : namespaces.indexOf(namespace)
  const jwt = guarded[i] ?? findJwt(app, namespace, undefined)
  const { checkTyp, allowedNonce } = optionsOf(jwt.jwt).verify
  const refusing = checkTyp ? 'checkTyp' : allowedNonce ? 'allowedNonce' : undefined
  if (refusing !== undefined) {
    throw badOption(`option "backchannelLogout" can not go with verify: { ${refusing} } of @fastify/jwt, ` +
      'which logout tokens do not pass; register a namespace of @fastify/jwt for the provider, ' +
      'and name it: backchannelLogout: { namespace }')
  }
  if (guards[i] !== undefined) return { jwt, original: guards[i].original }
  if (typeof requestPrototype(app)[jwt.verifyName] !== 'function') {
    throw badOption(`option "backchannelLogout" finds no request decorator "${jwt.verifyName}"; ` +
      `register the namespace "${namespace}" of @fastify/jwt without a "jwtVerify" of its own`)
  }
  return { jwt, original: verifyDecorator(app, jwt) }
}

function verifySignature (original: Verify, { jwt }: GuardedJwt, provider: Provider): VerifySignature {
  const { issuer, audiences } = provider
  const userKey = jwt.options.decoratorName
  const options = {
    allowedIss: issuer,
    allowedAud: audiences,
    requiredClaims: CLAIMS,
    ignoreExpiration: false,
    // A verifier that is made for one token needs no cache.
    cache: false
  }
  return (givenRequest, token) => new Promise((resolve, reject) => {
    const request = givenRequest as FastifyRequest & Record<PropertyKey, unknown>
    const userBefore = request[userKey]
    original.call(request, { verify: { ...options, extractToken: () => token } }, (error, user) => {
      request[userKey] = userBefore
      if (error) return reject(error)
      // Nobody gets what formatUser made of it.
      if (types.isPromise(user)) user.catch(() => {})
      resolve()
    })
  })
}

interface Route {
  path: string
  expected: LogoutExpectation
  logouts: Logouts
  verify: VerifySignature
}

function addRoute (scope: FastifyInstance, { path, expected, logouts, verify }: Route) {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => done(null, body))
  scope.addHook('onRequest', async (_request, reply) => { reply.header('cache-control', 'no-store') })
  scope.setErrorHandler<FastifyError>((error, _request, reply) => {
    if (!OF_BODY.test(error.code)) throw error
    refuse(reply, 'form')
  })

  scope.post(path, {
    bodyLimit: MAX_BODY,
    config: { revocation: false },
    schema: HIDDEN
  }, async (request, reply) => {
    const token = tokenIn(request.body)
    if (token === undefined) return refuse(reply, 'form')
    const logout = readLogoutToken(token, expected, systemClock.wall())
    if (typeof logout === 'string') return refuse(reply, logout)
    return await isGenuine(request, token, reply) ? answer(reply, logout) : reply
  })

  function refuse (reply: FastifyReply, rule: LogoutRule) {
    logouts.refused(rule)
    return reply.code(400).send({ error: 'invalid_request', error_description: LOGOUT_RULES[rule] })
  }

  /** Whether the provider signed the token. If not, this has answered. */
  async function isGenuine (request: FastifyRequest, token: string, reply: FastifyReply): Promise<boolean> {
    try {
      await verify(request, token)
      return true
    } catch (error) {
      if (isOfKeys(error)) {
        logouts.refused('keys')
        unavailable(reply)
      } else refuse(reply, isOfApplication(error) ? 'application' : 'signature')
      return false
    }
  }

  async function answer (reply: FastifyReply, logout: Logout) {
    try {
      await logouts.end(logout)
    } catch {
      // A store is all that this asks.
      return unavailable(reply)
    }
    return reply.send()
  }
}

/** The only logout_token of a form; undefined where it has none, or several (RFC 6749 §3.1). */
function tokenIn (body: unknown): string | undefined {
  if (typeof body !== 'string') return undefined
  const [token, ...others] = new URLSearchParams(body).getAll('logout_token')
  return others.length > 0 ? undefined : token
}

/** A provider takes any 4xx for the last word: so what may work later is a 503 (RFC 9110 §15.6.4). */
function unavailable (reply: FastifyReply) {
  return reply.code(503).header('retry-after', '1').send({ error: 'temporarily_unavailable' })
}

import type { FastifyInstance } from 'fastify'
import { badOption } from '../errors.ts'
import { requestPrototype, scopesBelow } from './fastify-internals.ts'
import { kindOfDecorator, type GuardedJwt, type Verify } from './jwt.ts'

const kGuarded = Symbol('fastify-jwt-revocation.guarded')

/** Marks a function as one that a guard put in the place of a verify decorator. */
export function markGuarded<T extends object> (decorator: T): T {
  return Object.assign(decorator, { [kGuarded]: true })
}

function isGuarded (decorator: unknown): boolean {
  return typeof decorator === 'function' && Object.hasOwn(decorator, kGuarded)
}

/**
 * The verify decorator that a scope's requests have under this name. A decorator that only decodes, or that
 * verifies for another namespace, would leave unguarded what is to be guarded.
 * @throws FST_JWT_REVOCATION_BAD_OPTION
 */
export function verifyDecorator (scope: FastifyInstance, { jwt, verifyName }: GuardedJwt): Verify {
  const decorator = requestPrototype(scope)[verifyName]
  const cure = 'set option "jwtVerify" to the name it was registered with'
  if (typeof decorator !== 'function') {
    throw badOption(`@fastify/jwt has no request decorator "${verifyName}"; ${cure}`)
  }
  if (isGuarded(decorator)) {
    throw badOption(`"${verifyName}" is guarded already: ` +
      'the plugin is registered twice on one scope; register it once')
  }
  const kind = kindOfDecorator(decorator, jwt)
  if (kind === 'none') throw badOption(`"${verifyName}" is no verify decorator of @fastify/jwt; ${cure}`)
  if (kind === 'foreign') {
    throw badOption(`"${verifyName}" verifies for another @fastify/jwt than the one to guard; ` +
      `set option "namespace" to the namespace of "${verifyName}", ` +
      'or option "jwtVerify" to the name that the one to guard was registered with')
  }
  return decorator as Verify
}

/** Rejects the start where a scope below has a verify decorator of its own: no guard stands before it. */
export function refuseUnguardedScopes (app: FastifyInstance, guarded: GuardedJwt[]) {
  app.addHook('onReady', async () => {
    for (const scope of scopesBelow(app)) {
      for (const { verifyName } of guarded) {
        if (isGuarded(requestPrototype(scope)[verifyName])) continue
        throw badOption(`"${verifyName}" was decorated again in a scope below, ` +
          'with @fastify/jwt or by hand, and is not guarded there; ' +
          'register the plugin in that scope too, after it')
      }
    }
  })
}

import type { FastifyRequest } from 'fastify'
import type { Requests } from '../domain/decorator.ts'
import type { Guard } from './guard.ts'

/** The requests of a scope, and the tokens that they present to any of its guards. */
export function requestsOf (guards: Guard[]): Requests {
  return {
    has: (value) => guards[0]!.guards(value),
    async tokenOf (value) {
      const request = value as FastifyRequest
      let failure: unknown
      for (const guard of likeliest(guards, request)) {
        try {
          return await guard.tokenOf(request)
        } catch (error) {
          failure ??= error
        }
      }
      throw failure
    }
  }
}

/**
 * The guards to ask for the request's token. The application means what it verified last; or else what the
 * request presents, because the errors about that say most.
 */
function likeliest (guards: Guard[], request: FastifyRequest): Guard[] {
  const accepted = guards
    .filter((guard) => guard.acceptedAt(request) > 0)
    .sort((a, b) => b.acceptedAt(request) - a.acceptedAt(request))
  if (accepted.length > 0) return accepted
  const presented = guards.filter((guard) => guard.presents(request))
  return presented.length > 0 ? presented : guards
}

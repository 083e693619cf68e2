import type { FastifyRequest } from 'fastify'
import type { Requests } from '../domain/decorator.ts'
import type { Guard } from './guard.ts'

/** The requests of a scope, and the tokens that they present to any of its guards. */
export function requestsOf (guards: Guard[]): Requests {
  return {
    has: (value) => guards[0]!.guards(value),
    async tokenOf (value) {
      const request = value as FastifyRequest
      // What the application has verified last is what it means. Then what is there at all: of that the errors tell most.
      const accepted = guards.filter((guard) => guard.acceptedAt(request) > 0).sort((a, b) => b.acceptedAt(request) - a.acceptedAt(request))
      const first = [accepted, guards.filter((guard) => guard.presents(request))]
      let failure: unknown
      for (const guard of first.find((some) => some.length > 0) ?? guards) {
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

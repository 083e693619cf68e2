import type { FastifyInstance } from 'fastify'
import { badOption } from './options.ts'

/**
 * The object that the requests of a scope, and of every scope below it, inherit their decorators from. Fastify has
 * no public way to replace a decorator, and none to reach the scopes that were registered before a plugin: what is
 * put here holds for them too, and costs a request nothing.
 */
export function requestPrototype (scope: FastifyInstance): Record<PropertyKey, unknown> {
  for (let object: object | null = scope; object !== null; object = Object.getPrototypeOf(object)) {
    const kRequest = Object.getOwnPropertySymbols(object).find(({ description }) => description === 'fastify.Request')
    const constructor = kRequest && (scope as unknown as Record<symbol, { prototype?: Record<PropertyKey, unknown> }>)[kRequest]
    if (constructor?.prototype) return constructor.prototype
  }
  throw badOption('this version of Fastify keeps its request class where the plugin does not find it; use Fastify 5')
}

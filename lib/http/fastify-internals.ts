import type { FastifyInstance } from 'fastify'
import { badOption } from '../errors.ts'

/*
 * Fastify has no public way to replace a decorator, and none to reach the scopes that were registered before a plugin.
 * What its instances keep is found by the description of their symbols, and the start stops where it is not found.
 */

/** The object that the requests of a scope, and of every scope below it, inherit their decorators from. What is put here costs a request nothing. */
export function requestPrototype (scope: FastifyInstance): Record<PropertyKey, unknown> {
  return kept<{ prototype: Record<PropertyKey, unknown> }>(scope, 'fastify.Request').prototype
}

/** Every scope below this one, registered before or after. */
export function scopesBelow (scope: FastifyInstance): FastifyInstance[] {
  return kept<FastifyInstance[]>(scope, 'fastify.children').flatMap((child) => [child, ...scopesBelow(child)])
}

function kept<T> (scope: FastifyInstance, description: string): T {
  for (let object: object | null = scope; object !== null; object = Object.getPrototypeOf(object)) {
    const symbol = Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description)
    if (symbol !== undefined) return (scope as unknown as Record<symbol, T>)[symbol]!
  }
  throw badOption(`this version of Fastify keeps no "${description}" where the plugin looks for it; use Fastify 5`)
}

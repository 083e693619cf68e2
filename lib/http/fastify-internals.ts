import type { FastifyInstance, FastifyRequest } from 'fastify'
import { badOption } from '../errors.ts'

/*
 * Fastify has no public way to replace a decorator, and none to reach the scopes that were registered before
 * a plugin. Its instances keep both under symbols, which this file finds by their descriptions. Registration
 * is rejected where there is no such symbol.
 */

/**
 * What the requests of a scope, and of each scope below it, inherit from. What is put here costs a request
 * nothing.
 */
export function requestPrototype (scope: FastifyInstance): Record<PropertyKey, unknown> {
  return kept<{ prototype: Record<PropertyKey, unknown> }>(scope, 'fastify.Request').prototype
}

/** Every scope below this one, registered before or after. */
export function scopesBelow (scope: FastifyInstance): FastifyInstance[] {
  return kept<FastifyInstance[]>(scope, 'fastify.children').flatMap((child) => [child, ...scopesBelow(child)])
}

type RouteConfig = FastifyRequest['routeOptions']['config']

/**
 * Gives the config of a request's route. `request.routeOptions` makes an object of a dozen members for it,
 * at a cost of 2 % of what a request with a check in Redis takes.
 */
export function routeConfigs (): (request: FastifyRequest) => RouteConfig | undefined {
  let kContext: symbol | undefined
  return (request) => {
    kContext ??= symbolOf(request, 'fastify.context')
    const context = (request as unknown as Record<symbol, { config?: RouteConfig } | undefined>)[kContext!]
    // Another version of Fastify, or another copy in the same process, may keep it elsewhere.
    return context?.config ?? request.routeOptions.config
  }
}

function symbolOf (object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description)
}

function kept<T> (scope: FastifyInstance, description: string): T {
  for (let object: object | null = scope; object !== null; object = Object.getPrototypeOf(object)) {
    const symbol = symbolOf(object, description)
    if (symbol !== undefined) return (scope as unknown as Record<symbol, T>)[symbol]!
  }
  throw badOption(`this version of Fastify keeps no "${description}" where the plugin looks for it; ` +
    'use Fastify 5')
}

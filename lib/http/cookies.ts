import type { FastifyRequest } from 'fastify'

/*
 * `@fastify/cookie` parses cookies in its own hook. Its option `hook` may put that behind the plugin's, or
 * leave it out. Until then `request.cookies` is null.
 */

/** Whether a request may have a cookie of this name. Most that have none are told without parsing. */
export function mayHaveCookie (request: FastifyRequest, name: string): boolean {
  const cookies = cookiesOf(request)
  if (isAbsent(cookies)) return request.raw.headers.cookie?.includes(name) === true
  return (cookies as Record<string, unknown>)[name] !== undefined
}

/**
 * The request with its cookies parsed, or the request itself where there is nothing to parse. The request
 * that was given stays as it is.
 */
export function withCookies (request: FastifyRequest): FastifyRequest {
  const { server, raw: { headers: { cookie } } } = request
  const { parseCookie } = server as { parseCookie?: (header: string) => unknown }
  if (cookie === undefined || parseCookie === undefined || !isAbsent(cookiesOf(request))) return request
  return Object.create(request, { cookies: { value: parseCookie.call(server, cookie), writable: true } })
}

function cookiesOf (request: FastifyRequest): unknown {
  return (request as { cookies?: unknown }).cookies
}

function isAbsent (value: unknown): value is null | undefined {
  return value === null || value === undefined
}

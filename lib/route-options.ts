import type { RoutesOptions } from './option-types.ts'

/* How option `routes` is read. */

export type Routes = false | RoutesOptions & { prefix: string }

export const DEFAULT_PREFIX = '/v1/jwt/history'

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isFilled = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** An OpenAPI security requirement: names of schemes, each with the names of scopes. */
const isRequirement = (value: unknown) => isObject(value) &&
  Object.values(value).every((scopes) => Array.isArray(scopes) && scopes.every(isFilled))

/** Gives undefined where the value has not the wanted shape. */
export function readRoutes (value: unknown): Routes | undefined {
  if (value === false) return false
  if (!isObject(value)) return undefined
  const { prefix = DEFAULT_PREFIX, security, hide = false, ...others } = value
  const isSecurity = security === undefined || (Array.isArray(security) && security.every(isRequirement))
  const isPrefix = isFilled(prefix) && prefix.startsWith('/')
  const hasOthers = Object.keys(others).length > 0
  if (hasOthers || !isPrefix || typeof hide !== 'boolean' || !isSecurity) return undefined
  return { prefix, ...(hide && { hide }), ...(security !== undefined && { security }) }
}

export const ROUTES_WANTED = "false, or { prefix, security, hide } with a path that starts with '/', " +
  'OpenAPI security requirements such as [{ bearerAuth: [] }], and true or false'

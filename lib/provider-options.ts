import { isName } from './domain/claims.ts'
import type { Provider } from './domain/logouts.ts'

/* How option `backchannelLogout` is read. */

const DEFAULT_PATH = '/backchannel-logout'

const isFilledName = (value: unknown): value is string => value !== '' && isName(value)

export const PROVIDERS_WANTED = '{ issuer, audience, path, namespace, tokenIssuer }, or an array of them, ' +
  "with a string as issuer, one or several as audience, and different paths that start with '/'"

/** Gives undefined where the value has not the wanted shape. */
export function readProviders (value: unknown): Provider[] | undefined {
  const providers = (Array.isArray(value) ? value : [value]).map(readProvider)
  const paths = new Set(providers.map((provider) => provider?.path))
  return providers.includes(undefined) || paths.size < providers.length ? undefined : providers as Provider[]
}

function readProvider (value: unknown): Provider | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { issuer, audience, path = DEFAULT_PATH, namespace, tokenIssuer = issuer, ...others } =
    value as Record<string, unknown>
  const audiences: unknown[] = Array.isArray(audience) ? [...audience] : [audience]
  const isPath = typeof path === 'string' && path.startsWith('/')
  const isNamespace = namespace === undefined || isFilledName(namespace)
  if (Object.keys(others).length > 0 || !isPath || !isNamespace) return undefined
  if (!isFilledName(issuer) || !isName(tokenIssuer)) return undefined
  if (audiences.length === 0 || !audiences.every(isFilledName)) return undefined
  return { issuer, audiences, path, namespace, tokenIssuer }
}

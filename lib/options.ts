import { inspect } from 'node:util'
import { parse as parseDuration } from '@lukeed/ms'
import type { FastifyRequest, RegisterOptions } from 'fastify'
import { FST_JWT_REVOCATION_BAD_OPTION } from './errors.ts'
import { MEMORY, readRedis, WANTED, type RedisOption } from './stores/redis/option.ts'
import type { Milliseconds, Seconds } from './time.ts'
import type { Authorize, RevocationOptions, RoutesOptions } from './types.ts'

/** The options with every default filled in and every unit settled. */
export interface Settings {
  /** undefined: whatever `@fastify/redis` has put there. */
  redis: RedisOption | undefined
  mode: 'strict' | 'replica'
  enforce: 'presented' | 'verified'
  keyPrefix: string
  /** null: unbounded. */
  maxTokenLifetime: Seconds | null
  tokensWithoutJti: 'reject' | 'accept'
  onStoreFailure: 'reject' | 'accept'
  storeTimeout: Milliseconds
  maxStaleness: Milliseconds
  minReplicas: number
  authorize: Authorize
  skip: ((request: FastifyRequest) => unknown) | undefined
  routes: false | RoutesOptions & { prefix: string }
  /** undefined: `@fastify/jwt` was registered without one. */
  recordOnUse: boolean
  namespaces: Array<string | undefined>
  jwtVerify: string | undefined
}

/** Gives what the option means, or undefined where it has not the wanted shape. */
type Read<T> = (value: unknown) => T | undefined

const MAX_TIMEOUT = 2 ** 31 - 1
/** The log is asked four times within it, and Redis ends a wait up to 100 ms late. */
const MIN_STALENESS = 500

const DEFAULT_PREFIX = '/v1/jwt/history'
/** What Fastify itself takes from the options of any plugin. */
const REGISTER_OPTIONS = ['prefix', 'logLevel', 'logSerializers']

const nobody: Authorize = () => false

/** Bad input of any kind stops the start with a sentence. */
export function badOption (sentence: string): Error {
  return new FST_JWT_REVOCATION_BAD_OPTION(sentence)
}

function oneOf<const T extends string> (...allowed: T[]): { read: Read<T>, wanted: string } {
  return {
    read: (value) => allowed.find((one) => one === value),
    wanted: allowed.map((one) => `'${one}'`).join(' or ')
  }
}

function milliseconds (least: Milliseconds): { read: Read<Milliseconds>, wanted: string } {
  return {
    read: (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= MAX_TIMEOUT ? Number(value) : undefined,
    wanted: `a whole number of milliseconds from ${least} to ${MAX_TIMEOUT}`
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isFilled = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** A string of digits is milliseconds to the parser and seconds to everybody else: it wants a unit. */
function readLifetime (value: unknown): Seconds | null | undefined {
  if (value === 'unbounded') return null
  const seconds = typeof value === 'string' && !/\d\s*$/.test(value) ? (parseDuration(value) ?? NaN) / 1000 : value
  return typeof seconds === 'number' && seconds > 0 && Number.isFinite(seconds) ? Math.ceil(seconds) : undefined
}

function readNamespaces (value: unknown): string[] | undefined {
  const names = Array.isArray(value) ? value : [value]
  return names.length > 0 && names.every(isFilled) && new Set(names).size === names.length ? names : undefined
}

/** An OpenAPI security requirement: names of schemes, each with the names of scopes. */
const isRequirement = (value: unknown) => isObject(value) && Object.values(value).every((scopes) => Array.isArray(scopes) && scopes.every(isFilled))

function readRoutes (value: unknown): Settings['routes'] | undefined {
  if (value === false) return false
  if (!isObject(value)) return undefined
  const { prefix = DEFAULT_PREFIX, security, hide = false, ...others } = value
  const isRight = Object.keys(others).length === 0 && isFilled(prefix) && prefix.startsWith('/') && typeof hide === 'boolean' &&
    (security === undefined || (Array.isArray(security) && security.every(isRequirement)))
  return isRight ? { prefix, ...(hide && { hide }), ...(security !== undefined && { security }) } : undefined
}

const OPTIONS = {
  redis: { read: readRedis, wanted: WANTED },
  mode: oneOf('strict', 'replica'),
  enforce: oneOf('presented', 'verified'),
  keyPrefix: { read: (value: unknown) => typeof value === 'string' ? value : undefined, wanted: 'a string' },
  maxTokenLifetime: { read: readLifetime, wanted: "a positive number of seconds, a duration with a unit such as '12h', or 'unbounded'" },
  tokensWithoutJti: oneOf('reject', 'accept'),
  onStoreFailure: oneOf('reject', 'accept'),
  storeTimeout: milliseconds(1),
  maxStaleness: milliseconds(MIN_STALENESS),
  minReplicas: { read: (value: unknown) => Number.isInteger(value) && Number(value) >= 0 ? Number(value) : undefined, wanted: 'a whole number, 0 or more' },
  authorize: { read: (value: unknown) => typeof value === 'function' ? value as Authorize : undefined, wanted: 'a function (request, target) => boolean or Promise<boolean>' },
  skip: { read: (value: unknown) => typeof value === 'function' ? value as (request: FastifyRequest) => unknown : undefined, wanted: 'a function (request) => boolean' },
  routes: { read: readRoutes, wanted: "false, or { prefix, security, hide } with a path that starts with '/', OpenAPI security requirements such as [{ bearerAuth: [] }], and true or false" },
  recordOnUse: { read: (value: unknown) => typeof value === 'boolean' ? value : undefined, wanted: 'true or false' },
  namespace: { read: readNamespaces, wanted: 'a namespace of @fastify/jwt, or an array of different ones' },
  jwtVerify: { read: (value: unknown) => isFilled(value) ? value : undefined, wanted: 'the name of a request decorator' }
} satisfies Record<keyof RevocationOptions, { read: Read<unknown>, wanted: string }>

/** What a message may show of a value: a URL or client options hold a password. */
function shown (name: string, value: unknown): string {
  if (name === 'redis' && typeof value === 'string') return 'another string'
  if (name === 'redis' && typeof value === 'object' && value !== null) return 'another object'
  return inspect(value, { depth: 1, breakLength: Infinity, maxStringLength: 60, maxArrayLength: 5 })
}

function read<N extends keyof typeof OPTIONS> (options: RevocationOptions, name: N) {
  type Value = Exclude<ReturnType<(typeof OPTIONS)[N]['read']>, undefined>
  const value = options[name]
  if (value === undefined) return undefined
  const meant = OPTIONS[name].read(value)
  if (meant === undefined) throw badOption(`option "${name}" must be ${OPTIONS[name].wanted}; got ${shown(name, value)}`)
  return meant as Value
}

/** @throws FST_JWT_REVOCATION_BAD_OPTION */
export function resolveOptions (options: RevocationOptions & RegisterOptions): Settings {
  if (options.prefix !== undefined) {
    throw badOption('option "prefix" of register moves no routes of this plugin; set option "routes": { prefix } instead')
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(OPTIONS, name) && !REGISTER_OPTIONS.includes(name)) {
      throw badOption(`unknown option "${name}"; the options are ${Object.keys(OPTIONS).join(', ')}`)
    }
  }
  // Whoever names it wants something of it: memory in its place would lose what a deployment meant to keep.
  if (Object.hasOwn(options, 'redis') && options.redis === undefined) {
    throw badOption(`option "redis" is there and undefined (is a variable of the environment not set?); set it to a URL such as redis://host:6379, or to '${MEMORY}' to keep revocations in this process alone`)
  }
  const lifetime = read(options, 'maxTokenLifetime')
  const namespaces = read(options, 'namespace') ?? [undefined]
  const jwtVerify = read(options, 'jwtVerify')
  if (jwtVerify !== undefined && namespaces.length > 1) {
    throw badOption('option "jwtVerify" names one decorator and can not go with several namespaces; register the plugin once for each, in scopes of their own')
  }
  return {
    redis: read(options, 'redis'),
    mode: read(options, 'mode') ?? 'strict',
    enforce: read(options, 'enforce') ?? 'presented',
    keyPrefix: read(options, 'keyPrefix') ?? 'jwt:',
    maxTokenLifetime: lifetime === undefined ? 30 * 24 * 3600 : lifetime,
    tokensWithoutJti: read(options, 'tokensWithoutJti') ?? 'reject',
    onStoreFailure: read(options, 'onStoreFailure') ?? 'reject',
    storeTimeout: read(options, 'storeTimeout') ?? 500,
    maxStaleness: read(options, 'maxStaleness') ?? 5000,
    minReplicas: read(options, 'minReplicas') ?? 0,
    authorize: read(options, 'authorize') ?? nobody,
    skip: read(options, 'skip'),
    routes: read(options, 'routes') ?? { prefix: DEFAULT_PREFIX },
    recordOnUse: read(options, 'recordOnUse') ?? false,
    namespaces,
    jwtVerify
  }
}

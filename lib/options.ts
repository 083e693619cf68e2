import { inspect } from 'node:util'
import type { FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyRequest, RegisterOptions } from 'fastify'
import {
  CLAIMS_WANTED, DEFAULT_CLAIMS, readClaims, readRevocableBy, REVOCABLE_BY_WANTED, withSessions
} from './claim-options.ts'
import type { ClaimNames } from './domain/claims.ts'
import type { Provider } from './domain/logouts.ts'
import { badOption } from './errors.ts'
import type { Authorize, RevocationOptions } from './option-types.ts'
import { PROVIDERS_WANTED, readProviders } from './provider-options.ts'
import { readLifetime, readRefresh, REFRESH_WANTED, type Refreshing } from './refresh-options.ts'
import {
  DEFAULT_PREFIX, isFilled, isObject, readRoutes, ROUTES_WANTED, type Routes
} from './route-options.ts'
import type { Milliseconds, Seconds } from './time.ts'

/** The options, with each default filled in and each unit settled. */
export interface Settings {
  /** As it was given: `whichRedis()` reads it. undefined: it was not given. */
  redis: unknown
  mode: 'strict' | 'replica'
  enforce: 'presented' | 'verified'
  keyPrefix: string
  claims: ClaimNames
  revocableBy: readonly string[]
  /** null: unbounded. */
  maxTokenLifetime: Seconds | null
  tokensWithoutJti: 'reject' | 'accept'
  onStoreFailure: 'reject' | 'accept'
  storeTimeout: Milliseconds
  maxStaleness: Milliseconds
  minReplicas: number
  authorize: Authorize
  skip: ((request: FastifyRequest) => unknown) | undefined
  routes: Routes
  recordOnUse: boolean
  backchannelLogout: Provider[] | undefined
  /** Whether option `backchannelLogout` was given, be it without a provider. */
  sidless: boolean
  /** undefined: nothing can be refreshed. */
  refresh: Refreshing | undefined
  /** undefined: `@fastify/jwt` has been registered before. */
  jwt: FastifyJWTOptions[] | undefined
  /** [undefined]: `@fastify/jwt` was registered without one. */
  namespaces: Array<string | undefined>
  jwtVerify: string | undefined
}

/** Gives what `value` means, or undefined where it has not the wanted shape. */
type ReadOption<T> = (value: unknown) => T | undefined

/** How one option is read. A message says what is `wanted`. */
interface Option<T> {
  read: ReadOption<T>
  wanted: string
  /** What a message quotes of the value. Default: all of it. */
  shown?: (value: unknown) => string
}

const MAX_TIMEOUT = 2 ** 31 - 1
/** A replica asks for the log four times within `maxStaleness`, and Redis ends a wait up to 100 ms late. */
const MIN_STALENESS = 500

/** What Fastify itself takes from the options of any plugin. */
const REGISTER_OPTIONS = ['prefix', 'logLevel', 'logSerializers']

const nobody: Authorize = () => false

function oneOf<const T extends string> (...allowed: T[]): Option<T> {
  return {
    read: (value) => allowed.find((one) => one === value),
    wanted: allowed.map((one) => `'${one}'`).join(' or ')
  }
}

function wholeNumber (least: number, most: number, wanted: string): Option<number> {
  return {
    read: (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most
      ? Number(value)
      : undefined,
    wanted
  }
}

const milliseconds = (least: Milliseconds): Option<Milliseconds> =>
  wholeNumber(least, MAX_TIMEOUT, `a whole number of milliseconds from ${least} to ${MAX_TIMEOUT}`)

function aFunction<T extends Function> (wanted: string): Option<T> {
  return { read: (value) => typeof value === 'function' ? value as T : undefined, wanted }
}

function readNamespaces (value: unknown): string[] | undefined {
  const names = Array.isArray(value) ? value : [value]
  const areDifferent = new Set(names).size === names.length
  return names.length > 0 && names.every(isFilled) && areDifferent ? names : undefined
}

function readJwt (value: unknown): FastifyJWTOptions[] | undefined {
  if (isObject(value)) return [value as unknown as FastifyJWTOptions]
  if (!Array.isArray(value) || !value.every(isObject)) return undefined
  return readNamespaces(value.map(({ namespace }) => namespace)) && value as unknown as FastifyJWTOptions[]
}

/** Without the values: one of them is the secret. */
function namesIn (value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(namesIn).join(', ')}]`
  return isObject(value) ? `{ ${Object.keys(value).join(', ')} }` : typeof value
}

const OPTIONS = {
  jwt: {
    read: readJwt,
    wanted: 'options of @fastify/jwt, or an array of them with a different "namespace" each',
    shown: namesIn
  },
  // Read where the store is opened, which knows what it may be.
  redis: { read: (value: unknown) => value, wanted: '' },
  mode: oneOf('strict', 'replica'),
  enforce: oneOf('presented', 'verified'),
  keyPrefix: { read: (value: unknown) => typeof value === 'string' ? value : undefined, wanted: 'a string' },
  claims: { read: readClaims, wanted: CLAIMS_WANTED },
  revocableBy: { read: readRevocableBy, wanted: REVOCABLE_BY_WANTED },
  maxTokenLifetime: {
    read: readLifetime,
    wanted: "a positive number of seconds, a duration with a unit such as '12h', or 'unbounded'"
  },
  tokensWithoutJti: oneOf('reject', 'accept'),
  onStoreFailure: oneOf('reject', 'accept'),
  storeTimeout: milliseconds(1),
  maxStaleness: milliseconds(MIN_STALENESS),
  minReplicas: wholeNumber(0, Infinity, 'a whole number, 0 or more'),
  authorize: aFunction<Authorize>('a function (request, target) => boolean or Promise<boolean>'),
  skip: aFunction<(request: FastifyRequest) => unknown>('a function (request) => boolean'),
  routes: { read: readRoutes, wanted: ROUTES_WANTED },
  recordOnUse: {
    read: (value: unknown) => typeof value === 'boolean' ? value : undefined,
    wanted: 'true or false'
  },
  backchannelLogout: { read: readProviders, wanted: PROVIDERS_WANTED },
  refresh: { read: readRefresh, wanted: REFRESH_WANTED },
  namespace: { read: readNamespaces, wanted: 'a namespace of @fastify/jwt, or an array of different ones' },
  jwtVerify: {
    read: (value: unknown) => isFilled(value) ? value : undefined,
    wanted: 'the name of a request decorator'
  }
} satisfies Record<keyof RevocationOptions, Option<unknown>>

function quoted (value: unknown): string {
  return inspect(value, { depth: 1, breakLength: Infinity, maxStringLength: 60, maxArrayLength: 5 })
}

function read<N extends keyof typeof OPTIONS> (options: RevocationOptions, name: N) {
  type Value = Exclude<ReturnType<(typeof OPTIONS)[N]['read']>, undefined>
  const value = options[name]
  if (value === undefined) return undefined
  const { read, wanted, shown = quoted }: Option<unknown> = OPTIONS[name]
  const meant = read(value)
  if (meant === undefined) throw badOption(`option "${name}" must be ${wanted}; got ${shown(value)}`)
  return meant as Value
}

/** @throws FST_JWT_REVOCATION_BAD_OPTION */
export function resolveOptions (options: RevocationOptions & RegisterOptions): Settings {
  if (options.prefix !== undefined) {
    throw badOption('option "prefix" of register moves no routes of this plugin; ' +
      'set option "routes": { prefix } instead')
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(OPTIONS, name) && !REGISTER_OPTIONS.includes(name)) {
      throw badOption(`unknown option "${name}"; the options are ${Object.keys(OPTIONS).join(', ')}`)
    }
  }
  // Whoever names the option means a Redis. Memory in its place would lose what a deployment meant to keep.
  if (Object.hasOwn(options, 'redis') && options.redis === undefined) {
    throw badOption('option "redis" is there and undefined (is a variable of the environment not set?); ' +
      "set it to a URL such as redis://host:6379, or to 'memory' to keep revocations in this process alone")
  }
  const backchannelLogout = read(options, 'backchannelLogout')
  const named = read(options, 'claims') ?? DEFAULT_CLAIMS
  const refresh = read(options, 'refresh')
  const needsSessions = backchannelLogout !== undefined || refresh !== undefined
  const claims = needsSessions ? withSessions(named) : named
  if (claims === undefined) {
    throw badOption(`option "${refresh ? 'refresh' : 'backchannelLogout'}" has sessions in the claim sid, ` +
      'which option "claims" gives to another name; set option "claims": { sid } to the claim that has them')
  }
  const revocableBy = read(options, 'revocableBy') ?? []
  if (revocableBy.some((claim) => Object.values(claims).includes(claim))) {
    throw badOption(`option "revocableBy" must be ${REVOCABLE_BY_WANTED}; got ${quoted(revocableBy)}`)
  }
  const lifetime = read(options, 'maxTokenLifetime')
  const jwt = read(options, 'jwt')
  const jwtVerify = read(options, 'jwtVerify')
  const misplaced = (['namespace', 'jwtVerify'] as const).find((name) => options[name] !== undefined)
  if (jwt !== undefined && misplaced !== undefined) {
    throw badOption(`option "${misplaced}" can not go with option "jwt"; ` +
      `give "${misplaced}" as an option of @fastify/jwt, inside "jwt"`)
  }
  const namespaces = jwt === undefined
    ? read(options, 'namespace') ?? [undefined]
    : jwt.map(({ namespace }) => namespace || undefined)
  if (jwtVerify !== undefined && namespaces.length > 1) {
    throw badOption('option "jwtVerify" names one decorator and can not go with several namespaces; ' +
      'register the plugin once for each, in scopes of their own')
  }
  return {
    redis: read(options, 'redis'),
    mode: read(options, 'mode') ?? 'strict',
    enforce: read(options, 'enforce') ?? 'presented',
    keyPrefix: read(options, 'keyPrefix') ?? 'jwt:',
    claims,
    revocableBy,
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
    backchannelLogout,
    sidless: backchannelLogout !== undefined,
    refresh,
    jwt,
    namespaces,
    jwtVerify
  }
}

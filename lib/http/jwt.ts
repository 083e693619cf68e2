import { parse as parseDuration } from '@lukeed/ms'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Signer } from '../domain/signers.ts'
import { badOption } from '../errors.ts'
import type { Seconds } from '../time.ts'

/* All that is asked of `@fastify/jwt`. */

export type VerifyOptions = Record<string, unknown>
type SignOptions = { expiresIn?: number | string, iss?: string, noTimestamp?: boolean }
export type Callback = (error: Error | null, user?: unknown) => void

/**
 * `request.jwtVerify` of `@fastify/jwt`. The guard uses its callback form only: the promise form calls back
 * through the request, and so reaches the guard again.
 */
export type Verify = (this: FastifyRequest, options: VerifyOptions | undefined, callback: Callback) => void

/** The part of `app.jwt` that the plugin needs. */
export interface JwtDecorator {
  options: {
    sign: SignOptions | null
    verify: VerifyOptions | null
    messages: Record<string, unknown>
    decoratorName: string
  }
  cookie?: { cookieName: string }
  decode (token: string): unknown
  verify (token: string): unknown
  sign (claims: object, options?: object): string | Promise<string>
  lookupToken (request: FastifyRequest, options?: unknown): unknown
}

/** One `@fastify/jwt` to guard, and the name of its verify decorator. */
export interface GuardedJwt {
  jwt: JwtDecorator
  verifyName: string
}

/**
 * The `@fastify/jwt` of a namespace, or the one that was registered without. `givenName`: option `jwtVerify`.
 * @throws FST_JWT_REVOCATION_BAD_OPTION
 */
export function findJwt (
  app: FastifyInstance, namespace: string | undefined, givenName: string | undefined
): GuardedJwt {
  if (!app.hasDecorator('jwt')) {
    throw badOption('@fastify/jwt is missing; set option "jwt" to its options, or register it first')
  }
  const decorator = (app as unknown as { jwt: JwtDecorator & Record<string, JwtDecorator | undefined> }).jwt
  const jwt = namespace === undefined ? decorator : decorator[namespace]
  if (typeof jwt?.lookupToken !== 'function') {
    throw badOption(namespace === undefined
      ? '@fastify/jwt was registered with a namespace; set option "namespace" to it ' +
        `(there is ${Object.keys(decorator).join(', ')})`
      : `@fastify/jwt has no namespace "${namespace}"; register it with that one first, ` +
        'or set option "namespace" to one it has')
  }
  return { jwt, verifyName: givenName ?? (namespace === undefined ? 'jwtVerify' : `${namespace}JwtVerify`) }
}

/** What it was registered with. `@fastify/jwt` takes null for no options. */
export function optionsOf ({ options: { sign, verify } }: JwtDecorator) {
  return { sign: sign ?? {}, verify: verify ?? {} }
}

export function signerOver ({ jwt }: GuardedJwt): Signer {
  const { sign: signOptions, verify: verifyOptions } = optionsOf(jwt)
  return { sign: (claims, options) => jwt.sign(claims, options), signOptions, verifyOptions }
}

/** `@fastify/jwt` takes it in milliseconds. */
export function clockTolerance ({ jwt }: GuardedJwt): Seconds {
  const { clockTolerance = 0 } = optionsOf(jwt).verify as { clockTolerance?: number }
  return Math.ceil(clockTolerance / 1000)
}

/** As `@fastify/jwt` reads it: seconds, or a string that means milliseconds where it has no unit. */
export function lifetimeOf (expiresIn: number | string): Seconds {
  return typeof expiresIn === 'string' ? parseDuration(expiresIn)! / 1000 : expiresIn
}

/** Whether tokens of equal names in two namespaces can be told apart. */
export function hasIssuer ({ jwt }: GuardedJwt): boolean {
  const { sign, verify } = optionsOf(jwt)
  return Boolean(sign.iss ?? verify.allowedIss)
}

/**
 * The issuer of the tokens of all these: `sign.iss`, or else the only `verify.allowedIss`. Gives undefined
 * where no options name one, and null where there may be several.
 */
export function issuerOfAll (guarded: GuardedJwt[]): string | null | undefined {
  const [first, ...others] = new Set(guarded.map(issuerOf))
  return others.length > 0 ? null : first
}

function issuerOf ({ jwt }: GuardedJwt): string | null | undefined {
  const { sign, verify } = optionsOf(jwt)
  const { allowedIss, requiredClaims } = verify
  if (sign.iss) return sign.iss
  const [only, ...others] = Array.isArray(allowedIss) ? allowedIss : [allowedIss]
  // Each token has one, and no option says which.
  if (!only) return Array.isArray(requiredClaims) && requiredClaims.includes('iss') ? null : undefined
  return typeof only === 'string' && others.length === 0 ? only : null
}

/** Whether a request decorator verifies for the given `@fastify/jwt`, for another one, or for none. */
export type DecoratorKind = 'own' | 'foreign' | 'none'

/**
 * Has a request decorator look for a token that is not there. Each registration of `@fastify/jwt` makes error
 * classes of its own, so the error tells whose decorator it is. A verify decorator runs no function of the
 * application before that.
 */
export function kindOfDecorator (decorator: Function, jwt: JwtDecorator): DecoratorKind {
  const request = { headers: {} } as FastifyRequest
  let asked = 0
  let answer: unknown
  try {
    const extractToken = () => {
      asked++
      return ''
    }
    const returned = decorator.call(request, { extractToken }, (error: unknown) => { answer = error })
    // A function that is none of @fastify/jwt's may return a promise, which must not reject unhandled.
    Promise.resolve(returned).catch(() => {})
  } catch {
    // A function that is none of @fastify/jwt's may throw.
  }
  const wanted = missingTokenError(request, jwt)
  if (asked !== 1 || (answer as { code?: unknown } | undefined)?.code !== wanted.code) return 'none'
  return (answer as object).constructor === wanted.constructor ? 'own' : 'foreign'
}

function missingTokenError (request: FastifyRequest, jwt: JwtDecorator): Error & { code?: unknown } {
  try {
    return jwt.lookupToken(request, { extractToken: () => '' }) as Error
  } catch (error) {
    return error as Error
  }
}

/** What `@fastify/jwt` reads the token from, and verifies it by, where a call gives options. */
export function verifyOptionsOf (options: VerifyOptions | undefined): unknown {
  return options !== undefined && isNested(options) ? options.verify : options
}

/** The same options, but for where the token is. */
export function withExtractor (options: VerifyOptions, extractToken: () => unknown): VerifyOptions {
  return isNested(options)
    ? { ...options, verify: { ...options.verify as VerifyOptions, extractToken } }
    : { ...options, extractToken }
}

/** Whether options only say where the token is. Then `@fastify/jwt` verifies it as it does without them. */
export function changesLookupOnly (options: VerifyOptions): boolean {
  if (isNested(options)) {
    const { verify } = options
    return Object.keys(options).length === 1 && typeof verify === 'object' && verify !== null &&
      changesLookupOnly(verify as VerifyOptions)
  }
  return Object.keys(options).every((key) => key === 'onlyCookie' || key === 'extractToken')
}

/** `@fastify/jwt` takes two forms: { verify: {…}, decode: {…} }, or verify options alone. */
function isNested (options: VerifyOptions) {
  return Object.hasOwn(options, 'verify') || Object.hasOwn(options, 'decode')
}

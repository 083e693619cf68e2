import type { FastifyRequest } from 'fastify'

export type VerifyOptions = Record<string, unknown>
export type Callback = (error: Error | null, user?: unknown) => void

/**
 * `request.jwtVerify` of `@fastify/jwt`. Only its callback form is used: its promise form calls back through the
 * request, that is, us.
 */
export type Verify = (this: FastifyRequest, options: VerifyOptions | undefined, callback: Callback) => void

/** The part of `app.jwt` that the guard needs. */
export interface JwtDecorator {
  options: { verify: VerifyOptions, decoratorName: string }
  cookie?: { cookieName: string }
  lookupToken (request: FastifyRequest, options?: unknown): unknown
}

/** What of the options of `@fastify/jwt` tells whose tokens it takes. */
export interface IssuerOptions {
  options: { sign: { iss?: unknown }, verify: VerifyOptions }
}

/**
 * The issuer of the tokens of all these, `sign.iss` or else the only `verify.allowedIss`; undefined where none is named,
 * null where there may be several.
 */
export function issuerOfAll (jwts: IssuerOptions[]): string | null | undefined {
  const [first, ...others] = new Set(jwts.map(issuerOf))
  return others.length > 0 ? null : first
}

function issuerOf ({ options: { sign, verify: { allowedIss, requiredClaims } } }: IssuerOptions): string | null | undefined {
  if (sign.iss) return sign.iss as string
  const [only, ...others] = Array.isArray(allowedIss) ? allowedIss : [allowedIss]
  // Each token has one, and nobody says which.
  if (!only) return Array.isArray(requiredClaims) && requiredClaims.includes('iss') ? null : undefined
  return typeof only === 'string' && others.length === 0 ? only : null
}

/** What a request decorator does: verifies for the given `@fastify/jwt`, for another one, or nothing of the kind. */
export type DecoratorKind = 'own' | 'foreign' | 'none'

/**
 * Has a request decorator look for a token that is not there. Each registration of `@fastify/jwt` makes error classes of
 * its own, so the error tells whose decorator it is. A verify decorator runs no function of the application before that.
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

/** Whether options only say where the token is: then it is verified as it is without them. */
export function changesLookupOnly (options: VerifyOptions): boolean {
  if (isNested(options)) {
    return Object.keys(options).length === 1 && typeof options.verify === 'object' && options.verify !== null &&
      changesLookupOnly(options.verify as VerifyOptions)
  }
  return Object.keys(options).every((key) => key === 'onlyCookie' || key === 'extractToken')
}

/** Both forms that `@fastify/jwt` takes: { verify: {…}, decode: {…} }, or verify options alone. */
function isNested (options: VerifyOptions) {
  return Object.hasOwn(options, 'verify') || Object.hasOwn(options, 'decode')
}

function missingTokenError (request: FastifyRequest, jwt: JwtDecorator): Error & { code?: unknown } {
  try {
    return jwt.lookupToken(request, { extractToken: () => '' }) as Error
  } catch (error) {
    return error as Error
  }
}

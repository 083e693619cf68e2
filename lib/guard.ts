import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { claimsOf, type TokenClaims } from './claims.ts'
import { badOption } from './options.ts'
import type { TokenRevocation } from './revocation.ts'
import { requestPrototype } from './scopes.ts'
import { Verification, type Callback } from './verification.ts'

type VerifiedCallback = (error: Error | null, user?: unknown, verification?: Verification) => void
type VerifyOptions = Record<string, unknown>
/** `request.jwtVerify` of `@fastify/jwt`. Only its callback form is used: its promise form calls back through the request, that is, us. */
type Verify = (this: FastifyRequest, options: VerifyOptions | undefined, callback: Callback) => void
type GuardedRequest = FastifyRequest & Record<PropertyKey, unknown>

/** The part of `app.jwt` that the guard needs. */
export interface JwtDecorator {
  options: { verify: VerifyOptions, decoratorName: string }
  cookie?: { cookieName: string }
  lookupToken (request: FastifyRequest, options?: unknown): string
}

const kGuarded = Symbol('fastify-jwt-revocation.guarded')

/** Stands before one verify decorator of `@fastify/jwt`, so that it never succeeds for a revoked token (P1). */
export class Guard {
  readonly #revocation: TokenRevocation
  readonly #jwt: JwtDecorator
  readonly #userKey: string
  readonly #cookieName: string | undefined
  readonly #extractsToken: boolean
  /** Nothing but the `Authorization` header decides which token it is: no need to look it up twice. */
  readonly #headerOnly: boolean
  readonly #original: Verify
  readonly #kVerification = Symbol('fastify-jwt-revocation.verification')

  /** Takes the decorator's place on the requests of `scope`, and of every scope below it, registered before or after. */
  constructor (scope: FastifyInstance, jwt: JwtDecorator, verifyName: string, revocation: TokenRevocation) {
    const prototype = requestPrototype(scope)
    const original = prototype[verifyName]
    if (typeof original !== 'function') {
      throw badOption(`@fastify/jwt has no request decorator "${verifyName}"; set option "jwtVerify" to the name it was registered with`)
    }
    if (isGuarded(original)) throw badOption(`"${verifyName}" is guarded already: the plugin is registered twice on one scope; register it once`)
    // By its own name: what only decodes a token, or any other method, would make every token a good one.
    if (original.name !== 'requestVerify') throw badOption(`"${verifyName}" is no verify decorator of @fastify/jwt; set option "jwtVerify" to the name it was registered with`)
    this.#revocation = revocation
    this.#jwt = jwt
    this.#userKey = jwt.options.decoratorName
    this.#cookieName = jwt.cookie?.cookieName
    this.#extractsToken = typeof jwt.options.verify.extractToken === 'function'
    this.#headerOnly = !this.#extractsToken && this.#cookieName === undefined && takesBearer(jwt)
    this.#original = original as Verify
    // Also marks the scope's requests as decorated: Fastify drops the request class of a scope that has no decorator.
    scope.decorateRequest(this.#kVerification, null)
    prototype[verifyName] = this.#decorator()
  }

  /** Verifies the token that a request presents, if it does. Calls back with an error only where the guard refuses it. */
  inspect (request: FastifyRequest, done: (refusal: Error | null) => void) {
    if (!this.#presents(request)) return done(null)
    let token = this.#headerOnly ? bearerOf(request.headers.authorization!) : undefined
    try {
      token ??= this.#jwt.lookupToken(request)
    } catch {
      // Nothing that @fastify/jwt takes for a token: the route's own jwtVerify() says so.
      return done(null)
    }
    const verification = this.#verification(request as GuardedRequest, token, this.#bound(undefined, token))
    if (verification.isSettled) done(verification.refusal)
    else verification.whenSettled(() => done(verification.refusal))
  }

  /**
   * What `await request.jwtVerify()` does, but it gives the claims of the token. Fails for one that could not be
   * checked, although it may be accepted elsewhere: it may be revoked, and such a token revokes nothing (P6).
   */
  authenticate (request: FastifyRequest): Promise<TokenClaims> {
    return new Promise((resolve, reject) => {
      this.#verify(request, undefined, (error, _user, verification) => {
        error ??= verification?.unchecked ?? null
        if (error) reject(error)
        else resolve(claimsOf(verification!.token))
      })
    })
  }

  #decorator () {
    const guard = this
    function jwtVerify (this: FastifyRequest, options?: VerifyOptions | Callback | null, callback?: Callback) {
      if (typeof options === 'function') return guard.#verify(this, undefined, (error, user) => options(error, user))
      const given = options ?? undefined
      if (callback !== undefined) return guard.#verify(this, given, (error, user) => callback(error, user))
      return new Promise((resolve, reject) => {
        guard.#verify(this, given, (error, user) => error ? reject(error) : resolve(user))
      })
    }
    jwtVerify[kGuarded] = true
    return jwtVerify
  }

  #verify (givenRequest: FastifyRequest, options: VerifyOptions | undefined, callback: VerifiedCallback) {
    const request = givenRequest as GuardedRequest
    let verification = options === undefined ? this.#sameHeader(request) : undefined
    if (verification === undefined) {
      let token: string
      try {
        token = this.#jwt.lookupToken(request, options?.verify ?? options)
      } catch (error) {
        if (options === undefined) return callback(error as Error)
        // Options that @fastify/jwt refuses are refused before it looks for a token.
        return this.#original.call(request, withExtractor(options, () => { throw error }), callback)
      }
      const bound = this.#bound(options, token)
      verification = options === undefined || changesLookupOnly(options)
        ? this.#verification(request, token, bound)
        : this.#start(request, new Verification(token), bound)
    }
    verification.whenSettled((error, user) => {
      if (verification.refusal !== null) request[this.#userKey] = null
      else if (!error) request[this.#userKey] = user
      callback(error, user, verification)
    })
  }

  /** The very token that is checked is the one that gets verified, wherever options, or an `extractToken`, would look for it now. */
  #bound (options: VerifyOptions | undefined, token: string): VerifyOptions | undefined {
    if (options === undefined && !this.#extractsToken) return undefined
    return withExtractor(options ?? {}, () => token)
  }

  /** The verification of a token by the options of `@fastify/jwt`: one that the request has already, or a new one. */
  #verification (request: GuardedRequest, token: string, bound: VerifyOptions | undefined): Verification {
    const known = request[this.#kVerification] as Verification | null | undefined
    if (known && known.token === token && known.isFresh(this.#revocation.epoch)) return known
    const verification = new Verification(token, this.#headerOnly ? request.headers.authorization : undefined)
    request[this.#kVerification] = verification
    return this.#start(request, verification, bound)
  }

  #sameHeader (request: GuardedRequest): Verification | undefined {
    const known = request[this.#kVerification] as Verification | null
    const isSame = known && known.header !== undefined && known.header === request.headers.authorization
    return isSame && known.isFresh(this.#revocation.epoch) ? known : undefined
  }

  #start (request: GuardedRequest, verification: Verification, options: VerifyOptions | undefined): Verification {
    try {
      // Without options @fastify/jwt uses the verifier it has; with any, even {}, it builds one (40 µs).
      this.#original.call(request, options, (error, user) => {
        if (error) return verification.settle(error)
        // Unset until the check has passed.
        request[this.#userKey] = null
        verification.epoch = this.#revocation.epoch
        this.#revocation.check(verification.token, (refusal, unchecked) => {
          verification.refusal = refusal
          verification.unchecked = unchecked
          if (refusal === null) verification.user = user
          verification.settle(refusal)
        })
      })
    } catch (error) {
      // A secret function that throws.
      verification.settle(error as Error)
    }
    return verification
  }

  /** Cheaper than to let lookupToken() throw for every anonymous request. */
  #presents (request: FastifyRequest) {
    return this.#extractsToken || request.headers.authorization !== undefined ||
      (this.#cookieName !== undefined && (request as { cookies?: Record<string, unknown> | null }).cookies?.[this.#cookieName] !== undefined)
  }
}

export function isGuarded (verify: unknown): boolean {
  return typeof verify === 'function' && Object.hasOwn(verify, kGuarded)
}

/** The `onRequest` hook: refuses a revoked token wherever it is presented, but for routes that are left out. */
export function presentedHook (guards: Guard[]) {
  return function refuseRevoked (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) {
    if (request.routeOptions.config?.revocation === false) return done()
    inspectFrom(0, request, reply, done)
  }

  function inspectFrom (index: number, request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) {
    guards[index]!.inspect(request, (refusal) => {
      if (refusal === null) return index + 1 < guards.length ? inspectFrom(index + 1, request, reply, done) : done()
      // Fastify's own error handler takes these from the error; one of the application's may not.
      reply.headers((refusal as Error & { headers: Record<string, string> }).headers)
      done(refusal)
    })
  }
}

/** The token of a header of which there is nothing to decide: looking it up takes longer than the check. */
function bearerOf (header: string): string | undefined {
  return header.startsWith('Bearer ') && header.length > 7 && !header.includes(' ', 7) ? header.slice(7) : undefined
}

/** Not with `onlyCookie`, or where a later version reads the header in another way. */
function takesBearer (jwt: JwtDecorator): boolean {
  try {
    return jwt.lookupToken({ headers: { authorization: 'Bearer a.b.c' } } as FastifyRequest) === 'a.b.c'
  } catch {
    return false
  }
}

/** Both forms that `@fastify/jwt` takes: { verify: {…}, decode: {…} }, or verify options alone. */
function isNested (options: VerifyOptions) {
  return Object.hasOwn(options, 'verify') || Object.hasOwn(options, 'decode')
}

function withExtractor (options: VerifyOptions, extractToken: () => string): VerifyOptions {
  return isNested(options)
    ? { ...options, verify: { ...options.verify as VerifyOptions, extractToken } }
    : { ...options, extractToken }
}

/** Whether options only say where the token is: then it is verified as it is without them. */
function changesLookupOnly (options: VerifyOptions): boolean {
  if (isNested(options)) {
    return Object.keys(options).length === 1 && typeof options.verify === 'object' && options.verify !== null &&
      changesLookupOnly(options.verify as VerifyOptions)
  }
  return Object.keys(options).every((key) => key === 'onlyCookie' || key === 'extractToken')
}

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { claimsOf, type TokenClaims } from '../domain/claims.ts'
import type { TokenRevocation } from '../domain/decorator.ts'
import { badOption, FST_JWT_NOT_REVOCABLE } from '../errors.ts'
import { mayHaveCookie, withCookies } from './cookies.ts'
import { requestPrototype } from './fastify-internals.ts'
import {
  changesLookupOnly, kindOfDecorator, verifyOptionsOf, withExtractor,
  type Callback, type JwtDecorator, type Verify, type VerifyOptions
} from './jwt.ts'
import { Calls, Verification, type FoundToken } from './outcome.ts'

type VerifiedCallback = (error: Error | null, user?: unknown, verification?: Verification) => void
type GuardedRequest = FastifyRequest & Record<PropertyKey, unknown>

const kGuarded = Symbol('fastify-jwt-revocation.guarded')

/** Stands before one verify decorator of `@fastify/jwt`, so that it never succeeds for a revoked token (P1). */
export class Guard {
  readonly #revocation: TokenRevocation
  readonly #jwt: JwtDecorator
  readonly #userKey: string
  readonly #cookieName: string | undefined
  readonly #extractsToken: boolean
  readonly #original: Verify
  readonly #kCalls = Symbol('fastify-jwt-revocation.calls')

  /** Takes the decorator's place on the requests of `scope`, and of every scope below it, registered before or after. */
  constructor (scope: FastifyInstance, jwt: JwtDecorator, verifyName: string, revocation: TokenRevocation) {
    const prototype = requestPrototype(scope)
    this.#revocation = revocation
    this.#jwt = jwt
    this.#userKey = jwt.options.decoratorName
    this.#cookieName = jwt.cookie?.cookieName
    this.#extractsToken = typeof jwt.options.verify.extractToken === 'function'
    this.#original = verifyDecorator(prototype[verifyName], verifyName, jwt)
    // Also marks the scope's requests as decorated: Fastify drops the request class of a scope that has no decorator.
    scope.decorateRequest(this.#kCalls, null)
    // Of scopes that were registered before as well.
    prototype[this.#kCalls] = null
    prototype[verifyName] = this.#decorator()
  }

  /** Verifies the token that a request presents, if it does. Calls back with an error only where the guard refuses it. */
  inspect (request: FastifyRequest, done: (refusal: Error | null) => void) {
    if (!this.presents(request)) return done(null)
    let found: FoundToken
    try {
      found = this.#presented(request)
    } catch {
      // Nothing that @fastify/jwt takes for a token: the route's own jwtVerify() says so.
      return done(null)
    }
    const verification = this.#verification(request as GuardedRequest, found.token, found.options)
    const end = () => {
      const { refusal } = verification
      // What is not revocable, and not revoked, is left to the route: its own jwtVerify() refuses it.
      if (refusal === null || refusal instanceof FST_JWT_NOT_REVOCABLE) return done(null)
      ;(request as GuardedRequest)[this.#userKey] = null
      done(refusal)
    }
    if (verification.isSettled) end()
    else verification.whenSettled(end)
  }

  /** Whether a value is a request whose verify decorator this is. */
  guards (value: unknown): value is FastifyRequest {
    return typeof value === 'object' && value !== null && this.#kCalls in value
  }

  /** Cheaper than to let lookupToken() throw for every anonymous request. */
  presents (request: FastifyRequest): boolean {
    if (this.#extractsToken || request.headers.authorization !== undefined) return true
    return this.#cookieName !== undefined && mayHaveCookie(request, this.#cookieName)
  }

  /** The later, the greater, over all guards; 0 where it has accepted nothing. */
  acceptedAt (request: FastifyRequest): number {
    return this.#callsOf(request as GuardedRequest).acceptedAt
  }

  /**
   * The token that a request presents and that verifies, revoked or not: the one that the application's last call
   * accepted, else the one that a call would find. The user of the request stays, and the store is not asked.
   */
  tokenOf (request: FastifyRequest): Promise<string> {
    return new Promise((resolve, reject) => {
      const { token, options } = this.#callsOf(request as GuardedRequest).accepted ?? this.#presented(request)
      this.#verifySignature(request as GuardedRequest, token, options, (error) => {
        if (error) reject(error)
        else resolve(token as string)
      })
    })
  }

  /**
   * What `await request.jwtVerify()` does. Fails for a token that could not be checked, although it may be accepted
   * elsewhere: it may be revoked, and such a token revokes nothing (P6).
   */
  authenticate (request: FastifyRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#verify(request, undefined, (error, _user, verification) => {
        error ??= verification?.unchecked ?? null
        if (error) return reject(error)
        this.#callsOf(request as GuardedRequest).authenticated = verification
        resolve()
      })
    })
  }

  /**
   * The claims of the token that `authenticate` accepted. Asks the store again: somebody may have revoked the token
   * while the request's body was on its way.
   */
  authenticateAgain (request: FastifyRequest): Promise<TokenClaims> {
    const { token, user } = this.#callsOf(request as GuardedRequest).authenticated!
    return new Promise((resolve, reject) => {
      this.#revocation.check(token as string, (refusal, unchecked) => {
        const error = refusal ?? unchecked
        ;(request as GuardedRequest)[this.#userKey] = error === null ? user : null
        if (error) reject(error)
        else resolve(claimsOf(token as string))
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

  /** Answers about the token that this call finds. Calls share an outcome by its token, never by where they found it. */
  #verify (givenRequest: FastifyRequest, options: VerifyOptions | undefined, callback: VerifiedCallback) {
    const request = givenRequest as GuardedRequest
    let token: unknown
    try {
      token = this.#find(request, options)
    } catch (error) {
      if (options === undefined) return callback(error as Error)
      // Options that @fastify/jwt refuses are refused before it looks for a token.
      return this.#original.call(request, withExtractor(options, () => { throw error }), callback)
    }
    const calls = this.#callsOf(request)
    const turn = ++calls.begun
    const verification = this.#begin(request, token, options)
    verification.whenSettled((error, user) => {
      // With @fastify/jwt the last of several calls sets the user, and the store may answer them in another order.
      if (turn > calls.decided && (!error || verification.refusal !== null)) {
        calls.decided = turn
        calls.user = verification.refusal === null ? user : null
        request[this.#userKey] = calls.user
        if (!error) calls.accept({ token, options })
      }
      callback(error, user, verification)
    })
  }

  /** The token, as a string: somebody may write to a Buffer later. `@fastify/jwt` refuses what is neither. */
  #find (request: FastifyRequest, options: VerifyOptions | undefined): unknown {
    const found = this.#jwt.lookupToken(request, verifyOptionsOf(options))
    // To @fastify/jwt an empty Buffer is a malformed token, an empty string no token at all.
    return Buffer.isBuffer(found) ? found.toString() || ' ' : found
  }

  /** What the request presents. `@fastify/jwt` does not find it by itself in a cookie that is not parsed yet: it needs options. */
  #presented (request: FastifyRequest): FoundToken {
    const parsed = this.#cookieName === undefined && !this.#extractsToken ? request : withCookies(request)
    return { token: this.#find(parsed, undefined), options: parsed === request ? undefined : {} }
  }

  #begin (request: GuardedRequest, token: unknown, options: VerifyOptions | undefined): Verification {
    return options === undefined || changesLookupOnly(options)
      ? this.#verification(request, token, options)
      : this.#start(request, new Verification(token), options)
  }

  /** The verification of a token by the options of `@fastify/jwt`: one that the request has already, or a new one. */
  #verification (request: GuardedRequest, token: unknown, options: VerifyOptions | undefined): Verification {
    const calls = this.#callsOf(request)
    const known = calls.verification
    if (known !== undefined && known.token === token && known.isFresh(this.#revocation.epoch)) return known
    calls.verification = new Verification(token)
    return this.#start(request, calls.verification, options)
  }

  #start (request: GuardedRequest, verification: Verification, options: VerifyOptions | undefined): Verification {
    const { token } = verification
    this.#verifySignature(request, token, options, (error, user) => {
      if (error) return verification.settle(error)
      verification.epoch = this.#revocation.epoch
      this.#revocation.check(token as string, (refusal, unchecked) => {
        verification.refusal = refusal
        verification.unchecked = unchecked
        if (refusal === null) verification.user = user
        verification.settle(refusal)
      })
    })
    return verification
  }

  /**
   * Calls `done(error, user)` with what `@fastify/jwt` says of this very token, wherever options, or an `extractToken`,
   * would look for one now. The request keeps the user that it had.
   */
  #verifySignature (request: GuardedRequest, token: unknown, options: VerifyOptions | undefined, done: Callback) {
    const calls = this.#callsOf(request)
    const { decided } = calls
    const userBefore = request[this.#userKey]
    // Without options @fastify/jwt uses the verifier it has; with any, even {}, it builds one (40 µs).
    const bound = options === undefined && !this.#extractsToken ? undefined : withExtractor(options ?? {}, () => token)
    try {
      this.#original.call(request, bound, (error, user) => {
        if (error) return done(error)
        // A call of the application's may have been decided meanwhile.
        request[this.#userKey] = calls.decided === decided ? userBefore : calls.user
        done(null, user)
      })
    } catch (error) {
      // A secret function that throws.
      done(error as Error)
    }
  }

  #callsOf (request: GuardedRequest): Calls {
    return (request[this.#kCalls] ??= new Calls()) as Calls
  }
}

/** A decorator that only decodes, or that verifies for another namespace, would leave unguarded what is to be guarded. */
function verifyDecorator (decorator: unknown, name: string, jwt: JwtDecorator): Verify {
  const cure = 'set option "jwtVerify" to the name it was registered with'
  if (typeof decorator !== 'function') throw badOption(`@fastify/jwt has no request decorator "${name}"; ${cure}`)
  if (isGuarded(decorator)) {
    throw badOption(`"${name}" is guarded already: the plugin is registered twice on one scope; register it once`)
  }
  const kind = kindOfDecorator(decorator, jwt)
  if (kind === 'none') throw badOption(`"${name}" is no verify decorator of @fastify/jwt; ${cure}`)
  if (kind === 'foreign') {
    throw badOption(`"${name}" verifies for another @fastify/jwt than the one to guard; set option "namespace" to ` +
      `the namespace of "${name}", or option "jwtVerify" to the name that the one to guard was registered with`)
  }
  return decorator as Verify
}

export function isGuarded (verify: unknown): boolean {
  return typeof verify === 'function' && Object.hasOwn(verify, kGuarded)
}

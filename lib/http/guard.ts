import type { FastifyInstance, FastifyRequest } from 'fastify'
import { claimsOf, type TokenClaims } from '../domain/claims.ts'
import type { Decorator } from '../domain/decorator.ts'
import { FST_JWT_NOT_REVOCABLE } from '../errors.ts'
import type { Clock } from '../time.ts'
import type { FoundToken } from './calls.ts'
import { requestPrototype } from './fastify-internals.ts'
import { withExtractor, type Callback, type GuardedJwt, type Verify, type VerifyOptions } from './jwt.ts'
import { errorOf, unverified, type Outcome, type OutcomeCallback, type Verification } from './outcome.ts'
import type { ShortWay } from './short-way.ts'
import { TokenFinder } from './token-finder.ts'
import { thrown, Verifier, type GuardedRequest } from './verifier.ts'
import { markGuarded, verifyDecorator } from './verify-decorator.ts'

export interface GuardOptions extends GuardedJwt {
  /** Absent where it would not answer what `request.jwtVerify()` does, or where nobody can know. */
  shortWay?: ShortWay | undefined
  /** The guard takes the decorator's place here, and in each scope below, registered before or after. */
  scope: FastifyInstance
  revocation: Decorator
  clock: Clock
}

/** One call of a verify decorator: the token that it found, or else the error. */
interface Call extends FoundToken {
  /** Its number among the calls of its request. */
  turn: number
  verification: Verification | undefined
  error: Error | null
}

/** Stands before a verify decorator of `@fastify/jwt`, so that it never succeeds for a revoked token (P1). */
export class Guard {
  readonly #revocation: Decorator
  readonly #finder: TokenFinder
  readonly #userKey: string
  readonly #verifier: Verifier
  readonly #kCalls = Symbol('fastify-jwt-revocation.calls')

  constructor ({ scope, jwt, verifyName, shortWay, revocation, clock }: GuardOptions) {
    const prototype = requestPrototype(scope)
    this.#revocation = revocation
    this.#finder = new TokenFinder(jwt)
    this.#userKey = jwt.options.decoratorName
    this.#verifier = new Verifier({
      original: verifyDecorator(scope, { jwt, verifyName }),
      shortWay,
      revocation,
      clock,
      extractsToken: this.#finder.extractsToken,
      userKey: this.#userKey,
      kCalls: this.#kCalls
    })
    // Also marks the requests as decorated: Fastify drops the request class of a scope without a decorator.
    scope.decorateRequest(this.#kCalls, null)
    // Reaches scopes that were registered before as well.
    prototype[this.#kCalls] = null
    prototype[verifyName] = this.#decorator()
  }

  /** The verify decorator of `@fastify/jwt` that this stands before. */
  get original (): Verify {
    return this.#verifier.original
  }

  /** The verification of the token that a request presents; undefined where it presents none. */
  inspect (request: FastifyRequest): Verification | undefined {
    if (!this.#finder.presents(request)) return undefined
    let found: FoundToken
    try {
      found = this.#finder.presented(request, this.#verifier.callsOf(request as GuardedRequest))
    } catch {
      // Nothing that @fastify/jwt takes for a token: the route's own jwtVerify() says so.
      return undefined
    }
    return this.#verifier.shared(request as GuardedRequest, found.token, found.options)
  }

  /** The error with which the hook answers a request, after the inspection of its token. */
  refusal (request: FastifyRequest, { kind, error }: Verification): Error | null {
    // A token that is not revocable, and not revoked, is left to the route: its own jwtVerify() refuses it.
    if (kind !== 'refused' || error instanceof FST_JWT_NOT_REVOCABLE) return null
    ;(request as GuardedRequest)[this.#userKey] = null
    return error
  }

  /** Whether a value is a request whose verify decorator this is. */
  guards (value: unknown): value is FastifyRequest {
    return typeof value === 'object' && value !== null && this.#kCalls in value
  }

  /** Whether a request may present a token. */
  presents (request: FastifyRequest): boolean {
    return this.#finder.presents(request)
  }

  /** The later, the greater, over all guards; 0 where this guard has accepted nothing. */
  acceptedAt (request: FastifyRequest): number {
    return this.#verifier.callsOf(request as GuardedRequest).acceptedAt
  }

  /**
   * The token that a request presents and that verifies, revoked or not: the one that the application's last
   * call accepted, or else the one that a call would find. Asks no store, and the request keeps its user.
   */
  tokenOf (request: FastifyRequest): Promise<string> {
    return new Promise((resolve, reject) => {
      const calls = this.#verifier.callsOf(request as GuardedRequest)
      const { token, options } = calls.accepted ?? this.#finder.presented(request, calls)
      this.#verifier.signature(request as GuardedRequest, token, options, (error) => {
        if (error) reject(error)
        else resolve(token as string)
      })
    })
  }

  /**
   * Does what `await request.jwtVerify()` does. Fails for a token that could not be checked as well: it may
   * be revoked, and such a token revokes nothing (P6).
   */
  authenticate (request: FastifyRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#verify(request, undefined, (outcome) => {
        if (outcome.error !== null) return reject(outcome.error)
        this.#verifier.callsOf(request as GuardedRequest).authenticated = outcome
        // It waits for an async formatUser, which may refuse the user.
        resolve(outcome.user)
      })
    })
  }

  /**
   * The claims of the token that `authenticate` accepted. Asks the store again: somebody may have revoked the
   * token while the request's body was on its way.
   */
  authenticateAgain (request: FastifyRequest): Promise<TokenClaims> {
    const { token, user } = this.#verifier.callsOf(request as GuardedRequest).authenticated!
    const claims = claimsOf(token as string)
    return new Promise((resolve, reject) => {
      const checked = (refusal: Error | null, unchecked: Error | null) => {
        const error = refusal ?? unchecked
        ;(request as GuardedRequest)[this.#userKey] = error === null ? user : null
        if (error) reject(error)
        else resolve(claims)
      }
      this.#revocation.check(claims, { checked })
    })
  }

  #decorator () {
    const guard = this
    return markGuarded(function jwtVerify (
      this: FastifyRequest, options?: VerifyOptions | Callback | null, callback?: Callback
    ) {
      const done = typeof options === 'function' ? options : callback
      const given = typeof options === 'function' ? undefined : options ?? undefined
      if (done !== undefined) {
        guard.#verify(this, given, (outcome) => {
          const error = errorOf(outcome)
          if (error) done(error)
          else done(null, outcome.user)
        })
        // A callback alone: @fastify/jwt gives a promise that never settles, and whoever awaits it goes no
        // further.
        return callback === undefined ? new Promise(() => {}) : undefined
      }
      return guard.#promised(this, given)
    })
  }

  /** As `#verify`. Where the outcome is there, as after the hook, it makes no closure. */
  #promised (request: FastifyRequest, options: VerifyOptions | undefined): Promise<unknown> {
    try {
      const call = this.#begin(request, options)
      if (call.verification?.kind === undefined) return this.#promisedLater(request, call)
      const outcome = this.#answer(request, call, call.verification as Outcome)
      const error = errorOf(outcome)
      return error === null ? promiseOf(outcome.user) : Promise.reject(error)
    } catch (error) {
      // Options of the application threw when they were read.
      return Promise.reject(error)
    }
  }

  #promisedLater (request: FastifyRequest, call: Call): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#end(request, call, (outcome) => {
        const error = errorOf(outcome)
        if (error === null) resolve(outcome.user)
        else reject(error)
      })
    })
  }

  /** Answers about the token that this call finds. Calls share a token's outcome, wherever they found it. */
  #verify (request: FastifyRequest, options: VerifyOptions | undefined, callback: OutcomeCallback) {
    this.#end(request, this.#begin(request, options), callback)
  }

  #begin (givenRequest: FastifyRequest, options: VerifyOptions | undefined): Call {
    const request = givenRequest as GuardedRequest
    const calls = this.#verifier.callsOf(request)
    let token: unknown
    try {
      token = this.#finder.find(request, options, calls)
    } catch (error) {
      return { token, options, turn: 0, verification: undefined, error: thrown(error) }
    }
    const turn = ++calls.begun
    return { token, options, turn, verification: this.#verifier.begin(request, token, options), error: null }
  }

  #end (request: FastifyRequest, call: Call, callback: OutcomeCallback) {
    const { verification } = call
    if (verification === undefined) return this.#answerNotFound(request, call, callback)
    verification.whenSettled((outcome) => callback(this.#answer(request, call, outcome)))
  }

  #answer (givenRequest: FastifyRequest, call: Call, settled: Outcome): Outcome {
    const request = givenRequest as GuardedRequest
    const outcome = this.#verifier.formatted(settled)
    const calls = this.#verifier.callsOf(request)
    // With @fastify/jwt the last of several calls sets the user; the store may answer in another order.
    if (call.turn > calls.decided && outcome.kind !== 'unverified') {
      calls.decided = call.turn
      calls.user = outcome.kind === 'refused' ? null : outcome.user
      request[this.#userKey] = calls.user
      if (outcome.kind !== 'refused') calls.accept(call)
    }
    return outcome
  }

  /** `@fastify/jwt` reads options before it looks for a token: what it says of those comes before `error`. */
  #answerNotFound (request: FastifyRequest, { options, error }: Call, callback: OutcomeCallback) {
    if (options === undefined) return callback(unverified(error!))
    const bound = withExtractor(options, () => { throw error })
    return this.#verifier.original.call(request, bound, (said) => callback(unverified(said!)))
  }
}

/**
 * Of each call its own: one that nobody waits for must be reported where an async formatUser rejects. So not
 * by `Promise.resolve`, which gives a promise back, nor by `then`, which a subclass may have changed.
 */
function promiseOf (user: unknown): Promise<unknown> {
  return user instanceof Promise ? new Promise((resolve) => resolve(user)) : Promise.resolve(user)
}

import type { FastifyRequest } from 'fastify'
import { types } from 'node:util'
import { claimsOf, type TokenClaims } from '../domain/claims.ts'
import type { Decorator } from '../domain/decorator.ts'
import type { Clock } from '../time.ts'
import { Calls } from './calls.ts'
import { changesLookupOnly, withExtractor, type Callback, type Verify, type VerifyOptions } from './jwt.ts'
import { unverified, Verification, type Outcome } from './outcome.ts'
import type { ShortWay } from './short-way.ts'

export type GuardedRequest = FastifyRequest & Record<PropertyKey, unknown>

export interface VerifierContext {
  /** The decorator of `@fastify/jwt`. */
  original: Verify
  shortWay: ShortWay | undefined
  revocation: Decorator
  clock: Clock
  /** Whether `@fastify/jwt` was registered with a function that finds tokens. */
  extractsToken: boolean
  /** Where a request keeps its user. */
  userKey: string
  /** Where a request keeps what its calls have in common. */
  kCalls: symbol
}

/** Verifies the tokens of requests, and has them checked. Calls of one request share what came of a token. */
export class Verifier {
  readonly original: Verify
  readonly #shortWay: ShortWay | undefined
  readonly #revocation: Decorator
  readonly #clock: Clock
  readonly #extractsToken: boolean
  readonly #userKey: string
  readonly #kCalls: symbol

  constructor (context: VerifierContext) {
    const { original, shortWay, revocation, clock, extractsToken, userKey, kCalls } = context
    this.original = original
    this.#shortWay = shortWay
    this.#revocation = revocation
    this.#clock = clock
    this.#extractsToken = extractsToken
    this.#userKey = userKey
    this.#kCalls = kCalls
  }

  /** For a call of the application's: in the words of `@fastify/jwt`. The user is yet to be formatted. */
  begin (request: GuardedRequest, token: unknown, options?: VerifyOptions): Verification {
    if (options === undefined) {
      const verification = this.shared(request, token)
      return verification.isRaw ? this.#said(request, verification) : verification
    }
    const verification = new Verification(token, this.#clock)
    if (changesLookupOnly(options)) {
      const known = this.#known(request, token)
      if (known !== undefined && !known.isRaw) return known
      this.callsOf(request).verification = verification
    }
    return this.#start(request, verification, options)
  }

  /** The verification by `@fastify/jwt`'s own options: one that the request has already, or a new one. */
  shared (request: GuardedRequest, token: unknown, options?: VerifyOptions): Verification {
    const known = this.#known(request, token)
    if (known !== undefined) return known
    const verification = this.callsOf(request).verification = new Verification(token, this.#clock)
    return this.#shortWay === undefined
      ? this.#start(request, verification, options)
      : this.#startShort(verification, this.#shortWay)
  }

  /** The same with the user that `formatUser` makes of what is accepted, for the first call that asks. */
  formatted (outcome: Outcome): Outcome {
    const verification = outcome as Verification
    if (!verification.isUnformatted) return outcome
    const { formatUser } = this.#shortWay!
    try {
      verification.user = formatUser!(verification.user)
    } catch (error) {
      return unverified(this.#shortWay!.errorOfUser(thrown(error)), outcome.token)
    }
    verification.isUnformatted = false
    return outcome
  }

  #known (request: GuardedRequest, token: unknown): Verification | undefined {
    const known = this.callsOf(request).verification
    if (known === undefined || known.token !== token) return undefined
    return known.isFresh(this.#revocation.epoch) ? known : undefined
  }

  #start (request: GuardedRequest, verification: Verification, options?: VerifyOptions): Verification {
    const { token } = verification
    this.signature(request, token, options, (error, user) => {
      if (error) return verification.fail(error)
      verification.user = user
      this.#check(verification, claimsOf(token as string))
    })
    return verification
  }

  #startShort (verification: Verification, shortWay: ShortWay): Verification {
    const token = verification.token as string
    try {
      verification.user = shortWay.verify(token)
    } catch (error) {
      verification.isRaw = true
      verification.fail(thrown(error))
      return verification
    }
    verification.isUnformatted = shortWay.formatUser !== undefined
    this.#check(verification, shortWay.claims(token, verification.user))
    return verification
  }

  #check (verification: Verification, claims: TokenClaims) {
    verification.epoch = this.#revocation.epoch
    this.#revocation.check(claims, verification)
  }

  /** Of a token that the short way did not verify: the same in the words of `@fastify/jwt`. */
  #said (request: GuardedRequest, failed: Verification): Verification {
    const raw = failed.error!
    const verification = new Verification(failed.token, this.#clock)
    const said = this.#shortWay!.errorOf(failed.token as string, raw)
    if (said !== undefined) {
      verification.fail(said)
      return verification
    }
    this.#start(request, verification)
    if (verification.kind === 'unverified') this.#shortWay!.learn(raw, verification.error!)
    return verification
  }

  /**
   * Calls `done(error, user)` with what `@fastify/jwt` says of this very token, wherever options, or an
   * `extractToken`, would look for one now. The request keeps the user that it had.
   */
  signature (
    request: GuardedRequest, token: unknown, options: VerifyOptions | undefined, done: Callback
  ) {
    const calls = this.callsOf(request)
    const { decided } = calls
    const userBefore = request[this.#userKey]
    // Without options @fastify/jwt uses the verifier that it has; with any, even {}, it builds one (40 µs).
    // It decodes an empty token, of a signed cookie, and takes none from where tokens are extracted.
    const bound = token === '' || (options === undefined && !this.#extractsToken)
      ? options
      : withExtractor(options ?? {}, () => token)
    try {
      this.original.call(request, bound, (error, user) => {
        if (error) return done(error)
        // What an async formatUser throws may come before anybody has the user, or though nobody gets it.
        if (types.isPromise(user)) user.catch(() => {})
        // Another call of the application's may have been decided meanwhile.
        request[this.#userKey] = calls.decided === decided ? userBefore : calls.user
        done(null, user)
      })
    } catch (error) {
      // A secret function threw.
      done(thrown(error))
    }
  }

  callsOf (request: GuardedRequest): Calls {
    return (request[this.#kCalls] ??= new Calls()) as Calls
  }
}

/** What a function of the application threw. To a callback a falsy value means that there is no error. */
export function thrown (error: unknown): Error {
  return (error || new Error('a function given to @fastify/jwt threw nothing')) as Error
}

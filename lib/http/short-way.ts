import type { FastifyJWTOptions } from '@fastify/jwt'
import { claimsOf, type TokenClaims } from '../domain/claims.ts'
import type { JwtDecorator } from './jwt.ts'
import { codeOf, Wording } from './wording.ts'

/*
 * `request.jwtVerify()` of `@fastify/jwt` decodes each token twice and merges its options four times.
 * `app.jwt.verify(token)` uses the same verifier and does half the work. What it answers is the same
 * only where nothing else has a say: no secret or `trusted` of the request, no options for decoding.
 */

/** What fast-jwt throws only while it decodes. To decode once more would make two more errors. */
const OF_DECODING = new Set<unknown>(['FAST_JWT_MALFORMED', 'FAST_JWT_INVALID_PAYLOAD'])

type FormatUser = (payload: unknown) => unknown

/** Verifies tokens by `app.jwt.verify()`, and answers what `request.jwtVerify()` without options would. */
export class ShortWay {
  /** Makes the user of what `verify` gives. */
  readonly formatUser: FormatUser | undefined
  /** Gives the payload, or with `complete` the whole token. @throws what fast-jwt throws */
  readonly verify: (token: string) => unknown
  readonly #decode: (token: string) => unknown
  readonly #isComplete: boolean
  /** With its cache, fast-jwt gives every request the same payload, which an application may have changed. */
  readonly #isShared: boolean
  /** Whether a function of the application may throw what fast-jwt throws while it decodes. */
  readonly #runsFunctions: boolean
  readonly #wording: Wording
  /** The codes of what fast-jwt throws that `@fastify/jwt` answered in just these words. */
  readonly #known = new Set<unknown>()

  /** `given`: the options that this `@fastify/jwt` was registered with. They must be sound. */
  constructor ({ verify, decode, options }: JwtDecorator, given: FastifyJWTOptions) {
    const verifyOptions = given.verify ?? {}
    this.verify = verify
    this.#decode = decode
    this.#isComplete = Boolean(verifyOptions.complete)
    this.#isShared = Boolean(verifyOptions.cache)
    this.#runsFunctions = Object.values(verifyOptions).flat().some(isOrHoldsFunction)
    this.#wording = new Wording(options.messages)
    this.formatUser = (given.formatUser || undefined) as FormatUser | undefined
  }

  /** Whether `app.jwt.verify()` answers for a request what the request's own `jwtVerify()` would. */
  static isSound ({ secret, trusted, decode, verify }: FastifyJWTOptions): boolean {
    const isPair = typeof secret === 'object' && !Buffer.isBuffer(secret)
    const key = isPair ? (secret as { public: unknown }).public : secret
    const { key: givenKey, cacheKeyBuilder, decode: nested } = (verify ?? {}) as Record<string, unknown>
    const isStatic = typeof key !== 'function' && typeof givenKey !== 'function'
    // A call takes `verify.decode` for options to decode by. The guard refuses `verify.verify`.
    // With a cacheKeyBuilder of its own, a cache may answer for a token that can't even be decoded.
    return isStatic && !trusted && decode === undefined && !nested && cacheKeyBuilder === undefined
  }

  /** The claims of a token, of which `verify` gave `result` just now. */
  claims (token: string, result: unknown): TokenClaims {
    if (this.#isShared) return claimsOf(token)
    return (this.#isComplete ? (result as { payload: unknown }).payload : result) as TokenClaims
  }

  /**
   * How `@fastify/jwt` says that a token does not verify, of which `verify` threw `raw`; undefined where it
   * has not said so before.
   */
  errorOf (token: string, raw: Error): Error | undefined {
    const code = codeOf(raw)
    if (OF_DECODING.has(code) && !this.#runsFunctions) return this.#wording.ofDecoding(raw)
    try {
      // What it finds wrong while it decodes comes first, and is said otherwise.
      this.#decode(token)
    } catch (error) {
      return error as Error
    }
    return this.#known.has(code) ? this.#wording.of(raw) : undefined
  }

  /** Of what a `formatUser` threw: `@fastify/jwt` calls it where it handles what fast-jwt throws. */
  errorOfUser (error: Error): Error {
    return this.#wording.of(error)
  }

  /** Whether `@fastify/jwt` says in these words what fast-jwt throws shows when it has said so. */
  learn (raw: Error, said: Error) {
    const code = codeOf(raw)
    if (code !== undefined && isAlike(this.#wording.of(raw), said)) this.#known.add(code)
  }
}

function isAlike (one: Error, other: Error): boolean {
  return one.name === other.name && one.message === other.message && codeOf(one) === codeOf(other)
}

function isOrHoldsFunction (option: unknown): boolean {
  const { test } = Object(option) as { test?: unknown }
  return typeof option === 'function' || typeof test === 'function'
}

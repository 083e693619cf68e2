import type { FastifyJWTOptions } from '@fastify/jwt'
import { claimsOf, type TokenClaims } from '../domain/claims.ts'
import type { JwtDecorator } from './jwt.ts'

/*
 * `request.jwtVerify()` of `@fastify/jwt` decodes each token twice and merges its options four times.
 * `app.jwt.verify(token)` uses the same verifier and takes about half as long. What it answers is the same
 * only where nothing else has a say: no secret or `trusted` of the request, no options for decoding.
 */

type FormatUser = (payload: unknown) => unknown
type ErrorOf = (raw: Error) => Error

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
  /** By the code of what fast-jwt throws, how `@fastify/jwt` says it. */
  readonly #errors = new Map<string | undefined, ErrorOf>()

  /** `options`: those that this `@fastify/jwt` was registered with. They must be sound. */
  constructor ({ verify, decode }: JwtDecorator, options: FastifyJWTOptions) {
    const { complete, cache } = ownOf(options.verify)
    this.verify = verify
    this.#decode = decode
    this.#isComplete = Boolean(complete)
    this.#isShared = Boolean(cache)
    this.formatUser = (options.formatUser || undefined) as FormatUser | undefined
  }

  /** Whether `app.jwt.verify()` answers for a request what the request's own `jwtVerify()` would. */
  static isSound ({ secret, trusted, decode, verify }: FastifyJWTOptions): boolean {
    const isPair = typeof secret === 'object' && !Buffer.isBuffer(secret)
    const key = isPair ? (secret as { public: unknown }).public : secret
    const { key: givenKey, cacheKeyBuilder } = ownOf(verify)
    const isStatic = typeof key !== 'function' && typeof givenKey !== 'function'
    // With a cacheKeyBuilder of its own, a cache may answer for a token that can't even be decoded.
    return isStatic && !trusted && Object.keys(ownOf(decode)).length === 0 && cacheKeyBuilder === undefined
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
    try {
      // What it finds wrong while it decodes comes first, and is said otherwise.
      this.#decode(token)
    } catch (error) {
      return error as Error
    }
    return this.#errors.get(codeOf(raw))?.(raw)
  }

  /** Remembers how `@fastify/jwt` says what fast-jwt throws: by a class of its own, or as it is. */
  learn (raw: Error, said: Error) {
    const code = codeOf(raw)
    const wording = code === undefined ? undefined : wordingOf(raw, said)
    if (wording !== undefined) this.#errors.set(code, wording)
  }
}

function codeOf (error: Error): string | undefined {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}

function wordingOf (raw: Error, said: Error): ErrorOf | undefined {
  if (said.constructor === raw.constructor) return (raw) => raw
  const Said = said.constructor as new (message?: string) => Error
  if (new Said(raw.message).message === said.message) return ({ message }) => new Said(message)
  if (new Said().message === said.message) return () => new Said()
}

/** As `@fastify/jwt` reads options: those that are inherited do not count. */
function ownOf (options: object | null | undefined): Record<string, unknown> {
  return { ...options }
}

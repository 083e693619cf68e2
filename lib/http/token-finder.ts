import type { FastifyRequest } from 'fastify'
import type { Calls, FoundToken } from './calls.ts'
import { mayHaveCookie, withCookies } from './cookies.ts'
import { optionsOf, verifyOptionsOf, type JwtDecorator, type VerifyOptions } from './jwt.ts'

const SCHEME = 'Bearer '

/** Finds the token of a request where one `@fastify/jwt` would find it. */
export class TokenFinder {
  /** Whether `@fastify/jwt` was registered with a function that finds tokens. */
  readonly extractsToken: boolean
  readonly #jwt: JwtDecorator
  readonly #cookieName: string | undefined
  /** Whether a token in the Authorization header is the one to find. */
  readonly #prefersHeader: boolean

  constructor (jwt: JwtDecorator) {
    this.#jwt = jwt
    this.#cookieName = jwt.cookie?.cookieName
    const { extractToken, onlyCookie } = optionsOf(jwt).verify
    this.extractsToken = typeof extractToken === 'function'
    this.#prefersHeader = !extractToken && !onlyCookie
  }

  /**
   * Whether a request may present a token. Asking costs an anonymous request 0.1 µs. Without that `presented`
   * would throw, and its error costs 40 µs: two thirds of what all else takes.
   */
  presents (request: FastifyRequest): boolean {
    if (this.extractsToken || request.headers.authorization !== undefined) return true
    return this.#cookieName !== undefined && mayHaveCookie(request, this.#cookieName)
  }

  /**
   * The token that a request presents. `@fastify/jwt` needs options where it is in an unparsed cookie.
   * @throws what `@fastify/jwt` throws where it finds none
   */
  presented (request: FastifyRequest, calls: Calls): FoundToken {
    const parsed = this.#cookieName === undefined && !this.extractsToken ? request : withCookies(request)
    return { token: this.find(parsed, undefined, calls), options: parsed === request ? undefined : {} }
  }

  /**
   * The token, as a string: somebody may write to a Buffer later. `@fastify/jwt` refuses what is neither.
   * @throws what `@fastify/jwt` throws where it finds none
   */
  find (request: FastifyRequest, options: VerifyOptions | undefined, calls: Calls): unknown {
    if (options === undefined && this.#prefersHeader) {
      const token = bearerOf(request.headers.authorization, calls)
      if (token !== undefined) return token
    }
    const found = this.#jwt.lookupToken(request, verifyOptionsOf(options))
    // To @fastify/jwt an empty Buffer is a malformed token, and an empty string is no token at all.
    return Buffer.isBuffer(found) ? found.toString() || ' ' : found
  }
}

/**
 * The token after `Bearer `, in the form in which nearly every client sends it. `lookupToken` says the same,
 * but merges options first. Each request is asked twice, and is given the same string: to compare two would
 * take as long as to find it again.
 */
function bearerOf (header: unknown, calls: Calls): string | undefined {
  // A hook of the application may have put anything there.
  if (typeof header !== 'string') return undefined
  if (header === calls.header) return calls.bearer
  const token = header.startsWith(SCHEME) ? header.slice(SCHEME.length) : ''
  calls.header = header
  calls.bearer = token === '' || token.includes(' ') ? undefined : token
  return calls.bearer
}

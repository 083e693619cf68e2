import type { SignOptions } from '@fastify/jwt'
import type { IssueClaims, TokenClaims } from './domain/claims.ts'

/**
 * Options of `tokens()`.
 * @example
 * const options: TokensOptions = { iss: 'https://login.example', limit: 20 }
 * const { tokens, cursor } = await app.revocation.tokens('alice', options)
 */
export interface TokensOptions {
  /** Default: the default issuer; `''`: tokens without one. */
  iss?: string
  /** How many, 1 to 1,000. Default 500. */
  limit?: number
  /** The `cursor` of the page before. */
  cursor?: string
}

/**
 * Options of `revokeSubject()`.
 * @example
 * const options: SubjectOptions = { except: claims.jti }
 * await app.revocation.revokeSubject('alice', options)
 */
export interface SubjectOptions {
  /** Default: the default issuer; `''`: tokens without one. Not with a request. */
  iss?: string
  /** The jti of a token to spare. Then no cutoff is set: the other recorded tokens are revoked one by one. */
  except?: string
  /**
   * A ban: ends tokens that are issued until then as well. A date, seconds since the epoch, or Infinity for
   * ever. Nobody can lift it before. Not with `except`.
   */
  until?: Date | number
}

/**
 * Options of `revokeSession()`.
 * @example
 * const options: SessionOptions = { iss: 'https://login.example' }
 * await app.revocation.revokeSession('a-session-id', options)
 */
export interface SessionOptions {
  /** Default: the default issuer; `''`: sessions without one. Not with a request. */
  iss?: string
}

/**
 * Options of `revokeBy()`.
 * @example
 * const options: ClaimOptions = { until: Infinity }
 * await app.revocation.revokeBy('tenant', 'acme', options)
 */
export interface ClaimOptions {
  /** Default: the default issuer; `''`: tokens without one. */
  iss?: string
  /**
   * A ban: ends tokens that are issued until then as well. A date, seconds since the epoch, or Infinity for
   * ever. Nobody can lift it before.
   */
  until?: Date | number
}

/**
 * Sign options of `@fastify/jwt`, and the plugin's own.
 * @example
 * const options: IssueOptions = { expiresIn: '15m', meta: { device: 'phone' } }
 * await app.revocation.issue({ sub: 'alice' }, options)
 */
export interface IssueOptions extends Partial<Omit<SignOptions, 'expiresIn' | 'header'>> {
  /**
   * How long the token lives: seconds, or a string with a unit. Default: `sign.expiresIn` of `@fastify/jwt`.
   */
  expiresIn?: number | string
  header?: Partial<NonNullable<SignOptions['header']>>
  /**
   * The namespace of `@fastify/jwt` that signs. Default: the only one, or the first of option `namespace`.
   */
  namespace?: string
  /** Kept in the record, never in the token: at most 4,096 bytes of JSON. */
  meta?: Record<string, unknown>
  /** Begins a session, and gives a refresh token, too. Needs option `refresh`. Default false. */
  refresh?: boolean
}

/**
 * Options of `refresh()`: sign options of `@fastify/jwt`, and the plugin's own. Those of the login are not
 * kept, but for its namespace.
 * @example
 * const options: RefreshOptions = {
 *   claims: ({ sub }) => ({ sub, role: 'admin' }),
 *   meta: { device: 'phone' }
 * }
 * await app.revocation.refresh(refreshToken, options)
 */
export interface RefreshOptions extends Omit<IssueOptions, 'namespace' | 'refresh'> {
  /**
   * The claims of the next access token, or a function of the old ones, which may be async: reload the user
   * there. What it throws is the answer, and the refresh token stays unused. `iss`, `sub` and the session
   * stay as they are; `jti`, `iat` and `exp` are left out. Default: the old claims.
   */
  claims?: IssueClaims | ((old: TokenClaims) => IssueClaims | Promise<IssueClaims>)
}

import type { SignOptions } from '@fastify/jwt'
import type { FastifyRequest } from 'fastify'
import type { IssueClaims, TokenClaims } from './domain/claims.ts'
import type { Milliseconds, Seconds } from './time.ts'

/** One entry of the history. Times are ISO 8601, and null where the token has no `iat` or `exp`. */
export interface TokenRecord {
  /** Random, ours, safe to show. */
  id: string
  jti: string
  iss?: string
  sub?: string
  issuedAt: string | null
  expiresAt: string | null
  meta?: Record<string, unknown>
}

/** A record, and whether its token is refused. */
export interface ListedToken extends TokenRecord {
  status: 'active' | 'revoked'
}

export interface TokensPage {
  tokens: ListedToken[]
  /** For the next page. Absent on the last one. */
  cursor?: string
}

export interface TokensOptions {
  /** Default: the default issuer; `''`: tokens without one. */
  iss?: string
  /** How many, 1 to 1,000. Default 500. */
  limit?: number
  /** Of the page before. */
  cursor?: string
}

export interface SubjectOptions {
  /** Default: the default issuer; `''`: tokens without one. Not with a request. */
  iss?: string
  /**
   * The jti of a token to leave out. Then no cutoff is set: the other recorded tokens are revoked one by one.
   */
  except?: string
}

export interface CutoffResult {
  sub: string
  iss?: string
  /**
   * Seconds since the epoch: every token of the subject with `iat` up to this is refused. Null where a token
   * was left out.
   */
  cutoff: number | null
  /**
   * How many *recorded* tokens this ended. 0 is no failure: the cutoff ends all others too, of which nobody
   * knows how many there are.
   */
  revoked: number
}

export interface CutoffEvent {
  sub: string
  iss?: string
  /** Seconds since the epoch. */
  cutoff: number
}

export interface RevocationResult {
  jti: string
  /** The id of its record, where it has one. */
  id?: string
  iss?: string
  sub?: string
  status: 'revoked'
  /** ISO 8601. When it was first revoked. */
  revokedAt: string
  /** ISO 8601. When the token itself ends; null when unknown. */
  expiresAt: string | null
}

/**
 * A revocation, and whether this call made it: of two log-outs at once one is told `true`. A cutoff that ends the token
 * already is no revocation of it: the first call after that is told `true` as well.
 */
export interface RevokeResult extends RevocationResult {
  first: boolean
}

/** Whatever an application registers: the types of its routes, server and logger don't matter. */
export type AnyRequest = FastifyRequest<any, any, any, any, any, any, any, any>

/** Sign options of `@fastify/jwt`, and what is ours. */
export interface IssueOptions extends Partial<Omit<SignOptions, 'expiresIn' | 'header'>> {
  /**
   * How long the token lives: seconds, or a string with a unit. Default: what `@fastify/jwt` was registered
   * with.
   */
  expiresIn?: number | string
  header?: Partial<NonNullable<SignOptions['header']>>
  /**
   * The namespace of `@fastify/jwt` that signs. Default: the only one, or the first of option `namespace`.
   */
  namespace?: string
  /** Kept in the record, never in the token: at most 4,096 bytes of JSON. */
  meta?: Record<string, unknown>
}

export interface IssuedToken {
  token: string
  /** The id of its record. */
  id: string
  jti: string
  /** Absent where the token has none. */
  iss?: string
  /** ISO 8601; null for a token without `exp`. */
  expiresAt: string | null
}

export interface RevocationStatus {
  mode: 'strict' | 'replica'
  store: 'memory' | 'redis'
  /** Whether the store answered last. */
  available: boolean
  /** Of a replica: how many revocations and cutoffs it holds. */
  entries?: number
  /**
   * Of a replica: milliseconds since it was in step with Redis. Absent before it has been for the first time.
   */
  stalenessMs?: number
  /** What was found at the start to be wrong with Redis, a sentence each. Absent where nothing was. */
  warnings?: string[]
}

export interface RevocationEvents {
  /** A token, or all of a subject until the cutoff. In replica mode on every node. */
  revoked: [RevocationResult | CutoffEvent]
  storeLost: [error: unknown]
  storeBack: []
}

/**
 * The decorator `app.revocation`. Every method that returns a promise may reject with
 * FST_JWT_REVOCATION_UNAVAILABLE.
 */
export interface Revocation {
  /**
   * Signs a token with `@fastify/jwt`, gives it a random jti (unless `claims` has one) and records it, in one
   * round trip. Without `iss` it gets the default issuer (see `revoke()`). Where its subject was cut off in
   * this second, `iat` is the second after, at most 5 seconds ahead: the token is not dead on arrival, and
   * ends when it would have.
   * @throws TypeError where the token would not be accepted : no `exp` or `iat`, or one beyond `maxTokenLifetime`;
   * a claim that `verify.requiredClaims` of `@fastify/jwt` names is missing; or its `allowedSub`, `allowedJti`
   * or `allowedNonce` does not let it pass.
   * @throws FST_JWT_REVOKED where a jti in `claims` is revoked, or the subject is cut off until later than 5
   * seconds from now.
   * @throws FST_JWT_REVOCATION_UNAVAILABLE also where the subject was cut off so often that its `iat` would
   * be further ahead.
   */
  issue (claims: IssueClaims, options?: IssueOptions): Promise<IssuedToken>
  /**
   * Records a token that was signed elsewhere.
   * @throws FST_JWT_NOT_REVOCABLE
   */
  record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord>
  /**
   * Revokes a token: the one that a request presents and that verifies (what its `jwtVerify()` accepted last,
   * or would find), or the one of these names. Without `iss` the default issuer is meant: `sign.iss` of
   * `@fastify/jwt`, or its only `verify.allowedIss`. An object with `iat` is taken as the claims of a token,
   * which say themselves whose it is. `exp` (NumericDate, RFC 7519 §4.1.4) bounds how long the revocation is
   * kept; without it, and without a record of the token, it is kept for `maxTokenLifetime`, and never for
   * much longer. Resolves once the store has acknowledged it.
   * @example await app.revocation.revoke(request)
   * @throws what `request.jwtVerify()` throws where the request's token does not verify, unless it is revoked already.
   * @throws TypeError also where `iss` is left out and tokens may be of several issuers.
   */
  revoke (token: AnyRequest | { jti: string, iss?: string, exp?: number, iat?: number }): Promise<RevokeResult>
  /** @throws FST_JWT_REVOCATION_NOT_FOUND */
  revokeById (id: string): Promise<RevokeResult>
  /**
   * Ends every token of a subject that was issued until now, recorded or not: each one with `iat` up to the
   * cutoff, this second, and each one without `iat`. With `except`, the recorded ones but that. Of a request:
   * the subject of the token that it presents, which must not be revoked. Of a name without `iss`: the
   * subject of the default issuer.
   * @example await app.revocation.revokeSubject(request)
   */
  revokeSubject (subject: AnyRequest | string | number, options?: SubjectOptions): Promise<CutoffResult>
  /**
   * For doors that are no Fastify request: whether a token with these (verified!) claims is revoked.
   * @throws FST_JWT_NOT_REVOCABLE for one that would not be accepted for another reason.
   * @throws FST_JWT_REVOCATION_UNAVAILABLE whatever `onStoreFailure` says: here the caller decides.
   */
  isRevoked (claims: TokenClaims): Promise<boolean>
  /** The record of this id, or null. An id that is no UUID has none. */
  token (id: string): Promise<TokenRecord | null>
  /** The records of a subject that have not expired, latest to expire first. */
  tokens (sub: string | number, options?: TokensOptions): Promise<TokensPage>
  status (): RevocationStatus
  on<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
}

export type { IssueClaims, Seconds, Milliseconds, TokenClaims }
export type { Authorize, AuthorizeTarget, RedisClient, RevocationOptions, RoutesOptions } from './option-types.ts'

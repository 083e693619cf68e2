import type { Seconds, Milliseconds } from './expiry.ts'
import type { TokenClaims } from './claims.ts'

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
  iss?: string
  /** How many, 1 to 1,000. Default 500. */
  limit?: number
  /** Of the page before. */
  cursor?: string
}

export interface SubjectOptions {
  iss?: string
  /** The jti of a token to leave out. Then no cutoff is set: the other recorded tokens are revoked one by one. */
  except?: string
}

export interface CutoffResult {
  sub: string
  iss?: string
  /** Seconds since the epoch: every token of the subject with `iat` up to this is refused. Null where a token was left out. */
  cutoff: number | null
  /** How many recorded tokens this ended. */
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

export interface IssueOptions {
  /** How long the token lives: seconds, or a string with a unit. Default: what `@fastify/jwt` was registered with. */
  expiresIn?: number | string
  /** Kept in the record, never in the token: at most 4,096 bytes of JSON. */
  meta?: Record<string, unknown>
  /** Any other sign option of `@fastify/jwt`. */
  [signOption: string]: unknown
}

export interface IssuedToken {
  token: string
  /** The id of its record. */
  id: string
  jti: string
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
  /** Of a replica: milliseconds since it was in step with Redis. Absent before it has been for the first time. */
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

/** The decorator `app.revocation`. Every method that returns a promise may reject with FST_JWT_REVOCATION_UNAVAILABLE. */
export interface Revocation {
  /**
   * Signs a token with `@fastify/jwt`, gives it a random jti (unless `claims` has one) and records it, in one round trip.
   * Where its subject was cut off in this second, `iat` is the second after, at most 5 seconds ahead: the token is not
   * dead on arrival, and ends when it would have.
   * @throws TypeError where the token would not be accepted (no `exp` or `iat`, or one beyond `maxTokenLifetime`).
   * @throws FST_JWT_REVOKED where a jti in `claims` is revoked, or the subject is cut off until later than 5 seconds from now.
   * @throws FST_JWT_REVOCATION_UNAVAILABLE also where the subject was cut off so often that its `iat` would be further ahead.
   */
  issue (claims: object, options?: IssueOptions): Promise<IssuedToken>
  /**
   * Records a token that was signed elsewhere.
   * @throws FST_JWT_NOT_REVOCABLE
   */
  record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord>
  /**
   * Revokes a token. `exp` (NumericDate, RFC 7519 §4.1.4) bounds how long that is kept; without it, and without a
   * record of the token, it is kept for `maxTokenLifetime`, and never for much longer. Resolves once the store has acknowledged it.
   */
  revoke (token: { jti: string, iss?: string, exp?: number }): Promise<RevocationResult>
  /** @throws FST_JWT_REVOCATION_NOT_FOUND */
  revokeById (id: string): Promise<RevocationResult>
  /**
   * Ends every token of a subject that was issued until now, recorded or not: each one with `iat` up to the cutoff,
   * this second, and each one without `iat`. With `except`, the recorded ones but that.
   */
  revokeSubject (sub: string, options?: SubjectOptions): Promise<CutoffResult>
  /**
   * For doors that are no Fastify request: whether a token with these (verified!) claims is revoked.
   * @throws FST_JWT_NOT_REVOCABLE for one that would not be accepted for another reason.
   * @throws FST_JWT_REVOCATION_UNAVAILABLE whatever `onStoreFailure` says: here the caller decides.
   */
  isRevoked (claims: TokenClaims): Promise<boolean>
  /** The record of this id, or null. An id that is no UUID has none. */
  token (id: string): Promise<TokenRecord | null>
  /** The records of a subject that have not expired, latest to expire first. */
  tokens (sub: string, options?: TokensOptions): Promise<TokensPage>
  status (): RevocationStatus
  on<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
}

export type { Seconds, Milliseconds, TokenClaims }
export type { Authorize, AuthorizeTarget, RedisClient, RevocationOptions } from './option-types.ts'

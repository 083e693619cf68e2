import type { FastifyRequest } from 'fastify'
import type { RedisOptions } from 'ioredis'
import type { Seconds, Milliseconds } from './expiry.ts'
import type { TokenClaims } from './claims.ts'

/**
 * What the plugin asks of a Redis client: `Redis` and `Cluster` of ioredis 5 and 6, and of iovalkey, have it.
 * The plugin never configures, flushes or closes a client that it was given.
 */
export interface RedisClient {
  readonly isCluster: boolean
  call (command: string, ...args: Array<string | number>): Promise<unknown>
  pipeline (commands: unknown[][]): { exec (): Promise<Array<[error: Error | null, result: unknown]> | null> }
}

export interface RevocationOptions {
  /**
   * A Redis URL, options of ioredis, or a client. Redis 6.2 or newer, or Valkey.
   * Default: `app.redis` where `@fastify/redis` put one, else a store in this process's memory.
   */
  redis?: string | RedisOptions | RedisClient
  /**
   * Where a request's check looks. `'strict'` (the default): in Redis, which knows of every revocation at once.
   * `'replica'`: in a copy of the denylist in this process, which follows Redis on a connection of its own and is
   * milliseconds behind; a request then costs no round trip.
   */
  mode?: 'strict' | 'replica'
  /**
   * `'presented'` (the default): a revoked token is refused by every route, also one that would not look at it.
   * `'verified'`: only where a route verifies it.
   */
  enforce?: 'presented' | 'verified'
  /** In front of every key. Default `'jwt:'`. */
  keyPrefix?: string
  /**
   * The longest a token may live: seconds, or a string with a unit such as `'12h'`. Default `'30d'`. Tokens that live
   * longer, or have no `exp` or `iat`, are refused, and so are those whose `iat` is ahead by more than a minute.
   * `'unbounded'` accepts them; revocations of tokens without `exp` are then kept for ever.
   */
  maxTokenLifetime?: number | string
  /** What becomes of a token without a usable jti, which can't be revoked by it. Default `'reject'`; `'accept'` lets it pass unchecked. */
  tokensWithoutJti?: 'reject' | 'accept'
  /** What becomes of a token that can't be checked because the store fails. Default `'reject'`: 503. `'accept'` lets it pass. */
  onStoreFailure?: 'reject' | 'accept'
  /** Milliseconds that one check or revoke may take. Default 500. */
  storeTimeout?: number
  /**
   * Milliseconds that a replica may go without hearing from Redis, at least 500. Then each token is checked in Redis
   * again; where that fails too, `onStoreFailure` decides. Default 5000.
   */
  maxStaleness?: number
  /**
   * How many replicas of Redis must hold a revocation before it is acknowledged (`WAIT`, within `storeTimeout`); where
   * there are fewer: 503. Default 0: the master's word is enough, and a failover may lose the last writes.
   */
  minReplicas?: number
  /**
   * Who else may act on a token, beside itself and its own subject. Default: nobody.
   * Only `true` lets; what it throws is the request's answer.
   */
  authorize?: Authorize
  /** Where the HTTP routes are. Default `{ prefix: '/v1/jwt/history' }`; `false`: none. */
  routes?: false | { prefix: string }
  /** The namespace (or several) of `@fastify/jwt` to guard. The first one signs what `issue()` gives and authenticates the routes. */
  namespace?: string | string[]
  /**
   * Also record tokens that were issued elsewhere, the first time one verifies: in the background, at no cost to the
   * request. Default false.
   */
  recordOnUse?: boolean
  /** The name of the verify decorator, where `@fastify/jwt` was registered with a `jwtVerify` of its own. */
  jwtVerify?: string
}

/** What somebody wants to do, and to which token or subject: as much of it as is known. */
export interface AuthorizeTarget {
  action: 'revoke' | 'revokeSubject' | 'read'
  jti?: string
  id?: string
  iss?: string
  sub?: string
}

export type Authorize = (request: FastifyRequest, target: AuthorizeTarget) => boolean | Promise<boolean>

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

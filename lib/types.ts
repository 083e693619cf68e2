import type { FastifyRequest } from 'fastify'
import type {
  ClaimOptions, IssueOptions, RefreshOptions, SessionOptions, SubjectOptions, TokensOptions
} from './call-types.ts'
import type { IssueClaims, TokenClaims } from './domain/claims.ts'
import type {
  ClaimResult, CutoffEvent, CutoffResult, IssuedToken, RevocationResult, RevocationStatus, RevokeResult,
  SessionResult, TokenPair, TokenRecord, TokensPage
} from './result-types.ts'
import type { Milliseconds, Seconds } from './time.ts'

/**
 * Any request that an application handles: the types of its routes, server and logger don't matter.
 * @example
 * const logOut = (of: AnyRequest) => app.revocation.revoke(of)
 * await logOut(request)
 */
export type AnyRequest = FastifyRequest<any, any, any, any, any, any, any, any>

/**
 * The events of `app.revocation`, each with what its listeners get.
 * @example
 * app.revocation.on('storeLost', (error) => app.log.fatal(error))
 * app.revocation.on('storeBack', () => app.log.info('Redis is back'))
 */
export interface RevocationEvents {
  /** A token, or all of a name up to its cutoff, was revoked. In replica mode every process is told. */
  revoked: [RevocationResult | CutoffEvent]
  storeLost: [error: unknown]
  storeBack: []
}

/**
 * The decorator `app.revocation`. Every method that returns a promise may reject with
 * FST_JWT_REVOCATION_UNAVAILABLE.
 * @example
 * const { token, jti } = await app.revocation.issue({ sub: 'alice' })
 * await app.revocation.revoke({ jti })
 * const isRevoked = await app.revocation.isRevoked(app.jwt.verify<TokenClaims>(token))
 */
export interface RevocationDecorator {
  /**
   * Begins a session: the same, and a refresh token for `refresh()`. The access token carries the session in
   * the claim `sid` (see option `claims`), random unless `claims` have one.
   * @throws TypeError also where the plugin has no option `refresh`, and where `claims` are more than 4,096
   * bytes of JSON
   * @example
   * const { token, refreshToken, sid } = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
   */
  issue (claims: IssueClaims, options: IssueOptions & { refresh: true }): Promise<TokenPair>
  /**
   * Signs a token with `@fastify/jwt`, gives it a random jti (unless `claims` has one) and records it, in one
   * round trip. Without `iss` it gets the default issuer (see `revoke()`).
   *
   * A subject that was cut off in this second gets a token with an `iat` of the second after, at most 5
   * seconds ahead. It is not dead on arrival, and ends when it would have.
   * @throws TypeError where the guard would not accept the token: it has no `exp` or `iat`, or one beyond
   * `maxTokenLifetime`; it lacks a claim that `verify.requiredClaims` of `@fastify/jwt` names; or
   * `allowedSub`, `allowedJti` or `allowedNonce` does not let it pass. Also with `refresh`, where the plugin
   * has no option `refresh`, or the claims are more than 4,096 bytes of JSON
   * @throws FST_JWT_REVOKED where a jti in `claims` is revoked, or the subject is cut off until later than 5
   * seconds from now
   * @throws FST_JWT_REVOCATION_UNAVAILABLE also where the subject was cut off so often that its `iat` would
   * be further ahead
   * @example
   * const { token } = await app.revocation.issue({ sub: 'alice' }, { meta: { device: 'phone' } })
   */
  issue (claims: IssueClaims, options?: IssueOptions): Promise<IssuedToken>
  /**
   * Gives the next access token and the next refresh token of a session. A refresh token is used once. Within
   * `refresh.grace` it gives the same successor again, three times in all. Used later than that it ends the
   * session, because a thief may have it.
   *
   * The access token ends with its session at the latest.
   * @throws FST_JWT_REFRESH_INVALID where the refresh token is unknown, has expired, was used before, or its
   * session was ended
   * @throws TypeError where `claims` change the `iss`, the `sub` or the session
   * @example
   * const { token, refreshToken: next } = await app.revocation.refresh(refreshToken)
   */
  refresh (refreshToken: string | undefined, options?: RefreshOptions): Promise<TokenPair>
  /**
   * Records a token that was signed elsewhere.
   * @throws FST_JWT_NOT_REVOCABLE
   * @example
   * const { id } = await app.revocation.record(claims, { device: 'phone' })
   */
  record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord>
  /**
   * Revokes a token, and resolves once the store has acknowledged that. Of a request: the token that it
   * presents and that verifies (what its `jwtVerify()` accepted last, or would find). Of an object: the token
   * of these names.
   *
   * Without `iss` the default issuer is meant: `sign.iss` of `@fastify/jwt`, or its only `verify.allowedIss`.
   * An object with `iat` is taken as the claims of a token, which say themselves whose it is. Their jti is
   * where option `claims` says. A token without one is revoked by its session.
   *
   * `exp` (NumericDate, RFC 7519 §4.1.4) bounds how long the revocation is kept. Without it, and without a
   * record of the token, it is kept for `maxTokenLifetime`, and never for much longer.
   * @throws what `request.jwtVerify()` throws where the request's token does not verify, unless it is revoked
   * already
   * @throws TypeError also where `iss` is left out and tokens may be of several issuers
   * @example
   * const { revokedAt } = await app.revocation.revoke(request)
   * await app.revocation.revoke({ jti: 'of-another-token', iss: 'https://login.example' })
   */
  revoke (
    token: AnyRequest | { jti: string, iss?: string, exp?: number, iat?: number } |
      TokenClaims & { iat: number }
  ): Promise<RevokeResult>
  /**
   * Revokes the token of a record. Of a token without a jti it ends the session, or else the subject.
   * @throws FST_JWT_REVOCATION_NOT_FOUND
   * @example
   * await app.revocation.revokeById(id)
   */
  revokeById (id: string): Promise<RevokeResult>
  /**
   * Ends every token of a subject that was issued until now, recorded or not: each one with `iat` up to the
   * cutoff, which is this second, and each one without `iat`. With `except` it ends the recorded ones but
   * that.
   *
   * Of a request: the subject of the token that it presents, which must not be revoked. Of a name without
   * `iss`: the subject of the default issuer. With `until` it is a ban, which nobody can lift before.
   * @example
   * await app.revocation.revokeSubject(request, { except: claims.jti })
   * await app.revocation.revokeSubject('bob')
   */
  revokeSubject (subject: AnyRequest | string | number, options?: SubjectOptions): Promise<CutoffResult>
  /**
   * Ends a session: every token that has its sid, and those that are issued in it within 30 days as well.
   * Of a request: the session of the token that it presents, which must not be revoked.
   * @throws TypeError where sessions are not looked at: set option `claims`: { sid }
   * @example
   * await app.revocation.revokeSession(request)
   * await app.revocation.revokeSession('a-session-id', { iss: 'https://login.example' })
   */
  revokeSession (session: AnyRequest | string | number, options?: SessionOptions): Promise<SessionResult>
  /**
   * Ends every token that has this value in a claim of option `revocableBy` and was issued until now. With
   * `until` it is a ban, which nobody can lift before.
   * @throws TypeError where the option does not have the claim
   * @example
   * await app.revocation.revokeBy('tenant', 'acme', { until: Infinity })
   */
  revokeBy (claim: string, value: string | number, options?: ClaimOptions): Promise<ClaimResult>
  /**
   * For doors that are no Fastify request: whether a token with these (verified!) claims is revoked.
   * @throws FST_JWT_NOT_REVOCABLE where the guard would refuse the token for another reason
   * @throws FST_JWT_REVOCATION_UNAVAILABLE whatever `onStoreFailure` says: here the caller decides
   * @example
   * if (await app.revocation.isRevoked(claims)) throw new FST_JWT_REVOKED()
   */
  isRevoked (claims: TokenClaims): Promise<boolean>
  /**
   * The record of this id, or null. An id that is no UUID has none.
   * @example
   * const record = await app.revocation.token(id)
   */
  token (id: string): Promise<TokenRecord | null>
  /**
   * The records of a subject that have not expired, latest to expire first.
   * @example
   * const { tokens } = await app.revocation.tokens('alice', { limit: 20 })
   */
  tokens (sub: string | number, options?: TokensOptions): Promise<TokensPage>
  /**
   * The state of the store, for a health route.
   * @example
   * if (!app.revocation.status().available) await reply.code(503).send()
   */
  status (): RevocationStatus
  /**
   * Adds a listener. An error that it throws is logged.
   * @example
   * app.revocation.on('revoked', ({ sub }) => app.log.info(`a token of ${sub} was revoked`))
   */
  on<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
  /**
   * Removes a listener.
   * @example
   * const onBack = () => app.log.info('Redis is back')
   * app.revocation.on('storeBack', onBack)
   * app.revocation.off('storeBack', onBack)
   */
  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this
}

export type { IssueClaims, Milliseconds, Seconds, TokenClaims }
export type * from './call-types.ts'
export type * from './option-types.ts'
export type * from './result-types.ts'

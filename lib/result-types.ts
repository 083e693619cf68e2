/**
 * One entry of the history: a token's, or a session's. Times are ISO 8601, and null where the token has no
 * `iat` or `exp`.
 * @example
 * const record: TokenRecord | null = await app.revocation.token(id)
 * app.log.info(record?.meta ?? {}, `issued at ${record?.issuedAt}`)
 */
export interface TokenRecord {
  /** A random UUID that the plugin chose. Safe to show. */
  id: string
  /** Present where it is the record of a session that can be refreshed (option `refresh`). */
  session?: true
  /** Absent where the token has none. Of a session: its latest access token's. */
  jti?: string
  iss?: string
  sub?: string
  /** Absent where the token has none, or sessions are not looked at (option `claims`). */
  sid?: string
  /** The claims of option `revocableBy` that the token has. */
  claims?: Record<string, string>
  /** Of a session: when it began. */
  issuedAt: string | null
  /** When a session was refreshed last. Absent before the first time. */
  refreshedAt?: string
  /** When a session was ended, if it was. */
  endedAt?: string
  /** Of a session: when its refresh token ends. */
  expiresAt: string | null
  meta?: Record<string, unknown>
}

/**
 * A record, and whether its token is refused.
 * @example
 * const { tokens } = await app.revocation.tokens('alice')
 * const active: ListedToken[] = tokens.filter(({ status }) => status === 'active')
 */
export interface ListedToken extends TokenRecord {
  status: 'active' | 'revoked'
}

/**
 * Some of a subject's records.
 * @example
 * let page: TokensPage = await app.revocation.tokens('alice', { limit: 1 })
 * while (page.cursor !== undefined) {
 *   page = await app.revocation.tokens('alice', { limit: 1, cursor: page.cursor })
 * }
 */
export interface TokensPage {
  tokens: ListedToken[]
  /** For the next page. Absent on the last one. */
  cursor?: string
}

/**
 * What `revokeSubject()` gives.
 * @example
 * const { cutoff, revoked }: CutoffResult = await app.revocation.revokeSubject('alice')
 * app.log.info({ cutoff }, `ended all tokens of alice, ${revoked} of them recorded`)
 */
export interface CutoffResult {
  sub: string
  iss?: string
  /** Seconds since the epoch: a token of the subject with `iat` up to this is refused. Null with `except`. */
  cutoff: number | null
  /**
   * How many *recorded* tokens this ended. 0 is no failure: the cutoff also ends all tokens that were never
   * recorded, and nobody knows how many there are.
   */
  revoked: number
}

/**
 * What listeners of `revoked` get when somebody revoked a subject, a session, or by a listed claim: `sub`,
 * `sid`, or `claim` and `value`. A provider's log-out may also revoke by `subWithoutSid`.
 * @example
 * app.revocation.on('revoked', (event) => {
 *   if ('cutoff' in event) app.log.info(`tokens of ${event.sub ?? event.sid ?? event.value} are revoked`)
 * })
 */
export interface CutoffEvent {
  sub?: string
  sid?: string
  claim?: string
  value?: string
  /** A subject whose tokens without a sid are revoked: a provider has ended one of its sessions. */
  subWithoutSid?: string
  iss?: string
  /** Seconds since the epoch; 4294967295: tokens that are issued later as well. */
  cutoff: number
}

/**
 * What `revokeSession()` gives.
 * @example
 * const { sid }: SessionResult = await app.revocation.revokeSession(request)
 * app.log.info(`ended the session ${sid}`)
 */
export interface SessionResult {
  sid: string
  iss?: string
}

/**
 * What `revokeBy()` gives.
 * @example
 * const { cutoff }: ClaimResult = await app.revocation.revokeBy('tenant', 'acme')
 * app.log.info(`ended all tokens of acme up to ${cutoff}`)
 */
export interface ClaimResult {
  claim: string
  value: string
  iss?: string
  /** Seconds since the epoch: a token that has this value, and `iat` up to this, is refused. */
  cutoff: number
}

/**
 * A revocation of one token.
 * @example
 * app.revocation.on('revoked', (event) => {
 *   if ('jti' in event) app.log.info(`${event.jti} was revoked at ${event.revokedAt}`)
 * })
 */
export interface RevocationResult {
  jti: string
  /** The id of its record, where it has one. */
  id?: string
  iss?: string
  sub?: string
  sid?: string
  status: 'revoked'
  /** ISO 8601. When it was first revoked. */
  revokedAt: string
  /** ISO 8601. When the token itself ends; null when unknown. */
  expiresAt: string | null
}

/**
 * A revocation, and whether this call made it: of two log-outs at once one is told `true`. A cutoff that
 * ended the token before is no revocation of it: the first call after that is told `true` as well.
 * @example
 * const { first }: RevokeResult = await app.revocation.revoke(request)
 * if (!first) app.log.warn('somebody else logged this token out')
 */
export interface RevokeResult extends Omit<RevocationResult, 'jti'> {
  /** Absent where the token has none: then its session was ended, or else its subject. */
  jti?: string
  first: boolean
}

/**
 * What `issue()` gives.
 * @example
 * const { token, id, expiresAt }: IssuedToken = await app.revocation.issue({ sub: 'alice' })
 * await reply.send({ token, id, expiresAt })
 */
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

/**
 * What `refresh()` gives, and `issue()` with `refresh: true`.
 * @example
 * const { token, refreshToken }: TokenPair = await app.revocation.issue({ sub: 'alice' }, { refresh: true })
 * await reply.send({ token, refreshToken })
 */
export interface TokenPair extends IssuedToken {
  /** The id of the session's record. */
  id: string
  /** The session. Each of its access tokens has it. */
  sid: string
  /** 43 characters of base64url: 32 random bytes. It is used once. Only its hash is stored. */
  refreshToken: string
  /** ISO 8601. When the session ends: no refresh moves this. */
  refreshExpiresAt: string
}

/**
 * For a health route.
 * @example
 * const { available, warnings = [] }: RevocationStatus = app.revocation.status()
 * await reply.code(available ? 200 : 503).send({ available, warnings })
 */
export interface RevocationStatus {
  mode: 'strict' | 'replica'
  store: 'memory' | 'redis'
  /** Whether the store answered last. */
  available: boolean
  /** Option `claims`: where a token's names are found. Without `sid` sessions are not looked at. */
  claims: { jti: string, sub: string, sid?: string }
  /** Option `revocableBy`. */
  revocableBy: string[]
  /**
   * Option `backchannelLogout` was given: a provider's log-out may also end the subject's tokens without a
   * sid. Absent where it was not.
   */
  backchannelLogout?: true
  /** Option `refresh`, in seconds. Absent where it was not given. */
  refresh?: { expiresIn: number, grace: number }
  /** How many revocations and cutoffs a replica holds. */
  entries?: number
  /** Milliseconds since a replica was in step with Redis. Absent before the first time. */
  stalenessMs?: number
  /** What was found to be wrong with Redis at the start, a sentence each. Absent where nothing was. */
  warnings?: string[]
}

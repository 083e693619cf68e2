import { FST_JWT_REVOCATION_NOT_FOUND } from '../errors.ts'
import type { Entry } from '../stores/entry.ts'
import type { Store } from '../stores/store.ts'
import type { Clock } from '../time.ts'
import type {
  ClaimOptions, ClaimResult, CutoffResult, IssuedToken, IssueOptions, RefreshOptions, RevocationDecorator,
  RevocationEvents, RevocationStatus, RevokeResult, SessionOptions, SessionResult, SubjectOptions, TokenPair,
  TokenRecord, TokensOptions, TokensPage
} from '../types.ts'
import {
  checkClaimOptions, checkId, checkIssueOptions, checkIssuer, checkListed, checkListener, checkName,
  checkObject, checkPage, checkSubjectOptions, checkTarget
} from './arguments.ts'
import { Audit, type AuditLog } from './audit.ts'
import { Check, type Asker } from './check.ts'
import { claimsOf, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { Events } from './events.ts'
import { History } from './history.ts'
import { cutoffNamesOf, partsOf } from './names.ts'
import { Notices } from './notices.ts'
import { revocationOf, withFirst } from './revocation.ts'
import { Revoker } from './revoke.ts'
import { Sessions } from './sessions.ts'
import { Signing, type SigningContext } from './signing.ts'
import { statusOf, type StatusSettings } from './status.ts'
import { SUBJECT_PAGE } from './subjects.ts'

/** The requests whose tokens the guards verify. */
export interface Requests {
  has (value: unknown): value is object
  /** The token that a request presents, verified, but maybe revoked. @throws what `@fastify/jwt` throws */
  tokenOf (request: object): Promise<string>
}

export interface RevocationContext extends SigningContext, StatusSettings {
  store: Store
  onStoreFailure: 'reject' | 'accept'
  recordOnUse: boolean
  log: AuditLog & { error: (fields: object, message: string) => void }
  /** Default: there are none. */
  requests?: Requests
  /** The longest jti that the routes take in their path. Default: any. */
  longestJti?: number
}

/** The decorator `app.revocation`: checks arguments and delegates. It knows neither HTTP nor Redis. */
export class Decorator implements RevocationDecorator {
  readonly history: History
  readonly revoker: Revoker
  readonly events: Events
  /** How tokens are read. */
  readonly rules: Rules
  readonly #store: Store
  readonly #clock: Clock
  readonly #check: Check
  readonly #sessions: Sessions
  readonly #settings: StatusSettings
  readonly #notices: Notices
  readonly #requests: Requests | undefined
  /** The default issuer. undefined: there is none; null: the namespaces have different ones. */
  readonly #issuer: string | null | undefined
  /** Rises with every revocation: an earlier check may be wrong after it. */
  epoch = 0

  constructor (context: RevocationContext) {
    const { store, log, clock } = context
    const audit = new Audit(log, clock)
    const signing = new Signing(context)
    this.history = new History({ ...context, signing })
    this.events = new Events((event, error) => {
      log.error({ err: error }, `jwt revocation: a listener of '${event}' threw`)
    })
    this.rules = context.rules
    this.#store = store
    this.#clock = clock
    this.#settings = context
    this.#notices = new Notices(log, context.longestJti ?? Infinity)
    this.#requests = context.requests
    this.#issuer = context.issuer
    this.#check = new Check({
      ...context,
      denials: store.denials,
      audit,
      notices: this.#notices,
      onUse: context.recordOnUse ? (claims) => this.history.noteUse(claims) : undefined
    })
    this.revoker = new Revoker({
      ...context,
      history: this.history,
      onChange: () => { this.epoch++ },
      onMade: (revocation, by, isHeard) => {
        this.epoch++
        audit.revoked(revocation, by)
        if (!isHeard) this.events.emit('revoked', revocation)
      }
    })
    const { history, revoker: { cutoffs } } = this
    const { grace = 0 } = context.refresh ?? {}
    this.#sessions = new Sessions({ ...context, history, signing, cutoffs, audit, grace })
  }

  /** Checks a token by its claims. */
  check (verified: TokenClaims, asker: Asker) {
    this.#check.token(verified, asker)
  }

  async isRevoked (claims: TokenClaims): Promise<boolean> {
    checkObject('isRevoked', 'claims', '{ jti, iat, exp }', claims)
    return this.#check.isRevoked(this.checked(claims))
  }

  issue (claims: object, options: IssueOptions & { refresh: true }): Promise<TokenPair>
  issue (claims: object, options?: IssueOptions): Promise<IssuedToken>
  async issue (claims: object, options: IssueOptions = {}): Promise<IssuedToken> {
    checkObject('issue', 'claims', '{ sub }', claims)
    checkIssueOptions(options)
    const issued = await this.history.issue(claims as TokenClaims, options)
    this.#notices.jti(issued.jti)
    return issued
  }

  async refresh (refreshToken: string | undefined, options: RefreshOptions = {}): Promise<TokenPair> {
    checkObject('refresh', 'options', '{ claims, meta }', options)
    if (this.#settings.refresh === undefined) {
      throw new TypeError("refresh() needs option \"refresh\" of the plugin, such as { expiresIn: '30d' }")
    }
    return this.#sessions.refresh(refreshToken, options)
  }

  async record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord> {
    checkObject('record', 'claims', '{ jti, iat, exp }', claims)
    return this.history.record(this.checked(claims), meta)
  }

  async token (id: string): Promise<TokenRecord | null> {
    checkId('token', id)
    return this.history.token(id)
  }

  async tokens (given: string | number, options: TokensOptions = {}): Promise<TokensPage> {
    const sub = checkName('tokens', 'sub', given)
    checkPage('tokens', options)
    const { iss, limit = SUBJECT_PAGE, cursor } = options
    return this.history.tokens(sub, this.#issuerOf('tokens', iss), limit, cursor)
  }

  async revoke (of: object): Promise<RevokeResult> {
    if (this.#requests?.has(of)) {
      const token = await this.#requests.tokenOf(of)
      const claims = this.checked(claimsOf(token))
      // A session is more than this token, which must not be revoked then (P6).
      const isSession = claims.jti === undefined && claims.sid !== undefined
      return withFirst(await this.revoker.revokeOwn(isSession ? await this.#check.acting(token) : claims))
    }
    const { jti, iss, exp, iat } = checkTarget('revoke', of, this.rules.claims.jti)
    // With an iat these are the claims of a token, which tell the issuer themselves.
    const issuer = iat === undefined ? this.#issuerOf('revoke', iss) : iss
    const budget = this.#store.budget()
    const record = await this.history.tokenOf(issuer, jti, budget)
    const target = { jti, iss: issuer, ...(exp !== undefined && { exp }) }
    return withFirst(await this.revoker.revokeKnown(target, record, budget))
  }

  async revokeById (id: string): Promise<RevokeResult> {
    checkId('revokeById', id)
    const budget = this.#store.budget()
    const { record, latest } = await this.history.named(id, budget)
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return withFirst(await this.revoker.revokeRecord(record, latest, budget))
  }

  async revokeSubject (of: object | string | number, options: SubjectOptions = {}): Promise<CutoffResult> {
    const until = checkSubjectOptions('revokeSubject', options, this.#clock.wall())
    const { iss, except: jti } = options
    const except = jti === undefined ? undefined : { jti }
    const claims = await this.#actingOf('revokeSubject', of, iss)
    if (claims !== null) return this.revoker.endOwnSubject(claims, { except, until })
    const sub = checkName('revokeSubject', 'sub', of)
    return this.revoker.endSubject(sub, this.#issuerOf('revokeSubject', iss), { except, until })
  }

  async revokeSession (of: object | string | number, options: SessionOptions = {}): Promise<SessionResult> {
    checkObject('revokeSession', 'options', '{ iss }', options)
    const { iss } = options
    const claims = await this.#actingOf('revokeSession', of, iss)
    const sid = claims === null ? checkName('revokeSession', 'sid', of) : claims.sid
    if (this.rules.claims.sid === undefined) {
      throw new TypeError('revokeSession() needs option claims: { sid }, ' +
        "the claim that has a token's session")
    }
    return claims === null
      ? this.revoker.endSession(sid!, this.#issuerOf('revokeSession', iss))
      : this.revoker.endOwnSession(claims)
  }

  async revokeBy (claim: string, of: string | number, options: ClaimOptions = {}): Promise<ClaimResult> {
    const until = checkClaimOptions('revokeBy', options, this.#clock.wall())
    checkListed('revokeBy', claim, this.rules.revocableBy)
    const value = checkName('revokeBy', 'value', of)
    return this.revoker.endClaim(claim, value, this.#issuerOf('revokeBy', options.iss), { until })
  }

  status (): RevocationStatus {
    return statusOf(this.#store.status, this.rules, this.#settings)
  }

  on<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this {
    checkListener('on', event, listener)
    this.events.on(event, listener)
    return this
  }

  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this {
    checkListener('off', event, listener)
    this.events.off(event, listener)
    return this
  }

  /** Another process has revoked something. */
  onEntry ({ kind, name, at, exp, id, sub }: Entry) {
    if (kind === 'cutoff') {
      const names = cutoffNamesOf(name)
      if (names !== null) this.events.emit('revoked', { ...names, cutoff: at })
      return
    }
    const { iss, name: jti } = partsOf(name) ?? {}
    if (jti !== undefined) this.events.emit('revoked', revocationOf({ jti, id, iss, sub }, at, exp))
  }

  /** @throws FST_JWT_NOT_REVOCABLE */
  checked (claims: TokenClaims): CheckedClaims {
    return this.#check.claims(claims)
  }

  /** The claims of a request's token that may act, because it is not revoked; null: it is no request. */
  async #actingOf (method: string, of: unknown, iss: string | undefined): Promise<CheckedClaims | null> {
    if (!this.#requests?.has(of)) return null
    if (iss === undefined) return this.#check.acting(await this.#requests.tokenOf(of))
    throw new TypeError(`${method}() takes no iss beside a request: its token says the issuer`)
  }

  /** The issuer of a name that the caller gave with `iss`, or without an issuer. */
  #issuerOf (method: string, iss: string | undefined): string | undefined {
    checkIssuer(method, iss)
    if (iss !== undefined) return iss
    if (this.#issuer !== null) return this.#issuer
    throw new TypeError(`${method}() needs iss, because tokens may be of several issuers here: ` +
      "give { iss }, '' for tokens without one")
  }
}

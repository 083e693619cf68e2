import { FST_JWT_REVOCATION_NOT_FOUND } from '../errors.ts'
import type { Entry } from '../stores/entry.ts'
import type { Store } from '../stores/store.ts'
import type {
  CutoffResult, IssuedToken, IssueOptions, RevocationDecorator, RevocationEvents, RevocationStatus,
  RevokeResult, SubjectOptions, TokenRecord, TokensOptions, TokensPage
} from '../types.ts'
import {
  checkId, checkIssuer, checkListener, checkObject, checkPage, checkSubject, checkSubjectOptions, checkTarget
} from './arguments.ts'
import { Audit, type AuditLog } from './audit.ts'
import { Check, type Checked } from './check.ts'
import { claimsOf, type CheckedClaims, type TokenClaims } from './claims.ts'
import { Events } from './events.ts'
import { History, type HistoryContext } from './history.ts'
import { partsOf } from './names.ts'
import { Notices } from './notices.ts'
import { Revoker, revocationOf, withFirst } from './revoke.ts'
import { SUBJECT_PAGE } from './subjects.ts'

/** The requests whose tokens the guards verify. */
export interface Requests {
  has (value: unknown): value is object
  /** The token that a request presents, verified, but maybe revoked. @throws what `@fastify/jwt` throws */
  tokenOf (request: object): Promise<string>
}

export interface RevocationContext extends HistoryContext {
  mode: 'strict' | 'replica'
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
  readonly #store: Store
  readonly #check: Check
  readonly #mode: RevocationContext['mode']
  readonly #notices: Notices
  readonly #requests: Requests | undefined
  /** The default issuer. undefined: there is none; null: the namespaces have different ones. */
  readonly #issuer: string | null | undefined
  /** Rises with every revocation: an earlier check may be wrong after it. */
  epoch = 0

  constructor (context: RevocationContext) {
    const { store, log, clock } = context
    const audit = new Audit(log, clock)
    this.history = new History(context)
    this.events = new Events((event, error) => {
      log.error({ err: error }, `jwt revocation: a listener of '${event}' threw`)
    })
    this.#store = store
    this.#mode = context.mode
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
  }

  /** Calls `done` once. It must not throw. */
  check (verifiedToken: string, done: Checked) {
    this.#check.token(verifiedToken, done)
  }

  async isRevoked (claims: TokenClaims): Promise<boolean> {
    checkObject('isRevoked', 'claims', '{ jti, iat, exp }', claims)
    return this.#check.isRevoked(this.checked(claims))
  }

  async issue (claims: object, options: IssueOptions = {}): Promise<IssuedToken> {
    checkObject('issue', 'claims', '{ sub }', claims)
    checkObject('issue', 'options', '{ expiresIn }', options)
    const issued = await this.history.issue(claims as TokenClaims, options)
    this.#notices.jti(issued.jti)
    return issued
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
    const sub = checkSubject('tokens', given)
    checkPage('tokens', options)
    const { iss, limit = SUBJECT_PAGE, cursor } = options
    return this.history.tokens(sub, this.#issuerOf('tokens', iss), limit, cursor)
  }

  async revoke (of: object): Promise<RevokeResult> {
    if (this.#requests?.has(of)) {
      const claims = this.checked(claimsOf(await this.#requests.tokenOf(of)))
      return withFirst(await this.revoker.revokeOwn(claims))
    }
    const { jti, iss, exp, iat } = checkTarget('revoke', of)
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
    return withFirst(await this.revoker.revokeKnown(record, record, budget, undefined, latest))
  }

  async revokeSubject (of: object | string | number, options: SubjectOptions = {}): Promise<CutoffResult> {
    checkSubjectOptions('revokeSubject', options)
    const { iss, except } = options
    if (this.#requests?.has(of)) {
      if (iss !== undefined) {
        throw new TypeError('revokeSubject() takes no iss beside a request: its token says the issuer')
      }
      return this.revoker.endOwnSubject(await this.#check.acting(await this.#requests.tokenOf(of)), except)
    }
    const sub = checkSubject('revokeSubject', of)
    return this.revoker.endSubject(sub, this.#issuerOf('revokeSubject', iss), { except })
  }

  status (): RevocationStatus {
    const { kind, available, warnings, copy: { entries, stalenessMs } = {} } = this.#store.status
    return {
      mode: this.#mode,
      store: kind,
      available,
      ...(entries !== undefined && { entries }),
      ...(stalenessMs !== undefined && { stalenessMs }),
      ...(warnings.length > 0 && { warnings: [...warnings] })
    }
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
    const { iss, name: own } = partsOf(name) ?? {}
    if (own === undefined) return
    this.events.emit('revoked', kind === 'cutoff'
      ? { sub: own, ...(iss && { iss }), cutoff: at }
      : revocationOf({ jti: own, id, iss, sub }, at, exp))
  }

  /** @throws FST_JWT_NOT_REVOCABLE */
  checked (claims: TokenClaims): CheckedClaims {
    return this.#check.claims(claims)
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

import { checkId, checkIssuer, checkSubject } from './arguments.ts'
import { Audit, type AuditLog, type By } from './audit.ts'
import { checkClaims, identityOfClaims, isCutOff, isJti, subjectOfClaims, untimely, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_NOT_FOUND, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from './errors.ts'
import { Events } from './events.ts'
import { isoTime, keptUntil, type Milliseconds, type Seconds } from './expiry.ts'
import { History, orUnavailable, type HistoryContext } from './history.ts'
import { identityOf, namesOf } from './keys.ts'
import { endOf } from './records.ts'
import { TooMuch } from './stores/deadline.ts'
import type { LogEntry } from './stores/log.ts'
import type { Budget, Denial, Store } from './stores/store.ts'
import { SUBJECT_PAGE, Subjects } from './subjects.ts'
import { TokenReader, type ReadToken } from './tokens.ts'
import type { CutoffEvent, CutoffResult, IssuedToken, IssueOptions, Revocation, RevocationEvents, RevocationResult, RevocationStatus, SubjectOptions, TokenRecord, TokensOptions, TokensPage } from './types.ts'

export interface RevocationContext extends HistoryContext {
  mode: 'strict' | 'replica'
  onStoreFailure: 'reject' | 'accept'
  recordOnUse: boolean
  log: AuditLog & { error: (fields: object, message: string) => void }
}

interface Target {
  jti: string
  iss?: string
  exp?: number
}

const MAX_PAGE = 1000
/** What revoking means, whatever the door: no HTTP in here, and no Redis. */
export class TokenRevocation implements Revocation {
  readonly history: History
  readonly events: Events
  readonly #store: Store
  readonly #rules: Rules
  readonly #reader: TokenReader
  readonly #mode: RevocationContext['mode']
  readonly #acceptUnchecked: boolean
  readonly #recordOnUse: boolean
  readonly #clock: () => Milliseconds
  readonly #audit: Audit
  readonly #subjects: Subjects
  /** Rises with every revocation: what was checked before one may be wrong after it. */
  epoch = 0

  constructor (context: RevocationContext) {
    this.history = new History(context)
    this.#store = context.store
    this.#rules = context.rules
    this.#reader = new TokenReader(context.rules)
    this.#mode = context.mode
    this.#acceptUnchecked = context.onStoreFailure === 'accept'
    this.#recordOnUse = context.recordOnUse
    this.#clock = context.clock
    this.events = new Events((event, error) => context.log.error({ err: error }, `jwt revocation: a listener of '${event}' threw`))
    this.#audit = new Audit(context.log, context.clock)
    this.#subjects = new Subjects(context, this.history, {
      deny: async (record, by) => (await this.#deny(record, record, endOf(record), undefined, by)).first,
      told: (cutoff, by, isHeard) => this.#told(cutoff, by, isHeard),
      moved: () => { this.epoch++ }
    })
  }

  /**
   * Calls back without a refusal when a verified token is to be accepted, else with what refuses it;
   * and with why it could not be checked, where it is accepted all the same.
   */
  check (verifiedToken: string, done: (refusal: Error | null, unchecked: Error | null) => void) {
    const token = this.#reader.read(verifiedToken)
    const rule = typeof token === 'string' ? token : untimely(token.claims, this.#rules, this.#clock())
    if (rule !== undefined) return done(new FST_JWT_NOT_REVOCABLE(rule), null)
    const { claims, identity, subject, note } = token as ReadToken
    if (identity === undefined && subject === undefined) return done(null, null)
    this.#store.check(identity, subject, (error, revoked, cutoff) => {
      if (revoked || isCutOff(claims, cutoff)) {
        this.#audit.reused(identity ?? `${subject}?`, claims)
        return done(new FST_JWT_REVOKED(), null)
      }
      if (error) {
        const unavailable = new FST_JWT_REVOCATION_UNAVAILABLE({ cause: error })
        // Who could provoke a limit of ours could have a revoked token accepted.
        return this.#acceptUnchecked && !(error instanceof TooMuch) ? done(null, unavailable) : done(unavailable, null)
      }
      if (this.#recordOnUse) this.history.noteUse(claims)
      done(null, null)
    }, note)
  }

  async isRevoked (claims: TokenClaims): Promise<boolean> {
    const checked = this.checked(claims)
    const identity = identityOfClaims(checked)
    const subject = subjectOfClaims(checked)
    if (identity === undefined && subject === undefined) return false
    return new Promise((resolve, reject) => {
      this.#store.check(identity, subject, (cause, revoked, cutoff) => {
        if (revoked || isCutOff(checked, cutoff)) resolve(true)
        else if (cause) reject(new FST_JWT_REVOCATION_UNAVAILABLE({ cause }))
        else resolve(false)
      })
    })
  }

  async issue (claims: object, options: IssueOptions = {}): Promise<IssuedToken> {
    return this.history.issue(claims as TokenClaims, options)
  }

  async record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord> {
    return this.history.record(this.checked(claims), meta)
  }

  async token (id: string): Promise<TokenRecord | null> {
    checkId('token', id)
    return this.history.token(id)
  }

  async tokens (sub: string, { iss, limit = SUBJECT_PAGE, cursor }: TokensOptions = {}): Promise<TokensPage> {
    checkSubject('tokens', sub, iss)
    if (cursor !== undefined) checkId('tokens', cursor)
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) throw new TypeError(`tokens() takes as limit a whole number from 1 to ${MAX_PAGE}`)
    return this.history.tokens(sub, iss, limit, cursor)
  }

  async revoke (token: Target): Promise<RevocationResult> {
    const { jti, iss, exp } = token
    if (!isJti(jti)) throw new TypeError('revoke() needs a jti: a well-formed string of 1 to 255 characters')
    checkIssuer('revoke', iss)
    if (exp !== undefined && !Number.isFinite(exp)) throw new TypeError('revoke() takes as exp a number of seconds since the epoch')
    const budget = this.#store.budget()
    return this.revokeKnown(token, await this.history.tokenOf(iss, jti, budget), budget)
  }

  async revokeById (id: string): Promise<RevocationResult> {
    checkId('revokeById', id)
    const budget = this.#store.budget()
    const { record, latest } = await this.history.named(id, budget)
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return this.revokeKnown(record, record, budget, undefined, latest)
  }

  /** `enough`: a cutoff that stands at this second or later is not raised. */
  async revokeSubject (sub: string, { iss, except }: SubjectOptions = {}, by?: By, enough?: Seconds): Promise<CutoffResult> {
    checkSubject('revokeSubject', sub, iss)
    if (except !== undefined && typeof except !== 'string') throw new TypeError('revokeSubject() takes as except the jti of a token')
    return except === undefined ? this.#subjects.cutOff(sub, iss, by, enough) : this.#subjects.revokeOthers(sub, iss, except, by)
  }

  status (): RevocationStatus {
    const { kind, available, warnings, copy: { entries, stalenessMs } = {} } = this.#store
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
    this.events.on(event, listener)
    return this
  }

  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this {
    this.events.off(event, listener)
    return this
  }

  /** Another process has revoked something. */
  hear ({ kind, name, at, exp, id, sub }: LogEntry) {
    const { iss, name: own } = namesOf(name) ?? {}
    if (own === undefined) return
    this.events.emit('revoked', kind === 'cutoff'
      ? { sub: own, ...(iss && { iss }), cutoff: at }
      : revocationOf({ jti: own, id, iss, sub }, at, exp))
  }

  /** @throws FST_JWT_NOT_REVOCABLE */
  checked (claims: TokenClaims): CheckedClaims {
    const checked = checkClaims(claims, this.#rules, this.#clock())
    if (typeof checked === 'string') throw new FST_JWT_NOT_REVOCABLE(checked)
    return checked
  }

  /** Revokes a token of which the records, where it has any, have been read: the latest of all ends that are known counts (P2). */
  async revokeKnown (target: Target, record: TokenRecord | null, budget?: Budget, by?: By, latest = record): Promise<RevocationResult> {
    return (await this.#deny(target, record, latestOf(target.exp, endOf(record), endOf(latest)), budget, by)).revocation
  }

  async #deny ({ jti, iss }: Target, record: TokenRecord | null, end: Seconds | undefined, budget: Budget | undefined, by: By | undefined) {
    const now = this.#clock()
    const exp = end === undefined || end === Infinity ? null : end
    const revocation = (kept: Denial) => revocationOf({ jti, iss, id: record?.id, sub: record?.sub }, kept.at, exp ?? kept.exp)
    const made = (kept: Denial, isHeard: boolean) => this.#told(revocation(kept), by, isHeard)
    const denial = { at: Math.floor(now / 1000), exp, ...(record && { id: record.id }), ...(record?.sub && { sub: record.sub }) }
    const options = { made, ...(budget && { budget }) }
    const kept = await orUnavailable(this.#store.revoke(identityOf(iss, jti), denial, keptUntil(end, this.#rules, now), options))
    this.epoch++
    return { revocation: revocation(kept), first: kept.first }
  }

  /** Tells of what stands now. `isHeard`: the log brought it before, and the listeners of this process have been told. */
  #told (revocation: RevocationResult | CutoffEvent, by: By | undefined, isHeard: boolean) {
    this.epoch++
    this.#audit.revoked(revocation, by)
    if (!isHeard) this.events.emit('revoked', revocation)
  }
}

type Names = { jti: string } & Record<'id' | 'iss' | 'sub', string | undefined>

function revocationOf ({ jti, id, iss, sub }: Names, at: number, exp: number | null): RevocationResult {
  return {
    jti,
    ...(id && { id }),
    ...(iss && { iss }),
    ...(sub && { sub }),
    status: 'revoked',
    revokedAt: isoTime(at, Math.floor)!,
    expiresAt: isoTime(exp ?? undefined, Math.ceil)
  }
}

function latestOf (...ends: Array<Seconds | undefined>): Seconds | undefined {
  const known = ends.filter((end) => end !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

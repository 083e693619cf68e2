import { checkId, checkIssuer, checkSubject } from './arguments.ts'
import { Audit, type AuditLog, type By } from './audit.ts'
import { checkClaims, identityOfClaims, isCutOff, isJti, subjectOfClaims, untimely, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_NOT_FOUND, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from './errors.ts'
import { Events } from './events.ts'
import { isoTime, keptUntil, type Milliseconds, type Seconds } from './expiry.ts'
import { answered, History, issueOf, type HistoryContext } from './history.ts'
import { identityOf, namesOf } from './keys.ts'
import type { LogEntry } from './stores/log.ts'
import type { Budget, Store } from './stores/store.ts'
import { TokenReader, type ReadToken } from './tokens.ts'
import type { CutoffResult, IssuedToken, IssueOptions, Revocation, RevocationEvents, RevocationResult, RevocationStatus, SubjectOptions, TokenRecord, TokensOptions, TokensPage } from './types.ts'

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

/** How many records of a subject are read, and how many tokens revoked, in one go. */
const SUBJECT_PAGE = 500
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
        return this.#acceptUnchecked ? done(null, unavailable) : done(unavailable, null)
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
    const { revoked, cutoff } = await this.history.lookUp(identity, subject)
    return revoked || isCutOff(checked, cutoff)
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
    const record = await this.history.token(id, budget)
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return this.revokeKnown(record, record, budget)
  }

  /** `enough`: a cutoff that stands at this second or later is not raised. */
  async revokeSubject (sub: string, { iss, except }: SubjectOptions = {}, by?: By, enough?: Seconds): Promise<CutoffResult> {
    checkSubject('revokeSubject', sub, iss)
    if (except !== undefined && typeof except !== 'string') throw new TypeError('revokeSubject() takes as except the jti of a token')
    return except === undefined ? this.#cutOff(sub, iss, by, enough) : this.#revokeOthers(sub, iss, except, by)
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
    this.epoch++
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

  /** Revokes a token of which the record, if it has one, has been read. */
  async revokeKnown (target: Pick<Target, 'jti' | 'iss' | 'exp'>, record: TokenRecord | null, budget?: Budget, by?: By): Promise<RevocationResult> {
    return (await this.#deny(target, record, budget, by)).revocation
  }

  async #deny (target: Pick<Target, 'jti' | 'iss' | 'exp'>, record: TokenRecord | null, budget: Budget | undefined, by: By | undefined) {
    const { jti, iss, exp = expOf(record) } = target
    const now = this.#clock()
    const denial = { at: Math.floor(now / 1000), exp: exp ?? null, ...(record && { id: record.id }), ...(record?.sub && { sub: record.sub }) }
    const kept = await answered(this.#store.revoke(identityOf(iss, jti), denial, keptUntil(exp, this.#rules, now), budget))
    this.epoch++
    const revocation = revocationOf({ jti, iss, id: record?.id, sub: record?.sub }, kept.at, exp ?? kept.exp)
    if (kept.first) {
      this.#audit.revoked(revocation, by)
      this.events.emit('revoked', revocation)
    }
    return { revocation, first: kept.first }
  }

  async #cutOff (sub: string, iss: string | undefined, by: By | undefined, enough: Seconds | undefined): Promise<CutoffResult> {
    const now = this.#clock()
    const seconds = Math.floor(now / 1000)
    // A token may have been recorded more than once.
    const ended = new Set<string>()
    let cutoff = seconds
    let before: number | null = null
    await this.#eachRecord(sub, iss, async (record) => {
      const claims = issueOf(record)
      if (!isCutOff(claims, cutoff) || isCutOff(claims, before)) return
      const { revoked } = await this.history.lookUp(identityOf(iss, record.jti), undefined)
      if (!revoked) ended.add(record.jti)
    }, async () => {
      ({ cutoff, before } = await this.#store.cutOff(identityOf(iss, sub), seconds, keptUntil(undefined, this.#rules, now), enough))
      this.epoch++
    })
    const result = { sub, ...(iss && { iss }), cutoff, revoked: ended.size }
    this.#audit.revoked(result, by)
    this.events.emit('revoked', { sub, ...(iss && { iss }), cutoff })
    return result
  }

  /** Leaves one token out, which no cutoff can: the others are revoked one by one. */
  async #revokeOthers (sub: string, iss: string | undefined, except: string, by: By | undefined): Promise<CutoffResult> {
    let revoked = 0
    await this.#eachRecord(sub, iss, async (record) => {
      if (record.jti === except) return
      const { status } = await this.history.withStatus(record)
      // Also one that is revoked: whoever did that may have failed halfway.
      const { first } = await this.#deny({ jti: record.jti, ...(iss && { iss }) }, record, undefined, by)
      if (first && status === 'active') revoked++
    })
    return { sub, ...(iss && { iss }), cutoff: null, revoked }
  }

  /** Each page has the time of one revocation, the first one together with what comes before it. */
  async #eachRecord (sub: string, iss: string | undefined, visit: (record: TokenRecord) => Promise<void>, first?: () => Promise<void>) {
    let after: string | undefined
    do {
      after = await answered(this.#store.within(async () => {
        if (after === undefined) await first?.()
        const page = await this.#store.records(identityOf(iss, sub), SUBJECT_PAGE, after)
        await Promise.all(page.records.map(visit))
        return page.after
      }))
    } while (after !== undefined)
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

function expOf (record: TokenRecord | null): number | undefined {
  return record?.expiresAt ? Date.parse(record.expiresAt) / 1000 : undefined
}

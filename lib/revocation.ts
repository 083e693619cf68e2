import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { checkClaims, claimsOf, identityOfClaims, isJti, isName, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { FST_JWT_NOT_REVOCABLE, FST_JWT_REVOCATION_FORBIDDEN, FST_JWT_REVOCATION_NOT_FOUND, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from './errors.ts'
import { isoTime, keptUntil, type Milliseconds } from './expiry.ts'
import { identityOf } from './keys.ts'
import type { Store } from './stores/store.ts'
import type { AuthorizeTarget, IssuedToken, IssueOptions, Revocation, RevocationEvents, RevocationResult, RevocationStatus, TokenRecord } from './types.ts'

export interface RevocationContext {
  store: Store
  rules: Rules
  onStoreFailure: 'reject' | 'accept'
  clock: () => Milliseconds
  /** Signs with `@fastify/jwt`. */
  sign: (claims: object, options?: object) => string | Promise<string>
  onListenerError: (error: unknown) => void
}

/** Somebody who wants to act on a token: the claims of the token that speaks for them, and what else lets them. */
export interface Actor {
  claims: TokenClaims
  authorize: (target: AuthorizeTarget) => boolean | Promise<boolean>
}

interface Target {
  jti: string
  iss?: string
  exp?: number
}

const MAX_META_BYTES = 4096

/** What revoking means, whatever the door: no HTTP in here, and no Redis. */
export class TokenRevocation implements Revocation {
  readonly #store: Store
  readonly #rules: Rules
  readonly #acceptUnchecked: boolean
  readonly #clock: () => Milliseconds
  readonly #sign: RevocationContext['sign']
  readonly #onListenerError: RevocationContext['onListenerError']
  readonly #events = new EventEmitter()
  /** Rises with every revocation made here: what was checked before one may be wrong after it. */
  epoch = 0

  constructor ({ store, rules, onStoreFailure, clock, sign, onListenerError }: RevocationContext) {
    this.#store = store
    this.#rules = rules
    this.#acceptUnchecked = onStoreFailure === 'accept'
    this.#clock = clock
    this.#sign = sign
    this.#onListenerError = onListenerError
  }

  /** Calls back without an error when a token with these verified claims is to be accepted, else with what refuses it. */
  check (claims: TokenClaims, done: (refusal: Error | null) => void) {
    const checked = checkClaims(claims, this.#rules, this.#clock())
    if (typeof checked === 'string') return done(new FST_JWT_NOT_REVOCABLE(checked))
    const identity = identityOfClaims(checked)
    if (identity === undefined) return done(null)
    this.#store.check(identity, (error, revoked) => {
      if (error) done(this.#acceptUnchecked ? null : new FST_JWT_REVOCATION_UNAVAILABLE({ cause: error }))
      else done(revoked ? new FST_JWT_REVOKED() : null)
    })
  }

  async isRevoked (claims: TokenClaims): Promise<boolean> {
    const identity = identityOfClaims(this.#checked(claims))
    if (identity === undefined) return false
    return new Promise((resolve, reject) => {
      this.#store.check(identity, (error, revoked) => {
        if (error) reject(new FST_JWT_REVOCATION_UNAVAILABLE({ cause: error }))
        else resolve(revoked)
      })
    })
  }

  async issue (claims: object, options: IssueOptions = {}): Promise<IssuedToken> {
    const { meta, ...signOptions } = options
    const jti = (claims as TokenClaims).jti ?? randomUUID()
    const token = await this.#sign({ ...claims, jti }, Object.keys(signOptions).length > 0 ? signOptions : undefined)
    // What was signed counts, not what was asked for: sign options may set claims of their own.
    const checked = checkClaims(claimsOf(token), this.#rules, this.#clock())
    if (typeof checked === 'string') {
      throw new TypeError(`issue() signed a token that would not be accepted: ${checked} (see its "expiresIn", and the option "maxTokenLifetime")`)
    }
    const record = await this.#record(checked, meta)
    return { token, id: record.id, jti: record.jti, expiresAt: record.expiresAt }
  }

  async record (claims: TokenClaims, meta?: Record<string, unknown>): Promise<TokenRecord> {
    return this.#record(this.#checked(claims), meta)
  }

  async token (id: string): Promise<TokenRecord | null> {
    return this.#answered(this.#store.record(id))
  }

  async revoke (token: Target): Promise<RevocationResult> {
    const { jti, iss, exp } = token
    if (!isJti(jti)) throw new TypeError('revoke() needs a jti: a well-formed string of 1 to 255 characters')
    if (iss !== undefined && !isName(iss)) throw new TypeError('revoke() takes as iss a well-formed string of at most 1024 characters')
    if (exp !== undefined && !Number.isFinite(exp)) throw new TypeError('revoke() takes as exp a number of seconds since the epoch')
    const record = await this.#answered(this.#store.recordOf(identityOf(iss, jti)))
    return this.#revoke(token, record)
  }

  async revokeById (id: string): Promise<RevocationResult> {
    const record = await this.token(id)
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return this.#revoke(record, record)
  }

  /** Revokes for an actor, if they may (P6). Without `issuer`: a token of the actor's own. */
  async revokeAs (actor: Actor, jti: string, issuer?: string): Promise<RevocationResult> {
    const claims = this.#checked(actor.claims)
    const iss = issuer ?? claims.iss
    const own = claims.jti === jti && (claims.iss ?? '') === (iss ?? '')
    const record = await this.#answered(this.#store.recordOf(identityOf(iss, jti)))
    if (!own && !sameSubject(claims, record)) await this.#authorize(actor, { jti, ...record, ...(iss && { iss }) })
    return this.#revoke({ jti, ...(iss && { iss }), ...(own && claims.exp !== undefined && { exp: claims.exp }) }, record)
  }

  /** Revokes the token of a record for an actor, if they may (P6). */
  async revokeByIdAs (actor: Actor, id: string): Promise<RevocationResult> {
    const claims = this.#checked(actor.claims)
    const record = await this.token(id)
    const own = record !== null && claims.jti === record.jti && claims.iss === record.iss
    if (!own && !sameSubject(claims, record)) await this.#authorize(actor, { ...record, id })
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return this.#revoke(record, record)
  }

  status (): RevocationStatus {
    return { mode: 'strict', store: this.#store.kind, available: this.#store.available }
  }

  on<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this {
    this.#events.on(event, listener)
    return this
  }

  off<E extends keyof RevocationEvents> (event: E, listener: (...args: RevocationEvents[E]) => void): this {
    this.#events.off(event, listener)
    return this
  }

  emit<E extends keyof RevocationEvents> (event: E, ...args: RevocationEvents[E]) {
    // What has been revoked stays revoked: a listener's error must not become the answer to who revoked it.
    try {
      this.#events.emit(event, ...args)
    } catch (error) {
      this.#onListenerError(error)
    }
  }

  #checked (claims: TokenClaims): CheckedClaims {
    const checked = checkClaims(claims, this.#rules, this.#clock())
    if (typeof checked === 'string') throw new FST_JWT_NOT_REVOCABLE(checked)
    return checked
  }

  async #authorize (actor: Actor, { jti, id, iss, sub }: Omit<AuthorizeTarget, 'action'>) {
    const target: AuthorizeTarget = { action: 'revoke', ...(jti && { jti }), ...(id && { id }), ...(iss && { iss }), ...(sub && { sub }) }
    // Nothing but true: a forgotten return, or the string 'false', lets nobody.
    if (await actor.authorize(target) !== true) throw new FST_JWT_REVOCATION_FORBIDDEN()
  }

  async #record (claims: CheckedClaims, meta: Record<string, unknown> | undefined): Promise<TokenRecord> {
    const { jti, iss, sub, exp, iat } = claims
    if (jti === undefined) throw new FST_JWT_NOT_REVOCABLE('it has no jti to record it by')
    const now = this.#clock()
    const record: TokenRecord = {
      id: randomUUID(),
      jti,
      ...(iss && { iss }),
      ...(sub && { sub }),
      issuedAt: isoTime(iat) ?? new Date(now).toISOString(),
      expiresAt: isoTime(exp),
      ...(meta !== undefined && { meta: checkMeta(meta) })
    }
    await this.#answered(this.#store.saveRecord(record, identityOf(iss, jti), keptUntil(exp, this.#rules, now)))
    return record
  }

  async #revoke (target: Target, record: TokenRecord | null): Promise<RevocationResult> {
    const { jti, iss, exp = expOf(record) } = target
    const now = this.#clock()
    const denial = { at: Math.floor(now / 1000), exp: exp ?? null }
    const kept = await this.#answered(this.#store.revoke(identityOf(iss, jti), denial, keptUntil(exp, this.#rules, now)))
    this.epoch++
    const revocation: RevocationResult = {
      jti,
      ...(record && { id: record.id }),
      ...(iss && { iss }),
      ...(record?.sub && { sub: record.sub }),
      status: 'revoked',
      revokedAt: isoTime(kept.at)!,
      expiresAt: isoTime(exp ?? kept.exp ?? undefined)
    }
    if (kept.first) this.emit('revoked', revocation)
    return revocation
  }

  async #answered<T> (answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (cause) {
      throw new FST_JWT_REVOCATION_UNAVAILABLE({ cause })
    }
  }
}

function sameSubject (claims: CheckedClaims, record: TokenRecord | null): boolean {
  return record !== null && claims.sub !== undefined && claims.sub === record.sub && claims.iss === record.iss
}

function expOf (record: TokenRecord | null): number | undefined {
  return record?.expiresAt ? Date.parse(record.expiresAt) / 1000 : undefined
}

/** As JSON, so that it reads back the same from every store. */
function checkMeta (meta: Record<string, unknown>): Record<string, unknown> {
  const json = typeof meta === 'object' && meta !== null && !Array.isArray(meta) ? JSON.stringify(meta) : undefined
  if (json === undefined || Buffer.byteLength(json) > MAX_META_BYTES) {
    throw new TypeError(`meta must be an object of at most ${MAX_META_BYTES} bytes as JSON`)
  }
  return JSON.parse(json)
}

import { randomUUID } from 'node:crypto'
import { FST_JWT_REFRESH_INVALID } from '../errors.ts'
import type { Found, Refresh, SpentRefresh } from '../stores/refresh.ts'
import type { SpendOptions, Store } from '../stores/store.ts'
import type { Clock, Milliseconds, Seconds } from '../time.ts'
import type { RefreshOptions, TokenPair, TokenRecord } from '../types.ts'
import { checkMeta, checkObject } from './arguments.ts'
import type { Audit, RefreshRefusal } from './audit.ts'
import { selectClaims, type Rules, type TokenClaims } from './claims.ts'
import { isCutOff } from './cutoff.ts'
import type { Cutoffs } from './cutoffs.ts'
import type { History } from './history.ts'
import { namesOf, type Named, type Names } from './names.ts'
import { isRefreshToken, randomSecret, refreshHashOf, successorOf } from './refresh-token.ts'
import { IAT_AHEAD } from './retention.ts'
import { checkSession, entryOfSession, nextClaims, pairOf } from './session.ts'
import type { Signed, Signing, SignRequest } from './signing.ts'
import { orUnavailable, unavailable } from './unavailable.ts'

export interface SessionsContext {
  store: Store
  rules: Rules
  clock: Clock
  history: History
  signing: Signing
  cutoffs: Cutoffs
  audit: Audit
  grace: Milliseconds
}

/** What one use of a refresh token is about. */
interface Rotation {
  token: string
  hash: string
  refresh: Refresh
  /** The claims of the next access token, and what it was signed with. */
  next: TokenClaims
  signed: Signed
  names: SessionNames
  meta: Record<string, unknown> | undefined
}

/** The subject and the session; and the listed claims of a session. */
type SessionNames = Record<'own' | 'listed', Names>
type SessionCutoffs = Record<'own' | 'listed', Seconds | null>

/** How many successors are looked at for the claims. All of them were used within one grace. */
const MAX_LINKS = 16

/** Goes on with sessions by their refresh tokens (RFC 9700 §4.14.2). */
export class Sessions {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #history: History
  readonly #signing: Signing
  readonly #cutoffs: Cutoffs
  readonly #audit: Audit
  readonly #grace: Milliseconds

  constructor ({ store, rules, clock, history, signing, cutoffs, audit, grace }: SessionsContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#history = history
    this.#signing = signing
    this.#cutoffs = cutoffs
    this.#audit = audit
    this.#grace = grace
  }

  /**
   * The next tokens of a session. The order makes each failure harmless. Nothing is spent before the next
   * access token is signed. The successor is kept before the cutoffs are read: whoever ends the session in
   * between is heard. A caller who got no answer asks again, and gets the same successor.
   */
  async refresh (token: unknown, { claims, meta, ...options }: RefreshOptions): Promise<TokenPair> {
    const checkedMeta = meta === undefined ? undefined : checkMeta(meta)
    // Who presents nothing has logged in nowhere, which is nothing to tell.
    if (token === undefined || token === '') throw new FST_JWT_REFRESH_INVALID()
    if (!isRefreshToken(token)) throw this.#refused('malformed')
    const first = { grace: this.#grace, budget: this.#store.budget() }
    const hash = refreshHashOf(token)
    const found = await orUnavailable(this.#store.refreshes.look(hash, first))
    const { refresh, now: since } = await this.#usable(found)
    const use = { ...first, since }
    this.#iatOf(refresh)
    const old = await this.#claimsOf(token, refresh, use)
    if (old === undefined) throw this.#refused('lost', refresh)
    const given = typeof claims === 'function' ? await claims(structuredClone(old)) : claims ?? old
    checkObject('refresh', 'claims', '{ sub }', given)
    const next = nextClaims(given as TokenClaims, refresh, this.#rules)
    const { end, namespace } = refresh
    const signed = await this.#sign(refresh, { method: 'refresh', given: next, options, namespace, end })
    checkSession(signed.claims, refresh)
    const names = this.#namesOf(refresh, old, signed.claims)

    const rotation = { token, hash, refresh, next, signed, names, meta: checkedMeta }
    return orUnavailable(this.#store.within(() => this.#rotate(rotation, use), use.budget))
  }

  /** Spends the refresh token, keeps its successor, and then looks whether the session has ended. */
  async #rotate (rotation: Rotation, use: SpendOptions): Promise<TokenPair> {
    const { token, hash, refresh, next, signed, names, meta } = rotation
    const { spent, record } = await this.#spend(hash, refresh, names, use)
    const session = { ...refresh, claims: next, refreshToken: successorOf(token, spent.key) }
    const now = this.#clock.wall()
    const entry = entryOfSession(session, signed.claims, record, meta, this.#rules, now)
    const lives = await this.#store.refreshes.renew(entry, use.budget)
    const [cutoffs] = await Promise.all([this.#cutoffsOf(names), this.#settle(hash, spent, use)])
    if (isEnded(refresh, record, cutoffs) || !lives) {
      // What was just kept has a later iat than the cutoff that ended the session, and must not outlive it.
      await this.#end(refresh)
      throw this.#refused('revoked', refresh)
    }
    this.#history.noteRecorded(entry, signed.claims)
    this.#audit.refreshed(refresh, signed.claims.jti)
    return pairOf(signed, session)
  }

  /** Signs the next access token. An iat that is ahead of the clock does not move its end. */
  async #sign (refresh: Refresh, request: SignRequest): Promise<Signed> {
    const asked = this.#signing.complete(request.given, randomUUID())
    const iat = this.#iatOf(refresh)
    if (iat <= this.#clock.wall() / 1000) return this.#signing.sign({ ...asked, iat }, request)
    const { claims: { exp } } = await this.#signing.sign(asked, request)
    if (exp! <= iat) throw unavailable(`the token would end at ${exp}, and the one before began at ${iat}`)
    const options = { ...request.options, expiresIn: exp! - iat }
    return this.#signing.sign({ ...asked, iat }, { ...request, options })
  }

  /**
   * The iat of the next access token: now, and not before the one before, which a cutoff did not end. Refuses
   * where the session is over by then.
   */
  #iatOf (refresh: Refresh): Seconds {
    const now = Math.floor(this.#clock.wall() / 1000)
    const { refreshLifetime, clockTolerance } = this.#rules
    if (refresh.iat > now + clockTolerance + IAT_AHEAD) {
      throw unavailable(`the session has the iat ${refresh.iat}, and the clock of this process says ${now}`)
    }
    const iat = Math.max(now, refresh.iat)
    // No cutoff is kept for longer than the lifetime, and the session may have begun under a longer one.
    const end = Math.min(refresh.end, refresh.iat + refreshLifetime!)
    if (end <= iat) throw this.#refused('expired', refresh)
    return iat
  }

  /** Spends the refresh token, unless its session has ended. */
  async #spend (hash: string, refresh: Refresh, names: SessionNames, use: SpendOptions) {
    const [found, record, cutoffs] = await Promise.all([
      this.#store.refreshes.spend(hash, randomSecret(), use),
      this.#store.records.byId(refresh.id),
      this.#cutoffsOf(names)
    ])
    if (isEnded(refresh, record, cutoffs) || record?.endedAt !== undefined) {
      // A cutoff that came late does not reach the access token that was signed meanwhile.
      const { iat } = refresh
      if (!isCutOff({ iat }, cutoffs.own) && !isCutOff({ iat }, cutoffs.listed)) await this.#end(refresh)
      throw this.#refused('revoked', refresh)
    }
    const { refresh: spent } = await this.#usable(found)
    return { spent, record }
  }

  /** Refuses what can not be used. What was used before ends its session. */
  async #usable<R extends Refresh> (found: Found<R> | null): Promise<Found<R>> {
    if (found === null) throw this.#refused('unknown')
    const { state, refresh } = found
    if (state === 'exhausted') throw this.#refused('exhausted', refresh)
    if (state !== 'reused') return found
    await this.#end(refresh, () => this.#audit.refreshReused(refresh as unknown as SpentRefresh))
    throw this.#refused('reused', refresh)
  }

  /**
   * The claims of a session. Those of a spent refresh token are kept with its successor; undefined: they were
   * lost.
   */
  async #claimsOf (token: string, refresh: Refresh | SpentRefresh, use: SpendOptions) {
    for (let links = 0; refresh.claims === undefined && links < MAX_LINKS; links++) {
      if (!('key' in refresh)) return
      token = successorOf(token, refresh.key)
      const found = await orUnavailable(this.#store.refreshes.look(refreshHashOf(token), use))
      if (found === null) return
      refresh = found.refresh
    }
    return refresh.claims
  }

  /** All that can end the session: what ended it before, and what is to end its next access token. */
  #namesOf ({ iss, sub, sid }: Refresh, old: TokenClaims, next: Named): SessionNames {
    const { claims } = selectClaims(old, this.#rules).claims
    const listed = [claims, next.claims].flatMap((claims) => namesOf({ iss, claims }).others ?? [])
    return { own: namesOf({ iss, sub, sid }), listed: { others: [...new Set(listed)] } }
  }

  async #cutoffsOf ({ own, listed }: SessionNames): Promise<SessionCutoffs> {
    const of = (names: Names) => this.#history.lookUp(names, 'checkEither').then(({ cutoff }) => cutoff)
    const [ownCutoff, listedCutoff] = await Promise.all([of(own), of(listed)])
    return { own: ownCutoff, listed: listedCutoff }
  }

  async #settle (hash: string, spent: SpentRefresh, { budget }: SpendOptions) {
    if (spent.claims === undefined) return
    // Claims that stay only take room.
    await this.#store.refreshes.settle(hash, spent, budget).catch(() => {})
  }

  /** Ends the session of a refresh token. `made`: called once if this call did, be it later. */
  async #end ({ sid, iss, sub }: Refresh, made?: () => void) {
    const names = { sid, ...(iss && { iss }) }
    const by = { ...names, ...(sub && { sub }) }
    await this.#cutoffs.write(names, { by, mustStand: true, made })
  }

  #refused (reason: RefreshRefusal, refresh?: Refresh): Error {
    this.#audit.refreshRefused(reason, refresh)
    return new FST_JWT_REFRESH_INVALID()
  }
}

/**
 * Whether a session has ended. A cutoff of its subject ends it if it began before, however often it was
 * refreshed since: a provider's log-out may come late.
 */
function isEnded ({ iat }: Refresh, record: TokenRecord | null, { own, listed }: SessionCutoffs): boolean {
  const { issuedAt } = record ?? {}
  const began = issuedAt ? Math.min(Date.parse(issuedAt) / 1000, iat) : iat
  return isCutOff({ iat: began }, own) || isCutOff({ iat }, listed)
}

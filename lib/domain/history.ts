import { randomUUID } from 'node:crypto'
import { FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from '../errors.ts'
import { LEAD } from '../stores/entry.ts'
import type { Budget, RecordEntry, Store } from '../stores/store.ts'
import type { Clock, Seconds } from '../time.ts'
import type { IssuedToken, IssueOptions, ListedToken, TokenRecord, TokensPage } from '../types.ts'
import { checkMeta } from './arguments.ts'
import { BROKEN, checkClaims, claimsOf, type CheckedClaims, type Rules, type TokenClaims } from './claims.ts'
import { culpritOf } from './culprit.ts'
import { isCutOff, latestIat } from './cutoff.ts'
import { Known } from './known.ts'
import { identityOf, namesOf, recordNameOf, type Names } from './names.ts'
import { entryOfRecord, iatOf, recordNameOfClaims, recordOfClaims } from './records.ts'
import { signerOf, type Signer, type SignOptions } from './signers.ts'
import { orUnavailable, unavailable } from './unavailable.ts'
import { unverifiable } from './verifiable.ts'

export interface HistoryContext extends Signer {
  store: Store
  rules: Rules
  clock: Clock
  /** The signer of each namespace. Without a namespace the context itself signs. Default: there are none. */
  signers?: ReadonlyMap<string | undefined, Signer>
  /** The default issuer. undefined: there is none; null: the namespaces have different ones. */
  issuer?: string | null | undefined
}

/** How many used tokens may be on their way to the store. */
const MAX_RECORDING = 100
/** Whoever cuts a subject off more often during one call of `issue()` means its token as well. */
const MAX_SIGNATURES = 10
/** A random UUID. History looks for no other id, which could make the key of something else. */
const RECORD_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i

/** Whether a look-up asks what this process knows, or what the store keeps for all. */
type Lookup = 'check' | 'checkShared'

/** The records of the tokens that have not expired. */
export class History {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #signer: Signer
  readonly #signers: ReadonlyMap<string | undefined, Signer>
  readonly #issuer: string | undefined
  readonly #known: Known
  #recording = 0

  constructor ({ store, rules, clock, signers = new Map(), issuer, ...signer }: HistoryContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#known = new Known(clock, () => store.generation)
    this.#signer = signer
    this.#signers = signers
    this.#issuer = issuer ?? undefined
  }

  /**
   * Signs until no cutoff ends the token. A token that is not handed out leaves its record behind. The record
   * says `revoked`, because the cutoff ends its iat, too.
   */
  async issue (claims: TokenClaims, { meta, namespace, ...signOptions }: IssueOptions): Promise<IssuedToken> {
    const signer = namespace === undefined ? this.#signer : signerOf(namespace, this.#signers)
    let options = Object.keys(signOptions).length > 0 ? signOptions : undefined
    const checkedMeta = meta === undefined ? undefined : checkMeta(meta)
    const id = randomUUID()
    const jti = randomUUID()
    const at = this.#rules.claims.jti
    let asked: TokenClaims = { ...claims, [at]: claims[at] ?? jti }
    // With the default issuer, a cutoff of the subject ends this token as well.
    if (claims.iss === undefined && this.#issuer !== undefined) asked.iss = this.#issuer
    for (let signatures = 0; signatures < MAX_SIGNATURES; signatures++) {
      const token = await signer.sign(asked, options)
      // The signed claims count, not the given ones: sign options may set claims, too.
      const checked = this.#issuable(claimsOf(token), claims, signOptions, signer)
      const record = recordOfClaims(checked, checkedMeta, id)
      if (signatures === 0) await this.#checkGiven(checked, record.jti !== jti)
      if (checked.iat === undefined) await this.#refuseTimeless(checked)
      // A random jti has no record yet.
      const cutoff = await this.#save(record, checked, record.jti === jti)
      const { iss } = record
      if (!isCutOff(checked, cutoff)) {
        return { token, id, jti: checked.jti!, ...(iss && { iss }), expiresAt: record.expiresAt }
      }
      const iat = this.#firstAfter(cutoff!)
      asked = { ...asked, iat }
      // The later iat does not move the end: repeated cutoffs must not give tokens that live longer.
      if (checked.exp === undefined) continue
      if (checked.exp <= iat) {
        throw unavailable(`the token would end at ${checked.exp}, and the cutoff of its subject is ${cutoff}`)
      }
      options = { ...options, expiresIn: checked.exp - iat }
    }
    throw unavailable(`the subject was cut off ${MAX_SIGNATURES} times while its token was signed`)
  }

  async record (claims: CheckedClaims, meta?: Record<string, unknown>): Promise<TokenRecord> {
    const record = recordOfClaims(claims, meta === undefined ? undefined : checkMeta(meta), randomUUID())
    await this.#save(record, claims)
    return record
  }

  /**
   * Records a token that has just verified, unless it is recorded. This runs in the background and fails
   * silently. It skips the token while many others are under way; the token's next request tries again.
   */
  noteUse (claims: CheckedClaims) {
    if (this.#recording >= MAX_RECORDING || !this.#store.status.available) return
    const name = knownAs(recordNameOfClaims(claims), claims.exp)
    if (this.#known.has(name)) return
    this.#known.add(name)
    this.#recording++
    this.#store.records.add(this.#entry(recordOfClaims(claims, undefined, randomUUID()), claims))
      .catch(() => { this.#known.delete(name) })
      .finally(() => { this.#recording-- })
  }

  /** The store may have lost its records, so each used token is recorded again. */
  forget () {
    this.#known.clear()
  }

  async token (id: string, budget?: Budget): Promise<TokenRecord | null> {
    return RECORD_ID.test(id) ? orUnavailable(this.#store.records.byId(id, budget)) : null
  }

  tokenOf (iss: string | undefined, jti: string, budget?: Budget): Promise<TokenRecord | null> {
    return orUnavailable(this.#store.records.of(identityOf(iss, jti), budget))
  }

  /** The record of the token that has these claims. */
  recordOf (claims: CheckedClaims): Promise<TokenRecord | null> {
    return orUnavailable(this.#store.records.of(recordNameOfClaims(claims)))
  }

  /**
   * The record of an id, and its identity's record that ends latest. The same commands run without one (P6).
   */
  async named (id: string, budget: Budget): Promise<Record<'record' | 'latest', TokenRecord | null>> {
    if (!RECORD_ID.test(id)) return { record: null, latest: null }
    const record = await this.token(id, budget)
    const name = record === null ? '' : recordNameOf(record)
    return { record, latest: await orUnavailable(this.#store.records.of(name, budget)) }
  }

  async tokens (sub: string, iss: string | undefined, limit: number, cursor?: string): Promise<TokensPage> {
    // A cursor is the id of a record. Any other text leads nowhere.
    if (cursor !== undefined && !RECORD_ID.test(cursor)) return { tokens: [] }
    return orUnavailable(this.#store.within(async () => {
      const now = this.#clock.wall() / 1000
      const { records, after } = await this.#store.records.page(identityOf(iss, sub), limit, cursor, now)
      const tokens = await Promise.all(records.map((record) => this.withStatus(record)))
      return { tokens, ...(after !== undefined && { cursor: after }) }
    }))
  }

  async withStatus (record: TokenRecord, how: Lookup = 'check'): Promise<ListedToken> {
    const { revoked, cutoff } = await this.lookUp(namesOf(record, this.#rules.sidless), how)
    return { ...record, status: revoked || isCutOff(iatOf(record), cutoff) ? 'revoked' : 'active' }
  }

  /** What the store has under these names. Look-ups of one turn of the event loop share a round trip. */
  lookUp (names: Names, how: Lookup = 'check'): Promise<{ revoked: boolean, cutoff: Seconds | null }> {
    return new Promise((resolve, reject) => {
      this.#store.denials[how](names, (cause, revoked, cutoff) => {
        if (cause) reject(new FST_JWT_REVOCATION_UNAVAILABLE({ cause }))
        else resolve({ revoked, cutoff })
      })
    })
  }

  /** Rejects a given iat that no cutoff can end, and a given jti that is already revoked. */
  async #checkGiven (claims: CheckedClaims, isOwnJti: boolean) {
    if (claims.iat !== undefined && claims.iat > latestIat(this.#clock.wall())) {
      throw new TypeError(`issue() signs no iat that is more than ${LEAD} seconds ahead; ` +
        'leave "iat" out of the claims')
    }
    if (!isOwnJti) return
    const { revoked } = await this.lookUp({ identity: namesOf(claims).identity })
    if (revoked) throw new FST_JWT_REVOKED()
  }

  /** The second after a cutoff, if that is within the lead. */
  #firstAfter (cutoff: Seconds): Seconds {
    const latest = latestIat(this.#clock.wall())
    // An administrator made this cutoff for a ban, or a clock is ahead of ours. No second attempt will help.
    if (cutoff > latest) throw new FST_JWT_REVOKED()
    // Until the clock moves on, the cutoff ends every token that can be signed.
    if (cutoff === latest) {
      throw unavailable(`the subject was cut off again and again, until ${LEAD} seconds from now`)
    }
    return cutoff + 1
  }

  /** Rejects a token without an iat where a cutoff stands: it could not show that it is newer. */
  async #refuseTimeless (claims: CheckedClaims) {
    const { cutoff } = await this.lookUp({ ...namesOf(claims, this.#rules.sidless), identity: undefined })
    if (cutoff === null) return
    throw new TypeError('issue() can not give a subject that was cut off a token without iat; ' +
      'sign without "noTimestamp"')
  }

  #issuable (signed: TokenClaims, claims: TokenClaims, options: SignOptions, signer: Signer): CheckedClaims {
    const { signOptions = {}, verifyOptions = {} } = signer
    const checked = checkClaims(signed, this.#rules, this.#clock.wall())
    const rule = typeof checked === 'string'
      ? checked
      : checked.jti === undefined ? BROKEN.jti : unverifiable(signed, verifyOptions)
    if (rule === undefined) return checked as CheckedClaims
    const culprit = culpritOf(rule, claims, options, signOptions)
    const origin = culprit && `; that comes from ${culprit}`
    throw new TypeError(`issue() signed a token that would not be accepted: ${rule}${origin}`)
  }

  async #save (record: TokenRecord, claims: CheckedClaims, isFirst = false) {
    const entry = this.#entry(record, claims)
    const cutoff = await orUnavailable(this.#store.records.save(entry, isFirst))
    this.#known.add(knownAs(entry.identity, claims.exp))
    return cutoff
  }

  #entry (record: TokenRecord, claims: CheckedClaims): RecordEntry {
    return entryOfRecord(record, claims, this.#rules, this.#clock.wall())
  }
}

/**
 * Includes `exp`, so that a later token of the same identity is recorded as well. No identity has a space.
 */
function knownAs (identity: string, exp: number | undefined): string {
  return `${identity} ${exp}`
}

import { randomUUID } from 'node:crypto'
import { FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from '../errors.ts'
import { LEAD } from '../stores/entry.ts'
import type { Budget, RecordEntry, Store } from '../stores/store.ts'
import type { Clock, Milliseconds, Seconds } from '../time.ts'
import type {
  IssuedToken, IssueOptions, ListedToken, TokenPair, TokenRecord, TokensPage
} from '../types.ts'
import { checkMeta } from './arguments.ts'
import type { CheckedClaims, Rules, TokenClaims } from './claims.ts'
import { isCutOff, latestIat } from './cutoff.ts'
import { Known } from './known.ts'
import { cutoffNameOf, identityOf, namesOf, recordNameOf, type Names } from './names.ts'
import { endedAtOf, entryOfRecord, iatOf, recordNameOfClaims, recordOfClaims } from './records.ts'
import { beginSession, entryOfSession, pairOf, withSession } from './session.ts'
import type { SignOptions } from './signers.ts'
import type { Signed, Signing } from './signing.ts'
import { orUnavailable, unavailable } from './unavailable.ts'

export interface HistoryContext {
  store: Store
  rules: Rules
  clock: Clock
  signing: Signing
}

/** How many used tokens may be on their way to the store. */
const MAX_RECORDING = 100
/** Whoever cuts a subject off more often during one call of `issue()` means its token as well. */
const MAX_SIGNATURES = 10
/** A random UUID. History looks for no other id, which could make the key of something else. */
const RECORD_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i

/** Whether a look-up asks what this process knows, what the store keeps for all as well, or either. */
type Lookup = 'check' | 'checkShared' | 'checkEither'

/** The records of the tokens that have not expired. */
export class History {
  readonly #store: Store
  readonly #rules: Rules
  readonly #clock: Clock
  readonly #signing: Signing
  readonly #known: Known
  #recording = 0

  constructor ({ store, rules, clock, signing }: HistoryContext) {
    this.#store = store
    this.#rules = rules
    this.#clock = clock
    this.#signing = signing
    this.#known = new Known(clock, () => store.generation)
  }

  /**
   * Signs until no cutoff ends the token. A token that is not handed out leaves its record behind. The record
   * says `revoked`, because the cutoff ends its iat, too. Where the token, or a later one of its session, may
   * have a listed claim, it waits for its second: such a claim's cutoff reaches no iat that is ahead.
   */
  async issue (
    claims: TokenClaims, { meta, namespace, refresh, ...given }: IssueOptions
  ): Promise<IssuedToken | TokenPair> {
    const now = this.#clock.wall()
    const checkedMeta = meta === undefined ? undefined : checkMeta(meta)
    const id = randomUUID()
    const jti = randomUUID()
    const session = refresh ? beginSession(id, claims, namespace, this.#rules, now) : undefined
    let asked = this.#signing.complete(claims, jti)
    if (session !== undefined) asked = withSession(asked, session, this.#rules)
    let options: SignOptions = given
    let patience: Milliseconds = LEAD * 1000
    for (let signatures = 0; signatures < MAX_SIGNATURES; signatures++) {
      const request = { method: 'issue', given: claims, options, namespace, end: session?.end } as const
      const signed = await this.#signing.sign(asked, request)
      const checked = signed.claims
      if (signatures === 0) await this.#checkGiven(checked, checked.jti !== jti)
      if (checked.iat === undefined) await this.#refuseTimeless(checked)
      const entry = session === undefined
        ? this.#entry(recordOfClaims(checked, checkedMeta, id), checked)
        : entryOfSession(session, checked, null, checkedMeta, this.#rules, this.#clock.wall())
      // A random jti has no record yet.
      const cutoff = await this.#save(entry, checked, checked.jti === jti)
      if (!isCutOff(checked, cutoff)) {
        return session === undefined ? issuedOf(signed, entry.record) : pairOf(signed, session)
      }
      const iat = this.#firstAfter(cutoff!)
      asked = { ...asked, iat }
      // The later iat does not move the end: repeated cutoffs must not give tokens that live longer.
      const { exp = Infinity } = checked
      if (exp <= iat) {
        throw unavailable(`the token would end at ${exp}, and the cutoff of its subject is ${cutoff}`)
      }
      if (exp < Infinity) options = { ...options, expiresIn: exp - iat }
      const isListed = checked.claims !== undefined || (session && this.#rules.revocableBy.length > 0)
      if (isListed) patience = await this.#reach(iat, patience)
    }
    throw unavailable(`the subject was cut off ${MAX_SIGNATURES} times while its token was signed`)
  }

  async record (claims: CheckedClaims, meta?: Record<string, unknown>): Promise<TokenRecord> {
    const record = recordOfClaims(claims, meta === undefined ? undefined : checkMeta(meta), randomUUID())
    await this.#save(this.#entry(record, claims), claims)
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

  /** `sid`: the session that the token names. Its record counts where the store has lost what leads there. */
  async tokenOf (
    iss: string | undefined, jti: string, budget?: Budget, sid?: string
  ): Promise<TokenRecord | null> {
    const record = await orUnavailable(this.#store.records.of(identityOf(iss, jti), budget))
    if (record !== null || sid === undefined || this.#rules.refreshLifetime === undefined) return record
    return orUnavailable(this.#store.records.of(cutoffNameOf({ sid, ...(iss && { iss }) }), budget))
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
    if (!revoked && record.endedAt === undefined && !isCutOff(iatOf(record), cutoff)) {
      return { ...record, status: 'active' }
    }
    const ended = record.session ? endedAtOf(record, cutoff, this.#clock.wall()) : undefined
    return { ...record, ...(ended && { endedAt: ended }), status: 'revoked' }
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

  /** Waits for a second that is ahead. Gives what is left of the patience. */
  async #reach (iat: Seconds, patience: Milliseconds): Promise<Milliseconds> {
    const ahead = Math.max(iat * 1000 - this.#clock.wall(), 0)
    if (ahead > patience) throw unavailable('the subject was cut off again and again while its login waited')
    // A timer may go off up to a millisecond early.
    await this.#clock.sleep(ahead + 1)
    // The clock may have been set back meanwhile.
    this.#firstAfter(iat - 1)
    return patience - ahead
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

  async #save (entry: RecordEntry, claims: CheckedClaims, isFirst = false) {
    const cutoff = await orUnavailable(this.#store.records.save(entry, isFirst))
    this.noteRecorded(entry, claims)
    return cutoff
  }

  /** Its use need not record the token again. */
  noteRecorded ({ identity }: RecordEntry, { exp }: CheckedClaims) {
    this.#known.add(knownAs(identity, exp))
  }

  #entry (record: TokenRecord, claims: CheckedClaims): RecordEntry {
    return entryOfRecord(record, claims, this.#rules, this.#clock.wall())
  }
}

function issuedOf ({ token, claims: { jti, iss } }: Signed, { id, expiresAt }: TokenRecord): IssuedToken {
  return { token, id, jti, ...(iss && { iss }), expiresAt }
}

/**
 * Includes `exp`, so that a later token of the same identity is recorded as well. No identity has a space.
 */
function knownAs (identity: string, exp: number | undefined): string {
  return `${identity} ${exp}`
}

import { FST_JWT_REVOCATION_FORBIDDEN, FST_JWT_REVOCATION_NOT_FOUND } from '../errors.ts'
import type { Budget } from '../stores/store.ts'
import type { Seconds } from '../time.ts'
import type {
  AuthorizeTarget, ClaimResult, CutoffResult, ListedToken, SessionResult, TokenRecord,
  TokensPage
} from '../types.ts'
import { byOf } from './audit.ts'
import type { CheckedClaims, TokenClaims } from './claims.ts'
import type { Decorator } from './decorator.ts'
import { hasOwnName, recordNameOf } from './names.ts'
import { recordNameOfClaims } from './records.ts'
import type { Revoked } from './revocation.ts'

/** Who wants to act on a token: the claims of their own token, and a function that may grant more. */
export interface Actor {
  claims: TokenClaims
  authorize: (target: AuthorizeTarget) => boolean | Promise<boolean>
}

/** One page of records, as an actor sees it. */
export interface OwnPage {
  tokens: Array<ListedToken & { current: boolean }>
  cursor?: string
}

export interface ListRequest {
  sub?: string
  iss?: string
  limit: number
  cursor?: string
}

export interface SubjectRequest {
  sub: string
  iss?: string | undefined
  sparing: boolean
  /** A ban, in seconds since the epoch. */
  until?: Seconds | undefined
}

export interface ClaimRequest {
  claim: string
  value: string
  iss?: string | undefined
  until?: Seconds | undefined
}

/**
 * Who may do what (P6): a token acts on itself, on its own subject and on its own session; `authorize` grants
 * the rest. Anybody else learns nothing: an unknown token and a foreign one get the same answer, after the
 * same reads.
 */
export class Access {
  readonly #revocation: Decorator
  readonly #budget: () => Budget

  constructor (revocation: Decorator, budget: () => Budget) {
    this.#revocation = revocation
    this.#budget = budget
  }

  /** Without `issuer`, a token of the actor's own issuer is meant. */
  async revoke (actor: Actor, jti: string, issuer?: string): Promise<Revoked> {
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    const budget = this.#budget()
    const own = isToken(claims, jti, iss)
    const sid = own ? claims.sid : undefined
    const record = await this.#revocation.history.tokenOf(iss, jti, budget, sid)
    if (!own && !sharesName(claims, record)) {
      await authorize(actor, { action: 'revoke', ...named({ jti, iss }), ...named(record) })
    }
    // The actor's own token has no end where it names none.
    const exp = own && { exp: claims.exp ?? Infinity }
    const { revoker } = this.#revocation
    return (await revoker.revokeKnown({ jti, iss, ...exp }, record, budget, byOf(claims))).revocation
  }

  async revokeById (actor: Actor, id: string): Promise<Revoked> {
    const claims = this.#revocation.checked(actor.claims)
    const budget = this.#budget()
    const { record, latest } = await this.#revocation.history.named(id, budget)
    const own = await this.#allowed(actor, claims, id, 'revoke', record)
    return (await this.#revocation.revoker.revokeRecord(own, latest, budget, byOf(claims))).revocation
  }

  /**
   * Without `iss`, a subject of the actor's own issuer is meant. `sparing`: all but the actor's own token. A
   * ban is never the actor's own to make: whoever steals a token must not lock its owner out.
   */
  async revokeSubject (
    actor: Actor, { sub, iss: issuer, sparing, until }: SubjectRequest
  ): Promise<CutoffResult> {
    const { revoker } = this.#revocation
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    const { jti, sid } = claims
    if (isSubject(claims, sub, iss) && until === undefined) {
      return revoker.endOwnSubject(claims, { except: sparing ? { jti, sid } : undefined })
    }
    await authorize(actor, { action: 'revokeSubject', ...named({ sub, iss }), ...(until && { until }) })
    // Another subject has no token of the actor's to spare.
    return revoker.endSubject(sub, iss, { by: byOf(claims), except: sparing ? {} : undefined, until })
  }

  /** Without `issuer`, a session of the actor's own issuer is meant. */
  async revokeSession (actor: Actor, sid: string, issuer?: string): Promise<SessionResult> {
    const { revoker, rules } = this.#revocation
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    if (!isSession(claims, sid, iss)) {
      await authorize(actor, { action: 'revokeSession', ...named({ sid, iss }) })
    }
    if (rules.claims.sid === undefined) throw new FST_JWT_REVOCATION_NOT_FOUND('No claim counts as a session')
    return revoker.endSession(sid, iss, byOf(claims))
  }

  /** Without `iss`, tokens of the actor's own issuer are meant. Nobody owns a claim's value. */
  async revokeBy (actor: Actor, { claim, value, iss: issuer, until }: ClaimRequest): Promise<ClaimResult> {
    const { revoker, rules } = this.#revocation
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    const target = { claim, value, ...named({ iss }), ...(until && { until }) }
    await authorize(actor, { action: 'revokeBy', ...target })
    if (!rules.revocableBy.includes(claim)) {
      throw new FST_JWT_REVOCATION_NOT_FOUND('No token can be revoked by this claim')
    }
    return revoker.endClaim(claim, value, iss, { by: byOf(claims), until })
  }

  async read (actor: Actor, id: string): Promise<ListedToken & { current: boolean }> {
    const claims = this.#revocation.checked(actor.claims)
    const record = await this.#allowed(actor, claims, id, 'read', await this.#revocation.history.token(id))
    return withCurrent(claims, await this.#revocation.history.withStatus(record))
  }

  /**
   * Without `sub`, lists the tokens of the actor's own subject. An actor without a subject sees their own
   * token.
   */
  async list (actor: Actor, { sub, iss: issuer, limit, cursor }: ListRequest): Promise<OwnPage> {
    const claims = this.#revocation.checked(actor.claims)
    const { history } = this.#revocation
    const iss = issuer ?? claims.iss
    const subject = sub ?? claims.sub
    let page: TokensPage
    if (subject === undefined) {
      if (!isIssuer(claims, iss)) throw new FST_JWT_REVOCATION_FORBIDDEN()
      const record = hasOwnName(claims) ? await history.recordOf(claims) : null
      page = { tokens: record === null ? [] : [await history.withStatus(record)] }
    } else {
      if (!isSubject(claims, subject, iss)) {
        await authorize(actor, { action: 'read', ...named({ sub: subject, iss }) })
      }
      page = await history.tokens(subject, iss, limit, cursor)
    }
    return { ...page, tokens: page.tokens.map((token) => withCurrent(claims, token)) }
  }

  async #allowed (
    actor: Actor, claims: CheckedClaims, id: string, action: 'read' | 'revoke', record: TokenRecord | null
  ): Promise<TokenRecord> {
    const own = record !== null && isToken(claims, record.jti, record.iss)
    if (!own && !sharesName(claims, record)) await authorize(actor, { action, ...named(record), id })
    if (record === null) throw new FST_JWT_REVOCATION_NOT_FOUND()
    return record
  }
}

async function authorize (actor: Actor, target: AuthorizeTarget) {
  // Only `true` grants access: a forgotten return, or the string 'false', does not.
  if (await actor.authorize(target) !== true) throw new FST_JWT_REVOCATION_FORBIDDEN()
}

function isIssuer (claims: CheckedClaims, iss: string | undefined) {
  return (claims.iss ?? '') === (iss ?? '')
}

function isToken (claims: CheckedClaims, jti: string | undefined, iss: string | undefined) {
  return jti !== undefined && claims.jti === jti && isIssuer(claims, iss)
}

function isSubject (claims: CheckedClaims, sub: string | undefined, iss: string | undefined) {
  return claims.sub !== undefined && claims.sub === sub && isIssuer(claims, iss)
}

function isSession (claims: CheckedClaims, sid: string | undefined, iss: string | undefined) {
  return claims.sid !== undefined && claims.sid === sid && isIssuer(claims, iss)
}

/** Whether the record is of the actor's own subject or session. */
function sharesName (claims: CheckedClaims, record: TokenRecord | null) {
  if (record === null) return false
  const { sub, sid, iss } = record
  return isSubject(claims, sub, iss) || isSession(claims, sid, iss)
}

function withCurrent (claims: CheckedClaims, token: ListedToken) {
  // A session has one record, whichever of its access tokens asks.
  const current = recordNameOf(token) === recordNameOfClaims(claims) ||
    (token.session === true && isSession(claims, token.sid, token.iss))
  return { ...token, current }
}

/** The names in `of` that are neither absent nor empty. */
function named (of: { [name in 'jti' | 'id' | 'iss' | 'sub' | 'sid']?: string | undefined } | null) {
  const { jti, id, iss, sub, sid } = of ?? {}
  return {
    ...(jti && { jti }), ...(id && { id }), ...(iss && { iss }), ...(sub && { sub }), ...(sid && { sid })
  }
}

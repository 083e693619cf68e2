import { FST_JWT_REVOCATION_FORBIDDEN, FST_JWT_REVOCATION_NOT_FOUND } from '../errors.ts'
import type { Budget } from '../stores/store.ts'
import type {
  AuthorizeTarget, CutoffResult, ListedToken, RevocationResult, TokenRecord, TokensPage
} from '../types.ts'
import { byOf } from './audit.ts'
import type { CheckedClaims, TokenClaims } from './claims.ts'
import type { Decorator } from './decorator.ts'

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

/**
 * Who may do what (P6): a token acts on itself and on its own subject; `authorize` grants the rest. Anybody
 * else learns nothing: an unknown token and a foreign one get the same answer, after the same reads.
 */
export class Access {
  readonly #revocation: Decorator
  readonly #budget: () => Budget

  constructor (revocation: Decorator, budget: () => Budget) {
    this.#revocation = revocation
    this.#budget = budget
  }

  /** Without `issuer`, a token of the actor's own issuer is meant. */
  async revoke (actor: Actor, jti: string, issuer?: string): Promise<RevocationResult> {
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    const budget = this.#budget()
    const record = await this.#revocation.history.tokenOf(iss, jti, budget)
    const own = isToken(claims, jti, iss)
    if (!own && !hasSubjectOf(claims, record)) {
      await authorize(actor, { action: 'revoke', ...named({ jti, iss }), ...named(record) })
    }
    // The actor's own token has no end where it names none.
    const exp = own && { exp: claims.exp ?? Infinity }
    const { revoker } = this.#revocation
    return (await revoker.revokeKnown({ jti, iss, ...exp }, record, budget, byOf(claims))).revocation
  }

  async revokeById (actor: Actor, id: string): Promise<RevocationResult> {
    const claims = this.#revocation.checked(actor.claims)
    const budget = this.#budget()
    const { record, latest } = await this.#revocation.history.named(id, budget)
    const own = await this.#allowed(actor, claims, id, 'revoke', record)
    return (await this.#revocation.revoker.revokeKnown(own, own, budget, byOf(claims), latest)).revocation
  }

  /**
   * Without `issuer`, a subject of the actor's own issuer is meant. `sparing`: all but the actor's own token.
   */
  async revokeSubject (
    actor: Actor, sub: string, issuer: string | undefined, sparing: boolean
  ): Promise<CutoffResult> {
    const { revoker } = this.#revocation
    const claims = this.#revocation.checked(actor.claims)
    const iss = issuer ?? claims.iss
    if (isSubject(claims, sub, iss)) {
      return revoker.endOwnSubject(claims, sparing ? claims.jti ?? '' : undefined)
    }
    await authorize(actor, { action: 'revokeSubject', ...named({ sub, iss }) })
    // No jti is empty: another subject has no token of the actor's to spare.
    return revoker.endSubject(sub, iss, { by: byOf(claims), except: sparing ? '' : undefined })
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
      const record = claims.jti === undefined ? null : await history.tokenOf(iss, claims.jti)
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
    if (!own && !hasSubjectOf(claims, record)) await authorize(actor, { action, ...named(record), id })
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

function isToken (claims: CheckedClaims, jti: string, iss: string | undefined) {
  return claims.jti === jti && isIssuer(claims, iss)
}

function isSubject (claims: CheckedClaims, sub: string | undefined, iss: string | undefined) {
  return claims.sub !== undefined && claims.sub === sub && isIssuer(claims, iss)
}

function hasSubjectOf (claims: CheckedClaims, record: TokenRecord | null) {
  return record !== null && isSubject(claims, record.sub, record.iss)
}

function withCurrent (claims: CheckedClaims, token: ListedToken) {
  return { ...token, current: isToken(claims, token.jti, token.iss) }
}

/** The names in `of` that are neither absent nor empty. */
function named (of: { jti?: string, id?: string, iss?: string | undefined, sub?: string } | null) {
  const { jti, id, iss, sub } = of ?? {}
  return { ...(jti && { jti }), ...(id && { id }), ...(iss && { iss }), ...(sub && { sub }) }
}

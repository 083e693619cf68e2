import type { CheckedClaims } from './claims.ts'

/** The names by which a token can be revoked. `identityOf` makes each of an issuer and a jti or a sub. */
export interface Names {
  /** Absent where the token has no usable jti. */
  identity?: string | undefined
  /** Absent where the token has no sub. */
  subject?: string | undefined
}

/**
 * The part of a Redis key that names a token or a subject: `e(name)` without an issuer, `e(iss)/e(name)` with
 * one, where `e` is encodeURIComponent. An encoded name has no slash, so two pairs never share an identity.
 */
export function identityOf (iss: string | undefined, name: string): string {
  return iss ? `${e(iss)}/${e(name)}` : e(name)
}

/** encodeURIComponent leaves such a name as it is, but takes several times as long to find that out. */
const PLAIN = /^[\w.!~*'()-]*$/

function e (name: string): string {
  return PLAIN.test(name) ? name : encodeURIComponent(name)
}

/** The issuer and the name that an identity was made of; null where it was made of none. */
export function partsOf (identity: string): { iss?: string, name: string } | null {
  const slash = identity.indexOf('/')
  try {
    const name = decodeURIComponent(identity.slice(slash + 1))
    return slash < 0 ? { name } : { iss: decodeURIComponent(identity.slice(0, slash)), name }
  } catch {
    return null
  }
}

/** The names by which a token with these claims can be revoked. */
export function namesOf ({ iss, jti, sub }: CheckedClaims): Names {
  // Of one shape, whatever the token lacks: this runs for every request.
  return {
    identity: jti === undefined ? undefined : identityOf(iss, jti),
    subject: sub === undefined ? undefined : identityOf(iss, sub)
  }
}

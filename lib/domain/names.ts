import type { CheckedClaims } from './claims.ts'

/** What a token can be denied by. Each name is what `identityOf` makes of an issuer and a jti or a sub. */
export interface Names {
  /** Absent where the token has no usable jti. */
  identity?: string | undefined
  /** Absent where it has no sub. */
  subject?: string | undefined
}

/**
 * The part of a Redis key that names a token or a subject: `e(name)` without an issuer, `e(iss)/e(name)` with one,
 * `e` being encodeURIComponent. No two pairs share one: an encoded name has no slash.
 */
export function identityOf (iss: string | undefined, name: string): string {
  return iss ? `${e(iss)}/${e(name)}` : e(name)
}

/** What encodeURIComponent leaves as it is. Most names are nothing else, and it takes several times as long to say so. */
const PLAIN = /^[\w.!~*'()-]*$/

function e (name: string): string {
  return PLAIN.test(name) ? name : encodeURIComponent(name)
}

/** What `identityOf` was made of; null where it can't have been. */
export function partsOf (identity: string): { iss?: string, name: string } | null {
  const slash = identity.indexOf('/')
  try {
    const name = decodeURIComponent(identity.slice(slash + 1))
    return slash < 0 ? { name } : { iss: decodeURIComponent(identity.slice(0, slash)), name }
  } catch {
    return null
  }
}

/** What a token of these checked claims can be denied by. */
export function namesOf ({ iss, jti, sub }: CheckedClaims): Names {
  return {
    ...(jti !== undefined && { identity: identityOf(iss, jti) }),
    ...(sub !== undefined && { subject: identityOf(iss, sub) })
  }
}

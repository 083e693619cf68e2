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
export function namesOf (identity: string): { iss?: string, name: string } | null {
  const slash = identity.indexOf('/')
  try {
    const name = decodeURIComponent(identity.slice(slash + 1))
    return slash < 0 ? { name } : { iss: decodeURIComponent(identity.slice(0, slash)), name }
  } catch {
    return null
  }
}

/** The plugin's keys in Redis. They are public: other services may read them. */
export function keysUnder (prefix: string) {
  return {
    revoked: (identity: string) => `${prefix}revoked:${identity}`,
    cutoff: (subject: string) => `${prefix}cutoff:${subject}`,
    token: (id: string) => `${prefix}token:${id}`,
    id: (identity: string) => `${prefix}id:${identity}`,
    tokens: (subject: string) => `${prefix}tokens:${subject}`,
    log: `${prefix}log`,
    same: `${prefix}same`
  }
}

export type Keys = ReturnType<typeof keysUnder>

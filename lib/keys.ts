/**
 * The part of a Redis key that names a token or a subject: `e(name)` without an issuer, `e(iss)/e(name)` with one,
 * `e` being encodeURIComponent. No two pairs share one: an encoded name has no slash.
 */
export function identityOf (iss: string | undefined, name: string): string {
  return iss ? `${encodeURIComponent(iss)}/${encodeURIComponent(name)}` : encodeURIComponent(name)
}

/** The plugin's keys in Redis. They are public: other services may read them. */
export function keysUnder (prefix: string) {
  return {
    revoked: (identity: string) => `${prefix}revoked:${identity}`,
    cutoff: (subject: string) => `${prefix}cutoff:${subject}`,
    token: (id: string) => `${prefix}token:${id}`,
    id: (identity: string) => `${prefix}id:${identity}`,
    tokens: (subject: string) => `${prefix}tokens:${subject}`
  }
}

export type Keys = ReturnType<typeof keysUnder>

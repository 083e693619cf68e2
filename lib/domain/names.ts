/** The names by which a token can be revoked: its own, and those of which a cutoff ends all tokens. */
export interface Names {
  /** Absent where the token has no usable jti. */
  identity?: string | undefined
  /** Absent where the token has no sub. */
  subject?: string | undefined
  /** The further names that have a cutoff each: the session's, and those of listed claims. */
  others?: readonly string[] | undefined
}

/** The claims that give a token its names. A record has them, too. */
export interface Named {
  jti?: string | undefined
  iss?: string | undefined
  sub?: string | undefined
  sid?: string | undefined
  claims?: Record<string, string> | undefined
}

/** What a cutoff is of: a subject, a session, a listed claim's value, or a subject's tokens without a sid. */
export type CutoffNames = { iss?: string } &
  ({ sub: string } | { sid: string } | { claim: string, value: string } | { subWithoutSid: string })

/** In front of a session's name. No listed claim has it, and no encoded name has a colon. */
const SESSION = 'sid:'
/** In front of the subject whose tokens without a sid are meant. No claim's name begins like this. */
const WITHOUT_SID = '!sid:'
/** In front of the name of a record without a jti. */
const WITHOUT_JTI = '!jti:'

/**
 * The part of a Redis key that names a token or a subject: `e(name)` without an issuer, `e(iss)/e(name)` with
 * one, where `e` is encodeURIComponent. An encoded name has no slash, so two pairs never share an identity.
 */
export function identityOf (iss: string | undefined, name: string): string {
  return iss ? `${e(iss)}/${e(name)}` : e(name)
}

/** The name of what a cutoff is of: what follows `{prefix}cutoff:` in Redis. */
export function cutoffNameOf (names: CutoffNames): string {
  if ('sub' in names) return identityOf(names.iss, names.sub)
  if ('sid' in names) return SESSION + identityOf(names.iss, names.sid)
  if ('subWithoutSid' in names) return WITHOUT_SID + identityOf(names.iss, names.subWithoutSid)
  return `${e(names.claim)}:${identityOf(names.iss, names.value)}`
}

/** encodeURIComponent leaves such a name as it is, but takes several times as long to find that out. */
const PLAIN = /^[\w.!~*'()-]*$/

function e (name: string): string {
  return PLAIN.test(name) ? name : encodeURIComponent(name)
}

function d (encoded: string): string {
  return encoded.includes('%') ? decodeURIComponent(encoded) : encoded
}

/** The issuer and the name that an identity was made of; null where it was made of none. */
export function partsOf (identity: string): { iss?: string, name: string } | null {
  const slash = identity.indexOf('/')
  try {
    const name = d(identity.slice(slash + 1))
    return slash < 0 ? { name } : { iss: d(identity.slice(0, slash)), name }
  } catch {
    return null
  }
}

/** What a cutoff of this name is of; null where this version can not tell. */
export function cutoffNamesOf (name: string): CutoffNames | null {
  const colon = name.indexOf(':')
  const kind = name.slice(0, colon + 1)
  const parts = partsOf(name.slice(colon + 1))
  const claim = partsOf(kind.slice(0, -1))?.name
  if (parts === null || claim === undefined) return null
  const { name: value, ...iss } = parts
  if (kind === WITHOUT_SID) return { subWithoutSid: value, ...iss }
  // A claim's name never begins like this: such kinds are from other versions.
  if (kind.startsWith('!')) return null
  if (colon < 0) return { sub: value, ...iss }
  return kind === SESSION ? { sid: value, ...iss } : { claim, value, ...iss }
}

/**
 * The names by which a token with these claims can be revoked. `sidless`: whether a subject's tokens without
 * a sid have a name together.
 */
export function namesOf ({ iss, jti, sub, sid, claims }: Named, sidless = false): Names {
  const subject = sub === undefined ? undefined : identityOf(iss, sub)
  const withoutSid = sidless && sid === undefined ? subject : undefined
  // Of one shape, whatever the token lacks: this runs for every request.
  return {
    identity: jti === undefined ? undefined : identityOf(iss, jti),
    subject,
    others: sid === undefined && claims === undefined && withoutSid === undefined
      ? undefined
      : othersOf(iss, sid, claims, withoutSid)
  }
}

function othersOf (
  iss: string | undefined, sid: string | undefined, claims: Named['claims'], withoutSid: string | undefined
): string[] {
  const names = sid === undefined ? [] : [SESSION + identityOf(iss, sid)]
  for (const claim in claims) names.push(`${e(claim)}:${identityOf(iss, claims[claim]!)}`)
  if (withoutSid !== undefined) names.push(WITHOUT_SID + withoutSid)
  return names
}

/** Whether nothing revokes a token of these names. */
export function areNone ({ identity, subject, others }: Names): boolean {
  return identity === undefined && subject === undefined && others === undefined
}

/** Whether a token has a name beside its subject, which it may share with all tokens of a user. */
export function hasOwnName ({ jti, sid, claims }: Named): boolean {
  return jti !== undefined || sid !== undefined || claims !== undefined
}

/**
 * The name that leads to a token's record: its identity. Without a jti it is all else that tells the token
 * from others. `issuedAt`: as the record has it.
 */
export function recordNameOf (named: Named & { issuedAt: string | null }): string {
  const { jti, iss, sub, sid, claims, issuedAt } = named
  if (jti !== undefined) return identityOf(iss, jti)
  const parts = [iss, sub, sid, issuedAt].map((part) => e(part ?? ''))
  for (const claim in claims) parts.push(`${e(claim)}=${e(claims[claim]!)}`)
  return WITHOUT_JTI + parts.join('/')
}

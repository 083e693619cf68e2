import type { Seconds } from '../time.ts'
import type { RevokeResult } from '../types.ts'
import { isoTime } from './retention.ts'

/** The revocation that stands, and whether this call made it. */
export interface Made {
  revocation: Revoked
  first: boolean
}

/** A revocation. Without a jti a cutoff ended the token. */
export type Revoked = Omit<RevokeResult, 'first'>

/** The names of what was revoked, as far as they are known. */
export type RevokedNames = { [name in 'jti' | 'id' | 'iss' | 'sub' | 'sid']?: string | undefined }

export function revocationOf<N extends RevokedNames> (
  names: N, at: Seconds, exp: Seconds | null
): Revoked & Pick<N, 'jti' & keyof N> {
  const { jti, id, iss, sub, sid } = names
  // Assigned one by one: V8 leaves the spreading of literals to its runtime, a quarter of an event's cost.
  const revocation: Partial<Revoked> = {}
  if (jti) revocation.jti = jti
  if (id) revocation.id = id
  if (iss) revocation.iss = iss
  if (sub) revocation.sub = sub
  if (sid) revocation.sid = sid
  revocation.status = 'revoked'
  revocation.revokedAt = isoTime(at, Math.floor)!
  revocation.expiresAt = isoTime(exp ?? undefined, Math.ceil)
  return revocation as Revoked & Pick<N, 'jti' & keyof N>
}

export function withFirst ({ revocation, first }: Made): RevokeResult {
  return { ...revocation, first }
}

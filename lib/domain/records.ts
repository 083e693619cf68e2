import { FST_JWT_NOT_REVOCABLE } from '../errors.ts'
import { EVERY_IAT } from '../stores/entry.ts'
import type { RecordEntry } from '../stores/store.ts'
import type { Milliseconds, Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import type { CheckedClaims, Rules } from './claims.ts'
import { hasOwnName, identityOf, namesOf, recordNameOf } from './names.ts'
import { isoTime, keptUntil } from './retention.ts'

/** The iat of a record's token, or of a session's latest, which tells whether a cutoff ends it. */
export function iatOf (record: TokenRecord): CheckedClaims {
  const refreshedAt = record.refreshedAt ?? record.issuedAt
  return refreshedAt === null ? {} : { iat: Date.parse(refreshedAt) / 1000 }
}

/**
 * When a revoked session ended: what its record says, or else the cutoff that ended it. The session's own
 * cutoff is for ever, and so says nothing of when.
 */
export function endedAtOf (
  { endedAt }: TokenRecord, cutoff: Seconds | null, now: Milliseconds
): string | undefined {
  if (endedAt !== undefined || cutoff === null || cutoff >= EVERY_IAT) return endedAt
  return isoTime(Math.min(cutoff, now / 1000), Math.floor)!
}

/** The name that leads to the record of a token that has these claims. */
export function recordNameOfClaims (claims: CheckedClaims): string {
  const { jti, iss, iat } = claims
  return jti === undefined
    ? recordNameOf({ ...claims, issuedAt: isoTime(iat, Math.floor) })
    : identityOf(iss, jti)
}

/** @throws FST_JWT_NOT_REVOCABLE where nothing would lead to the record */
export function recordOfClaims (
  claims: CheckedClaims, meta: Record<string, unknown> | undefined, id: string
): TokenRecord {
  const { jti, iss, sub, sid, claims: listed, exp, iat } = claims
  if (sub === undefined && !hasOwnName(claims)) {
    throw new FST_JWT_NOT_REVOCABLE('it has no jti to record it by')
  }
  return {
    id,
    ...(jti && { jti }),
    ...(iss && { iss }),
    ...(sub && { sub }),
    ...(sid && { sid }),
    ...(listed && { claims: listed }),
    issuedAt: isoTime(iat, Math.floor),
    expiresAt: isoTime(exp, Math.ceil),
    ...(meta && { meta })
  }
}

/** The record of a token that has these claims, as a store keeps it. */
export function entryOfRecord (
  record: TokenRecord, claims: CheckedClaims, rules: Rules, now: Milliseconds
): RecordEntry {
  const { subject, others } = namesOf(claims, rules.sidless)
  return {
    record,
    identity: recordNameOf(record),
    subject,
    others,
    exp: claims.exp === undefined ? null : claims.exp + rules.clockTolerance,
    keptUntil: keptUntil(claims.exp, rules, now)
  }
}

/** When a record's token ends, in seconds since the epoch; Infinity: never. */
export function endOf (record: TokenRecord | null): Seconds | undefined {
  if (record === null) return undefined
  return record.expiresAt === null ? Infinity : Date.parse(record.expiresAt) / 1000
}

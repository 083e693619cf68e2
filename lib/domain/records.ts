import type { Seconds } from '../time.ts'
import type { TokenRecord } from '../types.ts'
import type { CheckedClaims } from './claims.ts'

/** The iat of a record's token, which tells whether a cutoff ends it. */
export function iatOf ({ issuedAt }: TokenRecord): CheckedClaims {
  return issuedAt === null ? {} : { iat: Date.parse(issuedAt) / 1000 }
}

/** When a record's token ends, in seconds since the epoch; Infinity: never. */
export function endOf (record: TokenRecord | null): Seconds | undefined {
  if (record === null) return undefined
  return record.expiresAt === null ? Infinity : Date.parse(record.expiresAt) / 1000
}

import type { CheckedClaims } from './claims.ts'
import type { Seconds } from './expiry.ts'
import type { TokenRecord } from './types.ts'

const MAX_META_BYTES = 4096

/** As much of a record's token as tells whether a cutoff ends it. */
export function iatOf ({ issuedAt }: TokenRecord): CheckedClaims {
  return issuedAt === null ? {} : { iat: Date.parse(issuedAt) / 1000 }
}

/** When a record's token ends, in seconds since the epoch; Infinity: never. */
export function endOf (record: TokenRecord | null): Seconds | undefined {
  if (record === null) return undefined
  return record.expiresAt === null ? Infinity : Date.parse(record.expiresAt) / 1000
}

/** As JSON, so that it reads back the same from every store. */
export function checkMeta (meta: Record<string, unknown>): Record<string, unknown> {
  const json = typeof meta === 'object' && meta !== null && !Array.isArray(meta) ? JSON.stringify(meta) : undefined
  if (json === undefined || Buffer.byteLength(json) > MAX_META_BYTES) {
    throw new TypeError(`meta must be an object of at most ${MAX_META_BYTES} bytes as JSON`)
  }
  return JSON.parse(json)
}

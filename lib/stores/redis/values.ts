import type { Seconds } from '../../domain/retention.ts'
import type { TokenRecord } from '../../types.ts'
import { BadValue } from './deadline.ts'
import type { Denial } from '../store.ts'

/** A denial that another service wrote in a form of its own stands as well. */
export function parseDenial (value: string): Denial | null {
  try {
    const { at, exp } = JSON.parse(value)
    return typeof at === 'number' ? { at, exp: typeof exp === 'number' ? exp : null } : null
  } catch {
    return null
  }
}

export function parseRecord (value: unknown): TokenRecord | null {
  if (value === null) return null
  const record = parsed(String(value))
  if (typeof record?.id !== 'string' || typeof record.jti !== 'string') throw new BadValue('Redis holds no record under the key of a record')
  return record as TokenRecord
}

function parsed (json: string): Partial<TokenRecord> | null {
  try {
    return JSON.parse(json)
  } catch {
    return null
  }
}

export function parseCutoff (value: unknown): Seconds | null {
  if (value === null) return null
  const cutoff = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN
  if (Number.isNaN(cutoff)) throw new BadValue('Redis holds no number under the key of a cutoff')
  return cutoff
}

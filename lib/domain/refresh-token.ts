import { createHash, createHmac, randomBytes } from 'node:crypto'

/*
 * Refresh tokens are opaque: a claim could be confused with an access token's. A store keeps their hashes
 * alone, so that whoever reads the store can use none of them.
 */

const BYTES = 32
const FORM = /^[\w-]{43}$/

/** 32 random bytes in base64url: a refresh token, or the secret from which a successor follows. */
export function randomSecret (): string {
  return randomBytes(BYTES).toString('base64url')
}

export function isRefreshToken (value: unknown): value is string {
  return typeof value === 'string' && FORM.test(value)
}

/** Under what a store keeps a refresh token. No salt, because the token itself is random. */
export function refreshHashOf (refreshToken: string): string {
  return createHash('sha256').update(refreshToken).digest('base64url')
}

/**
 * The refresh token that follows a spent one, the same at each use. It takes both the token, which only its
 * holder has, and the secret, which only the store has.
 */
export function successorOf (spent: string, secret: string): string {
  return createHmac('sha256', Buffer.from(secret, 'base64url')).update(spent).digest('base64url')
}

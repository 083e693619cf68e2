import type { Milliseconds, Seconds } from '../expiry.ts'
import type { TokenRecord } from '../types.ts'

export type CheckCallback = (error: unknown, revoked: boolean) => void

/** The fact that a token is refused, as it is kept. Times are seconds since the epoch; `exp` is null when unknown. */
export interface Denial {
  at: number
  exp: number | null
}

/**
 * Where revocations and records are kept. Every store passes the same suite (test/stores.test.ts).
 *
 * A method that answers has done what it says, on every process that shares the store; one that can't, fails within
 * the store's own deadline with whatever went wrong. `identity` is what `identityOf` makes of an issuer and a jti.
 */
export interface Store {
  readonly kind: 'memory' | 'redis'
  /** Whether the store answered last. */
  readonly available: boolean
  /** Resolves once the store has answered, or failed to; never rejects: an application starts without its store. */
  start (): Promise<void>
  close (): void
  /** Whether a revocation of this identity is kept. By callback: this runs for every request. */
  check (identity: string, done: CheckCallback): void
  /**
   * Keeps a denial until `keptUntil` (null: for ever). One that stands already stays, and is never shortened.
   * Gives the one that stands, and whether this is the first.
   */
  revoke (identity: string, denial: Denial, keptUntil: Seconds | null): Promise<Denial & { first: boolean }>
  saveRecord (record: TokenRecord, identity: string, keptUntil: Seconds | null): Promise<void>
  record (id: string): Promise<TokenRecord | null>
  /** The record of an identity. Takes as long when there is none: time must not tell (P6). */
  recordOf (identity: string): Promise<TokenRecord | null>
}

/** What a store needs from outside. */
export interface StoreContext {
  clock: () => Milliseconds
  /** Called when the store stops answering, once. */
  onLost: (error: unknown) => void
  /** Called when it answers again, once. */
  onBack: () => void
}

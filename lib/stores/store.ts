import type { Milliseconds, Seconds } from '../expiry.ts'
import type { TokenRecord } from '../types.ts'
import type { Note } from './denylist.ts'
import type { LogEntry } from './log.ts'

/** Whether a denial of the identity is kept, and the subject's cutoff (seconds since the epoch), or null. */
export type CheckCallback = (error: unknown, revoked: boolean, cutoff: Seconds | null) => void

/** The fact that a token is refused, as it is kept. Times are seconds since the epoch; `exp` is null when unknown. */
export interface Denial {
  at: number
  exp: number | null
}

/** A denial as it is asked for, with what is known of its token: those who follow the log are told. */
export interface NewDenial extends Denial {
  id?: string
  sub?: string
}

/** What is left of a time that several calls share; what happens between them does not count. */
export interface Budget {
  left: Milliseconds
}

/** A record and what it is found by. */
export interface RecordEntry {
  record: TokenRecord
  identity: string
  /** Absent where the token has no sub. */
  subject?: string
  /** When the token ends, seconds since the epoch; null: never. */
  exp: number | null
  /** null: for ever. */
  keptUntil: Seconds | null
}

/**
 * Where revocations and records are kept. Every store passes the same suite (test/stores.test.ts).
 *
 * A method that answers has done what it says, on every process that shares the store; one that can't, fails within
 * the store's own deadline with whatever went wrong. `identity` and `subject` are what `identityOf` makes of an issuer
 * and a jti or a sub.
 */
export interface Store {
  /** The time of one revocation, for the calls that it takes. */
  budget (): Budget
  /** Gives several calls the time of one. */
  within<T> (calls: () => Promise<T>): Promise<T>
  readonly kind: 'memory' | 'redis'
  /** Whether the store answered last. */
  readonly available: boolean
  /** Where checks look into a copy in this process: how much it holds, and how old it is, undefined before it is complete. */
  readonly copy?: { readonly entries: number, readonly stalenessMs: Milliseconds | undefined }
  /** What is wrong with its settings, a sentence each. */
  readonly warnings: readonly string[]
  /** Resolves once the store has answered, or failed to; never rejects: an application starts without its store. */
  start (): Promise<void>
  close (): void
  /**
   * By callback, which must not throw: this runs for every request. What comes with an error is known all the same, and
   * nothing else is. `note`: the one of these two names, where they are asked for again and again.
   */
  check (identity: string | undefined, subject: string | undefined, done: CheckCallback, note?: Note): void
  /**
   * Keeps a denial until `keptUntil` (null: for ever). One that stands already stays, and is never shortened.
   * Gives the one that stands, and whether this is the first.
   */
  revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, budget?: Budget): Promise<Denial & { first: boolean }>
  /**
   * Raises a subject's cutoff to `cutoff`, or by one second where it is there already; not where it is at `enough` or
   * later. Gives it, and the one before.
   */
  cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, enough?: Seconds | null): Promise<{ cutoff: Seconds, before: Seconds | null }>
  /** Keeps a record, in the place of one with its id. Gives the cutoff of its subject, read after that. */
  saveRecord (entry: RecordEntry): Promise<Seconds | null>
  /** Keeps a record unless its identity has one. */
  addRecord (entry: RecordEntry): Promise<void>
  record (id: string, budget?: Budget): Promise<TokenRecord | null>
  /** The record of an identity. Takes as long when there is none: time must not tell (P6). */
  recordOf (identity: string, budget?: Budget): Promise<TokenRecord | null>
  /** The records of a subject that have not expired, latest to expire first; from the one after the id `after` on. */
  records (subject: string, limit: number, after?: string): Promise<{ records: TokenRecord[], after?: string }>
}

/** What a store needs from outside. */
export interface StoreContext {
  clock: () => Milliseconds
  /** Called when the store stops answering, once. */
  onLost: (error: unknown) => void
  /** Called when it answers again, once. */
  onBack: () => void
  /** Called for each denial and cutoff that another process made, where the store hears of them. */
  onHeard?: (entry: LogEntry) => void
  /** Called once for each of the store's warnings. */
  onWarning?: (sentence: string) => void
  /** Called each time it was asked again, while it is lost, and gave no answer. */
  onStuck?: () => void
}

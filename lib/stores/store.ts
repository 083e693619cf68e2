import type { Milliseconds, Seconds } from '../domain/retention.ts'
import type { TokenRecord } from '../types.ts'
import type { Note } from './replica/denylist.ts'
import type { LogEntry } from './replica/log.ts'

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

/** Of a write of a revocation. */
export interface WriteOptions<Standing> {
  budget?: Budget
  /**
   * Called once, with what stands, where this call made it: before the answer; or, where the call has failed because
   * nobody knew what became of its write, when that is acknowledged at last. `isHeard`: the store told of it
   * already, through `onHeard`.
   */
  made?: (standing: Standing, isHeard: boolean) => void
}

export interface CutoffOptions extends WriteOptions<Seconds> {
  enough?: Seconds | undefined
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
  /** When the last verifier ceases to accept the token, seconds since the epoch; null: never. */
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
  /** Another one where the store may have lost what it held: who remembers what is there forgets that. */
  readonly generation: number
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
  /** The same, but what is known here and not kept for all processes, or the other way round, counts as not revoked. */
  checkShared (identity: string | undefined, subject: string | undefined, done: CheckCallback): void
  /**
   * Keeps a denial until `keptUntil` (null: for ever). One that stands already stays, and is never shortened.
   * Gives the one that stands, and whether this call made it.
   */
  revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, options?: WriteOptions<Denial>): Promise<Denial & { first: boolean }>
  /**
   * Raises a subject's cutoff to `cutoff`, or by one second where it is there already: to `cutoff` + LEAD at most.
   * It stays where it is at `enough` or later. Gives it, and the one before.
   */
  cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, options?: CutoffOptions): Promise<{ cutoff: Seconds, before: Seconds | null }>
  /**
   * Keeps a record, in the place of one with its id. Its identity leads to the record that ends latest, which is this
   * one where it is the identity's first (`isFirst`). Gives the cutoff of its subject, read after that.
   */
  saveRecord (entry: RecordEntry, isFirst?: boolean): Promise<Seconds | null>
  /** Keeps a record unless its identity has one that ends as late. */
  addRecord (entry: RecordEntry): Promise<void>
  record (id: string, budget?: Budget): Promise<TokenRecord | null>
  /** The record of an identity that ends latest. Where there is none, the same commands run (P6). */
  recordOf (identity: string, budget?: Budget): Promise<TokenRecord | null>
  /**
   * The records of a subject that have not expired by the clock of the store, latest to expire first; from the one after
   * the id `after` on. `now`: and those that have expired by then are left out.
   */
  records (subject: string, limit: number, after?: string, now?: Seconds): Promise<{ records: TokenRecord[], after?: string }>
}

/** What a store needs from outside. */
export interface StoreContext {
  clock: () => Milliseconds
  /** Called when the store stops answering, once. */
  onLost: (error: unknown) => void
  /** Called when it answers again, once. */
  onBack: () => void
  /** Called when something new is known to be denied: what was checked before it may be wrong after it. */
  onLearned?: () => void
  /** Called for each denial and cutoff that another process made, where the store hears of them. */
  onHeard?: (entry: LogEntry) => void
  /** Called when a write of unknown outcome is given up, because too many others are owed. */
  onDisowned?: () => void
  /** Called once for each of the store's warnings. */
  onWarning?: (sentence: string) => void
  /** Called each time it was asked again, while it is lost, and gave no answer. */
  onStuck?: () => void
}
